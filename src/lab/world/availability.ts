/**
 * Hosts that lose their power, and what a cluster with HA does about it: a while later it starts the VMs of the host on
 * the others. Engines stand between networks of one host and are pinned to it: they stay where they are, off.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabInventory } from './inventory.ts';
import type { VmRecord } from './record.ts';
import { refused } from './refusals.ts';
import type { Vms } from './vms.ts';

/** How long the cluster takes to be sure that the host is gone. */
const NOTICE_MS = 1500;

export class Availability {
  readonly #inventory: LabInventory;
  readonly #vms: Vms;
  readonly #ended = new AbortController();
  /** How a VM is brought to another host, off; who stands in front of the lab has more to do than the lab itself. */
  place: (vm: VmRecord, host: string) => Promise<void>;
  /** Called when a host has lost its power, when a VM runs again elsewhere, and when a host is back. */
  onFailed: (host: string) => void = () => undefined;
  onRestarted: (vm: VmRecord, from: string) => void = () => undefined;
  onReturned: (host: string) => void = () => undefined;

  constructor(inventory: LabInventory, vms: Vms) {
    this.#inventory = inventory;
    this.#vms = vms;
    this.place = (vm, host) => vms.migrate(vm.id, host, true);
  }

  stop(): void {
    this.#ended.abort();
  }

  /** Goes on with what an earlier daemon began. */
  resume(): void {
    for (const host of this.#inventory.record.hosts) if (host.failed) void this.#restart(host.id);
  }

  /** Switches the host and its VMs off; part of an operation, as `returnPower`. Throws ERR_HYPERVISOR_REFUSED. */
  async cutPower(id: string): Promise<void> {
    const host = this.#inventory.host(id);
    const { hosts, vms } = this.#inventory.record;
    const others = hosts.filter((one) => one !== host && !one.failed);
    if (host.failed) throw refused(`host ${id} has lost its power already`);
    if (others.length === 0) throw refused(`host ${id} is the last one that has power`);
    const on = vms.filter((vm) => vm.host === id && vm.process !== null);
    host.failed = { vms: on.map((vm) => vm.id) };
    for (const vm of on) await this.#vms.switchOff(vm);
    this.#inventory.changed();
  }

  /** Gives it back; its VMs stay off. */
  returnPower(id: string): void {
    delete this.#inventory.host(id).failed;
    this.#inventory.changed();
    this.onReturned(id);
  }

  /** Begins to start the VMs of a host without power on others. Returns at once. */
  begin(host: string): void {
    this.onFailed(host);
    void this.#restart(host);
  }

  async #restart(id: string): Promise<void> {
    const signal = this.#ended.signal;
    await sleep(NOTICE_MS, undefined, { signal }).catch(() => undefined);
    const { record } = this.#inventory;
    const wereOn = record.hosts.find((host) => host.id === id)?.failed?.vms ?? [];
    for (const vmId of wereOn) {
      const vm = record.vms.find((one) => one.id === vmId);
      // The host may be back by now: then its VMs are off, for whoever wants them on.
      const isFailed = record.hosts.some((host) => host.id === id && host.failed);
      if (signal.aborted || !isFailed || !vm || vm.host !== id || vm.engine) continue;
      try {
        await this.#restartElsewhere(vm, id);
      } catch (error) {
        console.error(`VM ${vm.name} of the failed host ${id} cannot be started elsewhere:`, error);
      }
    }
  }

  async #restartElsewhere(vm: VmRecord, from: string): Promise<void> {
    const { hosts, vms } = this.#inventory.record;
    const running = (host: string): number => vms.filter((one) => one.host === host && one.process).length;
    const targets = hosts
      .filter((host) => host.id !== from && !host.failed && host.maintenance === undefined)
      .sort((a, b) => running(a.id) - running(b.id) || (a.id < b.id ? -1 : 1));
    if (!targets[0]) throw new Error('no other host is in service');
    await this.place(vm, targets[0].id);
    await this.#vms.power(vm.id, 'on');
    this.onRestarted(vm, from);
  }
}
