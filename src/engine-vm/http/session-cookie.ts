/**
 * Persistence by cookie. What the cookie holds is a signature of the member by the key of the proxy and nothing else:
 * it tells a client nothing, cannot be made up, and is found in a table, so no request costs a signature. All threads
 * have the key, so a cookie means the same to each, before and after a reload.
 */
import { createHmac } from 'node:crypto';
import type { SessionCookie as CookiePolicy } from '../../policy/http-persistence.ts';
import { line } from './head-writer.ts';

/** Characters of the signature: 132 bits. */
const LENGTH = 22;

/** What `find` says of pairs of another name. */
export const NO_COOKIE = -1;
/** Of no member there is: forged, of another key, or of a member that is gone. */
export const UNKNOWN_COOKIE = -2;

export class SessionCookies {
  readonly #prefix: Uint8Array;
  readonly #tokens: readonly Uint8Array[];
  readonly #lines: readonly Uint8Array[];
  /** Positions of members by a hash of their token; the next one of the same hash is in `#next`. */
  readonly #first = new Map<number, number>();
  readonly #next: Int32Array;

  /** `keys` name the members of `pool`, the same in every thread; `pool` is empty for that of the tier. */
  constructor(
    policy: CookiePolicy,
    secret: Uint8Array,
    service: string,
    pool: string,
    keys: readonly string[],
  ) {
    const name = pool === '' ? policy.name : `${policy.name}-${pool}`;
    const attributes = [
      `Path=${policy.path}`,
      ...(policy.maxAgeSeconds === undefined ? [] : [`Max-Age=${policy.maxAgeSeconds}`]),
      'HttpOnly',
      `SameSite=${policy.sameSite}`,
      ...(policy.isSecure ? ['Secure'] : []),
    ].join('; ');
    const tokens = keys.map((key) =>
      createHmac('sha256', secret)
        .update(JSON.stringify([service, pool, key]))
        .digest('base64url')
        .slice(0, LENGTH),
    );
    this.#prefix = line(`${name}=`);
    this.#tokens = tokens.map((token) => line(token));
    this.#lines = tokens.map((token) => line(`Set-Cookie: ${name}=${token}; ${attributes}\r\n`));
    this.#next = new Int32Array(keys.length).fill(-1);
    for (const [position, token] of this.#tokens.entries()) {
      const hash = hashOf(token, 0);
      this.#next[position] = this.#first.get(hash) ?? -1;
      this.#first.set(hash, position);
    }
  }

  /** What a pair `name=value` stands for: the position of a member, or NO_COOKIE, UNKNOWN_COOKIE. */
  find(bytes: Uint8Array, at: number, end: number): number {
    const valueAt = at + this.#prefix.length;
    if (valueAt > end || !isEqual(bytes, at, this.#prefix)) return NO_COOKIE;
    const position = end - valueAt === LENGTH ? this.#member(bytes, valueAt) : -1;
    return position >= 0 ? position : UNKNOWN_COOKIE;
  }

  #member(bytes: Uint8Array, at: number): number {
    let position = this.#first.get(hashOf(bytes, at)) ?? -1;
    while (position >= 0 && !isEqual(bytes, at, this.#tokens[position]!)) position = this.#next[position]!;
    return position;
  }

  /** The line that gives a client the cookie of the member at `position`. */
  line(position: number): Uint8Array {
    return this.#lines[position]!;
  }
}

function isEqual(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let n = 0; n < wanted.length; n++) if (bytes[at + n] !== wanted[n]) return false;
  return true;
}

/** A small integer of the token at `at`, which is even by itself. */
function hashOf(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let n = 0; n < 8; n++) value = (Math.imul(value, 31) + bytes[at + n]!) & 0x3fff_ffff;
  return value;
}
