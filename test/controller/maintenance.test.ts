/** Hosts that go into maintenance: members leave in line or are bypassed first, engines do not hold anybody up. */
import assert from 'node:assert/strict';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('maintenance of a host', () => {
  let harness: Harness;

  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  async function begin(placement: Record<string, string[]>, failMode: 'open' | 'closed' = 'open') {
    harness = new Harness(datacenterOf(placement));
    await harness.start();
    await applyShop(harness, { failMode });
    await harness.until('the service serves', async () => (await harness.service('web')) === 'serving');
  }
  const hostOf = (id: string) => harness.datacenter.state.hosts.find((host) => host.id === id)!;
  const enter = (id: string) =>
    harness.datacenter.change(() => {
      hostOf(id).isEvacuating = true;
    });
  /** As vCenter ends it: once nothing runs there. */
  const arrive = async (id: string) => {
    const running = () =>
      harness.datacenter.state.vms.filter((vm) => vm.host === id && vm.power === 'on').length;
    const took = await harness.until(`nothing runs on ${id}`, () => running() === 0);
    harness.datacenter.change(() => {
      hostOf(id).isEvacuating = false;
      hostOf(id).isInMaintenance = true;
    });
    return took;
  };
  const exit = (id: string) =>
    harness.datacenter.change(() => {
      hostOf(id).isInMaintenance = false;
    });
  /** As DRS does it: nobody is asked, and the port keeps its override. */
  const move = (vm: string, host: string) =>
    harness.datacenter.change(() => {
      harness.vm(vm).host = host;
    });
  const engines = async () =>
    Object.fromEntries((await harness.status()).engines.map(({ id, state }) => [id, state]));

  it('lets members travel in line where engines forward on every other host', async () => {
    await begin({ h1: ['app1'], h2: ['app2', 'app3'], h3: ['app4'] });
    enter('h2');
    const calls = await harness.during(() => harness.run(1500));
    assert.deepEqual(calls, [], 'nothing is released, and the engine stays on');
    assert.equal((await engines())['edge-h2'], 'maintenance');
    assert.equal(await harness.service('web'), 'serving');
    for (const [vm, host] of [
      ['app2', 'h1'],
      ['app3', 'h3'],
    ] as const) {
      move(vm, host);
      const steps = await harness.during(() => harness.run(600));
      assert.deepEqual(
        steps.filter((step) => step.startsWith('attach')),
        [],
        `${vm} arrives behind the engine of ${host}`,
      );
    }
    await arrive('h2');
    assert.equal(harness.vm('edge-h2').power, 'off');
    assert.equal(await harness.service('web'), 'serving');
    await harness.run(3000);
    assert.deepEqual(await harness.plan(), [], 'the engine that is off is left alone');
  });

  it('bypasses members first where they may be taken to a host without an engine', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: [] });
    enter('h2');
    const took = await harness.until('app2 is bypassed', () => harness.segmentOf('app2') === 'prod');
    assert.ok(took <= 2500, `${took} ms`);
    assert.equal(harness.vm('app2').host, 'h2', 'before it is moved');
    move('app2', 'h3');
    await arrive('h2');
    await harness.until('the engine on h2 is off', () => harness.vm('edge-h2').power === 'off');
    assert.equal(harness.segmentOf('app1'), 'prod-weft', 'the others stay in line');
  });

  it('leaves members of a closed group behind their engine until they are moved', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: [] }, 'closed');
    enter('h2');
    await harness.run(3000);
    assert.equal(harness.segmentOf('app2'), 'prod-weft');
    move('app2', 'h1');
    await arrive('h2');
    assert.equal(harness.segmentOf('app2'), 'prod-weft', 'it went from engine to engine');
  });

  it('hands over what the engine announces before it is off', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    const first = () =>
      (harness.graphOf('edge-h1')?.services ?? [])
        .flatMap(({ tiers }) => tiers.flatMap(({ addresses }) => addresses))
        .map(({ announcers }) => announcers[0]);
    for (const host of ['h1', 'h2']) {
      enter(host);
      await harness.run(200);
      assert.ok(!first().includes(`edge-${host}`), `edge-${host} is not first any more: ${first().join()}`);
      harness.datacenter.change(() => {
        hostOf(host).isEvacuating = false;
      });
      await harness.run(1000);
    }
  });

  it('has the engine back before members are, and keeps it for them', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    const { id } = harness.vm('edge-h2');
    enter('h2');
    move('app2', 'h1');
    await arrive('h2');
    exit('h2');
    await harness.until('its engine is ready', async () => (await engines())['edge-h2'] === 'ready');
    assert.equal(harness.vm('edge-h2').id, id, 'it is the same VM');
    await harness.run(5000);
    assert.deepEqual(await harness.plan(), []);
    move('app2', 'h2');
    await harness.until(
      'its rest is forgotten',
      async () => (await harness.stored<{ rest: unknown }>('placement/edge-h2'))?.rest === null,
    );
    await harness.until('it serves beside it', async () => (await harness.service('web')) === 'serving');
  });

  it('removes it in the end where no member comes back', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    enter('h2');
    move('app2', 'h1');
    await arrive('h2');
    exit('h2');
    await harness.until('its engine is ready', async () => (await engines())['edge-h2'] === 'ready');
    harness.clock.advance(600_000);
    await harness.run(6000);
    await harness.until('it is gone', async () => !('edge-h2' in (await engines())));
    assert.ok(!harness.datacenter.state.vms.some((vm) => vm.engine === 'edge-h2'));
  });

  it('survives a controller that is restarted in the middle of it', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: [] });
    enter('h2');
    await harness.run(100);
    await harness.restart();
    move('app2', 'h3');
    await harness.until('app2 is reachable on h3', () => harness.segmentOf('app2') === 'prod', 8000);
    await arrive('h2');
    await harness.restart();
    await harness.run(8000);
    assert.equal(harness.vm('edge-h2').power, 'off');
    exit('h2');
    await harness.until('its engine is ready', async () => (await engines())['edge-h2'] === 'ready');
  });

  it('puts a member that DRS takes to a host without an engine back at once', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: [] });
    move('app2', 'h3');
    const took = await harness.until('it is on production', () => harness.segmentOf('app2') === 'prod');
    assert.ok(took <= 100, `${took} ms`);
    await harness.until('it is in line again', async () => (await harness.service('web')) === 'serving');
    assert.equal(harness.segmentOf('app2'), 'prod-weft');
  });
});
