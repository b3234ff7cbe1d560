/**
 * What a balancing method is: a choice among candidates. One file per method, one line in registry.ts
 * (docs/adding-a-balancer.md).
 */

/** The members of one tier as parallel arrays; refreshed in place before each choice. */
export interface Candidates {
  readonly count: number;
  /** Index into the graph's members. */
  readonly members: Int32Array;
  /** C: connections over all engines, this engine's own choices that no report contains yet included. */
  readonly connections: Float64Array;
  /** H: hops from this engine. */
  readonly hops: Float64Array;
  readonly weights: Float64Array;
  /** 1 where new flows may go: up, not draining, reachable in the packet's address family. */
  readonly usable: Uint8Array;
  /** 32-bit hash of each member's id, the same on every engine. */
  readonly ids: Uint32Array;
}

export interface Balancer {
  /**
   * Position of the choice in the candidates, or -1 where none is usable. `sourceHash` is a 32-bit hash of the
   * client's address, the same on every engine. Allocates nothing. `isTrace`: choose, but remember nothing.
   */
  choose(candidates: Candidates, sourceHash: number, isTrace: boolean): number;
  /** One sentence for `weft explain`: by which rule the choice at `position` was made. */
  explain(candidates: Candidates, position: number): string;
}

/** Whether a method may choose the candidate at `position`: usable, and not of weight 0. */
export function takesNewFlows(candidates: Candidates, position: number): boolean {
  return candidates.usable[position] === 1 && candidates.weights[position] > 0;
}
