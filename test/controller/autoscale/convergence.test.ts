/** Whatever happens to a pool that scales, in whatever order: no clone is forgotten, made twice, or cut off early. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { CloneRecord } from '../../../src/controller/autoscale/fleet.ts';
import { datacenterOf, type Mutation } from '../../hypervisor/memory-platform.ts';
import { applyShop } from '../harness.ts';
import { QUICK, ScaledPool } from './scaled-pool.ts';

const HOSTS = ['h1', 'h2', 'h3'];
const METHODS: (Mutation | 'inventory' | 'stats')[] = [
  'inventory',
  'stats',
  'cloneVm',
  'removeVm',
  'attach',
  'deployEngine',
];

type Event =
  | { type: 'wait'; ms: number }
  | { type: 'load'; connections: number }
  | { type: 'size'; size: number | undefined }
  | { type: 'fail'; method: string; how: 'refused' | 'reply-lost' }
  | { type: 'sick' }
  | { type: 'well' }
  | { type: 'hang'; host: string }
  | { type: 'remove-clone' }
  | { type: 'restart' }
  | { type: 'away' }
  | { type: 'maintenance'; host: string };

const host = fc.constantFrom(...HOSTS);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 100, max: 4000 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('load' as const),
      connections: fc.integer({ min: 0, max: 80 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('size' as const),
      size: fc.option(fc.integer({ min: 2, max: 6 }), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('fail' as const),
      method: fc.constantFrom<string>(...METHODS),
      how: fc.constantFrom('refused' as const, 'reply-lost' as const),
    }),
  },
  fc.record({
    type: fc.constantFrom('sick' as const, 'well' as const, 'remove-clone' as const, 'away' as const),
  }),
  { weight: 2, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
  fc.record({ type: fc.constantFrom('hang' as const, 'maintenance' as const), host }),
);

class Run {
  readonly pool = new ScaledPool(datacenterOf({ h1: ['app1'], h2: ['app2'], h3: [] }));
  readonly violations: string[] = [];

  constructor() {
    const { datacenter } = this.pool.harness;
    const before = datacenter.onMutation;
    datacenter.onMutation = (method, phase, subject) => {
      before(method, phase, subject);
      if (phase === 'after' && method === 'cloneVm') {
        const name = subject.slice(subject.indexOf('>') + 1);
        const count = datacenter.state.vms.filter((vm) => vm.name === name).length;
        if (count !== 1) this.violations.push(`${count} VMs are called ${name}`);
      }
      if (phase === 'before' && method === 'removeVm') {
        const vm = datacenter.state.vms.find((one) => one.id === subject);
        if (vm && vm.engine === null && !vm.id.includes('clone of'))
          this.violations.push(`${vm.name} is removed`);
      }
      const clones = datacenter.state.vms.filter((vm) => vm.id.includes('clone of')).length;
      // Those that leave are there beside those that come.
      if (clones > 2 * QUICK.max) this.violations.push(`${clones} clones at once`);
    };
  }

  async happen(event: Event): Promise<void> {
    const { pool } = this;
    const { harness } = pool;
    switch (event.type) {
      case 'wait':
        return pool.run(event.ms);
      case 'load':
        pool.connections = event.connections;
        return;
      case 'size':
        return pool.apply({ ...QUICK, ...(event.size === undefined ? {} : { size: event.size }) });
      case 'fail':
        return harness.datacenter.failNext(event.method, event.how);
      case 'sick':
        pool.sick.add('*');
        return;
      case 'well':
        pool.sick.clear();
        return;
      case 'hang': {
        const engine = harness.datacenter.state.vms.find(
          (vm) => vm.engine !== null && vm.host === event.host,
        );
        if (engine?.engine) harness.engines.hang(engine.engine);
        return;
      }
      case 'remove-clone':
        return harness.datacenter.change((state) => {
          const clone = state.vms.find((vm) => vm.id.includes('clone of'));
          state.vms = state.vms.filter((vm) => vm !== clone);
        });
      case 'restart':
        return harness.restart();
      case 'away':
        harness.datacenter.isReachable = false;
        await pool.run(600);
        harness.datacenter.isReachable = true;
        return;
      case 'maintenance':
        return harness.datacenter.change(() => {
          const target = harness.datacenter.host(event.host);
          target.isInMaintenance = !target.isInMaintenance;
        });
    }
  }
}

describe('convergence of a pool that scales', function () {
  this.timeout(120_000);

  it('reaches the size that is asked for after any history, and then the smallest, with nothing left behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 4, maxLength: 16 }), async (events) => {
        const run = new Run();
        const { pool, violations } = run;
        const { harness } = pool;
        const records = async (): Promise<CloneRecord[]> =>
          (await harness.store.list<CloneRecord>('autoscale/shop/')).map(({ value }) => value);
        try {
          await harness.start();
          await applyShop(harness);
          await pool.apply(QUICK);
          await pool.run(1500);
          for (const each of events) await run.happen(each);
          harness.datacenter.heal();
          pool.sick.clear();
          harness.datacenter.change((state) => {
            for (const each of state.hosts) each.isInMaintenance = false;
          });
          // Another ready timeout is another way of making clones, which earlier failures say nothing of.
          await pool.apply({ ...QUICK, size: 4, readyTimeoutMs: 5500 });
          await pool.until(
            'it has the size that is asked for',
            async () => {
              const all = await records();
              return (
                all.length === 2 && all.every(({ phase }) => phase === 'ready') && pool.clones().length === 2
              );
            },
            180_000,
          );
          assert.deepEqual((await records()).map(({ clone }) => clone.name).sort(), pool.clones());
          await pool.apply({ ...QUICK, size: 2 });
          await pool.until('nothing is left', async () => (await records()).length === 0, 180_000);
          assert.deepEqual(pool.clones(), []);
          assert.deepEqual(
            harness.datacenter.state.vms.filter((vm) => vm.engine === null).map((vm) => vm.name),
            ['app1', 'app2'],
          );
          assert.deepEqual(violations, []);
        } finally {
          await harness.stop();
        }
      }),
      { numRuns: Number(process.env.WEFT_TEST_RUNS ?? 25) },
    );
  });
});
