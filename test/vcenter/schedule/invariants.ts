/** What must hold when a schedule has come to rest, as somebody sees it who knows nothing of plans. */
import assert from 'node:assert/strict';
import type { Placement } from '../../../src/controller/actual.ts';
import { hostRef } from '../../../src/lab/vcenter/inventory/hosts.ts';
import { machineName } from '../../../src/lab/vcenter/inventory/machines.ts';
import { portOfNic, settingOf } from '../../../src/lab/vcenter/ports.ts';
import { type PortgroupRecord, REFS, type VcenterState } from '../../../src/lab/vcenter/state.ts';
import type { Vcenter } from '../../../src/lab/vcenter/vcenter.ts';
import type { Struct } from '../../../src/lab/vcenter/wire/values.ts';
import type { LabRecord, VmRecord } from '../../../src/lab/world/record.ts';
import type { Store } from '../../../src/state/store.ts';
import { readPortGroupMark } from '../../../src/vcenter/marks.ts';
import { SHADOW_VLANS } from './site.ts';
import type { Somebody } from './somebody.ts';

/** What is looked at. */
export interface SiteAtRest {
  record: LabRecord;
  state: VcenterState;
  vcenter: Vcenter | null;
  store: Pick<Store, 'list'>;
  engines: { forwards(engine: string): boolean };
}

/** What somebody else wanted, if anybody did. */
export type Wishes = Pick<Somebody, 'portSettings' | 'names' | 'production' | 'isRecordLost'>;

/** Policy asks for the service: every running member is in line, by one engine per host, and nothing is double. */
export async function requireInLine(site: SiteAtRest, somebody: Wishes): Promise<void> {
  const { record, state } = site;
  const vcenter = site.vcenter!;
  requireOrder(site);
  const placements = (await site.store.list<Placement>('placement/'))
    .filter(({ key }) => key.split('/').length === 2)
    .map(({ value }) => value);
  const hostsWithEngine: string[] = [];
  for (const host of record.hosts) {
    const here = record.vms.filter((vm) => vm.host === host.id);
    const engines = here.filter((vm) => vm.engine);
    const members = here.filter((vm) => !vm.engine && vm.process);
    if (members.length > 0) assert.equal(engines.length, 1, `an engine on ${host.id}`);
    for (const engine of engines) {
      hostsWithEngine.push(hostRef(vcenter, host.id).id);
      assert.ok(engine.process, `engine ${engine.name} is on`);
      assert.ok(site.engines.forwards(engine.engine!.id), `engine ${engine.name} forwards`);
      assert.deepEqual(
        placements.filter((one) => one.vm === engine.id).map((one) => [one.engine, one.host]),
        [[engine.engine!.id, hostRef(vcenter, host.id).id]],
        'the placement of the engine',
      );
    }
    for (const vm of members) {
      const isTheirs = somebody.portSettings.get(vm.id)?.vlan !== undefined;
      assert.equal(isOnShadow(vm), !isTheirs, `whether ${machineName(vcenter, vm)} on ${host.id} is in line`);
    }
  }
  assert.equal(placements.length, hostsWithEngine.length, 'placements');
  const marks = state.portgroups.flatMap((one) => readPortGroupMark(one.description) ?? []);
  assert.deepEqual(
    marks
      .filter((mark) => mark.role === 'in')
      .map((mark) => mark.host)
      .sort(),
    hostsWithEngine.sort(),
    'shadow port groups, one for each host with an engine',
  );
  assert.equal(
    marks.filter((mark) => mark.role === 'out').length,
    hostsWithEngine.length > 0 ? 1 : 0,
    'out port groups',
  );
}

/** Policy is gone: so is everything of Weft, and what somebody else did is as they left it. */
export async function requireUndone(site: SiteAtRest, somebody: Wishes): Promise<void> {
  const { record, state } = site;
  const vcenter = site.vcenter!;
  requireOrder(site);
  assert.deepEqual(
    record.vms.filter((vm) => vm.engine).map((vm) => vm.name),
    [],
    'engine VMs',
  );
  assert.deepEqual(
    state.portgroups.map((one) => one.name),
    ['lab-uplinks', somebody.production.name, 'mgmt'],
    'port groups',
  );
  const { policy } = state.portgroups[1]!;
  const before = { ...policyOf(state.portgroups[2]!), ...somebody.production.policy };
  if (somebody.isRecordLost) {
    before.vlanOverrideAllowed = policy.vlanOverrideAllowed;
    before.uplinkTeamingOverrideAllowed = policy.uplinkTeamingOverrideAllowed;
  }
  assert.deepEqual(plain(policy), plain(before), 'policy of production');
  for (const vm of record.vms) {
    const port = portOfNic(state, vm, vm.nics[0]!)!;
    assert.deepEqual(
      plain(port.setting),
      plain({ $type: 'VMwareDVSPortSetting', ...somebody.portSettings.get(vm.id) }),
      `the port of ${machineName(vcenter, vm)}`,
    );
    assert.equal(state.vms[vm.id]!.annotation, '', `the notes of ${machineName(vcenter, vm)}`);
    const name = somebody.names.get(vm.id);
    if (name !== undefined) assert.equal(machineName(vcenter, vm), name, 'a name that somebody gave');
  }
  assert.deepEqual(state.cluster, { rules: [], groups: [], drsVms: [], dasVms: [] }, 'rules of the cluster');
  for (const [id, values] of Object.entries(state.customValues)) {
    // Who drove this vCenter last stays on record there: docs/design/ownership.md.
    if (id === REFS.rootFolder.id) continue;
    const own = Object.values(record.vms.find((vm) => vm.id === id)?.attributes ?? {});
    assert.deepEqual(
      Object.values(values).filter((value) => !own.includes(value)),
      [],
      `custom values of ${id}`,
    );
  }
  const kept = [...(await site.store.list('placement/')), ...(await site.store.list('interception/'))];
  assert.deepEqual(
    kept.map(({ key }) => key),
    [],
    'what the store still holds',
  );
}

/** What holds at rest whatever policy says. */
function requireOrder(site: SiteAtRest): void {
  const { record, state } = site;
  const names = record.vms.map((vm) => vm.name);
  assert.equal(new Set(names).size, names.length, `VMs are double: ${names.join(', ')}`);
  const engines = record.vms.flatMap((vm) => vm.engine?.id ?? []);
  assert.equal(new Set(engines).size, engines.length, `engines are double: ${engines.join(', ')}`);
  assert.deepEqual(
    Object.values(state.vms).filter((one) => one.isImporting),
    [],
    'half imports',
  );
  for (const vm of record.vms) {
    for (const nic of vm.nics) {
      assert.equal(
        nic.segment,
        segmentOf(state, vm, nic.id),
        `the cable of ${vm.name}/${nic.id} is where its port says`,
      );
    }
    if (vm.engine || !isOnShadow(vm)) continue;
    const engine = record.vms.find(
      (one) =>
        one.engine &&
        one.host === vm.host &&
        one.nics.find(({ id }) => id === 'in')?.segment === vm.nics[0]!.segment,
    );
    assert.ok(
      engine && site.engines.forwards(engine.engine!.id),
      `${vm.name} is on a shadow VLAN with an engine that forwards`,
    );
    assert.equal(
      engine.nics.find(({ id }) => id === 'out')?.segment,
      'prod',
      `the out NIC of ${engine.name}`,
    );
  }
}

function isOnShadow(vm: VmRecord): boolean {
  const vlan = Number(/^vlan-(\d+)$/.exec(vm.nics[0]!.segment)?.[1]);
  return vlan >= SHADOW_VLANS.first && vlan <= SHADOW_VLANS.last;
}

function segmentOf(state: VcenterState, vm: VmRecord, nic: string): string {
  const port = portOfNic(state, vm, { id: nic })!;
  const { vlanId } = settingOf(state, port).vlan as Struct;
  return vlanId === 100 ? 'prod' : vlanId === 10 ? 'mgmt' : `vlan-${vlanId}`;
}

/** The management port group has the policy that every port group of a new lab has; nobody touches it. */
function policyOf(group: PortgroupRecord): Struct {
  return group.policy;
}

function plain(value: Struct): unknown {
  return JSON.parse(JSON.stringify(value));
}
