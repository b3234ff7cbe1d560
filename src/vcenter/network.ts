/**
 * Segments and NICs: makes and removes shadow segments, and bends a NIC's path.
 *
 * On a distributed switch the NIC is never edited: the VLAN of its port is overridden. On a standard switch, and for a
 * move between two port groups, the NIC's backing is changed while it stays connected.
 */
import type { NicRef, SegmentSpec } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import {
  ensureDistributedSegment,
  overrideOf,
  removeDistributedSegment,
  setPortOverride,
} from './distributed-switch.ts';
import {
  findOut,
  findSegment,
  type HostNetwork,
  type HostNetworks,
  isShadowOf,
  readHostNetworks,
  refusal,
  segmentNotFound,
} from './host-networks.ts';
import { readStandardName, readVmMark } from './marks.ts';
import { type EthernetCard, nicsOf, plugOf } from './nic.ts';
import { untilFree } from './retry.ts';
import { abortable, type VcenterSession } from './session.ts';
import { ensureStandardSegment, removeStandardSegment } from './standard-switch.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

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

export async function attachNic(
  session: VcenterSession,
  nic: NicRef,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  const vm: MoRef = { type: 'VirtualMachine', value: nic.vm };
  await untilFree(() => attachOnce(session, vm, nic.nic, segment, signal), signal);
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

async function attachOnce(
  session: VcenterSession,
  vm: MoRef,
  nicId: string,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  const paths = ['name', 'runtime.host', 'config.hardware.device', 'config.annotation'];
  const read = (await session.properties([vm], paths, signal)).get(vm.value);
  const host = read?.['runtime.host'] as MoRef | undefined;
  if (!read || !host) throw new WeftError('ERR_NOT_FOUND', `there is no VM ${vm.value}`);
  const name = read.name as string;
  const mark = readVmMark(read['config.annotation'] as string | undefined);
  const isEngine = mark !== null && mark.engine !== null;
  const devices = (read['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[];
  const card = nicsOf(devices, isEngine).find(({ id }) => id === nicId)?.card;
  if (!card) throw new WeftError('ERR_NOT_FOUND', `VM ${name} has no NIC ${nicId}`);

  const on = await readHostNetworks(session, host.value, signal);
  const target = findSegment(on, segment);
  if (!target) throw segmentNotFound(segment, on.name);
  const plug = plugOf(card);
  if (plug.kind === 'other') {
    throw refusal(`NIC ${nicId} of ${name} is on no port group (NSX, passthrough or none): move it to one`);
  }

  if (plug.kind === 'distributed' && !isEngine) {
    const current = on.networks.find((one) => one.ref.value === plug.portGroup);
    const position = { vm, vmName: name, host, port: plug.port };
    if (isShadowOf(target, host.value)) {
      if (target.mark.production !== plug.portGroup) {
        throw refusal(
          `NIC ${nicId} of ${name} is on ${current?.name ?? plug.portGroup}, which ${segment} does not shadow`,
        );
      }
      if (current?.kind !== 'distributed') throw segmentNotFound(plug.portGroup, on.name);
      return setPortOverride(session, current, position, target.mark.vlan, signal);
    }
    if (current?.kind === 'distributed') await setPortOverride(session, current, position, null, signal);
    if (target.ref.value === plug.portGroup) return;
  }
  const network = isEngine && !isShadow(target, on) && nicId === 'out' ? findOut(on, target) : target;
  const isThere =
    plug.kind === 'distributed' ? plug.portGroup === network.ref.value : plug.name === network.name;
  if (isThere && (plug.kind === 'distributed') === (network.kind === 'distributed')) return;
  if (network.kind === 'opaque') {
    throw refusal(`segment ${segment} belongs to NSX: NICs are not moved to it`);
  }
  const device = replugged(card, network, await switchUuidOf(session, network, signal));
  await session.task(
    vm,
    'ReconfigVM_Task',
    { spec: { deviceChange: [{ operation: 'edit', device }] } },
    signal,
  );
}

/** What the inventory shows of a port: the shadow VLAN that overrides its port group's, or null. */
export { overrideOf };

function isShadow(network: HostNetwork, on: HostNetworks): boolean {
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
