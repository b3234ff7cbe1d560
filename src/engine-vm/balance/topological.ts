/**
 * The method `topological`: the least topological load L = C x (1 + H), where C is the member's connections over
 * all engines and H its hops from this engine. Among equal loads the fewest hops win, then the choice rotates.
 */
import { type Balancer, type Candidates, takesNewFlows } from './balancer.ts';

/** L, the topological load of the candidate at `position`. */
export function topologicalLoad(candidates: Candidates, position: number): number {
  return candidates.connections[position] * (1 + candidates.hops[position]);
}

export class Topological implements Balancer {
  private last: number;

  constructor(start: number) {
    this.last = start - 1;
  }

  choose(candidates: Candidates, _sourceHash: number, isTrace: boolean): number {
    let best = -1;
    let bestLoad = 0;
    for (let step = 1; step <= candidates.count; step++) {
      // Starting behind the last choice, the first of equals is the next in turn.
      const position = (this.last + step) % candidates.count;
      if (!takesNewFlows(candidates, position)) continue;
      const load = topologicalLoad(candidates, position);
      if (
        best < 0 ||
        load < bestLoad ||
        (load === bestLoad && candidates.hops[position] < candidates.hops[best])
      ) {
        best = position;
        bestLoad = load;
      }
    }
    if (best >= 0 && !isTrace) this.last = best;
    return best;
  }

  explain(candidates: Candidates, position: number): string {
    if (position < 0) return 'topological: no candidate takes new flows';
    const load = topologicalLoad(candidates, position);
    let equals = 0;
    let isNearest = true;
    for (let other = 0; other < candidates.count; other++) {
      if (other === position || !takesNewFlows(candidates, other)) continue;
      if (topologicalLoad(candidates, other) !== load) continue;
      if (candidates.hops[other] === candidates.hops[position]) equals++;
      else isNearest = false;
    }
    const terms = `least L = C x (1 + H) = ${candidates.connections[position]} x (1 + ${candidates.hops[position]}) = ${load}`;
    if (equals > 0) return `topological: ${terms}, in turn with ${equals} equal by load and hops`;
    return isNearest ? `topological: ${terms}` : `topological: ${terms}, fewest hops among equal loads`;
  }
}
