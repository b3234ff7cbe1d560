/**
 * Keys of members in a tree of minima (a tournament): a changed key and the least one cost a walk of log2(n) steps. Equal
 * keys take turns: `least` begins to look behind the position that it is given.
 */
export class MinTree {
  readonly #leaves: number;
  /** The root is 1; the children of n are 2n and 2n + 1; leaves that no member has are Infinity. */
  readonly #keys: Float64Array;

  /** All keys are Infinity, which is never the least. */
  constructor(count: number) {
    let leaves = 1;
    while (leaves < count) leaves *= 2;
    this.#leaves = leaves;
    this.#keys = new Float64Array(2 * leaves).fill(Number.POSITIVE_INFINITY);
  }

  get(position: number): number {
    return this.#keys[this.#leaves + position]!;
  }

  set(position: number, key: number): void {
    const keys = this.#keys;
    let node = this.#leaves + position;
    if (keys[node] === key) return;
    keys[node] = key;
    for (let least = key; node > 1; ) {
      const other = keys[node ^ 1]!;
      if (other < least) least = other;
      node >>= 1;
      if (keys[node] === least) return;
      keys[node] = least;
    }
  }

  /** The position of the least key: the first of equals behind `last`, round about. -1 where all are Infinity. */
  least(last: number): number {
    const keys = this.#keys;
    const leaves = this.#leaves;
    const least = keys[1]!;
    if (least === Number.POSITIVE_INFINITY) return -1;
    let node = leaves + last + 1;
    if (node >= 2 * leaves) node = 1;
    else {
      // Up to where a subtree to the right holds it, or to the root: then it is the first of all.
      while (keys[node] !== least) {
        while ((node & 1) === 1 && node > 1) node >>= 1;
        if (node === 1) break;
        node++;
      }
    }
    while (node < leaves) {
      node *= 2;
      if (keys[node] !== least) node++;
    }
    return node - leaves;
  }
}
