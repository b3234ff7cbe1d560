/** Data of one stream that cannot go on yet. Small pieces are put together: a window of bytes must not take a buffer for each. */
import type { SocketBuffers } from '../../kernel/socket-buffers.ts';

/** What is put together in one buffer. */
const PIECE_BYTES = 14_000;

export class HeldData {
  /** What `take` has taken. */
  buffer = -1;
  at = 0;
  end = 0;
  /** As [buffer, at, end, ...]. */
  readonly #held: number[] = [];
  /** The message ends behind what is held, with these trailers. */
  hasEnd = false;
  trailers: Uint8Array | null = null;

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** Keeps data. Takes the buffer. */
  add(buffers: SocketBuffers, buffer: number, at: number, end: number): void {
    const held = this.#held;
    const last = held.length - 3;
    if (last >= 0) {
      const to = held[last + 2]!;
      if (to + end - at <= buffers.start(held[last]!) + PIECE_BYTES) {
        buffers.bytes.copyWithin(to, at, end);
        held[last + 2] = to + end - at;
        buffers.give(buffer);
        return;
      }
    }
    const start = buffers.start(buffer);
    // Moved to the front: what comes next finds room behind it.
    if (at > start && end - at < PIECE_BYTES / 2) {
      buffers.bytes.copyWithin(start, at, end);
      held.push(buffer, start, start + end - at);
    } else held.push(buffer, at, end);
  }

  /** Takes the first piece out, as `buffer`, `at` and `end`. */
  take(): void {
    [this.buffer, this.at, this.end] = this.#held.splice(0, 3) as [number, number, number];
  }

  /** Gives back what is held, and returns how many bytes that were. */
  clear(buffers: SocketBuffers): number {
    let length = 0;
    for (let n = 0; n < this.#held.length; n += 3) {
      buffers.give(this.#held[n]!);
      length += this.#held[n + 2]! - this.#held[n + 1]!;
    }
    this.#held.length = 0;
    this.hasEnd = false;
    this.trailers = null;
    return length;
  }
}
