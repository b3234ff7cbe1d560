/** What befalls a vCenter while it drives the lab: sessions expire, it restarts; traffic does not notice. */
import assert from 'node:assert/strict';
import { findVm } from '../../src/cli/lab-session.ts';
import { healFault, injectFault, killVm, readLabStatus } from '../../src/lab/control.ts';
import type { FaultSpec } from '../../src/lab/world/faults.ts';
import type { LabStatus } from '../../src/lab/world/status.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { failuresOf, sleep, underLoad, whole } from './traffic.ts';

type VcenterFault = Extract<FaultSpec, { kind: 'vcenter' }>;

describe('vCenter in trouble under traffic', function () {
  this.timeout(60_000);
  const signal = new AbortController().signal;
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('w', 'vcenter');
  });
  after(async () => lab?.close());

  const vcenterFault = (
    effect: VcenterFault['effect'],
    rule: Partial<Pick<VcenterFault, 'call' | 'percent' | 'count'>>,
  ) =>
    injectFault(
      lab.session,
      { kind: 'vcenter', call: '*', object: null, percent: 100, count: null, delayMs: 0, effect, ...rule },
      signal,
    );
  const status = (): Promise<LabStatus> => readLabStatus(lab.session, signal);

  /** Makes app2 a member, or drains it and makes it none: its path is bent or released, which only vCenter can do. */
  async function setApp2(isMember: boolean): Promise<void> {
    const { kind, name, spec } = await lab.controller.get('pool', 'shop');
    const put = (change: object) =>
      lab.controller.apply([{ kind, name, spec: { ...(spec as object), ...change } }]);
    const others = ['app1', 'app3', 'app4', 'app5', 'app6'];
    if (isMember) await put({ members: { names: [...others, 'app2'] }, drain: [] });
    else {
      await put({ drain: ['app2'] });
      await sleep(1500);
      await put({ members: { names: others }, drain: [] });
    }
  }

  async function segmentOf(name: string): Promise<string> {
    return findVm(await status(), name).nics[0]!.segment;
  }
  async function untilOn(name: string, isInLine: boolean): Promise<void> {
    const deadline = performance.now() + 15_000;
    while (((await segmentOf(name)) !== 'prod') !== isInLine) {
      assert.ok(performance.now() < deadline, `${name} is ${isInLine ? 'bent' : 'released'} within 15 s`);
      await sleep(50);
    }
  }

  it('logs in again where sessions expire between any two calls, and loses no request', async () => {
    const results = await underLoad(lab, async () => {
      const { id } = await vcenterFault('expire-session', { percent: 10 });
      for (let turn = 0; turn < 3; turn++) {
        await setApp2(false);
        await untilOn('app2', false);
        await setApp2(true);
        await untilOn('app2', true);
      }
      await healFault(lab.session, id, signal);
    });
    assert.deepEqual(failuresOf(results), []);
    await whole(lab);
  });

  it('serves while vCenter restarts, and does afterwards what was asked of it', async () => {
    const results = await underLoad(lab, async () => {
      await vcenterFault('restart', { call: 'ReconfigureDVPort_Task', count: 1 });
      await setApp2(false);
      await untilOn('app2', false);
      await vcenterFault('restart', { call: 'ReconfigureDVPort_Task', count: 1 });
      await setApp2(true);
      await untilOn('app2', true);
    });
    assert.deepEqual(failuresOf(results), []);
    assert.deepEqual((await status()).faults, [], 'it restarted both times');
    await whole(lab);
  });

  it('mends an engine that dies while vCenter is away', async () => {
    await vcenterFault('restart', { count: 1 });
    await killVm(lab.session, findVm(await status(), 'edge-h2').id, signal);
    await lab.until('edge-h2 is missed', ({ engines }) =>
      engines.some(({ id, state }) => id === 'edge-h2' && state !== 'ready'),
    );
    await whole(lab, 30_000);
  });

  it('deploys engines through a vCenter that restarts in the middle', async () => {
    const kind = 'virtual-service';
    const services = await lab.controller.list(kind);
    await lab.controller.apply(services.map(({ name }) => ({ kind, name, delete: true as const })));
    const deadline = performance.now() + 20_000;
    while ((await status()).vms.some((vm) => vm.engine !== null)) {
      assert.ok(performance.now() < deadline, 'the engines are removed within 20 s');
      await sleep(100);
    }
    await lab.controller.apply(services.map(({ name, spec }) => ({ kind, name, spec })));
    await vcenterFault('restart', { call: 'HttpNfcLeaseProgress', count: 1 });
    await whole(lab, 30_000);
  });
});
