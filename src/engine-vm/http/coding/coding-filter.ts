/**
 * A body on its way through a coder, piece by piece, in constant memory: encoded, or decoded within bounds. Where the
 * client takes no more, what came waits here, and the member is not read.
 */
import { type Coder, ENDED, FINISH, FLUSH, INVALID, MORE, RUN } from '../../kernel/compression.ts';
import { BUFFER_BYTES, RECEIVE_BYTES, type SocketBuffers, TAILROOM } from '../../kernel/socket-buffers.ts';
import type { BodyFilter } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { refusal } from '../refusals.ts';
import type { Coders } from './coders.ts';

const OVERLOADED = refusal('overloaded');
const CODING_INVALID = refusal('member-coding-invalid');
const CODING_BOMB = refusal('member-coding-bomb');
/** A buffer that is filled no further was the last that the member had. */
const FILLED = RECEIVE_BYTES >> 1;

/** What a decoder may make of a body. */
export interface DecodingLimits {
  /** Bytes. */
  readonly maxBytes: number;
  /** Bytes for each byte that came, once they are more than `FREE_BYTES`. */
  readonly maxRatio: number;
}

/** So much is no bomb, whatever it was made of. */
const FREE_BYTES = 1 << 20;

export class CodingFilter implements BodyFilter {
  next: BodyFilter | null = null;
  readonly #coders: Coders;
  readonly #buffers: SocketBuffers;
  readonly #flushes: boolean;
  /** Null: it encodes. */
  readonly #limits: DecodingLimits | null;
  #coder: Coder | null;
  #consumed = 0;
  #produced = 0;
  /** Decoding: the coded body is whole. */
  #isWhole = false;
  #isFirst = true;
  #isRunning = false;
  /** What came and is not coded, as [buffer, at, end, is it the last, ...]. */
  readonly #queue: number[] = [];

  /** `flushes`: what the member has sent shall not wait for what it will send. */
  constructor(
    coders: Coders,
    coder: Coder,
    buffers: SocketBuffers,
    flushes: boolean,
    limits: DecodingLimits | null,
  ) {
    this.#coders = coders;
    this.#coder = coder;
    this.#buffers = buffers;
    this.#flushes = flushes;
    this.#limits = limits;
  }

  transform(exchange: Exchange, buffer: number, at: number, end: number, isLast: boolean): void {
    this.#queue.push(buffer, at, end, isLast ? 1 : 0);
    this.resume(exchange);
  }

  resume(exchange: Exchange): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    // The head has to go out in the call that it was built in.
    while (this.#coder !== null && this.#queue.length > 0 && (this.#isFirst || !exchange.client.isFull)) {
      this.#step(exchange, this.#coder);
    }
    this.#isRunning = false;
  }

  /** Fills one buffer, and hands it on. */
  #step(exchange: Exchange, coder: Coder): void {
    const buffers = this.#buffers;
    const queue = this.#queue;
    const [buffer, at, end, last] = queue as [number, number, number, number];
    const out = buffers.take();
    if (out < 0) {
      exchange.fail(OVERLOADED);
      return;
    }
    const start = buffers.start(out);
    let written = start;
    let result = ENDED;
    if (!this.#isWhole || at < end) {
      const isShort = this.#flushes && at < end && end - at < FILLED;
      const operation = last === 1 ? FINISH : isShort ? FLUSH : RUN;
      result = coder.code(at, end, start, (out + 1) * BUFFER_BYTES - TAILROOM, operation);
      written = coder.written;
      this.#consumed += coder.read - at;
      this.#produced += written - start;
      this.#isWhole = result === ENDED;
    }
    const isThrough = result !== MORE;
    const isEnd = isThrough && last === 1;
    const reason = this.#limits === null ? 0 : this.#judge(this.#limits, result, isEnd);
    if (reason !== 0) {
      buffers.give(out);
      exchange.fail(reason);
      return;
    }
    if (isThrough) {
      queue.splice(0, 4);
      buffers.give(buffer);
    } else queue[1] = coder.read;
    if (written === start && !isEnd && !this.#isFirst) {
      buffers.give(out);
      return;
    }
    this.#isFirst = false;
    exchange.passOn(this.next, out, start, written, isEnd, null);
  }

  #judge({ maxBytes, maxRatio }: DecodingLimits, result: number, isEnd: boolean): number {
    if (result === INVALID || (isEnd && !this.#isWhole && this.#consumed > 0)) return CODING_INVALID;
    if (this.#produced > maxBytes) return CODING_BOMB;
    return this.#produced > FREE_BYTES && this.#produced > this.#consumed * maxRatio ? CODING_BOMB : 0;
  }

  close(): void {
    if (this.#coder === null) return;
    this.#coders.give(this.#coder, this.#buffers);
    this.#coder = null;
    for (let n = 0; n < this.#queue.length; n += 4) this.#buffers.give(this.#queue[n]!);
    this.#queue.length = 0;
  }
}
