/** The methods that take the least of something: a tree over all members holds it, brought up to date with each change. */
import { MinTree } from './min-tree.ts';
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';

export abstract class TreeBalancer implements RequestBalancer {
  /** Requests under way. */
  protected readonly active: Float64Array;
  protected last = -1;
  readonly #weights: Float64Array;
  readonly #shares: Float64Array;
  readonly #tree: MinTree;

  constructor({ weights }: BalancedMembers) {
    this.#weights = weights;
    this.#tree = new MinTree(weights.length);
    this.#shares = new Float64Array(weights.length);
    this.active = new Float64Array(weights.length);
  }

  share(position: number, share: number): void {
    this.#shares[position] = this.#weights[position]! > 0 ? share : 0;
    this.place(position);
  }

  loaded(position: number, active: number): void {
    this.active[position] = active;
    this.place(position);
  }

  choose(): number {
    const position = this.#tree.least(this.last);
    if (position >= 0) this.last = position;
    return position;
  }

  abstract adopt(before: RequestBalancer, from: Int32Array): void;

  /** What the least of is chosen, of a member that gets its whole share. */
  protected abstract load(position: number): number;

  /** Brings the member up to date. */
  protected place(position: number): void {
    const share = this.#shares[position]!;
    this.#tree.set(position, share > 0 ? this.load(position) / share : Number.POSITIVE_INFINITY);
  }
}
