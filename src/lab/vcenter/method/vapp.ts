/** OVF properties of a VM: what its guest is told at boot. For an engine they are the properties of the engine. */
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
    if (next) {
      const segmentOf = (id: string) => vm.nics.find((nic) => nic.id === id)!.segment;
      const segments = { mgmt: segmentOf('mgmt'), out: segmentOf('out'), in: segmentOf('in') };
      await vcenter.datacenter.deployEngine(
        { engine: vm.engine.id, host: vm.host, segments, properties: next },
        false,
      );
    }
  }
  overlay.properties = properties;
}
