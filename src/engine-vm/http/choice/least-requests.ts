/**
 * `least-connections`: the fewest requests under way; equals take turns. `topological`: the least L = C x (1 + H) of them
 * (docs/design/balancing-by-request.md); of idle ones the nearest.
 */
import { MinTree } from './min-tree.ts';
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';

/** Less than any difference in L: tells idle members apart. */
const NEARNESS = 1e-6;

export class LeastRequests implements RequestBalancer {
  readonly #weights: Float64Array;
  /** Null where distance is no matter. */
  readonly #hops: Float64Array | null;
  readonly #tree: MinTree;
  readonly #shares: Float64Array;
  readonly #active: Float64Array;
  #last = -1;

  constructor({ weights, hops }: BalancedMembers, isTopological: boolean) {
    this.#weights = weights;
    this.#hops = isTopological && hops?.some((one) => one > 0) ? hops : null;
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
    const hops = this.#hops === null ? 0 : this.#hops[position]!;
    const load = this.#active[position]! * (1 + hops) + hops * NEARNESS;
    this.#tree.set(position, share > 0 ? load / share : Number.POSITIVE_INFINITY);
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
