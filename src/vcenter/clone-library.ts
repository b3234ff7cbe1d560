/** A content library item as what a clone is made from: an OVF package or a VM template. */
import type { CloneSpec } from '../hypervisor/platform.ts';
import type { CloneOrigin } from './clone-origin.ts';
import { firstSegment, onNetwork } from './clone-origin-network.ts';
import { type HostNetworks, refusal } from './host-networks.ts';
import { findItem } from './library.ts';
import { deployOvf, deployTemplate, networksOf } from './library-deploy.ts';
import { nicsOf } from './nic.ts';
import { readOne } from './objects.ts';
import { placementOn } from './placement.ts';
import type { RestClient } from './rest.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** Throws ERR_NOT_FOUND and ERR_HYPERVISOR_REFUSED, with the remedy, before anything is made. */
export async function libraryOrigin(
  session: VcenterSession,
  rest: RestClient,
  source: { library: string; item: string },
  { clone, on, model }: { clone: CloneSpec; on: HostNetworks; model: string | null },
  signal: AbortSignal,
): Promise<CloneOrigin> {
  const item = await findItem(rest, source.library, source.item, signal);
  if (item.type !== 'ovf' && item.type !== 'vm-template') {
    throw refusal(
      `item ${item.name} of content library ${source.library} is of type ${item.type || 'unknown'}: name an OVF package or a VM template`,
    );
  }
  const first = await firstSegment(session, { clone, on, model }, signal);
  const placed = await placementOn(
    session,
    on.host,
    { folder: null, datastore: clone.datastore ?? null },
    signal,
  );
  return {
    id: item.id,
    name: `${source.library}/${item.name}`,
    ref: null,
    notes: '',
    make: async (folder, annotation) => {
      const placement = { ...placed, folder };
      const deployment = { name: clone.name, annotation, host: on.host, placement };
      if (item.type === 'vm-template') return deployTemplate(rest, item, deployment, signal);
      const names = first ? await networksOf(rest, item, placement, on.host, signal) : [];
      const networks = new Map(names.map((name) => [name, first!.ref]));
      return deployOvf(rest, item, { ...deployment, networks, properties: [], size: null }, signal);
    },
    plug: (made) => plugFirst(session, made, first, signal),
  };
}

/** Where the networks of a package could not be mapped, or there are none: the NIC is moved before the VM is switched on. */
async function plugFirst(
  session: VcenterSession,
  made: MoRef,
  first: Parameters<typeof onNetwork>[2] | null,
  signal: AbortSignal,
): Promise<void> {
  if (!first) return;
  const { 'config.hardware.device': devices } = await readOne(
    session,
    made,
    ['config.hardware.device'],
    signal,
  );
  const [nic] = nicsOf((devices ?? []) as Vim<'VirtualDevice'>[], false);
  const device = nic && (await onNetwork(session, nic.card, first, signal));
  if (!device) return;
  await session.task(
    made,
    'ReconfigVM_Task',
    { spec: { deviceChange: [{ operation: 'edit', device }] } },
    signal,
  );
}
