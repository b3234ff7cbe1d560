/**
 * What a method of balancing by request is: one file a method, one line in registry.ts. It is told of every change, so
 * that a choice need not look at all members: each call costs at most log2(n) steps, and allocates nothing.
 */

/** The members of a pool, by position; none of this changes under a balancer. */
export interface BalancedMembers {
  /** By policy; 0: gets no requests. */
  readonly weights: Float64Array;
  /** How far each is from here; none is where it is left out, as in `weft proxy`. */
  readonly hops?: Float64Array;
  /** 32-bit hashes of what names them, the same in every thread, whatever their order. */
  readonly ids: Uint32Array;
}

export interface RequestBalancer {
  /** What part of its usual requests a member gets from now on: 0 (none; so it is at first) to 1. */
  share(position: number, share: number): void;
  /** So many requests to it are under way now. */
  loaded(position: number, active: number): void;
  /** The head of a response came so long after its request began. Only of methods that go by that. */
  answered?(position: number, ms: number, nowMs: number): void;
  /** The position for the next request, or -1 where nobody takes any. `sourceHash`: of the client's address. */
  choose(sourceHash: number): number;
  /** Takes over what the balancer before has learnt; `from` has the position there of each position here, or -1. */
  adopt(before: RequestBalancer, from: Int32Array): void;
}
