/** The coders of a thread: made once, used for one body after the other, bounded in memory. */
import { type Coder, type CodingName, createDecoder, createEncoder } from '../../kernel/compression.ts';
import type { SocketBuffers } from '../../kernel/socket-buffers.ts';

/** What one takes at most, in KB, by coding, at the levels that policy allows. */
const ENCODER_KB: Record<CodingName, number> = { gzip: 280, br: 3500, zstd: 3500 };
const DECODER_KB: Record<CodingName, number> = { gzip: 48, br: 17_000, zstd: 8500 };
/** All that are in use, in KB; more bodies at a time go uncoded. */
const MOST_KB = 128 * 1024;
/** Of each kind, kept for later. */
const MOST_IDLE = 16;

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
      return new Coders((buffers) => createEncoder(coding, buffers, level), ENCODER_KB[coding]);
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
    if (idle.length >= MOST_IDLE) {
      coder.close();
      return;
    }
    coder.reset();
    idle.push(coder);
  }
}
