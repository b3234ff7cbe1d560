/** VMs: power, migration, removal. Engines are deployed by engine.ts, clones made by clone.ts. */
import { isWeftError, WeftError } from '../policy/errors.ts';
import { unpinEngine } from './cluster-rules.ts';
import { overrideOf } from './distributed-switch.ts';
import { isShadowOf, readHostNetworks, refusal } from './host-networks.ts';
import { readVmMark } from './marks.ts';
import { nicsOf, plugOf } from './nic.ts';
import { readOne, readThere } from './objects.ts';
import { poolOf } from './placement.ts';
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
