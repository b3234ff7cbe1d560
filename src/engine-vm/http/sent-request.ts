/** A whole request as it was sent to a member, in one buffer, for as long as it may be sent again. */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import type { Exchange } from './exchange.ts';
import type { MemberSide } from './exchange-sides.ts';

export class SentRequest {
  readonly #buffers: SocketBuffers;
  #buffer = -1;
  #at = 0;
  #end = 0;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
  }

  get isKept(): boolean {
    return this.#buffer >= 0;
  }

  /** Holds the buffer, for the first of several attempts. */
  keep(buffer: number, at: number, end: number): void {
    if (this.#buffer >= 0) return;
    this.#buffers.hold(buffer);
    this.#buffer = buffer;
    this.#at = at;
    this.#end = end;
  }

  sendAgain(exchange: Exchange, side: MemberSide): void {
    this.#buffers.hold(this.#buffer);
    side.resend(exchange, this.#buffer, this.#at, this.#end);
  }

  drop(): void {
    if (this.#buffer < 0) return;
    this.#buffers.give(this.#buffer);
    this.#buffer = -1;
  }
}
