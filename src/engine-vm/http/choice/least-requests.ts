/**
 * `least-connections`: the fewest requests under way; equals take turns. `topological`: the least L = C x (1 + H) of them
 * (docs/design/balancing-by-request.md); of idle ones the nearest.
 */
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';
import { TreeBalancer } from './tree-balancer.ts';

/** Less than any difference in L: tells idle members apart. */
const NEARNESS = 1e-6;

export class LeastRequests extends TreeBalancer {
  /** Null where distance is no matter. */
  readonly #hops: Float64Array | null;

  constructor(members: BalancedMembers, isTopological: boolean) {
    super(members);
    this.#hops = isTopological && members.hops?.some((one) => one > 0) ? members.hops : null;
  }

  protected load(position: number): number {
    const hops = this.#hops === null ? 0 : this.#hops[position]!;
    return this.active[position]! * (1 + hops) + hops * NEARNESS;
  }

  adopt(before: RequestBalancer, from: Int32Array): void {
    if (before instanceof LeastRequests) this.last = from.indexOf(before.last);
  }
}
