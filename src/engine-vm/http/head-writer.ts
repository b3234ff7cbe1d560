/**
 * Writes the heads that go on: the received one without what belongs to the connection it came by, with what the
 * service adds. Where the bytes that follow it are still behind it, it is changed in place: what stays behind is closed
 * up, and what is added goes in front of the empty line. Else it is built in memory of its own, and put in front of them.
 */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { BUFFER_BYTES } from '../kernel/socket-buffers.ts';
import type { Channel } from './channel.ts';
import type { FieldLines } from './field-lines.ts';
import { FIELD, HOP_BY_HOP } from './field-names.ts';
import type { Head } from './head.ts';
import type { MemberTarget } from './member-target.ts';
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

/** Room for a head: the received one, and what is added, twice. */
const HEAD_ROOM = 65_536;

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

/** The parts of a response of ours: before and behind the date, and its body. */
interface Answer {
  readonly status: number;
  readonly first: Uint8Array;
  readonly kind: Uint8Array;
  readonly text: Uint8Array;
}

/** Some reasons bear numbers. */
const MOST_ANSWERS = 256;

export class HeadWriter {
  readonly #buffers: SocketBuffers;
  readonly #bytes: Uint8Array;
  readonly #start: number;
  /** What was built: from `#from` to before `#end`. */
  #from: number;
  #end: number;
  /** The received head that goes on where it stands, if it can; then only what is added is built. */
  #staying: Head | null = null;
  #isRequest = false;
  #dropsClientFields = false;
  #dropsLength = false;
  readonly #answers = new Map<string, Answer>();
  /** `Date: ...` of this second. */
  #dateLine = line('');
  #dateSecond = 0;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
    this.#bytes = buffers.bytes;
    this.#start = buffers.reserve(HEAD_ROOM, 64);
    this.#from = this.#start;
    this.#end = this.#start;
  }

  get length(): number {
    return this.#end - this.#from;
  }

  #begin(): void {
    this.#staying = null;
    this.#from = this.#start;
    this.#end = this.#start;
  }

  /**
   * Begins a request with what goes on of the received one. `mayStay`: what `send` or `putBefore` gets are the bytes that
   * came behind the head, and nobody writes over that until then. `target`: in the place of the received one.
   */
  request(
    head: Head,
    mayStay: boolean,
    dropsClientFields: boolean,
    dropsLength: boolean,
    target: MemberTarget | null = null,
  ): void {
    this.#begin();
    if (mayStay && target === null && isRequestLineKept(head))
      this.#stay(head, true, dropsClientFields, dropsLength);
    else {
      this.#requestLine(head, target);
      this.#fields(head, dropsClientFields, dropsLength);
    }
  }

  /** Begins a response with what goes on of the received one; `mayStay` as with `request`. */
  response(head: Head, mayStay: boolean, dropsLength: boolean): void {
    this.#begin();
    if (mayStay && (head.isWhole || isStatusLineKept(head))) this.#stay(head, false, false, dropsLength);
    else {
      this.#statusLine(head);
      this.#fields(head, false, dropsLength);
    }
  }

  #stay(head: Head, isRequest: boolean, dropsClientFields: boolean, dropsLength: boolean): void {
    this.#staying = head;
    this.#isRequest = isRequest;
    this.#dropsClientFields = dropsClientFields;
    this.#dropsLength = dropsLength;
  }

  #requestLine(head: Head, target: MemberTarget | null): void {
    this.#copy(head.methodAt, head.methodEnd);
    this.#bytes[this.#end++] = 32;
    if (target === null) this.#copy(head.targetAt, head.targetEnd);
    else for (let n = 0; n < target.end; n++) this.#bytes[this.#end++] = target.bytes[n]!;
    this.add(HTTP11);
  }

  #statusLine(head: Head): void {
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
  #fields(head: Head, dropsClientFields: boolean, dropsLength: boolean): void {
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
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  lines(added: FieldLines): void {
    for (let n = 0; n < added.length; n++) this.add(added.at(n));
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
    if (this.#staying === null) this.#crlf();
  }

  /** A whole response of ours, with a short text for people. */
  answer(
    status: number,
    reason: string,
    fields: readonly Uint8Array[],
    isHead: boolean,
    closes: boolean,
  ): void {
    this.#begin();
    const { first, kind, text } = this.#answerParts(status, reason);
    this.add(first);
    this.date();
    this.add(kind);
    for (let n = 0; n < fields.length; n++) this.add(fields[n]!);
    if (closes) this.add(CLOSE);
    this.#crlf();
    if (!isHead) this.add(text);
  }

  /** Refusals come in floods: what each of them says is made once. */
  #answerParts(status: number, reason: string): Answer {
    const known = this.#answers.get(reason);
    if (known?.status === status) return known;
    const text = line(`${status} ${STATUS_TEXT[status] ?? ''}: ${reason}\n`);
    const answer = {
      status,
      first: line(`HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? ''}\r\n`),
      kind: line(`Content-Type: text/plain\r\nContent-Length: ${text.length}\r\n`),
      text,
    };
    if (this.#answers.size >= MOST_ANSWERS) this.#answers.clear();
    this.#answers.set(reason, answer);
    return answer;
  }

  /**
   * Puts what was built in front of `at` in that buffer, and returns where it begins; -1 where there is no room, and
   * it has to go alone.
   */
  putBefore(buffer: number, at: number): number {
    const head = this.#staying;
    if (head !== null) {
      const room = head.start - buffer * BUFFER_BYTES;
      if (at === head.end && room >= this.length) return this.#changeInPlace(head);
      this.#buildStaying();
    }
    const { length } = this;
    if (at - buffer * BUFFER_BYTES < length) return -1;
    this.#bytes.copyWithin(at - length, this.#from, this.#end);
    this.#end = this.#from;
    return at - length;
  }

  /** Makes the received head the one that goes on, where it stands. Returns where it begins. */
  #changeInPlace(head: Head): number {
    const bytes = this.#bytes;
    this.#staying = null;
    if (head.version === 10) bytes[this.#isRequest ? head.fieldsAt - 3 : head.start + 7] = 49;
    let from = head.start;
    for (let n = 0; n < head.count; n++) {
      if (!staysBehind(head, n, this.#dropsClientFields, this.#dropsLength)) continue;
      const at = head.nameAt[n]!;
      const gap = head.lineEnd[n]! - at;
      bytes.copyWithin(from + gap, from, at);
      from += gap;
    }
    const { length } = this;
    if (length === 0) return from;
    const end = head.end - 2;
    bytes.copyWithin(from - length, from, end);
    bytes.copyWithin(end - length, this.#from, this.#end);
    this.#end = this.#from;
    return from - length;
  }

  /** The head cannot stay after all: builds it whole, behind what is to be added to it. */
  #buildStaying(): void {
    const head = this.#staying!;
    const [addedFrom, addedEnd] = [this.#from, this.#end];
    this.#staying = null;
    this.#from = addedEnd;
    if (this.#isRequest) this.#requestLine(head, null);
    else this.#statusLine(head);
    this.#fields(head, this.#dropsClientFields, this.#dropsLength);
    this.#copy(addedFrom, addedEnd);
    this.#crlf();
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
    if (this.#staying !== null) this.#buildStaying();
    const { length } = this;
    const own = length > BUFFER_BYTES ? -1 : this.#buffers.take();
    if (own < 0) return false;
    const start = own * BUFFER_BYTES;
    this.#bytes.copyWithin(start, this.#from, this.#end);
    this.#end = this.#from;
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

/** Whether the received request line is the one that goes on, but for its version. */
function isRequestLineKept(head: Head): boolean {
  return (
    head.version <= 11 &&
    head.methodAt === head.start &&
    head.targetAt === head.methodEnd + 1 &&
    head.fieldsAt === head.targetEnd + HTTP11.length
  );
}

/** The same of a status line. */
function isStatusLineKept(head: Head): boolean {
  const { bytes, start } = head;
  const at = start + STATUS_LINE.length;
  const status = (bytes[at]! - 48) * 100 + (bytes[at + 1]! - 48) * 10 + bytes[at + 2]! - 48;
  return status === head.status && head.reasonAt === at + 4 && head.fieldsAt === head.reasonEnd + 2;
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
