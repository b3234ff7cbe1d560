/**
 * How long members have been without an engine in front of them. A member that is bypassed is usually in line again in
 * a few seconds, and its connections go on then; those that wait for longer are given up.
 */
import { type CompiledGraph, PLACE_NO_ENGINE } from './compiled-graph.ts';

/** How long connections to a bypassed member wait for its engine. */
export const BYPASS_WAIT_MS = 10_000;

export class Bypasses {
  private since = new Map<string, number>();
  /** By member of the graph in force, monotonic milliseconds. */
  private times = new Float64Array(0);

  /** A new graph is in force. */
  load(graph: CompiledGraph, nowMs: number): void {
    const since = new Map<string, number>();
    this.times = Float64Array.from(graph.source.members, ({ id }, member) => {
      if (graph.memberPlace[member] !== PLACE_NO_ENGINE) return Number.NEGATIVE_INFINITY;
      const time = this.since.get(id) ?? nowMs;
      since.set(id, time);
      return time;
    });
    this.since = since;
  }

  /** Whether a connection to a member (index) that has no engine may still be brought to it by one. */
  isWorthWaiting(member: number, nowMs: number): boolean {
    return nowMs - this.times[member] < BYPASS_WAIT_MS;
  }
}
