/**
 * Engines as the controller sees them: VMs of a datacenter without guests that boot, enrol, take graphs, report, and judge
 * their peers by data path. Faults are scripted per engine.
 */
import type { Vm } from '../../src/hypervisor/platform.ts';
import type { ServiceGraph } from '../../src/policy/graph.ts';
import type { EngineReport, PeerObservation } from '../../src/state/shared.ts';
import type { FakeHub } from './fake-hub.ts';

/** Where the engines' VMs are. */
export interface EngineHosts {
  vms(): readonly Vm[];
  /** Cuts the power of a VM. */
  switchOff(vm: string): void;
}

export interface FakeEngine {
  id: string;
  vm: string;
  bootedAt: number;
  graph: ServiceGraph | null;
  heartbeat: number;
  reportedAt: number;
  /** Neither forwards nor reports; its link stays up. A reset cures it. */
  isHung: boolean;
  silentSince: number | null;
}

const REPORT_MS = 250;
const DEAD_AFTER_MS = 500;

export class FakeEngines {
  readonly engines = new Map<string, FakeEngine>();
  /** Engines whose VM never gets ready, however often it is booted. */
  readonly broken = new Set<string>();
  /** What engines report of floods, whatever it is. */
  readonly floods = new Map<string, unknown>();
  /** What engines report of full flow tables, whatever it is. */
  readonly fullTables = new Map<string, unknown>();
  /** Engines that cannot reach the controller; their data path works. */
  readonly cutOff = new Set<string>();
  /** Engines whose data path is dead while everything else about them works. */
  readonly deaf = new Set<string>();
  /** Engines that do not take graphs. */
  readonly stubborn = new Set<string>();
  bootMs = 300;
  /** When a fault last struck an engine: the controller cannot know of it at once. */
  readonly struckAt = new Map<string, number>();
  #now = 0;
  readonly #hosts: EngineHosts;
  hub: FakeHub;

  constructor(hosts: EngineHosts, hub: FakeHub) {
    this.#hosts = hosts;
    this.hub = hub;
  }

  /** The VM is gone in an instant, as from a kill. */
  kill(id: string): void {
    this.struckAt.set(id, this.#now);
    this.#hosts.switchOff(this.#vm(id).id);
  }

  hang(id: string): void {
    const engine = this.engines.get(id);
    if (engine) engine.isHung = true;
    this.struckAt.set(id, this.#now);
  }

  /** The VM was reset: it boots anew. */
  reboot(vm: string): void {
    for (const [id, engine] of this.engines) if (engine.vm === vm) this.engines.delete(id);
  }

  /** True while its data path forwards. */
  forwards(id: string): boolean {
    const engine = this.engines.get(id);
    return engine !== undefined && !engine.isHung && !this.deaf.has(id) && this.#isUp(engine);
  }

  step(now: number): void {
    this.#now = now;
    const vms = this.#hosts.vms().filter((vm) => vm.engine !== null && vm.power === 'on');
    const present = new Set(vms.map((vm) => vm.engine));
    for (const [id, engine] of this.engines) {
      if (!present.has(id) || !vms.some((vm) => vm.id === engine.vm)) this.engines.delete(id);
    }
    for (const vm of vms) this.#boot(vm, now);
    for (const { engine } of this.hub.connected()) if (!this.engines.has(engine)) this.#disconnect(engine);
    for (const engine of this.engines.values()) this.#turn(engine, now);
  }

  #vm(id: string): Vm {
    const vm = this.#hosts.vms().find((candidate) => candidate.engine === id);
    if (!vm) throw new Error(`there is no engine ${id}`);
    return vm;
  }

  #boot(vm: Vm, now: number): void {
    const id = vm.engine ?? '';
    if (this.engines.get(id)?.vm === vm.id) return;
    this.engines.set(id, {
      id,
      vm: vm.id,
      bootedAt: now,
      graph: null,
      heartbeat: 0,
      reportedAt: 0,
      isHung: false,
      silentSince: null,
    });
  }

  #isUp(engine: FakeEngine): boolean {
    return engine.graph !== null && !this.broken.has(engine.id);
  }

  #disconnect(engine: string): void {
    this.hub.link(engine, false);
    this.hub.putAs(engine, `engine/${engine}`, undefined);
  }

  #turn(engine: FakeEngine, now: number): void {
    const { id } = engine;
    engine.silentSince = this.forwards(id) ? null : (engine.silentSince ?? now);
    if (engine.isHung) return;
    if (now - engine.bootedAt < this.bootMs || this.broken.has(id) || this.cutOff.has(id)) {
      this.#disconnect(id);
      return;
    }
    this.hub.link(id, true);
    const graph = this.hub.get(`graph/${id}`)?.value as ServiceGraph | undefined;
    const isNew = graph !== undefined && graph.revision !== engine.graph?.revision && !this.stubborn.has(id);
    if (isNew) engine.graph = graph;
    if (!isNew && now - engine.reportedAt < REPORT_MS) return;
    engine.reportedAt = now;
    engine.heartbeat++;
    this.hub.putAs(id, `engine/${id}`, this.#report(engine, now));
  }

  #report(engine: FakeEngine, now: number): EngineReport {
    const peers: Record<string, PeerObservation> = {};
    for (const { id } of engine.graph?.peers ?? []) {
      const peer = this.engines.get(id);
      const silentMs = peer ? now - (peer.silentSince ?? now) : 100_000;
      const isAlive = !this.deaf.has(engine.id) && peer !== undefined && silentMs < DEAD_AFTER_MS;
      peers[id] = { isAlive, isInsideAlive: null, silentMs };
    }
    return {
      host: engine.graph?.engine.host ?? '',
      graphRevision: engine.graph?.revision ?? 0,
      ...(engine.graph ? { dataAddresses: engine.graph.engine.dataAddresses } : {}),
      graphError: null,
      isReady: true,
      heartbeat: engine.heartbeat,
      datapath: 'fake',
      peers,
      ports: {},
      drops: {},
      flows: 0,
      newFlows: 0,
      components: {},
      ...(this.floods.has(engine.id)
        ? { floods: this.floods.get(engine.id) as NonNullable<EngineReport['floods']> }
        : {}),
      ...(this.fullTables.has(engine.id)
        ? { fullTables: this.fullTables.get(engine.id) as NonNullable<EngineReport['fullTables']> }
        : {}),
    };
  }
}
