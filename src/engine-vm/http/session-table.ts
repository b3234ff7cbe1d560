/**
 * Which member each client had, in memory that all threads share: 64 bits of a keyed hash of what tells the client, 32 bits
 * of what names the member, and when it was used. Of a fixed size: eight places a bucket, of which a new client takes the
 * one that was used longest ago.
 */
import { randomBytes } from 'node:crypto';
import { KeyedHash } from './keyed-hash.ts';

const PLACES = 8;
/** Of a place: two words of the key, the member, the time of use. */
const PLACE_WORDS = 4;
const MEMBER = 2;
const USED = 3;
/** In front of the buckets: the key of the hash, and these words. */
const HEADER_BYTES = 64;
/** 1 where somebody reads the news. */
const IS_FOLLOWED = 2;
/** News that were ever written. */
const WRITTEN = 3;
/** Behind the locks: places with news, of which the oldest are lost when nobody reads them in time. */
const NEWS = 4096;
/** Times are in these, as a word of seconds is too coarse. */
const TICK_MS = 100;

/** What `keep` did. */
export const SESSION_KEPT = 0;
export const SESSION_BEGUN = 1;
export const SESSION_MOVED = 2;

export class SessionTable {
  readonly hash: KeyedHash;
  readonly #header: Int32Array;
  readonly #words: Int32Array;
  readonly #locks: Int32Array;
  readonly #news: Int32Array;
  readonly #mask: number;
  #read = 0;

  /** Reads memory of `allocate`. */
  constructor(memory: SharedArrayBuffer) {
    const bytes = memory.byteLength - HEADER_BYTES - NEWS * 4;
    const buckets = 2 ** Math.floor(Math.log2(bytes / (PLACES * 16 + 4)));
    const header = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.#header = header;
    this.hash = new KeyedHash(header[0]!, header[1]!);
    this.#words = new Int32Array(memory, HEADER_BYTES, buckets * PLACES * PLACE_WORDS);
    this.#locks = new Int32Array(memory, HEADER_BYTES + buckets * PLACES * 16, buckets);
    this.#news = new Int32Array(memory, HEADER_BYTES + buckets * (PLACES * 16 + 4), NEWS);
    this.#mask = buckets - 1;
  }

  /** Memory for at least so many clients; empty. `key`: eight bytes, where another process is to find the same clients. */
  static allocate(entries: number, key: Uint8Array = randomBytes(8)): SharedArrayBuffer {
    const buckets = 2 ** Math.ceil(Math.log2(entries / PLACES));
    const memory = new SharedArrayBuffer(HEADER_BYTES + buckets * (PLACES * 16 + 4) + NEWS * 4);
    new Uint8Array(memory).set(key.subarray(0, 8));
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

  /**
   * Notes that the client has that member, which is not 0. Returns what that is: SESSION_KEPT, _BEGUN or _MOVED. What is
   * kept is news once in `tellMs`.
   */
  keep(high: number, low: number, member: number, nowMs: number, tellMs = Infinity): number {
    const words = this.#words;
    const bucket = this.#lock(low);
    const known = this.#placeOf(bucket, high, low);
    const at = known >= 0 ? known : this.#taken(bucket, high, low);
    const before = words[at + MEMBER]!;
    const tick = Math.floor(nowMs / TICK_MS);
    const tellTicks = tellMs / TICK_MS;
    const isOld = Math.floor(words[at + USED]! / tellTicks) !== Math.floor(tick / tellTicks);
    words[at + MEMBER] = member;
    words[at + USED] = tick;
    const done = known < 0 ? SESSION_BEGUN : before === member ? SESSION_KEPT : SESSION_MOVED;
    if ((done !== SESSION_KEPT || isOld) && this.#header[IS_FOLLOWED] === 1) this.#tell(at);
    Atomics.store(this.#locks, bucket, 0);
    return done;
  }

  /** Takes what another process noted at that time. Where another member is known here by a later use, that is news. */
  learn(high: number, low: number, member: number, usedMs: number): void {
    const words = this.#words;
    const bucket = this.#lock(low);
    const known = this.#placeOf(bucket, high, low);
    const tick = Math.floor(usedMs / TICK_MS);
    if (known >= 0 && words[known + USED]! > tick) {
      if (words[known + MEMBER] !== member && this.#header[IS_FOLLOWED] === 1) this.#tell(known);
    } else {
      const at = known >= 0 ? known : this.#taken(bucket, high, low);
      words[at + MEMBER] = member;
      words[at + USED] = tick;
    }
    Atomics.store(this.#locks, bucket, 0);
  }

  /**
   * Hands out what was noted since the last time; from the first call on it is kept for that. For one reader. Returns how
   * many it came too late for.
   */
  news(take: (high: number, low: number, member: number, usedMs: number) => void): number {
    this.#header[IS_FOLLOWED] = 1;
    const written = Atomics.load(this.#header, WRITTEN);
    const lost = Math.max(0, ((written - this.#read) | 0) - NEWS);
    this.#read = (this.#read + lost) | 0;
    for (; this.#read !== written; this.#read = (this.#read + 1) | 0) {
      const at = Atomics.exchange(this.#news, this.#read & (NEWS - 1), 0) - 1;
      // Just being written, or read already, as its place in the ring was an earlier one's too.
      if (at < 0) continue;
      const bucket = this.#lock(at / (PLACES * PLACE_WORDS));
      const [high, low, member, used] = this.#words.subarray(at, at + PLACE_WORDS);
      Atomics.store(this.#locks, bucket, 0);
      take(high!, low!, member!, used! * TICK_MS);
    }
    return lost;
  }

  #tell(at: number): void {
    const number = Atomics.add(this.#header, WRITTEN, 1);
    Atomics.store(this.#news, number & (NEWS - 1), at + 1);
  }

  /** The place of the client used longest ago, made that of a new one. */
  #taken(bucket: number, high: number, low: number): number {
    const at = this.#oldest(bucket);
    this.#words[at] = high;
    this.#words[at + 1] = low;
    this.#words[at + MEMBER] = 0;
    return at;
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
