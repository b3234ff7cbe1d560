/** What the cache keeps for a request that goes to a member, or waits for one that does. */
import type { Attachment } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import type { KeptRequest } from '../../kept-request.ts';
import type { CacheStore } from './cache-store.ts';
import type { Collapse, Waiter } from './collapse.ts';

/** The cache, for its requests. */
export interface CacheFetcher {
  readonly store: CacheStore;
  /** Sends it to a member. */
  fetch(mine: CacheRequest): void;
  /** Serves what is stored; false where nothing fits. */
  serve(mine: CacheRequest): boolean;
  /** Serves something stale in the place of an error; false where there is none. */
  rescue(mine: CacheRequest): boolean;
  endCollapse(mine: CacheRequest): void;
  giveKept(kept: KeptRequest): void;
}

export class CacheRequest implements Attachment, Waiter {
  readonly exchange: Exchange;
  readonly key: Uint8Array;
  readonly hash: number;
  /** Null: its response takes what is stored out. */
  readonly kept: KeptRequest | null;
  /** What is stored and stale, pinned; -1 for nothing. */
  entry: number;
  /** Others wait for what it brings. */
  collapse: Collapse | null = null;
  /** A member is asked whether `entry` still holds. */
  isValidating = false;
  isStored = false;
  /** Of the store, when a member was asked. */
  purges: number;
  readonly #cache: CacheFetcher;
  #waitsFor: Collapse | null = null;

  private constructor(
    cache: CacheFetcher,
    exchange: Exchange,
    key: Uint8Array,
    hash: number,
    kept: KeptRequest | null,
    entry: number,
  ) {
    this.#cache = cache;
    this.exchange = exchange;
    this.key = key;
    this.hash = hash;
    this.kept = kept;
    this.entry = entry;
    this.purges = cache.store.purges;
  }

  /** Of a request that asks for something. Takes over what is kept and the pinned entry. */
  static fetch(
    cache: CacheFetcher,
    exchange: Exchange,
    key: Uint8Array,
    hash: number,
    kept: KeptRequest,
    entry: number,
  ): CacheRequest {
    return new CacheRequest(cache, exchange, key, hash, kept, entry);
  }

  /** Of a request that changes something. */
  static unsafe(cache: CacheFetcher, exchange: Exchange, key: Uint8Array): CacheRequest {
    return new CacheRequest(cache, exchange, key, cache.store.hash(key, key.length), null, -1);
  }

  waitFor(collapse: Collapse): void {
    this.#waitsFor = collapse;
    collapse.add(this);
  }

  wake(): void {
    this.#waitsFor = null;
    if (!this.#cache.serve(this)) this.#cache.fetch(this);
  }

  lead(): void {
    this.collapse = this.#waitsFor;
    this.#waitsFor = null;
    this.#cache.fetch(this);
  }

  rescue(): boolean {
    return this.#cache.rescue(this);
  }

  close(): void {
    this.#waitsFor?.delete(this);
    this.#waitsFor = null;
    if (this.entry >= 0) this.#cache.store.unpin(this.entry);
    this.entry = -1;
    if (this.kept !== null) this.#cache.giveKept(this.kept);
    const { collapse } = this;
    if (collapse === null) return;
    // Where its client left, the next one fetches.
    const isLeft = !this.isStored && this.exchange.refusal === 0;
    if (!isLeft || !collapse.leadNext()) this.#cache.endCollapse(this);
  }
}
