/**
 * What a stored response is found by: host, target, and what else tells members of the address that the client asked for.
 * Requests that members may answer by something that is no part of the key are kept from the cache: whoever could send
 * one would choose what others get.
 */
import { saysHttps } from '../../client-lines.ts';
import type { Head } from '../../head.ts';
import { isOverride } from '../../override-fields.ts';

/** Longer ones are not stored. */
const MOST_BYTES = 2048;

/** Ends the key of what was asked for by TLS. */
export const BY_TLS = 9;
/** Comes before the name of a pool. */
export const OF_POOL = 11;

export class CacheKey {
  readonly bytes = new Uint8Array(MOST_BYTES);
  length = 0;

  /**
   * Builds the key of a request. False where it has none. `forwarded` are the lines that tell members of the client:
   * what is answered to one that came by TLS may be a redirect for the other. `pool` is the one that a route chose, else
   * empty: routes look at fields that others do not send.
   */
  build(head: Head, forwarded: Uint8Array, pool: string): boolean {
    this.length = 0;
    if (head.hostIndex < 0) return false;
    this.#add(head, head.valueAt[head.hostIndex]!, head.valueEnd[head.hostIndex]!, true);
    this.#add(head, head.targetAt, head.targetEnd, false);
    for (let n = 0; n < head.count; n++) {
      if (head.isDropped[n] === 0 && isOverride(head, n)) return false;
    }
    if (this.length >= MOST_BYTES) return false;
    // Names of pools have up to 63 bytes.
    if (this.length + pool.length + 2 > MOST_BYTES) return false;
    if (pool !== '') {
      this.bytes[this.length++] = OF_POOL;
      for (let n = 0; n < pool.length; n++) this.bytes[this.length++] = pool.charCodeAt(n);
    }
    if (saysHttps(forwarded)) this.bytes[this.length++] = BY_TLS;
    return true;
  }

  get text(): string {
    return Buffer.from(this.bytes.buffer, 0, this.length).toString('latin1');
  }

  #add(head: Head, at: number, end: number, isLower: boolean): void {
    if (this.length + end - at > MOST_BYTES) {
      this.length = MOST_BYTES;
      return;
    }
    for (let p = at; p < end; p++) {
      const byte = head.bytes[p]!;
      this.bytes[this.length++] = isLower && byte >= 65 && byte <= 90 ? byte | 32 : byte;
    }
  }
}

/** Whether that is the request's Host; true of the empty text, which names none. */
export function isHostOf({ bytes, hostIndex, valueAt, valueEnd }: Head, host: string): boolean {
  if (host === '') return true;
  const at = valueAt[hostIndex]!;
  if (hostIndex < 0 || valueEnd[hostIndex]! - at !== host.length) return false;
  for (let n = 0; n < host.length; n++) if (lower(bytes[at + n]!) !== lower(host.charCodeAt(n))) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte | 32 : byte;
}
