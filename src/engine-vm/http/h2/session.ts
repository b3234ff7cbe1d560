/**
 * One connection of HTTP/2 as both sides have it (RFC 9113): reads frames, keeps settings, windows and pings, gathers
 * blocks of fields, and writes what streams send as the windows and the channel allow. Streams are the subclass's: those
 * of a client (client-session.ts), or those to a member (member-session.ts).
 *
 * What a peer can make us do for nothing is paid for (calm.ts). One that has nothing left is sent away.
 */
import type { Channel, ChannelOwner, Channels } from '../channel.ts';
import { BlockWriter } from './block-writer.ts';
import { Calm } from './calm.ts';
import { ControlFrames } from './control-frames.ts';
import { Ending } from './ending.ts';
import { FieldBlock } from './field-block.ts';
import { type FrameEvents, FrameReader } from './frame-reader.ts';
import * as f from './frames.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import { ReceiveWindow } from './receive-window.ts';
import type { Stream } from './stream.ts';

/** Streams that we have reset, to which frames may still come. */
const RESETS_KEPT = 256;
const LINGER_MS = 1000;

/** What differs between the two sides. */
export interface SessionTerms {
  /** The peer begins with the preface of clients. */
  readonly awaitsPreface: boolean;
  readonly lookMs: number;
  readonly ownWindow: number;
}

export abstract class Session implements ChannelOwner, FrameEvents {
  readonly channel: Channel;
  readonly channels: Channels;
  readonly writer: BlockWriter;
  readonly receiveWindow: ReceiveWindow;
  readonly streams = new Map<number, Stream>();
  /** What the connection may still send of DATA; and what streams begin with. */
  sendWindow = f.FIRST_WINDOW;
  peerWindow = f.FIRST_WINDOW;
  isClosed = false;
  /** GOAWAY was sent or received. */
  isEnding = false;
  /** The HEADERS frame of the block says that its stream depends on itself (RFC 7540 5.3.1: an error of the stream). */
  protected dependsOnItself = false;
  protected readonly decoder = new HpackDecoder();
  readonly #reader: FrameReader;
  protected readonly block = new FieldBlock();
  #hasSettings = false;
  readonly #control: ControlFrames;
  /** Streams that have something to send and a window for it. */
  readonly #waiting = new Set<Stream>();
  readonly #resets = new Int32Array(RESETS_KEPT);
  #resetCount = 0;
  readonly #calm: Calm;
  /** How often `look` is called. */
  readonly #lookMs: number;
  /** SETTINGS_INITIAL_WINDOW_SIZE, as we say it. */
  readonly ownWindow: number;
  /** Since when nothing of what is written has gone out. */
  #stuckSinceMs = 0;
  #ending: Ending | null = null;

  constructor(channel: Channel, channels: Channels, { awaitsPreface, lookMs, ownWindow }: SessionTerms) {
    this.#reader = new FrameReader(this, channels.buffers, awaitsPreface);
    this.#control = new ControlFrames(channel, channels, () => this.close());
    this.receiveWindow = new ReceiveWindow(channels, (more) => this.#number(f.WINDOW_UPDATE, 0, more));
    this.channel = channel;
    this.channels = channels;
    this.writer = BlockWriter.of(channels.buffers);
    this.#calm = new Calm(channels.nowMs);
    this.#lookMs = lookMs;
    this.ownWindow = ownWindow;
    channel.owner = this;
  }

  /** A whole block for that stream. Calls `decode` on it in any case, as the table depends on it. */
  protected abstract onBlock(id: number, bytes: Uint8Array, at: number, end: number, isLast: boolean): void;
  /** Whether no stream of that number was ever begun. */
  protected abstract isIdle(id: number): boolean;
  protected abstract onGoaway(lastStream: number): void;
  protected abstract onPong(): void;
  protected abstract onSettings(id: number, value: number): void;
  /** The connection is over; streams are told by `Stream.lost` before. */
  protected abstract onClosed(): void;
  /** Looks once a second after what has a deadline. */
  protected abstract look(nowMs: number): void;
  abstract onConnect(error: number): void;

  /** As a client: what comes before the settings. Called before anything else. */
  protected preface(): void {
    this.#control.preface();
  }

  /** Sends our settings, and the larger window of the connection. */
  protected hello(settings: readonly (readonly [number, number])[]): void {
    this.#control.settings(settings);
    this.#number(f.WINDOW_UPDATE, 0, ReceiveWindow.FIRST_UPDATE);
    this.flush();
  }

  onBytes(buffer: number, at: number, end: number): void {
    if (!this.#reader.read(buffer, at, end)) this.close();
    else if (!this.isClosed) this.flush();
  }

  onData(buffer: number, at: number, end: number, isLast: boolean): boolean {
    const stream = this.streams.get(this.#reader.id);
    if (stream === undefined || stream.isRemoteDone) {
      this.taken(end - at);
      return false;
    }
    if (buffer < 0 && !isLast) return false;
    stream.dataReceived(buffer, at, end, isLast);
    return buffer >= 0;
  }

  onPadding(length: number): void {
    this.taken(length);
  }

  onFrameHeader(): void {
    const { type, id } = this.#reader;
    const isOutOfPlace =
      this.block.id !== 0 ? type !== f.CONTINUATION || id !== this.block.id : type === f.CONTINUATION;
    if (isOutOfPlace || (!this.#hasSettings && type !== f.SETTINGS)) this.fail(f.PROTOCOL_ERROR);
    else if (type === f.DATA) this.#beginData();
  }

  #beginData(): void {
    const { length, flags, id } = this.#reader;
    if (id === 0 || this.isIdle(id)) {
      this.fail(f.PROTOCOL_ERROR);
      return;
    }
    if (!this.receiveWindow.receive(length)) {
      this.fail(f.FLOW_CONTROL_ERROR);
      return;
    }
    const isEmpty = length === 0 || ((flags & f.PADDED) !== 0 && length === 1);
    if (isEmpty && (flags & f.END_STREAM) === 0) this.spend(1);
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (!this.wasReset(id)) this.reset(id, f.STREAM_CLOSED);
    } else if (stream.isRemoteDone) stream.broken(f.STREAM_CLOSED);
    else {
      stream.receiveWindow -= length;
      if (stream.receiveWindow < 0) stream.broken(f.FLOW_CONTROL_ERROR);
    }
  }

  onFrame(bytes: Uint8Array, at: number, end: number): void {
    const { type, id, flags } = this.#reader;
    const length = end - at;
    switch (type) {
      case f.HEADERS:
        this.#headers(bytes, at, end);
        break;
      case f.CONTINUATION:
        this.#gather(bytes, at, end);
        break;
      case f.PRIORITY:
        this.spend(1);
        if (id === 0) this.fail(f.PROTOCOL_ERROR);
        else if (length !== 5) this.streamError(id, f.FRAME_SIZE_ERROR);
        else if ((f.readNumber(bytes, at) & 0x7fff_ffff) === id) this.streamError(id, f.PROTOCOL_ERROR);
        break;
      case f.RST_STREAM:
        if (id === 0 || this.isIdle(id)) this.fail(f.PROTOCOL_ERROR);
        else if (length !== 4) this.fail(f.FRAME_SIZE_ERROR);
        else {
          this.spend(1);
          this.streams.get(id)?.wasResetByPeer(f.readNumber(bytes, at));
        }
        break;
      case f.SETTINGS:
        this.#settings(bytes, at, end);
        break;
      case f.PUSH_PROMISE:
        this.fail(f.PROTOCOL_ERROR);
        break;
      case f.PING:
        if (id !== 0) this.fail(f.PROTOCOL_ERROR);
        else if (length !== 8) this.fail(f.FRAME_SIZE_ERROR);
        else if ((flags & f.ACK) !== 0) this.onPong();
        else {
          this.spend(1);
          this.#control.pong(bytes, at);
        }
        break;
      case f.GOAWAY:
        if (id !== 0) this.fail(f.PROTOCOL_ERROR);
        else if (length < 8) this.fail(f.FRAME_SIZE_ERROR);
        else {
          this.isEnding = true;
          this.onGoaway(f.readNumber(bytes, at) & 0x7fff_ffff);
        }
        break;
      case f.WINDOW_UPDATE:
        this.#windowUpdate(bytes, at, length);
        break;
      default:
        // RFC 9113 4.1: frames of other kinds are overlooked.
        this.spend(1);
    }
  }

  #headers(bytes: Uint8Array, at: number, end: number): void {
    const { flags, id } = this.#reader;
    let from = at;
    let to = end;
    if (id === 0) {
      this.fail(f.PROTOCOL_ERROR);
      return;
    }
    if ((flags & f.PADDED) !== 0) to -= bytes[from++]!;
    this.dependsOnItself = false;
    if ((flags & f.HAS_PRIORITY) !== 0) {
      this.dependsOnItself = to - from >= 5 && (f.readNumber(bytes, from) & 0x7fff_ffff) === id;
      from += 5;
    }
    if (to < from || at === end) {
      this.fail(
        at === end && (flags & (f.PADDED | f.HAS_PRIORITY)) === 0 ? f.PROTOCOL_ERROR : f.FRAME_SIZE_ERROR,
      );
      return;
    }
    const isLast = (flags & f.END_STREAM) !== 0;
    if ((flags & f.END_HEADERS) !== 0) {
      this.onBlock(id, bytes, from, to, isLast);
      return;
    }
    this.block.begin(id, isLast, this.channels.nowMs);
    this.#gather(bytes, from, to);
  }

  #gather(bytes: Uint8Array, at: number, end: number): void {
    const { block } = this;
    const { type, flags } = this.#reader;
    if (!block.add(bytes, at, end)) {
      this.fail(f.ENHANCE_YOUR_CALM);
      return;
    }
    if (type === f.HEADERS || (flags & f.END_HEADERS) === 0) return;
    const { id, isLast } = block;
    const whole = block.take();
    this.onBlock(id, whole, 0, whole.length, isLast);
  }

  #settings(bytes: Uint8Array, at: number, end: number): void {
    const length = end - at;
    if (this.#reader.id !== 0) {
      this.fail(f.PROTOCOL_ERROR);
      return;
    }
    const isAck = (this.#reader.flags & f.ACK) !== 0;
    if (length % 6 !== 0 || (isAck && length > 0)) {
      this.fail(f.FRAME_SIZE_ERROR);
      return;
    }
    if (isAck) {
      // The first frame has to bring settings.
      if (!this.#hasSettings) this.fail(f.PROTOCOL_ERROR);
      return;
    }
    this.#hasSettings = true;
    this.spend(1);
    for (let p = at; p < end && !this.isClosed; p += 6) {
      const id = (bytes[p]! << 8) | bytes[p + 1]!;
      const value = f.readNumber(bytes, p + 2);
      if (id === f.SETTING_ENABLE_PUSH && value > 1) this.fail(f.PROTOCOL_ERROR);
      else if (id === f.SETTING_WINDOW) this.#firstWindow(value);
      else if (id === f.SETTING_FRAME_BYTES && (value < f.MOST_FRAME_BYTES || value > 0xff_ffff)) {
        this.fail(f.PROTOCOL_ERROR);
      } else this.onSettings(id, value);
    }
    if (this.isClosed) return;
    this.#control.begin(0, f.SETTINGS, f.ACK, 0);
    // Only now, so that the acknowledgement goes in front of what the new windows let go.
    this.pump();
  }

  #firstWindow(value: number): void {
    if (value > f.MOST_WINDOW) {
      this.fail(f.FLOW_CONTROL_ERROR);
      return;
    }
    const more = value - this.peerWindow;
    this.peerWindow = value;
    for (const stream of this.streams.values()) {
      stream.sendWindow += more;
      if (stream.sendWindow > f.MOST_WINDOW) {
        this.fail(f.FLOW_CONTROL_ERROR);
        return;
      }
      if (stream.isReady) this.#waiting.add(stream);
    }
  }

  #windowUpdate(bytes: Uint8Array, at: number, length: number): void {
    const { id } = this.#reader;
    if (length !== 4) {
      this.fail(f.FRAME_SIZE_ERROR);
      return;
    }
    this.spend(1);
    const more = f.readNumber(bytes, at) & 0x7fff_ffff;
    if (id === 0) {
      this.sendWindow += more;
      if (more === 0) this.fail(f.PROTOCOL_ERROR);
      else if (this.sendWindow > f.MOST_WINDOW) this.fail(f.FLOW_CONTROL_ERROR);
      else this.pump();
      return;
    }
    if (this.isIdle(id)) {
      this.fail(f.PROTOCOL_ERROR);
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    stream.sendWindow += more;
    if (more === 0) stream.broken(f.PROTOCOL_ERROR);
    else if (stream.sendWindow > f.MOST_WINDOW) stream.broken(f.FLOW_CONTROL_ERROR);
    else if (stream.isReady) {
      this.#waiting.add(stream);
      this.pump();
    }
  }

  /** The peer asked for something that leads to nothing. */
  spend(cost: number): void {
    if (!this.#calm.spend(cost, this.channels.nowMs)) this.fail(f.ENHANCE_YOUR_CALM);
  }

  /** A message ended as it should, or data went out: the peer's acknowledgements are no flood. */
  earn(worth: number): void {
    this.#calm.earn(worth);
  }

  /** Data went on, or was thrown away: the peer may send as much again on the connection. */
  taken(length: number): void {
    this.receiveWindow.taken(length);
  }

  /** Data of a stream went on: the peer may send as much again on it. */
  takenOf(stream: Stream, length: number): void {
    if (stream.isRemoteDone || this.isClosed) return;
    stream.unacknowledged += length;
    if (stream.unacknowledged < this.ownWindow / 4) return;
    this.#number(f.WINDOW_UPDATE, stream.id, stream.unacknowledged);
    stream.receiveWindow += stream.unacknowledged;
    stream.unacknowledged = 0;
  }

  /** Resets a stream, whether it is there or not. */
  reset(id: number, code: number): void {
    if (this.isClosed) return;
    this.#number(f.RST_STREAM, id, code);
    this.#resets[this.#resetCount++ % RESETS_KEPT] = id;
    if (code !== f.NO_ERROR && code !== f.CANCEL) this.spend(1);
  }

  /** Whether we reset that stream not long ago. */
  protected wasReset(id: number): boolean {
    return this.#resets.includes(id);
  }

  protected streamError(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream !== undefined) stream.broken(code);
    else this.reset(id, code);
  }

  /** A stream is over. */
  forget(stream: Stream): void {
    this.streams.delete(stream.id);
    this.#waiting.delete(stream);
  }

  /** A stream has something to send, or something more. */
  ready(stream: Stream): void {
    if (!stream.isReady) return;
    this.#waiting.add(stream);
    this.pump();
  }

  /** Whether a stream may write: nobody waits, and the channel takes more. */
  get canWrite(): boolean {
    return !this.channel.isFull && this.#waiting.size === 0;
  }

  /** Lets streams send in turn, a buffer each, for as long as windows and channel allow. */
  pump(): void {
    for (const stream of this.#waiting) {
      if (this.isClosed || this.channel.isFull) return;
      if (this.sendWindow <= 0 && stream.needsWindow) continue;
      this.#waiting.delete(stream);
      if (!stream.sendNext()) {
        this.#waiting.add(stream);
        return;
      }
      if (stream.isReady && this.streams.get(stream.id) === stream) this.#waiting.add(stream);
    }
  }

  onDrained(): void {
    this.#stuckSinceMs = 0;
    this.pump();
    for (const stream of this.streams.values()) stream.channelDrained();
  }

  onDeadline(): void {
    const { nowMs } = this.channels;
    this.channel.deadlineMs = nowMs + this.#lookMs;
    if (!this.channel.isFull) this.#stuckSinceMs = 0;
    else if (this.#stuckSinceMs === 0) this.#stuckSinceMs = nowMs;
    this.look(nowMs);
    if (!this.isClosed) this.flush();
  }

  /** How long the peer has read nothing. */
  protected stuckMs(nowMs: number): number {
    return this.#stuckSinceMs === 0 ? 0 : nowMs - this.#stuckSinceMs;
  }

  onEnd(_error: number): void {
    this.close();
  }

  #number(type: number, id: number, value: number): void {
    if (!this.isClosed) this.#control.number(type, id, value);
  }

  protected ping(): void {
    if (!this.isClosed) this.#control.ping();
  }

  protected goaway(lastStream: number, code: number): void {
    if (this.isClosed) return;
    this.#control.goaway(lastStream, code);
    this.isEnding = true;
  }

  /** Sends the small frames that wait. Before anything of a stream is written, as they may be about it. */
  flush(): void {
    this.#control.flush();
  }

  protected abstract get lastStream(): number;

  /** The peer broke the protocol, or asks too much: it is told, and the connection ends. */
  fail(code: number): void {
    if (this.isClosed) return;
    this.goaway(this.lastStream, code);
    this.#end();
  }

  /** Ends the connection once all is sent. */
  protected finish(): void {
    if (!this.isClosed) this.#end();
  }

  #end(): void {
    this.flush();
    this.isClosed = true;
    this.#lose();
    this.channel.deadlineMs = this.channels.nowMs + LINGER_MS;
    this.#ending = new Ending(this.channels, this.channel, () => this.onClosed());
    this.channel.owner = this.#ending;
    this.channel.end();
  }

  #lose(): void {
    this.#waiting.clear();
    for (const stream of [...this.streams.values()]) stream.lost();
    this.streams.clear();
  }

  /** Cuts it short. */
  close(): void {
    if (this.isClosed) {
      this.#ending?.onDeadline();
      return;
    }
    this.isClosed = true;
    this.#control.drop();
    this.#lose();
    this.channel.close();
    this.onClosed();
  }
}
