/** The beginning of a head whose rest has not come: kept apart, so that slow senders hold no socket buffers. */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { RECEIVE_BYTES } from '../kernel/socket-buffers.ts';

export class Stash {
  #bytes: Uint8Array | null = null;
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /**
   * Takes what a buffer holds from `at` to before `end`; the buffer stays the caller's. False where the head gets longer
   * than any limit allows.
   */
  put(bytes: Uint8Array, at: number, end: number): boolean {
    const length = this.#length + end - at;
    if (length > RECEIVE_BYTES) return false;
    if (this.#bytes === null || this.#bytes.length < length) {
      const larger = new Uint8Array(Math.max(256, length * 2));
      if (this.#bytes !== null) larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes.subarray(at, end), this.#length);
    this.#length = length;
    return true;
  }

  /**
   * Writes what is kept to the start of buffer `target`, and behind it as much of the bytes from `at` to before `end` as
   * there is room for; returns how much of those.
   */
  join(buffers: SocketBuffers, target: number, at: number, end: number): number {
    const start = buffers.start(target);
    const take = Math.min(end - at, RECEIVE_BYTES - this.#length);
    buffers.bytes.set(this.#bytes!.subarray(0, this.#length), start);
    buffers.bytes.copyWithin(start + this.#length, at, at + take);
    return take;
  }

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#bytes = null;
    this.#length = 0;
  }
}
