/**
 * The two ways by which an engine's VM comes to be, off and marked as not whole: an import under a lease, or a
 * deployment from a content library that the appliance was uploaded to.
 */
import type { EngineSpec, Progress } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { refusal } from './host-networks.ts';
import { uploadUnderLease } from './lease.ts';
import { ensureAppliance } from './library.ts';
import { deployOvf } from './library-deploy.ts';
import { readOne } from './objects.ts';
import type { Ova } from './ova.ts';
import type { Placement } from './placement.ts';
import type { RestClient } from './rest.ts';
import { untilFree } from './retry.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export interface EngineImport {
  engine: EngineSpec;
  size: string;
  host: MoRef;
  placement: Placement;
  networks: readonly Vim<'OvfNetworkMapping'>[];
  instanceUuid: string;
  /** Notes with the mark, not whole. */
  annotation: string;
  ova: Ova;
}

/** By import spec, lease and upload. */
export async function importDirectly(
  session: VcenterSession,
  wanted: EngineImport,
  progress: Progress,
  signal: AbortSignal,
): Promise<MoRef> {
  const { engine, size, host, placement, networks, ova } = wanted;
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
        deploymentOption: size,
        entityName: engine.engine,
        hostSystem: host,
        networkMapping: [...networks],
        propertyMapping: propertiesOf(engine),
        diskProvisioning: 'thin',
      },
    },
    signal,
  );
  const spec = ownedSpec(made, wanted.instanceUuid, wanted.annotation);
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
  const target = { spec, folder: placement.folder, host };
  const lease = await session.call(placement.pool, 'ImportVApp', target, signal);
  const tell = (fraction: number): void =>
    progress(0.05 + fraction * 0.85, `uploading engine ${engine.engine}`);
  return uploadUnderLease(session, lease, files, tell, signal);
}

/** From an item of a content library, which is uploaded first where it is not there. */
export async function deployFromLibrary(
  session: VcenterSession,
  rest: RestClient,
  library: string,
  wanted: EngineImport,
  progress: Progress,
  signal: AbortSignal,
): Promise<MoRef> {
  const { engine, size, host, placement, networks, instanceUuid, annotation, ova } = wanted;
  const tell = (fraction: number): void =>
    progress(0.05 + fraction * 0.65, `uploading the appliance to content library ${library}`);
  const item = await ensureAppliance(session, rest, library, ova, tell, signal);
  progress(0.7, `deploying engine ${engine.engine} from ${item.name}`);
  const vm = await deployOvf(
    rest,
    item,
    {
      name: engine.engine,
      annotation,
      host,
      placement,
      networks: new Map(networks.map(({ name, network }) => [name, network])),
      properties: propertiesOf(engine),
      size,
    },
    signal,
  );
  // What the deployment does not take over: the instance UUID, and where a server drops them, notes and properties.
  const property = await missingProperties(session, vm, engine, signal);
  const spec = { instanceUuid, annotation, ...(property.length > 0 ? { vAppConfig: { property } } : {}) };
  await untilFree(() => session.task(vm, 'ReconfigVM_Task', { spec }, signal), signal);
  return vm;
}

/** Whether a VM without a mark is one that a deployment of this engine left before it could be marked. */
export async function isUnmarkedHalf(
  session: VcenterSession,
  vm: MoRef,
  engine: string,
  signal: AbortSignal,
): Promise<boolean> {
  const read = await readOne(session, vm, ['runtime.powerState', 'config.vAppConfig'], signal);
  const vApp = read['config.vAppConfig'] as Vim<'VmConfigInfo'> | undefined;
  const isOurs = (vApp?.product ?? []).some(({ vendor, classId }) => vendor === 'Weft' && classId === 'weft');
  const own = (vApp?.property ?? []).find(({ id }) => id === 'engine');
  return (
    isOurs &&
    own !== undefined &&
    [undefined, '', engine].includes(own.value) &&
    read['runtime.powerState'] === 'poweredOff'
  );
}

/** An error without what must not be told, which vCenter may repeat when it refuses a property. */
export function withoutSecrets(error: unknown, { properties }: EngineSpec): unknown {
  const { token } = properties;
  if (!(error instanceof Error) || token === '' || !`${error.message} ${error.cause}`.includes(token))
    return error;
  const message = error.message.replaceAll(token, '***');
  return error instanceof WeftError ? new WeftError(error.code, message) : new Error(message);
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

async function missingProperties(
  session: VcenterSession,
  vm: MoRef,
  engine: EngineSpec,
  signal: AbortSignal,
): Promise<Vim<'VAppPropertySpec'>[]> {
  const { 'config.vAppConfig': read } = await readOne(session, vm, ['config.vAppConfig'], signal);
  const { property = [] } = (read ?? {}) as Partial<Vim<'VmConfigInfo'>>;
  return propertiesOf(engine).flatMap(({ key, value }) => {
    const info = property.find(({ classId, id }) => `${classId}.${id}` === key);
    if (!info)
      throw refusal(`the deployed VM has no OVF property ${key}: is the appliance one of this version?`);
    return info.value === value ? [] : [{ operation: 'edit', info: { ...info, value } }];
  });
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
