/**
 * An HTTP/1.1 connection of a client: finds requests in what comes, one after the other, and sees to it that each is
 * answered (client-response.ts writes that). A request that comes before the response to the one before is out waits,
 * and the connection is read no further.
 */
import type { HttpService } from '../../policy/http-service.ts';
import { hashText } from '../balance/hash.ts';
import type { ConnectionEnds } from '../kernel/socket-address.ts';
import type { ServerSession } from '../tls/server-session.ts';
import { BodyDecoder, BY_LENGTH, CHUNKED, NO_BODY } from './body-decoder.ts';
import type { Channel, ChannelOwner, Channels } from './channel.ts';
import { clientLines } from './client-lines.ts';
import { ClientResponse } from './client-response.ts';
import { Exchange } from './exchange.ts';
import type { ClientSide, ExchangeContext } from './exchange-sides.ts';
import { beginsPreface } from './h2/frames.ts';
import { CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, CONNECTION_UPGRADE, Head } from './head.ts';
import type { HeadWriter } from './head-writer.ts';
import { parseRequestHead } from './parse-head.ts';
import { refusal } from './refusals.ts';
import { Stash } from './stash.ts';

/** What the connection is at. */
const IDLE = 0;
const BODY = 1;
const RESPONSE = 2;
const TUNNEL = 3;
/** The last response is out; what still comes is thrown away, so that it does not cost the client that response. */
const LINGER = 4;
const CLOSED = 5;

const LINGER_MS = 2000;
const LINGER_BYTES = 1 << 20;
const TUNNEL_IDLE_MS = 3_600_000;
const HEAD_TOO_LARGE = refusal('head-too-large');
const HEAD_TIMEOUT = refusal('head-timeout');
const BODY_TIMEOUT = refusal('body-timeout');
const BODY_TOO_LARGE = refusal('body-too-large');
const OVERLOADED = refusal('overloaded');
const VERSION = refusal('version-unsupported');

// Heads are read before the next one is parsed, so one object serves all connections of a thread.
const head = new Head();

export class ClientConnection implements ChannelOwner, ClientSide {
  readonly channel: Channel;
  readonly #channels: Channels;
  readonly #context: ExchangeContext;
  readonly #onClosed: (connection: ClientConnection) => void;
  readonly #onHttp2: (connection: ClientConnection, buffer: number, at: number, end: number) => void;
  readonly #exchange: Exchange;
  readonly #response: ClientResponse;
  readonly #decoder = new BodyDecoder();
  readonly #stash = new Stash();
  #state = IDLE;
  /** Buffers that wait for their turn, as [buffer, at, end, ...]. */
  #held: number[] = [];
  #isProcessing = false;
  #hasEnded = false;
  #lingered = 0;
  #address: string | null = null;
  #forwarded: Uint8Array | null = null;
  #forwardedBy: HttpService | null = null;
  #sourceHash = -1;
  /** Set while the proxy drains: each response is the last one. */
  isDraining = false;

  constructor(
    channel: Channel,
    channels: Channels,
    writer: HeadWriter,
    context: ExchangeContext,
    onClosed: (connection: ClientConnection) => void,
    /** The client speaks HTTP/2: the bytes with which it began, and the channel, are for that. */
    onHttp2: (connection: ClientConnection, buffer: number, at: number, end: number) => void,
  ) {
    this.channel = channel;
    this.#channels = channels;
    this.#context = context;
    this.#onClosed = onClosed;
    this.#onHttp2 = onHttp2;
    this.#exchange = new Exchange(context, this);
    this.#response = new ClientResponse(channel, channels.buffers, writer);
    channel.owner = this;
    channel.deadlineMs = channels.nowMs + context.service.settings.http.idleTimeoutMs;
  }

  get clientAddress(): string {
    this.#address ??= this.channel.peerAddress;
    return this.#address;
  }

  get ends(): ConnectionEnds | null {
    return this.channel.ends;
  }

  get tls(): ServerSession | null {
    return this.channel.session as ServerSession | null;
  }

  get isFull(): boolean {
    return this.channel.isFull;
  }

  /** Between two requests. */
  get isIdle(): boolean {
    return this.#state === IDLE && this.#stash.isEmpty;
  }

  forwardedLines(exchange: Exchange): Uint8Array {
    const { http } = exchange.service.settings;
    if (this.#forwarded === null || this.#forwardedBy !== http) {
      const scheme = this.channel.session === null ? 'http' : 'https';
      this.#forwarded = clientLines(http, [this.clientAddress], { scheme });
      this.#forwardedBy = http;
    }
    return this.#forwarded;
  }

  onConnect(): void {
    // A client's connection is connected when it is accepted.
  }

  onBytes(buffer: number, at: number, end: number): void {
    switch (this.#state) {
      case IDLE:
        this.#isProcessing = true;
        this.#findHead(buffer, at, end);
        this.#isProcessing = false;
        if (this.#held.length > 0) this.#processHeld();
        break;
      case BODY:
        this.#feed(buffer, at, end);
        break;
      case RESPONSE:
        this.#held.push(buffer, at, end);
        this.channel.pause();
        break;
      case TUNNEL:
        this.channel.deadlineMs = this.#channels.nowMs + TUNNEL_IDLE_MS;
        this.#exchange.requestBody(buffer, at, end, false, null);
        break;
      default:
        this.#channels.buffers.give(buffer);
        this.#lingered += end - at;
        if (this.#lingered > LINGER_BYTES) this.#close();
    }
  }

  /** Goes through what was held, for as long as no response is to be waited for. */
  #processHeld(): void {
    if (this.#isProcessing) return;
    this.#isProcessing = true;
    while (this.#held.length > 0 && (this.#state === IDLE || this.#state === BODY)) {
      const [buffer, at, end] = this.#held.splice(0, 3) as [number, number, number];
      if (this.#state === IDLE) this.#findHead(buffer, at, end);
      else this.#feed(buffer, at, end);
    }
    this.#isProcessing = false;
    if (this.#held.length === 0 && this.#state !== CLOSED) {
      this.channel.resume();
      if (this.#hasEnded && this.#state === IDLE) this.#finish();
    }
  }

  #findHead(buffer: number, at: number, end: number): void {
    const { buffers } = this.#channels;
    if (!this.#stash.isEmpty) {
      const joined = buffers.take();
      if (joined < 0) {
        buffers.give(buffer);
        this.#refuse(OVERLOADED);
        return;
      }
      const start = buffers.start(joined);
      const kept = this.#stash.length;
      const taken = this.#stash.join(buffers, joined, at, end);
      if (at + taken < end) this.#held.unshift(buffer, at + taken, end);
      else buffers.give(buffer);
      this.#stash.clear();
      this.#parse(joined, start, start + kept + taken, false);
      return;
    }
    this.#parse(buffer, at, end, true);
  }

  #parse(buffer: number, at: number, end: number, isFirst: boolean): void {
    const { buffers, nowMs } = this.#channels;
    const { service } = this.#context;
    const status = parseRequestHead(buffers.bytes, at, end, head, service.limits);
    if (status > 0) {
      this.#begin(buffer, status, end);
      return;
    }
    if (status === -VERSION && service.settings.http.http2 && beginsPreface(buffers.bytes, at, end)) {
      this.#state = CLOSED;
      this.#onHttp2(this, buffer, at, end);
      return;
    }
    if (status < 0) {
      buffers.give(buffer);
      this.#refuse(-status);
      return;
    }
    // Empty lines alone do not begin a request, but neither may they keep the connection alive.
    const fits = this.#stash.put(buffers.bytes, at, end);
    buffers.give(buffer);
    if (!fits) this.#refuse(HEAD_TOO_LARGE);
    else if (isFirst) this.channel.deadlineMs = nowMs + service.settings.http.headTimeoutMs;
  }

  #begin(buffer: number, bodyAt: number, end: number): void {
    const { buffers, nowMs } = this.#channels;
    const { service } = this.#context;
    const { http } = service.settings;
    this.#response.version = head.version;
    const said = head.connection;
    this.#response.keepsAlive =
      !this.isDraining &&
      (said & CONNECTION_CLOSE) === 0 &&
      (head.version === 11 || (said & CONNECTION_KEEP_ALIVE) !== 0);
    if (head.contentLength > http.maxBodyBytes) {
      buffers.give(buffer);
      this.#refuse(BODY_TOO_LARGE);
      return;
    }
    const decoder = this.#decoder;
    const mode = head.isChunked ? CHUNKED : head.contentLength > 0 ? BY_LENGTH : NO_BODY;
    decoder.begin(mode, head.contentLength, http.maxBodyBytes);
    const consumed = decoder.decode(buffers.bytes, bodyAt, end, service.limits);
    if (consumed < 0) {
      buffers.give(buffer);
      this.#refuse(decoder.error);
      return;
    }
    // What follows is the next request: copied away before this one is written over.
    if (consumed < end) {
      this.#keepRest(consumed, end);
      if (this.#state === CLOSED) {
        buffers.give(buffer);
        return;
      }
    }
    this.#state = decoder.isDone ? RESPONSE : BODY;
    if (this.#hasEnded && this.#held.length === 0) this.#response.keepsAlive = false;
    this.channel.deadlineMs = decoder.isDone ? 0 : nowMs + http.bodyTimeoutMs;
    if (this.#sourceHash < 0 && this.#context.members.usesSourceHash) {
      this.#sourceHash = hashText(this.clientAddress);
    }
    const exchange = this.#exchange;
    const length = mode === CHUNKED ? -1 : Math.max(0, head.contentLength);
    if (!exchange.start(head, length, decoder.isDone && isWebSocket(), this.#sourceHash)) {
      buffers.give(buffer);
      return;
    }
    exchange.requestBody(buffer, decoder.dataAt, decoder.dataEnd, decoder.isDone, decoder.trailers);
  }

  #keepRest(at: number, end: number): void {
    const { buffers } = this.#channels;
    const rest = buffers.take();
    if (rest < 0) {
      this.#close();
      return;
    }
    const start = buffers.start(rest);
    buffers.bytes.copyWithin(start, at, end);
    this.#held.unshift(rest, start, start + end - at);
    this.channel.pause();
  }

  /** More of the body of a request. */
  #feed(buffer: number, at: number, end: number): void {
    const { buffers, nowMs } = this.#channels;
    const decoder = this.#decoder;
    const { service } = this.#exchange;
    const consumed = decoder.decode(buffers.bytes, at, end, service.limits);
    if (consumed < 0) {
      buffers.give(buffer);
      this.#exchange.fail(decoder.error);
      return;
    }
    if (consumed < end) this.#keepRest(consumed, end);
    if (decoder.isDone && this.#state === BODY) {
      this.#state = RESPONSE;
      this.channel.deadlineMs = 0;
    } else this.channel.deadlineMs = nowMs + service.settings.http.bodyTimeoutMs;
    // Only framing came: nothing to send, unless it was the end.
    if (decoder.dataEnd === decoder.dataAt && !decoder.isDone) buffers.give(buffer);
    else {
      this.#exchange.requestBody(buffer, decoder.dataAt, decoder.dataEnd, decoder.isDone, decoder.trailers);
    }
  }

  /** Refuses a connection on which no request came. */
  refuse(reason: number): void {
    if (this.isIdle) this.#refuse(reason);
  }

  /** Refuses what is no request, or none that an exchange was begun for. The connection ends with it. */
  #refuse(reason: number): void {
    this.#response.keepsAlive = false;
    this.#state = BODY;
    this.#stash.clear();
    this.#exchange.startRefused(reason);
  }

  sendInterim(exchange: Exchange): void {
    this.#response.interim(exchange.response);
  }

  sendHead(exchange: Exchange, length: number): void {
    this.#endWithResponse();
    this.#response.head(exchange, length);
  }

  sendBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    this.#response.body(buffer, at, end, isLast, trailers);
    if (isLast) this.#responseDone();
    else if (this.channel.isFull && this.#state !== TUNNEL) {
      this.channel.deadlineMs = this.#channels.nowMs + this.#exchange.service.settings.http.bodyTimeoutMs;
    }
  }

  answer(exchange: Exchange, status: number, reason: string, fields: readonly Uint8Array[]): void {
    this.#endWithResponse();
    this.#response.whole(status, reason, fields, exchange.isHead);
    exchange.responseBytes = 0;
    exchange.end();
    this.#responseDone();
  }

  /** Says that the connection ends where a request is answered before all of it came, or the proxy drains. */
  #endWithResponse(): void {
    if (this.#state === BODY || this.isDraining) this.#response.keepsAlive = false;
  }

  /** The response is written, whole. */
  #responseDone(): void {
    const wasWhole = this.#state === RESPONSE;
    if (this.#exchange.isActive) this.#exchange.end();
    if (this.#state === CLOSED || this.#state === TUNNEL) return;
    const { nowMs } = this.#channels;
    if (this.#response.keepsAlive && wasWhole) {
      this.#state = IDLE;
      this.channel.deadlineMs = nowMs + this.#context.service.settings.http.idleTimeoutMs;
      if (this.#held.length > 0) this.#processHeld();
      else if (this.#hasEnded) this.#finish();
      return;
    }
    if ((wasWhole && this.#held.length === 0) || this.#hasEnded) {
      this.#finish();
      return;
    }
    this.#state = LINGER;
    this.#dropHeld();
    this.channel.deadlineMs = nowMs + LINGER_MS;
    this.channel.resume();
    this.channel.end();
  }

  /** Closes once all is sent. */
  #finish(): void {
    this.#state = LINGER;
    this.#dropHeld();
    this.channel.deadlineMs = this.#channels.nowMs + this.#context.service.settings.http.bodyTimeoutMs;
    this.channel.finish();
  }

  abort(): void {
    this.#close();
  }

  beginTunnel(): void {
    this.#state = TUNNEL;
    this.channel.deadlineMs = this.#channels.nowMs + TUNNEL_IDLE_MS;
    // What the client sent behind its request belongs to the tunnel.
    for (let n = 0; n < this.#held.length; n += 3) {
      this.#exchange.requestBody(this.#held[n]!, this.#held[n + 1]!, this.#held[n + 2]!, false, null);
    }
    this.#held = [];
    this.channel.resume();
  }

  endTunnel(): void {
    this.#finish();
  }

  pauseRequest(): void {
    this.channel.pause();
    // Waiting is not the client's fault now.
    this.channel.deadlineMs = 0;
  }

  resumeRequest(): void {
    this.channel.resume();
    if (this.#state === BODY) {
      this.channel.deadlineMs = this.#channels.nowMs + this.#exchange.service.settings.http.bodyTimeoutMs;
    }
  }

  onDrained(): void {
    if (this.#state === RESPONSE) this.channel.deadlineMs = 0;
    this.#exchange.drained();
  }

  onEnd(error: number): void {
    this.#hasEnded = true;
    // While it waits for a member this can only be told from its leaving by a request that nobody may want any more.
    if (this.#exchange.isWaiting) {
      this.#close();
      return;
    }
    // A client that has sent its request and ends its side still gets the response.
    if (error === 0 && (this.#state === RESPONSE || this.#held.length > 0) && this.#state !== LINGER) {
      this.#response.keepsAlive = this.#held.length > 0;
      return;
    }
    if (this.#state === TUNNEL && error === 0) {
      this.#exchange.side?.endTunnel();
      return;
    }
    if (error === 0 && !this.channel.isIdle) this.#finish();
    else this.#close();
  }

  onDeadline(): void {
    switch (this.#state) {
      case IDLE:
        if (this.#stash.isEmpty) this.#leave();
        else this.#refuse(HEAD_TIMEOUT);
        break;
      case BODY:
        this.#exchange.fail(BODY_TIMEOUT);
        break;
      default:
        this.#close();
    }
  }

  /** Closes a connection that is between two requests, at the end of the thread's life. */
  closeIfIdle(): void {
    if (this.isIdle && this.channel.isIdle) this.#leave();
  }

  /** Ends an idle connection; over TLS not without saying so. */
  #leave(): void {
    if (this.channel.session === null) this.#close();
    else this.#finish();
  }

  /** Cuts it short. */
  close(): void {
    this.#close();
  }

  #dropHeld(): void {
    for (let n = 0; n < this.#held.length; n += 3) this.#channels.buffers.give(this.#held[n]!);
    this.#held = [];
  }

  #close(): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    if (this.#exchange.isActive) this.#exchange.end();
    this.#dropHeld();
    this.#stash.clear();
    this.channel.close();
    this.#onClosed(this);
  }
}

/** Only WebSocket is let through: others (h2c) would carry requests that no rule has seen. */
function isWebSocket(): boolean {
  if ((head.connection & CONNECTION_UPGRADE) === 0 || head.upgradeIndex < 0 || head.version !== 11)
    return false;
  const at = head.valueAt[head.upgradeIndex]!;
  return head.text(at, head.valueEnd[head.upgradeIndex]!).toLowerCase() === 'websocket';
}
