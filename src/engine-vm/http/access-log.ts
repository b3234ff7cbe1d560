/**
 * The access log of one thread: a line of JSON a request, written into memory and given away in pieces. What a line
 * needs of the request is copied when it begins, as its bytes go on to the member.
 *
 * Nothing has to be escaped: the parser lets no quote, backslash or control character through in methods and targets,
 * and everything else is ours.
 */
import type { Exchange } from './exchange.ts';
import { line } from './head-writer.ts';
import { REFUSALS } from './refusals.ts';

/** Lines are given away when so many bytes are there, else once a second. */
const PIECE_BYTES = 1 << 16;
const LONGEST_LINE = 4096;
/** Longer targets are cut. */
const TARGET_BYTES = 2048;
const FLUSH_MS = 1000;

const TIME = line('{"time":"');
const CLIENT = line('","client":"');
const REQUEST = line('","request":"');
const STATUS = line('","status":');
const RECEIVED = line(',"received":');
const SENT = line(',"sent":');
const TOTAL = line(',"ms":');
const MEMBER_MS = line(',"memberMs":');
const MEMBER = line(',"member":"');
const REASON = line('","reason":"');
const END = line('"}\n');
const NAMES = REFUSALS.map(({ name }) => line(name));
const NOTHING = line('-');

/** The beginning of a request, as it will stand in the log. */
export interface RequestNote {
  readonly bytes: Uint8Array;
  length: number;
}

export class AccessLog {
  readonly #give: (piece: Uint8Array) => void;
  readonly #every: number;
  #bytes = new Uint8Array(PIECE_BYTES + LONGEST_LINE);
  #length = 0;
  #count = 0;
  #nextFlushMs = 0;
  #second = -1;
  #secondText = line('');
  readonly #names = new Map<string, Uint8Array>();

  /** Gives pieces of whole lines to `give`, which must be done with them when it returns. One of `every` is logged. */
  constructor(give: (piece: Uint8Array) => void, every = 1) {
    this.#give = give;
    this.#every = every;
  }

  /** Notes method and target of a request that begins. */
  note(exchange: Exchange, note: RequestNote): void {
    const { request } = exchange;
    const { bytes } = request;
    let length = 0;
    for (let p = request.methodAt; p < request.methodEnd; p++) note.bytes[length++] = bytes[p]!;
    note.bytes[length++] = 32;
    const end = Math.min(request.targetEnd, request.targetAt + TARGET_BYTES);
    for (let p = request.targetAt; p < end; p++) note.bytes[length++] = bytes[p]!;
    note.length = length;
  }

  /** A note for one connection. */
  static createNote(): RequestNote {
    return { bytes: new Uint8Array(TARGET_BYTES + 64), length: 0 };
  }

  /** Writes the line of an exchange that is over. */
  write(exchange: Exchange, note: RequestNote, nowMs: number): void {
    if (++this.#count < this.#every) return;
    this.#count = 0;
    this.#add(TIME);
    this.#time();
    this.#add(CLIENT);
    this.#add(this.#text(exchange.client.clientAddress));
    this.#add(REQUEST);
    if (note.length === 0) this.#add(NOTHING);
    else this.#range(note.bytes, note.length);
    this.#add(STATUS);
    this.#number(exchange.status);
    this.#add(RECEIVED);
    this.#number(exchange.requestBytes);
    this.#add(SENT);
    this.#number(exchange.responseBytes);
    this.#add(TOTAL);
    this.#milliseconds(nowMs - exchange.startedMs);
    if (exchange.member !== null && exchange.answeredMs > 0) {
      this.#add(MEMBER_MS);
      this.#milliseconds(exchange.answeredMs - exchange.startedMs);
    }
    this.#add(MEMBER);
    this.#add(exchange.member === null ? NOTHING : this.#text(exchange.member.name));
    if (exchange.refusal !== 0) {
      this.#add(REASON);
      this.#add(NAMES[exchange.refusal]!);
    }
    this.#add(END);
    note.length = 0;
    if (this.#length >= PIECE_BYTES) this.flush();
  }

  /** Called now and then: lines wait no longer than a second. */
  tick(nowMs: number): void {
    if (nowMs < this.#nextFlushMs) return;
    this.#nextFlushMs = nowMs + FLUSH_MS;
    this.flush();
  }

  flush(): void {
    if (this.#length === 0) return;
    this.#give(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
  }

  /** The bytes of addresses and names, which come again and again. */
  #text(text: string): Uint8Array {
    let bytes = this.#names.get(text);
    if (bytes === undefined) {
      if (this.#names.size > 10_000) this.#names.clear();
      bytes = line(text);
      this.#names.set(text, bytes);
    }
    return bytes;
  }

  #time(): void {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = line(new Date(second * 1000).toISOString().slice(0, 20));
    }
    this.#add(this.#secondText);
    const ms = now - second * 1000;
    this.#digit(Math.floor(ms / 100));
    this.#digit(Math.floor(ms / 10) % 10);
    this.#digit(ms % 10);
    this.#bytes[this.#length++] = 90;
  }

  #milliseconds(ms: number): void {
    const micros = Math.max(0, Math.round(ms * 1000));
    this.#number(Math.floor(micros / 1000));
    this.#bytes[this.#length++] = 46;
    this.#digit(Math.floor(micros / 100) % 10);
    this.#digit(Math.floor(micros / 10) % 10);
    this.#digit(micros % 10);
  }

  #number(value: number): void {
    let power = 1;
    while (power * 10 <= value) power *= 10;
    for (let left = value; power >= 1; power /= 10) {
      const digit = Math.floor(left / power);
      this.#digit(digit);
      left -= digit * power;
    }
  }

  #digit(value: number): void {
    this.#bytes[this.#length++] = 48 + value;
  }

  #add(bytes: Uint8Array): void {
    this.#range(bytes, bytes.length);
  }

  #range(bytes: Uint8Array, length: number): void {
    const target = this.#bytes;
    let at = this.#length;
    for (let n = 0; n < length; n++) target[at++] = bytes[n]!;
    this.#length = at;
  }
}
