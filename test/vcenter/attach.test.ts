/** Paths of many NICs are bent by few tasks; each NIC has an answer of its own. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { mergeSetting } from '../../src/lab/vcenter/port-setting.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

const EXTRA = 500;
const VLANS = { first: 3000, last: 3010 };

describe('attaching NICs in vCenter', function () {
  this.timeout(60_000);
  const never = new AbortController().signal;
  let paper: PaperVcenter;
  let platform: Platform;
  /** Names of the tasks that were begun, in order. */
  let tasks: string[];

  before(async () => {
    paper = await startPaperVcenter(EXTRA);
    platform = paper.open({ shadowVlans: VLANS });
    const start = paper.vcenter.tasks.start.bind(paper.vcenter.tasks);
    paper.vcenter.tasks.start = (order) => {
      tasks.push(order.method);
      return start(order);
    };
    tasks = [];
    for (const host of ['host-11', 'host-12', 'host-13']) {
      await platform.ensureSegment({ host, name: 'prod-weft', role: 'shadow', shadows: 'prod' }, never);
    }
  });
  beforeEach(() => {
    tasks = [];
  });
  after(async () => {
    await platform?.close();
    await paper?.stop();
  });

  const onShadow = async (): Promise<string[]> =>
    (await platform.inventory(never)).vms
      .filter((vm) => vm.nics[0]?.segment === 'prod-weft')
      .map((vm) => vm.id);
  const portOf = (vm: string) => paper.vcenter.state.ports.find((port) => port.connectee?.vm === vm)!;
  const applications = (): string[] =>
    paper.record.vms.filter((vm) => vm.name.startsWith('vm')).map((vm) => vm.id);
  const moveAll = (vms: readonly string[], segment: string) =>
    Promise.allSettled(vms.map((vm) => platform.attach({ vm, nic: '4000' }, segment, never)));

  it('bends 500 ports by a handful of tasks', async () => {
    const vms = applications();
    const outcomes = await moveAll(vms, 'prod-weft');
    assert.deepEqual([...new Set(outcomes.map(({ status }) => status))], ['fulfilled']);
    assert.ok(tasks.length <= 5, `${tasks.length} tasks for ${vms.length} ports`);
    assert.deepEqual([...new Set(tasks)], ['ReconfigureDVPort_Task']);
    assert.deepEqual((await onShadow()).sort(), [...vms].sort());
  });

  it('does nothing where all is as wanted', async () => {
    await moveAll(applications().slice(0, 20), 'prod-weft');
    assert.deepEqual(tasks, []);
  });

  it('puts them back as they were, without a trace of an override', async () => {
    const vms = applications();
    await moveAll(vms, 'prod');
    assert.ok(tasks.length <= 5, `${tasks.length} tasks for ${vms.length} ports`);
    assert.deepEqual(await onShadow(), []);
    for (const vm of vms) {
      const { vlan, uplinkTeamingPolicy } = portOf(vm).setting as Record<string, { inherited?: boolean }>;
      assert.equal(vlan?.inherited ?? true, true);
      assert.equal(uplinkTeamingPolicy?.inherited ?? true, true);
    }
  });

  it('answers for each NIC: one that somebody else gave a VLAN is refused, the others move', async () => {
    const vms = applications().slice(0, 40);
    const [own = '', ...others] = vms;
    const vlan = { $type: 'VmwareDistributedVirtualSwitchVlanIdSpec', inherited: false, vlanId: 77 };
    const port = portOf(own);
    port.setting = mergeSetting(port.setting, { $type: 'VMwareDVSPortSetting', vlan }, true);
    const [first, ...rest] = await moveAll([own, ...others, 'vm-none'], 'prod-weft');
    assert.ok(first?.status === 'rejected' && isWeftError(first.reason, 'ERR_HYPERVISOR_REFUSED'));
    assert.match(String(first.reason), /VLAN 77 by an override of its own: reset it/);
    const last = rest.pop();
    assert.ok(last?.status === 'rejected' && isWeftError(last.reason, 'ERR_NOT_FOUND'));
    assert.deepEqual([...new Set(rest.map(({ status }) => status))], ['fulfilled']);
    assert.deepEqual((await onShadow()).sort(), [...others].sort());
    port.setting = { $type: 'VMwareDVSPortSetting' };
    await moveAll(others, 'prod');
  });

  it('tries in halves what vCenter refuses as a whole', async () => {
    const vms = applications().slice(0, 16);
    paper.record.faults.push({
      id: 'fault-1',
      kind: 'vcenter',
      call: 'ReconfigureDVPort_Task',
      object: null,
      percent: 100,
      count: 2,
      delayMs: 0,
      effect: 'refuse',
    });
    const outcomes = await moveAll(vms, 'prod-weft');
    assert.deepEqual([...new Set(outcomes.map(({ status }) => status))], ['fulfilled']);
    assert.deepEqual((await onShadow()).sort(), [...vms].sort());
    await moveAll(vms, 'prod');
  });

  it('sends a NIC whose caller gave up along, and the others go on', async () => {
    const vms = applications().slice(0, 8);
    const [first = '', ...others] = vms;
    const abort = new AbortController();
    const given = platform.attach({ vm: first, nic: '4000' }, 'prod-weft', abort.signal);
    const rest = moveAll(others, 'prod-weft');
    abort.abort(new Error('given up'));
    await assert.rejects(given, /given up/);
    assert.deepEqual([...new Set((await rest).map(({ status }) => status))], ['fulfilled']);
    await moveAll(vms, 'prod');
  });

  it('finds a port that was moved to a host without a shadow, and puts it back', async () => {
    const [vm = ''] = paper.record.vms.filter((one) => one.host === 'h1').map((one) => one.id);
    await platform.attach({ vm, nic: '4000' }, 'prod-weft', never);
    await platform.removeSegment('host-13', 'prod-weft', never);
    await paper.datacenter.vms.migrate(vm, 'h3');
    const listed = (await platform.inventory(never)).vms.find((one) => one.id === vm)!;
    assert.equal(listed.host, 'host-13');
    assert.equal(listed.nics[0]?.segment, 'prod-weft', 'it stands on a shadow that its host does not have');
    await platform.removeSegment('host-11', 'prod-weft', never);
    await assert.rejects(
      platform.removeSegment('host-12', 'prod-weft', never),
      new RegExp(`has ports: ${vm}`),
      'the last shadow stays until the port is found no more',
    );
    await platform.attach({ vm, nic: '4000' }, 'prod', never);
    assert.deepEqual(await onShadow(), []);
    await platform.removeSegment('host-12', 'prod-weft', never);
  });

  it('is watched again after every listing, whoever listed', async () => {
    const [vm = ''] = applications();
    for (let round = 0; round < 6; round++) {
      const { cursor } = await platform.inventory(never);
      const first = new AbortController();
      const given = platform.watch(cursor, first.signal).catch(() => '');
      const listing = platform.inventory(never);
      first.abort();
      await given;
      const watch = platform.watch((await listing).cursor, AbortSignal.timeout(4000));
      await paper.datacenter.vms.migrate(vm, round % 2 ? 'h1' : 'h2');
      await watch;
    }
  });
});
