/** What planners see of clones and sizes: what is on record, and what was watched since the controller started. */
import type { CloneRecord, ScaleState } from './fleet.ts';

export interface FleetView {
  /** By `<pool>/<clone>`. */
  clones: ReadonlyMap<string, CloneRecord>;
  /** By pool. */
  states: ReadonlyMap<string, ScaleState>;
  /** By pool. */
  trends: ReadonlyMap<string, Trend>;
  /** By `<pool>/<clone>`: since when its VM is missing from the inventory. */
  missingSince: ReadonlyMap<string, number>;
  /** By `<pool>/<clone>`, of clones that drain: since when no connection is left. */
  idleSince: ReadonlyMap<string, number>;
  /** By `<cloud>/<vm id>`: since when a half-made clone is listed that is not on record. */
  straySince: ReadonlyMap<string, number>;
}

/** Which way the load of a pool has pointed without a break, and since when; null where it does not. */
export interface Trend {
  highSince: number | null;
  lowSince: number | null;
}

/** The phases in which a clone is on its way out: it is given no new connections. */
export function isLeaving(record: CloneRecord): boolean {
  return record.phase === 'draining' || record.phase === 'removing';
}

/** Ids of VMs that leave, by `<cloud>/<vm id>`. */
export function leavingVms(fleet: FleetView): Set<string> {
  const ids = new Set<string>();
  for (const record of fleet.clones.values()) {
    if (isLeaving(record) && record.vm !== null) ids.add(`${record.cloud}/${record.vm}`);
  }
  return ids;
}
