/**
 * An HTTP/2 connection to a member (prior knowledge): each exchange has a stream of it. A connection on which nothing
 * comes while somebody waits is asked by PING whether it lives still; until it answers, new requests go on another.
 */
import { RECEIVE_BYTES } from '../../kernel/socket-buffers.ts';
import type { Channel } from '../channel.ts';
import { Head } from '../head.ts';
import type { Member } from '../member.ts';
import type { Members } from '../members.ts';
import { parseResponseHead } from '../parse-head.ts';
import { refusal } from '../refusals.ts';
import * as f from './frames.ts';
import { HeadText, RESPONSE } from './head-text.ts';
import { MemberStream } from './member-stream.ts';
import { Session } from './session.ts';
import { decodeTrailers, discardBlock, INVALID_TRAILERS, UNDECODABLE } from './trailer-block.ts';

/** Streams at a time, where the member allows more or has not said yet. */
const MOST_STREAMS = 100;
/** Small: what a slow client does not take is held for it, and others share the connection. */
const STREAM_WINDOW = 32_768;
const LOOK_MS = 250;
const SILENCE_MS = 5000;
const PONG_MS = 5000;
/** The last id, before which the connection is left. */
const LAST_ID = 0x7fff_0000;
const HEAD_INVALID = refusal('member-head-invalid');

// For one block at a time, of all connections of a thread.
const head = new Head();
const text = new HeadText();

export class MemberSession extends Session {
  readonly member: Member;
  readonly members: Members;
  isConnected = false;
  /** Some request was answered on it: the member may close it at any time. */
  isReused = false;
  readonly #free: MemberStream[] = [];
  #mostStreams = MOST_STREAMS;
  #nextId = 1;
  #idleSinceMs: number;
  #heardMs: number;
  /** Since when a PING waits for its answer; 0 where none does. */
  #pingedMs = 0;
  /** It was asked in this silence: members count those that ask often as hostile. */
  isAsked = false;

  constructor(members: Members, member: Member, channel: Channel) {
    super(channel, members.channels, { awaitsPreface: false, lookMs: LOOK_MS, ownWindow: STREAM_WINDOW });
    this.members = members;
    this.member = member;
    this.#idleSinceMs = this.channels.nowMs;
    this.#heardMs = this.channels.nowMs;
    member.sessions.push(this);
    members.opened(member);
    channel.deadlineMs = this.channels.nowMs + members.http.connectTimeoutMs;
    this.preface();
    this.hello([
      [f.SETTING_ENABLE_PUSH, 0],
      [f.SETTING_WINDOW, STREAM_WINDOW],
      [f.SETTING_HEAD_BYTES, members.http.maxHeadBytes],
    ]);
  }

  /** Takes one more request. */
  get hasRoom(): boolean {
    return !this.isClosed && !this.isEnding && this.#pingedMs === 0 && this.streams.size < this.#mostStreams;
  }

  /** A stream for one exchange, which has no id before its head goes out. */
  open(): MemberStream {
    return this.#free.pop() ?? new MemberStream(this);
  }

  /** The stream's head goes out: returns its id. */
  beginStream(stream: MemberStream): number {
    const id = this.#nextId;
    this.#nextId += 2;
    if (id >= LAST_ID) this.isEnding = true;
    if (this.streams.size === 0) {
      this.#heardMs = this.channels.nowMs;
      this.isAsked = false;
    }
    this.streams.set(id, stream);
    this.members.changed(this.member);
    return id;
  }

  streamDone(stream: MemberStream): void {
    this.forget(stream);
    stream.id = 0;
    if (this.isClosed) return;
    this.isReused = true;
    this.#free.push(stream);
    this.#idleSinceMs = this.channels.nowMs;
    this.members.changed(this.member);
    if (this.streams.size === 0 && this.isEnding) this.#leave();
  }

  /** No new requests; it ends with those that it has. */
  retire(): void {
    if (this.isClosed) return;
    this.isEnding = true;
    if (this.streams.size === 0) this.#leave();
  }

  #leave(): void {
    this.goaway(0, f.NO_ERROR);
    this.finish();
  }

  protected get lastStream(): number {
    return 0;
  }

  protected isIdle(id: number): boolean {
    return id >= this.#nextId || (id & 1) === 0;
  }

  override onBytes(buffer: number, at: number, end: number): void {
    this.#heardMs = this.channels.nowMs;
    super.onBytes(buffer, at, end);
  }

  onConnect(error: number): void {
    if (error !== 0) {
      this.#notConnected();
      return;
    }
    this.isConnected = true;
    this.channel.deadlineMs = this.channels.nowMs + LOOK_MS;
  }

  #notConnected(): void {
    this.members.failed(this.member);
    this.close();
  }

  override onDeadline(): void {
    if (this.isConnected) super.onDeadline();
    else this.#notConnected();
  }

  override onEnd(error: number): void {
    if (this.isConnected) super.onEnd(error);
    else this.#notConnected();
  }

  protected onBlock(id: number, bytes: Uint8Array, at: number, end: number, isLast: boolean): void {
    if (this.isIdle(id)) {
      this.fail(f.PROTOCOL_ERROR);
      return;
    }
    const stream = this.streams.get(id) as MemberStream | undefined;
    this.isAsked = false;
    if (stream === undefined || stream.isRemoteDone) {
      if (!this.#discard(bytes, at, end)) return;
      if (stream !== undefined) stream.broken(f.STREAM_CLOSED);
      // It may not know yet that nobody waits for this.
      else this.spend(1);
    } else if (stream.isAnswered) this.#trailers(stream, bytes, at, end, isLast);
    else this.#response(stream, bytes, at, end, isLast);
  }

  #response(stream: MemberStream, bytes: Uint8Array, at: number, end: number, isLast: boolean): void {
    const { buffers } = this.channels;
    const buffer = buffers.take();
    if (buffer < 0) {
      if (this.#discard(bytes, at, end)) stream.overloaded();
      return;
    }
    const start = buffers.start(buffer);
    text.begin(RESPONSE, buffers.bytes, start, start + RECEIVE_BYTES - 64);
    if (!this.decoder.decode(bytes, at, end, text)) {
      buffers.give(buffer);
      this.fail(f.COMPRESSION_ERROR);
      return;
    }
    const textEnd = text.finish();
    const parsed =
      text.error === 0
        ? parseResponseHead(buffers.bytes, start, textEnd, head, stream.limits)
        : -HEAD_INVALID;
    if (parsed !== textEnd) {
      buffers.give(buffer);
      stream.invalid(parsed < 0 ? -parsed : HEAD_INVALID);
      return;
    }
    head.version = 20;
    stream.headReceived(head, buffer, textEnd, isLast);
  }

  #trailers(stream: MemberStream, bytes: Uint8Array, at: number, end: number, isLast: boolean): void {
    const trailers = decodeTrailers(this.decoder, bytes, at, end, stream.limits);
    if (trailers === UNDECODABLE) this.fail(f.COMPRESSION_ERROR);
    else if (trailers === INVALID_TRAILERS || !isLast) stream.broken(f.PROTOCOL_ERROR);
    else stream.trailersReceived(trailers);
  }

  /** Decodes a block that nobody gets. */
  #discard(bytes: Uint8Array, at: number, end: number): boolean {
    if (discardBlock(this.decoder, bytes, at, end)) return true;
    this.fail(f.COMPRESSION_ERROR);
    return false;
  }

  protected onGoaway(lastStream: number): void {
    for (const stream of [...this.streams.values()] as MemberStream[]) {
      if (stream.id > lastStream) stream.unprocessed();
    }
    if (this.streams.size === 0) this.finish();
  }

  protected onPong(): void {
    this.#pingedMs = 0;
  }

  protected onSettings(id: number, value: number): void {
    if (id !== f.SETTING_STREAMS) return;
    this.#mostStreams = Math.min(value, MOST_STREAMS);
    this.members.changed(this.member);
  }

  protected look(nowMs: number): void {
    const { http } = this.members;
    const began = this.block.sinceMs;
    const isStuck = this.stuckMs(nowMs) > http.responseTimeoutMs;
    if (isStuck || (began !== 0 && nowMs - began > http.responseTimeoutMs)) {
      this.close();
      return;
    }
    if (this.streams.size === 0) {
      if (nowMs - this.#idleSinceMs > http.memberConnections.idleTimeoutMs) this.#leave();
      return;
    }
    if (this.#pingedMs === 0) {
      if (!this.isAsked && nowMs - this.#heardMs > SILENCE_MS) {
        this.isAsked = true;
        this.#pingedMs = nowMs;
        this.ping();
      }
    } else if (nowMs - this.#pingedMs > PONG_MS) {
      if (this.#heardMs < this.#pingedMs) {
        this.close();
        return;
      }
      this.#pingedMs = 0;
    }
    for (const stream of [...this.streams.values()] as MemberStream[]) stream.look(nowMs);
  }

  protected onClosed(): void {
    const { sessions } = this.member;
    sessions.splice(sessions.indexOf(this), 1);
    this.members.closed(this.member);
  }
}
