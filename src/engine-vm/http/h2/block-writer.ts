/**
 * Writes heads and trailers as HPACK blocks, and those as frames. Nothing enters the peer's dynamic table and nothing is
 * Huffman-coded: so a block has no memory, may be thrown away, and costs a copy; it is as long as the head in HTTP/1.1.
 */
import { BUFFER_BYTES, type SocketBuffers } from '../../kernel/socket-buffers.ts';
import type { Channel } from '../channel.ts';
import { FIELD, FIELD_NAMES } from '../field-names.ts';
import { type Head, METHOD } from '../head.ts';
import { line, staysBehind } from '../head-writer.ts';
import type { MemberTarget } from '../member-target.ts';
import {
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  FRAME_HEADER_BYTES,
  HEADERS,
  MOST_FRAME_BYTES,
  writeFrameHeader,
} from './frames.ts';
import { staticIndex } from './static-table.ts';

/** The received head, and as much again for what is added. */
const ROOM = 65_536;
/** What one frame of a long block carries: with its header it fills a buffer. */
const PIECE_BYTES = BUFFER_BYTES - FRAME_HEADER_BYTES;
const AUTHORITY = staticIndex(':authority');
const METHOD_GET = staticIndex(':method');
const PATH = staticIndex(':path');
const SCHEME_HTTP = staticIndex(':scheme');
const LITERAL = 0;
/** For what must not get into anybody's table (RFC 7541 7.1.3). */
const NEVER_INDEXED = 16;
const INDEX = new Uint8Array(FIELD_NAMES.length);
for (const [id, name] of FIELD_NAMES.entries()) INDEX[id] = staticIndex(name);
const STATUS_INDEX = new Uint8Array(600);
for (const [n, status] of [200, 204, 206, 304, 400, 404, 500].entries()) STATUS_INDEX[status] = 8 + n;

const writers = new WeakMap<SocketBuffers, BlockWriter>();

export class BlockWriter {
  /** The one of a thread: what is built is sent before another begins. */
  static of(buffers: SocketBuffers): BlockWriter {
    const known = writers.get(buffers) ?? new BlockWriter(buffers);
    writers.set(buffers, known);
    return known;
  }

  readonly #buffers: SocketBuffers;
  readonly #bytes: Uint8Array;
  readonly #start: number;
  #end: number;
  #date = line('');
  #dateSecond = 0;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
    this.#bytes = buffers.bytes;
    this.#start = buffers.reserve(ROOM, 64) + FRAME_HEADER_BYTES;
    this.#end = this.#start;
  }

  begin(): void {
    this.#end = this.#start;
  }

  status(status: number): void {
    const index = STATUS_INDEX[status]!;
    if (index !== 0) {
      this.#bytes[this.#end++] = 0x80 | index;
      return;
    }
    const bytes = this.#bytes;
    bytes[this.#end++] = 8;
    bytes[this.#end++] = 3;
    bytes[this.#end++] = 48 + Math.floor(status / 100);
    bytes[this.#end++] = 48 + (Math.floor(status / 10) % 10);
    bytes[this.#end++] = 48 + (status % 10);
  }

  /** The first lines of a request. `host`: where the request names none. `target`: in the place of the received one. */
  request(head: Head, isSecure: boolean, host: string, target: MemberTarget | null = null): void {
    const { method, hostIndex } = head;
    const bytes = target === null ? head.bytes : target.bytes;
    const targetAt = target === null ? head.targetAt : 0;
    const targetEnd = target === null ? head.targetEnd : target.end;
    const rewritten = target === null ? null : target.host;
    if (method === METHOD.GET) this.indexed(METHOD_GET);
    else if (method === METHOD.POST) this.indexed(METHOD_GET + 1);
    else this.named(METHOD_GET, head.bytes, head.methodAt, head.methodEnd);
    this.indexed(isSecure ? SCHEME_HTTP + 1 : SCHEME_HTTP);
    if (targetEnd - targetAt === 1 && bytes[targetAt] === 47) this.indexed(PATH);
    else this.named(PATH, bytes, targetAt, targetEnd);
    if (rewritten !== null) this.named(AUTHORITY, rewritten, 0, rewritten.length);
    else if (hostIndex >= 0)
      this.named(AUTHORITY, head.bytes, head.valueAt[hostIndex]!, head.valueEnd[hostIndex]!);
    else {
      const own = line(host);
      this.named(AUTHORITY, own, 0, own.length);
    }
  }

  /** A field of that name, in lower case, which no table has. */
  literal(name: Uint8Array, bytes: Uint8Array, at: number, end: number): void {
    this.#field(0, bytes, at, end, name, 0, name.length);
  }

  /** An entry of the static table as it is. */
  indexed(index: number): void {
    this.#bytes[this.#end++] = 0x80 | index;
  }

  /** A field whose name is that of an entry of the static table. */
  named(index: number, bytes: Uint8Array, at: number, end: number): void {
    this.#integer(LITERAL, 15, index);
    this.#string(bytes, at, end);
  }

  /** The received fields, but for those of one connection and those that are dropped. */
  fields(head: Head, dropsClientFields: boolean, dropsLength: boolean, dropsHost = false): void {
    const { bytes } = head;
    for (let n = 0; n < head.count; n++) {
      const id = head.ids[n]!;
      if (staysBehind(head, n, dropsClientFields, dropsLength) || (dropsHost && id === FIELD.host)) continue;
      const { nameAt, nameEnd, valueAt, valueEnd } = head;
      this.#field(id, bytes, valueAt[n]!, valueEnd[n]!, bytes, nameAt[n]!, nameEnd[n]!);
    }
  }

  /** Whole lines of fields; an empty line ends them. */
  lines(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(13, at);
      if (end <= at) return;
      const colon = bytes.indexOf(58, at);
      let valueAt = colon + 1;
      while (valueAt < end && (bytes[valueAt] === 32 || bytes[valueAt] === 9)) valueAt++;
      let valueEnd = end;
      while (valueEnd > valueAt && (bytes[valueEnd - 1] === 32 || bytes[valueEnd - 1] === 9)) valueEnd--;
      this.#field(0, bytes, valueAt, valueEnd, bytes, at, colon);
      at = end + 2;
    }
  }

  /** RFC 9110 6.6.1: who forwards a response without a Date adds it. */
  date(): void {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      this.#date = line(new Date(second * 1000).toUTCString());
    }
    this.named(INDEX[FIELD.date]!, this.#date, 0, this.#date.length);
  }

  #field(
    id: number,
    bytes: Uint8Array,
    valueAt: number,
    valueEnd: number,
    nameBytes: Uint8Array,
    nameAt: number,
    nameEnd: number,
  ): void {
    const how =
      id === FIELD['set-cookie'] || id === FIELD.authorization || id === FIELD.cookie
        ? NEVER_INDEXED
        : LITERAL;
    const index = INDEX[id]!;
    if (index !== 0) this.#integer(how, 15, index);
    else {
      this.#bytes[this.#end++] = how;
      this.#integer(0, 127, nameEnd - nameAt);
      const target = this.#bytes;
      let to = this.#end;
      for (let p = nameAt; p < nameEnd; p++) {
        const byte = nameBytes[p]!;
        target[to++] = byte >= 65 && byte <= 90 ? byte | 32 : byte;
      }
      this.#end = to;
    }
    this.#string(bytes, valueAt, valueEnd);
  }

  #string(bytes: Uint8Array, at: number, end: number): void {
    this.#integer(0, 127, end - at);
    const target = this.#bytes;
    let to = this.#end;
    for (let p = at; p < end; p++) target[to++] = bytes[p]!;
    this.#end = to;
  }

  #integer(flags: number, most: number, value: number): void {
    if (value < most) {
      this.#bytes[this.#end++] = flags | value;
      return;
    }
    this.#bytes[this.#end++] = flags | most;
    let left = value - most;
    for (; left >= 128; left >>>= 7) this.#bytes[this.#end++] = (left & 127) | 128;
    this.#bytes[this.#end++] = left;
  }

  /** Puts the block as a HEADERS frame in front of `at`, and returns where that begins; -1 where there is no room. */
  putBefore(buffer: number, at: number, stream: number, isLast: boolean): number {
    const length = this.#end - this.#start;
    const from = at - length - FRAME_HEADER_BYTES;
    if (length > MOST_FRAME_BYTES || from < buffer * BUFFER_BYTES) return -1;
    const flags = END_HEADERS | (isLast ? END_STREAM : 0);
    writeFrameHeader(this.#bytes, this.#start - FRAME_HEADER_BYTES, length, HEADERS, flags, stream);
    this.#bytes.copyWithin(from, this.#start - FRAME_HEADER_BYTES, this.#end);
    return from;
  }

  /** Sends the block in buffers of its own. False where there are none: then the connection is broken. */
  sendAlone(channel: Channel, stream: number, isLast: boolean): boolean {
    for (let at = this.#start; ; ) {
      const own = this.#buffers.take();
      if (own < 0) return false;
      const to = own * BUFFER_BYTES;
      const length = Math.min(PIECE_BYTES, this.#end - at);
      const isFirst = at === this.#start;
      const ends = at + length === this.#end;
      const flags = (ends ? END_HEADERS : 0) | (isFirst && isLast ? END_STREAM : 0);
      writeFrameHeader(this.#bytes, to, length, isFirst ? HEADERS : CONTINUATION, flags, stream);
      this.#bytes.copyWithin(to + FRAME_HEADER_BYTES, at, at + length);
      channel.write(own, to, to + FRAME_HEADER_BYTES + length);
      at += length;
      if (ends) return true;
    }
  }
}
