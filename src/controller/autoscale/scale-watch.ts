/**
 * What can only be known by watching: since when the load of a pool points one way, since when the VM of a clone is
 * missing, since when a clone that drains has no connection left. Begins anew with each controller, which then waits
 * longer rather than too short.
 */
import type { Actual } from '../actual.ts';
import type { Desired } from '../desired.ts';
import { hostKey } from '../world.ts';
import { pressureOf } from './decide.ts';
import type { FleetView, Trend } from './fleet-view.ts';
import { surveyClones, surveyPools } from './survey.ts';

type Watched = Pick<FleetView, 'trends' | 'missingSince' | 'idleSince' | 'straySince'>;

export const NOTHING_WATCHED: Watched = {
  trends: new Map(),
  missingSince: new Map(),
  idleSince: new Map(),
  straySince: new Map(),
};

export class ScaleWatch {
  #watched: Watched = NOTHING_WATCHED;

  /** Looks at the world as it is now. */
  observe(desired: Desired, actual: Actual): Watched {
    const { now } = actual;
    const before = this.#watched;
    const trends = new Map<string, Trend>();
    for (const [pool, survey] of surveyPools(desired, actual)) {
      const known = before.trends.get(pool);
      const pressure = pressureOf(survey.autoscale, survey.situation);
      const isLow = pressure.isLow && survey.situation.distrust === null;
      trends.set(pool, {
        highSince: pressure.isHigh ? (known?.highSince ?? now) : null,
        lowSince: isLow ? (known?.lowSince ?? now) : null,
      });
    }
    const missingSince = new Map<string, number>();
    const idleSince = new Map<string, number>();
    for (const { key, record, vm, connections } of surveyClones(desired, actual)) {
      if (!vm && !actual.unreachable.has(record.cloud) && actual.world.clouds.has(record.cloud)) {
        missingSince.set(key, before.missingSince.get(key) ?? now);
      }
      if (
        record.phase === 'draining' &&
        connections === 0 &&
        isToldEverywhere(record.pool, key, desired, actual)
      ) {
        idleSince.set(key, before.idleSince.get(key) ?? now);
      }
    }
    const straySince = new Map<string, number>();
    for (const { cloud, vm } of actual.world.unfinished) {
      if (vm.engine !== null) continue;
      const key = hostKey(cloud, vm.id);
      straySince.set(key, before.straySince.get(key) ?? now);
    }
    this.#watched = { trends, missingSince, idleSince, straySince };
    return this.#watched;
  }
}

/** Whether every engine that may send to a clone has acknowledged that it drains: until then new connections may come. */
function isToldEverywhere(pool: string, key: string, desired: Desired, actual: Actual): boolean {
  const record = actual.fleet.clones.get(key);
  if (!record) return false;
  for (const engine of desired.engines.values()) {
    const state = actual.engines.get(engine.id);
    if (state?.verdict !== 'alive') continue;
    const graph = state.acknowledged;
    if (!graph) return false;
    const index = graph.members.findIndex((member) => member.id.startsWith(`${record.cloud}/${record.vm}/`));
    const entry = graph.pools
      .find(({ name }) => name === pool)
      ?.members.find(({ member }) => member === index);
    if (entry && !entry.isDraining) return false;
  }
  return true;
}
