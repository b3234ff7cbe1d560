/**
 * Standard switches: every host has one, `vSwitch0`, with port groups of its own. The datacenter knows one network
 * object for all port groups of the same name. A NIC is on a port group by name alone, so it finds the one of the
 * host that its VM is on.
 */
import { MANAGEMENT_SEGMENT, PRODUCTION_SEGMENT } from '../world/blueprint.ts';
import type { NicRecord, VmRecord } from '../world/record.ts';
import { MANAGEMENT_VLAN, PRODUCTION_VLAN, type StandardGroupRecord, type VcenterState } from './state.ts';
import type { Vcenter } from './vcenter.ts';
import { VimFault } from './wire/fault.ts';
import { isStruct, type MoRef, moRef, type Struct } from './wire/values.ts';

export const VSWITCH = 'vSwitch0';
/** The VLAN id of a standard port group that hands all VLANs to its guests. */
export const TRUNK = 4095;

/** What the switch itself says, where a port group says nothing. */
export function switchPolicy(): Struct {
  return {
    security: { allowPromiscuous: false, macChanges: false, forgedTransmits: false },
    nicTeaming: {
      policy: 'loadbalance_srcid',
      reversePolicy: true,
      notifySwitches: true,
      rollingOrder: false,
      nicOrder: { activeNic: ['vmnic0'] },
    },
  };
}

/** Makes the port groups of a new lab with standard switches: production and management on each host. */
export function seedStandardGroups(vcenter: Vcenter): void {
  for (const { id } of vcenter.datacenter.record.hosts) {
    addGroup(vcenter, { host: id, name: PRODUCTION_SEGMENT, vlanId: PRODUCTION_VLAN, policy: {} });
    addGroup(vcenter, { host: id, name: MANAGEMENT_SEGMENT, vlanId: MANAGEMENT_VLAN, policy: {} });
  }
}

/** Adds a port group, and its network where it is the first of its name. */
export function addGroup(vcenter: Vcenter, group: StandardGroupRecord): void {
  const { standard } = vcenter.state;
  standard.groups.push(group);
  if (!standard.networks.some((one) => one.name === group.name)) {
    standard.networks.push({ id: `network-${vcenter.nextId()}`, name: group.name });
  }
}

/** Removes a port group; a network that no port group and no NIC has any more goes with it. */
export function removeGroup(state: VcenterState, group: StandardGroupRecord): void {
  const { standard } = state;
  standard.groups = standard.groups.filter((one) => one !== group);
  const isUsed = (name: string) =>
    standard.groups.some((one) => one.name === name) || standard.nics.some((one) => one.group === name);
  standard.networks = standard.networks.filter((one) => isUsed(one.name));
}

export function groupOn(state: VcenterState, host: string, name: string): StandardGroupRecord | undefined {
  return state.standard.groups.find((one) => one.host === host && one.name === name);
}

/** Name of the standard port group that a NIC is on; undefined where it is on none. */
export function standardNameOf(
  state: VcenterState,
  vm: Pick<VmRecord, 'id'>,
  nic: Pick<NicRecord, 'id'>,
): string | undefined {
  return state.standard.nics.find((one) => one.vm === vm.id && one.nic === nic.id)?.group;
}

/** The port group that a NIC finds on a host. Throws CannotAccessNetwork where that host has none of the name. */
export function requireGroup(
  vcenter: Vcenter,
  host: string,
  name: string,
  adapter: number,
): StandardGroupRecord {
  const found = groupOn(vcenter.state, host, name);
  if (!found) {
    const network = networkOf(vcenter.state, name);
    throw new VimFault(
      'CannotAccessNetwork',
      `Network interface 'Network adapter ${adapter}' uses network '${name}', which is not accessible on host ${host}.`,
      {
        device: `Network adapter ${adapter}`,
        backing: name,
        connected: true,
        ...(network ? { network } : {}),
      },
    );
  }
  return found;
}

/** The network object of a name. */
export function networkOf(state: VcenterState, name: string): MoRef | undefined {
  const found = state.standard.networks.find((one) => one.name === name);
  return found && moRef('Network', found.id);
}

/** Networks of the standard port groups that a host has. */
export function networksOn(state: VcenterState, host: string): MoRef[] {
  return state.standard.groups
    .filter((one) => one.host === host)
    .flatMap((one) => networkOf(state, one.name) ?? []);
}

/** True where the policy lets a port send foreign MACs and hear what is for them. */
export function groupLearnsMacs(group: StandardGroupRecord): boolean {
  const security = isStruct(group.policy.security) ? group.policy.security : {};
  return security.forgedTransmits === true && security.allowPromiscuous === true;
}
