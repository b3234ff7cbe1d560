/**
 * The lab's inventory while its daemon runs: finds what is there, lets one operation after the other change it, keeps
 * every change on disk, and tells it to whoever watches.
 */
import { cpus, totalmem } from 'node:os';
import type { HostHardware, Inventory } from '../../hypervisor/platform.ts';
import type { Machinery } from './machinery.ts';
import { viewOf } from './new-record.ts';
import type { HostRecord, LabRecord, NicRecord, VmRecord } from './record.ts';
import { notFound } from './refusals.ts';

export class LabInventory {
  readonly record: LabRecord;
  readonly #machinery: Pick<Machinery, 'keep'>;
  /** Cursors of an earlier daemon are not ours, so they resolve at once. */
  readonly #epoch = `${process.pid.toString(36)}.${Date.now().toString(36)}`;
  #version = 1;
  #last: Promise<unknown> = Promise.resolve();
  readonly #watchers = new Set<() => void>();

  constructor(record: LabRecord, machinery: Pick<Machinery, 'keep'>) {
    this.record = record;
    this.#machinery = machinery;
  }

  /** Differs after every change that others see. */
  get cursor(): string {
    return `${this.#epoch}.${this.#version}`;
  }

  /** As the platform contract shows it. */
  view(): Inventory {
    return {
      cursor: this.cursor,
      hosts: this.record.hosts.map((host) => ({
        id: host.id,
        name: host.id,
        isConnected: host.failed === undefined,
        isInMaintenance: host.maintenance === 'in',
        isEvacuating: host.maintenance === 'entering',
        uplinkPath: [...host.uplinkPath],
        uplinkEvidence: [{ source: 'platform', path: [...host.uplinkPath], detail: 'the lab cabled it so' }],
        cluster: `${this.record.lab}-cluster`,
        hardware: hardwareHere(),
        segments: host.segments.map(({ name, role }) => ({ name, role })),
      })),
      vms: this.record.vms.map(viewOf),
      mirrors: this.record.vms.flatMap(({ engine, mirrors }) =>
        engine && mirrors ? [{ engine: engine.id, nics: mirrors }] : [],
      ),
    };
  }

  /** Resolves with the cursor as soon as it differs. Rejects with the signal's reason. */
  watch(cursor: string, signal: AbortSignal): Promise<string> {
    if (cursor !== this.cursor) return Promise.resolve(this.cursor);
    return new Promise((resolve, reject) => {
      const onChange = () => finish(() => resolve(this.cursor));
      const onAbort = () => finish(() => reject(signal.reason));
      const finish = (end: () => void) => {
        this.#watchers.delete(onChange);
        signal.removeEventListener('abort', onAbort);
        end();
      };
      this.#watchers.add(onChange);
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
    });
  }

  /** A host of the lab. Throws ERR_NOT_FOUND. */
  host(id: string): HostRecord {
    const host = this.record.hosts.find((candidate) => candidate.id === id);
    if (!host) throw notFound(`lab ${this.record.lab} has no host ${id}`);
    return host;
  }

  /** Undefined where the host has none of that name. Throws ERR_NOT_FOUND where there is no such host. */
  findSegment(host: string, name: string): HostRecord['segments'][number] | undefined {
    return this.host(host).segments.find((segment) => segment.name === name);
  }

  /** Throws ERR_NOT_FOUND. */
  segment(host: string, name: string): HostRecord['segments'][number] {
    const segment = this.findSegment(host, name);
    if (!segment) throw notFound(`host ${host} has no segment ${name}`);
    return segment;
  }

  /** Throws ERR_NOT_FOUND. */
  vm(id: string): VmRecord {
    const vm = this.record.vms.find((candidate) => candidate.id === id);
    if (!vm) throw notFound(`lab ${this.record.lab} has no VM ${id}`);
    return vm;
  }

  /** Throws ERR_NOT_FOUND. */
  nic(vm: VmRecord, id: string): NicRecord {
    const nic = vm.nics.find((candidate) => candidate.id === id);
    if (!nic) throw notFound(`VM ${vm.name} has no NIC ${id}`);
    return nic;
  }

  /** Keeps a change that only the lab itself sees. */
  save(): void {
    this.#machinery.keep(this.record);
  }

  /** Keeps a change, and tells of it. */
  changed(): void {
    this.#version++;
    this.save();
    this.wake();
  }

  /** Ends the waiting of all that watch. */
  wake(): void {
    for (const wake of [...this.#watchers]) wake();
  }

  /** Runs one operation after the other, also after one that failed. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Every host of the lab is this machine. */
function hardwareHere(): HostHardware {
  const cores = cpus();
  return {
    model: cores[0]?.model.trim() || 'this machine',
    cpuCores: cores.length,
    cpuMhz: cores[0]?.speed ?? 0,
    memoryBytes: totalmem(),
  };
}
