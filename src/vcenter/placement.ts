/** Where a new VM goes: resource pool, folder and datastore that belong to a host. */
import { WeftError } from '../policy/errors.ts';
import { refusal } from './host-networks.ts';
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

export interface Placement {
  pool: MoRef;
  folder: MoRef;
  datastore: MoRef;
}

export interface PlacementOptions {
  /** Name of the VM folder for engines, directly under the datacenter's; null for the datacenter's own. */
  folder: string | null;
  /** Name of the datastore; null for the one with the most free space that the host reaches. */
  datastore: string | null;
}

/** Throws ERR_NOT_FOUND for a host, folder or datastore that is not there. */
export async function placementOn(
  session: VcenterSession,
  host: MoRef,
  options: PlacementOptions,
  signal: AbortSignal,
): Promise<Placement> {
  const read = await readOne(session, host, ['name', 'parent', 'datastore'], signal);
  const name = read.name as string;
  const [pool, datastore, folder] = await Promise.all([
    poolOf(session, read.parent as MoRef, signal),
    datastoreFor(session, name, (read.datastore ?? []) as MoRef[], options.datastore, signal),
    folderFor(session, host, options.folder, signal),
  ]);
  return { pool, datastore, folder };
}

/** The root resource pool of a cluster or of a host that stands alone. */
export async function poolOf(
  session: VcenterSession,
  computeResource: MoRef,
  signal: AbortSignal,
): Promise<MoRef> {
  const { resourcePool } = await readOne(session, computeResource, ['resourcePool'], signal);
  return resourcePool as MoRef;
}

/** Hosts, folders and clusters are never nested deeper; a peer could tell of a circle. */
const MAX_DEPTH = 64;

async function datastoreFor(
  session: VcenterSession,
  host: string,
  refs: readonly MoRef[],
  wanted: string | null,
  signal: AbortSignal,
): Promise<MoRef> {
  const paths = ['name', 'summary.accessible', 'summary.freeSpace', 'summary.maintenanceMode'];
  const read = await session.properties(refs, paths, signal);
  const usable = refs
    .map((ref) => ({ ref, store: read.get(ref.value) ?? {} }))
    .filter(
      ({ store }) =>
        store['summary.accessible'] === true && (store['summary.maintenanceMode'] ?? 'normal') === 'normal',
    );
  if (wanted !== null) {
    const found = usable.find(({ store }) => store.name === wanted);
    if (found) return found.ref;
    throw new WeftError(
      'ERR_NOT_FOUND',
      `host ${host} reaches no datastore ${wanted} that is in service: name another in the cloud`,
    );
  }
  const free = (store: Record<string, unknown>): number => Number(store['summary.freeSpace'] ?? 0);
  const [most] = usable.sort((a, b) => free(b.store) - free(a.store));
  if (!most) throw refusal(`host ${host} reaches no datastore for an engine: mount one`);
  return most.ref;
}

async function folderFor(
  session: VcenterSession,
  host: MoRef,
  wanted: string | null,
  signal: AbortSignal,
): Promise<MoRef> {
  let at = host;
  for (let depth = 0; at.type !== 'Datacenter'; depth++) {
    const { parent } = await readOne(session, at, ['parent'], signal);
    if (!parent || depth === MAX_DEPTH) throw refusal(`host ${host.value} is in no datacenter`);
    at = parent as MoRef;
  }
  const { vmFolder } = await readOne(session, at, ['vmFolder'], signal);
  if (wanted === null) return vmFolder as MoRef;
  const { childEntity } = await readOne(session, vmFolder as MoRef, ['childEntity'], signal);
  const folders = ((childEntity ?? []) as MoRef[]).filter(({ type }) => type === 'Folder');
  const names = await session.properties(folders, ['name'], signal);
  const found = folders.find(({ value }) => names.get(value)?.name === wanted);
  if (found) return found;
  throw new WeftError(
    'ERR_NOT_FOUND',
    `there is no VM folder ${wanted} for engines: make it in the datacenter of the hosts, or name another in the cloud`,
  );
}
