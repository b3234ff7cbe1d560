/** What a clone is copied from, and how: the model itself, a snapshot of it, a template; of library items clone-library.ts tells. */
import type { CloneSpec } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { libraryOrigin } from './clone-library.ts';
import { firstSegment, onNetwork, onProduction } from './clone-origin-network.ts';
import { type HostNetworks, refusal } from './host-networks.ts';
import { type Lookup, templatesNamed } from './inventory-lookup.ts';
import { nicsOf } from './nic.ts';
import { readOne } from './objects.ts';
import { placementOn, poolOf } from './placement.ts';
import type { RestClient } from './rest.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';
import { vmRef } from './vm.ts';

export interface CloneOrigin {
  /** What the mark of the clone says that it was made from. */
  id: string;
  /** For people. */
  name: string;
  /** The VM or template; null where there is none to read from. */
  ref: MoRef | null;
  /** Its notes, which the clone gets above the mark. */
  notes: string;
  /** Makes the clone, off. */
  make(folder: MoRef, notes: string, progress: (fraction: number) => void): Promise<MoRef>;
  /** Puts the NICs of what was made onto their segments, where `make` could not. */
  plug(clone: MoRef): Promise<void>;
}

export interface OriginContext {
  session: VcenterSession;
  /** The inventory as it is now. */
  lookup(signal: AbortSignal): Promise<Lookup>;
  rest: RestClient;
}

/** Throws ERR_NOT_FOUND and ERR_HYPERVISOR_REFUSED, with the remedy, before anything is made. */
export async function originOf(
  context: OriginContext,
  model: string | null,
  clone: CloneSpec,
  on: HostNetworks,
  signal: AbortSignal,
): Promise<CloneOrigin> {
  const source = clone.source ?? { kind: 'full' };
  if (model === null && (source.kind === 'full' || source.kind === 'linked')) {
    throw new WeftError(
      'ERR_HYPERVISOR_UNSUPPORTED',
      `clone ${clone.name}: there is no VM left to copy; name a template or library item as its source`,
    );
  }
  switch (source.kind) {
    case 'full':
      return vmOrigin(context.session, vmRef(model!), { clone, on, model: null, snapshot: null }, signal);
    case 'linked': {
      const snapshot = await snapshotOf(context.session, vmRef(model!), source.snapshot, signal);
      return vmOrigin(context.session, vmRef(model!), { clone, on, model: null, snapshot }, signal);
    }
    case 'template': {
      const [found, ...others] = templatesNamed(await context.lookup(signal), source.template);
      if (!found) {
        throw new WeftError(
          'ERR_NOT_FOUND',
          `there is no template ${source.template} for clone ${clone.name}: name one that the user may see`,
        );
      }
      if (others.length > 0) {
        const paths = [found, ...others].map(({ path }) => path).join(', ');
        throw refusal(`${paths} are all templates ${source.template}: name one by its folder`);
      }
      return vmOrigin(context.session, found.ref, { clone, on, model, snapshot: null }, signal);
    }
    case 'library-item':
      return libraryOrigin(context.session, context.rest, source, { clone, on, model }, signal);
  }
}

interface VmOriginOptions {
  clone: CloneSpec;
  on: HostNetworks;
  /** The VM whose first segment the clone stands on; null where that of the source counts. */
  model: string | null;
  snapshot: MoRef | null;
}

async function vmOrigin(
  session: VcenterSession,
  source: MoRef,
  { clone, on, model, snapshot }: VmOriginOptions,
  signal: AbortSignal,
): Promise<CloneOrigin> {
  const paths = ['name', 'config.annotation', 'config.hardware.device', 'datastore'];
  const read = await readOne(session, source, paths, signal);
  const name = String(read.name);
  const devices = (read['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[];
  const first = await firstSegment(session, { clone, on, model }, signal);
  const deviceChange: Vim<'VirtualDeviceConfigSpec'>[] = [];
  for (const [index, { card }] of nicsOf(devices, false).entries()) {
    const device =
      index === 0 && first
        ? await onNetwork(session, card, first, signal)
        : await onProduction(session, card, on, name, signal);
    if (device) deviceChange.push({ operation: 'edit', device });
  }
  const datastore = await datastoreFor(
    session,
    { clone, on, isLinked: snapshot !== null, present: (read.datastore ?? []) as MoRef[], name },
    signal,
  );
  return {
    id: source.value,
    name,
    ref: source,
    notes: (read['config.annotation'] as string | undefined) ?? '',
    make: async (folder, annotation, progress) =>
      (await session.task(
        source,
        'CloneVM_Task',
        {
          folder,
          name: clone.name,
          spec: {
            location: {
              ...(datastore ? { datastore } : {}),
              ...(snapshot ? { diskMoveType: 'createNewChildDiskBacking' } : {}),
              pool: await poolOf(session, on.parent, signal),
              host: on.host,
            },
            template: false,
            config: { annotation, deviceChange },
            powerOn: false,
            ...(snapshot ? { snapshot } : {}),
          },
        },
        signal,
        progress,
      )) as MoRef,
    plug: async () => undefined,
  };
}

/** The datastore of a copy; null to leave the disks where those of the source are. */
async function datastoreFor(
  session: VcenterSession,
  source: { clone: CloneSpec; on: HostNetworks; isLinked: boolean; present: readonly MoRef[]; name: string },
  signal: AbortSignal,
): Promise<MoRef | null> {
  const { clone, on, isLinked, present, name } = source;
  const choose = async (datastore: string | null): Promise<MoRef> =>
    (await placementOn(session, on.host, { folder: null, datastore }, signal)).datastore;
  if (clone.datastore !== undefined) return choose(clone.datastore);
  const { datastore } = await readOne(session, on.host, ['datastore'], signal);
  const reached = new Set(((datastore ?? []) as MoRef[]).map(({ value }) => value));
  if (present.every(({ value }) => reached.has(value))) return null;
  if (!isLinked) return choose(null);
  throw refusal(
    `host ${on.name} does not reach the datastore of ${name}, whose disks a linked clone shares: make a full clone`,
  );
}

async function snapshotOf(
  session: VcenterSession,
  vm: MoRef,
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<MoRef> {
  const read = await readOne(session, vm, ['name', 'snapshot'], signal);
  const info = read.snapshot as Vim<'VirtualMachineSnapshotInfo'> | undefined;
  const remedy = `take one (\`govc snapshot.create -vm ${read.name} ${wanted ?? 'weft-base'}\`), or make full clones`;
  if (wanted === undefined) {
    if (info?.currentSnapshot) return info.currentSnapshot;
    throw refusal(`${read.name} has no snapshot for a linked clone: ${remedy}`);
  }
  const all: Vim<'VirtualMachineSnapshotTree'>[] = [];
  const walk = (trees: readonly Vim<'VirtualMachineSnapshotTree'>[], depth: number): void => {
    // vCenter allows chains of 32.
    if (depth > 64) return;
    for (const tree of trees) {
      all.push(tree);
      walk(tree.childSnapshotList ?? [], depth + 1);
    }
  };
  walk(info?.rootSnapshotList ?? [], 0);
  const found = all.filter(({ name }) => name === wanted);
  if (found.length === 1) return found[0]!.snapshot;
  throw found.length === 0
    ? new WeftError('ERR_NOT_FOUND', `${read.name} has no snapshot ${wanted} for a linked clone: ${remedy}`)
    : refusal(`${read.name} has ${found.length} snapshots ${wanted}: rename all but one`);
}
