/** VMs: power, clones, migration, removal. Engines are deployed by engine.ts. */
import type { CloneSpec, Progress } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { unpinEngine } from './cluster-rules.ts';
import { overrideOf } from './distributed-switch.ts';
import {
  findSegment,
  type HostNetworks,
  isShadowOf,
  readHostNetworks,
  refusal,
  segmentNotFound,
} from './host-networks.ts';
import { readStandardName, readVmMark, type VmMark, withVmMark } from './marks.ts';
import { replugged } from './network.ts';
import { type EthernetCard, nicsOf, plugOf } from './nic.ts';
import { readOne, readThere } from './objects.ts';
import { placementOn, poolOf } from './placement.ts';
import { untilFree } from './retry.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** Makes sure that a VM is on or off, or takes it through a hard power cycle. */
export async function powerVm(
  session: VcenterSession,
  vm: string,
  action: 'on' | 'off' | 'reset',
  signal: AbortSignal,
): Promise<void> {
  await untilFree(() => powerOnce(session, vm, action, signal), signal);
}

async function powerOnce(
  session: VcenterSession,
  vm: string,
  action: 'on' | 'off' | 'reset',
  signal: AbortSignal,
): Promise<void> {
  const ref = vmRef(vm);
  const { 'runtime.powerState': state } = await readOne(session, ref, ['runtime.powerState'], signal);
  const isOn = state === 'poweredOn';
  if (action !== 'reset' && isOn === (action === 'on')) return;
  try {
    if (action === 'off') await session.task(ref, 'PowerOffVM_Task', {}, signal);
    else if (action === 'reset' && isOn) await session.task(ref, 'ResetVM_Task', {}, signal);
    else await session.task(ref, 'PowerOnVM_Task', {}, signal);
  } catch (error) {
    // Somebody else was faster; what counts is the state it is in.
    if (faultName(error) !== 'InvalidPowerState') throw error;
    const now = await readOne(session, ref, ['runtime.powerState'], signal);
    if ((now['runtime.powerState'] === 'poweredOn') !== (action !== 'off')) throw error;
  }
}

/** Powers off and deletes a VM that Weft made. Gone already: succeeds. */
export async function removeVm(session: VcenterSession, vm: string, signal: AbortSignal): Promise<void> {
  await untilFree(() => removeOnce(session, vm, signal), signal);
}

async function removeOnce(session: VcenterSession, vm: string, signal: AbortSignal): Promise<void> {
  const ref = vmRef(vm);
  try {
    const paths = ['name', 'config.annotation', 'runtime.powerState', 'runtime.host', 'recentTask'];
    const read = await readOne(session, ref, paths, signal);
    const mark = readVmMark(read['config.annotation'] as string | undefined);
    if (!mark) throw refusal(`VM ${read.name} bears no mark of Weft in its notes, so it is not removed`);
    if (!mark.isComplete) await cancelTasks(session, (read.recentTask ?? []) as MoRef[], signal);
    const host = read['runtime.host'] as MoRef | undefined;
    if (mark.engine !== null && host)
      await unpinEngine(session, { engine: mark.engine, vm: ref, host }, signal);
    if (read['runtime.powerState'] === 'poweredOn') await powerVm(session, vm, 'off', signal);
    await session.task(ref, 'Destroy_Task', {}, signal);
  } catch (error) {
    if (!isWeftError(error, 'ERR_NOT_FOUND')) throw error;
  }
}

/** Ends the import or clone that an earlier life of ours began, and that holds its VM as long as it runs. */
async function cancelTasks(
  session: VcenterSession,
  tasks: readonly MoRef[],
  signal: AbortSignal,
): Promise<void> {
  for (const [value, info] of await readThere(session, tasks, ['info.state', 'info.cancelable'], signal)) {
    if (info['info.state'] !== 'running' || info['info.cancelable'] !== true) continue;
    // Ended meanwhile is as good; where it cannot be ended, removing the VM tells.
    await session.call({ type: 'Task', value }, 'CancelTask', {}, signal).catch(() => undefined);
  }
}

/** Moves a VM to another host. Refused where a NIC would not find its segment there. */
export async function migrateVm(
  session: VcenterSession,
  vm: string,
  host: string,
  signal: AbortSignal,
): Promise<void> {
  await untilFree(() => migrateOnce(session, vm, host, signal), signal);
}

async function migrateOnce(
  session: VcenterSession,
  vm: string,
  host: string,
  signal: AbortSignal,
): Promise<void> {
  const ref = vmRef(vm);
  const paths = ['name', 'runtime.host', 'config.hardware.device', 'config.annotation'];
  const read = await readOne(session, ref, paths, signal);
  const from = read['runtime.host'] as MoRef | undefined;
  if (from?.value === host) return;
  const there = await readHostNetworks(session, host, signal);
  const here = from && (await readHostNetworks(session, from.value, signal));
  const mark = readVmMark(read['config.annotation'] as string | undefined);
  const devices = (read['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[];
  for (const { card } of nicsOf(devices, mark !== null && mark.engine !== null)) {
    const plug = plugOf(card);
    const need = (name: string, isThere: boolean): void => {
      if (!isThere) {
        throw refusal(`VM ${read.name} cannot move to host ${there.name}, which has no segment ${name}`);
      }
    };
    if (plug.kind === 'standard') {
      need(
        plug.name,
        there.networks.some((one) => one.kind === 'standard' && one.name === plug.name),
      );
    }
    if (plug.kind !== 'distributed') continue;
    const group = there.networks.find((one) => one.ref.value === plug.portGroup);
    const name = here?.networks.find((one) => one.ref.value === plug.portGroup)?.name ?? plug.portGroup;
    need(name, group !== undefined);
    const dvs = group?.kind === 'distributed' ? group.config.distributedVirtualSwitch : undefined;
    if (!dvs || plug.port === null || !here) continue;
    const shadow = here.networks.find(
      (one) => isShadowOf(one, here.host.value) && one.mark.production === plug.portGroup,
    );
    if (shadow?.kind !== 'distributed' || !shadow.mark) continue;
    const criteria = { connected: true, portgroupKey: [plug.portGroup], inside: true, portKey: [plug.port] };
    const [port] = (await session.call(dvs, 'FetchDVPorts', { criteria }, signal)) ?? [];
    if (!port || overrideOf(port) !== shadow.mark.vlan) continue;
    const { segment } = shadow.mark;
    need(
      segment,
      there.networks.some((one) => isShadowOf(one, host) && one.mark.segment === segment),
    );
  }
  const isSameCluster = here?.parent.value === there.parent.value;
  const pool = isSameCluster ? undefined : await poolOf(session, there.parent, signal);
  await session.task(
    ref,
    'RelocateVM_Task',
    { spec: { host: there.host, pool }, priority: 'defaultPriority' },
    signal,
  );
}

/**
 * Clones a VM onto a host and switches the clone on; answers its id. NICs get new MACs and stand on production, also
 * where the source's path is bent. `decorate` is called once, before the clone counts as whole: tags and the like,
 * which vCenter does not clone.
 */
export async function cloneVm(
  session: VcenterSession,
  vm: string,
  clone: CloneSpec,
  decorate: (clone: string, signal: AbortSignal) => Promise<void>,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  return untilFree(() => cloneOnce(session, vm, clone, decorate, progress, signal), signal);
}

async function cloneOnce(
  session: VcenterSession,
  vm: string,
  clone: CloneSpec,
  decorate: (clone: string, signal: AbortSignal) => Promise<void>,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  const source = vmRef(vm);
  const paths = ['name', 'parent', 'config.annotation', 'config.hardware.device'];
  const read = await readOne(session, source, paths, signal);
  const on = await readHostNetworks(session, clone.host, signal);
  const notes = (read['config.annotation'] as string | undefined) ?? '';
  const mark: VmMark = { engine: null, cloneOf: vm, isComplete: false };
  const folder = await folderOf(session, read.parent as MoRef | undefined, on.host, signal);
  let made = await findChild(session, folder, clone.name, signal);
  if (made) await requireCloneOf(session, made, vm, signal);
  else {
    const devices = (read['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[];
    const deviceChange = nicsOf(devices, false).flatMap(({ card }) => {
      const device = onProduction(card, on, `${read.name}`);
      return device ? [{ operation: 'edit', device }] : [];
    });
    progress(0, `cloning ${read.name} to ${clone.name} on host ${on.name}`);
    const result = await session.task(
      source,
      'CloneVM_Task',
      {
        folder,
        name: clone.name,
        spec: {
          location: { pool: await poolOf(session, on.parent, signal), host: on.host },
          template: false,
          config: { annotation: withVmMark(notes, mark), deviceChange },
          powerOn: false,
        },
      },
      signal,
      (fraction) => progress(fraction * 0.8, `cloning ${read.name} to ${clone.name}`),
    );
    made = result as MoRef;
  }
  const state = await readOne(session, made, ['config.annotation', 'runtime.host', 'name'], signal);
  if ((state['runtime.host'] as MoRef).value !== clone.host) {
    throw refusal(`clone ${state.name} stands on another host: remove it, or migrate it`);
  }
  if (!readVmMark(state['config.annotation'] as string | undefined)?.isComplete) {
    await renewMacs(session, source, made, signal);
    await decorate(made.value, signal);
    await markVm(session, made, withVmMark(notes, { ...mark, isComplete: true }), signal);
  }
  await powerVm(session, made.value, 'on', signal);
  progress(1, `${clone.name} is on`);
  return made.value;
}

/** The reference to a VM by its id in the contract. */
export function vmRef(id: string): MoRef {
  return { type: 'VirtualMachine', value: id };
}

/** The VM or other object of that name in a folder, or undefined. */
export async function findChild(
  session: VcenterSession,
  folder: MoRef,
  name: string,
  signal: AbortSignal,
): Promise<MoRef | undefined> {
  const { searchIndex } = await session.connect(signal);
  if (!searchIndex) throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter has no search index');
  return session.call(searchIndex, 'FindChild', { entity: folder, name }, signal);
}

/** Writes a VM's notes. */
export async function markVm(
  session: VcenterSession,
  vm: MoRef,
  annotation: string,
  signal: AbortSignal,
): Promise<void> {
  await session.task(vm, 'ReconfigVM_Task', { spec: { annotation } }, signal);
}

async function requireCloneOf(
  session: VcenterSession,
  found: MoRef,
  source: string,
  signal: AbortSignal,
): Promise<void> {
  const read =
    found.type === 'VirtualMachine'
      ? await readOne(session, found, ['name', 'config.annotation'], signal)
      : {};
  if (readVmMark(read['config.annotation'] as string | undefined)?.cloneOf === source) return;
  throw refusal(
    `there is another ${found.type} ${read.name ?? found.value}, which is no clone of ${source} that Weft made: choose another name`,
  );
}

/**
 * The NIC as the clone shall have it, where that is not as the source has it: a path bent on a standard switch. On a
 * distributed one the clone gets a port of its own, without an override.
 */
function onProduction(card: EthernetCard, on: HostNetworks, source: string): EthernetCard | null {
  const plug = plugOf(card);
  if (plug.kind === 'other') {
    throw refusal(
      `a NIC of ${source} is on no port group (NSX, passthrough or none): such VMs are not cloned`,
    );
  }
  if (plug.kind === 'distributed') {
    if (on.networks.some((one) => one.ref.value === plug.portGroup)) return null;
    throw segmentNotFound(plug.portGroup, on.name);
  }
  const made = readStandardName(plug.name);
  const name = made?.role === 'in' ? made.production : plug.name;
  const network = findSegment(on, name);
  if (network?.kind !== 'standard') throw segmentNotFound(name, on.name);
  return name === plug.name ? null : replugged(card, network, null);
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

/** Where the source is; for a VM in a vApp, which is in no folder, the datacenter's. */
async function folderOf(
  session: VcenterSession,
  parent: MoRef | undefined,
  host: MoRef,
  signal: AbortSignal,
): Promise<MoRef> {
  if (parent?.type === 'Folder') return parent;
  return (await placementOn(session, host, { folder: null, datastore: null }, signal)).folder;
}
