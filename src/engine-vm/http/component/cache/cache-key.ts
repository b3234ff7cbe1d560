/**
 * What a stored response is found by: host, target, and what else tells members of the address that the client asked for.
 * Requests that members may answer by something that is no part of the key are kept from the cache: whoever could send
 * one would choose what others get.
 */
import { saysHttps } from '../../client-lines.ts';
import type { ClientOrigin } from '../../client-origin.ts';
import type { Head } from '../../head.ts';
import { isOverride } from '../../override-fields.ts';

/** Longer ones are not stored. */
const MOST_BYTES = 2048;

/** What may stand behind the address, each with one of these in front: no address holds such bytes. */
const BY_TLS = 9;
const OF_POOL = 11;
const OF_HOST = 12;
const OF_PORT = 14;
/** Marks are below it. */
export const FIRST_OF_ADDRESS = 32;

export class CacheKey {
  readonly bytes = new Uint8Array(MOST_BYTES);
  length = 0;

  /** Of the address, which the key begins with: what is stored of it is found by that, however it was reached. */
  addressLength = 0;

  /**
   * Builds the key of a request. False where it has none. The host is the one that trusted proxies name (`origin`), where
   * they do; members are told of Host too then. `forwarded` are the lines that tell members of the client: what is answered
   * to one that came by TLS may be a redirect for the other. `pool` is the one that a route chose, else empty: routes look
   * at fields that others do not send.
   */
  build(head: Head, forwarded: Uint8Array, pool: string, origin: ClientOrigin | null): boolean {
    const { hostIndex, valueAt, valueEnd } = head;
    this.length = 0;
    if (hostIndex < 0) return false;
    const told = origin === null ? '' : origin.host;
    if (told === '') this.#add(head, valueAt[hostIndex]!, valueEnd[hostIndex]!, true);
    else this.#addText(told, true);
    this.#add(head, head.targetAt, head.targetEnd, false);
    this.addressLength = this.length;
    for (let n = 0; n < head.count; n++) {
      if (head.isDropped[n] === 0 && isOverride(head, n)) return false;
    }
    if (pool !== '') {
      this.#mark(OF_POOL);
      this.#addText(pool, false);
    }
    if (saysHttps(forwarded)) this.#mark(BY_TLS);
    if (told !== '' && !isHostOf(head, told)) {
      this.#mark(OF_HOST);
      this.#add(head, valueAt[hostIndex]!, valueEnd[hostIndex]!, true);
    }
    if (origin !== null && origin.port !== '') {
      this.#mark(OF_PORT);
      this.#addText(origin.port, false);
    }
    return this.length < MOST_BYTES;
  }

  get text(): string {
    return Buffer.from(this.bytes.buffer, 0, this.length).toString('latin1');
  }

  #mark(mark: number): void {
    if (this.length < MOST_BYTES) this.bytes[this.length++] = mark;
  }

  #addText(text: string, isLower: boolean): void {
    for (let n = 0; n < text.length && this.length < MOST_BYTES; n++) {
      const byte = text.charCodeAt(n);
      this.bytes[this.length++] = isLower ? lower(byte) : byte;
    }
  }

  #add(head: Head, at: number, end: number, isLower: boolean): void {
    if (this.length + end - at > MOST_BYTES) {
      this.length = MOST_BYTES;
      return;
    }
    for (let p = at; p < end; p++) {
      const byte = head.bytes[p]!;
      this.bytes[this.length++] = isLower ? lower(byte) : byte;
    }
  }
}

/** Whether that is the request's Host. */
function isHostOf({ bytes, hostIndex, valueAt, valueEnd }: Head, host: string): boolean {
  const at = valueAt[hostIndex]!;
  if (valueEnd[hostIndex]! - at !== host.length) return false;
  for (let n = 0; n < host.length; n++) if (lower(bytes[at + n]!) !== lower(host.charCodeAt(n))) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte | 32 : byte;
}
