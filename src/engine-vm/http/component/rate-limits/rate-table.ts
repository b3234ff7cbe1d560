/**
 * What keys have used of their rates, in memory that all threads share. A key is 64 bits of a keyed hash; for each there
 * is one number, the time at which all that it has used will have come back (the generic cell rate algorithm, ITU-T
 * I.371: exact, without a timer and without a window). The table is of a fixed size: eight places a bucket, of which a new
 * key takes the one that loses least.
 */
import { randomFillSync } from 'node:crypto';
import { KeyedHash } from '../../keyed-hash.ts';

const PLACES = 8;
/** A time is taken as it stands where it is no farther ahead than this beyond what the rate allows. */
const SKEW_MS = 1000;
/** In the header, as a number: the latest time that any thread came with. Threads look at the clock once a turn. */
const LATEST = 1;
/** Of a place: two words of the key, and the number. */
const PLACE_WORDS = 4;
/** In front of the buckets: the key of the hash, and LATEST. */
const HEADER_BYTES = 64;

export class RateTable {
  readonly hash: KeyedHash;
  /** Keys that were forgotten before all they used had come back. */
  evicted = 0;
  /** What the last key that was not let through has to wait. */
  waitMs = 0;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #locks: Int32Array;
  readonly #header: Float64Array;
  readonly #mask: number;

  /** Reads memory of `allocate`. */
  constructor(memory: SharedArrayBuffer) {
    const buckets = 2 ** Math.floor(Math.log2((memory.byteLength - HEADER_BYTES) / (PLACES * 16 + 4)));
    const header = new Int32Array(memory, 0, 2);
    this.hash = new KeyedHash(header[0]!, header[1]!);
    this.#header = new Float64Array(memory, 0, HEADER_BYTES / 8);
    this.#words = new Int32Array(memory, HEADER_BYTES, buckets * PLACES * PLACE_WORDS);
    this.#numbers = new Float64Array(memory, HEADER_BYTES, buckets * PLACES * 2);
    this.#locks = new Int32Array(memory, HEADER_BYTES + buckets * PLACES * 16, buckets);
    this.#mask = buckets - 1;
  }

  /** Memory for at least so many keys; empty. */
  static allocate(entries: number): SharedArrayBuffer {
    const buckets = 2 ** Math.ceil(Math.log2(entries / PLACES));
    const memory = new SharedArrayBuffer(HEADER_BYTES + buckets * (PLACES * 16 + 4));
    const header = new Int32Array(2);
    randomFillSync(header);
    new Int32Array(memory).set(header);
    return memory;
  }

  /**
   * Takes one request of the key that was hashed last, if its rate has one left: one comes back each `intervalMs`, up to
   * `burst`. False where none is left; `waitMs` says for how long.
   */
  take(intervalMs: number, burst: number, clockMs: number): boolean {
    const { high, low } = this.hash;
    const nowMs = Math.max(clockMs, this.#header[LATEST]!);
    this.#header[LATEST] = nowMs;
    const bucket = low & this.#mask;
    while (Atomics.compareExchange(this.#locks, bucket, 0, 1) !== 0);
    const place = this.#place(bucket * PLACES, high, low, nowMs);
    const until = this.#numbers[place * 2 + 1]!;
    // A time farther away than the rate allows was written by other terms.
    const from = until > nowMs && until <= nowMs + burst * intervalMs + SKEW_MS ? until : nowMs;
    const wait = from - nowMs - (burst - 1) * intervalMs;
    // Sums of fractions miss by less than this.
    const isFree = wait <= 1e-6;
    if (isFree) this.#numbers[place * 2 + 1] = from + intervalMs;
    Atomics.store(this.#locks, bucket, 0);
    this.waitMs = isFree ? 0 : Math.min(wait, intervalMs);
    return isFree;
  }

  /** The place of that key; a new key takes the one whose time is the earliest. */
  #place(first: number, high: number, low: number, nowMs: number): number {
    const words = this.#words;
    let least = first;
    for (let place = first; place < first + PLACES; place++) {
      if (words[place * PLACE_WORDS] === high && words[place * PLACE_WORDS + 1] === low) return place;
      if (this.#numbers[place * 2 + 1]! < this.#numbers[least * 2 + 1]!) least = place;
    }
    if (this.#numbers[least * 2 + 1]! > nowMs) this.evicted++;
    words[least * PLACE_WORDS] = high;
    words[least * PLACE_WORDS + 1] = low;
    this.#numbers[least * 2 + 1] = 0;
    return least;
  }
}
