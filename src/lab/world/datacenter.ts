/**
 * The hypervisor of the lab, of whose parts each carries out a share of what the platform contract asks: built anew, or
 * taken over from an earlier daemon. One operation at a time; each takes milliseconds. Knows nothing of HTTP
 * (daemon.ts) and nothing of Weft's controller.
 */
import { mkdirSync } from 'node:fs';
import type { OwnerRecord, VmStats } from '../../hypervisor/platform.ts';
import { WeftError } from '../../policy/errors.ts';
import { Availability } from './availability.ts';
import type { LabNetwork } from './blueprint.ts';
import { buildFabric } from './fabric.ts';
import { FaultInjection } from './fault-injection.ts';
import { LabInventory } from './inventory.ts';
import type { Machinery } from './machinery.ts';
import { Machines } from './machines.ts';
import { Maintenance } from './maintenance.ts';
import { existingNamespaces, labPaths, namespaceOf } from './names.ts';
import { newRecord } from './new-record.ts';
import { type LabRecord, networkOf, readRecord } from './record.ts';
import { Segments } from './segments.ts';
import { Vms } from './vms.ts';

export interface DatacenterOptions {
  lab: string;
  /** What an engine VM runs instead of the engine; `--config` and `--state` are appended. */
  engineProgram?: readonly string[];
  /** The production network of a new lab; one that is there keeps its own. */
  network?: LabNetwork;
}

export class Datacenter {
  readonly lab: string;
  readonly record: LabRecord;
  readonly inventory: LabInventory;
  readonly segments: Segments;
  readonly vms: Vms;
  readonly maintenance: Maintenance;
  readonly availability: Availability;
  readonly faults: FaultInjection;
  readonly #machinery: Machinery;

  /** Builds the lab, or takes over the one that an earlier daemon left. Throws ERR_KERNEL, ERR_LAB. */
  static async open(options: DatacenterOptions): Promise<Datacenter> {
    const present = readRecord(labPaths(options.lab).record);
    const record = present ?? newRecord(options.lab, options.network);
    const machines = new Machines(record, options.engineProgram);
    const datacenter = new Datacenter(record, machines);
    if (present) await datacenter.#adopt(machines);
    else await datacenter.#build();
    machines.start();
    return datacenter;
  }

  /** A datacenter as the record says, on machinery that is so already. */
  constructor(record: LabRecord, machinery: Machinery) {
    this.lab = record.lab;
    this.record = record;
    this.inventory = new LabInventory(record, machinery);
    this.segments = new Segments(this.inventory, machinery);
    this.vms = new Vms(this.inventory, machinery);
    this.maintenance = new Maintenance(this.inventory, this.vms);
    this.availability = new Availability(this.inventory, this.vms);
    this.faults = new FaultInjection(this.inventory, machinery, this.availability);
    this.#machinery = machinery;
  }

  /** Load now of those VMs that are on. */
  stats(vms: readonly string[]): VmStats[] {
    return this.#machinery.stats(vms);
  }

  /** Writes which controller drives the lab, unless that has changed meanwhile. */
  setOwner(owner: OwnerRecord, before: OwnerRecord | null): boolean {
    if (JSON.stringify(this.record.owner ?? null) !== JSON.stringify(before)) return false;
    this.record.owner = owner;
    this.inventory.save();
    return true;
  }

  /** Keeps what a controller wants to find again of its policy. */
  keepPolicyCopy(text: string): void {
    this.record.policyCopy = text;
    this.inventory.save();
  }

  /** Where the management gateway leads from now on. */
  setGateway(target: { host: string; port: number } | null): void {
    this.record.gateway = target;
    this.inventory.save();
  }

  /** Stops looking after the VMs; they go on. */
  close(): void {
    this.vms.stop();
    this.maintenance.stop();
    this.availability.stop();
    this.#machinery.stop();
    this.inventory.wake();
  }

  async #build(): Promise<void> {
    mkdirSync(labPaths(this.lab).vms, { recursive: true, mode: 0o700 });
    this.inventory.save();
    await buildFabric(this.lab, networkOf(this.record));
    await Promise.all(this.record.vms.map((vm) => this.vms.switchOn(vm)));
  }

  /** Brings record and world together again: either may be one operation ahead of the other. */
  async #adopt(machines: Machines): Promise<void> {
    const namespaces = new Set(existingNamespaces(this.lab));
    for (const host of this.record.hosts) {
      if (!namespaces.has(namespaceOf(this.lab, host.id))) {
        throw new WeftError(
          'ERR_LAB',
          `lab ${this.lab} is only there in part: run \`weft lab down --lab ${this.lab}\``,
        );
      }
    }
    for (const vm of this.record.vms) {
      try {
        await machines.takeOver(vm);
      } catch {
        await this.vms.switchOff(vm);
      }
    }
    this.inventory.save();
  }
}
