/**
 * The method `maglev`: a client address finds its member in a lookup table that every engine builds alike
 * (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4). Shares
 * are even to within a percent or so, and a change of the set moves few clients of the members that stay.
 * Weights: a member takes its turn in proportion to weight over the greatest weight (the section's last paragraph).
 *
 * The table is rebuilt, on the next choice, only when the usable set or the weights have changed; otherwise a
 * choice is one comparison of the sets and one look-up.
 */
import { type Balancer, type Candidates, takesNewFlows } from './balancer.ts';
import { mix } from './hash.ts';

/** Entries of the table: a prime well above 100 times the members, as the paper has it. */
export const MAGLEV_TABLE_SIZE = 65537;

const OFFSET_SEED = 0x3c6ef372;
const SKIP_SEED = 0x5be0cd19;

export class Maglev implements Balancer {
  /** Position in the candidates by entry. */
  private readonly table = new Int32Array(MAGLEV_TABLE_SIZE);
  /** Weights and ids that the table was built from; weight 0 where not usable. */
  private weights = new Float64Array(0);
  private ids = new Uint32Array(0);
  private hasMember = false;

  choose(candidates: Candidates, sourceHash: number, _isTrace: boolean): number {
    if (this.isStale(candidates)) this.rebuild(candidates);
    return this.hasMember ? this.table[mix(sourceHash) % MAGLEV_TABLE_SIZE] : -1;
  }

  explain(_candidates: Candidates, position: number): string {
    return position < 0
      ? 'maglev: no candidate takes new flows'
      : "maglev: the table's entry for the client's address";
  }

  private isStale(candidates: Candidates): boolean {
    if (this.weights.length !== candidates.count) return true;
    for (let position = 0; position < candidates.count; position++) {
      const weight = takesNewFlows(candidates, position) ? candidates.weights[position] : 0;
      if (weight !== this.weights[position] || candidates.ids[position] !== this.ids[position]) return true;
    }
    return false;
  }

  private rebuild(candidates: Candidates): void {
    if (this.weights.length !== candidates.count) {
      this.weights = new Float64Array(candidates.count);
      this.ids = new Uint32Array(candidates.count);
    }
    for (let position = 0; position < candidates.count; position++) {
      this.weights[position] = takesNewFlows(candidates, position) ? candidates.weights[position] : 0;
      this.ids[position] = candidates.ids[position];
    }
    this.hasMember = fillTable(this.table, this.ids, this.weights);
  }
}

/** The paper's Populate. False where no member has a weight above 0; the table is then left alone. */
export function fillTable(table: Int32Array, ids: Uint32Array, weights: Float64Array): boolean {
  // In id order, so that engines whose lists are ordered differently build the same table.
  const turns = Array.from(ids.keys())
    .filter((position) => weights[position] > 0)
    .sort((a, b) => ids[a] - ids[b] || a - b);
  if (turns.length === 0) return false;
  const greatest = turns.reduce((most, position) => Math.max(most, weights[position]), 0);
  const next = turns.map((position) => mix(ids[position] ^ OFFSET_SEED) % MAGLEV_TABLE_SIZE);
  const skip = turns.map((position) => (mix(ids[position] ^ SKIP_SEED) % (MAGLEV_TABLE_SIZE - 1)) + 1);
  const credit = new Float64Array(turns.length);
  table.fill(-1);
  for (let filled = 0; ; ) {
    for (let turn = 0; turn < turns.length; turn++) {
      credit[turn] += weights[turns[turn]];
      if (credit[turn] < greatest) continue;
      credit[turn] -= greatest;
      let entry = next[turn];
      while (table[entry] >= 0) entry = (entry + skip[turn]) % MAGLEV_TABLE_SIZE;
      table[entry] = turns[turn];
      next[turn] = (entry + skip[turn]) % MAGLEV_TABLE_SIZE;
      if (++filled === MAGLEV_TABLE_SIZE) return true;
    }
  }
}
