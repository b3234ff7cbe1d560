/** `least-connections`, and `topological` where all hops are equal: the fewest requests under way; equals take turns. */
import { MinTree } from './min-tree.ts';
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';

export class LeastRequests implements RequestBalancer {
  readonly #weights: Float64Array;
  readonly #tree: MinTree;
  readonly #shares: Float64Array;
  readonly #active: Float64Array;
  #last = -1;

  constructor({ weights }: BalancedMembers) {
    this.#weights = weights;
    this.#tree = new MinTree(weights.length);
    this.#shares = new Float64Array(weights.length);
    this.#active = new Float64Array(weights.length);
  }

  share(position: number, share: number): void {
    this.#shares[position] = this.#weights[position]! > 0 ? share : 0;
    this.#place(position);
  }

  loaded(position: number, active: number): void {
    this.#active[position] = active;
    this.#place(position);
  }

  #place(position: number): void {
    const share = this.#shares[position]!;
    this.#tree.set(position, share > 0 ? this.#active[position]! / share : Number.POSITIVE_INFINITY);
  }

  choose(): number {
    const position = this.#tree.least(this.#last);
    if (position >= 0) this.#last = position;
    return position;
  }

  adopt(before: RequestBalancer, from: Int32Array): void {
    if (before instanceof LeastRequests) this.#last = from.indexOf(before.#last);
  }
}
