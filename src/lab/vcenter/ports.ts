/**
 * Distributed ports: which NIC is behind which port, and what a port's VLAN means in the lab. The production and
 * management VLANs are the lab's segments of that role; every other VLAN is one that no physical switch carries, so
 * it ends at the host: a shadow segment of that host alone.
 */
import { MANAGEMENT_SEGMENT, PRODUCTION_SEGMENT } from '../world/blueprint.ts';
import type { NicRecord, VmRecord } from '../world/record.ts';
import { accessVlan, defaultPolicy, defaultSetting, effectiveSetting, lets } from './port-setting.ts';
import { attachTag } from './rest/tag-store.ts';
import { groupLearnsMacs, requireGroup, standardNameOf, TRUNK } from './standard-switch.ts';
import {
  MANAGEMENT_VLAN,
  type PortgroupRecord,
  type PortRecord,
  PRODUCTION_VLAN,
  type StandardGroupRecord,
  type VcenterState,
} from './state.ts';
import type { Vcenter } from './vcenter.ts';
import { invalidArgument, VimFault } from './wire/fault.ts';
import { isMoRef, moRef, type Struct, type Value } from './wire/values.ts';

const NIC_KEY = 4000;

/** Makes the port groups of a new lab: the uplinks, production and management. */
export function seedPortgroups(state: VcenterState): void {
  const vlanId = (id: number): Struct => ({ $type: 'VmwareDistributedVirtualSwitchVlanIdSpec', vlanId: id });
  const trunk: Struct = {
    $type: 'VmwareDistributedVirtualSwitchTrunkVlanSpec',
    vlanId: [{ start: 0, end: 4094 }],
  };
  const seed = (id: string, name: string, vlan: Struct, isUplink = false): PortgroupRecord => ({
    id,
    name,
    description: '',
    type: 'earlyBinding',
    isUplink,
    numPorts: 16,
    isAutoExpand: true,
    configVersion: 0,
    setting: defaultSetting(vlan),
    policy: defaultPolicy(),
  });
  state.portgroups.push(
    seed('dvportgroup-21', 'lab-uplinks', trunk, true),
    seed('dvportgroup-22', PRODUCTION_SEGMENT, vlanId(PRODUCTION_VLAN)),
    seed('dvportgroup-23', MANAGEMENT_SEGMENT, vlanId(MANAGEMENT_VLAN)),
  );
}

/** Gives every VM its overlay and every NIC its port; forgets those that are gone. True where anything changed. */
export function adoptMachines(vcenter: Vcenter): boolean {
  const { state } = vcenter;
  const { vms } = vcenter.datacenter.record;
  const ids = new Set(vms.map((vm) => vm.id));
  const before = JSON.stringify([state.ports, state.standard.nics, Object.keys(state.vms)]);
  for (const id of Object.keys(state.vms)) {
    if (ids.has(id)) continue;
    delete state.vms[id];
    delete state.customValues[id];
    state.attachments = state.attachments.filter((one) => one.object.id !== id);
  }
  forgetInCluster(state, new Set(vms.map((vm) => vm.id)));
  state.ports = state.ports.filter(
    (port) =>
      port.connectee === null ||
      vms.some((vm) => vm.id === port.connectee?.vm && vm.nics.some((nic) => nic.id === port.connectee?.nic)),
  );
  state.standard.nics = state.standard.nics.filter((one) =>
    vms.some((vm) => vm.id === one.vm && vm.nics.some((nic) => nic.id === one.nic)),
  );
  for (const vm of vms) {
    if (!state.vms[vm.id]) {
      state.vms[vm.id] = {
        uuid: vcenter.uuidOf(`bios ${vm.id}`),
        instanceUuid: vcenter.uuidOf(vm.id),
        name: null,
        folder: null,
        annotation: '',
        extraConfig: {},
        changeVersion: 1,
        properties: [],
        product: [],
        managedBy: null,
        isImporting: false,
        isTemplate: false,
        ...state.making[vm.name],
      };
      if (!state.making[vm.name]) {
        for (const tag of vm.tags) attachTag(state, tag, moRef('VirtualMachine', vm.id));
        for (const [name, value] of Object.entries(vm.attributes ?? {}))
          giveAttribute(state, name, value, vm.id);
      }
    }
    delete state.making[vm.name];
    for (const nic of vm.nics) {
      if (!plugOf(state, vm, nic)) plug(vcenter, vm, nic, plugOfSegment(state, vm.host, nic.segment));
    }
  }
  return before !== JSON.stringify([state.ports, state.standard.nics, Object.keys(state.vms)]);
}

/** Sets a custom attribute of a VM; its field is made where it is not there yet. */
function giveAttribute(state: VcenterState, name: string, value: string, vm: string): void {
  const managedType = 'VirtualMachine';
  let field = state.customFields.find((one) => one.name === name && one.managedType === managedType);
  if (!field) {
    field = { key: state.nextId++, name, managedType };
    state.customFields.push(field);
  }
  state.customValues[vm] = { ...state.customValues[vm], [field.key]: value };
}

/** Device key of a NIC: 4000 for the first. */
export function nicKey(vm: VmRecord, nic: NicRecord): number {
  return NIC_KEY + vm.nics.indexOf(nic);
}

export function nicOfKey(vm: VmRecord, key: number): NicRecord | undefined {
  return vm.nics[key - NIC_KEY];
}

export function portOfNic(
  state: VcenterState,
  vm: Pick<VmRecord, 'id'>,
  nic: Pick<NicRecord, 'id'>,
): PortRecord | undefined {
  return state.ports.find((port) => port.connectee?.vm === vm.id && port.connectee.nic === nic.id);
}

/** The port group. Throws NotFound. */
export function portgroupOf(state: VcenterState, id: string): PortgroupRecord {
  const found = state.portgroups.find((one) => one.id === id);
  if (!found) throw new VimFault('NotFound', `there is no port group ${id} on this switch`);
  return found;
}

/** The setting that counts for a port. */
export function settingOf(state: VcenterState, port: PortRecord): Struct {
  return effectiveSetting(portgroupOf(state, port.portgroup).setting, port.setting);
}

/** The VLAN of an access port. Throws NotSupported where it is none. */
export function vlanOf(state: VcenterState, port: PortRecord): number {
  return accessVlan(settingOf(state, port), `port ${port.key}`);
}

/** Puts a NIC on a new port of a port group; the port it had is freed. Nothing moves yet. */
export function connect(vcenter: Vcenter, vm: VmRecord, nic: NicRecord, portgroup: string): PortRecord {
  const { state } = vcenter;
  const group = portgroupOf(state, portgroup);
  if (group.isUplink) throw invalidArgument('backing.port.portgroupKey', `${group.name} is for uplinks`);
  const present = portOfNic(state, vm, nic);
  if (present?.portgroup === portgroup) return present;
  // Now, as long as nothing has changed: the cable could not follow.
  accessVlan(group.setting, `port group ${group.name}`);
  const used = state.ports.filter((port) => port.portgroup === portgroup).length;
  if (used >= group.numPorts) {
    if (!group.isAutoExpand) {
      throw new VimFault('ResourceNotAvailable', `port group ${group.name} has no free port`, {
        containerType: 'DistributedVirtualPortgroup',
        containerName: group.name,
        type: 'DistributedVirtualPort',
      });
    }
    group.numPorts += 8;
  }
  const port: PortRecord = {
    key: String(vcenter.nextId()),
    portgroup,
    name: '',
    configVersion: 0,
    setting: { $type: 'VMwareDVSPortSetting' },
    connectee: { vm: vm.id, nic: nic.id },
    connectionCookie: (Math.random() * 2 ** 31) | 0,
  };
  state.ports = state.ports.filter((one) => one !== present);
  state.ports.push(port);
  state.standard.nics = state.standard.nics.filter((one) => one.vm !== vm.id || one.nic !== nic.id);
  return port;
}

/** What a NIC is plugged into. */
export type Plug = { kind: 'distributed'; portgroup: string } | { kind: 'standard'; group: string };

/** Undefined before this vCenter has seen the NIC. */
export function plugOf(
  state: VcenterState,
  vm: Pick<VmRecord, 'id'>,
  nic: Pick<NicRecord, 'id'>,
): Plug | undefined {
  const group = standardNameOf(state, vm, nic);
  if (group !== undefined) return { kind: 'standard', group };
  const port = portOfNic(state, vm, nic);
  return port && { kind: 'distributed', portgroup: port.portgroup };
}

/** Puts a NIC on a port group of either kind of switch, and off the one it was on. Nothing moves yet. */
export function plug(vcenter: Vcenter, vm: VmRecord, nic: NicRecord, into: Plug): void {
  const { state } = vcenter;
  if (into.kind === 'distributed') {
    connect(vcenter, vm, nic, into.portgroup);
    return;
  }
  const present = portOfNic(state, vm, nic);
  state.ports = state.ports.filter((one) => one !== present);
  state.standard.nics = state.standard.nics.filter((one) => one.vm !== vm.id || one.nic !== nic.id);
  state.standard.nics.push({ vm: vm.id, nic: nic.id, group: into.group });
}

/** Throws NotSupported for a standard port group that is a trunk. */
export function requireAccessVlan({ name, vlanId }: StandardGroupRecord): void {
  if (vlanId !== TRUNK) return;
  throw new VimFault(
    'NotSupported',
    `port group ${name} is a trunk; the lab moves NICs of access VLANs only`,
  );
}

/** The VLAN that a NIC is on, on a host, and whether its port may learn MACs; undefined where it is on nothing. */
export function laneOf(
  vcenter: Vcenter,
  vm: VmRecord,
  nic: NicRecord,
  host: string = vm.host,
): { vlan: number; learnsMacs: boolean } | undefined {
  const { state } = vcenter;
  const name = standardNameOf(state, vm, nic);
  if (name !== undefined) {
    const group = requireGroup(vcenter, host, name, nicKey(vm, nic) - NIC_KEY + 1);
    requireAccessVlan(group);
    return { vlan: group.vlanId, learnsMacs: groupLearnsMacs(group) };
  }
  const port = portOfNic(state, vm, nic);
  if (!port) return undefined;
  return { vlan: vlanOf(state, port), learnsMacs: lets(settingOf(state, port)).learnsMacs };
}

/** Makes a NIC's cable be where its port says, and lets it learn MACs or not; idempotent. */
export async function realize(vcenter: Vcenter, vm: VmRecord, nic: NicRecord): Promise<void> {
  const lane = laneOf(vcenter, vm, nic);
  if (!lane) return;
  const segment = await segmentFor(vcenter, vm.host, lane.vlan);
  const { learnsMacs } = lane;
  // Management ports carry no foreign frames, whatever their policy allows.
  const isEnginePort = vm.engine !== null && nic.id !== 'mgmt' && learnsMacs;
  await vcenter.datacenter.segments.attach(vm.id, nic.id, segment, isEnginePort);
}

/** Name of the lab's segment of a VLAN on a host, which is made where it is not there yet. */
export async function segmentFor(vcenter: Vcenter, host: string, vlan: number): Promise<string> {
  const name = segmentName(vlan);
  if (vlan !== PRODUCTION_VLAN && vlan !== MANAGEMENT_VLAN) {
    await vcenter.datacenter.segments.ensure({ host, name, role: 'shadow', shadows: PRODUCTION_SEGMENT });
  }
  return name;
}

/** Name of the lab's segment of a VLAN. */
export function segmentName(vlan: number): string {
  if (vlan === PRODUCTION_VLAN) return PRODUCTION_SEGMENT;
  return vlan === MANAGEMENT_VLAN ? MANAGEMENT_SEGMENT : `vlan-${vlan}`;
}

/** Removes the shadow segments of VLANs that no port and no port group has any more. */
export async function removeUnusedSegments(vcenter: Vcenter): Promise<void> {
  const { state, datacenter } = vcenter;
  const used = new Set<string>();
  for (const setting of [
    ...state.portgroups.map((one) => one.setting),
    ...state.ports.map((port) => settingOf(state, port)),
  ]) {
    const vlan = setting.vlan as Struct;
    if (typeof vlan.vlanId === 'number') used.add(segmentName(vlan.vlanId));
  }
  for (const host of datacenter.record.hosts) {
    const groups = state.standard.groups.filter((one) => one.host === host.id);
    const standard = new Set(groups.map((one) => segmentName(one.vlanId)));
    for (const segment of [...host.segments]) {
      const isFree = !datacenter.record.vms.some(
        (vm) => vm.host === host.id && vm.nics.some((nic) => nic.segment === segment.name),
      );
      if (
        segment.name.startsWith('vlan-') &&
        isFree &&
        !used.has(segment.name) &&
        !standard.has(segment.name)
      ) {
        await datacenter.segments.remove(host.id, segment.name);
      }
    }
  }
}

/** What a NIC of the lab is plugged into, before this vCenter ever saw it. */
function plugOfSegment(state: VcenterState, host: string, segment: string): Plug {
  if (state.standard.kind === 'distributed') {
    return { kind: 'distributed', portgroup: portgroupOfSegment(state, segment).id };
  }
  const groups = state.standard.groups.filter((one) => one.host === host);
  const found = groups.find((one) => segmentName(one.vlanId) === segment);
  return { kind: 'standard', group: found?.name ?? segment };
}

/** The port group that a NIC of the lab is on, before this vCenter ever saw it. */
function portgroupOfSegment(state: VcenterState, segment: string): PortgroupRecord {
  const isOfSegment = (one: PortgroupRecord) => {
    const vlan = one.setting.vlan as Struct;
    return typeof vlan.vlanId === 'number' && segmentName(vlan.vlanId) === segment;
  };
  return state.portgroups.find((one) => !one.isUplink && isOfSegment(one)) ?? state.portgroups[1]!;
}

/** A VM that is gone leaves the groups, rules and overrides of the cluster. The lists themselves stay, as empty as they are then. */
function forgetInCluster(state: VcenterState, vms: ReadonlySet<string>): void {
  const isThere = (ref: Value | undefined): boolean => isMoRef(ref) && vms.has(ref.id);
  const withoutGone = (one: Struct): Struct =>
    Array.isArray(one.vm) ? { ...one, vm: one.vm.filter(isThere) } : one;
  const { cluster } = state;
  cluster.groups = cluster.groups.map(withoutGone);
  cluster.rules = cluster.rules.map(withoutGone);
  cluster.drsVms = cluster.drsVms.filter((one) => isThere(one.key));
  cluster.dasVms = cluster.dasVms.filter((one) => isThere(one.key));
}
