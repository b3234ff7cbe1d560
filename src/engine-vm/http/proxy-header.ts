/**
 * The header of the PROXY protocol, versions 1 and 2: what a proxy says of a client's connection in front of all other
 * bytes. Strict: what is not exactly as specified is no header.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { addressText, type ConnectionEnds, portOf, socketAddress } from '../kernel/socket-address.ts';

export type ProxyVersion = 'v1' | 'v2';

/** The longest header that is taken, with what else it tells (TLVs): a proxy needs no more. */
export const MOST_HEADER_BYTES = 4096;
const MOST_V1_BYTES = 107;
const SIGNATURE = Uint8Array.from([13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]);
const V1 = Uint8Array.from([80, 82, 79, 88, 89, 32]);
const FIXED_BYTES = 16;
const LF = 10;
const CR = 13;
const LOCAL = 0x20;
const PROXY = 0x21;
const UNSPECIFIED = 0x00;
const TCP4 = 0x11;
const TCP6 = 0x21;
const UNIX = 0x31;
const UNIX_BYTES = 216;
const AF_INET = 2;
const AF_INET6 = 10;
const PORT = /^(0|[1-9]\d{0,4})$/;

export type ProxyHeader =
  | { readonly state: 'cut' }
  | { readonly state: 'invalid' }
  /** `ends` is null where the header tells of none: the connection is the proxy's own. */
  | { readonly state: 'whole'; readonly length: number; readonly ends: ConnectionEnds | null };

const CUT: ProxyHeader = { state: 'cut' };
const INVALID: ProxyHeader = { state: 'invalid' };

/** Reads the header with which those bytes begin. It is invalid as soon as no further byte could make it valid. */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader {
  const mark = bytes[0] === CR ? SIGNATURE : V1;
  for (let n = 0; n < mark.length; n++) {
    if (n === bytes.length) return CUT;
    if (bytes[n] !== mark[n]) return INVALID;
  }
  return mark === V1 ? readText(bytes) : readBinary(bytes);
}

function readText(bytes: Uint8Array): ProxyHeader {
  const end = bytes.subarray(0, MOST_V1_BYTES).indexOf(LF);
  if (end < 0) return bytes.length >= MOST_V1_BYTES ? INVALID : CUT;
  if (bytes[end - 1] !== CR) return INVALID;
  const text = String.fromCharCode(...bytes.subarray(V1.length, end - 1));
  // What follows UNKNOWN is to be passed over.
  if (text === 'UNKNOWN' || text.startsWith('UNKNOWN ')) {
    return { state: 'whole', length: end + 1, ends: null };
  }
  const [family, source, target, sourcePort, targetPort, more] = text.split(' ');
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isPlainIPv6 : () => false;
  if (more !== undefined || !isAddress(source ?? '') || !isAddress(target ?? '')) return INVALID;
  if (!isPort(sourcePort) || !isPort(targetPort)) return INVALID;
  const ends = endsOf(socketAddress(source!, Number(sourcePort)), socketAddress(target!, Number(targetPort)));
  return { state: 'whole', length: end + 1, ends };
}

function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function isPort(text: string | undefined): boolean {
  return text !== undefined && PORT.test(text) && Number(text) <= 65_535;
}

function readBinary(bytes: Uint8Array): ProxyHeader {
  const command = bytes[12];
  if (command === undefined) return CUT;
  if (command !== LOCAL && command !== PROXY) return INVALID;
  if (bytes.length < FIXED_BYTES) return CUT;
  const kind = bytes[13]!;
  const rest = (bytes[14]! << 8) | bytes[15]!;
  const length = FIXED_BYTES + rest;
  const size = kind === TCP4 ? 4 : kind === TCP6 ? 16 : 0;
  // Receivers must pass over what LOCAL says, whatever it is.
  if (length > MOST_HEADER_BYTES) return INVALID;
  if (command === PROXY) {
    const least = size > 0 ? 2 * size + 4 : kind === UNIX ? UNIX_BYTES : kind === UNSPECIFIED ? 0 : -1;
    if (least < 0 || rest < least) return INVALID;
  }
  if (bytes.length < length) return CUT;
  if (command === LOCAL || size === 0) return { state: 'whole', length, ends: null };
  const ports = FIXED_BYTES + 2 * size;
  const ends = endsOf(
    socketBytes(bytes.subarray(FIXED_BYTES, FIXED_BYTES + size), bytes.subarray(ports, ports + 2)),
    socketBytes(bytes.subarray(FIXED_BYTES + size, ports), bytes.subarray(ports + 2, ports + 4)),
  );
  return { state: 'whole', length, ends };
}

function socketBytes(address: Uint8Array, port: Uint8Array): Uint8Array {
  const isIpv4 = address.length === 4;
  const bytes = new Uint8Array(isIpv4 ? 16 : 28);
  bytes[0] = isIpv4 ? AF_INET : AF_INET6;
  bytes.set(port, 2);
  bytes.set(address, isIpv4 ? 4 : 8);
  return bytes;
}

function endsOf(source: Uint8Array, target: Uint8Array): ConnectionEnds {
  return {
    sourceAddress: addressText(source),
    sourcePort: portOf(source),
    targetAddress: addressText(target),
    targetPort: portOf(target),
  };
}

/** The header for a connection of those ends. Null: a connection of our own, or of a client that is gone. */
export function proxyHeaderOf(version: ProxyVersion, ends: ConnectionEnds | null): Uint8Array {
  if (ends === null || isIPv6(ends.sourceAddress) !== isIPv6(ends.targetAddress)) {
    return version === 'v1'
      ? Uint8Array.from(Buffer.from('PROXY UNKNOWN\r\n', 'latin1'))
      : Uint8Array.from([...SIGNATURE, LOCAL, UNSPECIFIED, 0, 0]);
  }
  const { sourceAddress, sourcePort, targetAddress, targetPort } = ends;
  const family = isIPv6(sourceAddress) ? 6 : 4;
  if (version === 'v1') {
    const text = `PROXY TCP${family} ${sourceAddress} ${targetAddress} ${sourcePort} ${targetPort}\r\n`;
    return Uint8Array.from(Buffer.from(text, 'latin1'));
  }
  const source = socketAddress(sourceAddress, sourcePort);
  const target = socketAddress(targetAddress, targetPort);
  const [at, size, kind] = family === 4 ? [4, 4, TCP4] : [8, 16, TCP6];
  return Uint8Array.from([
    ...SIGNATURE,
    PROXY,
    kind,
    0,
    2 * size + 4,
    ...source.subarray(at, at + size),
    ...target.subarray(at, at + size),
    ...source.subarray(2, 4),
    ...target.subarray(2, 4),
  ]);
}
