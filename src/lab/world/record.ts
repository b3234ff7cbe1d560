/**
 * The daemon's inventory as it is kept on disk: enough to find every VM again after the daemon was killed. It lives
 * in /run like the namespaces it describes, so it never outlives them and needs no fsync.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { EngineProperties, OwnerRecord, Segment } from '../../hypervisor/platform.ts';
import { WeftError } from '../../policy/errors.ts';
import type { LabNetwork } from './blueprint.ts';
import type { Fault } from './faults.ts';
import type { ProcessRef } from './process.ts';

export interface LabRecord {
  lab: string;
  /** Left out where the production network is flat. */
  network?: 'routed';
  /** Number of the next VM; numbers are never used twice. */
  nextVm: number;
  nextFault: number;
  hosts: HostRecord[];
  vms: VmRecord[];
  faults: Fault[];
  /** Where the management gateway leads: the controller's hub, on loopback of the root namespace. */
  gateway: { host: string; port: number } | null;
  /** Which controller drives the lab; left out where none has claimed it. */
  owner?: OwnerRecord;
  /** What that controller keeps here of its policy. */
  policyCopy?: string;
}

export interface HostRecord {
  id: string;
  uplinkPath: string[];
  /** Left out while it is in service. */
  maintenance?: 'entering' | 'in';
  /** It has lost its power; `vms` were on then. */
  failed?: { vms: string[] };
  segments: (Segment & { shadows: string | null })[];
}

export interface VmRecord {
  id: string;
  number: number;
  name: string;
  host: string;
  folder: string;
  tags: string[];
  /** Custom attributes; missing in records of before they were known. */
  attributes?: Record<string, string>;
  /** What Weft was told to put here; null for a VM that is not Weft's. */
  engine: { id: string; properties: EngineProperties } | null;
  clonedFrom: string | null;
  /** For an engine, the NICs whose traffic is copied to its `in`; left out where there are none. */
  mirrors?: { vm: string; nic: string }[];
  /** The guest: null while powered off. */
  process: ProcessRef | null;
  nics: NicRecord[];
}

export interface NicRecord {
  id: string;
  mac: string;
  segment: string;
  /** Canonical text, IPv4 first. */
  addresses: string[];
  /** An engine's data ports learn and flood like a trunk to a bridge; all others know exactly one MAC. */
  isEnginePort: boolean;
}

/** What kind of production network the lab has. */
export function networkOf(record: LabRecord): LabNetwork {
  return record.network ?? 'flat';
}

/** Reads the record, or null where there is none. Throws ERR_LAB when it cannot be understood. */
export function readRecord(path: string): LabRecord | null {
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LabRecord;
  } catch (error) {
    throw new WeftError('ERR_LAB', `${path} cannot be read; run \`weft lab down\`, then \`weft lab up\``, {
      cause: error,
    });
  }
}

/** Replaces the record in one step: a reader sees the old one or the new one. */
export function writeRecord(path: string, record: LabRecord): void {
  const next = `${path}.next`;
  writeFileSync(next, JSON.stringify(record, null, 1), { mode: 0o600 });
  renameSync(next, path);
}

/** Name of the host's end of a NIC's cable: unique in the lab, within the kernel's 15 characters. */
export function portOf(vm: VmRecord, nic: NicRecord): string {
  return `vm${vm.number}-${nic.id}`;
}
