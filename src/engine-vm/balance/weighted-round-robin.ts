/**
 * The method `weighted-round-robin`: each member's share of new flows is its weight over the sum of weights, spread
 * smoothly (weights 5, 1, 1 give a a b a c a a, never five in a row at the end). This is the smooth weighted
 * round-robin of nginx (src/http/ngx_http_upstream_round_robin.c): each round every member's credit grows by its
 * weight, the richest is chosen and pays the sum.
 */
import { type Balancer, type Candidates, takesNewFlows } from './balancer.ts';

export class WeightedRoundRobin implements Balancer {
  private credit = new Float64Array(0);

  choose(candidates: Candidates, _sourceHash: number, isTrace: boolean): number {
    // The set of candidates changes only with a new graph.
    if (this.credit.length !== candidates.count) this.credit = new Float64Array(candidates.count);
    const credit = this.credit;
    let best = -1;
    let bestCredit = 0;
    let total = 0;
    for (let position = 0; position < candidates.count; position++) {
      if (!takesNewFlows(candidates, position)) continue;
      const grown = credit[position] + candidates.weights[position];
      total += candidates.weights[position];
      if (!isTrace) credit[position] = grown;
      if (best < 0 || grown > bestCredit) {
        best = position;
        bestCredit = grown;
      }
    }
    if (best >= 0 && !isTrace) credit[best] -= total;
    return best;
  }

  explain(candidates: Candidates, position: number): string {
    if (position < 0) return 'weighted-round-robin: no candidate takes new flows';
    let total = 0;
    for (let other = 0; other < candidates.count; other++) {
      if (takesNewFlows(candidates, other)) total += candidates.weights[other];
    }
    return `weighted-round-robin: the next in turn, its share of new flows is ${candidates.weights[position]} of ${total}`;
  }
}
