/** Methods around the making of VMs: snapshots, templates, guest customisation. */
import { customizationsOf } from '../inventory/services.ts';
import type { VmOverlay } from '../state.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { type MoRef, moRef, type Struct } from '../wire/values.ts';
import { type Call, type Methods, startTask, vmOf } from './method.ts';

const MAX_SNAPSHOTS = 32;
const MAX_CUSTOMIZATIONS = 100;

export const provisioningMethods: Methods = {
  CreateSnapshot_Task: (call) =>
    startTask(call, async () => {
      const overlay = overlayOf(call);
      overlay.snapshots ??= [];
      if (overlay.snapshots.length >= MAX_SNAPSHOTS)
        throw new VimFault('InvalidState', `the VM has ${MAX_SNAPSHOTS} snapshots already`);
      const id = `snapshot-${call.vcenter.nextId()}`;
      overlay.snapshots.push({
        id,
        name: String(call.args.name),
        description: String(call.args.description ?? ''),
        createdAt: Date.now(),
        parent: overlay.snapshots.at(-1)?.id ?? null,
      });
      call.vcenter.changed();
      return moRef('VirtualMachineSnapshot', id);
    }),
  RemoveSnapshot_Task: (call) => {
    const { id } = call.self;
    const found = Object.entries(call.vcenter.state.vms).find(([, { snapshots }]) =>
      snapshots?.some((one) => one.id === id),
    );
    if (!found) throw new VimFault('ManagedObjectNotFound', `there is no snapshot ${id}`, { obj: call.self });
    const [vm, overlay] = found;
    return startTask(
      call,
      async () => {
        const removed = overlay.snapshots!.find((one) => one.id === id)!;
        overlay.snapshots = overlay
          .snapshots!.filter((one) => one.id !== id)
          .map((one) => (one.parent === id ? { ...one, parent: removed.parent } : one));
        call.vcenter.changed();
        return undefined;
      },
      moRef('VirtualMachine', vm),
    );
  },

  MarkAsTemplate: (call) => {
    requireOff(call);
    overlayOf(call).isTemplate = true;
    call.vcenter.changed();
    return undefined;
  },
  MarkAsVirtualMachine: (call) => {
    call.vcenter.object(call.args.pool as MoRef);
    overlayOf(call).isTemplate = false;
    call.vcenter.changed();
    return undefined;
  },

  CustomizeVM_Task: (call) =>
    startTask(call, async () => {
      requireOff(call);
      setCustomization(overlayOf(call), call.args.spec as Struct);
      call.vcenter.changed();
      return undefined;
    }),
  DoesCustomizationSpecExist: (call) => named(call) !== undefined,
  GetCustomizationSpec: (call) => {
    const found = named(call);
    if (found) return found;
    throw new VimFault('NotFound', `there is no customisation specification ${String(call.args.name)}`);
  },
  CreateCustomizationSpec: ({ vcenter, args }) => {
    const item = args.item as Struct;
    const name = String((item.info as Struct).name);
    if (customizationsOf(vcenter).some(({ info }) => (info as Struct).name === name))
      throw new VimFault('AlreadyExists', `customisation specification ${name} is there already`, { name });
    vcenter.state.customizations ??= [];
    if (vcenter.state.customizations.length >= MAX_CUSTOMIZATIONS)
      throw invalidArgument('item', `there are ${MAX_CUSTOMIZATIONS} specifications already`);
    vcenter.state.customizations.push(item);
    vcenter.changed();
    return undefined;
  },
  DeleteCustomizationSpec: ({ vcenter, args }) => {
    const isNamed = ({ info }: Struct): boolean => (info as Struct).name === String(args.name);
    const kept = (vcenter.state.customizations ?? []).filter((one) => !isNamed(one));
    if (kept.length === (vcenter.state.customizations ?? []).length)
      throw new VimFault(
        'NotFound',
        `there is no customisation specification ${String(args.name)} to delete`,
      );
    vcenter.state.customizations = kept;
    vcenter.changed();
    return undefined;
  },
};

/** Remembers a customisation until the VM is switched on. Throws CustomizationPending where there is one already. */
export function setCustomization(overlay: VmOverlay, spec: Struct): void {
  if (overlay.pendingCustomization)
    throw new VimFault('CustomizationPending', 'a customisation is pending already: switch the VM on first');
  const text = JSON.stringify(spec);
  if (/"\$type":"CustomizationUnknown/.test(text))
    throw invalidArgument('spec', 'a name or address is left to be asked for');
  overlay.pendingCustomization = `customization-${String((spec.identity as Struct | undefined)?.$type)}`;
}

function overlayOf({ vcenter, self }: Call): VmOverlay {
  return vcenter.state.vms[vmOf(vcenter, self).id]!;
}

function requireOff({ vcenter, self }: Call): void {
  if (!vmOf(vcenter, self).process) return;
  throw new VimFault(
    'InvalidPowerState',
    'The attempted operation cannot be performed in the current state (Powered on).',
    {
      requestedState: 'poweredOff',
      existingState: 'poweredOn',
    },
  );
}

function named({ vcenter, args }: Call): Struct | undefined {
  return customizationsOf(vcenter).find(({ info }) => (info as Struct).name === String(args.name));
}
