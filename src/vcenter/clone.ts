/**
 * Clones: making another instance of an application from a VM, its snapshot, a template or a library item. A clone
 * bears its mark from the first moment, not whole; whole is written when everything that was asked for is done.
 */
import type { CloneSpec, Progress } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { type CloneOrigin, type OriginContext, originOf } from './clone-origin.ts';
import { type HostNetworks, readHostNetworks, refusal } from './host-networks.ts';
import { folderAt } from './inventory-lookup.ts';
import { readVmMark, type VmMark, withVmMark } from './marks.ts';
import { type EthernetCard, nicsOf } from './nic.ts';
import { readOne } from './objects.ts';
import { placementOn } from './placement.ts';
import { untilFree } from './retry.ts';
import { abortable, type VcenterSession } from './session.ts';
import { isKindOf, type MoRef, type Vim } from './vim/schema.ts';
import { findChild, markVm, powerVm, removeVm, vmRef } from './vm.ts';

export interface CloneContext extends OriginContext {
  /** Gives a clone what vCenter does not clone: tags, custom attributes. Before it counts as whole; repeated, it does no harm. */
  decorate(clone: string, model: string | null, spec: CloneSpec, signal: AbortSignal): Promise<void>;
}

/** Answers the clone's id. As `Platform.cloneVm` says, with regard to what is removed and what is left. */
export async function cloneVm(
  context: CloneContext,
  model: string | null,
  clone: CloneSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  let half: MoRef | null = null;
  try {
    return await untilFree(
      () =>
        cloneOnce(context, model, clone, progress, signal, (vm) => {
          half = vm;
        }),
      signal,
    );
  } catch (error) {
    // What does not answer now cannot be asked to remove anything either.
    const isSilent = isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE') || signal.aborted;
    if (half && !isSilent) await removeHalf(context.session, half);
    throw error;
  }
}

const POLL_MS = 1000;
const CLEAN_UP_MS = 60_000;

async function cloneOnce(
  { session, lookup, rest, decorate }: CloneContext,
  model: string | null,
  clone: CloneSpec,
  progress: Progress,
  signal: AbortSignal,
  begun: (vm: MoRef) => void,
): Promise<string> {
  await session.connect(signal);
  const on = await readHostNetworks(session, clone.host, signal);
  const origin = await originOf({ session, lookup, rest }, model, clone, on, signal);
  const customisation = await readCustomisation(session, clone, signal);
  const folder = await folderFor({ session, lookup }, model, clone, origin, on, signal);
  const mark: VmMark = { engine: null, cloneOf: origin.id, isComplete: false };
  const notes = withVmMark(origin.notes, mark);
  let made = await adopt(
    session,
    await findChild(session, folder, clone.name, signal),
    clone,
    origin,
    signal,
  );
  if (!made) {
    progress(0, `cloning ${origin.name} to ${clone.name} on host ${on.name}`);
    made = await origin.make(folder, notes, (fraction) =>
      progress(fraction * 0.8, `cloning ${origin.name} to ${clone.name}`),
    );
  }
  const paths = ['config.annotation', 'runtime.powerState', 'runtime.host', 'config.template'];
  const state = await readOne(session, made, paths, signal);
  const present = readVmMark(state['config.annotation'] as string | undefined);
  if (!present?.isComplete) {
    begun(made);
    if (!present) await markVm(session, made, notes, signal);
    if (state['runtime.powerState'] !== 'poweredOn') {
      if (state['config.template'] === true) {
        const { pool } = await placementOn(session, on.host, { folder: null, datastore: null }, signal);
        await session.call(made, 'MarkAsVirtualMachine', { pool, host: on.host }, signal);
      }
      await origin.plug(made);
      if (origin.ref) await renewMacs(session, origin.ref, made, signal);
      if (customisation) await customise(session, made, customisation, signal);
    }
    await decorate(made.value, model, clone, signal);
    await powerVm(session, made.value, 'on', signal);
    await addressOf(session, made, model, clone, progress, signal);
    await markVm(
      session,
      made,
      withVmMark(origin.notes, { ...mark, isComplete: true, self: made.value }),
      signal,
    );
  }
  await powerVm(session, made.value, 'on', signal);
  progress(1, `${clone.name} is on`);
  return made.value;
}

/**
 * The clone that an earlier call made, whole or half. Half of one that was made otherwise is removed. Throws where
 * something else bears its name.
 */
async function adopt(
  session: VcenterSession,
  found: MoRef | undefined,
  clone: CloneSpec,
  origin: CloneOrigin,
  signal: AbortSignal,
): Promise<MoRef | undefined> {
  if (!found) return undefined;
  const read =
    found.type === 'VirtualMachine'
      ? await readOne(session, found, ['config.annotation', 'runtime.host'], signal)
      : {};
  const mark = readVmMark(read['config.annotation'] as string | undefined);
  if (!mark?.cloneOf) {
    throw refusal(
      `there is another ${found.type} ${clone.name}, which is no clone that Weft made: choose another name`,
    );
  }
  const isHere = (read['runtime.host'] as MoRef | undefined)?.value === clone.host;
  if (mark.cloneOf === origin.id && isHere) return found;
  if (!mark.isComplete) {
    await removeVm(session, found.value, signal);
    return undefined;
  }
  throw refusal(
    isHere
      ? `there is another clone ${clone.name}, which was made from ${mark.cloneOf} and not from ${origin.id}: choose another name`
      : `clone ${clone.name} stands on another host: remove it, or migrate it`,
  );
}

/** Where it was asked for; else where the model is, or the template; for a VM in a vApp, which is in no folder, the datacenter's. */
async function folderFor(
  { session, lookup }: Pick<CloneContext, 'session' | 'lookup'>,
  model: string | null,
  clone: CloneSpec,
  origin: CloneOrigin,
  on: HostNetworks,
  signal: AbortSignal,
): Promise<MoRef> {
  if (clone.folder !== undefined) {
    const found = folderAt(await lookup(signal), clone.folder);
    if (found) return found;
    throw new WeftError(
      'ERR_NOT_FOUND',
      `there is no VM folder ${clone.folder} for clone ${clone.name}: make it, or name another`,
    );
  }
  const like = model === null ? origin.ref : vmRef(model);
  const parent = like && ((await readOne(session, like, ['parent'], signal)).parent as MoRef | undefined);
  if (parent?.type === 'Folder') return parent;
  return (await placementOn(session, on.host, { folder: null, datastore: null }, signal)).folder;
}

/** The customisation specification, read before anything is made. */
async function readCustomisation(
  session: VcenterSession,
  clone: CloneSpec,
  signal: AbortSignal,
): Promise<Vim<'CustomizationSpec'> | null> {
  const name = clone.customisation;
  if (name === undefined) return null;
  const { customizationSpecManager } = session.content;
  if (!customizationSpecManager) {
    throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter keeps no customisation specifications');
  }
  const { spec } = await session
    .call(customizationSpecManager, 'GetCustomizationSpec', { name }, signal)
    .catch((error: unknown) => {
      if (!isWeftError(error, 'ERR_NOT_FOUND')) throw error;
      throw new WeftError(
        'ERR_NOT_FOUND',
        `there is no customisation specification ${name} for clone ${clone.name}: make it in vCenter (Policies and Profiles), or name another`,
      );
    });
  if (/"\$type":"CustomizationUnknown\w+"/.test(JSON.stringify(spec))) {
    throw refusal(
      `customisation specification ${name} asks a person for a name or an address, and there is none: let it take the VM's name and DHCP`,
    );
  }
  if (!isKindOf(spec.identity.$type ?? '', 'CustomizationIdentitySettings')) {
    throw refusal(`customisation specification ${name} is of a kind that cannot be passed on: make another`);
  }
  return spec;
}

/** To be carried out when the guest starts. Asked for already: done. */
async function customise(
  session: VcenterSession,
  vm: MoRef,
  spec: Vim<'CustomizationSpec'>,
  signal: AbortSignal,
): Promise<void> {
  const path = 'config.tools.pendingCustomization';
  const { [path]: pending } = await readOne(session, vm, [path], signal);
  if (typeof pending === 'string' && pending !== '') return;
  await session.task(vm, 'CustomizeVM_Task', { spec }, signal);
}

/** Waits for an address of the clone's own, where that was asked for. Throws ERR_TIMEOUT. */
async function addressOf(
  session: VcenterSession,
  vm: MoRef,
  model: string | null,
  clone: CloneSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const timeoutMs = clone.addressTimeoutMs ?? 0;
  if (timeoutMs === 0) return;
  const read = async (ref: MoRef): Promise<string[]> => {
    const { 'guest.net': nics, 'guest.ipAddress': first } = await readOne(
      session,
      ref,
      ['guest.net', 'guest.ipAddress'],
      signal,
    );
    const all = ((nics ?? []) as Vim<'GuestNicInfo'>[]).flatMap(({ ipAddress }) => ipAddress ?? []);
    return [...all, ...(typeof first === 'string' ? [first] : [])].filter(
      (address) => !/^(169\.254\.|fe80:|127\.|::1$)/i.test(address),
    );
  };
  // Until it is customised, the guest of a copied disk may show the addresses of the disk.
  const taken = new Set(
    model === null
      ? []
      : await read(vmRef(model)).catch((error: unknown) => {
          if (isWeftError(error, 'ERR_NOT_FOUND')) return [];
          throw error;
        }),
  );
  const started = performance.now();
  for (;;) {
    if ((await read(vm)).some((address) => !taken.has(address))) return;
    const passed = performance.now() - started;
    if (passed >= timeoutMs) {
      throw new WeftError(
        'ERR_TIMEOUT',
        `the guest of clone ${clone.name} showed no address of its own within ${timeoutMs / 1000} s: does it run VMware Tools, and is there DHCP or a customisation that gives it one?`,
      );
    }
    progress(0.9 + 0.1 * Math.min(passed / timeoutMs, 0.99), `waiting for an address of ${clone.name}`);
    const ms = Math.min(POLL_MS, timeoutMs - passed);
    await abortable(new Promise((resolve) => setTimeout(resolve, ms)), signal);
  }
}

async function removeHalf(session: VcenterSession, vm: MoRef): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const { 'config.annotation': notes } = await readOne(session, vm, ['config.annotation'], signal);
    if (readVmMark(notes as string | undefined)?.isComplete === false)
      await removeVm(session, vm.value, signal);
  } catch {
    // The error of the clone is the one to tell; the inventory lists what is left as unfinished.
  }
}

/** vCenter gives clones MACs of their own, but not where somebody had chosen the source's by hand. */
async function renewMacs(
  session: VcenterSession,
  source: MoRef,
  clone: MoRef,
  signal: AbortSignal,
): Promise<void> {
  const both = await session.properties([source, clone], ['config.hardware.device'], signal);
  const cards = (vm: MoRef): EthernetCard[] =>
    nicsOf((both.get(vm.value)?.['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[], false).map(
      (one) => one.card,
    );
  const taken = new Set(cards(source).map(({ macAddress }) => macAddress));
  const deviceChange = cards(clone)
    .filter(({ macAddress }) => taken.has(macAddress))
    .map(({ macAddress: _, ...rest }) => {
      return { operation: 'edit', device: { ...rest, addressType: 'assigned' } as EthernetCard };
    });
  if (deviceChange.length > 0) {
    await session.task(clone, 'ReconfigVM_Task', { spec: { deviceChange } }, signal);
  }
}
