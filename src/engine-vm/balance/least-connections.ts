/** The method `least-connections`: the fewest connections over all engines; equals take turns. */
import { type Balancer, type Candidates, takesNewFlows } from './balancer.ts';

export class LeastConnections implements Balancer {
  private last: number;

  constructor(start: number) {
    this.last = start - 1;
  }

  choose(candidates: Candidates, _sourceHash: number, isTrace: boolean): number {
    let best = -1;
    for (let step = 1; step <= candidates.count; step++) {
      // Starting behind the last choice, the first of equals is the next in turn.
      const position = (this.last + step) % candidates.count;
      if (!takesNewFlows(candidates, position)) continue;
      if (best < 0 || candidates.connections[position] < candidates.connections[best]) best = position;
    }
    if (best >= 0 && !isTrace) this.last = best;
    return best;
  }

  explain(candidates: Candidates, position: number): string {
    if (position < 0) return 'least-connections: no candidate takes new flows';
    let equals = 0;
    for (let other = 0; other < candidates.count; other++) {
      if (other === position || !takesNewFlows(candidates, other)) continue;
      if (candidates.connections[other] === candidates.connections[position]) equals++;
    }
    const turn = equals > 0 ? `, in turn with ${equals} equal` : '';
    return `least-connections: fewest connections, C = ${candidates.connections[position]}${turn}`;
  }
}
