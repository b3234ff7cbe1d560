/** 64 bits of a text that nobody who does not know the key can make meet (half-sip.ts). Allocates nothing. */
import { beginHash, endHash, hashWord, upperHalf } from '../half-sip.ts';

export class KeyedHash {
  /** Of the text that was hashed last. */
  high = 0;
  low = 0;
  readonly #key0: number;
  readonly #key1: number;

  constructor(key0: number, key1: number) {
    this.#key0 = key0;
    this.#key1 = key1;
  }

  /** Hashes the bytes from `from` to before `to`. */
  hash(bytes: Uint8Array, from: number, to: number): void {
    beginHash(this.#key0, this.#key1, true);
    let p = from;
    for (; p + 4 <= to; p += 4) {
      hashWord(bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24));
    }
    let last = (to - from) << 24;
    for (let shift = 0; p < to; p++, shift += 8) last |= bytes[p]! << shift;
    hashWord(last);
    this.low = endHash(true);
    this.high = upperHalf();
  }
}
