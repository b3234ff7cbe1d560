/** What is known of each member's load: connections from the engines, the rest from its platform. Pure. */
import type { ConnectionReport } from '../state/shared.ts';
import type { Actual } from './actual.ts';
import type { Desired, Member } from './desired.ts';
import type { VmLoad } from './load-reader.ts';
import { isObserved } from './mirror.ts';
import { hostKey } from './world.ts';

/** Null stands for what nobody can say now; it never stands for nothing. */
export interface MemberFigures extends VmLoad {
  /** C: connections that the member handles, over all engines. */
  connections: number | null;
}

/** Nothing is known. */
export const NO_FIGURES: MemberFigures = {
  connections: null,
  cpuPercent: null,
  memoryBytes: null,
  receivedBytesPerSecond: null,
  sentBytesPerSecond: null,
};

/** C: what the member's own engine counts, and what others sent to it where none stands beside it. */
export function connectionsOf(member: string, reports: ReadonlyMap<string, ConnectionReport>): number {
  let count = 0;
  for (const report of reports.values()) count += (report.local[member] ?? 0) + (report.sent[member] ?? 0);
  return count;
}

/** The figures of one member. `carriers` are the engines that carry a service of its pool. */
export function memberFigures(
  member: Member,
  carriers: ReadonlySet<string>,
  desired: Desired,
  actual: Actual,
): MemberFigures {
  const load = actual.loads.get(hostKey(member.cloud, member.vm.id)) ?? NO_FIGURES;
  const isKnown = whyUncounted(member, carriers, desired, actual) === null;
  return { ...load, connections: isKnown ? connectionsOf(member.id, actual.connections) : null };
}

/**
 * Why nobody can say how many connections a member has, or null where somebody can: its own engine counts them all;
 * without one, every engine that may send to it counts its own.
 */
export function whyUncounted(
  member: Member,
  carriers: ReadonlySet<string>,
  desired: Desired,
  actual: Actual,
): string | null {
  if (carriers.size === 0) return 'no engine carries a service of its pool';
  const observer = desired.observations.get(member.id);
  if (observer !== undefined && !isObserved(member.id, desired, actual)) {
    return `engine ${observer} does not observe it yet`;
  }
  const beside = observer ?? (member.isOnShadow ? desired.interceptions.get(member.id) : undefined);
  let counting = 0;
  for (const engine of beside === undefined ? carriers : [beside]) {
    const verdict = actual.engines.get(engine)?.verdict ?? 'absent';
    // An engine that does not work yet has sent nothing to members of others.
    if (beside === undefined && (verdict === 'starting' || verdict === 'absent')) continue;
    if (verdict !== 'alive') return `engine ${engine} is ${verdict}`;
    if (!actual.connections.has(engine)) return `engine ${engine} has not counted yet`;
    counting++;
  }
  return counting === 0 ? 'no engine works yet' : null;
}

/** The figures of every member, by pool and member id. */
export type PoolFigures = ReadonlyMap<string, ReadonlyMap<string, MemberFigures>>;

/** The figures of every member of every pool. */
export function poolFigures(desired: Desired, actual: Actual): PoolFigures {
  const carriers = poolCarriers(desired);
  const pools = new Map<string, Map<string, MemberFigures>>();
  for (const [pool, ids] of desired.pools) {
    const figures = new Map<string, MemberFigures>();
    for (const id of ids) {
      const member = desired.members.get(id);
      if (member) figures.set(id, memberFigures(member, carriers.get(pool) ?? NO_ENGINE, desired, actual));
    }
    pools.set(pool, figures);
  }
  return pools;
}

const NO_ENGINE: ReadonlySet<string> = new Set();

/** Per pool the engines that carry a service which uses it, those left out that rest while their host is maintained. */
export function poolCarriers(desired: Desired): Map<string, Set<string>> {
  const carriers = new Map<string, Set<string>>();
  for (const engine of desired.engines.values()) {
    if (engine.isResting) continue;
    for (const service of engine.services) {
      for (const tier of desired.policies.services.get(service)?.tiers ?? []) {
        carriers.set(tier.pool, (carriers.get(tier.pool) ?? new Set()).add(engine.id));
      }
    }
  }
  return carriers;
}
