/** A member's health, as the monitor of its pool sees it. Pure. */
import type { HealthReport } from '../state/shared.ts';
import type { Desired, Member } from './desired.ts';

export type Health = { health: 'up' | 'down' | 'unknown'; reason: string };

/** A member's health as its pool's monitor sees it. */
export function memberHealth(
  pool: string,
  member: Member,
  desired: Desired,
  report: HealthReport | null,
): Health {
  if (desired.policies.pools.get(pool)?.healthMonitors.length === 0) {
    return { health: 'up', reason: 'the pool has no health monitor' };
  }
  const verdict = report?.members[member.id];
  if (!verdict) return { health: 'unknown', reason: 'no engine has probed it yet' };
  return { health: verdict.isUp ? 'up' : 'down', reason: verdict.reason };
}
