/** Compiles policies and inventory into the service graph of each engine. Pure. */
import { createHash } from 'node:crypto';
import { hopsBetween } from '../hypervisor/topology.ts';
import type { EngineGroupSpec } from '../policy/engine-group.ts';
import type {
  GraphComponent,
  GraphMember,
  GraphPeer,
  GraphPool,
  GraphService,
  GraphTier,
  ServiceGraph,
} from '../policy/graph.ts';
import { patternMatcher } from '../policy/name-pattern.ts';
import { poolsOf, type VirtualServiceSpec } from '../policy/virtual-service.ts';
import { type Actual, type GraphContent, isForwarding, type Placement } from './actual.ts';
import { prefixMatcher } from './address-range.ts';
import { announcersOf, isNear } from './announce.ts';
import { leavingVms } from './autoscale/fleet-view.ts';
import { type Desired, type Member, rangesFor } from './desired.ts';
import { SetTable, TagIndex } from './firewall-sets.ts';
import { canaryOf, isBehind, isReachedThrough } from './interception.ts';
import { isObserving } from './mirror.ts';
import { tlsOf } from './tls-names.ts';
import { hostKey, type SeatedHost } from './world.ts';

/** An engine that exists: placed, keyed, and with a VM on its host whose `out` NIC is known. */
interface LiveEngine {
  placement: Placement;
  mac: string;
  seated: SeatedHost;
}

/**
 * The graph of every engine that exists, by engine id. An engine that no service concerns any more gets a graph
 * without services, so that it bridges until its last NIC has left.
 */
export function compileGraphs(desired: Desired, actual: Actual): Map<string, GraphContent> {
  const engines = liveEngines(actual);
  const carriers = serviceCarriers(desired, engines);
  const graphs = new Map<string, GraphContent>();
  const tags = new TagIndex(actual.world);
  for (const [id, engine] of engines) {
    const graph = compileGraph(id, engine, engines, carriers, tags, desired, actual);
    if (graph) graphs.set(id, graph);
  }
  return graphs;
}

/** Equal for equal content, whatever made it. */
export function graphHash(content: GraphContent): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('base64');
}

/** The engines that exist and stand where they were placed, by id, sorted. */
function liveEngines(actual: Actual): Map<string, LiveEngine> {
  const engines = new Map<string, LiveEngine>();
  for (const id of [...actual.placements.keys()].sort()) {
    const placement = actual.placements.get(id);
    const seated = placement && actual.world.hosts.get(hostKey(placement.cloud, placement.host));
    const vm = actual.world.engineVms
      .get(id)
      ?.find((found) => found.cloud === placement?.cloud && found.vm.host === placement.host)?.vm;
    const mac = vm?.nics.find((nic) => nic.id === 'out')?.mac;
    if (placement && seated && mac !== undefined) engines.set(id, { placement, mac, seated });
  }
  return engines;
}

/** Per service the engines that carry it, in id order. */
function serviceCarriers(desired: Desired, engines: ReadonlyMap<string, LiveEngine>): Map<string, string[]> {
  const carriers = new Map<string, string[]>();
  for (const engine of desired.engines.values()) {
    if (!engines.has(engine.id)) continue;
    for (const service of engine.services) {
      const list = carriers.get(service);
      if (list) list.push(engine.id);
      else carriers.set(service, [engine.id]);
    }
  }
  return carriers;
}

function compileGraph(
  id: string,
  engine: LiveEngine,
  engines: ReadonlyMap<string, LiveEngine>,
  carriers: ReadonlyMap<string, string[]>,
  tags: TagIndex,
  desired: Desired,
  actual: Actual,
): GraphContent | null {
  const { placement } = engine;
  const group = desired.policies.groups.get(placement.group);
  const groupKey = actual.groupKeys.get(placement.group);
  if (!group || groupKey === undefined) return null;
  const services = (desired.engines.get(id)?.services ?? []).flatMap((name) => {
    const spec = desired.policies.services.get(name);
    return spec && canCompile(spec, desired) ? [{ name, spec }] : [];
  });
  const poolNames = [...new Set(services.flatMap(({ spec }) => poolsOf(spec)))].sort();
  const memberIds = [...new Set(poolNames.flatMap((pool) => servedBy(pool, desired)))].sort();
  const memberIndex = new Map(memberIds.map((member, index) => [member, index]));
  const sets = new SetTable(desired, tags, memberIds);
  const compiled = services.map(({ name, spec }) =>
    compileService(name, spec, poolNames, carriers.get(name) ?? [], sets, desired, actual),
  );
  const canary = canaryOf(id, desired, actual);
  const isMirror = isObserving(id, desired, actual);
  const leaving = leavingVms(actual.fleet);
  const peers: GraphPeer[] = [];
  for (const [peerId, peer] of engines) {
    if (peerId === id || peer.placement.group !== placement.group) continue;
    peers.push({
      id: peerId,
      host: peer.seated.host.name,
      mac: peer.mac,
      dataAddresses: peer.placement.addresses,
    });
  }
  return {
    engine: {
      id,
      host: engine.seated.host.name,
      mac: engine.mac,
      failMode: group.failMode,
      mode: isMirror ? 'mirror' : 'in-line',
      dataAddresses: placement.addresses,
      ...crossingOf(group, engine.seated.host),
      ...bgpOf(group, placement.addresses),
      probeIntervalMs: group.probeIntervalMs,
      deadAfterMs: group.deadAfterMs,
      // The kernel's program forwards, and copies are not to be forwarded.
      fastPath: isMirror ? 'off' : group.fastPath,
      maxFlows: group.maxFlows,
      timeouts: group.timeouts,
      groupKey,
    },
    peers,
    members: memberIds.flatMap((memberId) => {
      const member = desired.members.get(memberId);
      if (!member) return [];
      const compiled = compileMember(member, id, engine, canary, engines, desired, actual);
      if (!isMirror) return [compiled];
      return [{ ...compiled, engine: desired.observations.get(memberId) === id ? id : null }];
    }),
    pools: poolNames.map((name) => {
      const pool = compilePool(name, desired, memberIndex, leaving);
      // An engine that only observes sends nothing, monitors' questions neither.
      return isMirror ? { ...pool, healthMonitors: [] } : pool;
    }),
    services: compiled,
    ...(sets.addressSets.length > 0 ? { addressSets: sets.addressSets } : {}),
    ...(sets.memberSets.length > 0 ? { memberSets: sets.memberSets } : {}),
    ...tlsOf(services, poolNames, desired.policies),
  };
}

/** What an engine needs to reach others by a router; nothing where no range names one. */
function crossingOf(
  group: EngineGroupSpec,
  host: { id: string; name: string },
): Pick<ServiceGraph['engine'], 'gateways' | 'siteMtu'> {
  const gateways = rangesFor(group, host).flatMap(({ gateway }) => (gateway === undefined ? [] : [gateway]));
  return gateways.length > 0 ? { gateways, siteMtu: group.siteMtu } : {};
}

/** The routers in the engine's own networks. */
function bgpOf(group: EngineGroupSpec, addresses: readonly string[]): Pick<ServiceGraph['engine'], 'bgp'> {
  const isOnLink = prefixMatcher(addresses);
  const peers = (group.bgp?.peers ?? []).filter(({ address }) => isOnLink(address));
  return group.bgp && peers.length > 0 ? { bgp: { ...group.bgp, peers } } : {};
}

/** Those that are not to be switched off; all, where none would be left. */
function stayingOf(engines: readonly string[], desired: Desired): string[] {
  const staying = engines.filter((id) => desired.engines.get(id)?.isResting !== true);
  return staying.length > 0 ? staying : [...engines];
}

/** The API keeps references whole; a store edited by hand may not. Half a service is worse than none. */
function canCompile(spec: VirtualServiceSpec, desired: Desired): boolean {
  return (
    poolsOf(spec).every((pool) => desired.policies.pools.has(pool)) &&
    spec.components.every((c) => c.type !== 'firewall' || desired.policies.firewalls.has(c.policy))
  );
}

function compileMember(
  member: Member,
  engineId: string,
  engine: LiveEngine,
  canary: string | null,
  engines: ReadonlyMap<string, LiveEngine>,
  desired: Desired,
  actual: Actual,
): GraphMember {
  const isLocal = member.cloud === engine.placement.cloud && member.host.id === engine.placement.host;
  return {
    id: member.id,
    vm: member.vm.name,
    host: member.host.name,
    mac: member.nic.mac,
    ipv4: member.ipv4,
    ipv6: member.ipv6,
    hops: isLocal ? 0 : hopsBetween(engine.seated.host.uplinkPath, member.host.uplinkPath),
    engine: engineBefore(member, engineId, engine, isLocal, canary, engines, desired, actual),
  };
}

function engineBefore(
  member: Member,
  engineId: string,
  engine: LiveEngine,
  isLocal: boolean,
  canary: string | null,
  engines: ReadonlyMap<string, LiveEngine>,
  desired: Desired,
  actual: Actual,
): string | null {
  if (isLocal && member.production === engine.placement.production) {
    return isBehind(engineId, member, canary, desired, actual) ? engineId : null;
  }
  const other = desired.interceptions.get(member.id);
  // Only engines of one group know each other's key and MAC; to all others the member looks like any VM.
  if (other === undefined || engines.get(other)?.placement.group !== engine.placement.group) return null;
  return isReachedThrough(other, member, desired, actual) ? other : null;
}

/** Members of a pool, and those that drain because it has let them go. */
function servedBy(pool: string, desired: Desired): string[] {
  return [...(desired.pools.get(pool) ?? []), ...(desired.leaving.get(pool)?.keys() ?? [])];
}

function compilePool(
  name: string,
  desired: Desired,
  memberIndex: ReadonlyMap<string, number>,
  leaving: ReadonlySet<string>,
): GraphPool {
  const spec = desired.policies.pools.get(name);
  const weights = (spec?.weights ?? []).map((entry) => ({
    fits: patternMatcher(entry.names),
    weight: entry.weight,
  }));
  const drains = (spec?.drain ?? []).map(patternMatcher);
  const isLeaving = ({ id, cloud, vm }: Member): boolean =>
    leaving.has(hostKey(cloud, vm.id)) || desired.leaving.get(name)?.has(id) === true;
  return {
    name,
    port: spec?.port ?? 0,
    healthMonitors: spec?.healthMonitors ?? [],
    ...(spec?.tls === undefined ? {} : { tls: spec.tls }),
    members: servedBy(name, desired).flatMap((id) => {
      const index = memberIndex.get(id);
      const found = desired.members.get(id);
      if (index === undefined || found === undefined) return [];
      const vm = found.vm.name;
      const weight = weights.find((entry) => entry.fits(vm))?.weight ?? 1;
      return [{ member: index, weight, isDraining: isLeaving(found) || drains.some((fits) => fits(vm)) }];
    }),
  };
}

/** Engines that are to be switched off hand over what they announce, if there is one that can take it. */
function restingLast(order: readonly string[], desired: Desired, actual: Actual): string[] {
  const canTake = (id: string): boolean =>
    desired.engines.get(id)?.isResting === false && isForwarding(actual.engines.get(id));
  if (!order.some(canTake)) return [...order];
  const rests = (id: string): boolean => desired.engines.get(id)?.isResting === true;
  return [...order.filter((id) => !rests(id)), ...order.filter(rests)];
}

function compileService(
  name: string,
  spec: VirtualServiceSpec,
  poolNames: readonly string[],
  carriers: readonly string[],
  sets: SetTable,
  desired: Desired,
  actual: Actual,
): GraphService {
  for (const { fromSets } of spec.http?.accessRules?.rules ?? []) for (const set of fromSets) sets.use(set);
  return {
    name,
    protocol: spec.protocol,
    ...(spec.delivery === 'dsr' ? { delivery: spec.delivery } : {}),
    ...(spec.returnPath === 'engine' ? { returnPath: spec.returnPath } : {}),
    ...(spec.synCookies === 'off' ? {} : { synCookies: spec.synCookies }),
    ...(spec.whenTableFull === 'hash' ? { whenTableFull: spec.whenTableFull } : {}),
    ...(spec.http === undefined ? {} : { http: spec.http }),
    tiers: spec.tiers.map((tier): GraphTier => {
      const announced = tier.addresses.filter((address) => !actual.world.owners.has(address));
      const isRouted = spec.attraction === 'bgp';
      const announcers = announcersOf(announced, carriers, isRouted ? () => false : isNear(desired));
      for (const [address, order] of announcers) announcers.set(address, restingLast(order, desired, actual));
      // Engines that are to be switched off tell no router any more.
      const tellers = isRouted ? stayingOf(carriers, desired) : [];
      return {
        name: tier.name,
        port: tier.port,
        pool: poolNames.indexOf(tier.pool),
        ...(tier.handsOn ? { handsOn: tier.handsOn } : {}),
        addresses: tier.addresses.map((address) => {
          const order = announcers.get(address) ?? [];
          if (!isRouted || order.length === 0) return { address, announcers: order };
          return { address, announcers: tellers, attraction: 'bgp' };
        }),
      };
    }),
    components: spec.components.map((component): GraphComponent => {
      if (component.type === 'load-balancer') {
        return { type: 'load-balancer', method: component.method, persistence: component.persistence };
      }
      const firewall = desired.policies.firewalls.get(component.policy);
      return {
        type: 'firewall',
        policy: component.policy,
        rules: (firewall?.rules ?? []).map((rule) => sets.compile(rule)),
        defaultAction: firewall?.defaultAction ?? 'deny',
      };
    }),
  };
}
