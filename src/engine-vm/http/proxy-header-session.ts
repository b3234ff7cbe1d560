/**
 * Stands between a channel and its owner until the header of the PROXY protocol is there, which tells whose connection
 * it is; then it takes itself out, and the owner gets what follows.
 */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import type { Channel, Session } from './channel.ts';
import { readProxyHeader } from './proxy-header.ts';

const NOTHING = new Uint8Array(0);

export class ProxyHeaderSession implements Session {
  readonly #channel: Channel;
  readonly #buffers: SocketBuffers;
  /** The session whose bytes follow the header, if there is one (TLS). */
  readonly #next: Session | null;
  readonly #onHeader: () => void;
  readonly #onInvalid: () => void;
  #kept = NOTHING;
  #isRefused = false;

  constructor(channel: Channel, buffers: SocketBuffers, onHeader: () => void, onInvalid: () => void) {
    this.#channel = channel;
    this.#buffers = buffers;
    this.#next = channel.session;
    this.#onHeader = onHeader;
    this.#onInvalid = onInvalid;
    channel.session = this;
  }

  received(buffer: number, at: number, end: number): void {
    if (this.#isRefused) {
      this.#channel.deliver(buffer, at, end);
      return;
    }
    const came = this.#buffers.bytes.subarray(at, end);
    const kept = this.#kept.length;
    const bytes = kept === 0 ? came : Uint8Array.from(Buffer.concat([this.#kept, came]));
    const header = readProxyHeader(bytes);
    if (header.state !== 'whole') {
      if (header.state === 'cut') this.#kept = bytes.slice();
      else this.#isRefused = true;
      this.#buffers.give(buffer);
      if (this.#isRefused) this.#onInvalid();
      return;
    }
    const channel = this.#channel;
    channel.told = header.ends;
    channel.session = this.#next;
    this.#onHeader();
    const from = at + header.length - kept;
    if (from === end) this.#buffers.give(buffer);
    else if (this.#next !== null) this.#next.received(buffer, from, end);
    else channel.deliver(buffer, from, end);
  }

  /** Only refusals are written before the header is there: past what would encode them. */
  write(buffer: number, at: number, end: number): void {
    this.#channel.transmit(buffer, at, end);
  }

  end(): void {}

  close(): void {
    this.#next?.close();
  }
}
