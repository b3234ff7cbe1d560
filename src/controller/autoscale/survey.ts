/** What there is of a pool that scales: its members and clones, their load, and whether that can be relied on. Pure. */
import type { UnfinishedVm } from '../../hypervisor/platform.ts';
import type { AutoscaleSpec } from '../../policy/autoscale.ts';
import { patternMatcher } from '../../policy/name-pattern.ts';
import type { PoolSpec } from '../../policy/pool.ts';
import type { Actual } from '../actual.ts';
import type { Desired, Member } from '../desired.ts';
import { memberFigures, poolCarriers } from '../member-figures.ts';
import { type Health, memberHealth } from '../member-health.ts';
import { hostKey, type SeatedVm } from '../world.ts';
import type { Situation } from './decide.ts';
import type { CloneRecord } from './fleet.ts';
import { isLeaving } from './fleet-view.ts';

/** A clone on record, with what the inventory and the monitors say of it. */
export interface SurveyedClone {
  /** `<pool>/<name>`. */
  key: string;
  record: CloneRecord;
  vm: SeatedVm | null;
  unfinished: UnfinishedVm | null;
  /** Null while it is none: off, without a NIC in place, or not chosen by the selector. */
  member: Member | null;
  health: Health;
  /** C; null where nobody can say. */
  connections: number | null;
}

export interface Survey {
  pool: string;
  spec: PoolSpec;
  autoscale: AutoscaleSpec;
  situation: Situation;
  /** Of this pool, in the order of their numbers. */
  clones: readonly SurveyedClone[];
  /** Members that Weft did not make, powered on, by member id. */
  others: readonly Member[];
}

/** Every pool that scales, by name. */
export function surveyPools(desired: Desired, actual: Actual): Map<string, Survey> {
  const surveys = new Map<string, Survey>();
  const scaling = [...desired.policies.pools].filter(([, spec]) => spec.autoscale !== undefined);
  if (scaling.length === 0) return surveys;
  const carriers = poolCarriers(desired);
  const clones = surveyClones(desired, actual, carriers);
  for (const [pool, spec] of scaling) {
    const { autoscale } = spec;
    if (!autoscale) continue;
    const own = clones.filter(({ record }) => record.pool === pool && record.cloud === spec.cloud);
    const engines = carriers.get(pool) ?? new Set<string>();
    surveys.set(pool, survey(pool, spec, autoscale, own, engines, desired, actual));
  }
  return surveys;
}

/** Every clone on record, also of pools that are gone. */
export function surveyClones(
  desired: Desired,
  actual: Actual,
  carriers: ReadonlyMap<string, ReadonlySet<string>> = poolCarriers(desired),
): SurveyedClone[] {
  const records = [...actual.fleet.clones];
  if (records.length === 0) return [];
  const byName = new Map<string, SeatedVm>();
  if (records.some(([, { vm }]) => vm === null)) {
    for (const seated of actual.world.vms.values()) byName.set(hostKey(seated.cloud, seated.vm.name), seated);
  }
  const unfinished = new Map<string, UnfinishedVm>();
  for (const { cloud, vm } of actual.world.unfinished) {
    if (vm.engine === null) unfinished.set(hostKey(cloud, vm.name), vm);
  }
  const members = new Map<string, Member>();
  for (const member of desired.members.values()) members.set(hostKey(member.cloud, member.vm.id), member);
  return records
    .map(([key, record]): SurveyedClone => {
      const name = hostKey(record.cloud, record.clone.name);
      // Its name was nobody's when it was put on record, so whoever bears it before it has an id is it.
      const vm =
        record.vm === null
          ? (byName.get(name) ?? null)
          : (actual.world.vms.get(hostKey(record.cloud, record.vm)) ?? null);
      const member = vm ? (members.get(hostKey(record.cloud, vm.vm.id)) ?? null) : null;
      const isOfPool = member !== null && (desired.pools.get(record.pool) ?? []).includes(member.id);
      const engines = carriers.get(record.pool) ?? new Set<string>();
      return {
        key,
        record,
        vm,
        unfinished: unfinished.get(name) ?? null,
        member: isOfPool ? member : null,
        health: isOfPool
          ? memberHealth(record.pool, member, desired, actual.health.get(record.pool) ?? null)
          : { health: 'unknown', reason: whyNoMember(record, vm) },
        connections: isOfPool ? memberFigures(member, engines, desired, actual).connections : null,
      };
    })
    .sort((a, b) => numberOf(a) - numberOf(b) || (a.key < b.key ? -1 : 1));
}

function survey(
  pool: string,
  spec: PoolSpec,
  autoscale: AutoscaleSpec,
  clones: readonly SurveyedClone[],
  engines: ReadonlySet<string>,
  desired: Desired,
  actual: Actual,
): Survey {
  const owned = new Map(clones.flatMap((clone) => (clone.vm ? [[clone.vm.vm.id, clone] as const] : [])));
  const drains = spec.drain.map(patternMatcher);
  const report = actual.health.get(pool) ?? null;
  const others: Member[] = [];
  const serving: Situation['serving'][number][] = [];
  for (const id of desired.pools.get(pool) ?? []) {
    const member = desired.members.get(id);
    if (!member) continue;
    const clone = owned.get(member.vm.id);
    if (!clone) others.push(member);
    if (clone && isLeaving(clone.record)) continue;
    if (drains.some((fits) => fits(member.vm.name))) continue;
    if (clone && clone.record.phase !== 'ready') continue;
    if (memberHealth(pool, member, desired, report).health !== 'up') continue;
    const { connections, cpuPercent } = memberFigures(member, engines, desired, actual);
    serving.push({ connections, cpuPercent });
  }
  const state = actual.fleet.states.get(pool);
  const trend = actual.fleet.trends.get(pool);
  const since = (time: number | null | undefined, none: number): number =>
    time === null || time === undefined ? none : Math.max(0, actual.now - time);
  const staying = clones.filter(({ record }) => !isLeaving(record));
  return {
    pool,
    spec,
    autoscale,
    clones,
    others,
    situation: {
      size: others.length + staying.length,
      coming: staying.filter(({ record }) => record.phase !== 'ready').length,
      leaving: clones.length - staying.length,
      serving,
      distrust: distrust(pool, spec, engines, desired, actual),
      highForMs: since(trend?.highSince, 0),
      lowForMs: since(trend?.lowSince, 0),
      sinceOutMs: since(state?.lastOutAt, Number.POSITIVE_INFINITY),
      sinceInMs: since(state?.lastInAt, Number.POSITIVE_INFINITY),
    },
  };
}

/** Why the figures of a pool cannot be relied on now, or null. */
function distrust(
  pool: string,
  spec: PoolSpec,
  engines: ReadonlySet<string>,
  desired: Desired,
  actual: Actual,
): string | null {
  const unreachable = actual.unreachable.get(spec.cloud);
  if (unreachable !== undefined) return `cloud ${spec.cloud} does not answer: ${unreachable}`;
  if (!actual.isSettled) return 'the controller has just started';
  if (!desired.usedPools.has(pool)) return 'no enabled virtual service uses the pool';
  for (const engine of engines) {
    const state = actual.engines.get(engine);
    if (state?.verdict !== 'alive') return `engine ${engine} is ${state?.verdict ?? 'absent'}`;
    if (!actual.connections.has(engine)) return `engine ${engine} has not counted its connections yet`;
  }
  if (spec.healthMonitors.length > 0 && !actual.health.has(pool)) return 'nobody has probed its members yet';
  return null;
}

function whyNoMember(record: CloneRecord, seated: SeatedVm | null): string {
  if (!seated) return record.vm === null ? 'its VM is being made' : 'its VM is not in the inventory';
  const { vm } = seated;
  if (vm.power !== 'on') return 'it is off';
  if (vm.nics.every((nic) => nic.addresses.length === 0)) return 'its guest has no address yet';
  return 'the selector of the pool does not choose it yet';
}

/** The number at the end of a clone's name. */
function numberOf({ record }: SurveyedClone): number {
  return Number(/-(\d+)$/.exec(record.clone.name)?.[1] ?? 0);
}
