/** Two controllers with stores of their own on one cloud: one drives it, the other says why it does not. */
import assert from 'node:assert/strict';
import { type Controller, startController } from '../../src/controller/controller.ts';
import { sealerOf } from '../../src/state/sealer.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { FakeHub } from './fake-hub.ts';
import { applyShop, Harness } from './harness.ts';
import { MemoryStore } from './memory-store.ts';

describe('ownership of a cloud', () => {
  const never = new AbortController().signal;
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  let harness: Harness;
  let others: Controller[] = [];

  afterEach(async () => {
    for (const other of others) await other.close();
    others = [];
    await harness.stop();
  });

  async function begin(keeps: 'atomic' | 'loose', placement: Record<string, string[]> = { h1: ['app1'] }) {
    harness = new Harness(datacenterOf(placement));
    harness.datacenter.keepsOwner = keeps;
    await harness.start();
    await applyShop(harness);
  }

  /** Another controller on the same cloud, with the same policies and the same clock. */
  async function startOther(): Promise<Controller> {
    const store = new MemoryStore();
    for (const { key, value } of await harness.store.list('policy/')) await store.write([{ key, value }]);
    const other = await startController({
      sealer: sealerOf(Buffer.alloc(32, 7)),
      store,
      hub: new FakeHub(),
      authority: { ca: 'CA', createToken: async () => 'token', revoke: async () => undefined },
      openPlatform: () => harness.datacenter.open(),
      log: quiet,
      hubAdvertise: 'https://192.0.2.2:7443',
      clock: harness.clock,
    });
    others.push(other);
    return other;
  }

  const serving = () => harness.until('it serves', async () => (await harness.service('web')) === 'serving');
  const cloudOf = async (controller: Controller) => (await controller.backend.status()).clouds[0]!;
  const owner = () => harness.datacenter.owner?.instance;
  async function instanceOf(): Promise<string | undefined> {
    return (await harness.stored<{ id: string }>('controller/instance'))?.id;
  }

  for (const keeps of ['atomic', 'loose'] as const) {
    it(`lets one of two that begin at once drive it, ${keeps} platform`, async () => {
      await begin(keeps);
      const other = await startOther();
      await harness.run(4000);
      const states = [await cloudOf(harness.controller), await cloudOf(other)].map(({ state }) => state);
      assert.deepEqual(states.sort(), ['connected', 'foreign']);
      const deployed = harness.calls().filter((call) => call.startsWith('deployEngine'));
      assert.equal(deployed.length, 1, harness.calls().join());
    });
  }

  it('tells the second who drives it and what to do, and touches nothing', async () => {
    await begin('atomic', { h1: [], h2: [] });
    await harness.run(1000);
    const other = await startOther();
    harness.datacenter.change((state) => {
      const vm = structuredClone(datacenterOf({ h1: ['app1'] }).vms[0]!);
      state.vms.push(vm);
    });
    await serving();
    const { state, message } = await cloudOf(other);
    assert.equal(state, 'foreign');
    const steps = await other.backend.plan([], never);
    assert.ok(steps.length > 0);
    for (const { reason } of steps) assert.match(reason, /waits/);
    assert.match(message, /driven by controller [\w-]+ on \S+.*weft cloud take-over lab/);
    assert.equal(owner(), await instanceOf());
  });

  it('is taken over from one that is alive as soon as that has let go', async () => {
    await begin('atomic');
    await serving();
    const other = await startOther();
    await harness.run(1000);
    const taken = await other.backend.takeOver('lab', never);
    assert.match(taken.waitsFor ?? '', /is given up to 15 s to let go/);
    const startedAt = harness.clock.now();
    await harness.until(
      'the other drives it',
      async () => (await cloudOf(other)).state !== 'foreign',
      15_000,
    );
    assert.ok(harness.clock.now() - startedAt < 5000, 'it did not wait for the whole time');
    assert.equal((await cloudOf(harness.controller)).state, 'foreign');
    assert.notEqual(owner(), await instanceOf());
    // What it would have to do now, it does not do.
    const calls = await harness.during(async () => {
      await harness.remove('virtual-service', 'web');
      await harness.run(5000);
    });
    assert.deepEqual(calls, []);
  });

  it('is taken over from one that is dead after a time in which it must have noticed', async () => {
    await begin('atomic');
    await serving();
    await harness.stop();
    const other = await startOther();
    await harness.run(1000);
    await other.backend.takeOver('lab', never);
    await harness.run(12_000);
    assert.match((await cloudOf(other)).message, /weft adopt|let go/);
    assert.notEqual(harness.datacenter.owner?.ousted, null);
    await harness.until('it drives it', () => harness.datacenter.owner?.ousted === null, 8000);
    await harness.start();
    await harness.run(3000);
    assert.equal((await cloudOf(harness.controller)).state, 'foreign', 'the first one comes back too late');
  });

  it('refuses a mutation of one that was replaced without its noticing', async () => {
    await begin('atomic');
    await serving();
    const record = harness.datacenter.owner!;
    harness.datacenter.owner = { ...record, instance: 'somebody', life: 'else' };
    await harness.run(3000);
    const calls = await harness.during(async () => {
      harness.engines.kill('edge-h1');
      await harness.run(5000);
    });
    assert.deepEqual(calls, []);
  });

  it('is its own again at once after a restart, and beats', async () => {
    await begin('atomic');
    await serving();
    const before = harness.datacenter.owner!;
    await harness.restart();
    await harness.run(1000);
    assert.equal((await cloudOf(harness.controller)).state, 'connected');
    assert.equal(harness.datacenter.owner?.instance, before.instance);
    assert.notEqual(harness.datacenter.owner?.life, before.life);
    const { beatAt } = harness.datacenter.owner!;
    await harness.run(70_000);
    assert.notEqual(harness.datacenter.owner?.beatAt, beatAt);
  });
});
