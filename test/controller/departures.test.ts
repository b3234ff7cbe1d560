import assert from 'node:assert/strict';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('a member that its pool lets go', () => {
  let harness: Harness;
  const narrow = (names: string[]) =>
    harness.apply('pool', 'shop', { cloud: 'lab', members: { names }, port: 8080 });
  /** What the engine of h1 knows of app2: draining, taking new flows, or nothing. */
  const app2 = (): 'draining' | 'serving' | 'unknown' => {
    const graph = harness.engines.engines.get('edge-h1')?.graph;
    const index = graph?.members.findIndex(({ vm }) => vm === 'app2') ?? -1;
    const entry = graph?.pools[0]?.members.find(({ member }) => member === index);
    if (!entry) return 'unknown';
    return entry.isDraining ? 'draining' : 'serving';
  };
  const count = (connections: number) => {
    const id = [...(harness.engines.engines.get('edge-h1')?.graph?.members ?? [])].find(
      ({ vm }) => vm === 'app2',
    )!.id;
    harness.hub.put('connections/edge-h2', { local: { [id]: connections }, sent: {}, received: {} });
  };

  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2', 'app3'] }));
    await harness.start();
    await applyShop(harness);
    await harness.until('web serves', async () => (await harness.service('web')) === 'serving');
    assert.equal(app2(), 'serving');
  });
  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  it('drains for a moment, in line, and is let go when no connection is left', async () => {
    await narrow(['app1', 'app3']);
    await harness.run(500);
    assert.equal(app2(), 'draining');
    assert.equal(harness.segmentOf('app2'), 'prod-weft');
    await harness.run(3000);
    assert.equal(app2(), 'unknown');
    assert.equal(harness.segmentOf('app2'), 'prod');
  });

  it('stays while it has connections, but not for ever', async () => {
    count(1);
    await narrow(['app1', 'app3']);
    await harness.run(8000);
    assert.equal(app2(), 'draining');
    await harness.run(6000);
    assert.equal(app2(), 'unknown');
    assert.equal(harness.segmentOf('app2'), 'prod');
  });

  it('takes new flows again where the pool takes it back', async () => {
    await narrow(['app1', 'app3']);
    await harness.run(500);
    await narrow(['app*']);
    await harness.run(500);
    assert.equal(app2(), 'serving');
    await harness.run(12_000);
    assert.equal(app2(), 'serving');
    assert.equal(harness.segmentOf('app2'), 'prod-weft');
  });

  it('is not kept where the service itself is gone', async () => {
    await harness.remove('virtual-service', 'web');
    await harness.run(900);
    assert.equal(harness.segmentOf('app2'), 'prod');
  });
});
