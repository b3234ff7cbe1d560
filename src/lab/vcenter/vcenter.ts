/**
 * The simulated vCenter in front of a lab: the inventory as managed objects, computed from the lab's record and from
 * what only a vCenter knows (state.ts). Holds sessions, tasks, leases and events. Speaks no HTTP (server.ts).
 */
import { createHash } from 'node:crypto';
import type { Vm } from '../../hypervisor/platform.ts';
import type { Datacenter } from '../world/datacenter.ts';
import type { VmRecord } from '../world/record.ts';
import { EventLog } from './events.ts';
import { fateOf } from './fault-rules.ts';
import { fabricObjects } from './inventory/fabric.ts';
import { folderObjects } from './inventory/folders.ts';
import { hostObjects, hostRef } from './inventory/hosts.ts';
import { machineObjects, snapshotObjects } from './inventory/machines.ts';
import type { ManagedObject } from './inventory/object.ts';
import { serviceObjects } from './inventory/services.ts';
import { standardNetworkObjects } from './inventory/standard-switch.ts';
import { LeaseTable } from './leases.ts';
import { LibraryUploads } from './library-uploads.ts';
import { LoadHistory } from './load-history.ts';
import { followEvacuations, followFailures } from './method/hosts.ts';
import { adoptMachines, realize, seedPortgroups } from './ports.ts';
import { attachTag } from './rest/tag-store.ts';
import { SessionTable } from './sessions.ts';
import { seedStandardGroups } from './standard-switch.ts';
import type { StateKeeper, VcenterState, VmOverlay } from './state.ts';
import { TaskTable } from './tasks.ts';
import { VimFault } from './wire/fault.ts';
import type { MoRef, Struct } from './wire/values.ts';

/** How the simulated vCenter names itself. */
export const VERSION = { version: '8.0.2', build: '22385739', api: '8.0.2.0' } as const;

/** How long a restart takes: much less than that of a vCenter. */
const RESTART_MS = 1500;

export class Vcenter {
  readonly datacenter: Datacenter;
  readonly state: VcenterState;
  readonly sessions: SessionTable;
  readonly tasks: TaskTable;
  readonly events = new EventLog();
  readonly leases: LeaseTable;
  readonly uploads = new LibraryUploads();
  readonly loads: LoadHistory;
  /** `https://address:port`, once the server listens. */
  url = '';
  downUntilMs = 0;
  onRestart: () => void = () => undefined;
  readonly #keeper: StateKeeper;
  readonly #waiting = new Set<() => void>();
  readonly #ended = new AbortController();
  #seenCursor = '';

  constructor(datacenter: Datacenter, state: VcenterState, keeper: StateKeeper) {
    this.datacenter = datacenter;
    this.state = state;
    this.#keeper = keeper;
    this.sessions = new SessionTable(() => Date.now());
    this.tasks = new TaskTable(this);
    this.leases = new LeaseTable(this);
    this.loads = new LoadHistory(datacenter);
    if (state.portgroups.length + state.standard.groups.length === 0) this.#seed();
    followEvacuations(this);
    followFailures(this);
  }

  /** Follows the lab from now on. What an earlier daemon left half imported is removed. */
  async start(): Promise<void> {
    this.follow();
    await this.leases.removeRemains();
    this.follow();
    await this.#realizeAll();
    this.loads.start();
    void this.#followLab();
  }

  /** A vCenter that was killed after it noted a port and before it moved the cable moves it now. */
  async #realizeAll(): Promise<void> {
    for (const vm of this.datacenter.record.vms) {
      for (const nic of vm.nics) await realize(this, vm, nic);
    }
  }

  stop(): void {
    this.#ended.abort();
    this.loads.stop();
    this.leases.stop();
    this.wake();
  }

  /**
   * Goes down and comes back: sessions, tasks and leases are gone, what a database keeps stays. `onRestart` breaks the
   * connections; until `downUntilMs` the proxy in front answers that nobody is there.
   */
  restart(): void {
    this.downUntilMs = Date.now() + RESTART_MS;
    this.sessions.endAll();
    this.tasks.forget();
    void this.leases.forget().then(() => this.changed());
    this.onRestart();
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** All managed objects of the inventory and the services, by id. Those of a session are in its table. */
  objects(): Map<string, ManagedObject> {
    this.follow();
    const all = [
      ...serviceObjects(this),
      ...folderObjects(this),
      ...hostObjects(this),
      ...fabricObjects(this),
      ...standardNetworkObjects(this),
      ...machineObjects(this),
      ...snapshotObjects(this),
      ...this.tasks.objects(),
      ...this.leases.objects(),
    ];
    return new Map(all.map((object) => [object.ref.id, object]));
  }

  /** The object. Throws ManagedObjectNotFound. */
  object(ref: MoRef): ManagedObject {
    const found = this.objects().get(ref.id);
    if (found?.ref.$ref === ref.$ref || (found && ref.$ref === 'ManagedEntity')) return found;
    throw new VimFault(
      'ManagedObjectNotFound',
      `The object 'vim.${ref.$ref}:${ref.id}' has already been deleted or has not been completely created`,
      { obj: ref },
    );
  }

  /** A number that was never used in this vCenter. */
  nextId(): number {
    return this.state.nextId++;
  }

  /** Writes the state down and tells everybody who waits. */
  changed(): void {
    this.#keeper.write(this.state);
    this.wake();
  }

  /** Tells everybody who waits that something may be different. */
  wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const go of waiting) go();
  }

  /** Resolves at the next change. Rejects with the signal's reason. */
  nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const stop = () => {
        this.#waiting.delete(go);
        reject(signal.reason);
      };
      if (signal.aborted) return stop();
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.add(go);
    });
  }

  /** Makes a VM of the lab whose overlay is known before it is there. The name is the lab's. */
  async make(name: string, overlay: Partial<VmOverlay>, work: () => Promise<Vm>): Promise<VmRecord> {
    this.state.making[name] = overlay;
    this.changed();
    try {
      const { id } = await work();
      this.follow();
      const made = this.datacenter.record.vms.find((vm) => vm.id === id);
      if (made) return made;
      throw new VimFault('SystemError', `VM ${name} went while it was made`, { reason: 'gone' });
    } finally {
      delete this.state.making[name];
    }
  }

  /** Brings ports and overlays up to date with the lab's VMs. */
  follow(): void {
    const { cursor } = this.datacenter.inventory;
    if (cursor === this.#seenCursor) return;
    this.#seenCursor = cursor;
    if (adoptMachines(this)) this.#keeper.write(this.state);
  }

  /** What the injected faults make of a call. */
  fate(method: string, object: string) {
    return fateOf(this.datacenter.record.faults, method, object);
  }

  /** A UUID that is the same for the same text. */
  uuidOf(text: string): string {
    const hex = createHash('sha256').update(`${this.state.instanceUuid} ${text}`).digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  }

  /** Custom values of an entity, as its properties show them. */
  customValues(id: string): Struct[] {
    return Object.entries(this.state.customValues[id] ?? {}).map(([key, value]) => ({
      $type: 'CustomFieldStringValue',
      key: Number(key),
      value,
    }));
  }

  /** What a new vCenter has: port groups, and the racks of its hosts. */
  #seed(): void {
    if (this.state.standard.kind === 'standard') seedStandardGroups(this);
    else seedPortgroups(this.state);
    for (const { id, uplinkPath } of this.datacenter.record.hosts) {
      attachTag(this.state, `rack=${uplinkPath.at(-1)}`, hostRef(this, id));
    }
  }

  async #followLab(): Promise<void> {
    let cursor = '';
    while (!this.#ended.signal.aborted) {
      try {
        cursor = await this.datacenter.inventory.watch(cursor, this.#ended.signal);
        this.follow();
        this.wake();
      } catch {
        return; // Only the end of this vCenter ends the watch.
      }
    }
  }
}
