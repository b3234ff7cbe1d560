/** The body of a stored response on its way to a client, a buffer at a time, in the place of what a member would send. */
import { RECEIVE_BYTES, type SocketBuffers } from '../../../kernel/socket-buffers.ts';
import type { BodyFilter } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { refusal } from '../../refusals.ts';
import type { CacheStore } from './cache-store.ts';

const OVERLOADED = refusal('overloaded');
/** Room in front of the first piece, so that a usual head fits there and both are one send. */
const HEAD_ROOM = 1024;
const MOST_POOLED = 1024;

export class StoredBody implements BodyFilter {
  next: BodyFilter | null = null;
  #store!: CacheStore;
  /** -1: given back. */
  #entry = -1;
  #buffers!: SocketBuffers;
  #from = 0;
  #end = 0;
  #isFirst = true;
  #isRunning = false;
  /** Counts what it was used for: between two pieces it may be closed, and be used for another response. */
  #use = 0;
  readonly #pool: StoredBody[];

  /** `pool` gets it back once it is closed. */
  constructor(pool: StoredBody[]) {
    this.#pool = pool;
  }

  /** Takes over a pinned entry: bytes `from` to before `end`, counted from its key on. `isFirst`: a head goes before. */
  set(
    store: CacheStore,
    entry: number,
    buffers: SocketBuffers,
    from: number,
    end: number,
    isFirst: boolean,
  ): void {
    this.#store = store;
    this.#entry = entry;
    this.#buffers = buffers;
    this.#from = from;
    this.#end = end;
    this.#isFirst = isFirst;
    this.#isRunning = false;
    this.#use++;
  }

  /** What the member sent instead is dropped. */
  transform(exchange: Exchange, buffer: number): void {
    this.#buffers.give(buffer);
    if (this.#isFirst) this.resume(exchange);
  }

  resume(exchange: Exchange): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const use = this.#use;
    while (this.#entry >= 0 && (this.#isFirst || !exchange.client.isFull)) {
      const buffer = this.#buffers.take();
      if (buffer < 0) {
        exchange.fail(OVERLOADED);
        return;
      }
      const start = this.#buffers.start(buffer) + (this.#isFirst ? HEAD_ROOM : 0);
      const room = RECEIVE_BYTES - (this.#isFirst ? HEAD_ROOM : 0);
      const length = Math.min(room, this.#end - this.#from);
      this.#store.read(this.#entry, this.#from, length, this.#buffers.bytes, start);
      this.#from += length;
      this.#isFirst = false;
      const isLast = this.#from === this.#end;
      if (isLast) this.#unpin();
      exchange.passOn(null, buffer, start, start + length, isLast, null);
      if (this.#use !== use) return;
    }
    this.#isRunning = false;
  }

  #unpin(): void {
    if (this.#entry < 0) return;
    this.#store.unpin(this.#entry);
    this.#entry = -1;
  }

  close(): void {
    this.#unpin();
    this.#use++;
    if (this.#pool.length < MOST_POOLED) this.#pool.push(this);
  }
}
