/**
 * What ought to be: from policies and inventory to members, the engines that are concerned, and the NICs to
 * intercept. Pure.
 */
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import type { EngineGroupSpec } from '../policy/engine-group.ts';
import { poolsOf } from '../policy/virtual-service.ts';
import { isResting, type Placement } from './actual.ts';
import { allocateAddress, isInRange } from './address-range.ts';
import type { Policies } from './policies.ts';
import { criteriaOf, memberNic } from './selector.ts';
import { hostKey, type SeatedHost, type SeatedNic, shadowOf, type World } from './world.ts';

/** A VM that serves a pool, by the NIC it serves on. */
export interface Member extends SeatedNic {
  ipv4: string | null;
  ipv6: string | null;
}

export interface WantedEngine {
  id: string;
  group: string;
  cloud: string;
  host: string;
  hostName: string;
  production: string;
  shadow: string;
  mgmt: string;
  /** Own addresses on the production network, with prefix length. */
  addresses: string[];
  /** Whether it only observes copies of its members' traffic. */
  isMirror: boolean;
  /** Services that concern it, sorted. */
  services: string[];
  /** Its host is in maintenance or on its way there: it is switched off as soon as nothing depends on it. */
  isResting: boolean;
}

/** Something that keeps an object from being as its policy says; shown in its status. */
export interface Shortcoming {
  kind: string;
  name: string;
  message: string;
}

export interface Desired {
  policies: Policies;
  /** By engine id, sorted. */
  engines: ReadonlyMap<string, WantedEngine>;
  /** Every member of a pool, powered on, and those that leave one, by member id, sorted. */
  members: ReadonlyMap<string, Member>;
  /** Pool name to ids of its members, sorted. */
  pools: ReadonlyMap<string, readonly string[]>;
  /** Pool name to those that it has let go and that drain (departures.ts); they are not in `pools`. */
  leaving: Leaving;
  /** Pools that an enabled service uses. */
  usedPools: ReadonlySet<string>;
  /** Member id to the engine its NIC shall pass. VMs that are off stay as they are and are not newly intercepted. */
  interceptions: ReadonlyMap<string, string>;
  /** The same the other way round: engine id to member ids, sorted. */
  nicsOf: ReadonlyMap<string, readonly string[]>;
  /** Member id to the engine that shall observe a copy of its traffic. None of them is in `interceptions`. */
  observations: ReadonlyMap<string, string>;
  shortcomings: readonly Shortcoming[];
}

/** Pool name to members that are none by their criteria any more, with the time since when. */
export type Leaving = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Where nobody is on the way out. */
export const NOBODY: Leaving = new Map();

/**
 * Derives what ought to be. Placements make it stable: an engine that exists keeps its id, addresses and segment. One that
 * no placement knows keeps the addresses that it was found with (`found`, by engine): its neighbours know it by them.
 */
export function desire(
  policies: Policies,
  world: World,
  placements: ReadonlyMap<string, Placement>,
  leaving: Leaving = NOBODY,
  found: ReadonlyMap<string, readonly string[]> = new Map(),
): Desired {
  const shortcomings: Shortcoming[] = policies.unreadable.map((object) => ({ ...object }));
  const serviceAddresses = new Set<string>();
  const used = new Set<string>();
  for (const service of policies.services.values()) {
    for (const tier of service.tiers) {
      for (const address of tier.addresses) serviceAddresses.add(address);
    }
    if (service.isEnabled) for (const pool of poolsOf(service)) used.add(pool);
  }
  const candidates = chooseMembers(policies, world, serviceAddresses, leaving);
  const members = new Map(
    [...candidates.members].filter(([, member]) => member.vm.power === 'on').sort(byKey),
  );
  const pools = new Map(
    [...candidates.pools].map(([pool, ids]) => [
      pool,
      ids.filter((id) => members.has(id) && !leaving.get(pool)?.has(id)).sort(),
    ]),
  );

  const seats = chooseSeats(policies, world, placements, candidates, shortcomings);
  const engines = placeEngines(policies, world, placements, found, seats, serviceAddresses, shortcomings);
  const interceptions = new Map<string, string>();
  const observations = new Map<string, string>();
  for (const engine of engines.values()) {
    for (const service of engine.services) {
      const spec = policies.services.get(service);
      for (const pool of spec === undefined ? [] : poolsOf(spec)) {
        for (const id of candidates.pools.get(pool) ?? []) {
          const member = candidates.members.get(id);
          if (member?.cloud !== engine.cloud || member.host.id !== engine.host) continue;
          if (member.production === engine.production) {
            (engine.isMirror ? observations : interceptions).set(id, engine.id);
          } else {
            shortcomings.push({
              kind: 'pool',
              name: pool,
              message: `${member.vm.name} is on segment ${member.nic.segment}, but engine ${engine.id} stands on ${engine.production}: it ${engine.isMirror ? 'is not observed' : 'is served without an engine beside it'}`,
            });
          }
        }
      }
    }
  }
  tellMirrors(policies, world, engines, shortcomings);
  const nicsOf = new Map<string, string[]>();
  for (const id of [...interceptions.keys()].sort()) {
    const engine = interceptions.get(id) ?? '';
    const nics = nicsOf.get(engine);
    if (nics) nics.push(id);
    else nicsOf.set(engine, [id]);
  }
  return {
    policies,
    engines,
    members,
    pools,
    leaving,
    usedPools: used,
    interceptions,
    nicsOf,
    observations,
    shortcomings,
  };
}

/** The engine id for a host: `<group>-<host>` as a DNS label, with a hash where that is not unique or not a label. */
export function engineId(
  group: string,
  cloud: string,
  host: string,
  isTaken: (id: string) => boolean,
): string {
  const label = `${group}-${host}`.toLowerCase();
  if (label.length <= 63 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label) && !isTaken(label)) return label;
  const hash = createHash('sha256')
    .update(JSON.stringify([group, cloud, host]))
    .digest('hex')
    .slice(0, 8);
  const stem = label
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, 54)
    .replace(/^-+|-+$/g, '');
  return `${stem}-${hash}`;
}

/** What a group of mirrors does not do, where somebody might wait for it. */
function tellMirrors(
  policies: Policies,
  world: World,
  engines: ReadonlyMap<string, WantedEngine>,
  shortcomings: Shortcoming[],
): void {
  for (const [name, group] of policies.groups) {
    if (group.mode !== 'mirror' || !world.mirrorless.has(group.cloud)) continue;
    const message = `ERR_HYPERVISOR_UNSUPPORTED: cloud ${group.cloud} cannot mirror ports, so nothing is observed: set mode to in-line`;
    shortcomings.push({ kind: 'engine-group', name, message });
  }
  const observed = new Set(
    [...engines.values()].filter((one) => one.isMirror).flatMap((one) => one.services),
  );
  for (const name of observed) {
    const tiers = policies.services.get(name)?.tiers ?? [];
    const nobodys = tiers.flatMap(({ addresses }) => addresses).filter((one) => !world.owners.has(one));
    if (nobodys.length === 0) continue;
    const message = `nobody answers at ${[...new Set(nobodys)].join(', ')}: no VM owns it, and engines of mode mirror announce nothing`;
    shortcomings.push({ kind: 'virtual-service', name, message });
  }
}

interface Candidates {
  /** Members whether on or off. */
  members: Map<string, Member>;
  pools: Map<string, string[]>;
}

function chooseMembers(
  policies: Policies,
  world: World,
  serviceAddresses: ReadonlySet<string>,
  leaving: Leaving,
): Candidates {
  const byVm = new Map<string, SeatedNic[]>();
  for (const nic of world.nics.values()) {
    if (nic.production === null) continue;
    const key = hostKey(nic.cloud, nic.vm.id);
    const list = byVm.get(key);
    if (list) list.push(nic);
    else byVm.set(key, [nic]);
  }
  const members = new Map<string, Member>();
  const pools = new Map<string, string[]>();
  const add = (nic: SeatedNic, ids: string[]): void => {
    ids.push(nic.id);
    if (members.has(nic.id)) return;
    members.set(nic.id, { ...nic, ...pickAddresses(nic.nic.addresses, serviceAddresses) });
  };
  for (const [name, pool] of policies.pools) {
    const criteria = criteriaOf(pool.members);
    const ids: string[] = [];
    for (const nics of byVm.values()) {
      const vm = nics[0]?.vm;
      if (!vm || nics[0]?.cloud !== pool.cloud) continue;
      const nic = memberNic(criteria, vm, nics);
      if (nic) add(nic, ids);
    }
    for (const id of leaving.get(name)?.keys() ?? []) {
      const nic = world.nics.get(id);
      if (nic && !ids.includes(id)) add(nic, ids);
    }
    pools.set(name, ids);
  }
  return { members, pools };
}

/** A service address that the member also holds is not where it serves, unless it has no other. */
function pickAddresses(
  addresses: readonly string[],
  serviceAddresses: ReadonlySet<string>,
): { ipv4: string | null; ipv6: string | null } {
  const pick = (isFamily: (text: string) => boolean, isLocal: (text: string) => boolean): string | null => {
    const usable = addresses.filter((address) => isFamily(address) && !isLocal(address));
    return usable.find((address) => !serviceAddresses.has(address)) ?? usable[0] ?? null;
  };
  return {
    ipv4: pick(isIPv4, (text) => text.startsWith('169.254.')),
    ipv6: pick(isIPv6, (text) => /^fe[89ab]/i.test(text)),
  };
}

/** One engine to be: a group on a host, the production segment it stands on, and the services that concern it. */
interface Seat {
  group: string;
  cloud: string;
  host: string;
  seated: SeatedHost;
  production: string;
  services: Set<string>;
  placement: Placement | undefined;
}

function chooseSeats(
  policies: Policies,
  world: World,
  placements: ReadonlyMap<string, Placement>,
  candidates: Candidates,
  shortcomings: Shortcoming[],
): Seat[] {
  const placed = new Map([...placements.values()].map((p) => [`${p.group}/${hostKey(p.cloud, p.host)}`, p]));
  const wanted = new Map<
    string,
    { services: Set<string>; segments: Map<string, number>; isRunning: boolean }
  >();
  for (const [name, service] of [...policies.services].sort(byKey)) {
    const group = policies.groups.get(service.engineGroup);
    if (!service.isEnabled || !group) continue;
    for (const pool of poolsOf(service)) {
      for (const id of candidates.pools.get(pool) ?? []) {
        const member = candidates.members.get(id);
        if (!member || member.cloud !== group.cloud || member.production === null) continue;
        const { host } = member;
        if (service.hosts && !service.hosts.includes(host.name) && !service.hosts.includes(host.id)) continue;
        const key = `${service.engineGroup}/${hostKey(member.cloud, host.id)}`;
        const seat = wanted.get(key) ?? { services: new Set(), segments: new Map(), isRunning: false };
        seat.services.add(name);
        seat.segments.set(member.production, (seat.segments.get(member.production) ?? 0) + 1);
        if (member.vm.power === 'on') seat.isRunning = true;
        wanted.set(key, seat);
      }
    }
  }
  const seats: Seat[] = [];
  for (const [key, { services, segments, isRunning }] of wanted) {
    const [group = '', ...rest] = key.split('/');
    const seated = world.hosts.get(rest.join('/'));
    const placement = placed.get(key);
    // A VM that is switched off for a moment keeps the engine that is there, but asks for no new one.
    if (!seated || (!isRunning && !placement)) continue;
    const [most] = [...segments].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const production =
      placement && segments.has(placement.production) ? placement.production : (most?.[0] ?? '');
    seats.push({
      group,
      cloud: seated.cloud,
      host: seated.host.id,
      seated,
      production,
      services,
      placement,
    });
  }
  seats.push(...keptSeats(policies, world, placements, wanted));
  // Engines that exist come first, so that neither a new group nor a new host displaces them.
  seats.sort(
    (a, b) =>
      Number(b.placement !== undefined) - Number(a.placement !== undefined) ||
      compare(a.group, b.group) ||
      compare(a.host, b.host),
  );
  return refuseConflicts(policies, seats, shortcomings);
}

/** Engines on hosts in maintenance, and for a while afterwards: nothing runs beside them, and they are not removed. */
function keptSeats(
  policies: Policies,
  world: World,
  placements: ReadonlyMap<string, Placement>,
  wanted: ReadonlyMap<string, unknown>,
): Seat[] {
  const seats: Seat[] = [];
  for (const placement of placements.values()) {
    const { group, cloud, host, production, rest } = placement;
    const seated = world.hosts.get(hostKey(cloud, host));
    if (!seated || wanted.has(`${group}/${hostKey(cloud, host)}`)) continue;
    const isMeant = (hosts: readonly string[] | undefined): boolean =>
      !hosts || hosts.includes(seated.host.name) || hosts.includes(host);
    const ofGroup = [...policies.services]
      .filter(([, one]) => one.isEnabled && one.engineGroup === group && isMeant(one.hosts))
      .map(([name]) => name);
    if (ofGroup.length === 0 || !(rest || isResting(seated.host))) continue;
    // Until another one has taken over what it announces, it goes on with it.
    const services = new Set(isResting(seated.host) ? ofGroup : []);
    seats.push({ group, cloud, host, seated, production, services, placement });
  }
  return seats;
}

/** Two engines between the same two segments would be a loop, so a segment of a host belongs to one group. */
function refuseConflicts(policies: Policies, seats: Seat[], shortcomings: Shortcoming[]): Seat[] {
  const holders = new Map<string, Seat>();
  const counts = new Map<string, number>();
  return seats.filter((seat) => {
    const refuse = (message: string): false => {
      shortcomings.push({ kind: 'engine-group', name: seat.group, message: `ERR_NO_CAPACITY: ${message}` });
      for (const name of seat.services) {
        shortcomings.push({ kind: 'virtual-service', name, message: `ERR_NO_CAPACITY: ${message}` });
      }
      return false;
    };
    const { host } = seat.seated;
    const segment = `${hostKey(seat.cloud, seat.host)}/${seat.production}`;
    const holder = holders.get(segment);
    if (holder) {
      return refuse(
        `segment ${seat.production} of host ${host.name} is carried by engine group ${holder.group}: put the services into one group`,
      );
    }
    const count = counts.get(seat.group) ?? 0;
    const most = policies.groups.get(seat.group)?.maxEngines ?? 0;
    if (count >= most) {
      return refuse(`host ${host.name} gets no engine, because the group may have no more than ${most}`);
    }
    if (!seat.placement && (!host.isConnected || isResting(host))) {
      return refuse(
        `host ${host.name} gets no engine while it is ${host.isConnected ? 'in maintenance' : 'disconnected'}`,
      );
    }
    if (!host.segments.some((candidate) => candidate.role === 'management')) {
      return refuse(`host ${host.name} has no management segment for an engine`);
    }
    if (!host.segments.some((c) => c.name === seat.production && c.role === 'production')) {
      return refuse(`host ${host.name} has no production segment ${seat.production}`);
    }
    holders.set(segment, seat);
    counts.set(seat.group, count + 1);
    return true;
  });
}

function placeEngines(
  policies: Policies,
  world: World,
  placements: ReadonlyMap<string, Placement>,
  found: ReadonlyMap<string, readonly string[]>,
  seats: readonly Seat[],
  serviceAddresses: ReadonlySet<string>,
  shortcomings: Shortcoming[],
): Map<string, WantedEngine> {
  const engines = new Map<string, WantedEngine>();
  const taken = new Set([...placements.values()].flatMap((p) => p.addresses.map(bare)));
  const foundElsewhere = new Set([...found.values()].flat().map(bare));
  const ids = new Set(placements.keys());
  for (const seat of seats) {
    const group = policies.groups.get(seat.group);
    if (!group) continue;
    const isTaken = (address: string): boolean =>
      taken.has(address) || world.owners.has(address) || serviceAddresses.has(address);
    const ranges = rangesFor(group, seat.seated.host);
    const { host } = seat.seated;
    const id = seat.placement?.engine ?? engineId(seat.group, seat.cloud, host.name, (c) => ids.has(c));
    const present = seat.placement?.addresses ?? (found.get(id) ?? []).filter((one) => !isTaken(bare(one)));
    const addresses = allocate(ranges, present, (one) => isTaken(one) || foundElsewhere.has(one));
    if (!addresses || addresses.length === 0) {
      const message = addresses
        ? `ERR_NO_CAPACITY: no range of dataAddresses of engine group ${seat.group} is for host ${seat.seated.host.name}: name it in one`
        : `ERR_NO_CAPACITY: no data address is left in engine group ${seat.group} for host ${seat.seated.host.name}: widen dataAddresses`;
      shortcomings.push({ kind: 'engine-group', name: seat.group, message });
      for (const name of seat.services) shortcomings.push({ kind: 'virtual-service', name, message });
      continue;
    }
    for (const address of addresses) taken.add(bare(address));
    ids.add(id);
    engines.set(id, {
      id,
      group: seat.group,
      cloud: seat.cloud,
      host: seat.host,
      hostName: host.name,
      production: seat.production,
      shadow: shadowOf(seat.production),
      mgmt: host.segments.find((segment) => segment.role === 'management')?.name ?? '',
      addresses,
      isMirror: group.mode === 'mirror',
      services: [...seat.services].sort(),
      isResting: isResting(host),
    });
  }
  return new Map([...engines].sort(byKey));
}

/** The ranges that engines on a host use. */
export function rangesFor(
  group: EngineGroupSpec,
  host: { id: string; name: string },
): EngineGroupSpec['dataAddresses'] {
  return group.dataAddresses.filter(
    ({ hosts }) => !hosts || hosts.includes(host.name) || hosts.includes(host.id),
  );
}

/** What the engine has where it still fits the ranges, else new ones; null where a range is full. */
function allocate(
  ranges: EngineGroupSpec['dataAddresses'],
  present: readonly string[],
  isTaken: (address: string) => boolean,
): string[] | null {
  const addresses: string[] = [];
  for (const range of ranges) {
    const address =
      present.find((candidate) => isInRange(candidate, range)) ??
      allocateAddress(range, (candidate) => isTaken(candidate) || addresses.map(bare).includes(candidate));
    if (address === null) return null;
    addresses.push(address);
  }
  return addresses;
}

function bare(address: string): string {
  return address.split('/')[0] ?? address;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return compare(a[0], b[0]);
}
