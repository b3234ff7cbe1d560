/**
 * `source-hash` and `maglev`: a client address finds its member in the table of balance/maglev.ts. The table holds all
 * members that the policy gives a weight; where the one that is found takes no requests just now, further entries are
 * looked up by further hashes: so only the clients of that member move, and come back.
 */
import { mix } from '../../balance/hash.ts';
import { fillTable, MAGLEV_TABLE_SIZE } from '../../balance/maglev.ts';
import { MinTree } from './min-tree.ts';
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';

/** Look-ups of one choice; where none of them finds a member that takes requests, the next in the list that does is it. */
const MOST_LOOKUPS = 16;

export class ByHash implements RequestBalancer {
  readonly #members: BalancedMembers;
  #table: Int32Array | null = null;
  /** 1 where it takes requests. */
  readonly #isOpen: Uint8Array;
  readonly #tree: MinTree;

  constructor(members: BalancedMembers) {
    this.#members = members;
    this.#isOpen = new Uint8Array(members.ids.length);
    this.#tree = new MinTree(members.ids.length);
  }

  share(position: number, share: number): void {
    const isOpen = share > 0 && this.#members.weights[position]! > 0;
    this.#isOpen[position] = isOpen ? 1 : 0;
    this.#tree.set(position, isOpen ? 0 : Number.POSITIVE_INFINITY);
  }

  loaded(): void {
    // Hashes do not depend on it.
  }

  choose(sourceHash: number): number {
    this.#table ??= tableOf(this.#members);
    let position = -1;
    for (let n = 0; n < MOST_LOOKUPS; n++) {
      position = this.#table[mix(sourceHash + Math.imul(n, 0x9e3779b9)) % MAGLEV_TABLE_SIZE]!;
      if (position < 0 || this.#isOpen[position] === 1) return position;
    }
    return this.#tree.least(position);
  }

  adopt(before: RequestBalancer, from: Int32Array): void {
    if (!(before instanceof ByHash)) return;
    const { ids, weights } = before.#members;
    const isSame =
      ids.length === from.length &&
      from.every(
        (other, position) => other === position && weights[other] === this.#members.weights[position],
      );
    if (isSame) this.#table = before.#table;
  }
}

/** -1 in all entries where nobody has a weight. */
function tableOf({ ids, weights }: BalancedMembers): Int32Array {
  const table = new Int32Array(MAGLEV_TABLE_SIZE).fill(-1);
  fillTable(table, ids, weights);
  return table;
}
