/** The coders of a thread: made once, used for one body after the other, bounded in memory. */
import { type Coder, type CodingName, createDecoder, createEncoder } from '../../kernel/compression.ts';
import type { SocketBuffers } from '../../kernel/socket-buffers.ts';

/** What an encoder takes at most, in KB, by level from 0: measured with noise, which fills all its tables. */
const ENCODER_KB: Record<CodingName, readonly number[]> = {
  gzip: [280, 280, 280, 280, 280, 280, 280, 280, 280, 280],
  br: [300, 700, 900, 1100, 1100, 2200, 3300, 9500, 18_000, 35_000],
  zstd: [700, 700, 900, 1400, 2800, 3400, 3400, 6000, 6000, 11_500],
};
const DECODER_KB: Record<CodingName, number> = { gzip: 48, br: 17_000, zstd: 8500 };
/** All that are in use, in KB; more bodies at a time go uncoded. */
const MOST_KB = 128 * 1024;
/** Of those that are free, kept for later: of each kind, in KB. */
const MOST_IDLE_KB = 16 * 1024;

export class Coders {
  readonly #create: (buffers: SocketBuffers) => Coder;
  readonly #kilobytes: number;
  readonly #idle = new WeakMap<SocketBuffers, Coder[]>();
  /** Kept by all services of the thread, and over reloads. */
  static readonly #all = new Map<string, Coders>();
  /** KB in use by all coders of this thread. */
  static #used = 0;

  private constructor(create: (buffers: SocketBuffers) => Coder, kilobytes: number) {
    this.#create = create;
    this.#kilobytes = kilobytes;
  }

  static encoders(coding: CodingName, level: number): Coders {
    return Coders.#of(`${coding} ${level}`, () => {
      return new Coders((buffers) => createEncoder(coding, buffers, level), ENCODER_KB[coding][level]!);
    });
  }

  static decoders(coding: CodingName): Coders {
    return Coders.#of(coding, () => {
      return new Coders((buffers) => createDecoder(coding, buffers), DECODER_KB[coding]);
    });
  }

  static #of(key: string, create: () => Coders): Coders {
    const coders = Coders.#all.get(key) ?? create();
    Coders.#all.set(key, coders);
    return coders;
  }

  /** One for a body in these buffers; null where too many are in use. */
  take(buffers: SocketBuffers): Coder | null {
    if (Coders.#used + this.#kilobytes > MOST_KB) return null;
    let coder = this.#idle.get(buffers)?.pop();
    if (coder === undefined) {
      try {
        coder = this.#create(buffers);
      } catch {
        return null;
      }
    }
    Coders.#used += this.#kilobytes;
    return coder;
  }

  give(coder: Coder, buffers: SocketBuffers): void {
    Coders.#used -= this.#kilobytes;
    const idle = this.#idle.get(buffers) ?? [];
    this.#idle.set(buffers, idle);
    if ((idle.length + 1) * this.#kilobytes > MOST_IDLE_KB) {
      coder.close();
      return;
    }
    coder.reset();
    idle.push(coder);
  }
}
