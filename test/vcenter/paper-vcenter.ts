/**
 * The simulated vCenter in front of a lab that exists on paper only: hosts and any number of VMs, no namespaces, no
 * root. For what is about calls and their number rather than packets.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SegmentSpec } from '../../src/hypervisor/platform.ts';
import { newCertificate, thumbprint } from '../../src/lab/vcenter/certificate.ts';
import { serveVcenter } from '../../src/lab/vcenter/server.ts';
import { newState } from '../../src/lab/vcenter/state.ts';
import { Vcenter } from '../../src/lab/vcenter/vcenter.ts';
import type { Datacenter } from '../../src/lab/world/datacenter.ts';
import { Maintenance } from '../../src/lab/world/maintenance.ts';
import { newRecord, newVm } from '../../src/lab/world/new-record.ts';
import type { HostRecord, LabRecord } from '../../src/lab/world/record.ts';

export interface PaperVcenter {
  record: LabRecord;
  vcenter: Vcenter;
  url: string;
  user: string;
  password: string;
  thumbprint: string;
  /** Tells everybody who watches that the record was changed. */
  changed(): void;
  stop(): Promise<void>;
}

/** Three hosts with six VMs, and `extra` more that are spread over them. */
export async function startPaperVcenter(extra = 0): Promise<PaperVcenter> {
  const record = newRecord('paper');
  for (let index = 0; index < extra; index++) {
    const host = record.hosts[index % record.hosts.length]!.id;
    newVm(record, {
      name: `vm${index}`,
      host,
      folder: '/apps',
      tags: [],
      engine: null,
      clonedFrom: null,
      nics: [{ id: 'eth0', segment: 'prod', addresses: [] }],
    });
  }
  const paper = new PaperDatacenter(record);
  const directory = mkdtempSync(join(tmpdir(), 'weft-paper-'));
  const state = newState(newCertificate('vcenter.paper.weft', ['127.0.0.1']));
  const vcenter = new Vcenter(paper as unknown as Datacenter, state, join(directory, 'vcenter.json'));
  const server = await serveVcenter(vcenter);
  await vcenter.start();
  return {
    record,
    vcenter,
    url: server.url,
    user: state.user,
    password: state.password,
    thumbprint: thumbprint(state.certificate, 'sha256'),
    changed: () => paper.changed(),
    async stop() {
      vcenter.stop();
      await server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What the simulated vCenter asks of a datacenter, done to the record alone. */
class PaperDatacenter {
  readonly lab = 'paper';
  readonly record: LabRecord;
  readonly maintenance = new Maintenance(this as unknown as Datacenter);
  #version = 1;
  readonly #watchers = new Set<() => void>();

  constructor(record: LabRecord) {
    this.record = record;
  }

  get cursor(): string {
    return `paper.${this.#version}`;
  }

  changed(): void {
    this.#version++;
    for (const wake of [...this.#watchers]) wake();
    this.#watchers.clear();
  }

  watch(cursor: string, signal: AbortSignal): Promise<string> {
    if (cursor !== this.cursor) return Promise.resolve(this.cursor);
    return new Promise((resolve, reject) => {
      this.#watchers.add(() => resolve(this.cursor));
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }

  stats(): [] {
    return [];
  }

  async ensureSegment({ host: id, name, shadows }: SegmentSpec): Promise<void> {
    const host = this.record.hosts.find((one) => one.id === id)!;
    if (host.segments.some((one) => one.name === name)) return;
    host.segments.push({ name, role: 'shadow', shadows });
    this.changed();
  }

  async removeSegment(id: string, name: string): Promise<void> {
    const host = this.record.hosts.find((one) => one.id === id)!;
    host.segments = host.segments.filter((one) => one.name !== name);
    this.changed();
  }

  async attach(vm: string, id: string, segment: string, isEnginePort?: boolean): Promise<void> {
    const nic = this.record.vms.find((one) => one.id === vm)!.nics.find((one) => one.id === id)!;
    nic.segment = segment;
    nic.isEnginePort = isEnginePort ?? nic.isEnginePort;
    this.changed();
  }

  host(id: string): HostRecord {
    return this.record.hosts.find((one) => one.id === id)!;
  }

  async setMaintenance(id: string, state: 'entering' | 'in' | null): Promise<void> {
    if (state === null) delete this.host(id).maintenance;
    else this.host(id).maintenance = state;
    this.changed();
  }

  async migrate(vm: string, host: string): Promise<void> {
    this.record.vms.find((one) => one.id === vm)!.host = host;
    this.changed();
  }
}
