/** What the controller does when engines, hosts, clouds, stores or it itself fail. */
import assert from 'node:assert/strict';
import { WeftError } from '../../src/policy/errors.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';
import type { MemoryStore } from './memory-store.ts';

const SHADOW = 'prod-weft';

describe('failover', () => {
  let harness: Harness;
  const serving = (limitMs?: number) =>
    harness.until('web serves', async () => (await harness.service('web')) === 'serving', limitMs);
  const engineState = async (id: string) =>
    (await harness.status()).engines.find((engine) => engine.id === id)?.state;
  const begin = async (
    hosts: Record<string, string[]>,
    options: Parameters<typeof applyShop>[1] = {},
    timing: ConstructorParameters<typeof Harness>[1] = {},
  ) => {
    harness = new Harness(datacenterOf(hosts), timing);
    await harness.start();
    await applyShop(harness, options);
    await serving();
    // Past the grace of the start.
    await harness.run(6000);
  };
  const three = { h1: ['app1', 'app2'], h2: ['app3'], h3: ['app4'] };
  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  it('bypasses a killed engine at once, powers it on, and intercepts again', async () => {
    await begin(three);
    const { id } = harness.vm('edge-h1');
    harness.engines.kill('edge-h1');
    const took = await harness.until(
      'its NICs are released',
      () => harness.segmentOf('app1') === 'prod' && harness.segmentOf('app2') === 'prod',
    );
    assert.ok(took <= 200, `${took} ms`);
    const peer = harness.graphOf('edge-h2')?.members.filter((member) => member.host === 'h1');
    assert.deepEqual(
      peer?.map((member) => member.engine),
      [null, null],
    );
    await serving(5000);
    assert.equal(harness.vm('edge-h1').id, id);
    assert.equal(harness.segmentOf('app2'), SHADOW);
  });

  it('bypasses a hung engine on the word of its peers, and resets it', async () => {
    await begin(three);
    harness.engines.hang('edge-h2');
    const took = await harness.until('app3 is released', () => harness.segmentOf('app3') === 'prod');
    assert.ok(took >= 400 && took <= 1200, `${took} ms`);
    assert.equal(await engineState('edge-h2'), 'bypassed');
    await serving(5000);
    assert.ok(harness.calls().some((call) => call.startsWith('power') && call.endsWith('reset')));
  });

  it('bypasses a hung engine that has no peers', async () => {
    await begin({ h1: ['app1'] });
    harness.engines.hang('edge-h1');
    const took = await harness.until('app1 is released', () => harness.segmentOf('app1') === 'prod');
    assert.ok(took <= 2000, `${took} ms`);
    await serving(8000);
  });

  it('bypasses an engine whose data path is dead though it speaks to the controller', async () => {
    await begin(three);
    harness.engines.deaf.add('edge-h3');
    const took = await harness.until('app4 is released', () => harness.segmentOf('app4') === 'prod');
    assert.ok(took <= 2500, `${took} ms`);
    assert.equal(harness.segmentOf('app1'), SHADOW);
    harness.engines.deaf.clear();
    await serving(60_000);
  });

  it('leaves an engine alone that only the controller cannot reach', async () => {
    await begin(three);
    harness.engines.cutOff.add('edge-h1');
    assert.deepEqual(await harness.during(() => harness.run(20_000)), []);
    assert.equal(harness.segmentOf('app1'), SHADOW);
    assert.equal(harness.graphOf('edge-h2')?.members.find((m) => m.vm === 'app1')?.engine, 'edge-h1');
    harness.engines.cutOff.clear();
    await serving();
  });

  it('does nothing when all engines vanish from the hub at once', async () => {
    await begin(three);
    for (const id of ['edge-h1', 'edge-h2', 'edge-h3']) harness.engines.cutOff.add(id);
    assert.deepEqual(await harness.during(() => harness.run(20_000)), []);
    const [engine] = (await harness.status()).engines;
    assert.match(engine?.message ?? '', /all engines fell silent at once/);
    harness.engines.cutOff.clear();
    await serving();
  });

  it('tries one engine when all have been out of reach for long', async () => {
    await begin(three, {}, { brakeMs: 3000 });
    for (const id of ['edge-h1', 'edge-h2', 'edge-h3']) harness.engines.cutOff.add(id);
    const calls = await harness.during(() => harness.run(15_000));
    assert.ok(calls.includes('attach id-app1/eth0>prod'));
    assert.ok(!calls.some((call) => call.includes('app3') || call.includes('app4')));
    harness.engines.cutOff.clear();
    await serving(60_000);
  });

  it('still bypasses an engine that is powered off while all others are out of reach', async () => {
    await begin(three);
    for (const id of ['edge-h1', 'edge-h2', 'edge-h3']) harness.engines.cutOff.add(id);
    await harness.run(3000);
    harness.engines.kill('edge-h2');
    await harness.until('app3 is released', () => harness.segmentOf('app3') === 'prod', 500);
    assert.equal(harness.segmentOf('app1'), SHADOW);
    harness.engines.cutOff.clear();
    await serving(60_000);
  });

  it('holds the ports of a silent engine in fail mode closed, and recovers it', async () => {
    await begin(three, { failMode: 'closed' });
    harness.engines.broken.add('edge-h1');
    harness.engines.kill('edge-h1');
    await harness.run(3000);
    assert.equal(await engineState('edge-h1'), 'held');
    assert.equal(harness.segmentOf('app1'), SHADOW);
    await harness.run(120_000);
    assert.equal(harness.segmentOf('app1'), SHADOW);
    harness.engines.broken.clear();
    await serving(120_000);
    assert.equal(harness.segmentOf('app2'), SHADOW);
  });

  it('deploys an engine afresh that two recoveries did not help, more and more rarely', async () => {
    await begin(three, {}, { bootTimeoutMs: 2000 });
    const { id } = harness.vm('edge-h1');
    harness.engines.broken.add('edge-h1');
    harness.engines.hang('edge-h1');
    const calls = await harness.during(() =>
      harness.until('it is deployed afresh', () => {
        const vm = harness.datacenter.state.vms.find((candidate) => candidate.engine === 'edge-h1');
        return vm !== undefined && vm.id !== id;
      }),
    );
    assert.equal(calls.filter((call) => call.startsWith('power')).length, 2);
    assert.ok(harness.revoked.includes('edge-h1'));
    const count = async () => (await harness.during(() => harness.run(60_000))).length;
    const first = await count();
    await count();
    assert.ok((await count()) < first, 'attempts get rarer');
    harness.engines.broken.clear();
    await serving(400_000);
    await harness.run(12_000);
    assert.equal((await harness.stored<{ recovery: unknown }>('placement/edge-h1'))?.recovery, null);
  });

  it('deploys an engine again whose VM somebody deleted', async () => {
    await begin(three);
    harness.datacenter.change((state) => {
      state.vms = state.vms.filter((vm) => vm.engine !== 'edge-h3');
    });
    await harness.until('app4 is released', () => harness.segmentOf('app4') === 'prod', 500);
    await serving(8000);
  });

  it('removes the engine VM that somebody moved to another host, and deploys one in its place', async () => {
    await begin(three);
    harness.datacenter.change((state) => {
      state.hosts.push({ ...structuredClone(state.hosts[0]!), id: 'h4', name: 'h4' });
      harness.vm('edge-h1').host = 'h4';
    });
    await harness.run(100);
    await serving(10_000);
    assert.equal(harness.vm('edge-h1').host, 'h1');
    assert.equal(harness.datacenter.state.vms.filter((vm) => vm.engine === 'edge-h1').length, 1);
  });

  it('changes nothing when a cloud does not answer, and says so', async () => {
    await begin(three);
    harness.datacenter.isReachable = false;
    await harness.remove('virtual-service', 'web');
    assert.deepEqual(await harness.during(() => harness.run(15_000)), []);
    const status = await harness.stored<{ state: string; message: string }>('status/cloud/lab');
    assert.equal(status?.state, 'unreachable');
    assert.match(status?.message ?? '', /nobody answers/);
    harness.datacenter.heal();
    await harness.until('everything is gone', () =>
      harness.datacenter.state.vms.every((vm) => vm.engine === null),
    );
  });

  it('does not believe one listing that has lost most of the datacenter', async () => {
    await begin(three);
    let listings = 0;
    harness.datacenter.disguise = (inventory) => {
      listings++;
      return { ...inventory, hosts: [], vms: [] };
    };
    await harness.until('a listing was disguised', () => listings > 0);
    await harness.run(100);
    harness.datacenter.disguise = null;
    assert.deepEqual(await harness.during(() => harness.run(10_000)), []);
    assert.equal(await harness.service('web'), 'serving');
  });

  it('does not believe a half-empty listing right after a restart either', async () => {
    await begin(three);
    await harness.stop();
    let listings = 0;
    harness.datacenter.disguise = (inventory) => (listings++ === 0 ? { ...inventory, vms: [] } : inventory);
    const calls = await harness.during(async () => {
      await harness.restart();
      await harness.run(8000);
    });
    assert.deepEqual(calls, []);
    assert.equal(await harness.service('web'), 'serving');
  });

  it('does nothing when it restarts among healthy engines, even if they come back late', async () => {
    await begin(three);
    for (const id of ['edge-h1', 'edge-h2', 'edge-h3']) harness.engines.cutOff.add(id);
    const calls = await harness.during(async () => {
      await harness.restart();
      await harness.run(3000);
      harness.engines.cutOff.clear();
      await harness.run(10_000);
    });
    assert.deepEqual(calls, []);
    assert.equal(await harness.service('web'), 'serving');
  });

  it('does not take its own stand-still for that of the engines', async () => {
    await begin(three);
    const calls = await harness.during(async () => {
      harness.clock.stall(60_000);
      await harness.run(5000);
    });
    assert.deepEqual(calls, []);
  });

  it('bypasses even when its store cannot be written', async () => {
    await begin(three);
    const store = harness.store as MemoryStore;
    store.failure = new WeftError('ERR_STORE_WRITE', 'the disk is full');
    harness.engines.hang('edge-h1');
    await harness.until('released', () => harness.segmentOf('app1') === 'prod', 2000);
    const peer = harness.graphOf('edge-h2')?.members.find((member) => member.vm === 'app1');
    assert.equal(peer?.engine, null);
    store.failure = null;
    await serving(60_000);
  });

  it('does not wait for ever for a peer that takes no graph', async () => {
    await begin(three);
    harness.engines.stubborn.add('edge-h2');
    await harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      hosts: ['h2', 'h3'],
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
    });
    const took = await harness.until('app1 is released', () => harness.segmentOf('app1') === 'prod', 5000);
    assert.ok(took > 1500, `${took} ms: the peer had its time`);
  });

  it('releases beside a step that hangs', async () => {
    await begin(three);
    harness.datacenter.slow('power', 60_000);
    harness.engines.kill('edge-h2');
    await harness.run(500);
    assert.match((await harness.status()).controller.reconciling ?? '', /^power-engine/);
    harness.engines.hang('edge-h1');
    await harness.until('released', () => harness.segmentOf('app2') === 'prod', 3000);
    assert.equal(harness.segmentOf('app3'), 'prod');
    harness.datacenter.heal();
    await serving(60_000);
  });
});
