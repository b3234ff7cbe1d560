/** A pool that grows by clones under load, and shrinks again without cutting anybody off. */
import assert from 'node:assert/strict';
import type { CloneRecord } from '../../../src/controller/autoscale/fleet.ts';
import type { StepSummary } from '../../../src/policy/answers.ts';
import { datacenterOf } from '../../hypervisor/memory-platform.ts';
import { applyShop } from '../harness.ts';
import { QUICK, ScaledPool } from './scaled-pool.ts';

describe('a pool that scales', function () {
  this.timeout(60_000);
  let pool: ScaledPool;

  beforeEach(async () => {
    pool = new ScaledPool(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    await pool.harness.start();
    await applyShop(pool.harness);
    await pool.apply(QUICK);
    await pool.until('it serves', async () => (await pool.harness.service('web')) === 'serving');
    await pool.run(2000);
  });
  afterEach(() => pool.harness.stop());

  const records = async (): Promise<CloneRecord[]> =>
    (await pool.harness.store.list<CloneRecord>('autoscale/shop/')).map(({ value }) => value);
  const phases = async (): Promise<string[]> =>
    (await records()).map(({ clone, phase }) => `${clone.name} ${phase}`);
  const clonesReady = async (count: number): Promise<boolean> => {
    const all = await records();
    return all.length === count && all.every(({ phase }) => phase === 'ready');
  };

  it('stays as it is while the load is near its target', async () => {
    pool.connections = 20;
    await pool.run(10_000);
    assert.deepEqual(pool.clones(), []);
    assert.equal((await pool.status()).autoscale?.state, 'steady');
  });

  it('grows by as many clones as the load asks for, spreads them, and says why', async () => {
    pool.connections = 38;
    await pool.until('two clones serve', () => clonesReady(2));
    assert.deepEqual(pool.clones(), ['shop-1', 'shop-2']);
    assert.deepEqual(
      pool.clones().map((name) => pool.harness.vm(name).host),
      ['h1', 'h2'],
    );
    for (const name of pool.clones()) {
      await pool.until(`${name} is in line`, () => pool.harness.segmentOf(name) === 'prod-weft');
    }
    await pool.run(500);
    const { autoscale } = await pool.status();
    const [decision] = autoscale?.decisions ?? [];
    assert.deepEqual([decision?.from, decision?.to], [2, 4]);
    assert.match(decision?.reason ?? '', /19 connections per member, target 10/);
    assert.deepEqual(decision?.figures, {
      size: 2,
      serving: 2,
      coming: 0,
      leaving: 0,
      connectionsPerMember: 19,
      cpuPercent: 10,
    });
    await pool.run(10_000);
    assert.deepEqual(pool.clones(), ['shop-1', 'shop-2'], 'and then stays');
  });

  it('waits for a privilege that only clones of certain VMs need where its own model is one of them', async () => {
    const lack = { privilege: 'InventoryService.Tagging.AttachTag', purpose: 'tag', hosts: ['h1', 'h2'] };
    const lacks = (models: string[]) => [{ ...lack, calls: ['cloneVm' as const], models }];
    pool.harness.datacenter.lacks = lacks(['id-app1', 'id-app2']);
    // Looked at again after half a minute.
    await pool.run(31_000);
    pool.connections = 38;
    await pool.run(5000);
    assert.deepEqual(pool.clones(), []);
    const waiting = (await pool.harness.plan()).filter(({ step }) => step === 'clone-vm');
    assert.match(waiting[0]?.reason ?? '', /lacks InventoryService\.Tagging\.AttachTag/);
    pool.harness.datacenter.lacks = lacks(['id-other']);
    await pool.until('two clones serve', () => clonesReady(2));
  });

  it('grows by CPU as well, and never beyond max', async () => {
    await pool.apply({ ...QUICK, max: 3, targets: { cpuPercent: 50 } });
    pool.harness.datacenter.cpu.set('app1', 1).set('app2', 1);
    await pool.until('one clone serves', () => clonesReady(1));
    pool.harness.datacenter.cpu.set('shop-1', 1);
    await pool.run(15_000);
    assert.deepEqual(pool.clones(), ['shop-1']);
    assert.match(
      (await pool.status()).autoscale?.message ?? '',
      /100% CPU per member, target 50; 3 members are as many as max allows/,
    );
  });

  it('drains what it does not need any more, waits for the last connection, then removes it', async () => {
    pool.connections = 38;
    await pool.until('two clones serve', () => clonesReady(2));
    pool.connections = 9;
    pool.endingPerSecond = 1;
    await pool.until('one drains', async () => (await phases()).some((phase) => phase.endsWith('draining')));
    const [leaving] = (await records()).filter(({ phase }) => phase === 'draining');
    const id = `lab/${leaving?.vm}/eth0`;
    pool.held.set(id, 3);
    await pool.until('its time is used', () => (pool.held.get(id) ?? 0) <= 0.2);
    assert.ok(pool.clones().includes(leaving?.clone.name ?? ''), 'it is there while it holds a connection');
    await pool.until('both are gone', async () => (await records()).length === 0);
    assert.deepEqual(pool.clones(), []);
    assert.equal(pool.harness.vm('app1').power, 'on');
    const { autoscale } = await pool.status();
    assert.deepEqual(
      autoscale?.decisions.map(({ from, to }) => [from, to]),
      [
        [3, 2],
        [4, 3],
        [2, 4],
      ],
    );
    await pool.run(10_000);
    assert.equal((await pool.harness.plan()).length, 0);
  });

  it('cuts what is left when the time to drain is over, and not before', async () => {
    await pool.apply({ ...QUICK, size: 3 });
    await pool.until('a clone serves', () => clonesReady(1));
    const [record] = await records();
    pool.endingPerSecond = 0;
    pool.connections = 12;
    await pool.run(500);
    await pool.apply({ ...QUICK, size: 2 });
    await pool.until('it drains', async () => (await phases())[0] === 'shop-1 draining');
    pool.held.set(`lab/${record?.vm}/eth0`, 4);
    await pool.run(7000);
    assert.deepEqual(pool.clones(), ['shop-1']);
    const took = await pool.until('it is gone', () => pool.clones().length === 0);
    assert.ok(took <= 2500, `${took} ms after its 8 s`);
  });

  it('keeps a clone that drains when the load comes back', async () => {
    pool.connections = 38;
    await pool.until('two clones serve', () => clonesReady(2));
    pool.connections = 9;
    pool.endingPerSecond = 0;
    await pool.until('one drains', async () => (await phases()).some((phase) => phase.endsWith('draining')));
    pool.held.set(`lab/${(await records()).find(({ phase }) => phase === 'draining')?.vm}/eth0`, 3);
    pool.connections = 38;
    const before = pool.harness.calls().filter((call) => call.startsWith('cloneVm')).length;
    await pool.until('it is ready again', () => clonesReady(2));
    assert.equal(pool.harness.calls().filter((call) => call.startsWith('cloneVm')).length, before);
  });

  it('removes a clone that never gets healthy, tries one at a time, and waits longer each time', async () => {
    pool.sick.add('*');
    pool.connections = 38;
    await pool.until(
      'the first ones are given up',
      async () =>
        (await pool.status()).autoscale?.decisions.some(({ reason }) => /came to nothing/.test(reason)) ===
        true,
    );
    await pool.until('nothing is left of them', async () => (await records()).length === 0);
    assert.deepEqual(pool.clones(), []);
    await pool.until('it waits', async () => (await pool.status()).autoscale?.state === 'held');
    const { autoscale } = await pool.status();
    assert.match(
      autoscale?.message ?? '',
      /shop-\d on host h\d: it was not up 5 s after it was made: refused.*the next one is made in \d+ s/,
    );
    const made = (): number => pool.harness.calls().filter((call) => call.startsWith('cloneVm')).length;
    const before = made();
    await pool.run(300_000);
    assert.ok(made() - before <= 3, `${made() - before} clones in five minutes`);
    pool.sick.clear();
    await pool.apply({ ...QUICK, readyTimeoutMs: 6000 });
    await pool.until('a changed pool is tried at once', () => clonesReady(2), 20_000);
  });

  it('gives a clone up that the platform refuses, says so, and leaves nothing on record', async () => {
    pool.harness.datacenter.refuse('cloneVm');
    pool.connections = 38;
    await pool.until('it is given up', async () =>
      /cloneVm .* is refused/.test((await pool.status()).autoscale?.message ?? ''),
    );
    await pool.until('nothing is left', async () => (await records()).length === 0);
    assert.equal(
      (await pool.harness.status()).operations.filter(({ step }) => step === 'clone-vm').length,
      0,
    );
  });

  it('takes nothing away while engines are silent or the cloud does not answer', async () => {
    pool.connections = 38;
    await pool.until('two clones serve', () => clonesReady(2));
    pool.harness.engines.broken.add('edge-h2');
    pool.harness.engines.hang('edge-h2');
    pool.connections = 0;
    await pool.run(15_000);
    assert.equal((await records()).filter(({ phase }) => phase === 'ready').length, 2);
    assert.match((await pool.status()).autoscale?.message ?? '', /engine edge-h2 is/);
    pool.harness.engines.broken.delete('edge-h2');
    await pool.until('its engine is back', async () =>
      (await pool.harness.status()).engines.every(({ state }) => state === 'ready'),
    );
    pool.harness.datacenter.isReachable = false;
    await pool.run(15_000);
    assert.equal((await records()).filter(({ phase }) => phase === 'ready').length, 2);
    pool.harness.datacenter.heal();
    await pool.until('then it shrinks', async () => (await records()).length === 0);
  });

  it('remembers over a restart when it grew last', async () => {
    await pool.apply({ ...QUICK, scaleOut: { ...QUICK.scaleOut, step: 1, cooldownMs: 60_000 } });
    pool.connections = 50;
    await pool.until('one clone serves', () => clonesReady(1));
    await pool.harness.restart();
    await pool.run(40_000);
    assert.deepEqual(pool.clones(), ['shop-1']);
    await pool.until('it grows again', () => pool.clones().length === 2, 30_000);
  });

  it('makes up for members below min, and is as large as a person says', async () => {
    await pool.apply({ ...QUICK, min: 3 });
    await pool.until('one clone serves', () => clonesReady(1));
    await pool.apply({ ...QUICK, size: 5 });
    await pool.until('three clones serve', () => clonesReady(3));
    await pool.apply({ ...QUICK, size: 2 });
    await pool.until('none is left', async () => (await records()).length === 0);
    assert.deepEqual(pool.clones(), []);
  });

  it('shows what a change would do, step by step, before anything is done', async () => {
    const spec = { ...QUICK, size: 4 };
    const value = {
      cloud: 'lab',
      members: { tags: ['app=shop'] },
      port: 8080,
      healthMonitors: [{ type: 'tcp' }],
      autoscale: spec,
    };
    let steps: StepSummary[] | null = null;
    const { kindNamed } = await import('../../../src/policy/registry.ts');
    const asked = pool.harness.controller.backend
      .plan(
        [{ kind: 'pool', name: 'shop', spec: kindNamed('pool').spec.parse(value) }],
        new AbortController().signal,
      )
      .then((answer) => {
        steps = answer;
      });
    while (steps === null) await pool.run(100);
    await asked;
    assert.deepEqual(
      (steps as StepSummary[]).map(({ step, object }) => `${step} ${object}`),
      [
        'scale-out pool shop',
        'clone-vm vm shop-1',
        'admit-clone vm shop-1',
        'clone-vm vm shop-2',
        'admit-clone vm shop-2',
      ],
    );
    assert.deepEqual(pool.clones(), []);
  });

  it('says what is wrong with a source, a selector, or hosts, and makes nothing', async () => {
    const wrong: [unknown, RegExp][] = [
      [
        { ...QUICK, size: 3, source: { kind: 'full', vm: 'nobody' } },
        /source VM nobody is not in the inventory/,
      ],
      [{ ...QUICK, size: 3, source: { kind: 'full', vm: 'edge-h1' } }, /source VM edge-h1 is an engine/],
      [{ ...QUICK, size: 3, hosts: ['x*'] }, /ERR_NO_CAPACITY: no host .*h1: autoscale.hosts leaves it out/],
      [{ ...QUICK, size: 3, folder: '/elsewhere' }, /./],
    ];
    for (const [spec, expected] of wrong.slice(0, 3)) {
      await pool.apply(spec);
      await pool.until('it says so', async () => expected.test((await pool.status()).message));
    }
    await pool.harness.apply('pool', 'shop', {
      cloud: 'lab',
      members: { names: ['app*'] },
      port: 8080,
      autoscale: { ...QUICK, size: 3 },
    });
    await pool.until('it says so', async () =>
      /a clone called shop-1 would not be chosen by the selector .*set autoscale.namePrefix/.test(
        (await pool.status()).message,
      ),
    );
    assert.deepEqual(pool.clones(), []);
    await pool.harness.apply('pool', 'shop', {
      cloud: 'lab',
      members: { names: ['app*'] },
      port: 8080,
      autoscale: { ...QUICK, size: 3, namePrefix: 'app' },
    });
    await pool.until('a clone is made', () => pool.clones().length === 1);
    assert.deepEqual(pool.clones(), ['app-1']);
  });

  it('removes its clones with their pool, and leaves them when it only stops scaling', async () => {
    await pool.apply({ ...QUICK, size: 3 });
    await pool.until('a clone serves', () => clonesReady(1));
    await pool.apply(undefined);
    await pool.run(5000);
    assert.deepEqual(pool.clones(), ['shop-1']);
    await pool.harness.remove('virtual-service', 'web');
    await pool.harness.remove('pool', 'shop');
    await pool.until('it is gone', () => pool.clones().length === 0);
    await pool.until(
      'nothing is left on record',
      async () => (await pool.harness.store.list('autoscale/')).length === 0,
    );
    await pool.until('members are released', () => pool.harness.segmentOf('app1') === 'prod');
  });

  it('takes its clones on again where the store was lost, once the cloud is adopted, and nobody else', async () => {
    await pool.apply({ ...QUICK, size: 4 });
    await pool.until('two clones serve', () => clonesReady(2));
    const { harness } = pool;
    harness.datacenter.change((state) => {
      // A copy that somebody made of a clone by hand bears its tags, but no mark of its own.
      const copy = structuredClone(state.vms.find((vm) => vm.name === 'shop-1')!);
      const { isClone: _, ...rest } = copy;
      state.vms.push({
        ...rest,
        id: 'id-copy',
        name: 'shop-9',
        nics: copy.nics.map((nic) => ({ ...nic, mac: '52:00:00:00:00:99', addresses: ['10.77.0.99'] })),
      });
    });
    await harness.stop();
    for (const { key } of await harness.store.list('')) {
      if (!key.startsWith('policy/')) await harness.store.write([{ key, delete: true }]);
    }
    await pool.apply({ ...QUICK, size: 3 });
    await harness.restart();
    await pool.run(2000);
    assert.deepEqual(await records(), [], 'nothing before somebody says so');
    const answer = async <Answer>(asked: Promise<Answer>): Promise<Answer> => {
      let isDone = false;
      void asked.finally(() => {
        isDone = true;
      });
      while (!isDone) await pool.run(100);
      return asked;
    };
    const { backend } = harness.controller;
    const found = await answer(backend.adoption('lab', new AbortController().signal));
    assert.deepEqual(
      found.steps.filter(({ step }) => step === 'adopt-clone').map(({ object }) => object),
      ['vm shop-1', 'vm shop-2'],
    );
    await answer(backend.adopt('lab', found.fingerprint, new AbortController().signal));
    await pool.until('what is too much is gone', () => pool.clones().length === 0);
    assert.deepEqual(
      harness.datacenter.state.vms.filter((vm) => vm.engine === null).map((vm) => vm.name),
      ['app1', 'app2', 'shop-9'],
    );
  });

  it('forgets a clone that somebody removed, and makes up for it', async () => {
    await pool.apply({ ...QUICK, size: 3 });
    await pool.until('a clone serves', () => clonesReady(1));
    pool.harness.datacenter.change((state) => {
      state.vms = state.vms.filter((vm) => vm.name !== 'shop-1');
    });
    await pool.until(
      'another one serves',
      async () => pool.clones()[0] === 'shop-2' && (await clonesReady(1)),
    );
  });
});
