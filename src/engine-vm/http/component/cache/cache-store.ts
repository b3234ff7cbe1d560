/**
 * The memory of a cache, shared by all threads of the process: blocks of 4 KB, a hash table over the entries, and the
 * order in which they are evicted (SIEVE: Zhang et al., NSDI 2024).
 *
 *   entry = chain of blocks: [ key | vary | head | body ]     key and vary in the first one
 *
 * A lock guards table, order and free blocks, for as long as it takes to find or link an entry. Entries do not change
 * once they are linked: who has pinned one reads it without the lock, and an entry that is unlinked meanwhile is freed by
 * the last who had it.
 */
import { randomInt } from 'node:crypto';
import { plainView } from '../../../kernel/shared-memory.ts';
import { FIRST_OF_ADDRESS } from './cache-key.ts';
import { BLOCK_BYTES, blocksIn, bucketsFor, STORE_WORDS, sizeOf, WORDS } from './store-size.ts';

/** Of the block: the next one of its entry, or of the free ones. */
const NEXT = 0;
/** Of an entry's first block. */
const CHAIN = 1;
const NEWER = 2;
const OLDER = 3;
const VISITED = 4;
const PINS = 5;
/** 0 linked, 1 unlinked, 2 being freed. */
const STATE = 6;
const HASH = 7;
const KEY_BYTES = 8;
const VARY_BYTES = 9;
const HEAD_BYTES = 10;
const FLAGS = 11;
const BLOCKS = 12;
/** Float64 places of the record, from its middle on. */
const BODY_BYTES = 8;
const STORED_MS = 9;
const AGE_S = 10;
const LIFETIME_S = 11;
const WHILE_REVALIDATE_S = 12;
const IF_ERROR_S = 13;

/** Words of the store itself; STORE_WORDS are kept for them. */
const LOCK = 0;
const FREE = 1;
const NEWEST = 2;
const OLDEST = 3;
const HAND = 4;
const SEED = 5;
const USED = 6;
const ENTRIES = 7;
const EVICTED = 8;
const PURGES = 9;
/** Variants of one key; more would let anyone fill the cache with one response. */
const MOST_VARIANTS = 16;

/** What an entry says of itself beside its bytes. */
export interface EntryTerms {
  /** When it came, by Date.now(). */
  storedMs: number;
  /** How old it was then. Seconds, like what follows. */
  ageS: number;
  lifetimeS: number;
  whileRevalidateS: number;
  ifErrorS: number;
  /** Needs to be validated before each use. */
  isNoCache: boolean;
}

/** Says whether a variant fits a request. */
export interface VariantMatcher {
  /** The vary part: `bytes` from `at` to before `end`. */
  fits(bytes: Uint8Array, at: number, end: number): boolean;
}

const ANY_VARIANT: VariantMatcher = { fits: () => true };

export class CacheStore {
  readonly memory: SharedArrayBuffer;
  readonly blocks: number;
  readonly #store: Int32Array;
  readonly #buckets: Int32Array;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  /** Of entries, which do not change once they are linked: what makes them visible is the lock. */
  readonly #bytes: Uint8Array;
  readonly #mask: number;

  /** Over memory that `allocate` made, in any thread. */
  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.blocks = blocksIn(memory.byteLength);
    const count = bucketsFor(this.blocks);
    this.#mask = count - 1;
    this.#store = new Int32Array(memory, 0, STORE_WORDS);
    this.#buckets = new Int32Array(memory, STORE_WORDS * 4, count);
    const records = (STORE_WORDS + count) * 4;
    this.#words = new Int32Array(memory, records, this.blocks * WORDS);
    this.#numbers = new Float64Array(memory, records, (this.blocks * WORDS) / 2);
    const blocks = records + this.blocks * WORDS * 4;
    this.#bytes = plainView(memory).subarray(blocks, blocks + this.blocks * BLOCK_BYTES);
  }

  /** Memory for so many bytes of blocks and what describes them; empty. */
  static allocate(maxBytes: number): SharedArrayBuffer {
    const blocks = Math.max(16, Math.floor(maxBytes / BLOCK_BYTES));
    const memory = new SharedArrayBuffer(sizeOf(blocks));
    const store = new CacheStore(memory);
    store.#buckets.fill(-1);
    for (let n = 0; n < store.blocks; n++) store.#words[n * WORDS + NEXT] = n + 1 < store.blocks ? n + 1 : -1;
    const words = store.#store;
    words[FREE] = 0;
    words[NEWEST] = -1;
    words[OLDEST] = -1;
    words[HAND] = -1;
    words[SEED] = randomInt(2 ** 31);
    return memory;
  }

  /** Of blocks in use, entries and what is being stored. */
  get usedBytes(): number {
    return Atomics.load(this.#store, USED) * BLOCK_BYTES;
  }

  get entries(): number {
    return Atomics.load(this.#store, ENTRIES);
  }

  get evicted(): number {
    return Atomics.load(this.#store, EVICTED);
  }

  /** How often something was purged: what was asked for before may be what is not to be stored. */
  get purges(): number {
    return Atomics.load(this.#store, PURGES);
  }

  /** Before a purge. */
  notePurge(): void {
    Atomics.add(this.#store, PURGES, 1);
  }

  /** Of the address that a key begins with. Seeded, so that nobody outside can choose keys that meet in one bucket. */
  hash(bytes: Uint8Array, end: number): number {
    let hash = this.#store[SEED]!;
    for (let n = 0; n < end; n++) hash = Math.imul(hash ^ bytes[n]!, 0x0100_0193) ^ (hash >>> 15);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
    return hash ^ (hash >>> 16);
  }

  #lock(): void {
    let tries = 0;
    while (Atomics.compareExchange(this.#store, LOCK, 0, 1) !== 0) {
      // Whoever has it needs a microsecond; unless the kernel took its core.
      if (++tries > 200) Atomics.wait(this.#store, LOCK, 1, 1);
    }
  }

  #unlock(): void {
    Atomics.store(this.#store, LOCK, 0);
    Atomics.notify(this.#store, LOCK, 1);
  }

  /** The entry of a key (the first `length` bytes) whose variant fits, pinned; -1 where there is none. */
  find(hash: number, key: Uint8Array, length: number, matcher: VariantMatcher): number {
    this.#lock();
    let entry = this.#buckets[hash & this.#mask]!;
    for (; entry >= 0; entry = this.#words[entry * WORDS + CHAIN]!) {
      if (this.#isOf(entry, hash, key, length) && this.#fits(entry, matcher)) {
        this.#words[entry * WORDS + VISITED] = 1;
        Atomics.add(this.#words, entry * WORDS + PINS, 1);
        break;
      }
    }
    this.#unlock();
    return entry;
  }

  #isOf(entry: number, hash: number, key: Uint8Array, length: number): boolean {
    const record = entry * WORDS;
    if (this.#words[record + HASH] !== hash || this.#words[record + KEY_BYTES] !== length) return false;
    const at = entry * BLOCK_BYTES;
    for (let n = 0; n < length; n++) if (this.#bytes[at + n] !== key[n]) return false;
    return true;
  }

  #fits(entry: number, matcher: VariantMatcher): boolean {
    const at = entry * BLOCK_BYTES + this.#words[entry * WORDS + KEY_BYTES]!;
    return matcher.fits(this.#bytes, at, at + this.#words[entry * WORDS + VARY_BYTES]!);
  }

  /** Pins once more what is pinned. */
  pin(entry: number): void {
    Atomics.add(this.#words, entry * WORDS + PINS, 1);
  }

  /** Gives a pinned entry back. */
  unpin(entry: number): void {
    const record = entry * WORDS;
    if (Atomics.sub(this.#words, record + PINS, 1) !== 1) return;
    if (Atomics.load(this.#words, record + STATE) !== 1) return;
    this.#lock();
    this.#freeIfLast(entry);
    this.#unlock();
  }

  /** With the lock: frees an unlinked entry that nobody has. */
  #freeIfLast(entry: number): void {
    const record = entry * WORDS;
    if (Atomics.load(this.#words, record + PINS) !== 0) return;
    if (Atomics.compareExchange(this.#words, record + STATE, 1, 2) !== 1) return;
    this.#freeChain(entry);
  }

  #freeChain(first: number): void {
    let last = first;
    let count = 1;
    while (this.#words[last * WORDS + NEXT]! >= 0) {
      last = this.#words[last * WORDS + NEXT]!;
      count++;
    }
    this.#words[last * WORDS + NEXT] = this.#store[FREE]!;
    this.#store[FREE] = first;
    this.#store[USED]! -= count;
  }

  /** A free block, if need be one of an entry that is evicted for it; -1 where all are in use by others. */
  allocateBlock(): number {
    this.#lock();
    while (this.#store[FREE]! < 0 && this.#evict());
    const block = this.#store[FREE]!;
    if (block >= 0) {
      this.#store[FREE] = this.#words[block * WORDS + NEXT]!;
      this.#words[block * WORDS + NEXT] = -1;
      this.#store[USED]!++;
    }
    this.#unlock();
    return block;
  }

  /** Frees blocks that were never linked as an entry. */
  abandon(first: number): void {
    this.#lock();
    this.#freeChain(first);
    this.#unlock();
  }

  /** Joins a fresh block to the last one of a chain. */
  join(last: number, block: number): void {
    this.#words[last * WORDS + NEXT] = block;
  }

  /** Unlinks the next entry by SIEVE's hand. False where there is none. */
  #evict(): boolean {
    const words = this.#words;
    let entry = this.#store[HAND]!;
    if (entry < 0) entry = this.#store[OLDEST]!;
    if (entry < 0) return false;
    while (words[entry * WORDS + VISITED] === 1) {
      words[entry * WORDS + VISITED] = 0;
      entry = words[entry * WORDS + NEWER]!;
      if (entry < 0) entry = this.#store[OLDEST]!;
    }
    this.#store[HAND] = entry;
    this.#unlink(entry);
    this.#store[EVICTED]!++;
    return true;
  }

  /** With the lock. The hand goes on to the next one. */
  #unlink(entry: number): void {
    const words = this.#words;
    const record = entry * WORDS;
    const newer = words[record + NEWER]!;
    const older = words[record + OLDER]!;
    if (this.#store[HAND] === entry) this.#store[HAND] = newer;
    if (newer < 0) this.#store[NEWEST] = older;
    else words[newer * WORDS + OLDER] = older;
    if (older < 0) this.#store[OLDEST] = newer;
    else words[older * WORDS + NEWER] = newer;
    const bucket = words[record + HASH]! & this.#mask;
    let before = this.#buckets[bucket]!;
    if (before === entry) this.#buckets[bucket] = words[record + CHAIN]!;
    else {
      while (words[before * WORDS + CHAIN] !== entry) before = words[before * WORDS + CHAIN]!;
      words[before * WORDS + CHAIN] = words[record + CHAIN]!;
    }
    this.#store[ENTRIES]!--;
    Atomics.store(words, record + STATE, 1);
    this.#freeIfLast(entry);
  }

  /**
   * Makes a chain of blocks an entry, in the place of the one with the same key and vary. `lengths` are of its parts:
   * key, vary, head, body. False, with nothing done, where something was purged since there were so many `purges`.
   */
  link(
    first: number,
    hash: number,
    lengths: readonly [key: number, vary: number, head: number, body: number],
    terms: EntryTerms,
    purges = this.purges,
  ): boolean {
    const words = this.#words;
    const record = first * WORDS;
    const [keyBytes, varyBytes, headBytes, bodyBytes] = lengths;
    words[record + HASH] = hash;
    words[record + KEY_BYTES] = keyBytes;
    words[record + VARY_BYTES] = varyBytes;
    words[record + HEAD_BYTES] = headBytes;
    words[record + FLAGS] = terms.isNoCache ? 1 : 0;
    words[record + VISITED] = 0;
    words[record + BLOCKS] = 0;
    const numbers = record >> 1;
    this.#numbers[numbers + BODY_BYTES] = bodyBytes;
    this.#numbers[numbers + STORED_MS] = terms.storedMs;
    this.#numbers[numbers + AGE_S] = terms.ageS;
    this.#numbers[numbers + LIFETIME_S] = terms.lifetimeS;
    this.#numbers[numbers + WHILE_REVALIDATE_S] = terms.whileRevalidateS;
    this.#numbers[numbers + IF_ERROR_S] = terms.ifErrorS;
    this.#lock();
    if (purges !== this.purges) {
      this.#unlock();
      return false;
    }
    Atomics.store(words, record + STATE, 0);
    this.#makeRoomFor(first, hash, keyBytes, varyBytes);
    const bucket = hash & this.#mask;
    words[record + CHAIN] = this.#buckets[bucket]!;
    this.#buckets[bucket] = first;
    const newest = this.#store[NEWEST]!;
    words[record + OLDER] = newest;
    words[record + NEWER] = -1;
    if (newest < 0) this.#store[OLDEST] = first;
    else words[newest * WORDS + NEWER] = first;
    this.#store[NEWEST] = first;
    this.#store[ENTRIES]!++;
    this.#unlock();
    return true;
  }

  /** Takes out the entry that the new one replaces, and the oldest variant where they are too many. */
  #makeRoomFor(first: number, hash: number, keyBytes: number, varyBytes: number): void {
    const at = first * BLOCK_BYTES;
    const key = this.#bytes.subarray(at, at + keyBytes);
    let variants = 0;
    let oldest = -1;
    let same = -1;
    for (
      let entry = this.#buckets[hash & this.#mask]!;
      entry >= 0;
      entry = this.#words[entry * WORDS + CHAIN]!
    ) {
      if (!this.#isOf(entry, hash, key, keyBytes)) continue;
      variants++;
      oldest = entry;
      if (
        this.#words[entry * WORDS + VARY_BYTES] === varyBytes &&
        this.#isSame(first, entry, keyBytes, varyBytes)
      ) {
        same = entry;
      }
    }
    if (same >= 0) this.#unlink(same);
    else if (variants >= MOST_VARIANTS) this.#unlink(oldest);
  }

  #isSame(one: number, other: number, from: number, length: number): boolean {
    const a = one * BLOCK_BYTES + from;
    const b = other * BLOCK_BYTES + from;
    for (let n = 0; n < length; n++) if (this.#bytes[a + n] !== this.#bytes[b + n]) return false;
    return true;
  }

  /** Takes out all variants of a key. Returns how many there were. */
  remove(hash: number, key: Uint8Array, length: number): number {
    this.#lock();
    let count = 0;
    for (let entry = this.#buckets[hash & this.#mask]!; entry >= 0; ) {
      const after = this.#words[entry * WORDS + CHAIN]!;
      if (this.#isOf(entry, hash, key, length) && this.#fits(entry, ANY_VARIANT)) {
        this.#unlink(entry);
        count++;
      }
      entry = after;
    }
    this.#unlock();
    return count;
  }

  /** Takes out all of an address, whose keys have its hash. Returns how many there were. */
  removeAddress(address: Uint8Array): number {
    const hash = this.hash(address, address.length);
    this.#lock();
    let count = 0;
    for (let entry = this.#buckets[hash & this.#mask]!; entry >= 0; ) {
      const after = this.#words[entry * WORDS + CHAIN]!;
      if (this.#words[entry * WORDS + HASH] === hash && this.#isAt(entry, address)) {
        this.#unlink(entry);
        count++;
      }
      entry = after;
    }
    this.#unlock();
    return count;
  }

  /** Whether the key of an entry is that address, or the address and marks. */
  #isAt(entry: number, address: Uint8Array): boolean {
    const { length } = address;
    const at = entry * BLOCK_BYTES;
    const keyBytes = this.#words[entry * WORDS + KEY_BYTES]!;
    if (keyBytes < length || (keyBytes > length && this.#bytes[at + length]! >= FIRST_OF_ADDRESS))
      return false;
    return address.every((byte, n) => this.#bytes[at + n] === byte);
  }

  /** Takes out all whose key begins so. Returns how many there were. Looks at every entry. */
  removePrefix(prefix: Uint8Array): number {
    this.#lock();
    let count = 0;
    for (let entry = this.#store[OLDEST]!; entry >= 0; ) {
      const after = this.#words[entry * WORDS + NEWER]!;
      const at = entry * BLOCK_BYTES;
      const isLong = this.#words[entry * WORDS + KEY_BYTES]! >= prefix.length;
      if (isLong && prefix.every((byte, n) => this.#bytes[at + n] === byte)) {
        this.#unlink(entry);
        count++;
      }
      entry = after;
    }
    this.#unlock();
    return count;
  }

  keyBytes(entry: number): number {
    return this.#words[entry * WORDS + KEY_BYTES]!;
  }

  varyBytes(entry: number): number {
    return this.#words[entry * WORDS + VARY_BYTES]!;
  }

  headBytes(entry: number): number {
    return this.#words[entry * WORDS + HEAD_BYTES]!;
  }

  bodyBytes(entry: number): number {
    return this.#numbers[((entry * WORDS) >> 1) + BODY_BYTES]!;
  }

  /** Seconds since the response was made, as far as anyone knows. */
  age(entry: number, nowMs: number): number {
    const numbers = (entry * WORDS) >> 1;
    const since = Math.max(0, nowMs - this.#numbers[numbers + STORED_MS]!) / 1000;
    return this.#numbers[numbers + AGE_S]! + since;
  }

  /** Seconds for which it is fresh, from its making on. */
  lifetime(entry: number): number {
    return this.#numbers[((entry * WORDS) >> 1) + LIFETIME_S]!;
  }

  isNoCache(entry: number): boolean {
    return this.#words[entry * WORDS + FLAGS] === 1;
  }

  whileRevalidate(entry: number): number {
    return this.#numbers[((entry * WORDS) >> 1) + WHILE_REVALIDATE_S]!;
  }

  ifError(entry: number): number {
    return this.#numbers[((entry * WORDS) >> 1) + IF_ERROR_S]!;
  }

  /** Copies bytes of an entry (counted from its key on) to `to` at `at`. */
  read(entry: number, from: number, length: number, to: Uint8Array, at: number): void {
    let block = entry;
    let skip = from;
    for (; skip >= BLOCK_BYTES; skip -= BLOCK_BYTES) block = this.#words[block * WORDS + NEXT]!;
    for (let done = 0; done < length; ) {
      const count = Math.min(length - done, BLOCK_BYTES - skip);
      const start = block * BLOCK_BYTES + skip;
      to.set(this.#bytes.subarray(start, start + count), at + done);
      done += count;
      skip = 0;
      block = this.#words[block * WORDS + NEXT]!;
    }
  }

  /** Copies bytes into one block, which is the caller's. */
  write(block: number, at: number, from: Uint8Array, start: number, end: number): void {
    this.#bytes.set(from.subarray(start, end), block * BLOCK_BYTES + at);
  }
}
