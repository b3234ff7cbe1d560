/** What the fault rules of the simulated vCenter do to a client, and that the platform gets over each of them. */
import assert from 'node:assert/strict';
import type { EngineSpec, Platform } from '../../src/hypervisor/platform.ts';
import type { FaultSpec } from '../../src/lab/world/faults.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { eventually } from '../lab/lab-under-test.ts';
import { type BlankOva, buildBlankOva } from './blank-ova.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

type Rule = Extract<FaultSpec, { kind: 'vcenter' }>;

describe('fault rules of the simulated vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const quiet = () => {};
  let paper: PaperVcenter;
  let ova: BlankOva;
  let platform: Platform;

  before(async () => {
    paper = await startPaperVcenter();
    ova = await buildBlankOva(never);
    platform = paper.open({ engines: ova.options });
    await platform.ensureSegment(
      { host: 'host-11', name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
  });
  after(async () => {
    await platform?.close();
    ova?.remove();
    await paper?.stop();
  });
  afterEach(() => paper.datacenter.faults.heal(null));

  const fault = (call: string, effect: Rule['effect'], more: Partial<Rule> = {}) =>
    paper.datacenter.faults.inject({
      kind: 'vcenter',
      call,
      effect,
      object: null,
      percent: 100,
      count: 1,
      delayMs: 0,
      ...more,
    });
  const rejects = (work: Promise<unknown>, code: Parameters<typeof isWeftError>[1]) =>
    assert.rejects(work, (error) => isWeftError(error, code));
  const named = async (name: string) =>
    (await platform.inventory(never)).vms.filter((vm) => vm.name === name);
  const app1 = async () => (await named('app1'))[0]!;
  const engine: EngineSpec = {
    engine: 'edge-1',
    host: 'host-11',
    segments: { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' },
    properties: { engine: 'edge-1', controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' },
  };

  it('conflict: somebody else was faster, and the change is made after reading again', async () => {
    const { id, nics } = await app1();
    await fault('ReconfigureDVPort_Task', 'conflict', { count: 3 });
    await platform.attach({ vm: id, nic: nics[0]!.id }, 'prod-weft', never);
    assert.equal((await app1()).nics[0]!.segment, 'prod-weft');
    assert.deepEqual(paper.record.faults, [], 'three calls met it');
    await platform.attach({ vm: id, nic: nics[0]!.id }, 'prod', never);
  });

  it('fail-task: the task ends with a fault, and nothing was done', async () => {
    await fault('CloneVM_Task', 'fail-task');
    const clone = { name: 'copy-1', host: 'host-11' };
    await rejects(platform.cloneVm((await app1()).id, clone, quiet, never), 'ERR_HYPERVISOR_REFUSED');
    assert.deepEqual(await named('copy-1'), []);
  });

  it('stick: a task that does not end is cancelled with its caller, and holds its VM no longer', async () => {
    const { id } = await app1();
    await fault('RelocateVM_Task', 'stick');
    const reason = new Error('enough');
    const abort = new AbortController();
    const moving = platform.migrate(id, 'host-12', abort.signal);
    setTimeout(() => abort.abort(reason), 200);
    await assert.rejects(moving, (error) => error === reason);
    await platform.migrate(id, 'host-12', never);
    assert.equal((await app1()).host, 'host-12');
    await platform.migrate(id, 'host-11', never);
  });

  it('object and percent: other objects are let alone, and so many of a hundred calls are met', async () => {
    const { id } = await app1();
    const [other] = await named('app2');
    await fault('PowerOnVM_Task', 'refuse', { object: other!.id, count: null });
    await platform.power(id, 'on', never);
    await rejects(platform.power(other!.id, 'on', never), 'ERR_HYPERVISOR_REFUSED');
    await paper.datacenter.faults.heal(null);
    await fault('SetField', 'refuse', { percent: 50, count: null });
    const fates = Array.from({ length: 1000 }, () => paper.vcenter.fate('SetField', 'x').fault !== null);
    const met = fates.filter(Boolean).length;
    assert.ok(met > 350 && met < 650, `${met} of 1000 calls were met`);
  });

  it('expire-session: the client logs in again in the middle of what it does', async () => {
    await fault('CloneVM_Task', 'expire-session');
    const made = await platform.cloneVm((await app1()).id, { name: 'copy-2', host: 'host-11' }, quiet, never);
    assert.equal(made.power, 'on');
    assert.equal((await named('copy-2')).length, 1);
  });

  it('restart: an import is gone, the next attempt makes one engine, and a watch goes on', async () => {
    const { cursor } = await platform.inventory(never);
    const watch = platform.watch(cursor, never).catch(() => 'broken');
    await fault('ImportVApp', 'restart');
    await rejects(platform.deployEngine(engine, quiet, never), 'ERR_HYPERVISOR_UNREACHABLE');
    await rejects(platform.power((await paperApp()).id, 'off', never), 'ERR_HYPERVISOR_UNREACHABLE');
    await watch;
    await eventually(async () => (await platform.inventory(never)).hosts.length === 3);
    const vm = await platform.deployEngine(engine, quiet, never);
    assert.deepEqual(
      (await named('edge-1')).map((one) => one.id),
      [vm.id],
    );
    await platform.removeVm(vm.id, never);
  });

  it('restart with a lost reply: what was begun before it is found after it', async () => {
    await fault('ImportVApp', 'lose-reply');
    await fault('ImportVApp', 'restart');
    await rejects(platform.deployEngine(engine, quiet, never), 'ERR_HYPERVISOR_UNREACHABLE');
    await eventually(async () => (await platform.inventory(never)).hosts.length === 3);
    await platform.deployEngine(engine, quiet, never);
    assert.equal((await named('edge-1')).length, 1);
    assert.equal(paper.record.vms.filter((vm) => vm.engine !== null).length, 1);
  });

  async function paperApp() {
    return paper.record.vms.find((vm) => vm.name === 'app1')!;
  }
});
