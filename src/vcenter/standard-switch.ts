/**
 * Shadow segments on a standard switch, the fallback where there is no distributed one: two port groups of a host, which
 * it knows by name alone. `<segment>-weft` has a VLAN of its own and no uplink; `<segment>-weft-out` is on the
 * production VLAN with the policies that an engine needs.
 */
import { type HostNetworks, refusal } from './host-networks.ts';
import { readStandardName } from './marks.ts';
import type { VlanRange } from './network.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export async function ensureStandardSegment(
  session: VcenterSession,
  on: HostNetworks,
  production: string,
  segment: string,
  shadowVlans: VlanRange,
  signal: AbortSignal,
): Promise<void> {
  if (segment !== `${production}-weft`) {
    throw refusal(
      `the shadow of ${production} on a standard switch is called ${production}-weft, not ${segment}`,
    );
  }
  const { groups, switches } = await readNetworkInfo(session, on, signal);
  const original = groups.find(({ spec }) => spec.name === production);
  if (!original) throw refusal(`host ${on.name} has no standard port group ${production}`);
  const { spec } = original;
  if (spec.vlanId === TRUNK) {
    throw refusal(
      `port group ${production} cannot be shadowed: it is a trunk of all VLANs; use a port group with one VLAN`,
    );
  }
  const ofSwitch = groups.filter((one) => one.spec.vswitchName === spec.vswitchName);
  const has = (name: string): boolean => groups.some((one) => one.spec.name === name);
  const bridging = { allowPromiscuous: true, macChanges: true, forgedTransmits: true };
  const out = `${segment}-out`;
  if (!has(out)) {
    const policy: Vim<'HostNetworkPolicy'> = { ...spec.policy, security: bridging };
    await addPortGroup(session, on, { ...spec, name: out, policy }, signal);
  }
  if (has(segment)) return;
  // Not on a VLAN that leaves the host: the switch has uplinks, the port group must not use them.
  if (!switches.some(({ name }) => name === spec.vswitchName)) {
    throw refusal(`host ${on.name} has no standard switch ${spec.vswitchName}`);
  }
  const vlanId = freeVlan(ofSwitch, shadowVlans, production);
  const policy = { security: bridging, nicTeaming: { nicOrder: { activeNic: [], standbyNic: [] } } };
  await addPortGroup(session, on, { name: segment, vlanId, vswitchName: spec.vswitchName, policy }, signal);
}

export async function removeStandardSegment(
  session: VcenterSession,
  on: HostNetworks,
  segment: string,
  shadowVlans: VlanRange,
  signal: AbortSignal,
): Promise<void> {
  const { groups } = await readNetworkInfo(session, on, signal);
  requireOurBeginning(on, groups, segment);
  const found = groups.find(({ spec }) => spec.name === segment);
  const vlan = found?.spec.vlanId;
  if (vlan !== undefined && (vlan < shadowVlans.first || vlan > shadowVlans.last)) {
    throw refusal(
      `port group ${segment} of host ${on.name} is on VLAN ${vlan}, which is none of the shadow VLANs: Weft did not make it`,
    );
  }
  await requireNoNics(session, on, segment, signal);
  // The shadow goes last: as long as it is listed, removing is tried again.
  for (const name of [`${segment}-out`, segment]) {
    if (groups.some(({ spec }) => spec.name === name)) await removePortGroup(session, on, name, signal);
  }
}

/** `out` alone says by its name only that Weft made it, so it must be as Weft makes it, too. */
function requireOurBeginning(
  on: HostNetworks,
  groups: readonly Vim<'HostPortGroup'>[],
  segment: string,
): void {
  const specOf = (wanted: string) => groups.find(({ spec }) => spec.name === wanted)?.spec;
  const out = specOf(`${segment}-out`);
  if (!out || specOf(segment)) return;
  const production = specOf(readStandardName(segment)?.production ?? '');
  const { allowPromiscuous, macChanges, forgedTransmits } = out.policy.security ?? {};
  const isOurs =
    allowPromiscuous === true &&
    macChanges === true &&
    forgedTransmits === true &&
    (!production || (production.vswitchName === out.vswitchName && production.vlanId === out.vlanId));
  if (isOurs) return;
  throw refusal(
    `port group ${out.name} of host ${on.name} is not as Weft makes the half of a shadow segment, so Weft did not make it: rename it`,
  );
}

const TRUNK = 4095;

async function readNetworkInfo(
  session: VcenterSession,
  on: HostNetworks,
  signal: AbortSignal,
): Promise<{ groups: Vim<'HostPortGroup'>[]; switches: Vim<'HostVirtualSwitch'>[] }> {
  const paths = ['networkInfo.portgroup', 'networkInfo.vswitch'];
  const read = (await session.properties([on.networkSystem], paths, signal)).get(on.networkSystem.value);
  return {
    groups: (read?.['networkInfo.portgroup'] ?? []) as Vim<'HostPortGroup'>[],
    switches: (read?.['networkInfo.vswitch'] ?? []) as Vim<'HostVirtualSwitch'>[],
  };
}

function freeVlan(groups: readonly Vim<'HostPortGroup'>[], range: VlanRange, production: string): number {
  const taken = new Set(groups.map(({ spec }) => spec.vlanId));
  for (let vlan = range.first; vlan <= range.last; vlan++) if (!taken.has(vlan)) return vlan;
  throw refusal(
    `no VLAN from ${range.first} to ${range.last} is free for the shadow of ${production}: widen the cloud's range of shadow VLANs`,
  );
}

async function addPortGroup(
  session: VcenterSession,
  on: HostNetworks,
  portgrp: Vim<'HostPortGroupSpec'>,
  signal: AbortSignal,
): Promise<void> {
  try {
    await session.call(on.networkSystem, 'AddPortGroup', { portgrp }, signal);
  } catch (error) {
    // Made by a call whose reply was lost.
    if (faultName(error) !== 'AlreadyExists') throw error;
  }
}

async function removePortGroup(
  session: VcenterSession,
  on: HostNetworks,
  pgName: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await session.call(on.networkSystem, 'RemovePortGroup', { pgName }, signal);
  } catch (error) {
    if (faultName(error) !== 'NotFound') throw error;
  }
}

/** The host itself refuses only where a VM that is on uses the port group. */
async function requireNoNics(
  session: VcenterSession,
  on: HostNetworks,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  const network = on.networks.find((one) => one.kind === 'standard' && one.name === segment);
  if (!network) return;
  const read = (await session.properties([network.ref], ['vm'], signal)).get(network.ref.value);
  const vms = (read?.vm ?? []) as MoRef[];
  const hosts = await session.properties(vms, ['name', 'runtime.host'], signal);
  const here = [...hosts.values()].filter(
    (one) => (one['runtime.host'] as MoRef | undefined)?.value === on.host.value,
  );
  if (here.length > 0) {
    const names = here.map(({ name }) => String(name)).join(', ');
    throw refusal(`segment ${segment} of host ${on.name} has ports: ${names}`);
  }
}
