/** The platform's inventory, made from the mirror of vCenter's objects: names, paths, segments and roles. */
import { isDeepStrictEqual } from 'node:util';
import type { Host, HostHardware, Nic, UnfinishedVm, Vm } from '../hypervisor/platform.ts';
import {
  type Card,
  type GuestNic,
  listOf,
  type MirroredObject,
  type ObjectMirror,
} from './inventory-objects.ts';
import type { PortGroupMark, VmMark } from './marks.ts';
import type { HintTable } from './network-hints.ts';
import { ENGINE_NICS } from './nic.ts';
import { isConnected, SegmentListing } from './segment-listing.ts';
import { type UplinkSource, uplinkEvidence } from './uplinks.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export interface ListingOptions {
  /** Name of the network that joins engines to the controller. */
  managementNetwork: string;
  /** Custom attribute of hosts that holds the switches above them, outermost first: `spine/tor-a`. */
  uplinkAttribute: string;
  /** Tag category of hosts that names their rack. */
  rackCategory: string;
  /** Where the place of hosts is known from, what counts first before the others. */
  uplinkSources?: readonly UplinkSource[] | undefined;
}

/** What is read beside the watch. */
export interface Beside {
  tags: TagTable;
  ports: PortTable;
  hints: HintTable;
  /** Why there are no hints, or an empty string. */
  hintSilence: string;
}

/** A tag as it hangs on an object. */
export interface AttachedTag {
  category: string;
  name: string;
}

/** Tags by the id of the object. */
export type TagTable = ReadonlyMap<string, readonly AttachedTag[]>;

/** Shadows by `switch/port`: ports whose VLAN was set to that of a shadow. */
export type PortTable = ReadonlyMap<string, PortGroupMark>;

export class InventoryListing {
  /** Hosts on their way into maintenance, as of the next `follow`. */
  evacuating: ReadonlySet<string> = new Set();
  readonly #options: ListingOptions;
  readonly #segments: SegmentListing;
  #hosts: Host[] = [];
  #vms = new Map<string, Vm>();
  #sorted: Vm[] | null = null;
  /** By id: what our mark says is not whole. */
  #unfinished = new Map<string, UnfinishedVm>();
  #attributes = new Map<number, string>();

  constructor(options: ListingOptions) {
    this.#options = options;
    this.#segments = new SegmentListing(options.managementNetwork);
  }

  get hosts(): Host[] {
    return this.#hosts;
  }

  /** In the order in which vCenter made them. */
  get vms(): Vm[] {
    this.#sorted ??= [...this.#vms.values()].sort((a, b) => byId(a.id, b.id));
    return this.#sorted;
  }

  /** VMs of ours that are being imported or cloned, or were left half made. */
  get unfinished(): UnfinishedVm[] {
    return [...this.#unfinished.values()].sort((a, b) => byId(a.id, b.id));
  }

  /** Follows the mirror where `touched` says that it changed (null: anywhere). Answers whether the listing did. */
  follow(mirror: ObjectMirror, beside: Beside, touched: readonly MoRef[] | null): boolean {
    const isLocal = touched?.every((ref) => ref.type === 'VirtualMachine') ?? false;
    if (isLocal) {
      let changed = false;
      for (const { value } of touched ?? []) changed = this.#followVm(value, mirror, beside) || changed;
      return changed;
    }
    this.#attributes = attributeNames(mirror);
    const found = [...mirror.all()]
      .filter((object) => object.ref.type === 'HostSystem')
      .sort((a, b) => byId(a.ref.value, b.ref.value));
    this.#segments.follow(mirror, found);
    const hosts = found.map((object) => this.#host(object, mirror, beside));
    let changed = !isDeepStrictEqual(hosts, this.#hosts);
    this.#hosts = hosts;
    const ids = new Set(this.#vms.keys());
    for (const id of this.#unfinished.keys()) ids.add(id);
    for (const { ref } of mirror.all()) if (ref.type === 'VirtualMachine') ids.add(ref.value);
    for (const id of ids) changed = this.#followVm(id, mirror, beside) || changed;
    return changed;
  }

  #followVm(id: string, mirror: ObjectMirror, beside: Beside): boolean {
    const object = mirror.get(id);
    const before = this.#vms.get(id);
    const half = object && unfinishedVm(object);
    const isHalfSame = isDeepStrictEqual(this.#unfinished.get(id), half);
    if (half) this.#unfinished.set(id, half);
    else this.#unfinished.delete(id);
    const after = object && this.#vm(object, mirror, beside);
    if (isDeepStrictEqual(before, after)) return !isHalfSame;
    this.#sorted = null;
    if (after) this.#vms.set(id, after);
    else this.#vms.delete(id);
    return true;
  }

  #host({ ref, properties }: MirroredObject, mirror: ObjectMirror, beside: Beside): Host {
    const above = ancestors(properties.parent, mirror);
    const cluster = above[0]?.ref.type === 'ClusterComputeResource' ? textOf(above[0].properties.name) : '';
    const { uplinkAttribute, rackCategory, uplinkSources } = this.#options;
    const datacenter = above.find((one) => one.ref.type === 'Datacenter');
    const evidence = uplinkEvidence(
      {
        datacenter: textOf(datacenter?.properties.name) || 'datacenter',
        cluster: textOf(above[0]?.properties.name) || 'cluster',
        attribute: {
          name: uplinkAttribute,
          value: this.#attributesOf(properties).get(uplinkAttribute) ?? '',
        },
        rack: {
          category: rackCategory,
          tag: beside.tags.get(ref.value)?.find((tag) => tag.category === rackCategory)?.name ?? null,
        },
        heard: beside.hints.get(ref.value),
        silence: beside.hintSilence,
      },
      uplinkSources,
    );
    return {
      id: ref.value,
      name: textOf(properties.name) || ref.value,
      isConnected: isConnected(properties),
      isInMaintenance: properties['runtime.inMaintenanceMode'] === true,
      isEvacuating: this.evacuating.has(ref.value) && properties['runtime.inMaintenanceMode'] !== true,
      uplinkPath: evidence.find(({ path }) => path !== null)?.path ?? [],
      uplinkEvidence: evidence,
      cluster,
      hardware: hardwareOf(properties),
      segments: this.#segments.of(ref.value, listOf<MoRef>(properties.network), mirror),
    };
  }

  /** Undefined for templates, and for VMs that vCenter is still making or cannot read. */
  #vm({ ref, properties }: MirroredObject, mirror: ObjectMirror, { tags, ports }: Beside): Vm | undefined {
    const host = properties['runtime.host'] as MoRef | undefined;
    const mark = properties['config.annotation'] as VmMark | null | undefined;
    // What is still being imported or cloned is not there yet.
    if (!host || properties['config.template'] === true || mark?.isComplete === false) return undefined;
    const engine = mark?.engine ?? null;
    const guest = listOf<GuestNic>(properties['guest.net']);
    const cards = listOf<Card>(properties['config.hardware.device']);
    return {
      id: ref.value,
      name: unescapeName(textOf(properties.name) || ref.value),
      host: host.value,
      power: properties['runtime.powerState'] === 'poweredOn' ? 'on' : 'off',
      folder: folderOf(properties.parent, mirror),
      tags: tagsOf(ref, tags),
      attributes: Object.fromEntries([...this.#attributesOf(properties)].filter(([, value]) => value !== '')),
      engine,
      ...(mark && mark.cloneOf !== null && mark.self === ref.value ? { isClone: true } : {}),
      nics: cards.map((card, index) => ({
        id: (engine !== null && ENGINE_NICS[index]) || String(card.key),
        mac: card.mac,
        segment: this.#segments.segmentOf(card, mirror, ports),
        isConnected: card.isConnected,
        addresses: addressesOf(card, guest),
      })),
    } satisfies Vm & { nics: Nic[] };
  }

  #attributesOf(properties: Record<string, unknown>): Map<string, string> {
    const values = new Map<string, string>();
    for (const one of listOf<Vim<'CustomFieldValue'>>(properties.customValue)) {
      const name = this.#attributes.get(one.key);
      if (name !== undefined && one.$type === 'CustomFieldStringValue') values.set(name, one.value);
    }
    return values;
  }
}

/** A VM whose mark says that it is not whole. */
function unfinishedVm({ ref, properties }: MirroredObject): UnfinishedVm | undefined {
  const mark = properties['config.annotation'] as VmMark | null | undefined;
  if (mark?.isComplete !== false) return undefined;
  return {
    id: ref.value,
    name: unescapeName(textOf(properties.name) || ref.value),
    host: (properties['runtime.host'] as MoRef | undefined)?.value ?? '',
    engine: mark.engine,
  };
}

/** Tags by name and as `category=name`. */
function tagsOf(ref: MoRef, tags: TagTable): string[] {
  const all = new Set<string>();
  for (const { category, name } of tags.get(ref.value) ?? []) all.add(name).add(`${category}=${name}`);
  return [...all].sort();
}

/** Null for a host that vCenter has never reached. */
function hardwareOf(properties: Record<string, unknown>): HostHardware | null {
  const number = (path: string): number => Number(properties[`summary.hardware.${path}`] ?? 0);
  if (properties['summary.hardware.numCpuCores'] === undefined) return null;
  return {
    model: textOf(properties['summary.hardware.model']),
    cpuCores: number('numCpuCores'),
    cpuMhz: number('cpuMhz'),
    memoryBytes: number('memorySize'),
  };
}

function attributeNames(mirror: ObjectMirror): Map<number, string> {
  const names = new Map<number, string>();
  for (const { ref, properties } of mirror.all()) {
    if (ref.type !== 'CustomFieldsManager') continue;
    for (const field of listOf<Vim<'CustomFieldDef'>>(properties.field)) names.set(field.key, field.name);
  }
  return names;
}

/** From the parent upwards. */
function ancestors(parent: unknown, mirror: Pick<ObjectMirror, 'get'>): MirroredObject[] {
  const found: MirroredObject[] = [];
  let at = mirror.get((parent as MoRef | undefined)?.value ?? '');
  // Bounded: a peer could tell of a circle.
  while (at && found.length < 64) {
    found.push(at);
    at = mirror.get((at.properties.parent as MoRef | undefined)?.value ?? '');
  }
  return found;
}

/** `/datacenter/folder/folder`, without the hidden folder that holds all VMs of a datacenter. */
export function folderOf(parent: unknown, mirror: Pick<ObjectMirror, 'get'>): string {
  const above = ancestors(parent, mirror);
  const top = above.findIndex((one) => one.ref.type === 'Datacenter');
  const shown = above.filter((_one, index) => top < 0 || index !== top - 1);
  return `/${shown
    .map((one) => textOf(one.properties.name))
    .reverse()
    .join('/')}`;
}

function addressesOf(card: Card, guest: readonly GuestNic[]): string[] {
  const reports = guest.filter((nic) => nic.card === card.key);
  const found = reports.length > 0 ? reports : guest.filter((nic) => nic.mac !== '' && nic.mac === card.mac);
  return [...new Set(found.flatMap((nic) => nic.addresses))];
}

/** vCenter writes the three characters that its paths need as escapes. */
export function unescapeName(name: string): string {
  return name.replace(/%(2f|5c|25)/gi, (_whole, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `vm-9` before `vm-10`. */
function byId(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}
