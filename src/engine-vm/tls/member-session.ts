/**
 * The TLS of one connection to a member. Owns the channel until the handshake is done, and keeps what is to be sent
 * until then; the connection hears that it is connected only once the certificate of the member was found good.
 */
import type { Channel, ChannelOwner, Channels, Session } from '../http/channel.ts';
import { refusal } from '../http/refusals.ts';
import { verdictOf } from '../kernel/peer-certificate.ts';
import { RECEIVE_BYTES } from '../kernel/socket-buffers.ts';
import { BROKEN, ENDED, type TlsPipe, WANTS } from '../kernel/tls-pipe.ts';
import type { MemberTls } from './member-tls.ts';
import { sendRecords } from './send-records.ts';

const EPROTO = 71;
const NO_TLS = refusal('member-tls');
const UNTRUSTED = refusal('member-certificate-untrusted');
/** By X509_V_ERR. */
const REFUSALS: Readonly<Record<number, number>> = {
  0: NO_TLS,
  10: refusal('member-certificate-expired'),
  23: refusal('member-certificate-revoked'),
  62: refusal('member-certificate-name'),
  64: refusal('member-certificate-name'),
};
/** So many buffers are kept until the handshake is done; then the client has to wait. */
const FULL = 3;

/** The connection that it is for. */
export interface SecuredConnection extends ChannelOwner {
  /** No TLS came about, for this reason: the connection is of no use. */
  notSecured(reason: number): void;
}

export class MemberSession implements Session, ChannelOwner {
  readonly #channel: Channel;
  readonly #channels: Channels;
  readonly #connection: SecuredConnection;
  readonly #tls: MemberTls;
  readonly #pipe: TlsPipe;
  readonly #host: string;
  #ssl: bigint;
  #isSecured = false;
  #isEstablished = false;
  #isEnding = false;
  #isBroken = false;
  /** What waits for the handshake, as [buffer, at, end, ...]. */
  #held: number[] = [];
  /** The member has said that nothing more comes: what ends without is cut short. */
  hasEnded = false;

  /** Begins the handshake. `host`: address and port, by which tickets are kept. */
  constructor(
    channel: Channel,
    channels: Channels,
    connection: SecuredConnection,
    tls: MemberTls,
    host: string,
    address: string,
  ) {
    this.#channel = channel;
    this.#channels = channels;
    this.#connection = connection;
    this.#tls = tls;
    this.#pipe = tls.pipe;
    this.#host = host;
    this.#ssl = tls.begin(host, address, channels.nowMs);
    channel.session = this;
    channel.owner = this;
    if (this.#ssl === 0n) {
      this.#isBroken = true;
      return;
    }
    this.#pipe.handshake(this.#ssl, 0, 0, null);
    this.#flush();
  }

  /** More is to wait with the client. */
  get isFull(): boolean {
    return this.#held.length >= FULL * 3;
  }

  received(buffer: number, at: number, end: number): void {
    if (this.#ssl !== 0n && !this.#isBroken) {
      const from = this.#isSecured ? at : this.#handshake(at, end);
      if (from >= 0 && from < end) this.#read(from, end);
    }
    this.#channels.buffers.give(buffer);
  }

  /** Up to where the bytes were taken once it is done, else -1. */
  #handshake(at: number, end: number): number {
    const result = this.#pipe.handshake(this.#ssl, at, end, null);
    const { taken } = this.#pipe;
    this.#flush();
    if (result === WANTS) return -1;
    if (result !== 1) {
      this.#isBroken = true;
      this.#connection.notSecured(REFUSALS[verdictOf(this.#ssl)] ?? UNTRUSTED);
      return -1;
    }
    this.#isSecured = true;
    this.#channel.owner = this.#connection;
    const wasFull = this.isFull;
    const held = this.#held;
    this.#held = [];
    this.#connection.onConnect(0);
    for (let n = 0; n < held.length; n += 3) this.write(held[n]!, held[n + 1]!, held[n + 2]!);
    if (wasFull && !this.#channel.isFull) this.#channel.owner?.onDrained();
    return taken;
  }

  #read(at: number, end: number): void {
    const { buffers } = this.#channels;
    for (let from = at; ; ) {
      if (this.#ssl === 0n || this.#isBroken) return;
      const buffer = buffers.take();
      if (buffer < 0) {
        this.#lost(EPROTO);
        return;
      }
      const length = this.#pipe.read(this.#ssl, from, end, buffer, RECEIVE_BYTES);
      from = this.#pipe.taken;
      if (this.#pipe.hasOutput) this.#flush();
      if (length > 0) {
        if (!this.#isEstablished) {
          this.#isEstablished = true;
          this.#tls.established(this.#ssl, this.#host, this.#channels.nowMs);
        }
        const start = buffers.start(buffer);
        this.#channel.deliver(buffer, start, start + length);
        if (from === end && length < RECEIVE_BYTES) return;
        continue;
      }
      buffers.give(buffer);
      if (length === WANTS) return;
      this.hasEnded = length === ENDED;
      this.#lost(length === BROKEN ? EPROTO : 0);
      return;
    }
  }

  #lost(error: number): void {
    if (error !== 0) this.#isBroken = true;
    this.#channel.owner?.onEnd(error);
  }

  write(buffer: number, at: number, end: number): void {
    if (!this.#isSecured && !this.#isBroken) {
      this.#held.push(buffer, at, end);
      return;
    }
    const isLost = this.#ssl !== 0n && !this.#isBroken && end > at && !this.#pipe.write(this.#ssl, at, end);
    this.#channels.buffers.give(buffer);
    // The member notices that something is missing, as no close_notify comes.
    if (isLost) {
      this.#isBroken = true;
      this.#channel.end();
    }
    this.#flush();
  }

  #flush(): void {
    if (sendRecords(this.#pipe, this.#channels.buffers, this.#channel)) return;
    this.#isBroken = true;
    this.#channel.end();
  }

  end(): void {
    if (this.#ssl === 0n || !this.#isSecured || this.#isEnding || this.#isBroken) return;
    this.#isEnding = true;
    this.#pipe.shutdown(this.#ssl);
    this.#flush();
  }

  close(): void {
    for (let n = 0; n < this.#held.length; n += 3) this.#channels.buffers.give(this.#held[n]!);
    this.#held = [];
    if (this.#ssl === 0n) return;
    this.#pipe.close(this.#ssl);
    this.#ssl = 0n;
  }

  onConnect(error: number): void {
    if (error !== 0) this.#connection.onConnect(error);
    else if (this.#isBroken) this.#connection.notSecured(NO_TLS);
  }

  onEnd(): void {
    this.#connection.notSecured(NO_TLS);
  }

  onDeadline(): void {
    this.#connection.notSecured(NO_TLS);
  }

  onBytes(buffer: number): void {
    this.#channels.buffers.give(buffer);
  }

  onDrained(): void {
    // Nothing of the connection's has been sent yet.
  }
}
