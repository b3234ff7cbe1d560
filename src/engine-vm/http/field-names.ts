/** The header fields that the proxy or a component knows by name, and which of them belong to one connection only. */

/** Ids of known fields; 0 is any other. */
export const FIELD = {
  host: 1,
  connection: 2,
  'content-length': 3,
  'transfer-encoding': 4,
  te: 5,
  trailer: 6,
  upgrade: 7,
  expect: 8,
  'keep-alive': 9,
  'proxy-connection': 10,
  'proxy-authorization': 11,
  'proxy-authenticate': 12,
  'x-forwarded-for': 13,
  'x-forwarded-proto': 14,
  'x-forwarded-host': 15,
  'x-forwarded-port': 16,
  forwarded: 17,
  'x-real-ip': 18,
  via: 19,
  date: 20,
  'http2-settings': 21,
  cookie: 22,
  authorization: 23,
  'cache-control': 24,
  'content-type': 25,
  'content-encoding': 26,
  'accept-encoding': 27,
  vary: 28,
  etag: 29,
  range: 30,
  'set-cookie': 31,
  age: 32,
  expires: 33,
  'last-modified': 34,
  'if-none-match': 35,
  'if-modified-since': 36,
  location: 37,
  server: 38,
  'content-range': 39,
  pragma: 40,
  'if-range': 41,
  'if-match': 42,
  'if-unmodified-since': 43,
  'content-location': 44,
  'client-cert': 45,
  'client-cert-chain': 46,
  'x-client-cert-subject': 47,
  'x-client-cert-issuer': 48,
  'x-client-cert-serial': 49,
  'x-client-cert-sha256': 50,
} as const;

export type FieldName = keyof typeof FIELD;

export const FIELD_NAMES: readonly string[] = ['', ...Object.keys(FIELD)];

/** What tells members of a client's certificate: only we say it, where we ask for one. */
const CERTIFICATE_NAMES = [
  'client-cert',
  'client-cert-chain',
  'x-client-cert-subject',
  'x-client-cert-issuer',
  'x-client-cert-serial',
  'x-client-cert-sha256',
] as const;

const set = (names: readonly FieldName[]): Uint8Array => {
  const flags = new Uint8Array(FIELD_NAMES.length);
  for (const name of names) flags[FIELD[name]] = 1;
  return flags;
};

/** RFC 9110 7.6.1: of one connection, never forwarded. Transfer-Encoding and Content-Length are written anew. */
export const HOP_BY_HOP = set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'upgrade',
  'transfer-encoding',
  'http2-settings',
]);

export const OF_CLIENT_CERTIFICATE = set(CERTIFICATE_NAMES);

/** What Connection must not name: it would make a proxy drop what the next one decides by. */
export const NOT_FOR_CONNECTION = set([
  ...CERTIFICATE_NAMES,
  'host',
  'content-length',
  'transfer-encoding',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
  'forwarded',
  'via',
  'cookie',
  'authorization',
  'cache-control',
  'content-type',
  'content-encoding',
  'expect',
  'range',
  'trailer',
]);

/** RFC 9110 6.5.1: framing, routing, authentication, control: not in trailers. */
export const NOT_FOR_TRAILERS = set([
  ...CERTIFICATE_NAMES,
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
  'forwarded',
  'cookie',
  'set-cookie',
  'authorization',
  'cache-control',
  'content-type',
  'content-encoding',
  'content-range',
  'range',
  'location',
  'vary',
  'age',
  'expires',
  'date',
]);

/** Of these, a name with `_` in the place of `-` is refused: programs behind may take one for the other. */
export const GUARDED = set([
  ...CERTIFICATE_NAMES,
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
]);

// Found by length and first letter, then compared; names that share both are chained.
const FIRST = new Uint8Array(32 * 32);
const NEXT = new Uint8Array(FIELD_NAMES.length);
const BYTES = FIELD_NAMES.map((name) => new TextEncoder().encode(name));
for (let id = 1; id < FIELD_NAMES.length; id++) {
  const name = BYTES[id]!;
  const slot = name.length * 32 + (name[0]! & 31);
  NEXT[id] = FIRST[slot]!;
  FIRST[slot] = id;
}

/** Added to the id where the name has `_` for `-`. */
export const LOOKALIKE = 128;

/** The id of the name in `bytes` from `at` to before `end`, whatever its case; 0 for one that is not known. */
export function fieldId(bytes: Uint8Array, at: number, end: number): number {
  const length = end - at;
  if (length > 31) return 0;
  let id = FIRST[length * 32 + (bytes[at]! & 31)]!;
  search: for (; id !== 0; id = NEXT[id]!) {
    const name = BYTES[id]!;
    let lookalike = 0;
    for (let n = 0; n < length; n++) {
      const is = bytes[at + n]!;
      const wanted = name[n]!;
      if (wanted === 45) {
        if (is === 95) lookalike = LOOKALIKE;
        else if (is !== 45) continue search;
      } else if (is !== wanted && ((is | 32) !== wanted || is < 65 || is > 90)) continue search;
    }
    return id + lookalike;
  }
  return 0;
}
