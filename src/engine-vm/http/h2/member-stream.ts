/** A request to a member by HTTP/2 and its response: the member's half of an exchange, as one stream of a session. */
import { BUFFER_BYTES } from '../../kernel/socket-buffers.ts';
import type { Exchange } from '../exchange.ts';
import type { MemberSide } from '../exchange-sides.ts';
import { FIELD } from '../field-names.ts';
import type { Head } from '../head.ts';
import { line } from '../head-writer.ts';
import type { Member } from '../member.ts';
import type { HeadLimits } from '../parse-fields.ts';
import { refusal } from '../refusals.ts';
import { spells } from '../spelling.ts';
import {
  CANCEL,
  END_STREAM,
  FRAME_HEADER_BYTES,
  NO_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  writeNumber,
} from './frames.ts';
import { HeldData } from './held-data.ts';
import type { MemberSession } from './member-session.ts';
import { Stream } from './stream.ts';

const CONNECT = refusal('member-connect');
const LOST = refusal('member-closed');
const RESET = refusal('member-stream-reset');
const FRAMING_INVALID = refusal('member-framing-invalid');
const TIMEOUT = refusal('member-timeout');
const OVERLOADED = refusal('overloaded');
const VIA = [line('Via: 1.0 weft\r\n'), line('Via: 1.1 weft\r\n')];
const VIA_2 = line('Via: 2.0 weft\r\n');
const FORWARDED_HOST = line('x-forwarded-host');
const TE_TRAILERS = line('TE: trailers\r\n');

export class MemberStream extends Stream implements MemberSide {
  declare readonly session: MemberSession;
  readonly isHttp2 = true;
  /** The head of the final response came. */
  isAnswered = false;
  #exchange: Exchange | null = null;
  #isHeadBuilt = false;
  #isPaused = false;
  #contentLength = -1;
  #received = 0;
  /** The response has no body, whatever length it says. */
  #hasNoBody = false;
  readonly #held = new HeldData();
  /**
   * What was sent, while it may have to be sent again: HEADERS, room for the header of a frame, and the data behind it,
   * in one buffer. -1 where that is not so.
   */
  #kept = -1;
  #keptAt = 0;
  #keptEnd = 0;

  get member(): Member {
    return this.session.member;
  }

  get isReused(): boolean {
    return this.session.isReused;
  }

  get isFull(): boolean {
    return this.isStreamFull;
  }

  get limits(): HeadLimits {
    return this.#exchange!.service.limits;
  }

  #begin(exchange: Exchange): void {
    this.#exchange = exchange;
    this.isAnswered = false;
    this.#isPaused = false;
    this.#contentLength = -1;
    this.#received = 0;
    this.#hasNoBody = false;
  }

  sendHead(exchange: Exchange, length: number): void {
    this.#begin(exchange);
    const { request, service } = exchange;
    const { http } = service.settings;
    const { writer } = this.session;
    writer.begin();
    writer.request(request, this.session.channel.session !== null, this.member.host, exchange.target);
    writer.fields(request, true, length < 0, true);
    const te = request.find(FIELD.te);
    if (te >= 0 && saysTrailers(request, te)) writer.lines(TE_TRAILERS);
    if (http.clientAddress !== 'none') {
      writer.lines(exchange.forwardedLines);
      const host = request.hostIndex;
      const hasHost =
        http.clientFields === 'forwarded' || (exchange.origin !== null && exchange.origin.host !== '');
      if (host >= 0 && !hasHost) {
        writer.literal(FORWARDED_HOST, request.bytes, request.valueAt[host]!, request.valueEnd[host]!);
      }
    }
    if (http.via) writer.lines(VIA[request.version - 10] ?? VIA_2);
    for (const added of exchange.requestLines) writer.lines(added);
    this.#isHeadBuilt = true;
  }

  sendBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    const isHeadBuilt = this.#isHeadBuilt;
    this.#isHeadBuilt = false;
    if (isHeadBuilt) this.begin(this.session.beginStream(this));
    else if (this.#kept >= 0) this.#keep(at, end, isLast, trailers);
    if (!this.#isPaused) this.#awaitResponse();
    this.send(isHeadBuilt, buffer, at, end, isLast, trailers);
  }

  #awaitResponse(): void {
    this.deadlineMs = this.session.channels.nowMs + this.session.members.http.responseTimeoutMs;
  }

  protected override wroteHead(buffer: number, start: number, end: number, isLast: boolean): void {
    const { buffers } = this.session.channels;
    if (isLast) this.#exchange!.keep(buffer, start, end);
    else if (!buffers.isShared(buffer)) {
      buffers.hold(buffer);
      this.#kept = buffer;
      this.#keptAt = start;
      this.#keptEnd = end === start + headBytes(buffers.bytes, start) ? end + FRAME_HEADER_BYTES : end;
    }
  }

  /** A body that comes bit by bit is put behind the head, as long as that fits. */
  #keep(at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    const { bytes } = this.session.channels.buffers;
    const to = this.#keptEnd;
    if (trailers !== null || to + end - at > (this.#kept + 1) * BUFFER_BYTES) {
      this.#dropKept();
      return;
    }
    bytes.copyWithin(to, at, end);
    this.#keptEnd = to + end - at;
    if (!isLast) return;
    this.#exchange!.keep(this.#kept, this.#keptAt, this.#keptEnd);
    this.#dropKept();
  }

  #dropKept(): void {
    if (this.#kept >= 0) this.session.channels.buffers.give(this.#kept);
    this.#kept = -1;
  }

  /** The frames that were kept, with the id of this stream: what was sent may be on its way still, so they are copied. */
  resend(exchange: Exchange, buffer: number, at: number, end: number): void {
    const { session } = this;
    const { buffers } = session.channels;
    const { bytes } = buffers;
    this.#begin(exchange);
    const own = buffers.take();
    const data = own < 0 ? -1 : buffers.take();
    if (data < 0) {
      if (own >= 0) buffers.give(own);
      buffers.give(buffer);
      this.#fail(OVERLOADED, CANCEL);
      return;
    }
    this.begin(session.beginStream(this));
    const length = headBytes(bytes, at);
    const isHeadAll = (bytes[at + 4]! & END_STREAM) !== 0;
    const to = own * BUFFER_BYTES;
    bytes.copyWithin(to, at, at + length);
    writeNumber(bytes, to + 5, this.id);
    session.flush();
    session.channel.write(own, to, to + length);
    this.#awaitResponse();
    const start = buffers.start(data);
    const from = Math.min(end, at + length + FRAME_HEADER_BYTES);
    if (!isHeadAll) bytes.copyWithin(start, from, end);
    buffers.give(buffer);
    if (isHeadAll) {
      buffers.give(data);
      this.isLocalDone = true;
    } else this.send(false, data, start, start + end - from, true, null);
  }

  /** The head of a response. Takes the buffer that it stands in, up to `end`. */
  headReceived(head: Head, buffer: number, end: number, isLast: boolean): void {
    const exchange = this.#exchange!;
    const { buffers } = this.session.channels;
    const { status } = head;
    if (status === 101 || (status < 200 && isLast)) {
      buffers.give(buffer);
      this.invalid(FRAMING_INVALID);
      return;
    }
    this.#dropKept();
    if (status < 200) {
      exchange.onHead(head, 0);
      buffers.give(buffer);
      return;
    }
    this.isAnswered = true;
    this.isRemoteDone = isLast;
    if (!this.#isPaused) this.#awaitResponse();
    this.#hasNoBody = exchange.isHead || status === 204 || status === 304;
    this.#contentLength = head.contentLength;
    if (isLast && !this.#hasNoBody && head.contentLength > 0) {
      buffers.give(buffer);
      this.invalid(FRAMING_INVALID);
      return;
    }
    const length = this.#hasNoBody ? 0 : head.contentLength;
    if (!exchange.onHead(head, length) || this.#exchange !== exchange) {
      buffers.give(buffer);
      return;
    }
    this.#hand(buffer, end, end, isLast, null);
  }

  dataReceived(buffer: number, at: number, end: number, isLast: boolean): void {
    const { session } = this;
    const { buffers } = session.channels;
    const length = end - at;
    // What is held for a slow client closes the window of its stream, and not that of all others.
    session.taken(length);
    session.isAsked = false;
    this.#received += length;
    if (isLast) this.isRemoteDone = true;
    if (!this.isAnswered || !this.#isLengthRight(isLast)) {
      if (buffer >= 0) buffers.give(buffer);
      this.#fail(FRAMING_INVALID, PROTOCOL_ERROR);
    } else if (this.#isPaused) {
      if (isLast) this.#held.hasEnd = true;
      if (buffer >= 0) this.#held.add(buffers, buffer, at, end);
    } else {
      this.#awaitResponse();
      // The stream may be another's afterwards.
      if (!isLast) session.takenOf(this, length);
      this.#hand(buffer, at, end, isLast, null);
    }
  }

  #isLengthRight(isLast: boolean): boolean {
    if (this.#hasNoBody) return this.#received === 0;
    const length = this.#contentLength;
    return length < 0 || (this.#received <= length && (!isLast || this.#received === length));
  }

  trailersReceived(trailers: Uint8Array | null): void {
    this.isRemoteDone = true;
    if (!this.#isLengthRight(true)) this.#fail(FRAMING_INVALID, PROTOCOL_ERROR);
    else if (this.#isPaused) {
      this.#held.hasEnd = true;
      this.#held.trailers = trailers;
    } else this.#hand(-1, 0, 0, true, trailers);
  }

  /** Data for the exchange; where that is the end, the stream is over before the client hears it. */
  #hand(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    const exchange = this.#exchange!;
    let own = buffer;
    let from = at;
    let to = end;
    if (own < 0) {
      const { buffers } = this.session.channels;
      own = buffers.take();
      if (own < 0) {
        this.#fail(OVERLOADED, CANCEL);
        return;
      }
      from = buffers.start(own);
      to = from;
    }
    if (isLast) {
      this.#exchange = null;
      exchange.memberDone();
      // The rest of the request is of no use to the member.
      if (!this.isLocalDone) this.session.reset(this.id, NO_ERROR);
      this.#done();
    }
    exchange.onBody(own, from, to, isLast, trailers);
  }

  pauseResponse(): void {
    this.#isPaused = true;
    // The client is slow, not the member.
    this.deadlineMs = 0;
  }

  resumeResponse(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#awaitResponse();
    const { session } = this;
    const held = this.#held;
    while (!held.isEmpty && !this.#isPaused) {
      held.take();
      const { buffer, at, end } = held;
      const isLast = held.hasEnd && held.isEmpty && held.trailers === null;
      if (!isLast) session.takenOf(this, end - at);
      this.#hand(buffer, at, end, isLast, null);
      if (isLast || this.#exchange === null) break;
    }
    if (this.#exchange !== null && !this.#isPaused && held.hasEnd) this.#hand(-1, 0, 0, true, held.trailers);
    session.flush();
  }

  abort(): void {
    this.#exchange = null;
    this.#cancel(CANCEL);
  }

  /** Tells the member that nobody waits any more. */
  #cancel(code: number): void {
    if (this.id !== 0) {
      this.session.reset(this.id, code);
      this.session.flush();
    }
    this.#done();
  }

  /** Tunnels are made by HTTP/1.1. */
  endTunnel(): void {
    this.abort();
  }

  /** Breaks the exchange, and this stream with it. */
  #fail(reason: number, code: number): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    exchange?.memberDone();
    this.#cancel(code);
    exchange?.fail(reason);
  }

  /** Its head is none. */
  invalid(reason: number): void {
    this.#fail(reason, PROTOCOL_ERROR);
  }

  overloaded(): void {
    this.#fail(OVERLOADED, CANCEL);
  }

  broken(code: number): void {
    this.#fail(FRAMING_INVALID, code);
  }

  wasResetByPeer(code: number): void {
    if (code === REFUSED_STREAM && !this.isAnswered) this.unprocessed();
    else {
      const exchange = this.#exchange;
      this.#exchange = null;
      exchange?.memberDone();
      this.#done();
      exchange?.fail(RESET);
    }
  }

  /** The member says that it did nothing of it: it may go elsewhere. */
  unprocessed(): void {
    this.#lost(RESET, false);
  }

  /** The connection is gone. */
  lost(): void {
    if (this.session.isConnected) this.#lost(LOST, true);
    else this.#lost(CONNECT, false);
  }

  #lost(reason: number, wasSent: boolean): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    const { isReused } = this;
    this.#done();
    exchange?.onMemberLost(reason, wasSent, isReused);
  }

  protected sentLast(): void {
    // The response is awaited.
  }

  protected hasRoom(): void {
    this.#exchange?.memberDrained();
  }

  protected progressed(): void {
    if (!this.#isPaused) this.#awaitResponse();
  }

  /** Now and then: a member that is silent for too long. */
  look(nowMs: number): void {
    if (this.deadlineMs === 0 || nowMs <= this.deadlineMs) return;
    this.deadlineMs = 0;
    this.#fail(TIMEOUT, CANCEL);
  }

  #done(): void {
    this.#isHeadBuilt = false;
    this.#dropKept();
    this.dropQueue();
    this.#held.clear(this.session.channels.buffers);
    this.isRemoteDone = true;
    this.isLocalDone = true;
    this.session.streamDone(this);
  }
}

/** Of the HEADERS frame that stands there, with its header. */
function headBytes(bytes: Uint8Array, at: number): number {
  return FRAME_HEADER_BYTES + ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!);
}

function saysTrailers({ bytes, valueAt, valueEnd }: Head, n: number): boolean {
  return valueEnd[n]! - valueAt[n]! === 8 && spells(bytes, valueAt[n]!, 'trailers');
}
