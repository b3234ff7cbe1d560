/** Engine groups of mode `mirror`: engines get copies and only observe, and the mode changes both ways in order. */
import assert from 'node:assert/strict';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

/** The address of app1: a VM owns it. */
const OWNED = '10.77.0.11';

describe('mirror', () => {
  let harness: Harness;

  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  async function begin(mode: 'in-line' | 'mirror', placement = { h1: ['app1', 'app2'], h2: ['app3'] }) {
    harness = new Harness(datacenterOf(placement));
    await harness.start();
    await applyShop(harness, { mode, addresses: [OWNED] });
  }
  const state = async (name: string) => (await harness.service(name)) as string;
  const mirrors = () =>
    Object.fromEntries(
      (harness.datacenter.state.mirrors ?? []).map(({ engine, nics }) => [
        engine,
        nics.map(({ vm }) => vm).sort(),
      ]),
    );
  const observing = () =>
    harness.until('the service is observed', async () => (await state('web')) === 'observing');
  const attachments = () => harness.calls().filter((call) => call.startsWith('attach'));

  it("copies members to their host's engine and bends nothing", async () => {
    await begin('mirror');
    await observing();
    assert.deepEqual(mirrors(), { 'edge-h1': ['id-app1', 'id-app2'], 'edge-h2': ['id-app3'] });
    assert.deepEqual(attachments(), []);
    const graph = harness.graphOf('edge-h1')!;
    assert.equal(graph.engine.mode, 'mirror');
    assert.equal(graph.engine.fastPath, 'off');
    assert.deepEqual(
      graph.members.map(({ vm, engine }) => [vm, engine]),
      [
        ['app1', 'edge-h1'],
        ['app2', 'edge-h1'],
        ['app3', null],
      ],
    );
    const status = await harness.status();
    assert.deepEqual(
      status.engines.map((engine) => engine.state),
      ['observing', 'observing'],
    );
    assert.ok(status.members.every((member) => !member.isIntercepted));
    assert.deepEqual(await harness.plan(), []);
  });

  it('says what it is going to copy before it does, and that nobody answers at an address that no VM owns', async () => {
    await begin('mirror');
    const planned = (await harness.plan()).filter(({ step }) => step === 'mirror-nics');
    assert.match(planned[0]?.reason ?? '', /^copies of app1, app2: it observes members of web/);
    await applyShop(harness, { mode: 'mirror', addresses: ['10.77.0.101'] });
    await harness.until('the service is degraded', async () => (await state('web')) === 'degraded');
    const { message } = (await harness.status()).services[0]!;
    assert.match(message, /nobody answers at 10\.77\.0\.101: no VM owns it/);
  });

  it('waits for the privilege of mirroring, names it in the plan, and copies when it is granted', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    harness.datacenter.lacks = [
      { privilege: 'DVSwitch.Vspan', purpose: 'mirror ports', calls: ['mirror'], hosts: ['h1'] },
    ];
    await harness.start();
    await applyShop(harness, { mode: 'mirror', addresses: [OWNED] });
    await harness.until('h2 is observed', () => mirrors()['edge-h2'] !== undefined);
    await harness.run(3000);
    const [step, ...more] = (await harness.plan()).filter((one) => one.step === 'mirror-nics');
    assert.deepEqual(more, []);
    assert.match(step?.reason ?? '', /the user of cloud lab lacks DVSwitch\.Vspan/);
    assert.deepEqual(step?.missing, ['DVSwitch.Vspan is missing, without which Weft cannot mirror ports']);
    assert.ok(!harness.calls().some((call) => call.startsWith('mirror edge-h1')), 'nothing was tried');
    harness.datacenter.lacks = [];
    await observing();
    assert.deepEqual(mirrors(), { 'edge-h1': ['id-app1'], 'edge-h2': ['id-app2'] });
  });

  it('goes from in line to mirror and back, one after the other on each host', async () => {
    await begin('in-line');
    await harness.until('it serves', async () => (await state('web')) === 'serving');
    assert.deepEqual(mirrors(), {});
    const there = await harness.during(async () => {
      await applyShop(harness, { mode: 'mirror', addresses: [OWNED] });
      await observing();
    });
    for (const vm of ['app1', 'app2', 'app3']) assert.equal(harness.segmentOf(vm), 'prod');
    assert.ok(
      there.indexOf('mirror edge-h1<id-app1,id-app2') > there.indexOf('attach id-app2/eth0>prod'),
      'copies begin when nobody stands behind the engine any more',
    );
    const back = await harness.during(async () => {
      await applyShop(harness, { addresses: [OWNED] });
      await harness.until('it serves again', async () => (await state('web')) === 'serving');
    });
    assert.deepEqual(mirrors(), {});
    assert.ok(back.indexOf('mirror edge-h1<') < back.findIndex((call) => call.endsWith('>prod-weft')));
    assert.equal(back.filter((call) => /deployEngine|removeVm/.test(call)).length, 0, 'engines stay');
    await harness.run(2000);
    assert.deepEqual(await harness.plan(), []);
  });

  it('follows a member that moves', async () => {
    await begin('mirror');
    await observing();
    harness.datacenter.change(() => {
      harness.vm('app2').host = 'h2';
    });
    await harness.until('app2 is copied on h2', () => mirrors()['edge-h2']?.includes('id-app2') === true);
    await observing();
    assert.deepEqual(mirrors(), { 'edge-h1': ['id-app1'], 'edge-h2': ['id-app2', 'id-app3'] });
    assert.deepEqual(attachments(), []);
  });

  it('needs no bypass where an engine fails: copies end, and begin again when it is back', async () => {
    await begin('mirror');
    await observing();
    harness.engines.hang('edge-h1');
    await harness.until('copies to it have ended', () => mirrors()['edge-h1'] === undefined);
    assert.deepEqual(attachments(), []);
    await observing();
    assert.deepEqual(mirrors()['edge-h1'], ['id-app1', 'id-app2']);
  });

  it('makes again what somebody else took away, also where the reply was lost', async () => {
    await begin('mirror');
    await observing();
    harness.datacenter.failNext('mirror', 'reply-lost');
    harness.datacenter.change((world) => {
      world.mirrors = [];
    });
    await harness.until('both are back', () => Object.keys(mirrors()).length === 2);
    await observing();
  });

  it('leaves nothing behind when the service goes', async () => {
    await begin('mirror');
    await observing();
    await harness.remove('virtual-service', 'web');
    await harness.until('engines are gone', () =>
      harness.datacenter.state.vms.every((vm) => vm.engine === null),
    );
    await harness.until('nothing is planned', async () => (await harness.plan()).length === 0);
    assert.deepEqual(mirrors(), {});
    assert.ok(
      harness.datacenter.state.hosts.every((host) => host.segments.every(({ role }) => role !== 'shadow')),
    );
  });
});
