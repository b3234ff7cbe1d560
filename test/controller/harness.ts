/** A controller on a memory datacenter with scripted engines and a clock turned by hand, and what must always hold. */
import assert from 'node:assert/strict';
import { setImmediate as immediate } from 'node:timers/promises';
import type { Timing } from '../../src/controller/actual.ts';
import { type Controller, startController } from '../../src/controller/controller.ts';
import type { Enrolment } from '../../src/controller/perform.ts';
import type { Vm } from '../../src/hypervisor/platform.ts';
import type { StepSummary, SystemStatus } from '../../src/policy/answers.ts';
import type { ServiceGraph } from '../../src/policy/graph.ts';
import { kindNamed } from '../../src/policy/registry.ts';
import { sealerOf } from '../../src/state/sealer.ts';
import type { Store } from '../../src/state/store.ts';
import { type DatacenterState, MemoryDatacenter } from '../hypervisor/memory-platform.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeEngines } from './fake-engines.ts';
import { FakeHub } from './fake-hub.ts';
import { MemoryStore } from './memory-store.ts';

const STEP_MS = 20;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

export class Harness {
  readonly clock = new FakeClock();
  readonly datacenter: MemoryDatacenter;
  store: Store;
  hub = new FakeHub();
  readonly engines: FakeEngines;
  readonly revoked: string[] = [];
  /** Violations of what must always hold, as they happened. */
  readonly violations: string[] = [];
  readonly timing: Partial<Timing>;
  /** Waits for a store that needs real time: the clock stands still meanwhile. */
  settle: (() => Promise<void>) | null = null;
  #controller: Controller | null = null;

  constructor(
    datacenter: DatacenterState | MemoryDatacenter,
    timing: Partial<Timing> = {},
    store: Store = new MemoryStore(),
  ) {
    this.datacenter = datacenter instanceof MemoryDatacenter ? datacenter : new MemoryDatacenter(datacenter);
    this.store = store;
    const { datacenter: memory } = this;
    this.engines = new FakeEngines(
      {
        vms: () => memory.state.vms,
        switchOff: (vm) =>
          memory.change(() => {
            memory.vm(vm).power = 'off';
          }),
      },
      this.hub,
    );
    this.timing = timing;
    this.datacenter.onMutation = (method, phase, subject) => {
      if (phase === 'before') this.#judge(method, subject);
      else if (method === 'power' && subject.endsWith(' reset'))
        this.engines.reboot(subject.split(' ')[0] ?? '');
    };
  }

  get controller(): Controller {
    assert.ok(this.#controller, 'the controller runs');
    return this.#controller;
  }

  async start(): Promise<void> {
    const authority: Enrolment = {
      ca: 'CA',
      createToken: async (engine) => `token of ${engine}`,
      revoke: async (engine) => void this.revoked.push(engine),
    };
    this.#controller = await startController({
      sealer: sealerOf(Buffer.alloc(32, 7)),
      store: this.store,
      hub: this.hub,
      authority,
      openPlatform: () => this.datacenter.open(),
      log: process.env.WEFT_TEST_LOG ? loud : silent,
      hubAdvertise: 'https://192.0.2.1:7443',
      clock: this.clock,
      timing: this.timing,
    });
    await this.flush();
  }

  async stop(): Promise<void> {
    const controller = this.#controller;
    this.#controller = null;
    if (!controller) return;
    await controller.close();
  }

  /** Another controller process on the same store, with a hub that has forgotten everything. */
  async restart(): Promise<void> {
    await this.stop();
    this.hub = new FakeHub();
    this.engines.hub = this.hub;
    await this.start();
  }

  async apply(kind: string, name: string, spec: unknown): Promise<void> {
    const value = kindNamed(kind).spec.parse(spec);
    await this.store.write([{ key: `policy/${kind}/${name}`, value }]);
  }

  async remove(kind: string, name: string): Promise<void> {
    await this.store.write([{ key: `policy/${kind}/${name}`, delete: true }]);
  }

  /** Lets time pass. */
  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      this.engines.step(this.clock.now());
      await this.flush();
      this.clock.advance(STEP_MS);
      await this.flush();
    }
  }

  /** Lets time pass until the condition holds; returns how long it took. */
  async until(what: string, isTrue: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<number> {
    const startedAt = this.clock.now();
    while (!(await isTrue())) {
      if (this.clock.now() - startedAt > limitMs) {
        const status = this.#controller ? await this.controller.backend.status().catch(() => null) : null;
        assert.fail(`not within ${limitMs} ms: ${what}\n${JSON.stringify(status, null, 1)}`);
      }
      await this.run(STEP_MS);
    }
    return this.clock.now() - startedAt;
  }

  async flush(): Promise<void> {
    for (let turn = 0; turn < 4; turn++) await immediate();
    await this.settle?.();
  }

  async status(): Promise<SystemStatus> {
    return this.controller.backend.status();
  }

  /** What is still to be done. The clock goes on meanwhile, for the answer may wait for a listing. */
  async plan(): Promise<StepSummary[]> {
    let answer: StepSummary[] | null = null;
    let failure: unknown;
    const asked = this.controller.backend.plan([], new AbortController().signal).then(
      (steps) => {
        answer = steps;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    while (answer === null && failure === undefined) await this.run(STEP_MS);
    await asked;
    if (answer === null) throw failure;
    return answer;
  }

  async service(name: string): Promise<string> {
    return (await this.status()).services.find((service) => service.name === name)?.state ?? 'unknown';
  }

  async stored<Value>(key: string): Promise<Value | undefined> {
    return (await this.store.get<Value>(key))?.value;
  }

  vm(name: string): Vm {
    const vm = this.datacenter.state.vms.find((candidate) => candidate.name === name);
    assert.ok(vm, `there is a VM ${name}`);
    return vm;
  }

  segmentOf(name: string): string {
    return this.vm(name).nics[0]?.segment ?? '';
  }

  /** The graph last pushed to an engine. */
  graphOf(engine: string): ServiceGraph | undefined {
    return this.hub.get(`graph/${engine}`)?.value as ServiceGraph | undefined;
  }

  /** What the platform carried out, for example `attach id-app1/eth0>prod-weft`. */
  calls(): string[] {
    return this.datacenter.calls.map(({ method, subject }) => `${method} ${subject}`);
  }

  /** Calls that the platform carried out while `run` ran. */
  async during(run: () => Promise<unknown>): Promise<string[]> {
    const before = this.datacenter.calls.length;
    await run();
    return this.calls().slice(before);
  }

  /** Called before every mutation of the datacenter: what must never happen. */
  #judge(method: string, subject: string): void {
    const { vms } = this.datacenter.state;
    if (method === 'attach' && subject.endsWith('-weft')) {
      for (const { engine, nics } of this.datacenter.state.mirrors ?? []) {
        const isSame =
          vms.find((one) => one.engine === engine)?.host ===
          vms.find((one) => subject.startsWith(`${one.id}/`))?.host;
        if (isSame && nics.length > 0) this.violations.push(`${subject}: bent while ${engine} gets copies`);
      }
      const vm = vms.find((candidate) => subject.startsWith(`${candidate.id}/`));
      const engine = vms.find((candidate) => candidate.engine !== null && candidate.host === vm?.host);
      const live = engine?.engine ? this.engines.engines.get(engine.engine) : undefined;
      const known = live?.graph?.members.find((member) => member.id.includes(`/${vm?.id}/`))?.engine;
      const struckAt = this.engines.struckAt.get(engine?.engine ?? '') ?? Number.NEGATIVE_INFINITY;
      if (this.clock.now() - struckAt < 2000) return;
      if (!live || live.isHung || engine?.power !== 'on' || known !== engine.engine) {
        this.violations.push(`${subject}: intercepted without an engine that is ready and knows it`);
      }
    }
    if (method === 'mirror' && !subject.endsWith('<')) {
      const id = subject.slice(0, subject.indexOf('<'));
      const isObserving = this.engines.engines.get(id)?.graph?.engine.mode === 'mirror';
      const host = vms.find((vm) => vm.engine === id)?.host;
      const behind = vms.filter(
        (vm) =>
          vm.engine === null && vm.host === host && vm.nics.some((nic) => nic.segment.endsWith('-weft')),
      );
      if (!isObserving || behind.length > 0) {
        this.violations.push(`${subject}: copies go to an engine that forwards`);
      }
    }
    if (method === 'deployEngine') {
      const host = vms.filter((vm) => vm.engine !== null && vm.engine !== subject);
      const properties = this.#controller ? host : [];
      const wanted = /-(h\d+)$/.exec(subject)?.[1];
      if (properties.some((vm) => vm.host === wanted))
        this.violations.push(`${subject}: a second engine on ${wanted}`);
    }
    if (method === 'removeVm' || (method === 'power' && subject.endsWith(' off'))) {
      const engine = vms.find((vm) => vm.id === subject.split(' ')[0]);
      const behind = vms.filter(
        (vm) =>
          vm.engine === null && vm.host === engine?.host && vm.nics.some((n) => n.segment.endsWith('-weft')),
      );
      const isWorking = engine?.engine ? this.engines.forwards(engine.engine) : false;
      // One of two between the same segments goes whatever stands there: the other one forwards.
      const isTwin = vms.some(
        (vm) => vm.engine !== null && vm !== engine && vm.host === engine?.host && vm.power === 'on',
      );
      if (isWorking && !isTwin && behind.length > 0) {
        this.violations.push(
          `${subject}: removed or switched off with ${behind.map((vm) => vm.name).join()} behind it`,
        );
      }
    }
  }
}

const loud = {
  debug() {},
  info: (details: object, message: string) => console.log('info', message, JSON.stringify(details)),
  warn: (details: object, message: string) => console.log('warn', message, JSON.stringify(details)),
  error: (details: object, message: string) => console.log('error', message, JSON.stringify(details)),
};

/** The policies that most tests start from: one service on the announced address, everything else by default. */
export async function applyShop(
  harness: Harness,
  options: {
    failMode?: 'open' | 'closed';
    mode?: 'in-line' | 'mirror';
    addresses?: string[];
    last?: string;
  } = {},
): Promise<void> {
  await harness.apply('cloud', 'lab', { platform: 'lab', address: '/nowhere' });
  await harness.apply('engine-group', 'edge', {
    cloud: 'lab',
    failMode: options.failMode ?? 'open',
    mode: options.mode ?? 'in-line',
    dataAddresses: [{ prefix: '10.77.0.0/24', first: '10.77.0.201', last: options.last ?? '10.77.0.230' }],
  });
  await harness.apply('pool', 'shop', { cloud: 'lab', members: { tags: ['app=shop'] }, port: 8080 });
  await harness.apply('virtual-service', 'web', {
    engineGroup: 'edge',
    tiers: [{ name: 'shop', addresses: options.addresses ?? ['10.77.0.101'], port: 80, pool: 'shop' }],
  });
}
