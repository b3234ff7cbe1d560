/**
 * Hosts on their way into maintenance and out of it, as a cluster with DRS does it: a host that is entering takes no
 * VM any more, its VMs are moved to the others while they run, and it is in maintenance when none runs on it. Engines
 * stand between networks of one host and are not moved: the host waits until whoever made them switches them off.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '../../policy/errors.ts';
import type { LabInventory } from './inventory.ts';
import type { HostRecord, VmRecord } from './record.ts';
import type { Vms } from './vms.ts';

/** How long a VM goes on where it is while its memory is copied. */
const PRE_COPY_MS = 300;
const LOOK_AGAIN_MS = 100;

/** What keeps a host from being in maintenance: a VM, and why it cannot leave. */
export interface Obstacle {
  vm: string;
  reason: string;
}

export class Maintenance {
  readonly #inventory: LabInventory;
  readonly #entering = new Map<string, { stop: AbortController; done: Promise<void> }>();
  readonly #obstacles = new Map<string, Obstacle[]>();
  /** How a running VM is moved; who stands in front of the lab has more to do than the lab itself. */
  moveVm: (vm: VmRecord, host: string) => Promise<void>;
  /** How a host is sent on its way when nobody waits for it: who stands in front of the lab makes a task of it. */
  request: (host: string) => void;

  constructor(inventory: LabInventory, vms: Vms) {
    this.#inventory = inventory;
    this.moveVm = (vm, host) => vms.migrate(vm.id, host);
    this.request = (host) => void this.enter(host).catch(() => undefined);
  }

  /** Goes on with what an earlier daemon began. */
  resume(): void {
    for (const host of this.#inventory.record.hosts) {
      if (host.maintenance === 'entering') this.request(host.id);
    }
  }

  stop(): void {
    for (const { stop } of this.#entering.values()) stop.abort();
  }

  /** What each host that is entering waits for now. */
  obstacles(host: string): readonly Obstacle[] {
    return this.#obstacles.get(host) ?? [];
  }

  /**
   * Resolves when the host is in maintenance, or is already. Rejects with ERR_LAB when it was told to leave meanwhile;
   * with the signal's reason when that aborts, and then the host is as it was before.
   */
  async enter(id: string, signal?: AbortSignal): Promise<void> {
    const host = this.#inventory.host(id);
    if (host.maintenance === 'in') return;
    const done = this.#begin(id);
    const cancel = (): void => void this.exit(id);
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      await done;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Back in service; also where it has not quite left it. In service already: succeeds. */
  async exit(id: string): Promise<void> {
    this.#inventory.host(id);
    this.#entering.get(id)?.stop.abort();
    await this.#entering.get(id)?.done.catch(() => undefined);
    await this.#note(id, null);
  }

  #begin(id: string): Promise<void> {
    const present = this.#entering.get(id);
    if (present) return present.done;
    const stop = new AbortController();
    const done = this.#evacuate(id, stop.signal).finally(() => {
      this.#entering.delete(id);
      this.#obstacles.delete(id);
    });
    this.#entering.set(id, { stop, done });
    return done;
  }

  async #evacuate(id: string, stop: AbortSignal): Promise<void> {
    await this.#note(id, 'entering');
    for (;;) {
      if (stop.aborted) throw new WeftError('ERR_LAB', `host ${id} was told to leave maintenance meanwhile`);
      const running = this.#inventory.record.vms.filter((vm) => vm.host === id && vm.process !== null);
      if (running.length === 0) return this.#note(id, 'in');
      const obstacles: Obstacle[] = [];
      for (const vm of running) {
        if (stop.aborted) break;
        const reason = vm.engine ? 'it is an engine, and on' : await this.#moveAway(vm, stop);
        if (reason !== null) obstacles.push({ vm: vm.name, reason });
      }
      this.#obstacles.set(id, obstacles);
      await sleep(LOOK_AGAIN_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }

  /** Null when it is elsewhere now, or off; else why not. */
  async #moveAway(vm: VmRecord, stop: AbortSignal): Promise<string | null> {
    const running = (host: HostRecord): number =>
      this.#inventory.record.vms.filter((one) => one.host === host.id && one.process).length;
    const targets = this.#inventory.record.hosts
      .filter((host) => host.id !== vm.host && host.maintenance === undefined)
      .sort((a, b) => running(a) - running(b) || (a.id < b.id ? -1 : 1));
    let reason = 'no other host is in service';
    await sleep(PRE_COPY_MS, undefined, { signal: stop }).catch(() => undefined);
    for (const target of targets) {
      if (stop.aborted || !vm.process) return null;
      try {
        await this.moveVm(vm, target.id);
        return null;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
    }
    return reason;
  }

  /** Which way the host is. */
  #note(id: string, state: 'entering' | 'in' | null): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const host = this.#inventory.host(id);
      if (state === null) delete host.maintenance;
      else host.maintenance = state;
      this.#inventory.changed();
    });
  }
}
