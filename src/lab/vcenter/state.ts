/**
 * What the simulated vCenter remembers beside the lab's own inventory: port groups, ports, display names,
 * annotations, tags, custom fields, rules, extensions. Kept in `vcenter.json` of the lab's run directory, so that it
 * survives the daemon as a vCenter's database survives vpxd; sessions, tasks and leases do not.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { WeftError } from '../../policy/errors.ts';
import type { MoRef, Struct } from './wire/values.ts';

export const USER = 'administrator@vsphere.local';
export const PRODUCTION_VLAN = 100;
export const MANAGEMENT_VLAN = 10;

export interface VcenterState {
  user: string;
  password: string;
  instanceUuid: string;
  /** Port the server listens on, taken again by the next daemon. */
  port: number;
  /** PEM of the server's key and certificate. */
  key: string;
  certificate: string;
  nextId: number;
  switchUuid: string;
  switchConfigVersion: number;
  /** VMwareDVSPvlanMapEntry of the switch. */
  pvlans: Struct[];
  /** VMwareVspanSession of the switch; missing in states of before they were known. */
  vspans?: Struct[];
  portgroups: PortgroupRecord[];
  ports: PortRecord[];
  standard: StandardSwitches;
  vms: Record<string, VmOverlay>;
  /**
   * What VMs that are being made will be, by the lab's name, written before they are: one that is there without the
   * vCenter that made it is known all the same. Tags of the lab are not theirs.
   */
  making: Record<string, Partial<VmOverlay>>;
  folders: FolderRecord[];
  cluster: { rules: Struct[]; groups: Struct[]; drsVms: Struct[]; dasVms: Struct[] };
  customFields: { key: number; name: string; managedType: string | null }[];
  /** By id of the managed object, then by key of the field. */
  customValues: Record<string, Record<string, string>>;
  extensions: Struct[];
  categories: CategoryRecord[];
  tags: TagRecord[];
  libraries?: LibraryRecord[];
  /** CustomizationSpecItem, beside the one that every vCenter of the lab has. */
  customizations?: Struct[];
  attachments: { tag: string; object: { type: string; id: string } }[];
}

export interface PortgroupRecord {
  id: string;
  name: string;
  description: string;
  type: string;
  isUplink: boolean;
  numPorts: number;
  isAutoExpand: boolean;
  configVersion: number;
  /** VMwareDVSPortSetting with every field. */
  setting: Struct;
  /** VMwareDVSPortgroupPolicy with every field. */
  policy: Struct;
}

/** Which switches a new lab's networks are on. */
export type SwitchKind = 'distributed' | 'standard';

export interface StandardSwitches {
  /** `standard`: there is no distributed switch, and everything is on these. */
  kind: SwitchKind;
  groups: StandardGroupRecord[];
  /** One for each name. */
  networks: { id: string; name: string }[];
  /** NICs that are on a standard port group, by its name. */
  nics: { vm: string; nic: string; group: string }[];
}

/** A port group of the standard switch of one host. */
export interface StandardGroupRecord {
  host: string;
  name: string;
  vlanId: number;
  /** HostNetworkPolicy, with what differs from the switch's. */
  policy: Struct;
}

export interface PortRecord {
  key: string;
  portgroup: string;
  name: string;
  configVersion: number;
  /** What differs from the port group. */
  setting: Struct;
  connectee: { vm: string; nic: string } | null;
  connectionCookie: number;
}

export interface VmOverlay {
  uuid: string;
  instanceUuid: string;
  /** Name that people see, where it is not the lab's. */
  name: string | null;
  /** Folder that the VM was put into, where it is not the lab's. */
  folder: string | null;
  annotation: string;
  extraConfig: Record<string, string>;
  changeVersion: number;
  /** OVF properties as they were imported. */
  properties: Struct[];
  product: Struct[];
  managedBy: Struct | null;
  /** Its disks are still on their way: gone when the daemon is. */
  isImporting: boolean;
  isTemplate: boolean;
  /** Its snapshots, the oldest first; a lab's disk is a directory, so that nothing is kept of it. */
  snapshots?: SnapshotRecord[];
  /** The customisation that is carried out when the VM is switched on next. */
  pendingCustomization?: string | null;
}

export interface SnapshotRecord {
  id: string;
  name: string;
  description: string;
  createdAt: number;
  /** Id of the snapshot that was current before; null for the first. */
  parent: string | null;
}

/** A content library. What the disks of its items hold is not kept, only what was hashed of it. */
export interface LibraryRecord {
  id: string;
  name: string;
  description: string;
  items: LibraryItemRecord[];
}

export interface LibraryItemRecord {
  id: string;
  name: string;
  description: string;
  /** `ovf` or `vm-template`. */
  type: string;
  files: { name: string; size: number; sha256: string }[];
  /** The OVF descriptor, once it was uploaded. */
  descriptor: string | null;
  /** VM id of a template. */
  template: string | null;
}

export interface FolderRecord {
  id: string;
  name: string;
  /** Folder id; the root of VM folders is `group-v3`. */
  parent: string;
}

export interface CategoryRecord {
  id: string;
  name: string;
  description: string;
  cardinality: string;
  associableTypes: string[];
}

export interface TagRecord {
  id: string;
  categoryId: string;
  name: string;
  description: string;
}

/** A new vCenter: no port groups yet, a password of its own. */
export function newState(
  pair: { key: string; certificate: string },
  switches: SwitchKind = 'distributed',
): VcenterState {
  return {
    user: USER,
    password: randomBytes(15).toString('base64url'),
    instanceUuid: randomUUID(),
    port: 0,
    ...pair,
    nextId: 1001,
    switchUuid: randomUUID()
      .replaceAll('-', '')
      .replaceAll(/(..)(?=.)/g, '$1 ')
      .replace(/^(.{23}) /, '$1-'),
    switchConfigVersion: 1,
    pvlans: [],
    portgroups: [],
    ports: [],
    standard: { kind: switches, groups: [], networks: [], nics: [] },
    vms: {},
    making: {},
    folders: [],
    cluster: { rules: [], groups: [], drsVms: [], dasVms: [] },
    customFields: [],
    customValues: {},
    extensions: [],
    categories: [],
    tags: [],
    attachments: [],
  };
}

/** Where the state outlives the process. */
export interface StateKeeper {
  /** The state, or null where there is none. Throws ERR_LAB when it cannot be understood. */
  read(): VcenterState | null;
  /** Replaces it in one step. */
  write(state: VcenterState): void;
}

/** Keeps the state in a file. */
export function fileKeeper(path: string): StateKeeper {
  return {
    read() {
      if (!existsSync(path)) return null;
      try {
        return JSON.parse(readFileSync(path, 'utf8')) as VcenterState;
      } catch (error) {
        throw new WeftError(
          'ERR_LAB',
          `${path} cannot be read; run \`weft lab down\`, then \`weft lab up\``,
          { cause: error },
        );
      }
    },
    write(state) {
      writeFileSync(`${path}.next`, JSON.stringify(state, null, 1), { mode: 0o600 });
      renameSync(`${path}.next`, path);
    },
  };
}

/** Fixed references of the inventory. */
export const REFS = {
  rootFolder: { $ref: 'Folder', id: 'group-d1' },
  datacenter: { $ref: 'Datacenter', id: 'datacenter-2' },
  vmFolder: { $ref: 'Folder', id: 'group-v3' },
  hostFolder: { $ref: 'Folder', id: 'group-h4' },
  datastoreFolder: { $ref: 'Folder', id: 'group-s5' },
  networkFolder: { $ref: 'Folder', id: 'group-n6' },
  cluster: { $ref: 'ClusterComputeResource', id: 'domain-c7' },
  resourcePool: { $ref: 'ResourcePool', id: 'resgroup-8' },
  datastore: { $ref: 'Datastore', id: 'datastore-9' },
  switch: { $ref: 'VmwareDistributedVirtualSwitch', id: 'dvs-20' },
} as const satisfies Record<string, MoRef>;
