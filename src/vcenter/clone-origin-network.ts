/** Which network the NICs of a clone stand on: production, whatever the source's path is bent through. */
import type { CloneSpec } from '../hypervisor/platform.ts';
import {
  findSegment,
  type HostNetwork,
  type HostNetworks,
  refusal,
  segmentNotFound,
} from './host-networks.ts';
import { readStandardName } from './marks.ts';
import { isShadow, replugged, switchUuidOf } from './network.ts';
import { type EthernetCard, nicsOf, plugOf } from './nic.ts';
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
import type { Vim } from './vim/schema.ts';
import { vmRef } from './vm.ts';

/** The segment that the first NIC shall be on where that is not said by the source: the one asked for, or the model's. */
export async function firstSegment(
  session: VcenterSession,
  { clone, on, model }: { clone: CloneSpec; on: HostNetworks; model: string | null },
  signal: AbortSignal,
): Promise<HostNetwork | null> {
  if (clone.segment !== undefined) {
    const found = findSegment(on, clone.segment);
    if (!found) throw segmentNotFound(clone.segment, on.name);
    if (found.kind === 'opaque' || isShadow(found, on))
      throw refusal(`clone ${clone.name} cannot stand on ${clone.segment}: name a production segment`);
    return found;
  }
  if (model === null) return null;
  const read = await readOne(session, vmRef(model), ['name', 'config.hardware.device'], signal);
  const [nic] = nicsOf((read['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[], false);
  return nic ? productionOf(nic.card, on, String(read.name)) : null;
}

/** The NIC on another network; null where it is there already. */
export async function onNetwork(
  session: VcenterSession,
  card: EthernetCard,
  network: HostNetwork,
  signal: AbortSignal,
): Promise<EthernetCard | null> {
  const plug = plugOf(card);
  if (plug.kind === 'distributed' && plug.portGroup === network.ref.value) return null;
  if (plug.kind === 'standard' && network.kind === 'standard' && plug.name === network.name) return null;
  return replugged(card, network, await switchUuidOf(session, network, signal));
}

/**
 * The NIC as the clone shall have it, where that is not as the source has it: a path bent on a standard switch. On a
 * distributed one the clone gets a port of its own, without an override.
 */
export async function onProduction(
  session: VcenterSession,
  card: EthernetCard,
  on: HostNetworks,
  source: string,
  signal: AbortSignal,
): Promise<EthernetCard | null> {
  return onNetwork(session, card, productionOf(card, on, source), signal);
}

/** The production network that a NIC is on, or whose shadow it is on, on the clone's host. */
function productionOf(card: EthernetCard, on: HostNetworks, source: string): HostNetwork {
  const plug = plugOf(card);
  if (plug.kind === 'other') {
    throw refusal(
      `a NIC of ${source} is on no port group (NSX, passthrough or none): such VMs are not cloned`,
    );
  }
  if (plug.kind === 'distributed') {
    const found = on.networks.find((one) => one.ref.value === plug.portGroup);
    if (!found) throw segmentNotFound(plug.portGroup, on.name);
    return found;
  }
  const made = readStandardName(plug.name);
  const name = made?.role === 'in' ? made.production : plug.name;
  const network = findSegment(on, name);
  if (network?.kind !== 'standard') throw segmentNotFound(name, on.name);
  return network;
}
