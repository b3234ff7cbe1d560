/**
 * What is watched of each vCenter object, and the little that is kept of it: a mirror that update sets are applied to.
 */
import { isDeepStrictEqual } from 'node:util';
import { readPortGroupMark, readVmMark } from './marks.ts';
import { type EthernetCard, nicsOf, type Plug, plugOf } from './nic.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** Properties that the filter watches, by type. */
export const WATCHED: Record<string, readonly string[]> = {
  Folder: ['name', 'parent'],
  Datacenter: ['name', 'parent'],
  ComputeResource: ['name', 'parent'],
  ClusterComputeResource: ['name', 'parent'],
  HostSystem: [
    'name',
    'parent',
    'runtime.connectionState',
    'runtime.inMaintenanceMode',
    'recentTask',
    'network',
    'customValue',
    'configManager.networkSystem',
    'summary.hardware.model',
    'summary.hardware.numCpuCores',
    'summary.hardware.cpuMhz',
    'summary.hardware.memorySize',
  ],
  VirtualMachine: [
    'name',
    'parent',
    'runtime.host',
    'runtime.powerState',
    'config.template',
    'config.hardware.device',
    'config.annotation',
    'guest.net',
    'customValue',
  ],
  Network: ['name'],
  OpaqueNetwork: ['name'],
  DistributedVirtualPortgroup: [
    'name',
    'key',
    'tag',
    'config.description',
    'config.distributedVirtualSwitch',
  ],
  CustomFieldsManager: ['field'],
};

/** An object of the mirror: its properties by path, reduced to what is used. */
export interface MirroredObject {
  ref: MoRef;
  properties: Record<string, unknown>;
}

/** A network card, as far as the inventory shows it. */
export interface Card {
  key: number;
  mac: string;
  isConnected: boolean;
  plug: Plug;
}

/** The addresses that a guest reports for one card. */
export interface GuestNic {
  /** Device key of the card; -1 where the guest has a card that the VM has not. */
  card: number;
  mac: string;
  addresses: string[];
}

export class ObjectMirror {
  readonly #objects = new Map<string, MirroredObject>();
  #before: ObjectMirror | null;

  /** One that takes the place of another shares with it what has not changed. */
  constructor(before: ObjectMirror | null = null) {
    this.#before = before;
  }

  /** To be called when everything was read: nothing holds the one before any more. */
  settle(): void {
    this.#before = null;
  }

  get(id: string): MirroredObject | undefined {
    return this.#objects.get(id);
  }

  all(): IterableIterator<MirroredObject> {
    return this.#objects.values();
  }

  /** Puts an object as it was read, in place of what was known of it. */
  put(ref: MoRef, values: readonly { name: string; val?: unknown }[]): void {
    const properties: Record<string, unknown> = {};
    for (const { name, val } of values) if (val !== undefined) properties[name] = kept(name, val);
    const mine = own(ref);
    this.#objects.set(mine.value, { ref: mine, properties });
  }

  /** Applies one update set; answers the objects that it touched, those that are gone among them. */
  apply(update: Vim<'UpdateSet'>): MoRef[] {
    const touched: MoRef[] = [];
    for (const filter of update.filterSet ?? []) {
      for (const { kind, obj, changeSet = [] } of filter.objectSet ?? []) {
        touched.push(own(obj));
        if (kind === 'leave') {
          this.#objects.delete(obj.value);
          continue;
        }
        const known = kind === 'enter' ? undefined : this.#objects.get(obj.value);
        const object = known ?? { ref: own(obj), properties: {} };
        for (const { name, op, val } of changeSet) {
          if (op === 'assign' || op === 'add') {
            if (val !== undefined) object.properties[name] = kept(name, val);
          } else delete object.properties[name];
        }
        const before = known ? undefined : this.#before?.get(object.ref.value);
        this.#objects.set(object.ref.value, before && isDeepStrictEqual(before, object) ? before : object);
      }
    }
    return touched;
  }
}

function kept(name: string, value: unknown): unknown {
  const reduce = REDUCERS[name];
  return own(reduce ? reduce(value) : value);
}

/**
 * A copy that holds nothing else: text that was cut out of an answer keeps the whole answer in memory, megabytes for a
 * name.
 */
function own<T>(value: T): T {
  if (typeof value === 'string' ? value.length === 0 : typeof value !== 'object' || value === null)
    return value;
  return JSON.parse(JSON.stringify(value)) as T;
}

/** What is kept of the values that are large. */
const REDUCERS: Record<string, (value: unknown) => unknown> = {
  'config.hardware.device': (value) =>
    nicsOf(listOf<Vim<'VirtualDevice'>>(value), false).map(({ card }) => reduceCard(card)),
  'config.annotation': (value) => readVmMark(String(value)),
  'config.description': (value) => readPortGroupMark(String(value)),
  'guest.net': (value) =>
    listOf<Vim<'GuestNicInfo'>>(value).map(
      (nic): GuestNic => ({
        card: nic.deviceConfigId,
        mac: (nic.macAddress ?? '').toLowerCase(),
        addresses: (nic.ipAddress ?? nic.ipConfig?.ipAddress?.map((one) => one.ipAddress) ?? []).flatMap(
          canonicalAddress,
        ),
      }),
    ),
};

function reduceCard(card: EthernetCard): Card {
  return {
    key: card.key,
    mac: (card.macAddress ?? '').toLowerCase(),
    isConnected: card.connectable?.connected ?? false,
    plug: plugOf(card),
  };
}

/** The list, or an empty one for everything else: an unset list is not sent at all. */
export function listOf<T>(value: unknown): T[] {
  return Array.isArray(value) ? (value as T[]) : [];
}

/** As `Nic.addresses` wants it; nothing for link-local addresses, which reach nobody through an engine. */
function canonicalAddress(text: string): string[] {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(text)) return [text];
  if (!/^[0-9a-f:.]{2,45}$/i.test(text) || /^fe[89ab]/i.test(text)) return [];
  try {
    return [new URL(`http://[${text}]/`).hostname.slice(1, -1)];
  } catch {
    return [];
  }
}
