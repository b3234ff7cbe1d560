/** Segments: makes and removes the shadow segments of hosts, on either kind of switch. */
import type { EngineSpec, SegmentSpec } from '../hypervisor/platform.ts';
import { isWeftError } from '../policy/errors.ts';
import { ensureDistributedSegment, removeDistributedSegment } from './distributed-switch.ts';
import {
  findBeginning,
  findOut,
  findSegment,
  type HostNetwork,
  type HostNetworks,
  isShadowOf,
  readHostNetworks,
  refusal,
} from './host-networks.ts';
import { readStandardName } from './marks.ts';
import type { EthernetCard } from './nic.ts';
import { untilFree } from './retry.ts';
import { abortable, type VcenterSession } from './session.ts';
import { ensureStandardSegment, removeStandardSegment } from './standard-switch.ts';
import { faultName } from './vim/faults.ts';

/** VLAN ids, both included, that nothing else uses: shadow VLANs are taken from here. */
export interface VlanRange {
  first: number;
  last: number;
}

export async function ensureSegment(
  session: VcenterSession,
  shadowVlans: VlanRange,
  segment: SegmentSpec,
  signal: AbortSignal,
): Promise<void> {
  await inTurn(session, signal, async () => {
    const on = await readHostNetworks(session, segment.host, signal);
    const production = findSegment(on, segment.shadows);
    if (!production || isShadow(production, on)) {
      throw refusal(`host ${on.name} has no production segment ${segment.shadows}, so it cannot be shadowed`);
    }
    const found = findSegment(on, segment.name);
    if (found && !isShadow(found, on)) {
      throw refusal(`host ${on.name} has a segment ${segment.name}, and Weft did not make it`);
    }
    switch (production.kind) {
      case 'distributed':
        return ensureDistributedSegment(session, on, production, segment.name, shadowVlans, signal);
      case 'standard':
        return ensureStandardSegment(session, on, production.name, segment.name, shadowVlans, signal);
      case 'opaque':
        throw refusal(
          `segment ${production.name} belongs to NSX, which decides its paths itself: use a VLAN-backed port group`,
        );
    }
  });
}

/** Makes the `out` port group of an engine again where somebody has removed it while nobody stood on it. */
export async function restoreOut(
  session: VcenterSession,
  shadowVlans: VlanRange,
  { host, segments }: Pick<EngineSpec, 'host' | 'segments'>,
  signal: AbortSignal,
): Promise<void> {
  const on = await readHostNetworks(session, host, signal);
  const production = findSegment(on, segments.out);
  const shadow = findSegment(on, segments.in);
  const isLost =
    production?.kind === 'distributed' &&
    shadow !== undefined &&
    isShadowOf(shadow, host) &&
    findOut(on, production) === production;
  if (!isLost) return;
  const segment: SegmentSpec = { host, name: segments.in, role: 'shadow', shadows: segments.out };
  await ensureSegment(session, shadowVlans, segment, signal);
}

export async function removeSegment(
  session: VcenterSession,
  shadowVlans: VlanRange,
  host: string,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  await inTurn(session, signal, async () => {
    const on = await readHostNetworks(session, host, signal);
    const found = findSegment(on, segment);
    const beginning = found ? undefined : findBeginning(on, segment);
    if (beginning) return removeDistributedSegment(session, on, beginning, signal);
    if (!found) {
      // vCenter lists a standard port group some time after its host has it.
      if (readStandardName(segment)?.role !== 'in') return;
      return removeStandardSegment(session, on, segment, shadowVlans, signal);
    }
    if (!isShadow(found, on)) throw refusal(`segment ${segment} of host ${on.name} was not made by Weft`);
    if (isShadowOf(found, host)) await removeDistributedSegment(session, on, found, signal);
    else await removeStandardSegment(session, on, segment, shadowVlans, signal);
  });
}

/** A NIC that stands on another network afterwards: everything of the device but its backing stays as it is. */
export function replugged(card: EthernetCard, network: HostNetwork, switchUuid: string | null): EthernetCard {
  const connectable = { ...card.connectable, startConnected: true, allowGuestControl: true, connected: true };
  if (network.kind === 'distributed') {
    if (switchUuid === null) throw refusal(`the switch of ${network.name} cannot be read`);
    return {
      ...card,
      connectable,
      backing: {
        $type: 'VirtualEthernetCardDistributedVirtualPortBackingInfo',
        port: { switchUuid, portgroupKey: network.ref.value },
      },
    } as EthernetCard;
  }
  return {
    ...card,
    connectable,
    backing: {
      $type: 'VirtualEthernetCardNetworkBackingInfo',
      deviceName: network.name,
      network: network.ref,
    },
  } as EthernetCard;
}

/** The uuid of the switch of a distributed port group; null for others. */
export async function switchUuidOf(
  session: VcenterSession,
  network: HostNetwork,
  signal: AbortSignal,
): Promise<string | null> {
  const ref = network.kind === 'distributed' ? network.config.distributedVirtualSwitch : undefined;
  if (!ref) return null;
  return ((await session.properties([ref], ['uuid'], signal)).get(ref.value)?.uuid as string) ?? null;
}

/** Whether Weft made the network as the shadow of this host. */
export function isShadow(network: HostNetwork, on: HostNetworks): boolean {
  if (network.kind === 'distributed') return isShadowOf(network, on.host.value);
  return network.kind === 'standard' && readStandardName(network.name)?.role === 'in';
}

/** Port groups of one vCenter are made one after the other: two choices of a VLAN at once would be the same one. */
const turns = new WeakMap<VcenterSession, Promise<unknown>>();

async function inTurn(
  session: VcenterSession,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  const before = turns.get(session) ?? Promise.resolve();
  const mine = before.then(async () => {
    signal.throwIfAborted();
    await untilFree(work, signal);
  });
  turns.set(
    session,
    mine.catch(() => undefined),
  );
  try {
    await abortable(mine, signal);
  } catch (error) {
    if (isWeftError(error, 'ERR_HYPERVISOR_REFUSED') && faultName(error) === 'DuplicateName') {
      throw refusal(`${error.message}; somebody else made it at the same time: it is read again`);
    }
    throw error;
  }
}
