/**
 * The requests of a pool that wait, because all members (or the one that the client is bound to) are at their limit of
 * connections. First come, first served: while some wait, others do not pass them. Served at the end of each turn of the
 * loop, so that nothing is written in the middle of something else.
 */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { ALL_BUSY, type Availability } from './availability.ts';
import type { Exchange } from './exchange.ts';
import { Head } from './head.ts';
import { copyHead } from './kept-request.ts';
import type { Member } from './member.ts';

/** A request that waits: its head, which stands in the first buffer, and what of its body has come. */
export class WaitingRequest {
  /** Of the body; -1: not known. */
  length = 0;
  wanted: Member | null = null;
  untilMs = 0;
  exchange!: Exchange;
  previous: WaitingRequest | null = null;
  next: WaitingRequest | null = null;
  isQueued = false;
  readonly head = new Head();
  /** As [buffer, at, end, ...]. */
  readonly #body: number[] = [];
  #isWhole = false;
  #trailers: Uint8Array | null = null;

  begin(exchange: Exchange, length: number, wanted: Member | null, untilMs: number): void {
    this.exchange = exchange;
    this.length = length;
    this.wanted = wanted;
    this.untilMs = untilMs;
    copyHead(exchange.request, this.head, exchange.request.bytes, exchange.request.start);
    this.#isWhole = false;
    this.#trailers = null;
  }

  /** Data of the body. Takes the buffer. */
  hold(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    this.#body.push(buffer, at, end);
    this.#isWhole = isLast;
    this.#trailers = trailers;
  }

  /** Sends what was held, for as long as the exchange has that side. */
  send(buffers: SocketBuffers): void {
    const { exchange } = this;
    const { side } = exchange;
    const body = this.#body;
    for (let n = 0; n < body.length; n += 3) {
      const isLast = this.#isWhole && n + 3 === body.length;
      if (side !== null && exchange.side === side) {
        side.sendBody(body[n]!, body[n + 1]!, body[n + 2]!, isLast, isLast ? this.#trailers : null);
      } else buffers.give(body[n]!);
    }
    body.length = 0;
  }

  drop(buffers: SocketBuffers): void {
    for (let n = 0; n < this.#body.length; n += 3) buffers.give(this.#body[n]!);
    this.#body.length = 0;
  }
}

/** Those that waited, kept for the next ones: a head is large. */
const MOST_SPARE = 64;

export class RequestQueue {
  /** Requests that have waited, since the start. */
  waited = 0;
  readonly #availability: Availability;
  #first: WaitingRequest | null = null;
  #last: WaitingRequest | null = null;
  /** How many there are, and how many of them any member may serve. */
  #count = 0;
  #unbound = 0;
  readonly #spare: WaitingRequest[] = [];

  constructor(availability: Availability) {
    this.#availability = availability;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether a request that any member may serve has to wait behind others. */
  get hasUnbound(): boolean {
    return this.#unbound > 0;
  }

  /** Puts one at the end. Null where as many wait already: of those that any member may serve, or for that member. */
  add(
    exchange: Exchange,
    length: number,
    wanted: Member | null,
    untilMs: number,
    most: number,
  ): WaitingRequest | null {
    if ((wanted === null ? this.#unbound : wanted.waiting) >= most) return null;
    const one = this.#spare.pop() ?? new WaitingRequest();
    one.begin(exchange, length, wanted, untilMs);
    one.isQueued = true;
    one.previous = this.#last;
    if (this.#last === null) this.#first = one;
    else this.#last.next = one;
    this.#last = one;
    this.#count++;
    if (wanted === null) this.#unbound++;
    else wanted.waiting++;
    this.waited++;
    return one;
  }

  /** Takes one out, wherever it stands. */
  remove(one: WaitingRequest): void {
    if (one.previous === null) this.#first = one.next;
    else one.previous.next = one.next;
    if (one.next === null) this.#last = one.previous;
    else one.next.previous = one.previous;
    one.previous = null;
    one.next = null;
    one.isQueued = false;
    this.#count--;
    this.#unbind(one);
    this.#unbound--;
  }

  /** One that is out of the queue: what it holds still is given back. */
  recycle(one: WaitingRequest, buffers: SocketBuffers): void {
    one.drop(buffers);
    if (this.#spare.length < MOST_SPARE) this.#spare.push(one);
  }

  /** Any member may serve it from now on. */
  #unbind(one: WaitingRequest): void {
    if (one.wanted === null) return;
    one.wanted.waiting--;
    one.wanted = null;
    this.#unbound++;
  }

  /** Hands on those that members have room for, in order, and refuses those that have waited too long. */
  serve(nowMs: number): void {
    const availability = this.#availability;
    let areAllBusy = false;
    for (let one = this.#first; one !== null; ) {
      const { next, wanted, exchange } = one;
      if (one.untilMs <= nowMs) {
        this.remove(one);
        exchange.waitedTooLong();
      } else {
        let position: number = ALL_BUSY;
        if (wanted !== null) {
          if (availability.takes(wanted)) ({ position } = wanted);
          else if (!wanted.isFull) this.#unbind(one);
        }
        if (one.wanted === null && !areAllBusy) position = availability.choose(exchange.sourceHash, null);
        if (position !== ALL_BUSY) {
          this.remove(one);
          exchange.admit(position);
        } else if (one.wanted === null) areAllBusy = true;
      }
      if (areAllBusy && this.#count === this.#unbound && !this.#isLate(next, nowMs)) return;
      // One that is refused may take others of its connection with it.
      one = next === null || next.isQueued ? next : this.#first;
    }
  }

  #isLate(one: WaitingRequest | null, nowMs: number): boolean {
    return one !== null && one.untilMs <= nowMs;
  }
}
