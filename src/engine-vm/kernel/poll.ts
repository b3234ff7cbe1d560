/**
 * Waiting for frames: poll(2) over a few file descriptors, with a short spin before it blocks.
 *
 * A busy engine finds the next frame in its rings without a system call; an idle one sleeps. The spin is counted in
 * looks at the rings, not in time, because asking the clock costs as much as a look.
 */
import { constants } from 'node:os';
import { errno, kernelError, libc } from './libc.ts';

const POLLIN = 1;
const POLLERR = 8;

/** Empty looks at the rings before the thread goes to sleep: about 10 microseconds. */
const SPINS = 64;

export class Poll {
  readonly #words: Int32Array;
  readonly #shorts: Int16Array;
  #idle = 0;

  constructor(fds: readonly number[]) {
    const buffer = new ArrayBuffer(fds.length * 8);
    this.#words = new Int32Array(buffer);
    this.#shorts = new Int16Array(buffer);
    for (const [index, fd] of fds.entries()) this.replace(index, fd);
  }

  /** Watches another fd in the place of one; -1 watches nothing there. */
  replace(index: number, fd: number): void {
    this.#words[index * 2] = fd;
    this.#shorts[index * 4 + 2] = POLLIN;
    this.#shorts[index * 4 + 3] = 0;
  }

  /**
   * Called once a turn of the loop with what the turn moved. Returns at once while there is work or was just now;
   * else sleeps until an fd is readable, at most `timeoutMs`. Returns whether it slept. Throws ERR_KERNEL.
   */
  rest(moved: number, timeoutMs: number): boolean {
    if (moved > 0) {
      this.#idle = 0;
      return false;
    }
    if (++this.#idle < SPINS) return false;
    const ready = libc.poll(this.#words, BigInt(this.#words.length / 2), timeoutMs);
    if (ready < 0 && errno() !== constants.errno.EINTR) throw kernelError('poll', 'the NICs of the engine');
    // What woke us is about to be followed by more.
    if (ready > 0) this.#idle = 0;
    return true;
  }

  /** True when the last sleep ended because the fd at `index` is readable or broken. */
  isReady(index: number): boolean {
    return (this.#shorts[index * 4 + 3] & (POLLIN | POLLERR)) !== 0;
  }

  /** True when the last sleep ended with an error on the fd at `index`; the owner must clear it, or poll spins. */
  hasError(index: number): boolean {
    return (this.#shorts[index * 4 + 3] & POLLERR) !== 0;
  }
}
