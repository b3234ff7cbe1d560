/**
 * One site of a schedule: hosts and VMs on paper, the simulated vCenter in front of them over HTTPS, the real
 * controller with the real vCenter platform, and scripted engines. Vcenter and controller have lives: each can be cut
 * off at any moment as by a kill, and begun anew from what it had made durable.
 */
import type { Timing } from '../../../src/controller/actual.ts';
import { type Controller, startController } from '../../../src/controller/controller.ts';
import { newCertificate, thumbprint } from '../../../src/lab/vcenter/certificate.ts';
import { serveVcenter, type VcenterServer } from '../../../src/lab/vcenter/server.ts';
import { newState, type VcenterState } from '../../../src/lab/vcenter/state.ts';
import { Vcenter } from '../../../src/lab/vcenter/vcenter.ts';
import { Datacenter } from '../../../src/lab/world/datacenter.ts';
import { LabInventory } from '../../../src/lab/world/inventory.ts';
import { newRecord, viewOf } from '../../../src/lab/world/new-record.ts';
import type { LabRecord, VmRecord } from '../../../src/lab/world/record.ts';
import { Segments } from '../../../src/lab/world/segments.ts';
import { Vms } from '../../../src/lab/world/vms.ts';
import type { StepSummary } from '../../../src/policy/answers.ts';
import { WeftError } from '../../../src/policy/errors.ts';
import { kindNamed } from '../../../src/policy/registry.ts';
import { sealerOf } from '../../../src/state/sealer.ts';
import type { Store } from '../../../src/state/store.ts';
import { openVcenter } from '../../../src/vcenter/index.ts';
import { FakeEngines } from '../../controller/fake-engines.ts';
import { FakeHub } from '../../controller/fake-hub.ts';
import { MemoryStore } from '../../controller/memory-store.ts';
import { PaperMachinery } from '../../lab/paper-machinery.ts';
import type { VirtualTime } from './virtual-time.ts';

export const CLOUD = 'vc';
export const SHADOW_VLANS = { first: 3000, last: 3009 };
const ENGINE_STEP_MS = 100;
const TIMING: Partial<Timing> = { graceMs: 2000, bootTimeoutMs: 5000, brakeMs: 6000, stableMs: 4000 };
/** Made once: a key takes longer to make than a schedule to run. */
let certificate: ReturnType<typeof newCertificate> | null = null;

/** How many of the blueprint's hosts and VMs there are. */
export interface Size {
  hosts: number;
  vms: number;
}

interface Life {
  isDead: boolean;
  hub: FakeHub;
  controller: Controller | null;
  url: string;
}

export class Site {
  readonly time: VirtualTime;
  readonly record: LabRecord;
  readonly datacenter: Datacenter;
  readonly machinery = new PaperMachinery();
  readonly store = new MemoryStore();
  readonly engines: FakeEngines;
  /** What was done, for whoever reads of a failure. */
  readonly story: string[] = [];
  /** Calls that changed something, by this controller and earlier ones. */
  mutations = 0;
  calls = 0;
  readonly #ova: string;
  /** The vCenter's database. */
  #kept: string;
  #vcenter: { vcenter: Vcenter; cut: () => void } | null = null;
  #server: VcenterServer | null = null;
  #life: Life | null = null;
  /** Events of the controller until it is killed: replies and writes. */
  #killIn: number | null = null;

  constructor(time: VirtualTime, ova: string, size: Size) {
    this.time = time;
    this.#ova = ova;
    this.record = newRecord('sim');
    this.record.hosts.length = size.hosts;
    this.record.vms = this.record.vms.filter((vm) => this.record.hosts.some((host) => host.id === vm.host));
    this.record.vms.length = Math.min(this.record.vms.length, size.vms);
    for (const vm of this.record.vms) void this.machinery.powerOn(vm);
    this.machinery.onBoot = (vm) => this.engines.reboot(vm.id);
    this.datacenter = new Datacenter(this.record, this.machinery);
    certificate ??= newCertificate('vcenter.sim.weft', ['127.0.0.1']);
    this.#kept = JSON.stringify(newState(certificate));
    this.engines = new FakeEngines(
      {
        vms: () => this.engineVms().map(viewOf),
        switchOff: (vm) => void this.datacenter.vms.power(vm, 'off'),
      },
      new FakeHub(),
    );
    setInterval(() => this.engines.step(this.time.now()), ENGINE_STEP_MS);
  }

  /** The vCenter, while it is up. */
  get vcenter(): Vcenter | null {
    return this.#vcenter?.vcenter ?? null;
  }

  /** The vCenter's state; while it is down, its database. */
  get state(): VcenterState {
    return this.#vcenter?.vcenter.state ?? (JSON.parse(this.#kept) as VcenterState);
  }

  engineVms(): VmRecord[] {
    return this.record.vms.filter((vm) => vm.engine);
  }

  get isControllerUp(): boolean {
    return this.#life !== null;
  }

  tell(what: string): void {
    this.story.push(`${((this.time.now() - Date.UTC(2026, 0, 1)) / 1000).toFixed(2)} s: ${what}`);
    if (process.env.WEFT_TEST_LOG) console.log(this.story.at(-1));
  }

  async startVcenter(): Promise<void> {
    if (this.#vcenter) return;
    let isCut = false;
    const datacenter = severable(this.datacenter, () => isCut);
    const vcenter = new Vcenter(datacenter, JSON.parse(this.#kept) as VcenterState, {
      read: () => null,
      write: (state) => {
        if (!isCut) this.#kept = JSON.stringify(state);
      },
    });
    this.#vcenter = {
      vcenter,
      cut: () => {
        isCut = true;
        vcenter.stop();
      },
    };
    if (this.#life) await this.#serve(this.#life);
    // What was half imported is removed, which takes its time.
    await this.time.until(vcenter.start(), 60_000, 'the start of vCenter');
  }

  /** As kill -9 does it to vpxd: sessions, tasks and leases are gone. */
  stopVcenter(): void {
    this.#vcenter?.cut();
    this.#vcenter = null;
    this.#hangUp();
  }

  async startController(): Promise<void> {
    if (this.#life) return;
    const life: Life = { isDead: false, hub: new FakeHub(), controller: null, url: 'https://127.0.0.1:1' };
    this.#life = life;
    this.engines.hub = life.hub;
    if (this.#vcenter) {
      this.#vcenter.vcenter.state.port = 0;
      await this.#serve(life);
    }
    const log = {
      debug() {},
      info: (details: object, message: string) => this.#hear(life, details, message),
      warn: (details: object, message: string) => this.#hear(life, details, message),
      error: (details: object, message: string) => this.#hear(life, details, message),
    };
    const controller = await this.time.until(
      startController({
        sealer: sealerOf(Buffer.alloc(32, 7)),
        store: this.#storeOf(life),
        hub: life.hub,
        authority: {
          ca: 'CA',
          createToken: async (engine) => `token of ${engine}`,
          revoke: async () => undefined,
        },
        openPlatform: () =>
          openVcenter({
            address: life.url,
            user: this.state.user,
            password: () => this.state.password,
            thumbprint: thumbprint(certificate!.certificate, 'sha256'),
            managementNetwork: 'mgmt',
            uplinkAttribute: 'weft.uplinks',
            rackCategory: 'rack',
            shadowVlans: SHADOW_VLANS,
            engines: {
              ova: this.#ova,
              signedBy: null,
              size: 'small',
              folder: null,
              datastore: null,
              now: () => this.time.now(),
            },
            log: {
              debug: (fields, message) => {
                if (message === 'vCenter call') this.#heardReply(life, fields as { method?: string });
              },
              warn: () => undefined,
            },
          }),
        log,
        hubAdvertise: 'https://192.0.2.1:7443',
        timing: TIMING,
      }),
      5000,
      'the start of the controller',
    );
    life.controller = controller;
    // Killed while it started.
    if (life.isDead) void controller.close().catch(() => undefined);
  }

  /** As kill -9 does it: nothing is sent or written any more, and nobody says goodbye. */
  killController(): void {
    const life = this.#life;
    if (!life) return;
    this.tell('the controller is killed');
    this.#killIn = null;
    life.isDead = true;
    this.#life = null;
    this.#hangUp();
    this.engines.hub = new FakeHub();
    void life.controller?.close().catch(() => undefined);
  }

  /** Kills the controller after so many replies and writes. */
  killAfter(events: number): void {
    this.#killIn = events;
  }

  async apply(kind: string, name: string, spec: unknown): Promise<void> {
    const value = kindNamed(kind).spec.parse(spec);
    await this.store.write([{ key: `policy/${kind}/${name}`, value }]);
  }

  async remove(kind: string, name: string): Promise<void> {
    await this.store.write([{ key: `policy/${kind}/${name}`, delete: true }]);
  }

  /** What is still to be done. */
  async plan(): Promise<StepSummary[]> {
    const controller = this.#life?.controller;
    if (!controller) return [];
    return this.time.until(controller.backend.plan([], new AbortController().signal), 60_000, 'the plan');
  }

  async status(): Promise<unknown> {
    return this.#life?.controller?.backend.status();
  }

  async stop(): Promise<void> {
    const controller = this.#life?.controller;
    this.#killIn = null;
    if (controller) await this.time.until(controller.close(), 60_000, 'the end of the controller');
    if (this.#life) this.#life.isDead = true;
    this.#life = null;
    this.stopVcenter();
    await this.time.pass(100);
  }

  async #serve(life: Life): Promise<void> {
    const server = await serveVcenter(this.#vcenter!.vcenter);
    this.#server = server;
    life.url = server.url;
  }

  #hangUp(): void {
    void this.#server?.close();
    this.#server = null;
  }

  #storeOf(life: Life): Store {
    const { store } = this;
    const gone = (): WeftError => new WeftError('ERR_UNREACHABLE', 'this controller was killed');
    return {
      get revision() {
        return store.revision;
      },
      get: (key) => store.get(key),
      list: (prefix) => store.list(prefix),
      watch: (prefix, revision, signal) => store.watch(prefix, revision, signal),
      write: async (writes, conditions) => {
        this.#event(life);
        if (life.isDead) throw gone();
        const revision = await store.write(writes, conditions);
        this.#event(life);
        if (life.isDead) throw gone();
        return revision;
      },
      close: async () => undefined,
    };
  }

  #heardReply(life: Life, { method = '' }: { method?: string }): void {
    if (life.isDead) return;
    this.calls++;
    if (
      !/^(Retrieve|Continue|WaitFor|Cancel|Fetch|Find|Create(Filter|PropertyC|Container)|Destroy(Prop|View)|Query|Log|Current)/.test(
        method,
      )
    )
      this.mutations++;
    this.#event(life);
  }

  #event(life: Life): void {
    if (life.isDead) return;
    if (this.#killIn !== null && --this.#killIn <= 0) this.killController();
  }

  #hear(life: Life, details: object, message: string): void {
    if (!life.isDead) this.tell(`${message} ${JSON.stringify(details)}`);
  }
}

/** A datacenter for one life of vCenter: what an ended one had begun does not go on, as its calls are never answered. */
function severable<Part extends object>(part: Part, isCut: () => boolean): Part {
  return new Proxy(part, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (value instanceof LabInventory || value instanceof Segments || value instanceof Vms)
        return severable<object>(value, isCut);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) =>
        isCut() ? new Promise(() => undefined) : Reflect.apply(value, target, args);
    },
  });
}
