/** A block of fields that comes in several frames (RFC 9113 4.3), until it is whole. */
import { MOST_BLOCK_BYTES } from './hpack-decoder.ts';

/** CONTINUATION frames of one block. */
const MOST_CONTINUATIONS = 16;

export class FieldBlock {
  /** The stream of the block that is gathered; 0 where none is. */
  id = 0;
  /** Whether the stream ends with it. */
  isLast = false;
  /** Since when it is gathered. */
  sinceMs = 0;
  #bytes: Uint8Array | null = null;
  #length = 0;
  #frames = 0;

  begin(id: number, isLast: boolean, nowMs: number): void {
    this.id = id;
    this.isLast = isLast;
    this.sinceMs = nowMs;
    this.#length = 0;
    this.#frames = 0;
  }

  /** Adds what one frame brings. False where that is more than a block may have, of bytes or frames. */
  add(bytes: Uint8Array, at: number, end: number): boolean {
    const length = this.#length + end - at;
    if (length > MOST_BLOCK_BYTES || this.#frames++ > MOST_CONTINUATIONS) return false;
    if (this.#bytes === null || this.#bytes.length < length) {
      const larger = new Uint8Array(Math.max(1024, length * 2));
      if (this.#bytes !== null) larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes.subarray(at, end), this.#length);
    this.#length = length;
    return true;
  }

  /** The block is whole: its bytes, which are not kept. */
  take(): Uint8Array {
    const bytes = this.#bytes!.subarray(0, this.#length);
    this.#bytes = null;
    this.id = 0;
    this.sinceMs = 0;
    return bytes;
  }
}
