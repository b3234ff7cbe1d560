/**
 * The method `source-hash`: a client address always gets the same member, on every engine, without a table.
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005): each
 * member draws u in (0,1) from hash(client, member), its score is -weight / ln u, the highest score wins. When a
 * member goes, only its own clients move; when one comes, it takes only its share.
 */
import { type Balancer, type Candidates, takesNewFlows } from './balancer.ts';
import { mix } from './hash.ts';

export class SourceHash implements Balancer {
  choose(candidates: Candidates, sourceHash: number, _isTrace: boolean): number {
    let best = -1;
    let bestScore = 0;
    for (let position = 0; position < candidates.count; position++) {
      if (!takesNewFlows(candidates, position)) continue;
      const u = (mix(sourceHash ^ mix(candidates.ids[position] + 0x9e3779b9)) + 0.5) / 0x1_0000_0000;
      const score = -candidates.weights[position] / Math.log(u);
      // Equal scores are decided by the id, so that engines with differently ordered lists still agree.
      if (
        best < 0 ||
        score > bestScore ||
        (score === bestScore && candidates.ids[position] > candidates.ids[best])
      ) {
        best = position;
        bestScore = score;
      }
    }
    return best;
  }

  explain(_candidates: Candidates, position: number): string {
    return position < 0
      ? 'source-hash: no candidate takes new flows'
      : "source-hash: the highest weighted rendezvous score for the client's address";
  }
}
