/** The client's side of an exchange that has no client: a stored response is fetched anew while an older one is served. */
import type { SocketBuffers } from '../../../kernel/socket-buffers.ts';
import { Exchange } from '../../exchange.ts';
import type { ClientSide, ExchangeContext } from '../../exchange-sides.ts';
import type { Members } from '../../members.ts';
import type { Service } from '../../service.ts';
import type { TurnClock } from '../../turn-clock.ts';

export class BackgroundClient implements ClientSide {
  readonly clientAddress = '';
  readonly ends = null;
  readonly isFull = false;
  readonly exchange: Exchange;
  readonly #buffers: SocketBuffers;
  readonly #forwarded: Uint8Array;

  /** `forwarded`: the lines that tell of the client whose request it is made of. */
  constructor(context: ExchangeContext, forwarded: Uint8Array) {
    this.#buffers = context.buffers;
    this.#forwarded = forwarded;
    this.exchange = new Exchange(new BackgroundContext(context), this);
  }

  forwardedLines(): Uint8Array {
    return this.#forwarded;
  }

  sendInterim(): void {}

  sendHead(): void {}

  sendBody(buffer: number, _at: number, _end: number, isLast: boolean): void {
    this.#buffers.give(buffer);
    if (isLast) this.exchange.end();
  }

  answer(): void {
    this.exchange.end();
  }

  abort(): void {}

  beginTunnel(): void {}

  endTunnel(): void {}

  pauseRequest(): void {}

  resumeRequest(): void {}
}

/** The thread, with nothing counted or logged: no client asked. */
class BackgroundContext implements ExchangeContext {
  readonly #context: ExchangeContext;

  constructor(context: ExchangeContext) {
    this.#context = context;
  }

  get buffers(): SocketBuffers {
    return this.#context.buffers;
  }

  get members(): Members {
    return this.#context.members;
  }

  get pools(): readonly Members[] {
    return this.#context.pools;
  }

  get service(): Service {
    return this.#context.service;
  }

  get nowMs(): number {
    return this.#context.nowMs;
  }

  get clock(): TurnClock {
    return this.#context.clock;
  }

  began(): void {}

  ended(): void {}
}
