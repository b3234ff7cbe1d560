/** Heads of stored responses: written as clients would get them, without what belongs to one connection or moment. */
import type { SocketBuffers } from '../../../kernel/socket-buffers.ts';
import type { Exchange } from '../../exchange.ts';
import { FIELD, HOP_BY_HOP } from '../../field-names.ts';
import { Head } from '../../head.ts';
import { line } from '../../head-writer.ts';
import { parseResponseHead } from '../../parse-head.ts';
import type { CacheStore } from './cache-store.ts';

/** The longest head that is stored. */
const MOST_BYTES = 12_288;
const LIMITS = { headBytes: MOST_BYTES, fields: 256, allowsEncodedSlash: true };
const LEFT_OUT = new Uint8Array(64);
for (const name of ['content-length', 'age', 'trailer'] as const) LEFT_OUT[FIELD[name]] = 1;

const scratch = new Uint8Array(MOST_BYTES);
/** The head that `writeHead` has written, parsed. */
export const written = new Head();

/**
 * Writes the response of an exchange as its components leave it. Fields of `base`, an older head of the same response,
 * stay where the response has none of that name (RFC 9111 3.2). Returns the bytes, valid until the next call; null where
 * they are too many.
 */
export function writeHead(exchange: Exchange, base: Head | null): Uint8Array | null {
  const { response, responseLines } = exchange;
  const parts: string[] = [];
  const names = new Set<string>();
  for (let n = 0; n < response.count; n++) {
    const id = response.ids[n]!;
    if (HOP_BY_HOP[id] === 1 || LEFT_OUT[id] === 1 || response.isDropped[n] === 1) continue;
    names.add(response.text(response.nameAt[n]!, response.nameEnd[n]!).toLowerCase());
    parts.push(response.text(response.nameAt[n]!, response.lineEnd[n]!));
  }
  for (const added of responseLines) {
    const text = Buffer.from(added).toString('latin1');
    names.add(text.slice(0, text.indexOf(':')).toLowerCase());
    parts.push(text);
  }
  if (base !== null) {
    for (let n = 0; n < base.count; n++) {
      if (names.has(base.text(base.nameAt[n]!, base.nameEnd[n]!).toLowerCase())) continue;
      parts.push(base.text(base.nameAt[n]!, base.lineEnd[n]!));
    }
  } else if (!names.has('date')) parts.push(`Date: ${new Date().toUTCString()}\r\n`);
  const first = base ?? response;
  const reason = first.text(first.reasonAt, first.reasonEnd);
  const text = `HTTP/1.1 ${first.status} ${reason}\r\n${parts.join('')}\r\n`;
  if (text.length > MOST_BYTES) return null;
  Buffer.from(scratch.buffer).write(text, 'latin1');
  return parseResponseHead(scratch, 0, text.length, written, LIMITS) === text.length
    ? scratch.subarray(0, text.length)
    : null;
}

/** Memory beside the buffers that heads are read into, one for each thread. */
const rooms = new WeakMap<SocketBuffers, { at: number; head: Head }>();

/** Reads the head of an entry. The same object each time, valid until the next call. */
export function readHead(store: CacheStore, entry: number, buffers: SocketBuffers): Head {
  let room = rooms.get(buffers);
  if (room === undefined) {
    room = { at: buffers.reserve(MOST_BYTES), head: new Head() };
    rooms.set(buffers, room);
  }
  const length = store.headBytes(entry);
  store.read(entry, store.keyBytes(entry) + store.varyBytes(entry), length, buffers.bytes, room.at);
  parseResponseHead(buffers.bytes, room.at, room.at + length, room.head, LIMITS);
  return room.head;
}

/** A line with a number, made in place: valid until the next number. */
export class NumberLine {
  /** By the count of digits. */
  readonly #lines: Uint8Array[];
  readonly #digitsAt: number;

  constructor(name: string) {
    this.#digitsAt = name.length + 2;
    this.#lines = Array.from({ length: 17 }, (_, digits) => line(`${name}: ${'0'.repeat(digits)}\r\n`));
  }

  of(value: number): Uint8Array {
    let digits = 1;
    for (let power = 10; power <= value; power *= 10) digits++;
    const bytes = this.#lines[digits]!;
    let left = value;
    for (let n = digits - 1; n >= 0; n--) {
      bytes[this.#digitsAt + n] = 48 + (left % 10);
      left = Math.floor(left / 10);
    }
    return bytes;
  }
}
