/**
 * Shadow segments on a distributed switch, by public calls only: a port group on a VLAN that no uplink carries for the
 * engine, and, for each member, an override of the VLAN of the port it stands on.
 *
 * Per production port group: one `out` port group, made first, whose description keeps what the production port
 * group's policy allowed before and which shadow VLAN it was given; then the policy; then one `in` port group per host.
 * The policy goes first, then `out`, then the last `in`: a crash between any two steps is mended by repeating. An `out`
 * without any `in` is listed as a half-made segment, and removed as such where nobody wants it any more. An `in` of a host
 * that vCenter knows no more counts for nothing, and goes with the next that is removed.
 */
import { WeftError } from '../policy/errors.ts';
import {
  type DistributedNetwork,
  type HostNetworks,
  isShadowOf,
  type MarkedNetwork,
  nameSegments,
  refusal,
} from './host-networks.ts';
import { type PortGroupMark, portGroupDescription, readPortGroupMark, shadowNow } from './marks.ts';
import type { VlanRange } from './network.ts';
import { readThere } from './objects.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** What is still to be made of a shadow segment of a host. */
export interface SegmentPlan {
  dvs: MoRef;
  /** The VLAN of the production port group, and that of its shadow. */
  vlan: number;
  shadowVlan: number;
  allowed: PortGroupMark['allowed'];
  learnsMacs: boolean;
  /** The name of the port group to be made; null where it is there. */
  out: string | null;
  in: string | null;
  /** Whether the production port group has to be made to allow overrides. */
  allows: boolean;
}

/** Reads what is there, and says what is to be made. Throws ERR_HYPERVISOR_REFUSED with the reason. */
export async function planDistributedSegment(
  session: VcenterSession,
  on: HostNetworks,
  production: DistributedNetwork,
  segment: string,
  shadowVlans: VlanRange,
  signal: AbortSignal,
): Promise<SegmentPlan> {
  const dvs = switchOf(production);
  const groups = await readPortGroups(session, dvs, signal);
  const { features, pvlans } = await readSwitch(session, dvs, signal);
  const uplinks = groups.filter((one) => one.isUplink || one.config.uplink).map(({ ref }) => ref.value);
  const vlan = requireOrdinary(production, uplinks);
  const ours = groups.filter((one) => one.mark?.production === production.ref.value);
  const out = ours.find((one) => one.mark?.role === 'out');
  const shadow = ours.find((one) => isShadowOf(one, on.host.value));
  if (shadow && shadow.mark?.segment !== segment) {
    throw refusal(`segment ${production.name} has a shadow on host ${on.name}: ${shadow.mark?.segment}`);
  }
  const policy = production.config.policy;
  // Each mark holds the whole of it: somebody may have removed the port group of another while nobody stood on it.
  const known = (out ?? ours[0])?.mark;
  const now = {
    vlanOverride: 'vlanOverrideAllowed' in policy && policy.vlanOverrideAllowed,
    teamingOverride: 'uplinkTeamingOverrideAllowed' in policy && policy.uplinkTeamingOverrideAllowed,
  };
  return {
    dvs,
    vlan,
    shadowVlan: known?.vlan ?? freeVlan(groups, pvlans, shadowVlans, production.name),
    allowed: known?.allowed ?? now,
    learnsMacs: features?.macLearningSupported === true,
    out: out ? null : `${cut(production.name)}-weft-out`,
    in: shadow ? null : `${cut(segment)}-${on.host.value}`,
    allows: !now.vlanOverride || !now.teamingOverride,
  };
}

/** Makes the shadow segment of one host, and what all hosts share. Throws ERR_HYPERVISOR_REFUSED with the reason. */
export async function ensureDistributedSegment(
  session: VcenterSession,
  on: HostNetworks,
  production: DistributedNetwork,
  segment: string,
  shadowVlans: VlanRange,
  signal: AbortSignal,
): Promise<void> {
  const plan = await planDistributedSegment(session, on, production, segment, shadowVlans, signal);
  const mark = { production: production.ref.value, vlan: plan.shadowVlan, allowed: plan.allowed };
  const security = securityFor(plan.learnsMacs);
  if (plan.out !== null) {
    const setting = settingOf(production.config.defaultPortConfig);
    await addPortGroup(
      session,
      plan.dvs,
      plan.out,
      { ...mark, role: 'out', segment: production.name, host: null },
      {
        ...(setting?.uplinkTeamingPolicy ? { uplinkTeamingPolicy: setting.uplinkTeamingPolicy } : {}),
        ...security,
        ...vlanSetting(plan.vlan, false),
      },
      signal,
    );
  }
  await setOverridesAllowed(session, production.ref, YES, signal);
  if (plan.in !== null) {
    await addPortGroup(
      session,
      plan.dvs,
      plan.in,
      { ...mark, role: 'in', segment, host: on.host.value },
      { ...vlanSetting(plan.shadowVlan, false), ...noUplinks(false), ...security },
      signal,
    );
  }
}

/** The switch of a distributed port group. Throws ERR_HYPERVISOR_REFUSED where it does not say. */
export function switchOf(network: DistributedNetwork): MoRef {
  const ref = network.config.distributedVirtualSwitch;
  if (!ref) throw refusal(`port group ${network.name} does not say which switch it belongs to`);
  return ref;
}

/**
 * Removes the shadow segment of one host; with the last one, what all hosts shared. `part` is its `in` port group; or,
 * where the host has none, the `out` one: then what hosts share goes, unless one of them has a shadow.
 */
export async function removeDistributedSegment(
  session: VcenterSession,
  on: HostNetworks,
  part: MarkedNetwork,
  signal: AbortSignal,
): Promise<void> {
  const dvs = switchOf(part);
  const { mark } = part;
  const groups = await readPortGroups(session, dvs, signal);
  const ours = groups.filter((one) => one.mark?.production === mark.production);
  const abandoned = await findAbandoned(session, dvs, ours, signal);
  const isLast = !ours.some(
    (one) => one.mark?.role === 'in' && one.ref.value !== part.ref.value && !abandoned.includes(one),
  );
  if (mark.role === 'out' && !isLast) return;
  await requireNoPorts(session, dvs, on, part, isLast, signal);
  for (const { ref } of abandoned) await destroy(session, ref, signal);
  if (isLast) {
    const out = ours.find((one) => one.mark?.role === 'out');
    if (groups.some((one) => one.ref.value === mark.production)) {
      const production = { type: 'DistributedVirtualPortgroup', value: mark.production };
      await setOverridesAllowed(session, production, mark.allowed, signal);
    }
    if (out) await destroy(session, out.ref, signal);
  }
  if (mark.role === 'in') await destroy(session, part.ref, signal);
}

/** A port to be put on the shadow VLAN, or, with null, back on what its port group says. */
export interface PortOverride {
  production: DistributedNetwork;
  vm: MoRef;
  vmName: string;
  /** Null where the NIC has none, as before a first power-on. */
  port: string | null;
  vlan: number | null;
}

/**
 * Changes ports of one switch, all by one task. Answers, in the order asked, what kept each from being changed: null
 * where it is as wanted now, ERR_HYPERVISOR_REFUSED for a port that somebody else gave settings of its own. Throws
 * where the task failed: vCenter may have changed some of them.
 */
export async function setPortOverrides(
  session: VcenterSession,
  overrides: readonly PortOverride[],
  signal: AbortSignal,
): Promise<(WeftError | null)[]> {
  const [first] = overrides;
  if (!first) return [];
  const dvs = switchOf(first.production);
  const portKey = overrides.flatMap(({ port }) => port ?? []);
  const portgroupKey = [...new Set(overrides.map(({ production }) => production.ref.value))];
  const criteria = { connected: true, portgroupKey, inside: true, portKey };
  const ports =
    portKey.length === 0 ? [] : ((await session.call(dvs, 'FetchDVPorts', { criteria }, signal)) ?? []);
  const byKey = new Map(ports.map((port) => [port.key, port]));
  const specs: Vim<'DVPortConfigSpec'>[] = [];
  const problems = overrides.map((override): WeftError | null => {
    const port = byKey.get(override.port ?? '');
    const setting = settingFor(override, port);
    if (setting === null || setting instanceof WeftError || !port) {
      return setting instanceof WeftError ? setting : null;
    }
    specs.push({ operation: 'edit', key: port.key, configVersion: port.config.configVersion, setting });
    return null;
  });
  // Somebody may have set the policy back meanwhile; what it was before Weft is in the mark of the `out` port group.
  const bent = overrides.filter(({ vlan }, index) => vlan !== null && problems[index] === null);
  for (const { ref, config } of new Set(bent.map(({ production }) => production))) {
    if (allowsOverrides(config.policy, YES)) continue;
    await setOverridesAllowed(session, ref, YES, signal);
  }
  if (specs.length > 0) await session.task(dvs, 'ReconfigureDVPort_Task', { port: specs }, signal);
  return problems;
}

/** What the port is to be given; null where it has it already. */
function settingFor(
  { production, vm, vmName, port: key, vlan }: PortOverride,
  port: Vim<'DistributedVirtualPort'> | undefined,
): Vim<'DVPortSetting'> | WeftError | null {
  if (!port) {
    return vlan === null ? null : refusal(`${vmName} is not connected to a port of ${production.name}`);
  }
  const { connectedEntity } = port.connectee ?? {};
  if (connectedEntity && connectedEntity.value !== vm.value) {
    return refusal(`port ${key} of ${production.name} went to another VM meanwhile: try again`);
  }
  const before = overrideOf(port);
  if (before === vlan) return null;
  if (vlan === null) {
    const own = vlanOf(settingOf(production.config.defaultPortConfig)?.vlan) ?? 0;
    return {
      $type: 'VMwareDVSPortSetting',
      ...vlanSetting(own, true),
      uplinkTeamingPolicy: { inherited: true },
    };
  }
  if (before !== null) {
    return refusal(
      `the port of ${vmName} on ${production.name} has VLAN ${before} by an override of its own: reset it, and Weft will bend its path`,
    );
  }
  // What is taken away here is inherited again afterwards: uplinks of its own could not be given back.
  if (settingOf(port.config.setting)?.uplinkTeamingPolicy?.inherited === false) {
    return refusal(
      `the port of ${vmName} on ${production.name} has uplinks of its own by an override: reset it, and Weft will bend its path`,
    );
  }
  return { $type: 'VMwareDVSPortSetting', ...vlanSetting(vlan, false), ...noUplinks(false) };
}

/** The VLAN of a port group; null where it has none of its own, as a trunk. */
export function vlanOfGroup({ config }: DistributedNetwork): number | null {
  return vlanOf(settingOf(config.defaultPortConfig)?.vlan) ?? null;
}

/** The VLAN by which a port's setting departs from its port group; null where it inherits, -1 for a trunk or PVLAN. */
export function overrideOf(port: Vim<'DistributedVirtualPort'>): number | null {
  const vlan = settingOf(port.config.setting)?.vlan;
  if (!vlan || vlan.inherited) return null;
  return vlanOf(vlan) ?? -1;
}

/**
 * The VLAN of a production port group that can be shadowed; 0 is untagged. `uplinks` are the ids of the switch's
 * uplink port groups. Throws ERR_HYPERVISOR_REFUSED for the
 * others, with the reason.
 */
export function requireOrdinary(network: DistributedNetwork, uplinks: readonly string[]): number {
  const { config, name } = network;
  const refuse = (why: string): never => {
    throw refusal(`port group ${name} cannot be shadowed: ${why}`);
  };
  if (uplinks.includes(network.ref.value)) refuse('it is the uplink port group of its switch');
  if (config.backingType === 'nsx' || config.logicalSwitchUuid || config.segmentId) {
    refuse('it belongs to NSX, which decides its paths itself; use a VLAN-backed port group');
  }
  const vlan = settingOf(config.defaultPortConfig)?.vlan;
  switch (vlan?.$type) {
    case 'VmwareDistributedVirtualSwitchTrunkVlanSpec':
      return refuse('it is a trunk of several VLANs; use a port group with one VLAN');
    case 'VmwareDistributedVirtualSwitchPvlanSpec':
      return refuse('it is on a private VLAN; use a port group with an ordinary VLAN');
    default:
      return vlanOf(vlan) ?? 0;
  }
}

const MAC_LIMIT = 4096;
const LAST_VLAN = 4094;

type Setting = NonNullable<ReturnType<typeof settingOf>>;
/** `isUplink` by vCenter's own tag, which is there since long before the field of that name. */
type PortGroup = DistributedNetwork & { isUplink: boolean };

function settingOf(setting: Vim<'DVPortSetting'> | undefined) {
  return setting?.$type === 'VMwareDVSPortSetting' ? setting : undefined;
}

function vlanOf(vlan: Vim<'VmwareDistributedVirtualSwitchVlanSpec'> | undefined): number | undefined {
  return vlan?.$type === 'VmwareDistributedVirtualSwitchVlanIdSpec' ? vlan.vlanId : undefined;
}

async function readPortGroups(
  session: VcenterSession,
  dvs: MoRef,
  signal: AbortSignal,
): Promise<PortGroup[]> {
  const read = (await session.properties([dvs], ['portgroup'], signal)).get(dvs.value);
  const refs = (read?.portgroup ?? []) as MoRef[];
  const groups = await readThere(session, refs, ['name', 'config', 'tag'], signal);
  const found = [...groups].map(
    ([value, { name, config, tag }]): PortGroup => ({
      kind: 'distributed',
      ref: { type: 'DistributedVirtualPortgroup', value },
      name: name as string,
      config: config as Vim<'DVPortgroupConfigInfo'>,
      mark: readPortGroupMark((config as Vim<'DVPortgroupConfigInfo'>).description),
      isUplink: ((tag ?? []) as Vim<'Tag'>[]).some(({ key }) => key === 'SYSTEM/DVS.UPLINKPG'),
    }),
  );
  nameSegments(found);
  return found;
}

async function readSwitch(
  session: VcenterSession,
  dvs: MoRef,
  signal: AbortSignal,
): Promise<{ features: Vim<'DVSFeatureCapability'> | undefined; pvlans: number[] }> {
  const read = (await session.properties([dvs], ['capability', 'config'], signal)).get(dvs.value);
  const config = read?.config as Vim<'DVSConfigInfo'> | undefined;
  const pvlans = config?.$type === 'VMwareDVSConfigInfo' ? (config.pvlanConfig ?? []) : [];
  return {
    features: (read?.capability as Vim<'DVSCapability'> | undefined)?.featuresSupported,
    pvlans: pvlans.flatMap((one) => [one.primaryVlanId, one.secondaryVlanId]),
  };
}

function freeVlan(
  groups: readonly PortGroup[],
  pvlans: readonly number[],
  range: VlanRange,
  production: string,
): number {
  const taken = new Set(pvlans);
  const trunks: { start: number; end: number }[] = [];
  for (const { config, mark } of groups) {
    if (mark) taken.add(mark.vlan);
    const vlan = settingOf(config.defaultPortConfig)?.vlan;
    const id = vlanOf(vlan);
    if (id !== undefined) taken.add(id);
    if (vlan?.$type === 'VmwareDistributedVirtualSwitchTrunkVlanSpec') {
      // Uplinks and guests that trunk everything leave no VLAN out, and claim none.
      trunks.push(...(vlan.vlanId ?? []).filter(({ start, end }) => start > 1 || end < LAST_VLAN));
    }
  }
  for (let vlan = range.first; vlan <= range.last; vlan++) {
    if (!taken.has(vlan) && !trunks.some(({ start, end }) => vlan >= start && vlan <= end)) return vlan;
  }
  throw refusal(
    `no VLAN from ${range.first} to ${range.last} is free for the shadow of ${production}: widen the cloud's range of shadow VLANs`,
  );
}

function vlanSetting(vlanId: number, inherited: boolean): Pick<Setting, 'vlan'> {
  return { vlan: { $type: 'VmwareDistributedVirtualSwitchVlanIdSpec', inherited, vlanId } };
}

function noUplinks(inherited: boolean): Pick<Setting, 'uplinkTeamingPolicy'> {
  return {
    uplinkTeamingPolicy: {
      inherited,
      uplinkPortOrder: { inherited, activeUplinkPort: [], standbyUplinkPort: [] },
    },
  };
}

/** An engine sends for others and receives for others: by MAC learning where the switch can, else promiscuously. */
function securityFor(learnsMacs: boolean): Partial<Setting> {
  const yes = { inherited: false, value: true };
  if (learnsMacs) {
    return {
      macManagementPolicy: {
        inherited: false,
        allowPromiscuous: false,
        macChanges: true,
        forgedTransmits: true,
        macLearningPolicy: {
          inherited: false,
          enabled: true,
          allowUnicastFlooding: true,
          limit: MAC_LIMIT,
          limitPolicy: 'drop',
        },
      },
    };
  }
  return {
    securityPolicy: { inherited: false, allowPromiscuous: yes, macChanges: yes, forgedTransmits: yes },
  };
}

async function addPortGroup(
  session: VcenterSession,
  dvs: MoRef,
  name: string,
  mark: PortGroupMark,
  setting: Partial<Setting>,
  signal: AbortSignal,
): Promise<void> {
  const spec: Vim<'DVPortgroupConfigSpec'> = {
    name,
    numPorts: 8,
    defaultPortConfig: { $type: 'VMwareDVSPortSetting', ...setting } as Vim<'DVPortSetting'>,
    description: portGroupDescription(mark),
    type: 'earlyBinding',
    autoExpand: true,
  };
  await session.task(dvs, 'AddDVPortgroup_Task', { spec: [spec] }, signal);
}

const YES: PortGroupMark['allowed'] = { vlanOverride: true, teamingOverride: true };

/** Whether the policy allows just that. */
function allowsOverrides(policy: Vim<'DVPortgroupPolicy'>, allowed: PortGroupMark['allowed']): boolean {
  return (
    policy.$type === 'VMwareDVSPortgroupPolicy' &&
    policy.vlanOverrideAllowed === allowed.vlanOverride &&
    policy.uplinkTeamingOverrideAllowed === allowed.teamingOverride
  );
}

/** Changes only the policy, and repeats every other field: some servers merge, some replace. */
async function setOverridesAllowed(
  session: VcenterSession,
  ref: MoRef,
  allowed: PortGroupMark['allowed'],
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const read = (await session.properties([ref], ['config'], signal)).get(ref.value);
    const config = read?.config as Vim<'DVPortgroupConfigInfo'>;
    const { policy } = config;
    if (allowsOverrides(policy, allowed)) return;
    const spec: Vim<'DVPortgroupConfigSpec'> = {
      configVersion: config.configVersion,
      name: config.name,
      numPorts: config.numPorts,
      portNameFormat: config.portNameFormat,
      defaultPortConfig: config.defaultPortConfig,
      description: config.description,
      type: config.type,
      scope: config.scope,
      policy: {
        securityPolicyOverrideAllowed: false,
        ...policy,
        $type: 'VMwareDVSPortgroupPolicy',
        vlanOverrideAllowed: allowed.vlanOverride,
        uplinkTeamingOverrideAllowed: allowed.teamingOverride,
      },
      vendorSpecificConfig: config.vendorSpecificConfig,
      autoExpand: config.autoExpand,
      vmVnicNetworkResourcePoolKey: config.vmVnicNetworkResourcePoolKey,
    };
    try {
      await session.task(ref, 'ReconfigureDVPortgroup_Task', { spec }, signal);
      return;
    } catch (error) {
      if (attempt >= 5 || faultName(error) !== 'ConcurrentAccess') throw error;
    }
  }
}

/** Shadows of hosts that vCenter knows no more, a host that was removed and added again among them; nobody uses them. */
async function findAbandoned(
  session: VcenterSession,
  dvs: MoRef,
  ours: readonly PortGroup[],
  signal: AbortSignal,
): Promise<PortGroup[]> {
  const shadows = ours.filter(({ mark }) => mark?.role === 'in');
  const hosts = shadows.map(({ mark }): MoRef => ({ type: 'HostSystem', value: mark?.host ?? '' }));
  const known = await readThere(session, hosts, ['name'], signal);
  const found = shadows.filter(({ mark }) => !known.has(mark?.host ?? ''));
  if (found.length === 0) return [];
  const portgroupKey = found.map(({ ref }) => ref.value);
  const criteria = { connected: true, portgroupKey, inside: true };
  const used = new Set(
    ((await session.call(dvs, 'FetchDVPorts', { criteria }, signal)) ?? [])
      .filter(({ connectee }) => connectee !== undefined)
      .map((port) => port.portgroupKey),
  );
  return found.filter(({ ref }) => !used.has(ref.value));
}

/**
 * Neither an engine on the shadow segment nor a member of this host whose port has its VLAN. With the last one no member
 * of any host either: it may have been moved to a host that has none, and nobody would find its port any more.
 */
async function requireNoPorts(
  session: VcenterSession,
  dvs: MoRef,
  on: HostNetworks,
  part: MarkedNetwork,
  isLast: boolean,
  signal: AbortSignal,
): Promise<void> {
  const portgroupKey = [part.ref.value, part.mark.production];
  const ports =
    (await session.call(
      dvs,
      'FetchDVPorts',
      { criteria: { connected: true, portgroupKey, inside: true } },
      signal,
    )) ?? [];
  const users = ports.filter(
    (port) =>
      port.connectee !== undefined &&
      (port.portgroupKey === part.ref.value ||
        (overrideOf(port) === part.mark.vlan && (isLast || port.proxyHost?.value === on.host.value))),
  );
  if (users.length === 0) return;
  const vms = [...new Set(users.map((port) => port.connectee?.connectedEntity?.value ?? port.key))];
  throw refusal(
    `segment ${shadowNow(part.mark, undefined)} of host ${on.name} has ports: ${vms.slice(0, 5).join(', ')}${vms.length > 5 ? ` and ${vms.length - 5} more` : ''}`,
  );
}

async function destroy(session: VcenterSession, ref: MoRef, signal: AbortSignal): Promise<void> {
  try {
    await session.task(ref, 'Destroy_Task', {}, signal);
  } catch (error) {
    if (faultName(error) !== 'ManagedObjectNotFound') throw error;
  }
}

/** Names of port groups have up to 80 characters. */
function cut(name: string): string {
  return name.slice(0, 60);
}
