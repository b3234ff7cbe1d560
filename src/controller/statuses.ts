/** What the controller observes of each policy object: `status/<kind>/<name>`, and the states of engines. Pure. */
import type { PathFigures } from '../policy/answers.ts';
import type { AutoscaleStatus } from '../policy/autoscale.ts';
import type { CloudStatus } from '../policy/cloud.ts';
import type { EngineGroupStatus } from '../policy/engine-group.ts';
import type { PoolStatus } from '../policy/pool.ts';
import type { ServiceAlert, VirtualServiceSpec, VirtualServiceStatus } from '../policy/virtual-service.ts';
import type { HealthReport } from '../state/shared.ts';
import { type Actual, isForwarding } from './actual.ts';
import { prefixMatcher } from './address-range.ts';
import { isNear } from './announce.ts';
import type { Desired, Member, WantedEngine } from './desired.ts';
import { engineFor } from './interception.ts';
import { NO_FIGURES, type PoolFigures } from './member-figures.ts';
import { memberHealth } from './member-health.ts';
import { isObserved } from './mirror.ts';
import { hostKey } from './world.ts';

export type EngineState =
  | 'maintenance'
  | 'deploying'
  | 'enrolling'
  | 'ready'
  | 'observing'
  | 'silent'
  | 'bypassed'
  | 'held';

const NO_NEWS: LoadNews = { figures: new Map(), scaling: new Map(), paths: new Map() };

/** What changes all the time: it may be some seconds old, for statuses are durable. */
export interface LoadNews {
  figures: PoolFigures;
  scaling: ReadonlyMap<string, AutoscaleStatus>;
  /** Who forwarded the packets, by engine group. */
  paths: ReadonlyMap<string, PathFigures>;
}

/** By store key. */
export function compileStatuses(
  desired: Desired,
  actual: Actual,
  health: (pool: string) => HealthReport | null,
  { figures, scaling, paths }: LoadNews = NO_NEWS,
): Map<string, unknown> {
  const statuses = new Map<string, unknown>();
  const say = (kind: string, name: string): string =>
    [
      ...new Set(
        desired.shortcomings.filter((s) => s.kind === kind && s.name === name).map((s) => s.message),
      ),
    ].join('; ');
  for (const name of desired.policies.clouds.keys()) {
    statuses.set(`status/cloud/${name}`, cloudStatus(name, actual));
  }
  for (const name of desired.policies.groups.keys()) {
    const engines = [...desired.engines.values()].filter((engine) => engine.group === name);
    const status: EngineGroupStatus = {
      engines: engines.length,
      ready: engines.filter((engine) => actual.engines.get(engine.id)?.isReady === true).length,
      path: paths.get(name) ?? null,
      message: say('engine-group', name),
    };
    statuses.set(`status/engine-group/${name}`, status);
  }
  for (const [name, ids] of desired.pools) {
    const report = health(name);
    const members = ids.flatMap((id): PoolStatus['members'] => {
      const member = desired.members.get(id);
      return member
        ? [
            {
              vm: member.vm.name,
              host: member.host.name,
              ...memberHealth(name, member, desired, report),
              ...(figures.get(name)?.get(id) ?? NO_FIGURES),
            },
          ]
        : [];
    });
    const scale = scaling.get(name) ?? null;
    const message =
      say('pool', name) ||
      (scale?.state === 'held' ? scale.message : '') ||
      (members.length === 0 ? 'no VM that is powered on fulfils its selector' : '') ||
      (desired.usedPools.has(name) ? '' : 'no enabled virtual service uses it');
    statuses.set(`status/pool/${name}`, {
      members,
      monitor: report?.monitor ?? null,
      autoscale: scale,
      message,
    } satisfies PoolStatus);
  }
  for (const name of desired.policies.services.keys()) {
    statuses.set(
      `status/virtual-service/${name}`,
      serviceStatus(name, desired, actual, say('virtual-service', name)),
    );
  }
  for (const { kind, name, message } of desired.policies.unreadable) {
    statuses.set(`status/${kind}/${name}`, { message });
  }
  return statuses;
}

/** What an engine is doing, in the words of the API. */
export function engineState(engine: WantedEngine, desired: Desired, actual: Actual): EngineState {
  const state = actual.engines.get(engine.id);
  const isInLine = (desired.nicsOf.get(engine.id) ?? []).some(
    (id) => actual.world.nics.get(id)?.isOnShadow === true,
  );
  if (engine.isResting) return 'maintenance';
  const isClosed = desired.policies.groups.get(engine.group)?.failMode === 'closed';
  switch (state?.verdict) {
    case 'alive':
      return engine.isMirror && state.acknowledged?.engine.mode === 'mirror' ? 'observing' : 'ready';
    case 'headless':
      return 'silent';
    case 'silent':
      return isInLine ? (isClosed ? 'held' : 'silent') : 'bypassed';
    case 'starting':
      return isInLine && isClosed ? 'held' : 'enrolling';
    default:
      return isInLine && isClosed ? 'held' : 'deploying';
  }
}

/** Whether a member's traffic passes an engine now. */
export function isIntercepted(member: Member, desired: Desired, actual: Actual): boolean {
  const engine = desired.interceptions.get(member.id);
  return engine !== undefined && member.isOnShadow && isForwarding(actual.engines.get(engine));
}

/** What a service is doing; `message` says what keeps it from serving. */
export function serviceStatus(
  name: string,
  desired: Desired,
  actual: Actual,
  shortcoming: string,
): VirtualServiceStatus {
  const spec = desired.policies.services.get(name);
  if (!spec?.isEnabled) return { state: 'disabled', engines: [], alerts: [], message: '' };
  const concerned = [...desired.engines.values()].filter((engine) => engine.services.includes(name));
  const engines = concerned.map((engine) => ({
    engine: engine.id,
    host: engine.hostName,
    graphRevision: actual.engines.get(engine.id)?.graphRevision ?? 0,
    state: engineState(engine, desired, actual),
  }));
  const broken = engines.filter(
    ({ state }) => state === 'silent' || state === 'bypassed' || state === 'held',
  );
  const waiting: string[] = [];
  for (const engine of concerned.filter((one) => !one.isResting)) {
    const state = actual.engines.get(engine.id);
    if (state?.verdict !== 'alive') continue;
    const isKnown = state.acknowledged?.services.some((service) => service.name === name) ?? false;
    if (!isKnown) waiting.push(`engine ${engine.id} has not taken the service yet`);
  }
  const pending = pendingMembers(name, desired, actual);
  const unobserved = unobservedMembers(name, desired, actual);
  const onlyObserves = concerned.some((engine) => engine.isMirror);
  const noMembers = spec.tiers.filter((tier) => (desired.pools.get(tier.pool) ?? []).length === 0);
  const reasons = [
    shortcoming,
    ...unheardAddresses(spec, concerned, desired, actual).map(
      (address) =>
        `no engine of the service is in the network of ${address}: nobody announces it there; let a host of that network run a member`,
    ),
    ...unheardByRouters(spec, concerned, desired),
    ...otherPorts(spec, desired),
    ...twiceInChain(spec, desired),
    ...noMembers.map((tier) => `pool ${tier.pool} of tier ${tier.name} has no member`),
    ...broken.map(
      ({ engine, state }) => `engine ${engine} is ${state}: ${actual.engines.get(engine)?.reason ?? ''}`,
    ),
  ].filter((reason) => reason !== '');
  const unready = engines.filter(({ state }) => state === 'deploying' || state === 'enrolling');
  const progress = [
    ...unready.map(({ engine, state }) => `engine ${engine} is ${state}`),
    ...waiting,
    ...(pending > 0 ? [`${pending} members are not in line yet`] : []),
    ...(unobserved > 0 ? [`${unobserved} members are not observed yet`] : []),
  ];
  const state =
    reasons.length > 0
      ? 'degraded'
      : progress.length > 0
        ? 'deploying'
        : onlyObserves
          ? 'observing'
          : 'serving';
  const ids = concerned.map(({ id }) => id);
  const alerts = [...floodAlerts(name, ids, actual), ...fullTableAlerts(name, ids, actual)];
  const warnings = alerts.map((alert) => warningOf(alert, spec));
  return { state, engines, alerts, message: [...reasons, ...progress, ...warnings].join('; ') };
}

function warningOf({ type, engine, hasCookies }: ServiceAlert, spec: VirtualServiceSpec): string {
  if (type === 'flood')
    return `engine ${engine} limits a flood of new connections${hasCookies ? ', and answers with SYN cookies' : ''}`;
  const what = spec.whenTableFull === 'hash' ? 'are forwarded by hash and not counted' : 'are dropped';
  return `the flow table of engine ${engine} is full, new flows ${what}: raise maxFlows of engine-group ${spec.engineGroup}`;
}

function fullTableAlerts(service: string, engines: readonly string[], actual: Actual): ServiceAlert[] {
  return engines.flatMap((engine): ServiceAlert[] => {
    const since = timeOf(actual.fullTables?.get(engine)?.[service]?.since);
    return since === null ? [] : [{ type: 'table-full', engine, since }];
  });
}

/** The time of an engine's report, null where it makes no sense. */
function timeOf(since: unknown): string | null {
  if (typeof since !== 'number' || !Number.isSafeInteger(since) || Math.abs(since) > 8.64e15) return null;
  return new Date(since).toISOString();
}

function floodAlerts(service: string, engines: readonly string[], actual: Actual): ServiceAlert[] {
  return engines.flatMap((engine): ServiceAlert[] => {
    const flood = actual.floods?.get(engine)?.[service];
    const since = timeOf(flood?.since);
    if (since === null) return [];
    const hasCookies = typeof flood?.answered === 'number' && flood.answered > 0;
    return [{ type: 'flood', engine, since, ...(hasCookies ? { hasCookies } : {}) }];
  });
}

/** Addresses that engines are to announce, and none is where they would be heard: routers part them. */
function unheardAddresses(
  spec: VirtualServiceSpec,
  concerned: readonly WantedEngine[],
  desired: Desired,
  actual: Actual,
): string[] {
  const ranges = desired.policies.groups.get(spec.engineGroup)?.dataAddresses ?? [];
  if (spec.attraction === 'bgp') return [];
  if (concerned.length === 0 || !ranges.some(({ gateway }) => gateway !== undefined)) return [];
  const isHeard = isNear(desired);
  return spec.tiers
    .flatMap(({ addresses }) => addresses)
    .filter((one) => !actual.world.owners.has(one) && !concerned.some(({ id }) => isHeard(one, id)));
}

/** Why nobody tells routers of the service's addresses, though it asks for that. */
function unheardByRouters(
  spec: VirtualServiceSpec,
  concerned: readonly WantedEngine[],
  desired: Desired,
): string[] {
  if (spec.attraction !== 'bgp') return [];
  const bgp = desired.policies.groups.get(spec.engineGroup)?.bgp;
  if (!bgp) {
    return [
      `attraction is bgp, and engine-group ${spec.engineGroup} names no routers: give it bgp with localAs and peers`,
    ];
  }
  const isAnyOnLink = concerned.some(({ addresses }) =>
    bgp.peers.some(({ address }) => prefixMatcher(addresses)(address)),
  );
  if (concerned.length === 0 || isAnyOnLink) return [];
  return [
    `no router of bgp.peers of engine-group ${spec.engineGroup} is in the network of an engine of the service`,
  ];
}

/** Tiers whose members would get packets for a port that they do not serve: with DSR nobody changes it. */
function otherPorts(spec: VirtualServiceSpec, desired: Desired): string[] {
  if (spec.delivery !== 'dsr') return [];
  return spec.tiers.flatMap(({ name, port, pool }) => {
    const served = desired.policies.pools.get(pool)?.port;
    if (served === undefined || served === port) return [];
    return [
      `delivery is dsr: pool ${pool} serves port ${served}, so the port of tier ${name} must be ${served} too`,
    ];
  });
}

/** VMs in two tiers that hand packets on to each other: a frame to such a one names no tier. */
function twiceInChain(spec: VirtualServiceSpec, desired: Desired): string[] {
  return spec.tiers.flatMap((tier, index) => {
    const reasons: string[] = [];
    const own = new Set(desired.pools.get(tier.pool) ?? []);
    for (let at = index - 1; at >= 0 && spec.tiers[at]?.handsOn !== undefined; at--) {
      const earlier = spec.tiers[at]!;
      for (const id of desired.pools.get(earlier.pool) ?? []) {
        if (!own.has(id)) continue;
        const vm = desired.members.get(id)?.vm.name ?? id;
        reasons.push(
          `${vm} is a member of tiers ${earlier.name} and ${tier.name}: packets handed on reach it as the latter only; take it out of pool ${earlier.pool} or ${tier.pool}`,
        );
      }
    }
    return reasons;
  });
}

function unobservedMembers(service: string, desired: Desired, actual: Actual): number {
  let count = 0;
  for (const tier of desired.policies.services.get(service)?.tiers ?? []) {
    for (const id of desired.pools.get(tier.pool) ?? []) {
      const engine = desired.engines.get(desired.observations.get(id) ?? '');
      if (engine && !engine.isResting && !isObserved(id, desired, actual)) count++;
    }
  }
  return count;
}

function pendingMembers(service: string, desired: Desired, actual: Actual): number {
  let count = 0;
  for (const tier of desired.policies.services.get(service)?.tiers ?? []) {
    for (const id of desired.pools.get(tier.pool) ?? []) {
      const member = desired.members.get(id);
      if (
        member &&
        engineFor(member, desired, actual) !== undefined &&
        !isIntercepted(member, desired, actual)
      )
        count++;
    }
  }
  return count;
}

function cloudStatus(name: string, actual: Actual): CloudStatus {
  const failure = actual.unreachable.get(name);
  const lacks = (actual.lacks.get(name) ?? []).map(({ privilege, purpose }) => `${privilege} (${purpose})`);
  let hosts = 0;
  for (const key of actual.world.hosts.keys()) if (key.startsWith(hostKey(name, ''))) hosts++;
  const vms = new Set<string>();
  for (const nic of actual.world.nics.values()) if (nic.cloud === name) vms.add(nic.vm.id);
  return {
    state:
      failure !== undefined || !actual.world.clouds.has(name)
        ? 'unreachable'
        : actual.foreign.has(name)
          ? 'foreign'
          : actual.held.has(name)
            ? 'held'
            : 'connected',
    message:
      failure ??
      actual.foreign.get(name) ??
      actual.held.get(name) ??
      [
        ...(lacks.length > 0 ? [`its user lacks ${lacks.join(', ')}`] : []),
        ...(actual.warnings.get(name) ?? []),
      ].join('; '),
    hosts,
    vms: vms.size,
  };
}
