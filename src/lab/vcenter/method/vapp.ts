/** OVF properties of a VM: what its guest is told at boot. For an engine they are the properties of the engine. */
import { z } from 'zod';
import type { EngineProperties } from '../../../hypervisor/platform.ts';
import type { VmRecord } from '../../world/record.ts';
import type { Vcenter } from '../vcenter.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { isStruct, type Struct } from '../wire/values.ts';

/** The properties after the changes of a VmConfigSpec. Throws InvalidArgument. */
export function changeProperties(present: readonly Struct[], spec: Struct): Struct[] {
  let result = [...present];
  for (const change of (spec.property ?? []) as Struct[]) {
    const info = isStruct(change.info) ? change.info : undefined;
    const key = change.operation === 'remove' ? Number(change.removeKey) : Number(info?.key);
    const before = result.find((one) => one.key === key);
    if (change.operation === 'add' ? before : !before) {
      throw invalidArgument(
        'spec.vAppConfig.property',
        `property ${key} is ${before ? 'there already' : 'not there'}`,
      );
    }
    result = result.filter((one) => one.key !== key);
    if (info && change.operation !== 'remove') result.push({ ...before, ...info });
  }
  return result;
}

/** The properties of an engine among OVF properties, or null where the VM is no engine. */
export function engineProperties(properties: readonly Struct[]): EngineProperties | null {
  const textOf = (id: string) => {
    const found = properties.find((one) => one.id === id);
    return found && String(found.value || found.defaultValue || '');
  };
  const [engine, controller, ca, token] = ['engine', 'controller', 'ca', 'token'].map(textOf);
  if (engine === undefined) return null;
  return { engine, controller: controller ?? '', ca: readCa(ca ?? ''), token: token ?? '' };
}

/** The appliance has it in one line of base64, because property values have no line breaks; a PEM is one already. */
function readCa(text: string): string {
  return text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64').toString('utf8');
}

/** The guest variable in which a running engine looks for properties that have changed since it was deployed. */
export const TOLD_KEY = 'guestinfo.weft.properties';

/** Hands a guest variable to an engine. What is no set of properties the engine would pass over, and so is it here. */
export async function tellEngine(vcenter: Vcenter, vm: VmRecord, text: string): Promise<void> {
  if (!vm.engine) return;
  let told: unknown;
  try {
    told = JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
  } catch {
    return;
  }
  const parsed = Told.safeParse(told);
  if (parsed.success && parsed.data.engine === vm.engine.id)
    await giveProperties(vcenter, vm, vm.engine.id, parsed.data);
}

const Told = z.strictObject({
  engine: z.string(),
  controller: z.string(),
  ca: z.string(),
  token: z.string(),
});

/** Changes the OVF properties of a VM; an engine reads them when it boots next. */
export async function applyProperties(vcenter: Vcenter, vm: VmRecord, spec: Struct): Promise<void> {
  const overlay = vcenter.state.vms[vm.id]!;
  const properties = changeProperties(overlay.properties, spec);
  if (vm.engine) {
    const next = engineProperties(properties);
    if (next && next.engine !== vm.engine.id) {
      throw new VimFault(
        'NotSupported',
        `the lab cannot make engine ${vm.engine.id} be ${next.engine}: import it anew`,
      );
    }
    if (next) await giveProperties(vcenter, vm, vm.engine.id, next);
  }
  overlay.properties = properties;
}

async function giveProperties(
  vcenter: Vcenter,
  vm: VmRecord,
  engine: string,
  properties: EngineProperties,
): Promise<void> {
  const segmentOf = (id: string) => vm.nics.find((nic) => nic.id === id)!.segment;
  const segments = { mgmt: segmentOf('mgmt'), out: segmentOf('out'), in: segmentOf('in') };
  await vcenter.datacenter.vms.deployEngine({ engine, host: vm.host, segments, properties }, false);
}
