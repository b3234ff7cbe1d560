/**
 * An HTTP/2 connection of a client: each stream is a request, with an exchange of its own. Begins with the client's
 * preface.
 */
import type { HttpService } from '../../../policy/http-service.ts';
import { hashText } from '../../balance/hash.ts';
import { RECEIVE_BYTES } from '../../kernel/socket-buffers.ts';
import type { Channel, Channels } from '../channel.ts';
import { clientLines } from '../client-lines.ts';
import type { ExchangeContext } from '../exchange-sides.ts';
import { Head } from '../head.ts';
import { parseRequestHead } from '../parse-head.ts';
import { refusal } from '../refusals.ts';
import { ClientStream } from './client-stream.ts';
import * as f from './frames.ts';
import { HeadText, REQUEST } from './head-text.ts';
import { Session } from './session.ts';
import { decodeTrailers, discardBlock, INVALID_TRAILERS, UNDECODABLE } from './trailer-block.ts';

/** SETTINGS_MAX_CONCURRENT_STREAMS. */
const MOST_STREAMS = 100;
const LOOK_MS = 1000;
/** New streams are refused while fewer than this share of all buffers is free. */
const SPARE_BUFFERS = 1 / 8;
const REQUEST_LINE = refusal('request-line-invalid');

// For one block at a time, of all connections of a thread.
const head = new Head();
const text = new HeadText();

export class ClientSession extends Session {
  readonly context: ExchangeContext;
  readonly #onClosed: (session: ClientSession) => void;
  readonly #free: ClientStream[] = [];
  #lastId = 0;
  #idleSinceMs: number;
  #isDraining = false;
  /** The last GOAWAY was sent: streams above `#lastId` are not begun. */
  #isFinal = false;
  #address: string | null = null;
  #forwarded: Uint8Array | null = null;
  #forwardedBy: HttpService | null = null;
  #sourceHash = -1;

  constructor(
    channel: Channel,
    channels: Channels,
    context: ExchangeContext,
    onClosed: (session: ClientSession) => void,
  ) {
    super(channel, channels, { awaitsPreface: true, lookMs: LOOK_MS, ownWindow: f.FIRST_WINDOW });
    this.context = context;
    this.#onClosed = onClosed;
    this.#idleSinceMs = channels.nowMs;
    channel.deadlineMs = channels.nowMs + LOOK_MS;
    this.hello([
      [f.SETTING_STREAMS, MOST_STREAMS],
      [f.SETTING_HEAD_BYTES, context.service.settings.http.maxHeadBytes],
    ]);
  }

  get clientAddress(): string {
    this.#address ??= this.channel.peerAddress;
    return this.#address;
  }

  forwardedLines(http: HttpService): Uint8Array {
    if (this.#forwarded === null || this.#forwardedBy !== http) {
      const scheme = this.channel.session === null ? 'http' : 'https';
      this.#forwarded = clientLines(http, [this.clientAddress], { scheme });
      this.#forwardedBy = http;
    }
    return this.#forwarded;
  }

  protected get lastStream(): number {
    return this.#lastId;
  }

  protected isIdle(id: number): boolean {
    return id > this.#lastId || (id & 1) === 0;
  }

  protected onBlock(id: number, bytes: Uint8Array, at: number, end: number, isLast: boolean): void {
    const stream = this.streams.get(id) as ClientStream | undefined;
    if (stream !== undefined) {
      this.#trailers(stream, bytes, at, end, isLast);
      return;
    }
    if ((id & 1) === 0) {
      this.fail(f.PROTOCOL_ERROR);
      return;
    }
    if (id <= this.#lastId) {
      if (!this.wasReset(id)) this.fail(f.STREAM_CLOSED);
      else this.#discard(bytes, at, end);
      return;
    }
    if (this.#isFinal) {
      this.#discard(bytes, at, end);
      return;
    }
    this.#lastId = id;
    if (this.dependsOnItself) {
      if (this.#discard(bytes, at, end)) this.reset(id, f.PROTOCOL_ERROR);
      return;
    }
    const { buffers } = this.channels;
    const buffer =
      this.streams.size >= MOST_STREAMS || buffers.free < buffers.count * SPARE_BUFFERS ? -1 : buffers.take();
    if (buffer < 0) {
      if (this.#discard(bytes, at, end)) this.reset(id, f.REFUSED_STREAM);
      return;
    }
    this.#request(id, bytes, at, end, buffer, isLast);
  }

  #request(id: number, bytes: Uint8Array, at: number, end: number, buffer: number, isLast: boolean): void {
    const { buffers } = this.channels;
    const start = buffers.start(buffer);
    text.begin(REQUEST, buffers.bytes, start, start + RECEIVE_BYTES - 64);
    if (!this.decoder.decode(bytes, at, end, text)) {
      buffers.give(buffer);
      this.fail(f.COMPRESSION_ERROR);
      return;
    }
    const textEnd = text.finish();
    const stream = this.#free.pop() ?? new ClientStream(this);
    this.streams.set(id, stream);
    const parsed =
      text.error === 0
        ? parseRequestHead(buffers.bytes, start, textEnd, head, this.context.service.limits)
        : -text.error;
    if (parsed !== textEnd) {
      buffers.give(buffer);
      stream.startRefused(id, parsed < 0 ? -parsed : REQUEST_LINE, isLast);
      return;
    }
    head.version = 20;
    if (this.#sourceHash < 0 && this.context.members.usesSourceHash) {
      this.#sourceHash = hashText(this.clientAddress);
    }
    stream.start(id, head, buffer, textEnd, isLast, this.#sourceHash);
  }

  #trailers(stream: ClientStream, bytes: Uint8Array, at: number, end: number, isLast: boolean): void {
    if (stream.isRemoteDone || !isLast || this.dependsOnItself) {
      if (this.#discard(bytes, at, end))
        stream.broken(stream.isRemoteDone ? f.STREAM_CLOSED : f.PROTOCOL_ERROR);
      return;
    }
    const trailers = decodeTrailers(this.decoder, bytes, at, end, this.context.service.limits);
    if (trailers === UNDECODABLE) this.fail(f.COMPRESSION_ERROR);
    else if (trailers === INVALID_TRAILERS) stream.broken(f.PROTOCOL_ERROR);
    else stream.trailersReceived(trailers);
  }

  /** Decodes a block that nobody gets. */
  #discard(bytes: Uint8Array, at: number, end: number): boolean {
    if (discardBlock(this.decoder, bytes, at, end)) return true;
    this.fail(f.COMPRESSION_ERROR);
    return false;
  }

  streamDone(stream: ClientStream): void {
    this.forget(stream);
    stream.id = 0;
    if (this.isClosed) return;
    this.#free.push(stream);
    this.#idleSinceMs = this.channels.nowMs;
    if (this.streams.size === 0 && (this.#isDraining || this.isEnding)) this.#leave();
  }

  /** Sends what small frames wait, where this is not done anyway when the received bytes are read. */
  flushSoon(): void {
    if (!this.isClosed) this.flush();
  }

  #leave(): void {
    this.#isFinal = true;
    this.goaway(this.#lastId, f.NO_ERROR);
    this.finish();
  }

  set isDraining(_isDraining: boolean) {
    if (this.#isDraining || this.isClosed) return;
    this.#isDraining = true;
    // Streams that are on their way are still taken: the pong says that none are (RFC 9113 6.8).
    this.goaway(f.MOST_WINDOW, f.NO_ERROR);
    this.ping();
    this.flush();
  }

  closeIfIdle(): void {
    if (this.streams.size === 0 && !this.isClosed) this.#leave();
  }

  protected onPong(): void {
    if (!this.#isDraining || this.#isFinal) return;
    if (this.streams.size === 0) {
      this.#leave();
      return;
    }
    this.#isFinal = true;
    this.goaway(this.#lastId, f.NO_ERROR);
  }

  protected onGoaway(): void {
    if (this.streams.size === 0) this.finish();
  }

  protected onSettings(): void {
    // Ours are the choice not to push, and tables of none.
  }

  protected look(nowMs: number): void {
    const { http } = this.context.service.settings;
    if (this.stuckMs(nowMs) > http.bodyTimeoutMs) {
      this.close();
      return;
    }
    const began = this.block.sinceMs;
    if (began !== 0 && nowMs - began > http.headTimeoutMs) {
      this.fail(f.ENHANCE_YOUR_CALM);
      return;
    }
    if (this.streams.size === 0) {
      const patience =
        this.#lastId === 0 ? Math.min(http.headTimeoutMs, http.idleTimeoutMs) : http.idleTimeoutMs;
      if (nowMs - this.#idleSinceMs > patience) this.#leave();
      return;
    }
    for (const stream of [...this.streams.values()] as ClientStream[]) stream.look(nowMs);
  }

  protected onClosed(): void {
    this.#onClosed(this);
  }

  onConnect(): void {
    // A client's connection is connected when it is accepted.
  }
}
