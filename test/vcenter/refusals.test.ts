/** Port groups that cannot be shadowed: they are listed, and refused with the reason before anything is made. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { addGroup, TRUNK } from '../../src/lab/vcenter/standard-switch.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

const never = new AbortController().signal;

describe('port groups that cannot be shadowed', () => {
  const opened: { stop(): Promise<void> }[] = [];
  after(async () => {
    for (const one of opened.reverse()) await one.stop();
  });

  async function start(switches: 'distributed' | 'standard', first = 3000, last = 3010) {
    const paper = await startPaperVcenter(0, switches);
    const account = {
      address: paper.url,
      user: paper.user,
      password: () => paper.password,
      thumbprint: paper.thumbprint,
    };
    const platform = openVcenter({
      ...account,
      managementNetwork: 'mgmt',
      uplinkAttribute: 'uplinks',
      rackCategory: 'rack',
      engines: { ova: '/none', signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now },
      shadowVlans: { first, last },
    });
    const admin = new VcenterSession(account);
    opened.push(paper, { stop: () => platform.close() }, { stop: () => admin.close() });
    return { paper, platform, admin };
  }
  const refused = (platform: Platform, production: string, says: RegExp) =>
    assert.rejects(
      platform.ensureSegment(
        { host: 'host-11', name: `${production}-weft`, role: 'shadow', shadows: production },
        never,
      ),
      (error) => {
        assert.ok(isWeftError(error, 'ERR_HYPERVISOR_REFUSED'), String(error));
        assert.match(error.message, says);
        return true;
      },
    );
  const names = async (platform: Platform) =>
    (await platform.inventory(never)).hosts[0]!.segments.map((segment) => segment.name);
  const addTo = (
    admin: VcenterSession,
    name: string,
    vlan: Vim<'VmwareDistributedVirtualSwitchVlanSpec'>,
  ) => {
    const dvs: MoRef = { type: 'VmwareDistributedVirtualSwitch', value: 'dvs-20' };
    const defaultPortConfig = { $type: 'VMwareDVSPortSetting', vlan } as Vim<'DVPortSetting'>;
    const spec = [{ name, type: 'earlyBinding', numPorts: 8, defaultPortConfig }];
    return admin.task(dvs, 'AddDVPortgroup_Task', { spec }, never);
  };
  const pvlans = (paper: PaperVcenter) =>
    paper.vcenter.state.pvlans.push(
      { primaryVlanId: 3000, secondaryVlanId: 3000, pvlanType: 'promiscuous' },
      { primaryVlanId: 3000, secondaryVlanId: 3001, pvlanType: 'isolated' },
    );

  it('are trunks and private VLANs of a distributed switch, and its uplinks', async () => {
    const { paper, platform, admin } = await start('distributed');
    pvlans(paper);
    await addTo(admin, 'trunk', {
      $type: 'VmwareDistributedVirtualSwitchTrunkVlanSpec',
      inherited: false,
      vlanId: [{ start: 100, end: 200 }],
    });
    await addTo(admin, 'private', {
      $type: 'VmwareDistributedVirtualSwitchPvlanSpec',
      inherited: false,
      pvlanId: 3001,
    });
    assert.deepEqual(await names(platform), ['mgmt', 'private', 'prod', 'trunk']);
    await refused(platform, 'trunk', /trunk of several VLANs/);
    await refused(platform, 'private', /private VLAN/);
    await refused(platform, 'lab-uplinks', /lab-uplinks/);
    assert.deepEqual(await names(platform), ['mgmt', 'private', 'prod', 'trunk']);
  });

  it('leave their VLANs to others: neither private VLANs nor those of a trunk become shadows', async () => {
    const { paper, platform, admin } = await start('distributed');
    pvlans(paper);
    await addTo(admin, 'trunk', {
      $type: 'VmwareDistributedVirtualSwitchTrunkVlanSpec',
      inherited: false,
      vlanId: [{ start: 3002, end: 3005 }],
    });
    await platform.ensureSegment(
      { host: 'host-11', name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
    const made = paper.vcenter.state.portgroups.find((one) => one.description.includes('"role":"in"'))!;
    assert.equal((made.setting.vlan as { vlanId: number }).vlanId, 3006);
  });

  it('take no NIC in the lab, and the NIC stays where it was', async () => {
    const { paper, platform, admin } = await start('distributed');
    await addTo(admin, 'trunk', {
      $type: 'VmwareDistributedVirtualSwitchTrunkVlanSpec',
      inherited: false,
      vlanId: [{ start: 100, end: 200 }],
    });
    const [vm] = (await platform.inventory(never)).vms;
    const nic = { vm: vm!.id, nic: vm!.nics[0]!.id };
    await assert.rejects(platform.attach(nic, 'trunk', never), (error) => isWeftError(error));
    const after = (await platform.inventory(never)).vms[0]!;
    assert.deepEqual(after, vm);
    assert.equal(paper.record.vms[0]!.nics[0]!.segment, 'prod');
  });

  it('are trunks of a standard switch', async () => {
    const { paper, platform } = await start('standard');
    addGroup(paper.vcenter, { host: 'h1', name: 'trunk', vlanId: TRUNK, policy: {} });
    paper.vcenter.changed();
    assert.deepEqual(await names(platform), ['mgmt', 'prod', 'trunk']);
    await refused(platform, 'trunk', /trunk of all VLANs/);
    assert.deepEqual(await names(platform), ['mgmt', 'prod', 'trunk']);
  });
});
