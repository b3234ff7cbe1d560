/**
 * PURGE: takes stored responses out, all variants of one address, or with `*` at the end of the target all whose address
 * begins so. From addresses that the policy names; each thread of the process has the same store, so one request does.
 */
import { AddressList } from '../../address-list.ts';
import { ANSWERED } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { line } from '../../head-writer.ts';
import { refusal } from '../../refusals.ts';
import { BY_TLS, type CacheKey, OF_POOL } from './cache-key.ts';
import type { CacheStore } from './cache-store.ts';

const FORBIDDEN = refusal('purge-forbidden');
const STAR = 42;

/** For keys of an address however it is reached. */
export const NO_LINES = new Uint8Array(0);

/** Takes out what is stored of an address, whose key was built with `NO_LINES`, however it is reached and by any pool. */
export function removeAll(
  store: CacheStore,
  key: Uint8Array,
  length: number,
  pools: readonly { readonly name: string }[] = [],
): number {
  let count = 0;
  for (const pool of ['', ...pools.map(({ name }) => String.fromCharCode(OF_POOL) + name)]) {
    for (const end of ['', String.fromCharCode(BY_TLS)]) {
      const one = Buffer.concat([key.subarray(0, length), Buffer.from(pool + end, 'latin1')]);
      count += store.remove(store.hash(one, one.length), one, one.length);
    }
  }
  return count;
}

export class Purge {
  readonly #from: AddressList;
  readonly #store: CacheStore;
  readonly #key: CacheKey;

  constructor(from: readonly string[], store: CacheStore, key: CacheKey) {
    this.#from = new AddressList(from);
    this.#store = store;
    this.#key = key;
  }

  onRequest(exchange: Exchange, counts: { purged: number }): number {
    const isAllowed = this.#from.has(exchange.clientAddress);
    if (!isAllowed || !this.#key.build(exchange.request, NO_LINES, '')) return FORBIDDEN;
    const { bytes, length } = this.#key;
    const count =
      bytes[length - 1] === STAR
        ? this.#store.removePrefix(bytes.subarray(0, length - 1))
        : removeAll(this.#store, bytes, length, exchange.service.settings.pools);
    counts.purged += count;
    exchange.answer(200, `${count} stored responses were taken out`, [line('Cache-Control: no-store\r\n')]);
    return ANSWERED;
  }
}
