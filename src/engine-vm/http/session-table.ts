/**
 * Which member each client had, in memory that all threads share: 64 bits of a keyed hash of what tells the client, 32 bits
 * of what names the member, and when it was used. Of a fixed size: eight places a bucket, of which a new client takes the
 * one that was used longest ago.
 */
import { randomFillSync } from 'node:crypto';
import { KeyedHash } from './keyed-hash.ts';

const PLACES = 8;
/** Of a place: two words of the key, the member, the time of use. */
const PLACE_WORDS = 4;
const MEMBER = 2;
const USED = 3;
/** In front of the buckets: the key of the hash. */
const HEADER_BYTES = 64;
/** Times are in these, as a word of seconds is too coarse. */
const TICK_MS = 100;

/** What `keep` did. */
export const SESSION_KEPT = 0;
export const SESSION_BEGUN = 1;
export const SESSION_MOVED = 2;

export class SessionTable {
  readonly hash: KeyedHash;
  readonly #words: Int32Array;
  readonly #locks: Int32Array;
  readonly #mask: number;

  /** Reads memory of `allocate`. */
  constructor(memory: SharedArrayBuffer) {
    const buckets = 2 ** Math.floor(Math.log2((memory.byteLength - HEADER_BYTES) / (PLACES * 16 + 4)));
    const header = new Int32Array(memory, 0, 2);
    this.hash = new KeyedHash(header[0]!, header[1]!);
    this.#words = new Int32Array(memory, HEADER_BYTES, buckets * PLACES * PLACE_WORDS);
    this.#locks = new Int32Array(memory, HEADER_BYTES + buckets * PLACES * 16, buckets);
    this.#mask = buckets - 1;
  }

  /** Memory for at least so many clients; empty. */
  static allocate(entries: number): SharedArrayBuffer {
    const buckets = 2 ** Math.ceil(Math.log2(entries / PLACES));
    const memory = new SharedArrayBuffer(HEADER_BYTES + buckets * (PLACES * 16 + 4));
    const header = new Int32Array(2);
    randomFillSync(header);
    new Int32Array(memory).set(header);
    return memory;
  }

  /** The member of a client whose session was used within the time; 0 where there is none. `nowMs`: of one clock in all threads. */
  find(high: number, low: number, nowMs: number, timeoutMs: number): number {
    const bucket = this.#lock(low);
    const at = this.#placeOf(bucket, high, low);
    const isLive = at >= 0 && nowMs - this.#words[at + USED]! * TICK_MS < timeoutMs;
    const member = isLive ? this.#words[at + MEMBER]! : 0;
    Atomics.store(this.#locks, bucket, 0);
    return member;
  }

  /** Notes that the client has that member, which is not 0. Returns what that is: SESSION_KEPT, _BEGUN or _MOVED. */
  keep(high: number, low: number, member: number, nowMs: number): number {
    const words = this.#words;
    const bucket = this.#lock(low);
    let at = this.#placeOf(bucket, high, low);
    const isNew = at < 0;
    if (isNew) {
      at = this.#oldest(bucket);
      words[at] = high;
      words[at + 1] = low;
    }
    const before = words[at + MEMBER]!;
    words[at + MEMBER] = member;
    words[at + USED] = Math.floor(nowMs / TICK_MS);
    Atomics.store(this.#locks, bucket, 0);
    return isNew ? SESSION_BEGUN : before === member ? SESSION_KEPT : SESSION_MOVED;
  }

  #lock(low: number): number {
    const bucket = low & this.#mask;
    while (Atomics.compareExchange(this.#locks, bucket, 0, 1) !== 0);
    return bucket;
  }

  /** Where its words begin; -1 where it is in no place. */
  #placeOf(bucket: number, high: number, low: number): number {
    const words = this.#words;
    const from = bucket * PLACES * PLACE_WORDS;
    for (let at = from; at < from + PLACES * PLACE_WORDS; at += PLACE_WORDS) {
      if (words[at] === high && words[at + 1] === low && words[at + MEMBER] !== 0) return at;
    }
    return -1;
  }

  #oldest(bucket: number): number {
    const words = this.#words;
    const from = bucket * PLACES * PLACE_WORDS;
    let oldest = from;
    for (let at = from; at < from + PLACES * PLACE_WORDS; at += PLACE_WORDS) {
      if (words[at + USED]! < words[oldest + USED]!) oldest = at;
    }
    return oldest;
  }
}
