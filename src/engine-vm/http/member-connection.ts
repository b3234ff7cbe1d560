/**
 * An HTTP/1.1 connection to a member: writes the requests of exchanges, one at a time, and reads their responses. Kept
 * for the next exchange where both messages were whole and the member did not say otherwise.
 */
import type { ConnectionEnds } from '../kernel/socket-address.ts';
import { BUFFER_BYTES } from '../kernel/socket-buffers.ts';
import { MemberSession } from '../tls/member-session.ts';
import type { MemberTls } from '../tls/member-tls.ts';
import { BodyDecoder, BY_LENGTH, CHUNKED, NO_BODY, UNTIL_CLOSE } from './body-decoder.ts';
import type { Channel, ChannelOwner, Channels } from './channel.ts';
import type { Exchange } from './exchange.ts';
import type { MemberSide } from './exchange-sides.ts';
import { CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, Head } from './head.ts';
import { chunk, frameChunk, type HeadWriter, line, roomBehind, SAY_UPGRADE } from './head-writer.ts';
import type { Member } from './member.ts';
import type { Members } from './members.ts';
import { parseResponseHead } from './parse-head.ts';
import { type ProxyVersion, proxyHeaderOf } from './proxy-header.ts';
import { refusal } from './refusals.ts';
import { Stash } from './stash.ts';

const CONNECT = refusal('member-connect');
const LOST = refusal('member-closed');
const HEAD_TOO_LARGE = refusal('member-head-too-large');
const FRAMING_INVALID = refusal('member-framing-invalid');
const TIMEOUT = refusal('member-timeout');
const VIA = [line('Via: 1.0 weft\r\n'), line('Via: 1.1 weft\r\n')];
const VIA_2 = line('Via: 2.0 weft\r\n');
const FORWARDED_HOST = line('X-Forwarded-Host: ');
const HOST = line('Host: ');
const CRLF = line('\r\n');
const TUNNEL_IDLE_MS = 3_600_000;

/** The longest response body that is counted on: none is refused for its length. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

// One for all connections of a thread: read before the next head is parsed.
const head = new Head();

export class MemberConnection implements ChannelOwner, MemberSide {
  readonly member: Member;
  readonly isHttp2 = false;
  isReused = false;
  /** Of the PROXY header that was sent in front; null where there was none. */
  proxyVersion: ProxyVersion | null = null;
  /** Whose connection the header said that this is. */
  ends: ConnectionEnds | null = null;
  channel!: Channel;
  /** How TLS is spoken with the member; null where it is not. */
  tls: MemberTls | null = null;
  #session: MemberSession | null = null;
  readonly #members: Members;
  readonly #channels: Channels;
  readonly #writer: HeadWriter;
  readonly #decoder = new BodyDecoder();
  readonly #stash = new Stash();
  #exchange: Exchange | null = null;
  #isConnected = false;
  #isChunking = false;
  #isHeadBuilt = false;
  #isReadingBody = false;
  #isTunnel = false;
  #isClosed = false;
  #isPaused = false;
  /** The member will keep the connection open after this response. */
  #isPersistent = false;

  constructor(members: Members, member: Member) {
    this.#members = members;
    this.member = member;
    this.#channels = members.channels;
    this.#writer = members.writer;
  }

  start(channel: Channel): void {
    this.channel = channel;
    this.#members.opened(this.member);
    channel.deadlineMs = this.#channels.nowMs + this.#members.http.connectTimeoutMs;
  }

  /** Says whose connection this is, before all else. Returns false where no buffer can be had. */
  tell(version: ProxyVersion, ends: ConnectionEnds | null): boolean {
    const { buffers } = this.#channels;
    const buffer = buffers.take();
    if (buffer < 0) return false;
    this.proxyVersion = version;
    this.ends = ends;
    const header = proxyHeaderOf(version, ends);
    const at = buffers.start(buffer);
    buffers.bytes.set(header, at);
    this.channel.write(buffer, at, at + header.length);
    return true;
  }

  /** Speaks TLS from here on, behind what was said. */
  secure(tls: MemberTls): void {
    const { host, settings } = this.member;
    this.tls = tls;
    this.#session = new MemberSession(this.channel, this.#channels, this, tls, host, settings.address);
  }

  notSecured(reason: number): void {
    this.#notConnected(reason);
  }

  /** Idle, and as far as we know still open. */
  get isUsable(): boolean {
    return !this.#isClosed && this.#exchange === null;
  }

  get isFull(): boolean {
    return this.channel.isFull || this.#session?.isFull === true;
  }

  sendHead(exchange: Exchange, length: number): void {
    this.#exchange = exchange;
    const { request, service, target } = exchange;
    const { http } = service.settings;
    const writer = this.#writer;
    writer.request(request, length >= 0, true, length < 0, target);
    const host = target === null ? null : target.host;
    if (request.hostIndex < 0 || host !== null) {
      writer.add(HOST);
      writer.add(host ?? line(this.member.host));
      writer.add(CRLF);
    }
    this.#isChunking = length < 0;
    if (length < 0) writer.chunked();
    if (http.clientAddress !== 'none') {
      writer.add(exchange.forwardedLines);
      const hasHost =
        http.clientFields === 'forwarded' || (exchange.origin !== null && exchange.origin.host !== '');
      if (request.hostIndex >= 0 && !hasHost) {
        writer.add(FORWARDED_HOST);
        writer.value(request, request.hostIndex);
      }
    }
    if (http.via) writer.add(VIA[request.version - 10] ?? VIA_2);
    writer.lines(exchange.requestLines);
    if (exchange.wantsUpgrade) {
      writer.field(request, request.upgradeIndex);
      writer.connection(SAY_UPGRADE);
    }
    writer.finish();
    this.#isHeadBuilt = true;
  }

  sendBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    let from = at;
    let to = end;
    let fits = true;
    if (this.#isChunking) {
      fits = end + roomBehind(trailers) <= (buffer + 1) * BUFFER_BYTES;
      frameChunk(this.#channels.buffers.bytes, at, end, isLast && fits, trailers);
      from = chunk.at;
      to = chunk.end;
    }
    if (this.#isHeadBuilt) {
      this.#isHeadBuilt = false;
      const begin = this.#writer.putBefore(buffer, from);
      if (begin >= 0) {
        from = begin;
        // Whole in one buffer: it can be sent again.
        if (isLast && fits && !this.#isTunnel) this.#exchange!.keep(buffer, from, to);
      } else if (!this.#writer.sendAlone(this.channel)) {
        this.#channels.buffers.give(buffer);
        this.#fail(CONNECT);
        return;
      }
    }
    this.channel.write(buffer, from, to);
    if (isLast && !fits && !this.#writer.sendLastChunk(this.channel, trailers)) this.#fail(CONNECT);
    if (this.#isConnected && !this.#isPaused) this.#awaitResponse();
  }

  #awaitResponse(): void {
    const idleMs = this.#isTunnel ? TUNNEL_IDLE_MS : this.#members.http.responseTimeoutMs;
    this.channel.deadlineMs = this.#channels.nowMs + idleMs;
  }

  resend(exchange: Exchange, buffer: number, at: number, end: number): void {
    this.#exchange = exchange;
    this.channel.write(buffer, at, end);
    if (this.#isConnected) this.#awaitResponse();
  }

  onConnect(error: number): void {
    if (error !== 0) {
      this.#notConnected();
      return;
    }
    this.#isConnected = true;
    this.#awaitResponse();
  }

  #notConnected(reason = CONNECT): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#members.failed(this.member);
    this.close();
    exchange?.onMemberLost(reason, false, false);
  }

  onBytes(buffer: number, at: number, end: number): void {
    const { buffers } = this.#channels;
    const exchange = this.#exchange;
    if (exchange === null) {
      // What nobody asked for would be taken for the next response.
      buffers.give(buffer);
      this.#members.forget(this);
      this.close();
    } else if (this.#isTunnel) {
      this.channel.deadlineMs = this.#channels.nowMs + TUNNEL_IDLE_MS;
      exchange.filtered(buffer, at, end, false, null);
    } else if (this.#isReadingBody) this.#feed(exchange, buffer, at, end);
    else if (this.#stash.isEmpty) this.#parse(exchange, buffer, at, end);
    else this.#parseJoined(exchange, buffer, at, end);
  }

  #parseJoined(exchange: Exchange, buffer: number, at: number, end: number): void {
    const { buffers } = this.#channels;
    const joined = buffers.take();
    if (joined < 0) {
      buffers.give(buffer);
      this.#fail(LOST);
      return;
    }
    const start = buffers.start(joined);
    const kept = this.#stash.length;
    const taken = this.#stash.join(buffers, joined, at, end);
    this.#stash.clear();
    this.#parse(exchange, joined, start, start + kept + taken);
    if (at + taken < end && this.#exchange === exchange) this.onBytes(buffer, at + taken, end);
    else buffers.give(buffer);
  }

  #parse(exchange: Exchange, buffer: number, start: number, end: number): void {
    const { buffers } = this.#channels;
    for (let at = start; ; ) {
      const status = parseResponseHead(buffers.bytes, at, end, head, exchange.service.limits);
      if (status <= 0) {
        const fits = status < 0 || this.#stash.put(buffers.bytes, at, end);
        buffers.give(buffer);
        if (status < 0) this.#fail(-status);
        else if (!fits) this.#fail(HEAD_TOO_LARGE);
        return;
      }
      if (head.status >= 200 || head.status === 101) {
        this.#begin(exchange, buffer, status, end);
        return;
      }
      if (!exchange.onHead(head, 0)) {
        buffers.give(buffer);
        return;
      }
      at = status;
      if (at === end) {
        buffers.give(buffer);
        return;
      }
    }
  }

  /** The head of the final response is there. */
  #begin(exchange: Exchange, buffer: number, bodyAt: number, end: number): void {
    const { buffers } = this.#channels;
    const decoder = this.#decoder;
    const { status } = head;
    const isUpgrade = status === 101;
    const hasNoBody = exchange.isHead || status === 204 || status === 304 || isUpgrade;
    const mode = hasNoBody
      ? NO_BODY
      : head.isChunked
        ? CHUNKED
        : head.contentLength >= 0
          ? BY_LENGTH
          : UNTIL_CLOSE;
    if (isUpgrade && head.upgradeIndex < 0) {
      buffers.give(buffer);
      this.#fail(FRAMING_INVALID);
      return;
    }
    decoder.begin(mode, head.contentLength, NO_LIMIT);
    const isPersistent =
      mode !== UNTIL_CLOSE &&
      !isUpgrade &&
      (head.connection & CONNECTION_CLOSE) === 0 &&
      (head.version === 11 || (head.connection & CONNECTION_KEEP_ALIVE) !== 0);
    this.#isPersistent = isPersistent;
    if (isUpgrade) {
      this.#isTunnel = exchange.wantsUpgrade;
      if (!exchange.onHead(head, 0)) {
        buffers.give(buffer);
        return;
      }
      exchange.onTunnel();
      exchange.filtered(buffer, bodyAt, end, false, null);
      return;
    }
    const consumed = decoder.decode(buffers.bytes, bodyAt, end, exchange.service.limits);
    if (consumed < 0) {
      buffers.give(buffer);
      this.#fail(FRAMING_INVALID);
      return;
    }
    // Bytes behind the response answer nothing that was asked.
    if (consumed < end) this.#isPersistent = false;
    const length = mode === BY_LENGTH ? head.contentLength : mode === NO_BODY ? 0 : -1;
    if (!exchange.onHead(head, length)) {
      buffers.give(buffer);
      return;
    }
    this.#isReadingBody = true;
    this.#hand(exchange, buffer);
  }

  #feed(exchange: Exchange, buffer: number, at: number, end: number): void {
    const { buffers } = this.#channels;
    const decoder = this.#decoder;
    const consumed = decoder.decode(buffers.bytes, at, end, exchange.service.limits);
    if (consumed < 0) {
      buffers.give(buffer);
      this.#fail(FRAMING_INVALID);
      return;
    }
    if (consumed < end) this.#isPersistent = false;
    if (!this.#isPaused) this.#awaitResponse();
    if (decoder.dataEnd === decoder.dataAt && !decoder.isDone) buffers.give(buffer);
    else this.#hand(exchange, buffer);
  }

  /** Hands on what the decoder has found; where that was the end, the connection is free before the client hears it. */
  #hand(exchange: Exchange, buffer: number): void {
    const { dataAt, dataEnd, isDone, trailers } = this.#decoder;
    if (isDone) this.#done(exchange);
    exchange.onBody(buffer, dataAt, dataEnd, isDone, trailers);
  }

  #done(exchange: Exchange): void {
    const isFree = this.#isPersistent && exchange.isRequestDone && this.channel.isOpen && this.channel.isIdle;
    this.#exchange = null;
    this.#isReadingBody = false;
    this.isReused = true;
    exchange.memberDone();
    if (!isFree) {
      this.close();
      return;
    }
    if (this.#isPaused) {
      this.#isPaused = false;
      this.channel.resume();
    }
    this.#members.release(this);
  }

  onEnd(error: number): void {
    const exchange = this.#exchange;
    if (exchange === null) {
      this.#members.forget(this);
      this.close();
      return;
    }
    if (!this.#isConnected) {
      this.#notConnected();
      return;
    }
    if (this.#isTunnel) {
      this.#exchange = null;
      exchange.memberDone();
      this.close();
      exchange.client.endTunnel();
      return;
    }
    if (this.#isReadingBody) {
      const isWhole = error === 0 && (this.#session === null || this.#session.hasEnded);
      const buffer = isWhole && this.#decoder.mode === UNTIL_CLOSE ? this.#channels.buffers.take() : -1;
      if (buffer < 0) {
        this.#fail(LOST);
        return;
      }
      const at = this.#channels.buffers.start(buffer);
      this.#isPersistent = false;
      this.#done(exchange);
      exchange.onBody(buffer, at, at, true, null);
      return;
    }
    if (!this.#stash.isEmpty) {
      this.#fail(LOST);
      return;
    }
    const wasReused = this.isReused;
    this.#exchange = null;
    // A connection that was idle may end at any time.
    if (!wasReused) this.#members.erred(this.member);
    this.close();
    exchange.onMemberLost(LOST, true, wasReused);
  }

  onDrained(): void {
    this.#exchange?.memberDrained();
  }

  onDeadline(): void {
    if (this.#exchange === null) {
      this.#members.forget(this);
      this.close();
    } else if (!this.#isConnected) this.#notConnected();
    else this.#fail(TIMEOUT);
  }

  /** Breaks the exchange, and this connection with it. */
  #fail(reason: number): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#members.erred(this.member);
    exchange?.memberDone();
    this.close();
    exchange?.fail(reason);
  }

  abort(): void {
    this.#exchange = null;
    this.close();
  }

  endTunnel(): void {
    this.channel.finish();
  }

  pauseResponse(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.channel.pause();
    // The client is slow, not the member.
    this.channel.deadlineMs = 0;
  }

  resumeResponse(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.channel.resume();
    this.#awaitResponse();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#members.closed(this.member);
    this.#stash.clear();
    this.channel.close();
  }
}
