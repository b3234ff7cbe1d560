/** What an administrator is shown before anything is touched: each reconfiguration, and each privilege that is missing. */
import assert from 'node:assert/strict';
import type { PlannedCall, Platform } from '../../src/hypervisor/platform.ts';
import { REFS } from '../../src/lab/vcenter/state.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { VcenterInventory } from '../../src/vcenter/inventory.ts';
import { PRIVILEGES, readLacks } from '../../src/vcenter/privileges.ts';
import { RestClient } from '../../src/vcenter/rest.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { faultName } from '../../src/vcenter/vim/faults.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { buildBlankOva } from './blank-ova.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

/** The switch, as the simulated vCenter calls it. */
const DVS: MoRef = { type: 'VmwareDistributedVirtualSwitch', value: REFS.switch.id };

describe('the preview of vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  let paper: PaperVcenter;
  let platform: Platform;

  beforeEach(async () => {
    paper = await startPaperVcenter();
    platform = paper.open({ shadowVlans: { first: 3001, last: 3010 } });
  });
  afterEach(async () => {
    await platform?.close();
    await paper?.stop();
  });

  const calls: PlannedCall[] = [
    { call: 'ensureSegment', host: 'host-11', segment: 'prod-weft', shadows: 'prod' },
    { call: 'ensureSegment', host: 'host-12', segment: 'prod-weft', shadows: 'prod' },
    {
      call: 'deployEngine',
      host: 'host-11',
      engine: 'edge-h1',
      segments: { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' },
    },
    { call: 'attach', nic: { vm: 'vm-1', nic: '4000' }, segment: 'prod-weft' },
    { call: 'attach', nic: { vm: 'vm-none', nic: '4000' }, segment: 'prod-weft' },
  ];

  it('names each object that would be reconfigured, and touches none', async () => {
    await platform.inventory(never);
    const configured = () => JSON.stringify([paper.vcenter.state.portgroups, paper.vcenter.state.ports]);
    const before = configured();
    const lines = await platform.preview!(calls, never);
    const { key } = paper.vcenter.state.ports.find((port) => port.connectee?.vm === 'vm-1')!;
    assert.deepEqual(lines, [
      [
        'DVPG prod-weft-out: create on VLAN 100; MAC learning, forged transmits',
        'DVPG prod: allow VLAN override and teaming override',
        'DVPG prod-weft-host-11: create on VLAN 3001, no uplinks; MAC learning, forged transmits',
      ],
      ['DVPG prod-weft-host-12: create on VLAN 3001, no uplinks; MAC learning, forged transmits'],
      ['VM edge-h1: import to host h1, NICs on mgmt, prod and prod-weft; power on'],
      [`port ${key} of paper-dvs (app1): VLAN 100 -> 3001, no uplinks`],
      ['refused: there is no VM vm-none'],
    ]);
    assert.equal(configured(), before);
  });

  it('says what is left to be done, and how it is undone', async () => {
    const [ensure, , , attach] = calls as [PlannedCall, PlannedCall, PlannedCall, PlannedCall];
    await platform.ensureSegment(
      { host: 'host-11', name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
    await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never);
    const back: PlannedCall = { call: 'attach', nic: { vm: 'vm-1', nic: '4000' }, segment: 'prod' };
    const { key } = paper.vcenter.state.ports.find((port) => port.connectee?.vm === 'vm-1')!;
    assert.deepEqual(await platform.preview!([ensure, back], never), [
      [],
      [`port ${key} of paper-dvs (app1): VLAN and uplinks as prod says (100)`],
    ]);
    assert.equal((await platform.preview!([attach], never)).length, 1);
  });

  it('names each missing privilege with what it is for, and no other', async () => {
    await platform.inventory(never);
    assert.deepEqual(await platform.lacks!(never), []);
    for (const privilege of ['DVSwitch.PortConfig', 'VApp.Import', 'Host.Config.Network']) {
      paper.record.faults.push({ id: `fault-${privilege}`, kind: 'privilege', privilege });
    }
    const hosts = ['host-11', 'host-12', 'host-13'];
    assert.deepEqual(await platform.lacks!(never), [
      {
        privilege: 'DVSwitch.PortConfig',
        purpose: 'bend and release the path of members',
        calls: ['attach'],
        hosts,
      },
      { privilege: 'VApp.Import', purpose: 'deploy engines', calls: ['deployEngine'], hosts },
    ]);
    await platform.ensureSegment(
      { host: 'host-11', name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
    await assert.rejects(platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never), (error) =>
      isWeftError(error, 'ERR_HYPERVISOR_REFUSED'),
    );
    paper.record.faults.length = 0;
    await platform.attach({ vm: 'vm-1', nic: '4000' }, 'prod-weft', never);
  });

  it('names the privileges of a content library where engines come from one, until the appliance is in it', async () => {
    const ova = await buildBlankOva(never);
    const withhold = (...privileges: string[]) => {
      const faults = privileges.map((privilege) => ({
        id: `fault-${privilege}`,
        kind: 'privilege' as const,
        privilege,
      }));
      paper.record.faults.splice(0, paper.record.faults.length, ...faults);
    };
    const shadow = { name: 'prod-weft', role: 'shadow' as const, shadows: 'prod' };
    const deploy = (from: Platform, host: string) => {
      const engine = `edge-${host}`;
      const properties = { engine, controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' };
      const segments = { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' };
      return from.deployEngine({ engine, host, segments, properties }, () => {}, never);
    };
    const from = paper.open({ contentLibrary: 'engines', engines: ova.options });
    const { url: address, user, password, thumbprint } = paper;
    const session = new VcenterSession({ address, user, password: () => password, thumbprint });
    try {
      const make = {
        method: 'POST',
        service: '/content/local-library',
        body: {
          name: 'engines',
          type: 'LOCAL',
          storage_backings: [{ type: 'DATASTORE', datastore_id: REFS.datastore.id }],
        },
        argument: 'create_spec',
      } as const;
      withhold('ContentLibrary.CreateLocalLibrary');
      await assert.rejects(new RestClient(session).call(make, never), /CreateLocalLibrary/);
      withhold();
      await new RestClient(session).call(make, never);
      for (const host of ['host-11', 'host-12']) await from.ensureSegment({ host, ...shadow }, never);

      withhold('ContentLibrary.AddLibraryItem', 'ContentLibrary.UpdateSession');
      const lack = {
        purpose: 'keep the appliance in a content library',
        calls: ['deployEngine'],
        hosts: ['host-11', 'host-12', 'host-13'],
      };
      await platform.inventory(never);
      assert.deepEqual(await platform.lacks!(never), [], 'no engine of that cloud comes from a library');
      await from.inventory(never);
      assert.deepEqual(await from.lacks!(never), [
        { privilege: 'ContentLibrary.AddLibraryItem', ...lack },
        { privilege: 'ContentLibrary.UpdateSession', ...lack },
      ]);
      const refused = async (privilege: RegExp) =>
        assert.rejects(deploy(from, 'host-11'), (error) => {
          assert.ok(isWeftError(error, 'ERR_HYPERVISOR_REFUSED'), String(error));
          assert.match(error.message, privilege);
          return true;
        });
      await refused(/lacks the privilege ContentLibrary\.AddLibraryItem/);
      withhold('ContentLibrary.UpdateSession');
      await refused(/lacks the privilege ContentLibrary\.UpdateSession/);
      withhold();
      assert.equal((await deploy(from, 'host-11')).engine, 'edge-host-11');

      withhold('ContentLibrary.AddLibraryItem', 'ContentLibrary.UpdateSession');
      assert.deepEqual(await from.lacks!(never), [], 'whoever finds it there needs no right to put it there');
      assert.equal((await deploy(from, 'host-12')).engine, 'edge-host-12');
    } finally {
      await session.close();
      await from.close();
      ova.remove();
    }
  });

  it('names the privileges of tagging for clones of VMs that bear tags, and a role without them leaves no clone', async () => {
    const { vms } = await platform.inventory(never);
    const tagged = vms.filter(({ tags }) => tags.length > 0).map(({ id }) => id);
    const [model] = tagged;
    assert.ok(model);
    for (const privilege of ['AttachTag', 'ObjectAttachable'].map(
      (one) => `InventoryService.Tagging.${one}`,
    )) {
      paper.record.faults.splice(0, 1, { id: 'fault-1', kind: 'privilege', privilege });
      const hosts = ['host-11', 'host-12', 'host-13'];
      assert.deepEqual(await platform.lacks!(never), [
        { privilege, purpose: 'give clones their tags', calls: ['cloneVm'], hosts, models: tagged },
      ]);
      await assert.rejects(
        platform.cloneVm(model, { name: 'twin', host: 'host-11' }, () => {}, never),
        (error) => {
          assert.ok(isWeftError(error, 'ERR_HYPERVISOR_REFUSED'), String(error));
          assert.ok(error.message.includes(`lacks the privilege ${privilege}`), error.message);
          return true;
        },
      );
      const after = await platform.inventory(never);
      assert.deepEqual(
        [...after.vms, ...(after.unfinished ?? [])].filter(({ name }) => name === 'twin'),
        [],
      );
    }
  });

  it('asks for no privilege that this vCenter does not know', async () => {
    await platform.inventory(never);
    paper.record.faults.push({ id: 'fault-1', kind: 'privilege', privilege: 'DVSwitch.Vspan' });
    assert.equal((await platform.lacks!(never)).length, 1);
    const { url: address, user, password, thumbprint } = paper;
    const session = new VcenterSession({ address, user, password: () => password, thumbprint });
    try {
      const { authorizationManager } = await session.connect(never);
      const read = (await session.properties([authorizationManager!], ['privilegeList'], never)).get(
        authorizationManager!.value,
      )!;
      const ids = (read.privilegeList as Vim<'AuthorizationPrivilege'>[]).map(({ privId }) => privId);
      for (const privilege of Object.values(PRIVILEGES).flat()) assert.ok(ids.includes(privilege), privilege);
      const properties = session.properties.bind(session);
      session.properties = async (objects, paths, signal) => {
        const all = await properties(objects, paths, signal);
        const own = all.get(authorizationManager!.value);
        if (own)
          own.privilegeList = (own.privilegeList as Vim<'AuthorizationPrivilege'>[]).filter(
            ({ privId }) => privId !== 'DVSwitch.Vspan',
          );
        return all;
      };
      const inventory = new VcenterInventory(session, {
        managementNetwork: 'mgmt',
        uplinkAttribute: 'uplinks',
        rackCategory: 'rack',
      });
      await inventory.list(never);
      assert.deepEqual(await readLacks(session, inventory, {}, never), []);
      await inventory.close();
    } finally {
      await session.close();
    }
  });

  it('names the privilege of port mirroring where a mirror is planned, and a role without it changes no session', async () => {
    await platform.inventory(never);
    paper.record.faults.push({ id: 'fault-1', kind: 'privilege', privilege: 'DVSwitch.Vspan' });
    assert.deepEqual(await platform.lacks!(never), [
      {
        privilege: 'DVSwitch.Vspan',
        purpose: 'mirror ports to engines that only observe',
        calls: ['mirror'],
        hosts: ['host-11', 'host-12', 'host-13'],
      },
    ]);
    const { url: address, user, password, thumbprint } = paper;
    const session = new VcenterSession({ address, user, password: () => password, thumbprint });
    try {
      const { key } = paper.vcenter.state.ports.find((port) => port.connectee?.vm === 'vm-1')!;
      const twin = { ...mirrorOf(key), name: 'somebody' };
      const change = (spec: Partial<Vim<'VMwareDVSConfigSpec'>>) =>
        session.task(
          DVS,
          'ReconfigureDvs_Task',
          {
            spec: {
              $type: 'VMwareDVSConfigSpec',
              configVersion: String(paper.vcenter.state.switchConfigVersion),
              ...spec,
            },
          },
          never,
        );
      const before = JSON.stringify([paper.vcenter.state.vspans, paper.vcenter.state.switchConfigVersion]);
      for (const vspanConfigSpec of [
        [{ operation: 'add', vspanSession: twin }],
        [{ operation: 'remove', vspanSession: { ...twin, key: 'vspan-1' } }],
      ]) {
        await assert.rejects(change({ vspanConfigSpec }), (error) => {
          assert.ok(isWeftError(error, 'ERR_HYPERVISOR_REFUSED'));
          assert.equal(faultName(error), 'NoPermission');
          assert.match(error.message, /the user lacks the privilege DVSwitch\.Vspan/);
          return true;
        });
      }
      assert.equal(
        JSON.stringify([paper.vcenter.state.vspans, paper.vcenter.state.switchConfigVersion]),
        before,
      );
      // Other settings of the switch are another privilege's.
      const rename = () => change({ name: 'other' });
      await assert.rejects(rename(), { code: 'ERR_HYPERVISOR_UNSUPPORTED' });
      paper.record.faults.push({ id: 'fault-2', kind: 'privilege', privilege: 'DVSwitch.Modify' });
      await assert.rejects(rename(), /the user lacks the privilege DVSwitch\.Modify/);
      paper.record.faults.length = 0;
      // With the privilege the call is looked at, and refused for what it asks: that VM is no engine.
      await assert.rejects(change({ vspanConfigSpec: [{ operation: 'add', vspanSession: twin }] }), {
        code: 'ERR_HYPERVISOR_REFUSED',
      });
    } finally {
      await session.close();
    }
  });
});

function mirrorOf(port: string): Vim<'VMwareVspanSession'> {
  return {
    enabled: true,
    name: 'copies',
    sourcePortReceived: { portKey: [port] },
    destinationPort: { portKey: [port] },
    stripOriginalVlan: false,
    normalTrafficAllowed: false,
    sessionType: 'dvPortMirror',
  };
}
