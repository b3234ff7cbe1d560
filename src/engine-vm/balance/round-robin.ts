/** The method `round-robin`: each usable member in turn, whatever its load. */
import { type Balancer, type Candidates, takesNewFlows } from './balancer.ts';

export class RoundRobin implements Balancer {
  private last: number;

  constructor(start: number) {
    this.last = start - 1;
  }

  choose(candidates: Candidates, _sourceHash: number, isTrace: boolean): number {
    for (let step = 1; step <= candidates.count; step++) {
      const position = (this.last + step) % candidates.count;
      if (!takesNewFlows(candidates, position)) continue;
      if (!isTrace) this.last = position;
      return position;
    }
    return -1;
  }

  explain(_candidates: Candidates, position: number): string {
    return position < 0 ? 'round-robin: no candidate takes new flows' : 'round-robin: the next in turn';
  }
}
