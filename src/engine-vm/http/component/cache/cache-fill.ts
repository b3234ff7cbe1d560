/** Stores the body of a response while it goes to its client. */
import type { SocketBuffers } from '../../../kernel/socket-buffers.ts';
import type { BodyFilter } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import type { CacheStore, EntryTerms } from './cache-store.ts';
import { BLOCK_BYTES } from './store-size.ts';

/** Blocks that become an entry once they are filled. */
export class EntryWriter {
  readonly #store: CacheStore;
  #first = -1;
  #last = -1;
  #lastBytes = BLOCK_BYTES;
  bytes = 0;

  constructor(store: CacheStore) {
    this.#store = store;
  }

  /** False where no memory can be had: then all of it is given back. */
  add(from: Uint8Array, at: number, end: number): boolean {
    for (let p = at; p < end; ) {
      if (this.#lastBytes === BLOCK_BYTES) {
        const block = this.#store.allocateBlock();
        if (block < 0) {
          this.abandon();
          return false;
        }
        if (this.#first < 0) this.#first = block;
        else this.#store.join(this.#last, block);
        this.#last = block;
        this.#lastBytes = 0;
      }
      const count = Math.min(end - p, BLOCK_BYTES - this.#lastBytes);
      this.#store.write(this.#last, this.#lastBytes, from, p, p + count);
      this.#lastBytes += count;
      this.bytes += count;
      p += count;
    }
    return true;
  }

  /**
   * Makes it an entry. `lengths`: key, vary, head; the rest is the body. `purges`: of the store, when a member was asked.
   * False, with all given back, where something was purged since: what the member answered may be what was to go.
   */
  link(
    hash: number,
    [key, vary, head]: readonly [number, number, number],
    terms: EntryTerms,
    purges: number,
  ): boolean {
    const lengths = [key, vary, head, this.bytes - key - vary - head] as const;
    const isLinked = this.#store.link(this.#first, hash, lengths, terms, purges);
    if (!isLinked) this.#store.abandon(this.#first);
    this.#first = -1;
    return isLinked;
  }

  abandon(): void {
    if (this.#first >= 0) this.#store.abandon(this.#first);
    this.#first = -1;
  }
}

export class CacheFill implements BodyFilter {
  next: BodyFilter | null = null;
  #writer: EntryWriter | null;
  readonly #buffers: SocketBuffers;
  readonly #mostBytes: number;
  readonly #onWhole: (writer: EntryWriter) => void;

  /** `writer` holds key, vary and head. `onWhole` links it. */
  constructor(
    writer: EntryWriter,
    buffers: SocketBuffers,
    mostBytes: number,
    onWhole: (writer: EntryWriter) => void,
  ) {
    this.#writer = writer;
    this.#buffers = buffers;
    this.#mostBytes = writer.bytes + mostBytes;
    this.#onWhole = onWhole;
  }

  transform(
    exchange: Exchange,
    buffer: number,
    at: number,
    end: number,
    isLast: boolean,
    trailers: Uint8Array | null,
  ): void {
    const writer = this.#writer;
    if (writer !== null) {
      if (writer.bytes + end - at > this.#mostBytes) this.close();
      else if (!writer.add(this.#buffers.bytes, at, end)) this.#writer = null;
      else if (isLast) {
        this.#writer = null;
        this.#onWhole(writer);
      }
    }
    exchange.passOn(this.next, buffer, at, end, isLast, trailers);
  }

  close(): void {
    this.#writer?.abandon();
    this.#writer = null;
  }
}
