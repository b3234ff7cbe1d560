/** Whatever happens, in whatever order: it converges, and what must never happen does not. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Placement } from '../../src/controller/actual.ts';
import { datacenterOf, type Mutation } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

const HOSTS = ['h1', 'h2', 'h3'];
const APPS = ['app1', 'app2', 'app3', 'app4'];
const METHODS: Mutation[] = ['ensureSegment', 'removeSegment', 'deployEngine', 'removeVm', 'power', 'attach'];

type Event =
  | { type: 'wait'; ms: number }
  | { type: 'service'; isEnabled: boolean }
  | { type: 'hosts'; hosts: string[] }
  | { type: 'power'; app: string }
  | { type: 'migrate'; app: string; host: string }
  | { type: 'kill' | 'hang' | 'delete'; host: string }
  | { type: 'fail'; method: string; how: 'refused' | 'reply-lost' }
  | { type: 'restart' }
  | { type: 'maintenance' | 'evacuate'; host: string }
  | { type: 'drs'; app: string; host: string };

const host = fc.constantFrom(...HOSTS);
const app = fc.constantFrom(...APPS);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 20, max: 900 }) }),
  },
  fc.record({ type: fc.constant('service' as const), isEnabled: fc.boolean() }),
  fc.record({ type: fc.constant('hosts' as const), hosts: fc.subarray(HOSTS, { minLength: 1 }) }),
  fc.record({ type: fc.constant('power' as const), app }),
  fc.record({ type: fc.constant('migrate' as const), app, host }),
  fc.record({ type: fc.constantFrom('kill' as const, 'hang' as const, 'delete' as const), host }),
  fc.record({
    type: fc.constant('fail' as const),
    method: fc.constantFrom<string>('inventory', ...METHODS),
    how: fc.constantFrom('refused' as const, 'reply-lost' as const),
  }),
  fc.record({ type: fc.constant('restart' as const) }),
  fc.record({ type: fc.constantFrom('maintenance' as const, 'evacuate' as const), host }),
  fc.record({ type: fc.constant('drs' as const), app, host }),
);

class Run {
  readonly harness = new Harness(datacenterOf({ h1: ['app1', 'app2'], h2: ['app3'], h3: ['app4'] }), {
    bootTimeoutMs: 3000,
    keepMs: 0,
  });
  isEnabled = true;
  hosts: string[] = HOSTS;

  async happen(event: Event): Promise<void> {
    const { harness } = this;
    const { datacenter } = harness;
    switch (event.type) {
      case 'wait':
        return harness.run(event.ms);
      case 'service':
        this.isEnabled = event.isEnabled;
        return this.apply();
      case 'hosts':
        this.hosts = event.hosts;
        return this.apply();
      case 'power':
        return datacenter.change(() => {
          const vm = harness.vm(event.app);
          vm.power = vm.power === 'on' ? 'off' : 'on';
        });
      case 'migrate':
        return datacenter.change(() => {
          const vm = harness.vm(event.app);
          const { segments } = datacenter.host(event.host);
          // A platform refuses to move a VM to a host that lacks its segment.
          if (segments.some((segment) => segment.name === vm.nics[0]?.segment)) vm.host = event.host;
        });
      case 'kill':
      case 'hang':
      case 'delete': {
        const engine = datacenter.state.vms.find((vm) => vm.engine !== null && vm.host === event.host);
        if (!engine?.engine) return;
        if (event.type === 'hang') harness.engines.hang(engine.engine);
        else if (event.type === 'kill') harness.engines.kill(engine.engine);
        else {
          harness.engines.struckAt.set(engine.engine, harness.clock.now());
          datacenter.change((state) => {
            state.vms = state.vms.filter((vm) => vm !== engine);
          });
        }
        return;
      }
      case 'fail':
        return datacenter.failNext(event.method, event.how);
      case 'restart':
        return harness.restart();
      case 'drs':
        // As vMotion does: the port keeps its override, also where the host has no such segment.
        return datacenter.change(() => {
          harness.vm(event.app).host = event.host;
        });
      case 'evacuate':
        return datacenter.change(() => {
          const target = datacenter.host(event.host);
          target.isEvacuating = !target.isEvacuating;
        });
      case 'maintenance':
        return datacenter.change(() => {
          const target = datacenter.host(event.host);
          target.isInMaintenance = !target.isInMaintenance;
        });
    }
  }

  apply(): Promise<void> {
    return this.harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      isEnabled: this.isEnabled,
      hosts: this.hosts,
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
    });
  }

  /** What an observer who knows nothing of plans expects in the end. */
  async check(): Promise<void> {
    const { harness } = this;
    const { state } = harness.datacenter;
    const placements = (await harness.store.list<Placement>('placement/'))
      .filter(({ key }) => key.split('/').length === 2)
      .map(({ value }) => value);
    const inLine: string[] = [];
    for (const { id } of state.hosts) {
      const apps = state.vms.filter((vm) => vm.engine === null && vm.host === id);
      const running = apps.filter((vm) => vm.power === 'on');
      const engines = state.vms.filter((vm) => vm.engine !== null && vm.host === id);
      const isConcerned = this.isEnabled && this.hosts.includes(id);
      assert.ok(engines.length <= 1, `${engines.length} engines on ${id}`);
      if (isConcerned && running.length > 0) assert.equal(engines.length, 1, `an engine on ${id}`);
      if (!isConcerned || apps.length === 0) assert.equal(engines.length, 0, `no engine on ${id}`);
      for (const vm of apps) {
        const segment = vm.nics[0]?.segment;
        if (vm.power === 'on' || engines.length === 0) {
          assert.equal(
            segment,
            isConcerned && engines.length > 0 ? 'prod-weft' : 'prod',
            `${vm.name} on ${id}`,
          );
        }
        if (segment === 'prod-weft') inLine.push(`interception/lab/${vm.id}/eth0`);
      }
      assert.equal(
        state.hosts.find((h) => h.id === id)?.segments.some((segment) => segment.role === 'shadow'),
        engines.length > 0,
        `the shadow segment of ${id}`,
      );
      assert.deepEqual(
        placements.filter((placement) => placement.host === id).map((placement) => placement.vm),
        engines.map((vm) => vm.id),
      );
    }
    const addresses = placements.flatMap((placement) => placement.addresses);
    assert.equal(new Set(addresses).size, addresses.length, 'addresses differ');
    const kept = (await harness.store.list('interception/')).map(({ key }) => key);
    for (const key of inLine) assert.ok(kept.includes(key), `${key} is on record`);
    assert.deepEqual(harness.violations, []);
  }
}

describe('convergence', function () {
  this.timeout(60_000);

  it('reaches what policy says after any history', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 3, maxLength: 14 }), async (events) => {
        const run = new Run();
        const { harness } = run;
        try {
          await harness.start();
          await applyShop(harness);
          await run.apply();
          await harness.run(400);
          for (const each of events) await run.happen(each);
          harness.datacenter.heal();
          harness.datacenter.change((state) => {
            for (const each of state.hosts) {
              each.isInMaintenance = false;
              each.isEvacuating = false;
            }
          });
          let quietMs = 0;
          let passedMs = 0;
          // Quiet for longer than the longest back-off of a short history, and nothing left to do.
          while (quietMs < 3000) {
            const calls = harness.calls().length;
            await harness.run(250);
            const plan = await harness.plan();
            quietMs = calls === harness.calls().length && plan.length === 0 ? quietMs + 250 : 0;
            passedMs += 250;
            assert.ok(passedMs < 180_000, `still at it: ${JSON.stringify(plan)}`);
          }
          await run.check();
        } finally {
          await harness.stop();
        }
      }),
      { numRuns: Number(process.env.WEFT_TEST_RUNS ?? 30) },
    );
  });
});
