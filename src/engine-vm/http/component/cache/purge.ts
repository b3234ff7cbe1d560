/**
 * PURGE: takes stored responses out, all variants of one address, or with `*` at the end of the target all whose address
 * begins so. From addresses that the policy names; each thread of the process has the same store, so one request does.
 */
import { purgedBy } from '../../../../policy/purge.ts';
import { AddressList } from '../../address-list.ts';
import { ANSWERED } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { line } from '../../head-writer.ts';
import { refusal } from '../../refusals.ts';
import type { CacheKey } from './cache-key.ts';
import type { CacheStore } from './cache-store.ts';

const FORBIDDEN = refusal('purge-forbidden');
const STAR = 42;

/** For keys that are the address alone. */
export const NO_LINES = new Uint8Array(0);

/** Takes out what URLs say that the policy has checked (policy/purge.ts). Returns how many there were. */
export function purgeUrls(store: CacheStore, urls: readonly string[]): number {
  store.notePurge();
  return urls.reduce((count, url) => {
    const { address, isPrefix } = purgedBy(url);
    const bytes = Buffer.from(address, 'latin1');
    return count + (isPrefix ? store.removePrefix(bytes) : store.removeAddress(bytes));
  }, 0);
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
    if (!isAllowed || !this.#key.build(exchange.request, NO_LINES, '', exchange.origin)) return FORBIDDEN;
    const address = this.#key.bytes.subarray(0, this.#key.addressLength);
    this.#store.notePurge();
    const count =
      address.at(-1) === STAR
        ? this.#store.removePrefix(address.subarray(0, -1))
        : this.#store.removeAddress(address);
    counts.purged += count;
    exchange.answer(200, `${count} stored responses were taken out`, [line('Cache-Control: no-store\r\n')]);
    return ANSWERED;
  }
}
