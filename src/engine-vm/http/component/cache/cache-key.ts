/**
 * What a stored response is found by: host, target, and what else tells members of the address that the client asked for.
 * Requests that members may answer by something that is no part of the key are kept from the cache: whoever could send
 * one would choose what others get.
 */
import { FIELD } from '../../field-names.ts';
import type { Head } from '../../head.ts';
import { line } from '../../head-writer.ts';

/** Longer ones are not stored. */
const MOST_BYTES = 2048;

/** Fields by which frameworks take another method, host or target than the request line's. */
const OVERRIDES = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  'x-host',
  'x-forwarded-server',
  'x-forwarded-scheme',
  'x-forwarded-prefix',
  'x-original-host',
].map(line);

export class CacheKey {
  readonly bytes = new Uint8Array(MOST_BYTES);
  length = 0;
  readonly #trustsForwarded: boolean;

  /** `trustsForwarded`: what clients say in X-Forwarded-Host and -Proto goes on to members, so it is part of the key. */
  constructor(trustsForwarded: boolean) {
    this.#trustsForwarded = trustsForwarded;
  }

  /** Builds the key of a request. False where it has none. */
  build(head: Head): boolean {
    this.length = 0;
    if (head.hostIndex < 0) return false;
    this.#add(head, head.valueAt[head.hostIndex]!, head.valueEnd[head.hostIndex]!, true);
    this.#add(head, head.targetAt, head.targetEnd, false);
    for (let n = 0; n < head.count; n++) {
      const id = head.ids[n]!;
      if (id === 0) {
        for (const name of OVERRIDES) if (head.isNamed(n, name)) return false;
      } else if (this.#trustsForwarded) {
        if (id === FIELD.forwarded) return false;
        if (id === FIELD['x-forwarded-host'] || id === FIELD['x-forwarded-proto']) {
          this.bytes[this.length++] = id === FIELD['x-forwarded-host'] ? 10 : 13;
          this.#add(head, head.valueAt[n]!, head.valueEnd[n]!, true);
        }
      }
      if (this.length >= MOST_BYTES) return false;
    }
    return this.length < MOST_BYTES;
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
