/** A request of an HTTP/2 client and its response: the client's half of an exchange, as one stream of a session. */
import type { ConnectionEnds } from '../../kernel/socket-address.ts';
import type { ServerSession } from '../../tls/server-session.ts';
import { Exchange } from '../exchange.ts';
import type { ClientSide } from '../exchange-sides.ts';
import { FIELD } from '../field-names.ts';
import type { Head } from '../head.ts';
import { line } from '../head-writer.ts';
import { REFUSALS, refusal, STATUS_TEXT } from '../refusals.ts';
import type { ClientSession } from './client-session.ts';
import { CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR } from './frames.ts';
import { HeldData } from './held-data.ts';
import { staticIndex } from './static-table.ts';
import { Stream } from './stream.ts';

const LENGTH_MISMATCH = refusal('content-length-mismatch');
const BODY_TOO_LARGE = refusal('body-too-large');
const BODY_TIMEOUT = refusal('body-timeout');
const OVERLOADED = refusal('overloaded');
const MALFORMED_STREAM = refusal('stream-broken');
const CONTENT_TYPE = staticIndex('content-type');
const CONTENT_LENGTH = staticIndex('content-length');
const PLAIN = line('text/plain');

/** Refused as a matter of policy: the message itself is well-formed. */
const WELL_FORMED = new Set(['target-encoding-invalid', 'target-slash-encoded', 'target-dot-segment']);
/** Those that RFC 9113 8.1.1 calls malformed: after its answer the stream is reset, too. */
const IS_MALFORMED = Uint8Array.from(REFUSALS, ({ name, status }) =>
  status === 400 && !WELL_FORMED.has(name) ? 1 : 0,
);

export class ClientStream extends Stream implements ClientSide {
  declare readonly session: ClientSession;
  readonly exchange: Exchange;
  #contentLength = -1;
  #received = 0;
  #isPaused = false;
  /** Of the request, while the member is full. */
  readonly #held = new HeldData();
  #isHeadBuilt = false;
  #stalledSinceMs = 0;

  constructor(session: ClientSession) {
    super(session);
    this.exchange = new Exchange(session.context, this);
  }

  #begin(id: number, isLast: boolean): void {
    this.begin(id);
    this.isRemoteDone = isLast;
    this.#contentLength = -1;
    this.#received = 0;
    this.#isPaused = false;
    this.#isHeadBuilt = false;
    this.#stalledSinceMs = 0;
    if (!isLast) this.#awaitBody();
  }

  /** Begins with a head, which stands in `buffer` up to `end`. Takes the buffer. */
  start(id: number, head: Head, buffer: number, end: number, isLast: boolean, sourceHash: number): void {
    this.#begin(id, isLast);
    const { contentLength } = head;
    const { buffers } = this.session.channels;
    const { http } = this.session.context.service.settings;
    if (isLast && contentLength > 0) {
      buffers.give(buffer);
      this.exchange.startRefused(LENGTH_MISMATCH);
      return;
    }
    if (contentLength > http.maxBodyBytes) {
      buffers.give(buffer);
      this.exchange.startRefused(BODY_TOO_LARGE);
      return;
    }
    this.#contentLength = contentLength;
    const length = isLast ? 0 : contentLength;
    if (this.exchange.start(head, length, false, sourceHash)) {
      this.exchange.requestBody(buffer, end, end, isLast, null);
    } else buffers.give(buffer);
  }

  startRefused(id: number, reason: number, isLast: boolean): void {
    this.#begin(id, isLast);
    this.exchange.startRefused(reason);
  }

  get clientAddress(): string {
    return this.session.clientAddress;
  }

  get ends(): ConnectionEnds | null {
    return this.session.channel.ends;
  }

  get tls(): ServerSession | null {
    return this.session.channel.session as ServerSession | null;
  }

  get isFull(): boolean {
    return this.isStreamFull;
  }

  forwardedLines(exchange: Exchange): Uint8Array {
    return this.session.forwardedLines(exchange.service.settings.http);
  }

  #awaitBody(): void {
    const { http } = this.session.context.service.settings;
    this.deadlineMs = this.session.channels.nowMs + http.bodyTimeoutMs;
  }

  dataReceived(buffer: number, at: number, end: number, isLast: boolean): void {
    const { session } = this;
    const { buffers } = session.channels;
    this.#received += end - at;
    if (isLast) this.isRemoteDone = true;
    this.deadlineMs = 0;
    if (!isLast && !this.#isPaused) this.#awaitBody();
    const error = this.#lengthError(isLast);
    if (error !== 0) {
      if (buffer >= 0) buffers.give(buffer);
      session.taken(end - at);
      this.exchange.fail(error);
      return;
    }
    if (this.#isPaused) {
      if (isLast) this.#held.hasEnd = true;
      if (buffer >= 0) this.#held.add(buffers, buffer, at, end);
      session.receiveWindow.held(end - at);
      return;
    }
    this.#hand(buffer, at, end, isLast, null);
    session.taken(end - at);
    session.takenOf(this, end - at);
  }

  #lengthError(isLast: boolean): number {
    const length = this.#contentLength;
    if (length >= 0 && (this.#received > length || (isLast && this.#received < length)))
      return LENGTH_MISMATCH;
    const most = this.session.context.service.settings.http.maxBodyBytes;
    return this.#received > most ? BODY_TOO_LARGE : 0;
  }

  /** The trailer section, which ends the request. Null where it holds nothing. */
  trailersReceived(trailers: Uint8Array | null): void {
    this.isRemoteDone = true;
    this.deadlineMs = 0;
    const error = this.#lengthError(true);
    if (error !== 0) {
      this.exchange.fail(error);
      return;
    }
    if (this.#isPaused) {
      this.#held.hasEnd = true;
      this.#held.trailers = trailers;
    } else this.#hand(-1, 0, 0, true, trailers);
  }

  #hand(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    const { buffers } = this.session.channels;
    if (!this.exchange.isActive) {
      if (buffer >= 0) buffers.give(buffer);
      return;
    }
    if (buffer >= 0) {
      this.exchange.requestBody(buffer, at, end, isLast, trailers);
      return;
    }
    const own = buffers.take();
    if (own < 0) {
      this.exchange.fail(OVERLOADED);
      return;
    }
    const start = buffers.start(own);
    this.exchange.requestBody(own, start, start, isLast, trailers);
  }

  pauseRequest(): void {
    this.#isPaused = true;
    // Waiting is not the client's fault now.
    this.deadlineMs = 0;
  }

  resumeRequest(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const { session } = this;
    const held = this.#held;
    while (!held.isEmpty && !this.#isPaused) {
      held.take();
      const isLast = held.hasEnd && held.isEmpty && held.trailers === null;
      if (isLast) held.hasEnd = false;
      const length = held.end - held.at;
      this.#hand(held.buffer, held.at, held.end, isLast, null);
      session.receiveWindow.takenHeld(length);
      session.takenOf(this, length);
    }
    if (!this.#isPaused && held.hasEnd) {
      const { trailers } = held;
      held.hasEnd = false;
      held.trailers = null;
      this.#hand(-1, 0, 0, true, trailers);
    }
    if (!this.#isPaused && !this.isRemoteDone) this.#awaitBody();
    session.flushSoon();
  }

  sendInterim(exchange: Exchange): void {
    const { writer } = this.session;
    writer.begin();
    writer.status(exchange.response.status);
    writer.fields(exchange.response, false, true);
    this.session.flush();
    if (!writer.sendAlone(this.session.channel, this.id, false)) this.session.close();
  }

  sendHead(exchange: Exchange, length: number): void {
    const { writer } = this.session;
    const { response } = exchange;
    const { status } = response;
    const hasNoBody = exchange.isHead || status === 204 || status === 304;
    writer.begin();
    writer.status(status);
    writer.fields(response, false, (!hasNoBody && length < 0) || status === 204);
    if (response.find(FIELD.date) < 0) writer.date();
    const { responseLines } = exchange;
    for (let n = 0; n < responseLines.length; n++) writer.lines(responseLines.at(n));
    this.#isHeadBuilt = true;
  }

  sendBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    const isHeadBuilt = this.#isHeadBuilt;
    this.#isHeadBuilt = false;
    this.send(isHeadBuilt, buffer, at, end, isLast, trailers);
    // Whoever waited for its end may build a head, so this one had to go first.
    if (isLast && this.exchange.isActive) this.exchange.end();
  }

  answer(exchange: Exchange, status: number, reason: string, fields: readonly Uint8Array[]): void {
    const { session } = this;
    const { writer, channels } = session;
    const { isHead } = exchange;
    const code = IS_MALFORMED[exchange.refusal] === 1 ? PROTOCOL_ERROR : NO_ERROR;
    exchange.responseBytes = 0;
    exchange.end();
    const text = line(`${status} ${STATUS_TEXT[status] ?? ''}: ${reason}\n`);
    const buffer = channels.buffers.take();
    if (buffer < 0) {
      session.close();
      return;
    }
    const at = channels.buffers.start(buffer);
    channels.buffers.bytes.set(text, at);
    writer.begin();
    writer.status(status);
    writer.date();
    writer.named(CONTENT_TYPE, PLAIN, 0, PLAIN.length);
    const length = line(String(text.length));
    writer.named(CONTENT_LENGTH, length, 0, length.length);
    for (const one of fields) writer.lines(one);
    this.#isHeadBuilt = false;
    if (code === NO_ERROR) this.send(true, buffer, at, isHead ? at : at + text.length, true, null);
    else if (this.send(true, buffer, at, isHead ? at : at + text.length, false, null)) this.#reset(code);
  }

  abort(): void {
    this.#reset(INTERNAL_ERROR);
  }

  beginTunnel(): void {
    this.#reset(INTERNAL_ERROR);
  }

  endTunnel(): void {
    this.#reset(NO_ERROR);
  }

  #reset(code: number): void {
    if (this.session.isClosed || this.id === 0) return;
    this.session.reset(this.id, code);
    this.session.flushSoon();
    this.#done();
  }

  broken(code: number): void {
    const { exchange } = this;
    if (exchange.isActive) {
      exchange.refusal = MALFORMED_STREAM;
      exchange.end();
    }
    this.#reset(code);
  }

  wasResetByPeer(): void {
    this.#done();
  }

  lost(): void {
    this.#clear();
  }

  protected sentLast(): void {
    // The rest of the request is of no use to anybody.
    if (!this.isRemoteDone) this.session.reset(this.id, NO_ERROR);
    this.#done();
  }

  protected hasRoom(): void {
    if (this.exchange.isActive) this.exchange.drained();
  }

  protected progressed(): void {
    this.#stalledSinceMs = 0;
  }

  /** Once a second: a client that sends or takes nothing for too long. */
  look(nowMs: number): void {
    const { bodyTimeoutMs } = this.session.context.service.settings.http;
    const { exchange } = this;
    // Where the response has begun the two talk, and it is the member's turn to be quick.
    if (this.deadlineMs !== 0 && nowMs > this.deadlineMs && exchange.isActive && !exchange.isHeadSent) {
      this.deadlineMs = 0;
      this.exchange.fail(BODY_TIMEOUT);
      return;
    }
    if (!this.isWaiting) this.#stalledSinceMs = 0;
    else if (this.#stalledSinceMs === 0) this.#stalledSinceMs = nowMs;
    else if (nowMs - this.#stalledSinceMs > bodyTimeoutMs) {
      if (this.exchange.isActive) {
        this.exchange.refusal = BODY_TIMEOUT;
        this.exchange.end();
      }
      this.#reset(CANCEL);
    }
  }

  #clear(): void {
    if (this.exchange.isActive) this.exchange.end();
    this.dropQueue();
    this.session.receiveWindow.takenHeld(this.#held.clear(this.session.channels.buffers));
    this.isRemoteDone = true;
    this.isLocalDone = true;
  }

  #done(): void {
    if (this.id === 0) return;
    this.#clear();
    this.session.streamDone(this);
  }
}
