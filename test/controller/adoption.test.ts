import assert from 'node:assert/strict';
import type { Placement } from '../../src/controller/actual.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';
import { MemoryStore } from './memory-store.ts';

const signal = new AbortController().signal;
const LAB = { platform: 'lab', address: '/nowhere' };

describe('a controller with an empty store', () => {
  let harness: Harness;
  const engineVms = () => harness.datacenter.state.vms.filter((vm) => vm.engine !== null);
  const adoption = async (cloud = 'lab') => {
    const asked = harness.controller.backend.adoption(cloud, signal);
    asked.catch(() => undefined);
    await harness.run(100);
    return asked;
  };
  const adopt = async () => {
    const { fingerprint } = await adoption();
    const done = harness.controller.backend.adopt('lab', fingerprint, signal);
    await harness.run(100);
    return done;
  };
  const serving = () => harness.until('web serves', async () => (await harness.service('web')) === 'serving');

  /** Two hosts serve; then the store is gone, and with it what the engines trust. */
  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    await harness.start();
    await applyShop(harness);
    await serving();
    await harness.stop();
    harness.store = new MemoryStore();
    for (const id of ['edge-h1', 'edge-h2']) harness.engines.cutOff.add(id);
    await harness.start();
  });
  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  it('touches nothing of an earlier controller, whatever policy says, until it is adopted', async () => {
    const bare = await harness.during(async () => {
      await harness.apply('cloud', 'lab', LAB);
      await harness.run(10_000);
    });
    assert.deepEqual(bare, []);
    const whole = await harness.during(async () => {
      await applyShop(harness);
      await harness.run(10_000);
    });
    assert.deepEqual(whole, []);
    assert.equal(harness.segmentOf('app1'), 'prod-weft');
    const [cloud] = (await harness.status()).clouds;
    assert.equal(cloud?.state, 'held');
    assert.match(cloud?.message ?? '', /2 engines, 2 bent NICs and 2 shadow segments .*weft adopt lab/);
    for (const step of await harness.plan()) assert.match(step.reason, /waits: an earlier controller left/);
  });

  it('says before anything is done what would be removed where no policy asks for it', async () => {
    await harness.apply('cloud', 'lab', LAB);
    await harness.run(1000);
    const found = await adoption();
    assert.deepEqual(
      found.engines.map(({ engine, host, behind, fate }) => [engine, host, behind, fate]),
      [
        ['edge-h1', 'h1', ['app1'], 'removed'],
        ['edge-h2', 'h2', ['app2'], 'removed'],
      ],
    );
    assert.deepEqual([...new Set(found.nics.map(({ fate }) => fate))], ['released']);
    assert.match(found.warnings.join(' '), /apply the policy that they served first/);
    assert.deepEqual([...new Set(found.steps.map(({ step }) => step))].sort(), [
      'release-nic',
      'remove-engine',
      'remove-segment',
    ]);
    await assert.rejects(adoption('other'), { code: 'ERR_NOT_FOUND' });
  });

  it('refuses to adopt what is not what was shown any more', async () => {
    await harness.apply('cloud', 'lab', LAB);
    await harness.run(1000);
    const { fingerprint } = await adoption();
    await applyShop(harness);
    await harness.run(200);
    const late = harness.controller.backend.adopt('lab', fingerprint, signal);
    late.catch(() => undefined);
    await harness.run(100);
    await assert.rejects(late, { code: 'ERR_REVISION_CONFLICT' });
    assert.equal((await harness.status()).clouds[0]?.state, 'held');
  });

  it('tells engines that cannot be spoken to of itself, and takes them on together, nothing moved', async () => {
    await applyShop(harness);
    await harness.run(6000);
    const found = await adoption();
    assert.deepEqual([...new Set(found.engines.map(({ fate }) => fate))], ['enrolled anew']);
    assert.deepEqual([...new Set(found.nics.map(({ fate }) => fate))], ['kept']);
    assert.deepEqual([...new Set(found.steps.map(({ step }) => step))].sort(), [
      'enrol-engine',
      'place-engine',
    ]);
    const before = engineVms().map(({ id }) => id);
    const groupKey = () => harness.engines.engines.get('edge-h1')?.graph?.engine.groupKey;
    const keyBefore = groupKey();
    // One is told and comes, the other takes its time.
    harness.datacenter.onMutation = chain(harness.datacenter.onMutation, (method, phase, subject) => {
      if (method === 'deployEngine' && phase === 'after' && subject === 'edge-h1')
        harness.engines.cutOff.delete(subject);
    });
    const calls = await harness.during(async () => {
      await adopt();
      await harness.run(10_000);
      assert.equal(await harness.stored('placement/edge-h1'), undefined, 'it waits for the other');
      assert.equal(groupKey(), keyBefore, 'and both change their graphs in one moment');
      harness.engines.cutOff.clear();
      await serving();
      await harness.run(6000);
    });
    assert.notEqual(groupKey(), keyBefore);
    assert.deepEqual(calls.sort(), ['deployEngine edge-h1', 'deployEngine edge-h2']);
    assert.deepEqual(
      engineVms().map(({ id }) => id),
      before,
      'the same VMs',
    );
    assert.equal(harness.segmentOf('app1'), 'prod-weft');
    assert.deepEqual(await harness.stored('interception/lab/id-app1/eth0'), { segment: 'prod' });
  });

  it('leaves to engines the addresses that their neighbours know them by, whatever they claim besides', async () => {
    await applyShop(harness);
    harness.engines.cutOff.clear();
    await harness.run(1000);
    const graphOf = (id: string) => harness.engines.engines.get(id)!.graph!;
    const [own1] = graphOf('edge-h1').engine.dataAddresses;
    const [own2] = graphOf('edge-h2').engine.dataAddresses;
    assert.ok(own1 && own2);
    // They were deployed in another order than this controller would choose; and one claims too much.
    const outside = ['not an address', '192.0.2.7/24', 7 as unknown as string];
    graphOf('edge-h1').engine.dataAddresses = [...outside, own2];
    graphOf('edge-h2').engine.dataAddresses = [own2, own1];
    await harness.run(1000);
    await adopt();
    await serving();
    const placed = async (id: string) => (await harness.stored<Placement>(`placement/${id}`))?.addresses;
    const [first, second] = [await placed('edge-h1'), await placed('edge-h2')];
    assert.deepEqual(first, [own2]);
    assert.equal(second?.length, 1);
    assert.notDeepEqual(second, first, 'no address is given twice');
  });

  it('replaces engines that do not come one host after the other, the others in line meanwhile', async () => {
    await applyShop(harness);
    await harness.run(6000);
    let most = 0;
    // What is deployed anew can be spoken to; what is there already does not listen.
    harness.datacenter.onMutation = chain(harness.datacenter.onMutation, (method, phase, subject) => {
      if (method !== 'deployEngine' || phase !== 'before') return;
      if (!engineVms().some((vm) => vm.engine === subject)) harness.engines.cutOff.delete(subject);
    });
    await adopt();
    await harness.run(20_000);
    assert.deepEqual(
      ['app1', 'app2'].map((name) => harness.segmentOf(name)),
      ['prod-weft', 'prod-weft'],
      'they have their time',
    );
    assert.deepEqual([...new Set((await adoption()).engines.map(({ fate }) => fate))], ['enrolled anew']);
    await harness.until('both are new and serve', async () => {
      const placed = await Promise.all(
        ['edge-h1', 'edge-h2'].map((id) => harness.stored<Placement>(`placement/${id}`)),
      );
      const out = ['app1', 'app2'].filter((name) => harness.segmentOf(name) === 'prod').length;
      most = Math.max(most, out);
      return placed.every((one) => one?.vm != null) && (await harness.service('web')) === 'serving';
    });
    assert.equal(most, 1, 'never both out of line');
    assert.equal(engineVms().length, 2);
  });

  it('keeps an engine that still speaks to the hub, and what stands behind it', async () => {
    harness.engines.cutOff.clear();
    const { id } = harness.vm('edge-h1');
    await applyShop(harness);
    await harness.run(2000);
    assert.deepEqual([...new Set((await adoption()).engines.map(({ fate }) => fate))], ['kept']);
    const calls = await harness.during(async () => {
      await adopt();
      await serving();
      await harness.run(6000);
    });
    assert.deepEqual(calls, []);
    assert.equal(harness.vm('edge-h1').id, id);
    assert.deepEqual(await harness.stored('interception/lab/id-app1/eth0'), { segment: 'prod' });
  });

  it('is asked once: after a restart what was adopted stays so', async () => {
    await harness.apply('cloud', 'lab', LAB);
    await harness.run(1000);
    await adopt();
    await harness.restart();
    await harness.until('all of it is gone', () => engineVms().length === 0);
    assert.equal(harness.segmentOf('app1'), 'prod');
  });
});

type OnMutation = Harness['datacenter']['onMutation'];

function chain(first: OnMutation, second: OnMutation): OnMutation {
  return (...args) => {
    first(...args);
    second(...args);
  };
}

describe('a cloud that policy gave up and names again', () => {
  it('is not held for what a step of ours left there last', async () => {
    const harness = new Harness(datacenterOf({ h1: ['app1'] }));
    await harness.start();
    const serving = () =>
      harness.until('web serves', async () => (await harness.service('web')) === 'serving');
    await applyShop(harness);
    await serving();
    for (const [kind, name] of [
      ['virtual-service', 'web'],
      ['pool', 'shop'],
      ['engine-group', 'edge'],
      ['cloud', 'lab'],
    ] as const) {
      await harness.remove(kind, name);
    }
    await harness.run(60_000);
    assert.equal((await harness.status()).clouds.length, 0);
    // A call that was under way when the cloud was forgotten shows its effect only now.
    harness.datacenter.host('h1').segments.push({ name: 'prod-weft', role: 'shadow' });
    await applyShop(harness);
    await serving();
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });
});
