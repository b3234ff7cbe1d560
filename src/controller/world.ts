/** The inventories of all clouds, indexed once per round for everything that plans and compiles. */
import type { Host, Inventory, Nic, NicRef, UnfinishedVm, Vm } from '../hypervisor/platform.ts';

/** The name of a shadow segment is the production segment's with this at its end. */
export const SHADOW_SUFFIX = '-weft';

export interface SeatedHost {
  cloud: string;
  host: Host;
}

export interface SeatedVm {
  cloud: string;
  vm: Vm;
  host: Host;
}

/** One NIC of a VM that is not an engine, with where it is seated. */
export interface SeatedNic {
  /** `<cloud>/<vm id>/<nic id>`, the member id of graphs. */
  id: string;
  cloud: string;
  vm: Vm;
  nic: Nic;
  host: Host;
  /** The production segment it is on, or whose shadow it is on; null where it is on neither. */
  production: string | null;
  isOnShadow: boolean;
}

/** A VM with the host it stands on; null where the inventory does not list that host. */
export interface ListedVm {
  cloud: string;
  vm: Vm;
  host: Host | null;
}

export interface World {
  /** By `<cloud>/<host id>`. */
  hosts: ReadonlyMap<string, SeatedHost>;
  /** NICs of VMs that are not engines, by member id. */
  nics: ReadonlyMap<string, SeatedNic>;
  /** VMs that are not engines, by `<cloud>/<vm id>`, on hosts that are listed. */
  vms: ReadonlyMap<string, SeatedVm>;
  /** VMs that bear an ownership mark, by engine id; more than one only where something went wrong. */
  engineVms: ReadonlyMap<string, readonly { cloud: string; vm: Vm }[]>;
  /** Every VM that is listed, engines too, by `<cloud>/<vm id>`. */
  listed: ReadonlyMap<string, ListedVm>;
  /** Who owns an address, engines left out. */
  owners: ReadonlyMap<string, SeatedNic>;
  /** VMs of ours that are being made or were left half made, engines and clones. */
  unfinished: readonly { cloud: string; vm: UnfinishedVm }[];
  /** NICs whose traffic is copied to an engine, by `<cloud>/<engine id>`. */
  mirrors: ReadonlyMap<string, { cloud: string; engine: string; nics: readonly NicRef[] }>;
  /** Clouds that cannot mirror ports. */
  mirrorless: ReadonlySet<string>;
  /** Clouds whose inventory is known. */
  clouds: ReadonlySet<string>;
}

/** Indexes inventories; pure. VMs on a host that the inventory does not list are left out. */
export function indexWorld(inventories: ReadonlyMap<string, Inventory>): World {
  const hosts = new Map<string, SeatedHost>();
  const nics = new Map<string, SeatedNic>();
  const vms = new Map<string, SeatedVm>();
  const listed = new Map<string, ListedVm>();
  const engineVms = new Map<string, { cloud: string; vm: Vm }[]>();
  const owners = new Map<string, SeatedNic>();
  const unfinished: { cloud: string; vm: UnfinishedVm }[] = [];
  const mirrors = new Map<string, { cloud: string; engine: string; nics: readonly NicRef[] }>();
  const mirrorless = new Set<string>();
  for (const [cloud, inventory] of inventories) {
    for (const host of inventory.hosts) hosts.set(hostKey(cloud, host.id), { cloud, host });
    for (const vm of inventory.unfinished ?? []) unfinished.push({ cloud, vm });
    if (!inventory.mirrors) mirrorless.add(cloud);
    for (const { engine, nics: copied } of inventory.mirrors ?? []) {
      mirrors.set(hostKey(cloud, engine), { cloud, engine, nics: copied });
    }
    for (const vm of inventory.vms) {
      const host = hosts.get(hostKey(cloud, vm.host))?.host;
      listed.set(hostKey(cloud, vm.id), { cloud, vm, host: host ?? null });
      if (vm.engine !== null) {
        const list = engineVms.get(vm.engine) ?? [];
        list.push({ cloud, vm });
        engineVms.set(vm.engine, list);
        continue;
      }
      if (!host) continue;
      vms.set(hostKey(cloud, vm.id), { cloud, vm, host });
      for (const nic of vm.nics) {
        const seated = seat(cloud, vm, nic, host);
        nics.set(seated.id, seated);
        for (const address of nic.addresses) if (!owners.has(address)) owners.set(address, seated);
      }
    }
  }
  for (const list of engineVms.values()) list.sort((a, b) => (a.vm.id < b.vm.id ? -1 : 1));
  return {
    hosts,
    nics,
    vms,
    engineVms,
    listed,
    owners,
    unfinished,
    mirrors,
    mirrorless,
    clouds: new Set(inventories.keys()),
  };
}

/** The key of a host in `World.hosts`. */
export function hostKey(cloud: string, host: string): string {
  return `${cloud}/${host}`;
}

/** The member id of a NIC. */
export function nicKey(cloud: string, vm: string, nic: string): string {
  return `${cloud}/${vm}/${nic}`;
}

/** Whether the host has the segment, whole. */
export function hasSegment(host: Host | undefined, name: string | undefined): boolean {
  return host?.segments.some((segment) => segment.name === name && segment.isUnfinished !== true) ?? false;
}

/** The shadow segment of a production segment. */
export function shadowOf(production: string): string {
  return `${production}${SHADOW_SUFFIX}`;
}

function seat(cloud: string, vm: Vm, nic: Nic, host: Host): SeatedNic {
  const role = host.segments.find((segment) => segment.name === nic.segment)?.role;
  // A NIC can sit on a shadow that the host no longer lists (a migration, a removal by hand): the name tells.
  const isOnShadow =
    nic.segment.endsWith(SHADOW_SUFFIX) &&
    nic.segment.length > SHADOW_SUFFIX.length &&
    (role === 'shadow' || role === undefined);
  const production = isOnShadow
    ? nic.segment.slice(0, -SHADOW_SUFFIX.length)
    : role === 'production'
      ? nic.segment
      : null;
  return { id: nicKey(cloud, vm.id, nic.id), cloud, vm, nic, host, production, isOnShadow };
}
