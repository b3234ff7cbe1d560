/** One stream of a session: its windows, and what it has to send and cannot yet. */
import { DATA, END_STREAM, FIRST_WINDOW, FRAME_HEADER_BYTES, writeFrameHeader } from './frames.ts';
import type { Session } from './session.ts';

/** Buffers that wait in a stream, from which on it is full. */
const FULL = 2;

export abstract class Stream {
  readonly session: Session;
  id = 0;
  sendWindow = FIRST_WINDOW;
  receiveWindow = FIRST_WINDOW;
  unacknowledged = 0;
  /** END_STREAM was received, or sent. */
  isRemoteDone = false;
  isLocalDone = false;
  /** When `onDeadline` of the session looks after it; 0 is never. */
  deadlineMs = 0;
  protected wasFull = false;
  /** What waits, as [buffer, at, end, ...]. */
  #queue: number[] = [];
  #isEndQueued = false;
  #trailers: Uint8Array | null = null;

  constructor(session: Session) {
    this.session = session;
  }

  /** Begins anew. */
  protected begin(id: number): void {
    this.id = id;
    this.sendWindow = this.session.peerWindow;
    this.receiveWindow = this.session.ownWindow;
    this.unacknowledged = 0;
    this.isRemoteDone = false;
    this.isLocalDone = false;
    this.deadlineMs = 0;
    this.wasFull = false;
    this.#isEndQueued = false;
    this.#trailers = null;
  }

  /** Data of the peer's message; buffer -1 where only the end came. Takes the buffer. */
  abstract dataReceived(buffer: number, at: number, end: number, isLast: boolean): void;
  /** The peer broke a rule on this stream: reset it. */
  abstract broken(code: number): void;
  abstract wasResetByPeer(code: number): void;
  /** The connection is gone. */
  abstract lost(): void;
  /** The head stands in front of the first data, and goes out; with `isLast` that is all. */
  protected wroteHead(_buffer: number, _start: number, _end: number, _isLast: boolean): void {}
  /** END_STREAM went out. */
  protected abstract sentLast(): void;
  /** It was full and takes more. */
  protected abstract hasRoom(): void;
  /** Some of what waited went out. */
  protected abstract progressed(): void;

  /** Something waits that the stream's own window lets go. */
  get isReady(): boolean {
    if (this.#queue.length === 0) return this.#isEndQueued && !this.isLocalDone;
    return this.sendWindow > 0 || this.#queue[1] === this.#queue[2];
  }

  /** What waits is for the window. */
  get needsWindow(): boolean {
    return this.#queue.length > 0 && this.#queue[1] !== this.#queue[2];
  }

  get isWaiting(): boolean {
    return this.#queue.length > 0;
  }

  get isStreamFull(): boolean {
    if (this.#queue.length < FULL * 3 && !this.session.channel.isFull) return false;
    this.wasFull = true;
    return true;
  }

  /**
   * Sends data, behind the head where one was built (`isHeadBuilt`), or keeps it until it can go. Takes the buffer. False
   * where the head could not be sent: the connection is closed then.
   */
  protected send(
    isHeadBuilt: boolean,
    buffer: number,
    at: number,
    end: number,
    isLast: boolean,
    trailers: Uint8Array | null,
  ): boolean {
    const { session } = this;
    const { buffers } = session.channels;
    session.flush();
    const length = end - at;
    const endsHere = isLast && trailers === null;
    if (isHeadBuilt) {
      const isWhole = length <= this.sendWindow && length <= session.sendWindow && session.canWrite;
      const hasData = length > 0;
      if (isWhole) {
        const from = hasData ? at - FRAME_HEADER_BYTES : at;
        const start = session.writer.putBefore(buffer, from, this.id, endsHere && !hasData);
        if (start >= 0) {
          if (hasData) this.#frame(from, length, endsHere);
          this.wroteHead(buffer, start, hasData ? end : at, endsHere);
          session.channel.write(buffer, start, hasData ? end : at);
          this.#after(isLast, trailers);
          return true;
        }
      }
      if (!session.writer.sendAlone(session.channel, this.id, endsHere && !hasData)) {
        buffers.give(buffer);
        session.close();
        return false;
      }
      if (!hasData) {
        buffers.give(buffer);
        this.#after(isLast, trailers);
        return true;
      }
    }
    if (length === 0 && !endsHere) buffers.give(buffer);
    else this.#queue.push(buffer, at, end);
    if (isLast) {
      this.#isEndQueued = true;
      this.#trailers = trailers;
    }
    session.ready(this);
    return true;
  }

  #after(isLast: boolean, trailers: Uint8Array | null): void {
    if (!isLast) return;
    this.#isEndQueued = true;
    this.#trailers = trailers;
    this.#finish();
  }

  #frame(at: number, length: number, isLast: boolean): void {
    const { session } = this;
    writeFrameHeader(session.channels.buffers.bytes, at, length, DATA, isLast ? END_STREAM : 0, this.id);
    this.sendWindow -= length;
    session.sendWindow -= length;
    session.earn(4);
  }

  /** By the session: sends one buffer, as much of it as windows allow. False where memory is short. */
  sendNext(): boolean {
    const { session } = this;
    const { buffers } = session.channels;
    session.flush();
    if (this.#queue.length === 0) {
      this.#finish();
      return true;
    }
    const [buffer, at, end] = this.#queue as [number, number, number];
    const length = end - at;
    const can = Math.min(length, this.sendWindow, session.sendWindow);
    if (can <= 0 && length > 0) return true;
    if (can < length) {
      // The rest stays in its buffer, so this goes in another.
      const part = buffers.take();
      if (part < 0) return false;
      const start = buffers.start(part);
      buffers.bytes.copyWithin(start, at, at + can);
      this.#queue[1] = at + can;
      this.#frame(start - FRAME_HEADER_BYTES, can, false);
      session.channel.write(part, start - FRAME_HEADER_BYTES, start + can);
    } else {
      this.#queue.splice(0, 3);
      const isLast = this.#isEndQueued && this.#queue.length === 0 && this.#trailers === null;
      this.#frame(at - FRAME_HEADER_BYTES, length, isLast);
      session.channel.write(buffer, at - FRAME_HEADER_BYTES, end);
      if (this.#isEndQueued && this.#queue.length === 0) {
        this.#finish();
        return true;
      }
    }
    this.progressed();
    if (this.wasFull && this.#queue.length <= 3) this.#room();
    return true;
  }

  /** All data is out: trailers where there are some, and the end. */
  #finish(): void {
    if (this.isLocalDone || !this.#isEndQueued) return;
    const { session } = this;
    if (this.#trailers !== null) {
      session.writer.begin();
      session.writer.lines(this.#trailers);
      if (!session.writer.sendAlone(session.channel, this.id, true)) {
        session.close();
        return;
      }
    }
    this.isLocalDone = true;
    session.earn(10);
    this.sentLast();
  }

  channelDrained(): void {
    if (this.wasFull && this.#queue.length <= 3) this.#room();
  }

  #room(): void {
    if (this.session.channel.isFull) return;
    this.wasFull = false;
    this.hasRoom();
  }

  /** Gives back what waits. */
  protected dropQueue(): void {
    for (let n = 0; n < this.#queue.length; n += 3) this.session.channels.buffers.give(this.#queue[n]!);
    this.#queue.length = 0;
    this.#isEndQueued = false;
  }
}
