/**
 * Deploying an engine: import spec, import, upload, power on. Each attempt finds what an earlier one left by the VM's
 * instance UUID: a whole engine is adopted, half a one is removed and made again.
 */
import type { EngineSpec, Progress } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { findOut, findSegment, readHostNetworks, refusal, segmentNotFound } from './host-networks.ts';
import { uploadUnderLease } from './lease.ts';
import { readVmMark, type VmMark, withVmMark } from './marks.ts';
import { readOne } from './objects.ts';
import { openOva } from './ova.ts';
import { type PlacementOptions, placementOn } from './placement.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';
import { findByInstanceUuid, instanceUuidOf, markVm, powerVm, removeVm } from './vm.ts';

export interface EngineOptions extends PlacementOptions {
  /** Path of the appliance's OVA. */
  ova: string;
  /** PEM of CAs, one of which must have signed it; null takes unsigned ones. */
  signedBy: readonly string[] | null;
  /** The deployment option of the descriptor. */
  size: 'small' | 'medium' | 'large';
  now: () => number;
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
  const instanceUuid = instanceUuidOf(session, `engine ${engine.engine}`);
  const adopted = await adopt(session, engine, instanceUuid, signal);
  if (adopted) {
    await powerVm(session, adopted, 'on', signal);
    progress(1, `engine ${engine.engine} is on`);
    return adopted;
  }

  const networkMapping = await mapNetworks(session, engine, signal);
  const host: MoRef = { type: 'HostSystem', value: engine.host };
  const placement = await placementOn(session, host, options, signal);
  progress(0, `checking the appliance of engine ${engine.engine}`);
  const ova = await openOva(options.ova, { signedBy: options.signedBy, now: options.now() }, signal);
  try {
    const { ovfManager } = session.content;
    if (!ovfManager) throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter imports no OVF');
    const made = await session.call(
      ovfManager,
      'CreateImportSpec',
      {
        ovfDescriptor: ova.descriptor,
        resourcePool: placement.pool,
        datastore: placement.datastore,
        cisp: {
          locale: '',
          deploymentOption: options.size,
          entityName: engine.engine,
          hostSystem: host,
          networkMapping,
          propertyMapping: propertiesOf(engine),
          diskProvisioning: 'thin',
        },
      },
      signal,
    );
    const mark: VmMark = { engine: engine.engine, cloneOf: null, isComplete: false };
    const spec = ownedSpec(made, instanceUuid, withVmMark(NOTES, mark));
    const files = (made.fileItem ?? []).map((item) => {
      const file = ova.files.find(({ name }) => name === item.path);
      if (!file) throw refusal(`vCenter asks for ${item.path}, which the appliance does not hold`);
      return {
        deviceId: item.deviceId,
        sizeBytes: file.sizeBytes,
        isCreated: item.create,
        read: (ended: AbortSignal) => ova.read(file.name, ended),
      };
    });
    const lease = await session.call(
      placement.pool,
      'ImportVApp',
      { spec, folder: placement.folder, host },
      signal,
    );
    const vm = await uploadUnderLease(
      session,
      lease,
      files,
      (fraction) => progress(0.05 + fraction * 0.85, `uploading engine ${engine.engine}`),
      signal,
    ).catch(async (error: unknown) => {
      await removeHalf(session, engine.engine, instanceUuid);
      throw error;
    });
    await markVm(session, vm, withVmMark(NOTES, { ...mark, isComplete: true }), signal);
    progress(0.95, `switching engine ${engine.engine} on`);
    await powerVm(session, vm.value, 'on', signal);
    progress(1, `engine ${engine.engine} is on`);
    return vm.value;
  } finally {
    await ova.close();
  }
}

const NOTES = 'A service engine of Weft. It is made and removed by its controller; do not edit this note.';
const CLEAN_UP_MS = 30_000;

/** The VM that is the engine already. Half of one is removed; one that stands elsewhere is refused. */
async function adopt(
  session: VcenterSession,
  engine: EngineSpec,
  instanceUuid: string,
  signal: AbortSignal,
): Promise<string | null> {
  const found = await findByInstanceUuid(session, instanceUuid, signal);
  if (!found) return null;
  const read = await readOne(session, found, ['name', 'config.annotation', 'runtime.host'], signal);
  const mark = readVmMark(read['config.annotation'] as string | undefined);
  if (mark?.engine !== engine.engine) {
    throw refusal(
      `VM ${read.name} has the instance UUID of engine ${engine.engine}, and no mark of it in its notes: remove it, or restore its notes`,
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
async function removeHalf(session: VcenterSession, engine: string, instanceUuid: string): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const found = await findByInstanceUuid(session, instanceUuid, signal);
    if (!found) return;
    const { 'config.annotation': notes } = await readOne(session, found, ['config.annotation'], signal);
    const mark = readVmMark(notes as string | undefined);
    if (mark?.engine === engine && !mark.isComplete) await removeVm(session, found.value, signal);
  } catch {
    // The error of the upload is the one to tell.
  }
}

async function mapNetworks(
  session: VcenterSession,
  engine: EngineSpec,
  signal: AbortSignal,
): Promise<Vim<'OvfNetworkMapping'>[]> {
  const on = await readHostNetworks(session, engine.host, signal);
  return (['mgmt', 'out', 'in'] as const).map((name) => {
    const network = findSegment(on, engine.segments[name]);
    if (!network) throw segmentNotFound(engine.segments[name], on.name);
    return { name, network: (name === 'out' ? findOut(on, network) : network).ref };
  });
}

/** One line each: property values have no line breaks. */
function propertiesOf({ properties }: EngineSpec): Vim<'KeyValue'>[] {
  const { engine, controller, ca, token } = properties;
  return [
    { key: 'weft.engine', value: engine },
    { key: 'weft.controller', value: controller },
    { key: 'weft.ca', value: Buffer.from(ca).toString('base64') },
    { key: 'weft.token', value: token },
  ];
}

/** The spec that vCenter made, with our mark in it from the first moment. */
function ownedSpec(
  made: Vim<'OvfCreateImportSpecResult'>,
  instanceUuid: string,
  annotation: string,
): Vim<'ImportSpec'> {
  const errors = (made.error ?? []).map(
    ({ localizedMessage, fault }) => localizedMessage || fault.$type || 'a fault without a name',
  );
  const { importSpec } = made;
  if (errors.length > 0 || importSpec?.$type !== 'VirtualMachineImportSpec') {
    throw refusal(`vCenter does not take the appliance: ${errors.join('; ') || 'it is no single VM'}`);
  }
  return { ...importSpec, configSpec: { ...importSpec.configSpec, instanceUuid, annotation } };
}
