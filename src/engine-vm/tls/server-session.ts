/**
 * The TLS of one client connection. Owns the channel until the handshake is done; from then on it stands between the
 * channel and whoever ALPN has chosen.
 */
import type { Channel, ChannelOwner, Channels, Session } from '../http/channel.ts';
import { RECEIVE_BYTES } from '../kernel/socket-buffers.ts';
import { BROKEN, ENDED, type TlsPipe, WANTS } from '../kernel/tls-pipe.ts';
import { sendRecords } from './send-records.ts';
import type { ServerTls } from './server-tls.ts';
import { type ShownCertificate, shownCertificate } from './shown-certificate.ts';

const EPROTO = 71;
/** For those who speak HTTP where TLS is spoken. */
const TEXT = 'This port speaks TLS: ask by https.\n';
const PLAIN = Buffer.from(
  `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: ${TEXT.length}\r\nConnection: close\r\n\r\n${TEXT}`,
  'latin1',
);

const isLetter = (byte: number): boolean => byte >= 65 && byte <= 90;

export class ServerSession implements Session, ChannelOwner {
  readonly channel: Channel;
  /** Clients learn of a drain from the owner that comes after. */
  isDraining = false;
  /** The certificate of the client; null where it was not asked for one, or has shown none. */
  shown: ShownCertificate | null = null;
  readonly #channels: Channels;
  readonly #tls: ServerTls;
  readonly #pipe: TlsPipe;
  readonly #onSecured: (session: ServerSession) => void;
  readonly #onClosed: (session: ServerSession) => void;
  #ssl: bigint;
  #hasBegun = false;
  #isSecured = false;
  #isEnding = false;
  #isClosed = false;
  #isBroken = false;
  #serverName = '';
  #protocol = '';
  /** The host that was last found to be covered, as it stood in a request. */
  #covered: Uint8Array | null = null;

  constructor(
    channel: Channel,
    channels: Channels,
    tls: ServerTls,
    deadlineMs: number,
    onSecured: (session: ServerSession) => void,
    onClosed: (session: ServerSession) => void,
  ) {
    this.channel = channel;
    this.#channels = channels;
    this.#tls = tls;
    this.#pipe = tls.pipe;
    this.#onSecured = onSecured;
    this.#onClosed = onClosed;
    tls.began();
    this.#ssl = this.#pipe.open(tls.context, true);
    channel.session = this;
    channel.owner = this;
    channel.deadlineMs = deadlineMs;
  }

  get isHttp2(): boolean {
    return this.#protocol === 'h2';
  }

  /** May a request with that Host come on this connection? */
  covers(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.#serverName === '') return true;
    const known = this.#covered;
    if (known !== null && known.length === end - at) {
      let n = 0;
      while (n < known.length && known[n] === bytes[at + n]) n++;
      if (n === known.length) return true;
    }
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at).toString('latin1');
    const host = text.replace(/:\d*$/, '').toLowerCase();
    if (!this.#tls.covers(this.#serverName, host)) return false;
    this.#covered = bytes.slice(at, end);
    return true;
  }

  received(buffer: number, at: number, end: number): void {
    const { buffers } = this.#channels;
    if (this.#ssl === 0n || this.#isBroken) {
      buffers.give(buffer);
      return;
    }
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      if (isLetter(buffers.bytes[at]!)) {
        this.#answerPlain(buffer);
        return;
      }
    }
    let from = at;
    if (!this.#isSecured) {
      from = this.#handshake(at, end);
      if (from < 0) {
        buffers.give(buffer);
        return;
      }
    }
    if (from < end) this.#read(from, end);
    buffers.give(buffer);
  }

  #answerPlain(buffer: number): void {
    const { buffers } = this.#channels;
    this.#isBroken = true;
    const start = buffers.start(buffer);
    buffers.bytes.set(PLAIN, start);
    this.channel.transmit(buffer, start, start + PLAIN.length);
    this.channel.finish();
  }

  /** Up to where the bytes were taken once it is done, else -1. */
  #handshake(at: number, end: number): number {
    const result = this.#pipe.handshake(this.#ssl, at, end, this.#tls);
    const { taken, serverName, protocol } = this.#pipe;
    if (serverName !== '') this.#serverName = serverName;
    if (protocol !== '') this.#protocol = protocol;
    this.#flush();
    if (result === 1) {
      this.#isSecured = true;
      this.#tls.ended();
      this.channel.deadlineMs = 0;
      const fields = this.#tls.certificateFields;
      if (fields !== null) this.shown = shownCertificate(this.#ssl, fields, this.#channels.nowMs);
      this.#onSecured(this);
      return taken;
    }
    if (result !== WANTS) {
      this.#isBroken = true;
      // The alert is sent.
      this.channel.finish();
    }
    return -1;
  }

  #read(at: number, end: number): void {
    const { buffers } = this.#channels;
    for (let from = at; ; ) {
      // The owner may have closed the channel; what is left of the records is nobody's then.
      if (this.#ssl === 0n || this.#isBroken) return;
      const buffer = buffers.take();
      if (buffer < 0) {
        this.#broken();
        return;
      }
      const length = this.#pipe.read(this.#ssl, from, end, buffer, RECEIVE_BYTES);
      from = this.#pipe.taken;
      // What it answers of itself (a new key) must not lie there when another session writes.
      if (this.#pipe.hasOutput) this.#flush();
      if (length > 0) {
        const start = buffers.start(buffer);
        this.channel.deliver(buffer, start, start + length);
        // A record that is longer than a buffer comes in two.
        if (from === end && length < RECEIVE_BYTES) return;
        continue;
      }
      buffers.give(buffer);
      if (length === WANTS) return;
      if (length === BROKEN) this.#isBroken = true;
      this.channel.owner?.onEnd(length === ENDED ? 0 : EPROTO);
      return;
    }
  }

  write(buffer: number, at: number, end: number): void {
    const isLost = this.#ssl !== 0n && !this.#isBroken && end > at && !this.#pipe.write(this.#ssl, at, end);
    this.#channels.buffers.give(buffer);
    if (isLost) this.#broken();
    this.#flush();
  }

  /** What was said last is sent; the client notices that the rest is missing, as no close_notify comes. */
  #broken(): void {
    this.#isBroken = true;
    this.channel.end();
  }

  #flush(): void {
    if (sendRecords(this.#pipe, this.#channels.buffers, this.channel)) return;
    this.#broken();
  }

  end(): void {
    if (this.#ssl === 0n || !this.#isSecured || this.#isEnding || this.#isBroken) return;
    this.#isEnding = true;
    this.#pipe.shutdown(this.#ssl);
    this.#flush();
  }

  /** Of the session: the channel is closed. Of the owner, while the handshake lasts: closes it. */
  close(): void {
    if (this.channel.isOpen) {
      this.channel.close();
      return;
    }
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#ssl !== 0n) this.#pipe.close(this.#ssl);
    this.#ssl = 0n;
    if (this.#isSecured) return;
    this.#tls.ended();
    this.#onClosed(this);
  }

  /** What came in front of the handshake is not what a proxy has to say. */
  refuse(): void {
    this.close();
  }

  /** A handshake that has begun is the begin of a request; its deadline is the loop's. */
  closeIfIdle(): void {
    if (!this.#hasBegun) this.close();
  }

  onBytes(buffer: number): void {
    this.#channels.buffers.give(buffer);
  }

  onEnd(): void {
    this.close();
  }

  onDeadline(): void {
    this.close();
  }

  onDrained(): void {
    // Nothing waits for room while the handshake lasts.
  }

  onConnect(): void {
    // A client's connection is connected when it is accepted.
  }
}
