/**
 * PURGE: takes stored responses out, all variants of one address, or with `*` at the end of the target all whose address
 * begins so. From addresses that the policy names; each thread of the process has the same store, so one request does.
 */
import { BlockList, isIPv6 } from 'node:net';
import { ANSWERED } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { line } from '../../head-writer.ts';
import { refusal } from '../../refusals.ts';
import type { CacheKey } from './cache-key.ts';
import type { CacheStore } from './cache-store.ts';

const FORBIDDEN = refusal('purge-forbidden');
const STAR = 42;

export class Purge {
  readonly #from = new BlockList();
  readonly #store: CacheStore;
  readonly #key: CacheKey;

  constructor(from: readonly string[], store: CacheStore, key: CacheKey) {
    for (const text of from) {
      const [address, length] = text.split('/') as [string, string?];
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (length === undefined) this.#from.addAddress(address, family);
      else this.#from.addSubnet(address, Number(length), family);
    }
    this.#store = store;
    this.#key = key;
  }

  onRequest(exchange: Exchange, counts: { purged: number }): number {
    const address = exchange.client.clientAddress;
    const isAllowed = address !== '' && this.#from.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
    if (!isAllowed || !this.#key.build(exchange.request)) return FORBIDDEN;
    const { bytes, length } = this.#key;
    const count =
      bytes[length - 1] === STAR
        ? this.#store.removePrefix(bytes.subarray(0, length - 1))
        : this.#store.remove(this.#store.hash(bytes, length), bytes, length);
    counts.purged += count;
    exchange.answer(200, `${count} stored responses were taken out`, [line('Cache-Control: no-store\r\n')]);
    return ANSWERED;
  }
}
