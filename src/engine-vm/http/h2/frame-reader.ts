/**
 * Frames out of the bytes of a connection (RFC 9113 4.1), however they are cut: the payload of DATA as it comes, that of
 * other frames whole. What a frame means is its listener's.
 */
import type { SocketBuffers } from '../../kernel/socket-buffers.ts';
import * as f from './frames.ts';

export interface FrameEvents {
  /** Nothing more is read once this is so. */
  readonly isClosed: boolean;
  /** The header of a frame is there, as `reader.type`, `flags`, `id` and `length`: closes where it may not come. */
  onFrameHeader(): void;
  /** A frame other than DATA is there, whole. */
  onFrame(bytes: Uint8Array, at: number, end: number): void;
  /** Data of the frame that is read; the buffer is -1 where only the end is told. False where nobody took the buffer. */
  onData(buffer: number, at: number, end: number, isLast: boolean): boolean;
  /** So much of the frame of DATA is padding, with the byte that says so. */
  onPadding(length: number): void;
  /** The frame breaks the protocol: closes. */
  fail(code: number): void;
}

/** Where the reader is. */
const HEADER = 0;
const PAYLOAD = 1;
const IN_DATA = 2;

export class FrameReader {
  /** Of the frame that is read. */
  type = 0;
  flags = 0;
  id = 0;
  length = 0;
  readonly #events: FrameEvents;
  readonly #buffers: SocketBuffers;
  /** Bytes of the peer's preface that have come; the number of all where none is awaited. */
  #prefaceCame: number;
  #state = HEADER;
  readonly #header = new Uint8Array(f.FRAME_HEADER_BYTES);
  #headerCame = 0;
  /** -1 until the byte has come that says how much. */
  #padding = -1;
  #dataLeft = 0;
  #stash: Uint8Array | null = null;
  #stashed = 0;

  constructor(events: FrameEvents, buffers: SocketBuffers, awaitsPreface: boolean) {
    this.#events = events;
    this.#buffers = buffers;
    this.#prefaceCame = awaitsPreface ? 0 : f.PREFACE.length;
  }

  /** Reads a buffer, which is the reader's. False where the peer did not begin as HTTP/2 does. */
  read(buffer: number, at: number, end: number): boolean {
    const { bytes } = this.#buffers;
    let p = at;
    while (this.#prefaceCame < f.PREFACE.length && p < end) {
      if (bytes[p++] !== f.PREFACE[this.#prefaceCame++]) {
        this.#buffers.give(buffer);
        return false;
      }
    }
    let isTaken = false;
    while (p < end && !this.#events.isClosed) {
      if (this.#state === HEADER) {
        p = this.#readHeader(bytes, p, end);
      } else if (this.#state === PAYLOAD) {
        p = this.#readPayload(bytes, p, end);
      } else if (this.#padding < 0) {
        this.#readPadding(bytes[p++]!);
      } else if (this.#dataLeft > 0) {
        const to = p + Math.min(end - p, this.#dataLeft);
        this.#dataLeft -= to - p;
        // The rest of the buffer is this: it goes on as it is.
        if (to === end) isTaken = this.#data(buffer, p, to);
        else this.#copied(p, to);
        p = to;
        this.#endData();
      } else {
        const skipped = Math.min(end - p, this.#padding);
        this.#padding -= skipped;
        p += skipped;
        this.#endData();
      }
    }
    if (!isTaken) this.#buffers.give(buffer);
    return true;
  }

  #readHeader(bytes: Uint8Array, at: number, end: number): number {
    if (this.#headerCame === 0 && end - at >= f.FRAME_HEADER_BYTES) {
      this.#begin(bytes, at);
      return at + f.FRAME_HEADER_BYTES;
    }
    this.#header[this.#headerCame++] = bytes[at]!;
    if (this.#headerCame === f.FRAME_HEADER_BYTES) {
      this.#headerCame = 0;
      this.#begin(this.#header, 0);
    }
    return at + 1;
  }

  #begin(bytes: Uint8Array, at: number): void {
    this.length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    this.type = bytes[at + 3]!;
    this.flags = bytes[at + 4]!;
    this.id = f.readNumber(bytes, at + 5) & 0x7fff_ffff;
    if (this.length > f.MOST_FRAME_BYTES) {
      this.#events.fail(f.FRAME_SIZE_ERROR);
      return;
    }
    this.#events.onFrameHeader();
    if (this.#events.isClosed) return;
    if (this.type === f.DATA) this.#beginData();
    else if (this.length === 0) this.#events.onFrame(bytes, at, at);
    else this.#state = PAYLOAD;
  }

  #readPayload(bytes: Uint8Array, at: number, end: number): number {
    const missing = this.length - this.#stashed;
    if (this.#stashed === 0 && end - at >= missing) {
      this.#state = HEADER;
      this.#events.onFrame(bytes, at, at + missing);
      return at + missing;
    }
    const to = at + Math.min(missing, end - at);
    this.#stash ??= new Uint8Array(this.length);
    this.#stash.set(bytes.subarray(at, to), this.#stashed);
    this.#stashed += to - at;
    if (this.#stashed < this.length) return to;
    const whole = this.#stash;
    this.#stash = null;
    this.#stashed = 0;
    this.#state = HEADER;
    this.#events.onFrame(whole, 0, whole.length);
    return to;
  }

  #beginData(): void {
    const isPadded = (this.flags & f.PADDED) !== 0;
    if (isPadded && this.length === 0) {
      this.#events.fail(f.FRAME_SIZE_ERROR);
      return;
    }
    this.#padding = isPadded ? -1 : 0;
    this.#dataLeft = this.length;
    if (this.length > 0) this.#state = IN_DATA;
    else this.#data(-1, 0, 0);
  }

  #readPadding(padding: number): void {
    if (padding > this.#dataLeft - 1) {
      this.#events.fail(f.PROTOCOL_ERROR);
      return;
    }
    this.#padding = padding;
    this.#dataLeft -= padding + 1;
    this.#events.onPadding(padding + 1);
    if (this.#dataLeft === 0) this.#data(-1, 0, 0);
    this.#endData();
  }

  #endData(): void {
    if (this.#dataLeft === 0 && this.#padding === 0) this.#state = HEADER;
  }

  #data(buffer: number, at: number, end: number): boolean {
    const isLast = this.#dataLeft === 0 && (this.flags & f.END_STREAM) !== 0;
    return this.#events.onData(buffer, at, end, isLast);
  }

  /** A piece of DATA behind which other frames stand: those are still to be read in its buffer. */
  #copied(at: number, end: number): void {
    const own = this.#buffers.take();
    if (own < 0) {
      this.#events.fail(f.ENHANCE_YOUR_CALM);
      return;
    }
    const start = this.#buffers.start(own);
    this.#buffers.bytes.copyWithin(start, at, end);
    if (!this.#data(own, start, start + end - at)) this.#buffers.give(own);
  }
}
