/** Somebody else works at the same vCenter: renames, takes permissions back, removes what nobody stands on. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildOva } from '../../src/engine-vm/image/ova.ts';
import type { EngineSpec, Platform } from '../../src/hypervisor/platform.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { pinEngine } from '../../src/vcenter/cluster-rules.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { readPortGroupMark } from '../../src/vcenter/marks.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef } from '../../src/vcenter/vim/schema.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

describe('somebody else at the same vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const host = 'host-11';
  let directory: string;
  let paper: PaperVcenter;
  let platform: Platform;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-somebody-'));
    const file = join(directory, 'engine.ova');
    await buildOva({ disk: null, file, version: '0.1.0', signer: null, modifiedAt: 0 }, never);
  });
  beforeEach(async () => {
    paper = await startPaperVcenter();
    platform = openVcenter({
      address: paper.url,
      user: paper.user,
      password: () => paper.password,
      thumbprint: paper.thumbprint,
      managementNetwork: 'mgmt',
      uplinkAttribute: 'uplinks',
      rackCategory: 'rack',
      engines: {
        ova: join(directory, 'engine.ova'),
        signedBy: null,
        size: 'small',
        folder: null,
        datastore: null,
        now: Date.now,
      },
      shadowVlans: { first: 3000, last: 3010 },
    });
    await platform.ensureSegment({ host, name: 'prod-weft', role: 'shadow', shadows: 'prod' }, never);
  });
  afterEach(async () => {
    await platform.close();
    await paper.stop();
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const production = () => paper.vcenter.state.portgroups.find((group) => group.id === 'dvportgroup-22')!;
  const ours = (role: 'in' | 'out') =>
    paper.vcenter.state.portgroups.filter((group) => readPortGroupMark(group.description)?.role === role);
  const segmentOf = async (vm: string) =>
    (await platform.inventory(never)).vms.find((one) => one.id === vm)?.nics[0]?.segment;
  const segments = async () =>
    (await platform.inventory(never)).hosts.find((one) => one.id === host)!.segments.map(({ name }) => name);
  const engine: EngineSpec = {
    engine: 'edge-h1',
    host,
    segments: { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' },
    properties: { engine: 'edge-h1', controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' },
  };

  it('renames the production port group: its shadow, its engines and its members follow', async () => {
    const vm = await platform.deployEngine(engine, () => {}, never);
    await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never);
    production().name = 'shop';
    paper.vcenter.changed();
    assert.deepEqual(await segments(), ['mgmt', 'shop', 'shop-weft']);
    assert.equal(await segmentOf('vm-1'), 'shop-weft');
    const listed = (await platform.inventory(never)).vms.find((one) => one.id === vm.id);
    assert.deepEqual(
      listed?.nics.map((nic) => nic.segment),
      ['mgmt', 'shop', 'shop-weft'],
    );
    await platform.attach({ vm: 'vm-1', nic: '4000' }, 'shop', never);
    assert.equal(await segmentOf('vm-1'), 'shop');
    await platform.removeVm(vm.id, never);
    await platform.removeSegment(host, 'shop-weft', never);
    assert.deepEqual([ours('in'), ours('out')], [[], []]);
    assert.equal(production().policy.vlanOverrideAllowed, false);
  });

  it('takes back what lets ports override their VLAN: it is asked for again, and undone in the end', async () => {
    Object.assign(production().policy, { vlanOverrideAllowed: false, uplinkTeamingOverrideAllowed: false });
    production().configVersion++;
    paper.vcenter.changed();
    await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never);
    assert.equal(await segmentOf('vm-1'), 'prod-weft');
    await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod', never);
    await platform.removeSegment(host, 'prod-weft', never);
    const { vlanOverrideAllowed, uplinkTeamingOverrideAllowed } = production().policy;
    assert.deepEqual([vlanOverrideAllowed, uplinkTeamingOverrideAllowed], [false, false]);
  });

  it('removes the port group of engines: it is made anew before an engine, with the record of what was before', async () => {
    const [out] = ours('out');
    paper.vcenter.state.portgroups = paper.vcenter.state.portgroups.filter((group) => group !== out);
    paper.vcenter.changed();
    await platform.deployEngine(engine, () => {}, never);
    const [made] = ours('out');
    const port = paper.vcenter.state.ports.find((one) => one.portgroup === made?.id);
    assert.equal(port?.connectee?.nic, 'out');
    assert.deepEqual(readPortGroupMark(made!.description)?.allowed, {
      vlanOverride: false,
      teamingOverride: false,
    });
  });

  it('deletes an engine before it is pinned: the pin is refused, and nothing of it is left on the segment', async () => {
    const { url: address, user, thumbprint } = paper;
    const session = new VcenterSession({ address, user, password: () => paper.password, thumbprint });
    await session.connect(never);
    const { id } = await platform.deployEngine(engine, () => {}, never);
    const vm: MoRef = { type: 'VirtualMachine', value: id };
    await session.task(vm, 'PowerOffVM_Task', {}, never);
    await session.task(vm, 'Destroy_Task', {}, never);
    const { groups, rules } = structuredClone(paper.vcenter.state.cluster);
    const pin = { engine: 'edge-h1', vm, host: { type: 'HostSystem', value: host }, segment: 'prod' };
    await assert.rejects(pinEngine(session, pin, never), (error) => isWeftError(error, 'ERR_NOT_FOUND'));
    assert.deepEqual(
      [paper.vcenter.state.cluster.groups, paper.vcenter.state.cluster.rules],
      [groups, rules],
    );
    await session.close();
    await platform.removeSegment(host, 'prod-weft', never);
    assert.deepEqual(paper.vcenter.state.cluster, { rules: [], groups: [], drsVms: [], dasVms: [] });
  });
});
