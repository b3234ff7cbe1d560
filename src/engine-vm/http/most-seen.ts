/**
 * Which names come most often, in bounded memory: the space-saving sketch of Metwally, Agrawal and El Abbadi (Efficient
 * Computation of Frequent and Top-k Elements in Data Streams, ICDT 2005, section 3). A name that is not known takes the
 * place of the one with the least, and its count with it. So a count is never too small, too large by no more than the
 * least of all counts, and every name that came more often than one in `capacity` is there.
 */
export class MostSeen {
  readonly #capacity: number;
  readonly #counts = new Map<string, number>();
  /** No name has less. */
  #least = 0;

  constructor(capacity = 256) {
    this.#capacity = capacity;
  }

  add(name: string): void {
    const count = this.#counts.get(name);
    if (count !== undefined) {
      this.#counts.set(name, count + 1);
      return;
    }
    if (this.#counts.size < this.#capacity) {
      this.#counts.set(name, 1);
      return;
    }
    this.#counts.set(name, this.#evict() + 1);
  }

  /** Takes out a name with the least count, and returns that. */
  #evict(): number {
    let least = Number.POSITIVE_INFINITY;
    let victim = '';
    for (const [name, count] of this.#counts) {
      if (count >= least) continue;
      least = count;
      victim = name;
      // Counts only grow: where it is as small as the least was, there is none below.
      if (least <= this.#least) break;
    }
    this.#least = least;
    this.#counts.delete(victim);
    return least;
  }

  /** Names with their counts; the first come first. */
  list(most = 64): Record<string, number> {
    const sorted = [...this.#counts].sort(([, a], [, b]) => b - a);
    return Object.fromEntries(sorted.slice(0, most));
  }
}
