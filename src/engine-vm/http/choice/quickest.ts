/**
 * `least-response-time` and `peak-ewma`: the least product of a member's mean time to respond and its requests under way
 * with the new one. The mean is exponentially weighted over time: what was DECAY_MS ago counts e times less. With `peak-ewma` a longer
 * time counts at once and whole, and only its end slowly (Twitter's Finagle, com.twitter.finagle.loadbalancer.PeakEwma).
 * Both forget in silence, so a member that was slow is tried again.
 *
 * As all means decay alike, their order does not change with time: they are kept as what they would be at an earlier
 * moment (forward decay, Cormode et al. 2009), so that silence costs no work.
 */
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';
import { TreeBalancer } from './tree-balancer.ts';

export const DECAY_MS = 10_000;
/** Decays since the moment that means refer to, from which on another moment is taken. */
const MOST_DECAYS = 200;
/** A member of which nothing is known gets one request, then waits for the answer while others may be had. */
const UNKNOWN = 1e200;
/** Nothing is quicker; below it, means are not told apart. */
const LEAST_MS = 0.001;

export class Quickest extends TreeBalancer {
  readonly #isPeak: boolean;
  /** Means as of `#sinceMs`; 0 where nothing is known. */
  readonly #means: Float64Array;
  readonly #heardMs: Float64Array;
  #sinceMs = 0;

  constructor(members: BalancedMembers, isPeak: boolean) {
    super(members);
    this.#isPeak = isPeak;
    const { length } = members.weights;
    this.#means = new Float64Array(length);
    this.#heardMs = new Float64Array(length);
  }

  answered(position: number, ms: number, nowMs: number): void {
    if (nowMs - this.#sinceMs > MOST_DECAYS * DECAY_MS) this.#rebase(nowMs);
    const time = Math.max(LEAST_MS, ms) * Math.exp((nowMs - this.#sinceMs) / DECAY_MS);
    const mean = this.#means[position]!;
    if (mean === 0 || (this.#isPeak && time > mean)) this.#means[position] = time;
    else {
      const kept = Math.exp((this.#heardMs[position]! - nowMs) / DECAY_MS);
      // As of `#sinceMs` the mean has not decayed.
      this.#means[position] = mean + time * (1 - kept);
    }
    this.#heardMs[position] = nowMs;
    this.place(position);
  }

  #rebase(nowMs: number): void {
    const factor = Math.exp((this.#sinceMs - nowMs) / DECAY_MS);
    this.#sinceMs = nowMs;
    for (let position = 0; position < this.#means.length; position++) {
      this.#means[position]! *= factor;
      this.place(position);
    }
  }

  protected load(position: number): number {
    const active = this.active[position]!;
    const mean = this.#means[position]!;
    return mean === 0 ? active * UNKNOWN : mean * (active + 1);
  }

  adopt(before: RequestBalancer, from: Int32Array): void {
    if (!(before instanceof Quickest)) return;
    this.last = from.indexOf(before.last);
    this.#sinceMs = before.#sinceMs;
    for (const [position, other] of from.entries()) {
      if (other < 0) continue;
      this.#means[position] = before.#means[other]!;
      this.#heardMs[position] = before.#heardMs[other]!;
    }
  }
}
