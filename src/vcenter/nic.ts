/** The NICs of a VM among its devices, and the ids under which the contract knows them. */
import type { MoRef, Vim } from './vim/schema.ts';
import { isKindOf } from './vim/schema.ts';

export type EthernetCard = Vim<'VirtualEthernetCard'>;

/** The three NICs of an engine, in the order in which its descriptor lists them. */
export const ENGINE_NICS = ['mgmt', 'out', 'in'] as const;

/** The NICs in the order of their device keys, each with its id: for engines their names, for others the device key. */
export function nicsOf(
  devices: readonly Vim<'VirtualDevice'>[],
  isEngine: boolean,
): { id: string; card: EthernetCard }[] {
  return devices
    .filter((device): device is EthernetCard => isKindOf(device.$type ?? '', 'VirtualEthernetCard'))
    .sort((a, b) => a.key - b.key)
    .map((card, index) => ({ id: (isEngine && ENGINE_NICS[index]) || String(card.key), card }));
}

/** What a NIC is plugged into. */
export type Plug =
  | { kind: 'distributed'; portGroup: string; port: string | null; switchUuid: string }
  | { kind: 'standard'; name: string; network: MoRef | null }
  | { kind: 'other' };

/** Reads a NIC's backing. `other` is what Weft cannot bend: opaque networks, passthrough, nothing at all. */
export function plugOf(card: EthernetCard): Plug {
  const { backing } = card;
  if (backing?.$type === 'VirtualEthernetCardDistributedVirtualPortBackingInfo') {
    const { portgroupKey, portKey, switchUuid } = backing.port;
    return { kind: 'distributed', portGroup: portgroupKey ?? '', port: portKey ?? null, switchUuid };
  }
  if (backing?.$type === 'VirtualEthernetCardNetworkBackingInfo') {
    return { kind: 'standard', name: backing.deviceName, network: backing.network ?? null };
  }
  return { kind: 'other' };
}
