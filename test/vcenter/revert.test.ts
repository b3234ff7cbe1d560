/** What Weft has bent is given back exactly as it was; what it could not give back, it does not take. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { mergeSetting } from '../../src/lab/vcenter/port-setting.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { requireOrdinary } from '../../src/vcenter/distributed-switch.ts';
import type { DistributedNetwork } from '../../src/vcenter/host-networks.ts';
import type { Vim } from '../../src/vcenter/vim/schema.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

const never = new AbortController().signal;

describe('reverting an interception in vCenter', function () {
  this.timeout(30_000);
  let paper: PaperVcenter;
  let platform: Platform;

  beforeEach(async () => {
    paper = await startPaperVcenter();
    platform = paper.open();
    await platform.inventory(never);
  });
  afterEach(async () => {
    await platform?.close();
    await paper?.stop();
  });

  const group = (name: string) => paper.vcenter.state.portgroups.find((one) => one.name === name)!;
  const portOf = (vm: string) => paper.vcenter.state.ports.find((port) => port.connectee?.vm === vm)!;
  const shadow = (host: string) => ({ host, name: 'prod-weft', role: 'shadow' as const, shadows: 'prod' });
  const refused = (work: Promise<unknown>, why: RegExp) =>
    assert.rejects(work, (error) => isWeftError(error, 'ERR_HYPERVISOR_REFUSED') && why.test(error.message));

  for (const [vlanOverrideAllowed, uplinkTeamingOverrideAllowed] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ]) {
    it(`gives back a policy of VLAN ${vlanOverrideAllowed}, teaming ${uplinkTeamingOverrideAllowed}, and every other field`, async () => {
      const prod = group('prod');
      prod.policy = {
        ...prod.policy,
        vlanOverrideAllowed,
        uplinkTeamingOverrideAllowed,
      } as typeof prod.policy;
      const { configVersion: _, ...before } = structuredClone(prod);
      const port = structuredClone(portOf('vm-1'));
      for (const host of ['host-11', 'host-12']) await platform.ensureSegment(shadow(host), never);
      await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never);
      assert.equal(prod.policy.vlanOverrideAllowed, true);
      await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod', never);
      for (const host of ['host-11', 'host-12']) await platform.removeSegment(host, 'prod-weft', never);
      const { configVersion: __, ...after } = structuredClone(group('prod'));
      assert.deepEqual(after, before);
      const { setting, configVersion: ___, ...rest } = portOf('vm-1');
      const { setting: ____, configVersion: _____, ...restBefore } = port;
      assert.deepEqual(rest, restBefore, 'the port is the same');
      for (const part of ['vlan', 'uplinkTeamingPolicy']) {
        const value = setting[part] as { inherited?: boolean } | undefined;
        assert.equal(value?.inherited ?? true, true, `${part} is inherited again`);
      }
      assert.deepEqual(
        paper.vcenter.state.portgroups.filter(({ name }) => name.includes('weft')),
        [],
      );
    });
  }

  it('does not take what it could not give back: a port with uplinks of its own', async () => {
    await platform.ensureSegment(shadow('host-11'), never);
    const port = portOf('vm-1');
    const order = { inherited: false, activeUplinkPort: ['uplink1'], standbyUplinkPort: [] };
    const own = { inherited: false, uplinkPortOrder: order };
    const setting = { $type: 'VMwareDVSPortSetting', uplinkTeamingPolicy: own };
    port.setting = mergeSetting(port.setting, setting, true);
    const before = structuredClone(port);
    await refused(
      platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never),
      /app1 on prod has uplinks of its own by an override: reset it/,
    );
    assert.deepEqual(portOf('vm-1'), before);
  });

  it('refuses to shadow a trunk and a private VLAN, and changes nothing', async () => {
    const prod = group('prod');
    const kinds = [
      [
        { $type: 'VmwareDistributedVirtualSwitchTrunkVlanSpec', vlanId: [{ start: 1, end: 9 }] },
        /port group prod cannot be shadowed: it is a trunk of several VLANs; use a port group with one VLAN/,
      ],
      [
        { $type: 'VmwareDistributedVirtualSwitchPvlanSpec', pvlanId: 7 },
        /port group prod cannot be shadowed: it is on a private VLAN; use a port group with an ordinary VLAN/,
      ],
    ] as const;
    for (const [vlan, why] of kinds) {
      prod.setting = { ...prod.setting, vlan: { inherited: false, ...vlan } } as typeof prod.setting;
      const before = JSON.stringify(paper.vcenter.state.portgroups);
      await refused(platform.ensureSegment(shadow('host-11'), never), why);
      const [lines] = await platform.preview!(
        [{ call: 'ensureSegment', host: 'host-11', segment: 'prod-weft', shadows: 'prod' }],
        never,
      );
      assert.match(lines?.[0] ?? '', why, 'the plan says so too');
      assert.equal(JSON.stringify(paper.vcenter.state.portgroups), before);
    }
  });
});

describe('port groups that cannot be shadowed', () => {
  const network = (config: Partial<Vim<'DVPortgroupConfigInfo'>>): DistributedNetwork => ({
    kind: 'distributed',
    ref: { type: 'DistributedVirtualPortgroup', value: 'dvportgroup-1' },
    name: 'shop',
    mark: null,
    config: {
      defaultPortConfig: {
        $type: 'VMwareDVSPortSetting',
        vlan: { $type: 'VmwareDistributedVirtualSwitchVlanIdSpec', inherited: false, vlanId: 42 },
      },
      ...config,
    } as Vim<'DVPortgroupConfigInfo'>,
  });
  const refused = (config: Partial<Vim<'DVPortgroupConfigInfo'>>, uplinks: string[], why: RegExp) =>
    assert.throws(
      () => requireOrdinary(network(config), uplinks),
      (error) => isWeftError(error, 'ERR_HYPERVISOR_REFUSED') && why.test(error.message),
    );

  it('are told from ordinary ones, whose VLAN is answered', () => {
    assert.equal(requireOrdinary(network({}), ['dvportgroup-9']), 42);
  });
  it('are those of uplinks', () => {
    refused(
      {},
      ['dvportgroup-1'],
      /port group shop cannot be shadowed: it is the uplink port group of its switch/,
    );
  });
  it('are those of NSX, however vCenter says so', () => {
    const why =
      /port group shop cannot be shadowed: it belongs to NSX, which decides its paths itself; use a VLAN/;
    refused({ backingType: 'nsx' }, [], why);
    refused({ logicalSwitchUuid: 'ls-1' }, [], why);
    refused({ segmentId: '/infra/segments/shop' }, [], why);
  });
});
