/**
 * `round-robin` and `weighted-round-robin`: turns by stride (Waldspurger and Weihl 1995). A member of weight w is due
 * at (k + 1/2) / w for k = 0, 1, 2, ...; who is due first comes next, equals in the order of the list. In each round of
 * as many requests as all weights together every member gets exactly its weight, spread evenly.
 */
import { MinTree } from './min-tree.ts';
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';

/** Times are counted from anew at this one, so that they stay exact. */
const REBASE_AT = 2 ** 20;

export class InTurn implements RequestBalancer {
  readonly #weights: Float64Array;
  readonly #tree: MinTree;
  /** When each is due; kept for those that take no requests. */
  readonly #due: Float64Array;
  /** From one turn to the next; 0 where it takes no requests. */
  readonly #step: Float64Array;
  /** When the last one chosen was due. */
  #now = 0;
  #last = -1;

  constructor({ weights }: BalancedMembers, isWeighted: boolean) {
    this.#weights = isWeighted ? weights : weights.map((weight) => Math.min(1, weight));
    this.#tree = new MinTree(weights.length);
    this.#due = new Float64Array(weights.length);
    this.#step = new Float64Array(weights.length);
  }

  share(position: number, share: number): void {
    const rate = this.#weights[position]! * share;
    const before = this.#step[position]!;
    const step = rate > 0 ? 1 / rate : 0;
    this.#step[position] = step;
    const now = this.#now;
    const due = this.#due[position]!;
    if (step === 0) {
      this.#tree.set(position, Number.POSITIVE_INFINITY);
      return;
    }
    // Who comes back has no claim on the turns that it missed; who has more turns than before waits less for the next.
    if (before === 0) this.#due[position] = Math.max(due, now + step / 2);
    else if (due > now) this.#due[position] = now + ((due - now) * step) / before;
    this.#tree.set(position, this.#due[position]!);
  }

  loaded(): void {
    // Turns do not depend on it.
  }

  choose(): number {
    const position = this.#tree.least(this.#last);
    if (position < 0) return -1;
    this.#last = position;
    this.#now = this.#due[position]!;
    const due = this.#now + this.#step[position]!;
    this.#due[position] = due;
    this.#tree.set(position, due);
    if (this.#now > REBASE_AT) this.#rebase();
    return position;
  }

  #rebase(): void {
    const now = this.#now;
    this.#now = 0;
    for (let position = 0; position < this.#due.length; position++) {
      this.#due[position]! -= now;
      if (this.#step[position]! > 0) this.#tree.set(position, this.#due[position]!);
    }
  }

  adopt(before: RequestBalancer, from: Int32Array): void {
    if (!(before instanceof InTurn)) return;
    this.#last = from.indexOf(before.#last);
    this.#now = before.#now;
    for (const [position, other] of from.entries()) {
      if (other >= 0) this.#due[position] = before.#due[other]!;
    }
  }
}
