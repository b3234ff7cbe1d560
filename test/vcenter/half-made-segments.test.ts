/** Shadow segments of vCenter whose making was cut short, or whose shadow somebody took away: nothing of them stays. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import type { FaultSpec } from '../../src/lab/world/faults.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { readHostNetworks } from '../../src/vcenter/host-networks.ts';
import { readPortGroupMark } from '../../src/vcenter/marks.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { halveSegment } from './half-segment.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

const never = new AbortController().signal;
const shadow = (host: string) => ({ host, name: 'prod-weft', role: 'shadow' as const, shadows: 'prod' });

describe('half-made segments of vCenter', function () {
  this.timeout(30_000);
  let paper: PaperVcenter;
  let platform: Platform;
  let somebody: VcenterSession;

  const open = async (switches: 'distributed' | 'standard') => {
    paper = await startPaperVcenter(0, switches);
    platform = paper.open();
    const { url: address, user, thumbprint } = paper;
    somebody = new VcenterSession({ address, user, password: () => paper.password, thumbprint });
    await somebody.connect(never);
    await platform.inventory(never);
  };
  afterEach(async () => {
    await somebody.close();
    await platform.close();
    await paper.stop();
  });

  const fail = (call: string) => {
    const spec: FaultSpec = {
      kind: 'vcenter',
      call,
      object: null,
      percent: 100,
      count: 1,
      delayMs: 0,
      effect: 'fail-task',
    };
    paper.record.faults.push({ ...spec, id: `fault-${paper.record.nextFault++}` });
  };
  const listed = async () =>
    (await platform.inventory(never)).hosts.flatMap(({ id, segments }) =>
      segments.filter(({ role }) => role === 'shadow').map((segment) => ({ host: id, ...segment })),
    );
  const refused = (work: Promise<unknown>, why: RegExp) =>
    assert.rejects(work, (error) => isWeftError(error, 'ERR_HYPERVISOR_REFUSED') && why.test(error.message));

  describe('on a distributed switch', () => {
    beforeEach(() => open('distributed'));

    const group = (name: string) => paper.vcenter.state.portgroups.find((one) => one.name === name)!;
    const ours = () =>
      paper.vcenter.state.portgroups.flatMap((one) => readPortGroupMark(one.description)?.role ?? []);
    const half = {
      name: 'prod-weft',
      role: 'shadow',
      allowances: ['per-port VLAN override', 'per-port teaming override'],
      isUnfinished: true,
    };

    it('lists what a making that failed has left, and removes it', async () => {
      const before = structuredClone(group('prod').policy);
      fail('ReconfigureDVPortgroup_Task');
      await assert.rejects(platform.ensureSegment(shadow('host-12'), never));
      assert.deepEqual(ours(), ['out']);
      assert.deepEqual(await listed(), [{ host: 'host-11', ...half }]);
      const call = { call: 'removeSegment', host: 'host-11', segment: 'prod-weft' } as const;
      assert.deepEqual(await platform.preview!([call], never), [
        ['DVPG prod-weft-out: destroy; the policy of prod as it was before'],
      ]);
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual([ours(), await listed()], [[], []]);
      assert.deepEqual(group('prod').policy, before);
    });

    it('goes on with it for another host than the one that lists it', async () => {
      fail('ReconfigureDVPortgroup_Task');
      await assert.rejects(platform.ensureSegment(shadow('host-11'), never));
      await platform.ensureSegment(shadow('host-12'), never);
      const { isUnfinished: _, ...whole } = half;
      assert.deepEqual(await listed(), [{ host: 'host-12', ...whole }]);
      // What was asked for while it was half made finds that others have it now.
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual(ours().sort(), ['in', 'out']);
    });

    it('gives back the policy where only the shadow was still missing', async () => {
      const before = structuredClone(group('prod').policy);
      await platform.ensureSegment(shadow('host-11'), never);
      await halveSegment(somebody, shadow('host-11'), never);
      assert.notDeepEqual(group('prod').policy, before);
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual(ours(), []);
      assert.deepEqual(group('prod').policy, before);
    });

    it('sees and releases a member whose shadow somebody took away, and waits for that', async () => {
      await platform.ensureSegment(shadow('host-11'), never);
      await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never);
      await halveSegment(somebody, shadow('host-11'), never);
      // Opened anew: what was listed before is not remembered.
      await platform.close();
      platform = paper.open();
      const segmentOf = async () =>
        (await platform.inventory(never)).vms.find(({ id }) => id === 'vm-1')?.nics[0]?.segment;
      assert.equal(await segmentOf(), 'prod-weft');
      await refused(
        platform.removeSegment('host-11', 'prod-weft', never),
        /^segment prod-weft of host \S+ has ports: vm-1$/,
      );
      await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod', never);
      assert.equal(await segmentOf(), 'prod');
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual(ours(), []);
    });

    it('counts the shadow of a host that vCenter knows no more for nothing, and removes it', async () => {
      const before = structuredClone(group('prod').policy);
      for (const host of ['host-11', 'host-12', 'host-13']) await platform.ensureSegment(shadow(host), never);
      for (const id of ['host-12', 'host-13']) {
        const shadowed = group(`prod-weft-${id}`);
        // As if the host had been removed from vCenter, and added again.
        for (const key of ['name', 'description'] as const)
          shadowed[key] = shadowed[key].replace(id, `host-9${id.slice(-2)}`);
      }
      paper.vcenter.changed();
      await platform.ensureSegment(shadow('host-12'), never);
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual(ours().sort(), ['in', 'out']);
      assert.deepEqual(
        (await listed()).map(({ host, isUnfinished }) => [host, isUnfinished]),
        [['host-12', undefined]],
      );
      await platform.removeSegment('host-12', 'prod-weft', never);
      assert.deepEqual(ours(), []);
      assert.deepEqual(group('prod').policy, before);
    });

    it('lists what is left where the only shadow is that of a host that vCenter knows no more', async () => {
      await platform.ensureSegment(shadow('host-12'), never);
      const only = group('prod-weft-host-12');
      only.description = only.description.replace('host-12', 'host-912');
      paper.vcenter.changed();
      assert.deepEqual(await listed(), [{ host: 'host-11', ...half }]);
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual(ours(), []);
    });

    it('calls it after the production port group as that is called today', async () => {
      fail('ReconfigureDVPortgroup_Task');
      await assert.rejects(platform.ensureSegment(shadow('host-11'), never));
      group('prod').name = 'shop';
      paper.vcenter.changed();
      assert.deepEqual(await listed(), [{ host: 'host-11', ...half, name: 'shop-weft' }]);
      await platform.removeSegment('host-11', 'shop-weft', never);
      assert.deepEqual(ours(), []);
    });
  });

  describe('on standard switches', () => {
    beforeEach(() => open('standard'));

    const portgroups = async () => {
      const { networkSystem } = await readHostNetworks(somebody, 'host-11', never);
      const read = await somebody.properties([networkSystem], ['networkInfo.portgroup'], never);
      const found = read.get(networkSystem.value)!['networkInfo.portgroup'] as { spec: { name: string } }[];
      return found.map(({ spec }) => spec.name).sort();
    };

    it('lists what is left on each host, and removes it', async () => {
      const before = await portgroups();
      await platform.ensureSegment(shadow('host-11'), never);
      await platform.ensureSegment(shadow('host-12'), never);
      await halveSegment(somebody, shadow('host-11'), never);
      assert.deepEqual(await listed(), [
        { host: 'host-11', name: 'prod-weft', role: 'shadow', isUnfinished: true },
        { host: 'host-12', name: 'prod-weft', role: 'shadow' },
      ]);
      await platform.removeSegment('host-11', 'prod-weft', never);
      assert.deepEqual(await portgroups(), before);
    });

    it('leaves a port group alone that only bears the name of one', async () => {
      const { networkSystem } = await readHostNetworks(somebody, 'host-11', never);
      const portgrp = { name: 'prod-weft-out', vlanId: 7, vswitchName: 'vSwitch0', policy: {} };
      await somebody.call(networkSystem, 'AddPortGroup', { portgrp }, never);
      const before = await portgroups();
      await refused(
        platform.removeSegment('host-11', 'prod-weft', never),
        /^port group prod-weft-out of host \S+ is not as Weft makes .*: rename it$/,
      );
      assert.deepEqual(await portgroups(), before);
    });
  });
});
