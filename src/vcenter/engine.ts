/**
 * Deploying an engine: import spec, import, upload, power on. Each attempt finds what an earlier one left by the VM's
 * instance UUID, which outlives a new name or folder, and by name: a whole engine is adopted, half a one is removed
 * and made again.
 */
import { createHash } from 'node:crypto';
import type { EngineSpec, Progress } from '../hypervisor/platform.ts';
import { pinEngine } from './cluster-rules.ts';
import {
  deployFromLibrary,
  type EngineImport,
  importDirectly,
  isUnmarkedHalf,
  withoutSecrets,
} from './engine-import.ts';
import {
  findOut,
  findSegment,
  type HostNetworks,
  readHostNetworks,
  refusal,
  segmentNotFound,
} from './host-networks.ts';
import { readVmMark, type VmMark, withVmMark } from './marks.ts';
import { readOne } from './objects.ts';
import { openOva } from './ova.ts';
import { type PlacementOptions, placementOn } from './placement.ts';
import type { RestClient } from './rest.ts';
import { untilFree } from './retry.ts';
import type { Log, VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';
import { findChild, markVm, powerVm, removeVm, vmRef } from './vm.ts';

export interface EngineOptions extends PlacementOptions {
  /** Path of the appliance's OVA. */
  ova: string;
  /** PEM of CAs, one of which must have signed it; null takes unsigned ones. */
  signedBy: readonly string[] | null;
  /** Whether rules of the cluster keep engines on their hosts; they do where nothing is said. */
  isPinned?: boolean;
  /** The deployment option of the descriptor, where the engine names none. */
  size: 'small' | 'medium' | 'large';
  now: () => number;
  /** The content library that holds the appliance; engines are imported directly where none is named. */
  library?: { name: string; rest: RestClient };
  log?: Log | undefined;
}

/** Answers the VM's id. Throws ERR_NOT_FOUND for segments that the host has not, before anything is made. */
export async function deployEngine(
  session: VcenterSession,
  options: EngineOptions,
  engine: EngineSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  await session.connect(signal);
  const instanceUuid = instanceUuidOf(session, engine.engine);
  const host: MoRef = { type: 'HostSystem', value: engine.host };
  const placement = await placementOn(session, host, options, signal);
  const adopted = await adopt(session, engine, instanceUuid, placement.folder, signal);
  if (adopted) {
    await tell(session, vmRef(adopted), engine, signal);
    await pin(session, options, engine, vmRef(adopted), signal);
    await powerVm(session, adopted, 'on', signal);
    progress(1, `engine ${engine.engine} is on`);
    return adopted;
  }

  const networks = mapNetworks(await readHostNetworks(session, engine.host, signal), engine);
  progress(0, `checking the appliance of engine ${engine.engine}`);
  const ova = await openOva(options.ova, { signedBy: options.signedBy, now: options.now() }, signal);
  try {
    const mark: VmMark = { engine: engine.engine, cloneOf: null, isComplete: false };
    const wanted: EngineImport = {
      engine,
      size: engine.size ?? options.size,
      host,
      placement,
      networks,
      instanceUuid,
      annotation: withVmMark(NOTES, mark),
      ova,
    };
    const vm = await (options.library
      ? deployFromLibrary(session, options.library.rest, options.library.name, wanted, progress, signal)
      : importDirectly(session, wanted, progress, signal)
    ).catch(async (error: unknown) => {
      await removeHalf(session, engine.engine, instanceUuid, placement.folder);
      throw withoutSecrets(error, engine);
    });
    progress(0.92, `keeping engine ${engine.engine} on its host`);
    // Before it is switched on: DRS chooses a host for whatever starts and has no rule.
    await pin(session, options, engine, vm, signal);
    const whole = withVmMark(NOTES, { ...mark, isComplete: true });
    await untilFree(() => markVm(session, vm, whole, signal), signal);
    progress(0.95, `switching engine ${engine.engine} on`);
    await powerVm(session, vm.value, 'on', signal);
    progress(1, `engine ${engine.engine} is on`);
    return vm.value;
  } finally {
    await ova.close();
  }
}

/**
 * Where a running engine looks for what has changed since it was deployed: `vmtoolsd --cmd 'info-get <key>'`. The OVF
 * environment is written at power-on only.
 */
export const TOLD_KEY = 'guestinfo.weft.properties';

/** JSON as one line of base64: it goes through the guest's shell. */
async function tell(
  session: VcenterSession,
  vm: MoRef,
  engine: EngineSpec,
  signal: AbortSignal,
): Promise<void> {
  const text = Buffer.from(JSON.stringify(engine.properties)).toString('base64');
  const option: Vim<'OptionValue'> = { key: TOLD_KEY, value: text };
  try {
    await untilFree(
      () => session.task(vm, 'ReconfigVM_Task', { spec: { extraConfig: [option] } }, signal),
      signal,
    );
  } catch (error) {
    throw withoutSecrets(error, engine);
  }
}

const NOTES = 'A service engine of Weft. It is made and removed by its controller; do not edit this note.';
const CLEAN_UP_MS = 30_000;

/** By rules of the cluster, where there is one and the cloud does not say otherwise. */
async function pin(
  session: VcenterSession,
  options: EngineOptions,
  engine: EngineSpec,
  vm: MoRef,
  signal: AbortSignal,
): Promise<void> {
  if (options.isPinned === false) return;
  const host: MoRef = { type: 'HostSystem', value: engine.host };
  const why = await pinEngine(
    session,
    { engine: engine.engine, vm, host, segment: engine.segments.out },
    signal,
  );
  if (why !== null)
    options.log?.warn({ engine: engine.engine }, `nothing keeps the engine on its host: ${why}`);
}

/** The VM that is the engine already. Half of one is removed; one that stands elsewhere is refused. */
async function adopt(
  session: VcenterSession,
  engine: EngineSpec,
  instanceUuid: string,
  folder: MoRef,
  signal: AbortSignal,
): Promise<string | null> {
  const found = await find(session, engine.engine, instanceUuid, folder, signal);
  if (!found) return null;
  const read = await readOne(session, found, ['name', 'config.annotation', 'runtime.host'], signal);
  let mark = readVmMark(read['config.annotation'] as string | undefined);
  if (
    !mark &&
    found.type === 'VirtualMachine' &&
    (await isUnmarkedHalf(session, found, engine.engine, signal))
  ) {
    mark = { engine: engine.engine, cloneOf: null, isComplete: false };
    await untilFree(() => markVm(session, found, withVmMark(NOTES, mark!), signal), signal);
  }
  if (mark?.engine !== engine.engine) {
    throw refusal(
      `there is a VM ${read.name} in the way of engine ${engine.engine}, and no mark of that engine is in its notes: rename it, or restore its notes`,
    );
  }
  if (!mark.isComplete) {
    await removeVm(session, found.value, signal);
    return null;
  }
  const host = (read['runtime.host'] as MoRef | undefined)?.value;
  if (host !== engine.host) {
    throw refusal(
      `engine ${engine.engine} stands on host ${host}: it is removed there before it is made here`,
    );
  }
  return found.value;
}

/** After a failed upload. Some servers keep the VM when its lease is ended; the next attempt would remove it as well. */
async function removeHalf(
  session: VcenterSession,
  engine: string,
  instanceUuid: string,
  folder: MoRef,
): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const found = await find(session, engine, instanceUuid, folder, signal);
    if (!found) return;
    const { 'config.annotation': notes } = await readOne(session, found, ['config.annotation'], signal);
    const mark = readVmMark(notes as string | undefined);
    if (mark?.engine === engine && !mark.isComplete) await removeVm(session, found.value, signal);
  } catch {
    // The error of the upload is the one to tell.
  }
}

function mapNetworks(on: HostNetworks, engine: EngineSpec): Vim<'OvfNetworkMapping'>[] {
  return (['mgmt', 'out', 'in'] as const).map((name) => {
    const network = findSegment(on, engine.segments[name]);
    if (!network) throw segmentNotFound(engine.segments[name], on.name);
    return { name, network: (name === 'out' ? findOut(on, network) : network).ref };
  });
}

/** The same at every attempt (RFC 9562, version 8). */
function instanceUuidOf(session: VcenterSession, engine: string): string {
  const vcenter = session.content.about.instanceUuid ?? session.address;
  const hash = createHash('sha256').update(`weft engine ${vcenter} ${engine}`).digest();
  hash[6] = (hash[6]! & 0x0f) | 0x80;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}

async function find(
  session: VcenterSession,
  engine: string,
  uuid: string,
  folder: MoRef,
  signal: AbortSignal,
): Promise<MoRef | undefined> {
  const { searchIndex } = session.content;
  const args = { uuid, vmSearch: true, instanceUuid: true };
  const found = searchIndex && (await session.call(searchIndex, 'FindByUuid', args, signal));
  return found ?? findChild(session, folder, engine, signal);
}
