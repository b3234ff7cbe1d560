/** What the controller knows of the load of members, and what it says where it does not know. */
import assert from 'node:assert/strict';
import type { PoolStatus } from '../../src/policy/pool.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('the load of members', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1', 'app2'], h2: ['app3'] }));
    await harness.start();
    await applyShop(harness);
    await harness.until('it serves', async () => (await harness.service('web')) === 'serving');
  });
  afterEach(() => harness.stop());

  const count = (engine: string, local: Record<string, number>): void =>
    harness.hub.putAs(engine, `connections/${engine}`, { local, sent: {}, received: {} });
  const loadOf = async (vm: string) => (await harness.status()).members.find((member) => member.vm === vm)!;
  const idOf = (vm: string): string => `lab/id-${vm}/eth0`;

  it('is unknown, and not nothing, until its engine has counted', async () => {
    assert.equal((await loadOf('app1')).connections, null);
    count('edge-h1', { [idOf('app1')]: 7 });
    assert.equal((await loadOf('app1')).connections, 7);
    assert.equal((await loadOf('app2')).connections, 0, 'its engine has counted, and counts none');
    const app3 = await loadOf('app3');
    assert.equal(app3.connections, null, 'another engine knows nothing of it');
    assert.deepEqual(app3.views['edge-h1'], { hops: 1, load: null });
  });

  it('adds what other engines send to a member without an engine beside it', async () => {
    await harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      hosts: ['h1'],
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
    });
    await harness.until('app3 is released', () => harness.segmentOf('app3') === 'prod');
    harness.hub.putAs('edge-h1', 'connections/edge-h1', {
      local: { [idOf('app1')]: 1 },
      sent: { [idOf('app3')]: 4 },
      received: {},
    });
    await harness.run(100);
    assert.equal((await loadOf('app3')).connections, 4);
  });

  it('is unknown again once its engine falls silent', async () => {
    count('edge-h1', { [idOf('app1')]: 7 });
    harness.engines.hang('edge-h1');
    await harness.until('it is unknown', async () => (await loadOf('app1')).connections === null, 3000);
  });

  it('shows CPU, memory and rates as the platform measures them', async () => {
    harness.datacenter.cpu.set('app1', 0.634);
    await harness.until('it is measured', async () => (await loadOf('app1')).cpuPercent === 63, 8000);
    const { memoryBytes, receivedBytesPerSecond, sentBytesPerSecond } = await loadOf('app1');
    assert.deepEqual([memoryBytes, receivedBytesPerSecond, sentBytesPerSecond], [1 << 20, 0, 0]);
    await harness.until('the status says it', async () => {
      const status = await harness.stored<PoolStatus>('status/pool/shop');
      return status?.members.find((member) => member.vm === 'app1')?.cpuPercent === 63;
    });
  });

  it('forgets a measurement that is not renewed, and keeps asking', async () => {
    harness.datacenter.cpu.set('app1', 0.634);
    await harness.until('it is measured', async () => (await loadOf('app1')).cpuPercent === 63, 8000);
    harness.datacenter.refuse('stats');
    await harness.run(5000);
    assert.equal((await loadOf('app1')).cpuPercent, 63, 'one reading that fails is no reason to forget');
    await harness.run(25_000);
    assert.equal((await loadOf('app1')).cpuPercent, null);
    harness.datacenter.heal();
    await harness.until('it is measured again', async () => (await loadOf('app1')).cpuPercent === 63, 8000);
  });

  it('says nothing of a VM that is off', async () => {
    await harness.until('it is measured', async () => (await loadOf('app3')).cpuPercent === 10, 8000);
    harness.datacenter.change(() => {
      harness.vm('app3').power = 'off';
    });
    await harness.run(200);
    assert.equal(await loadOf('app3'), undefined);
  });

  it('writes statuses of load at the rate of readings, however often counts change', async () => {
    await harness.run(6000);
    const before = harness.store.revision;
    for (let round = 0; round < 50; round++) {
      count('edge-h1', { [idOf('app1')]: round });
      harness.datacenter.change(() => {});
      await harness.run(100);
    }
    assert.ok(harness.store.revision - before <= 3, `${harness.store.revision - before} writes in 5 s`);
  });
});
