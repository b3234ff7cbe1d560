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
const SHORT_BYTES = 128;

const STATUS = line('","status":');
const RECEIVED = line(',"received":');
const SENT = line(',"sent":');
const TOTAL = line(',"ms":');
const CLIENT_MS = line(',"clientMs":');
const MEMBER_MS = line(',"memberMs":');
const RULE = line('","rule":"');
const ID = line('","id":"');
const END = line('"}\n');
const REASONS = REFUSALS.map(({ name }) => line(`","reason":"${name}`));
const NOTHING = line('-');
/** Of a line, from the time's seconds to the request. */
const clientPart = (address: string): Uint8Array => line(`Z","client":"${address}","request":"`);
const memberPart = (name: string): Uint8Array => line(`,"member":"${name}`);
const NO_MEMBER = memberPart('-');

/** The beginning of a request, as it will stand in the log. */
export interface RequestNote {
  readonly bytes: Uint8Array;
  /** The first bytes: copying all of a view costs less than a loop over so many. */
  readonly short: Uint8Array;
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
  /** The line up to the seconds. */
  #begin = line('');
  /** Parts of lines that come again and again, by client address and member. */
  readonly #clients = new Map<string, Uint8Array>();
  readonly #members = new Map<string, Uint8Array>();

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
    const bytes = new Uint8Array(TARGET_BYTES + 64);
    return { bytes, short: bytes.subarray(0, SHORT_BYTES), length: 0 };
  }

  /** Writes the line of an exchange that is over. */
  write(exchange: Exchange, note: RequestNote, nowMs: number): void {
    if (exchange.rule === null && ++this.#count < this.#every) return;
    this.#count = 0;
    this.#time();
    this.#add(part(this.#clients, exchange.clientAddress, clientPart));
    if (note.length === 0) this.#add(NOTHING);
    else {
      this.#bytes.set(note.length <= SHORT_BYTES ? note.short : note.bytes, this.#length);
      this.#length += note.length;
    }
    this.#add(STATUS);
    this.#number(exchange.status);
    this.#add(RECEIVED);
    this.#number(exchange.requestBytes);
    this.#add(SENT);
    this.#number(exchange.responseBytes);
    this.#add(TOTAL);
    this.#milliseconds(nowMs - exchange.startedMs);
    if (exchange.clientMs > 0) {
      this.#add(CLIENT_MS);
      this.#milliseconds(exchange.clientMs);
    }
    if (exchange.memberMs > 0) {
      this.#add(MEMBER_MS);
      this.#milliseconds(exchange.memberMs);
    }
    const { member } = exchange;
    this.#add(member === null ? NO_MEMBER : part(this.#members, member.name, memberPart));
    if (exchange.refusal !== 0) this.#add(REASONS[exchange.refusal]!);
    if (exchange.rule !== null) {
      this.#add(RULE);
      this.#add(exchange.rule);
    }
    if (exchange.idLength > 0) {
      this.#add(ID);
      for (let n = 0; n < exchange.idLength; n++) this.#bytes[this.#length++] = exchange.id![n]!;
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

  #time(): void {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#begin = line(`{"time":"${new Date(second * 1000).toISOString().slice(0, 20)}`);
    }
    this.#add(this.#begin);
    this.#threeDigits(now - second * 1000);
  }

  #milliseconds(ms: number): void {
    const micros = Math.max(0, Math.round(ms * 1000));
    const whole = Math.floor(micros / 1000);
    this.#number(whole);
    this.#bytes[this.#length++] = 46;
    this.#threeDigits(micros - whole * 1000);
  }

  #threeDigits(value: number): void {
    const hundreds = (value / 100) | 0;
    const tens = ((value / 10) | 0) - hundreds * 10;
    this.#bytes[this.#length++] = 48 + hundreds;
    this.#bytes[this.#length++] = 48 + tens;
    this.#bytes[this.#length++] = 48 + value - hundreds * 100 - tens * 10;
  }

  #number(value: number): void {
    let digits = 1;
    for (let power = 10; power <= value; power *= 10) digits++;
    this.#length += digits;
    for (let left = value, at = this.#length; digits > 0; digits--) {
      const tenth = Math.floor(left / 10);
      this.#bytes[--at] = 48 + left - tenth * 10;
      left = tenth;
    }
  }

  #add(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }
}

function part(known: Map<string, Uint8Array>, name: string, make: (name: string) => Uint8Array): Uint8Array {
  let bytes = known.get(name);
  if (bytes === undefined) {
    if (known.size > 10_000) known.clear();
    bytes = make(name);
    known.set(name, bytes);
  }
  return bytes;
}
