/**
 * Writes the heads that go on: the received one without what belongs to the connection it came by, with what the
 * service adds. Built in memory of its own, then put in front of the bytes that follow it, in their buffer.
 */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { BUFFER_BYTES } from '../kernel/socket-buffers.ts';
import type { Channel } from './channel.ts';
import { FIELD, HOP_BY_HOP } from './field-names.ts';
import type { Head } from './head.ts';
import { STATUS_TEXT } from './refusals.ts';

const encoder = new TextEncoder();
/** The bytes of text that is written often. */
export const line = (text: string): Uint8Array => encoder.encode(text);

const HTTP11 = line(' HTTP/1.1\r\n');
const CHUNKED = line('Transfer-Encoding: chunked\r\n');
const KEEP_ALIVE = line('Connection: keep-alive\r\n');
const CLOSE = line('Connection: close\r\n');
const UPGRADE = line('Connection: Upgrade\r\n');
const LAST_CHUNK = line('0\r\n');
const STATUS_LINE = line('HTTP/1.1 ');

/** Room for a head: the received one, and as much again for what is added. */
const HEAD_ROOM = 32_768;

/** Which of the fields about clients that came with the request are dropped. */
const CLIENT_FIELDS = new Uint8Array(64);
for (const name of [
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
  'forwarded',
] as const) {
  CLIENT_FIELDS[FIELD[name]] = 1;
}

/** Whether a received field does not go on: of one connection, dropped, or written anew. */
export function staysBehind(
  head: Head,
  n: number,
  dropsClientFields: boolean,
  dropsLength: boolean,
): boolean {
  const id = head.ids[n]!;
  return (
    HOP_BY_HOP[id] === 1 ||
    head.isDropped[n] === 1 ||
    (dropsClientFields && CLIENT_FIELDS[id] === 1) ||
    (dropsLength && id === FIELD['content-length'])
  );
}

/** Values of Connection. */
export const SAY_NOTHING = 0;
export const SAY_CLOSE = 1;
export const SAY_KEEP_ALIVE = 2;
export const SAY_UPGRADE = 3;

export class HeadWriter {
  readonly #buffers: SocketBuffers;
  readonly #bytes: Uint8Array;
  readonly #start: number;
  #end: number;
  /** `Date: ...` of this second. */
  #dateLine = line('');
  #dateSecond = 0;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
    this.#bytes = buffers.bytes;
    this.#start = buffers.reserve(HEAD_ROOM, 64);
    this.#end = this.#start;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** Begins a request with the received request line. */
  beginRequest(head: Head): void {
    this.#end = this.#start;
    this.#copy(head.methodAt, head.methodEnd);
    this.#bytes[this.#end++] = 32;
    this.#copy(head.targetAt, head.targetEnd);
    this.add(HTTP11);
  }

  /** Begins a response with the received status. */
  beginResponse(head: Head): void {
    this.#end = this.#start;
    this.add(STATUS_LINE);
    const { status } = head;
    const bytes = this.#bytes;
    bytes[this.#end++] = 48 + Math.floor(status / 100);
    bytes[this.#end++] = 48 + (Math.floor(status / 10) % 10);
    bytes[this.#end++] = 48 + (status % 10);
    bytes[this.#end++] = 32;
    this.#copy(head.reasonAt, head.reasonEnd);
    this.#crlf();
  }

  /** The received fields, but for those of one connection and those that are dropped. */
  fields(head: Head, dropsClientFields: boolean, dropsLength: boolean): void {
    let from = head.fieldsAt;
    for (let n = 0; n < head.count; n++) {
      if (staysBehind(head, n, dropsClientFields, dropsLength)) {
        const at = head.nameAt[n]!;
        if (at > from) this.#copy(from, at);
        from = head.lineEnd[n]!;
      }
    }
    // Behind the last field stands the empty line.
    const end = head.end - 2;
    if (end > from) this.#copy(from, end);
  }

  /** A line of the received head as it stands. */
  field(head: Head, n: number): void {
    this.#copy(head.nameAt[n]!, head.lineEnd[n]!);
  }

  /** The value of a received field, and the end of a line. */
  value(head: Head, n: number): void {
    this.#copy(head.valueAt[n]!, head.valueEnd[n]!);
    this.#crlf();
  }

  add(bytes: Uint8Array): void {
    const target = this.#bytes;
    let at = this.#end;
    // Short: a loop costs less than a call.
    for (let n = 0; n < bytes.length; n++) target[at++] = bytes[n]!;
    this.#end = at;
  }

  chunked(): void {
    this.add(CHUNKED);
  }

  connection(what: number): void {
    if (what === SAY_CLOSE) this.add(CLOSE);
    else if (what === SAY_KEEP_ALIVE) this.add(KEEP_ALIVE);
    else if (what === SAY_UPGRADE) this.add(UPGRADE);
  }

  /** RFC 9110 6.6.1: who forwards a response without a Date adds it. */
  date(): void {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      this.#dateLine = line(`Date: ${new Date(second * 1000).toUTCString()}\r\n`);
    }
    this.add(this.#dateLine);
  }

  finish(): void {
    this.#crlf();
  }

  /** A whole response of ours, with a short text for people. */
  answer(
    status: number,
    reason: string,
    fields: readonly Uint8Array[],
    isHead: boolean,
    closes: boolean,
  ): void {
    this.#end = this.#start;
    const text = `${status} ${STATUS_TEXT[status] ?? ''}: ${reason}\n`;
    this.add(line(`HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? ''}\r\n`));
    this.date();
    this.add(line(`Content-Type: text/plain\r\nContent-Length: ${text.length}\r\n`));
    for (const one of fields) this.add(one);
    if (closes) this.add(CLOSE);
    this.#crlf();
    if (!isHead) this.add(line(text));
  }

  /**
   * Puts what was built in front of `at` in that buffer, and returns where it begins; -1 where there is no room, and
   * it has to go alone.
   */
  putBefore(buffer: number, at: number): number {
    const { length } = this;
    if (at - buffer * BUFFER_BYTES < length) return -1;
    this.#bytes.copyWithin(at - length, this.#start, this.#end);
    this.#end = this.#start;
    return at - length;
  }

  /**
   * Sends what was built, and the bytes from `at` to before `end` of `buffer` behind it, which is the channel's then.
   * False where memory is short: then nothing is sent, and the buffer is given back.
   */
  send(channel: Channel, buffer: number, at: number, end: number): boolean {
    const from = this.putBefore(buffer, at);
    if (from < 0 && !this.sendAlone(channel)) {
      this.#buffers.give(buffer);
      return false;
    }
    channel.write(buffer, from < 0 ? at : from, end);
    return true;
  }

  /** Sends what was built, in a buffer of its own. False where there is none. */
  sendAlone(channel: Channel): boolean {
    const { length } = this;
    this.#end = this.#start;
    const own = length > BUFFER_BYTES ? -1 : this.#buffers.take();
    if (own < 0) return false;
    const start = own * BUFFER_BYTES;
    this.#bytes.copyWithin(start, this.#start, this.#start + length);
    channel.write(own, start, start + length);
    return true;
  }

  /** Sends the last chunk of a body, in a buffer of its own. False where there is none. */
  sendLastChunk(channel: Channel, trailers: Uint8Array | null): boolean {
    const own = this.#buffers.take();
    if (own < 0) return false;
    const start = this.#buffers.start(own);
    frameChunk(this.#bytes, start, start, true, trailers);
    channel.write(own, chunk.at, chunk.end);
    return true;
  }

  #copy(at: number, end: number): void {
    this.#bytes.copyWithin(this.#end, at, end);
    this.#end += end - at;
  }

  #crlf(): void {
    this.#bytes[this.#end++] = 13;
    this.#bytes[this.#end++] = 10;
  }
}

/** Offsets of a chunk that `frameChunk` has just made. */
export const chunk = { at: 0, end: 0 };

/**
 * Makes one chunk of the bytes from `at` to before `end`, in place: its size goes before, its end behind. With `isLast`
 * the last chunk follows, with these trailers. There are 18 bytes of room before and 7 behind, and those of trailers.
 */
export function frameChunk(
  bytes: Uint8Array,
  at: number,
  end: number,
  isLast: boolean,
  trailers: Uint8Array | null,
): void {
  let from = at;
  let to = end;
  if (end > at) {
    bytes[--from] = 10;
    bytes[--from] = 13;
    for (let size = end - at; size > 0; size >>>= 4) {
      const digit = size & 15;
      bytes[--from] = digit < 10 ? 48 + digit : 87 + digit;
    }
    bytes[to++] = 13;
    bytes[to++] = 10;
  }
  if (isLast) {
    for (const byte of LAST_CHUNK) bytes[to++] = byte;
    if (trailers !== null) {
      bytes.set(trailers, to);
      to += trailers.length;
    } else {
      bytes[to++] = 13;
      bytes[to++] = 10;
    }
  }
  chunk.at = from;
  chunk.end = to;
}

/** Bytes that `frameChunk` may need behind the data. */
export function roomBehind(trailers: Uint8Array | null): number {
  return 7 + (trailers === null ? 0 : trailers.length);
}
