/**
 * Settings of distributed ports and port groups: what a new port group inherits from the switch, how a change is
 * merged into what there is, and what a port's effective VLAN and policies are.
 */
import { invalidArgument, VimFault } from './wire/fault.ts';
import { isStruct, type Struct, type Value } from './wire/values.ts';

export const UPLINK_NAME = 'uplink1';

/** Parts that hold policies of their own and are merged field by field; all others are replaced as a whole. */
const COMPOSITE = new Set([
  'VMwareDVSPortSetting',
  'DVPortSetting',
  'VmwareUplinkPortTeamingPolicy',
  'DVSSecurityPolicy',
  'DVSMacManagementPolicy',
  'DVSTrafficShapingPolicy',
]);

/** Which field of the port group's policy allows a port to override a field of its setting. */
const OVERRIDES: Record<string, string> = {
  vlan: 'vlanOverrideAllowed',
  uplinkTeamingPolicy: 'uplinkTeamingOverrideAllowed',
  securityPolicy: 'securityPolicyOverrideAllowed',
  macManagementPolicy: 'macManagementOverrideAllowed',
  blocked: 'blockOverrideAllowed',
  inShapingPolicy: 'shapingOverrideAllowed',
  outShapingPolicy: 'shapingOverrideAllowed',
  ipfixEnabled: 'ipfixOverrideAllowed',
};

/** What a port group has where its maker says nothing. */
export function defaultSetting(vlan: Struct): Struct {
  const no = (): Struct => ({ $type: 'BoolPolicy', inherited: false, value: false });
  const yes = (): Struct => ({ $type: 'BoolPolicy', inherited: false, value: true });
  return {
    $type: 'VMwareDVSPortSetting',
    blocked: no(),
    vmDirectPathGen2Allowed: no(),
    vlan: { inherited: false, ...vlan },
    uplinkTeamingPolicy: {
      $type: 'VmwareUplinkPortTeamingPolicy',
      inherited: false,
      policy: { $type: 'StringPolicy', inherited: false, value: 'loadbalance_srcid' },
      reversePolicy: yes(),
      notifySwitches: yes(),
      rollingOrder: no(),
      uplinkPortOrder: {
        $type: 'VMwareUplinkPortOrderPolicy',
        inherited: false,
        activeUplinkPort: [UPLINK_NAME],
      },
    },
    securityPolicy: {
      $type: 'DVSSecurityPolicy',
      inherited: false,
      allowPromiscuous: no(),
      macChanges: no(),
      forgedTransmits: no(),
    },
    ipfixEnabled: no(),
    txUplink: no(),
    macManagementPolicy: {
      $type: 'DVSMacManagementPolicy',
      inherited: false,
      allowPromiscuous: false,
      macChanges: false,
      forgedTransmits: false,
      macLearningPolicy: {
        $type: 'DVSMacLearningPolicy',
        inherited: false,
        enabled: false,
        allowUnicastFlooding: true,
        limit: 4096,
        limitPolicy: 'DROP',
      },
    },
  };
}

/** The policy of a port group where its maker says nothing: ports override nothing. */
export function defaultPolicy(): Struct {
  return {
    $type: 'VMwareDVSPortgroupPolicy',
    blockOverrideAllowed: true,
    shapingOverrideAllowed: false,
    vendorConfigOverrideAllowed: false,
    livePortMovingAllowed: false,
    portConfigResetAtDisconnect: true,
    networkResourcePoolOverrideAllowed: false,
    trafficFilterOverrideAllowed: false,
    vlanOverrideAllowed: false,
    uplinkTeamingOverrideAllowed: false,
    securityPolicyOverrideAllowed: false,
    ipfixOverrideAllowed: false,
    macManagementOverrideAllowed: false,
  };
}

/** `present` with what `change` sets. A part that is said to be inherited leaves a port's own setting. */
export function mergeSetting(present: Struct, change: Struct, isPort: boolean): Struct {
  const merged: Struct = { ...present };
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined || name === '$type') continue;
    const before = merged[name];
    if (isPort && isStruct(value) && value.inherited === true) delete merged[name];
    else if (isStruct(value) && isStruct(before) && COMPOSITE.has(value.$type ?? '')) {
      merged[name] = mergeSetting(before, value, isPort);
    } else merged[name] = value;
  }
  return merged;
}

/** Throws DvsFault where the port group does not let its ports override what is set. */
export function requireOverridable(change: Struct, policy: Struct, port: string): void {
  for (const [name, value] of Object.entries(change)) {
    const allowance = OVERRIDES[name];
    if (!isStruct(value) || value.inherited === true || allowance === undefined) continue;
    if (policy[allowance] !== true) {
      throw new VimFault(
        'DvsFault',
        `port ${port} may not override ${name}: set ${allowance} in the policy of its port group first`,
      );
    }
  }
}

/** The setting that counts: the port's own where it has one. */
export function effectiveSetting(portgroup: Struct, port: Struct): Struct {
  return mergeSetting(portgroup, port, false);
}

/** The VLAN of an access port. Throws where the setting is a trunk or a private VLAN, which the lab has not. */
export function accessVlan(setting: Struct, what: string): number {
  const vlan = setting.vlan as Struct | undefined;
  if (vlan?.$type === 'VmwareDistributedVirtualSwitchVlanIdSpec') return Number(vlan.vlanId);
  throw new VimFault(
    'NotSupported',
    `${what} is a trunk or private VLAN; the lab moves ports of access VLANs only`,
  );
}

/** Throws InvalidArgument where a setting that was sent cannot be. */
export function checkSetting(setting: Struct, path: string, pvlans: readonly Struct[]): void {
  if (setting.$type !== 'VMwareDVSPortSetting') {
    throw invalidArgument(path, 'it must be a VMwareDVSPortSetting (xsi:type) on this switch');
  }
  const vlan = setting.vlan;
  if (isStruct(vlan) && vlan.inherited !== true) {
    if (vlan.$type === 'VmwareDistributedVirtualSwitchVlanIdSpec') {
      const id = Number(vlan.vlanId);
      if (id < 0 || id > 4094)
        throw invalidArgument(`${path}.vlan.vlanId`, `${id} is no VLAN: use 0 to 4094`);
    } else if (vlan.$type === 'VmwareDistributedVirtualSwitchPvlanSpec') {
      if (!pvlans.some((one) => one.secondaryVlanId === vlan.pvlanId)) {
        throw invalidArgument(
          `${path}.vlan.pvlanId`,
          `the switch has no private VLAN ${String(vlan.pvlanId)}`,
        );
      }
    } else if (vlan.$type === 'VmwareDistributedVirtualSwitchVlanSpec') {
      throw invalidArgument(`${path}.vlan`, 'name the kind of VLAN by xsi:type');
    }
  }
  for (const name of uplinkNames(setting)) {
    if (name !== UPLINK_NAME) {
      throw invalidArgument(`${path}.uplinkTeamingPolicy.uplinkPortOrder`, `there is no uplink ${name}`);
    }
  }
}

/** True where frames of the port may carry MACs that are not the VM's and reach it for them: what a bridge needs. */
export function lets(setting: Struct): { learnsMacs: boolean } {
  const management = (setting.macManagementPolicy ?? {}) as Struct;
  const learning = (management.macLearningPolicy ?? {}) as Struct;
  const security = (setting.securityPolicy ?? {}) as Struct;
  const isOn = (value: Value | undefined) => value === true || (isStruct(value) && value.value === true);
  const mayForge = isOn(management.forgedTransmits) || isOn(security.forgedTransmits);
  const hears =
    isOn(learning.enabled) || isOn(management.allowPromiscuous) || isOn(security.allowPromiscuous);
  return { learnsMacs: mayForge && hears };
}

function uplinkNames(setting: Struct): string[] {
  const teaming = setting.uplinkTeamingPolicy;
  const order = isStruct(teaming) ? teaming.uplinkPortOrder : undefined;
  if (!isStruct(order)) return [];
  return [...((order.activeUplinkPort ?? []) as string[]), ...((order.standbyUplinkPort ?? []) as string[])];
}
