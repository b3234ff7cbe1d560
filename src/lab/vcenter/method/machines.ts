/** Methods of virtual machines and folders: power, reconfigure, clone, relocate, rename, destroy. */
import type { NicRecord, VmRecord } from '../../world/record.ts';
import { hostOf, hostRef } from '../inventory/hosts.ts';
import { machineName } from '../inventory/machines.ts';
import {
  connect,
  laneOf,
  nicKey,
  nicOfKey,
  plug,
  plugOf,
  portgroupOf,
  portOfNic,
  realize,
  removeUnusedSegments,
  requireAccessVlan,
  segmentFor,
} from '../ports.ts';
import { requireGroup } from '../standard-switch.ts';
import { REFS, type VmOverlay } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { asVimFault, invalidArgument, VimFault } from '../wire/fault.ts';
import { isStruct, type MoRef, moRef, type Struct } from '../wire/values.ts';
import { destroyPortgroup } from './fabric.ts';
import { type Call, type Methods, startTask, vmOf } from './method.ts';
import { setCustomization } from './provisioning.ts';
import { applyProperties, TOLD_KEY, tellEngine } from './vapp.ts';

export const machineMethods: Methods = {
  PowerOnVM_Task: (call) =>
    startTask(call, async () => {
      const vm = vmOf(call.vcenter, call.self);
      requirePower(vm, 'poweredOff', 'poweredOn');
      const overlay = call.vcenter.state.vms[vm.id]!;
      if (overlay.isImporting)
        throw new VimFault('InvalidState', 'the disks of the VM are still being imported');
      if (overlay.isTemplate) throw new VimFault('NotSupported', 'a template cannot be powered on');
      const host = call.args.host as MoRef | undefined;
      if (host && hostOf(call.vcenter, host)?.id !== vm.host) await relocate(call.vcenter, vm, host);
      for (const nic of vm.nics) await realize(call.vcenter, vm, nic);
      await lab(call.vcenter.datacenter.vms.power(vm.id, 'on'));
      overlay.pendingCustomization = null;
      note(call, 'VmPoweredOnEvent', vm, 'is powered on');
      return undefined;
    }),
  PowerOffVM_Task: (call) => startTask(call, () => powerOff(call)),
  ResetVM_Task: (call) =>
    startTask(call, async () => {
      const vm = vmOf(call.vcenter, call.self);
      requirePower(vm, 'poweredOn', 'poweredOn');
      await lab(call.vcenter.datacenter.vms.power(vm.id, 'reset'));
      note(call, 'VmResettingEvent', vm, 'is reset');
      return undefined;
    }),
  ShutdownGuest: async (call) => {
    await powerOff(call);
    return undefined;
  },
  RebootGuest: async (call) => {
    const vm = vmOf(call.vcenter, call.self);
    requirePower(vm, 'poweredOn', 'poweredOn');
    await lab(call.vcenter.datacenter.vms.power(vm.id, 'reset'));
    return undefined;
  },

  ReconfigVM_Task: (call) => {
    const vm = vmOf(call.vcenter, call.self);
    const spec = call.args.spec as Struct;
    const overlay = call.vcenter.state.vms[vm.id]!;
    if (
      spec.changeVersion !== undefined &&
      !String(spec.changeVersion).endsWith(`#${overlay.changeVersion}`)
    ) {
      throw new VimFault('ConcurrentAccess', 'The object has been changed since it was read.');
    }
    return startTask(call, async () => {
      await reconfigure(call.vcenter, vmOf(call.vcenter, call.self), spec);
      note(call, 'VmReconfiguredEvent', vm, 'is reconfigured');
      return undefined;
    });
  },

  CloneVM_Task: (call) => startTask(call, (progress) => clone(call, progress)),

  RelocateVM_Task: (call) =>
    startTask(call, async (progress) => {
      const spec = call.args.spec as Struct;
      const vm = vmOf(call.vcenter, call.self);
      const from = vm.host;
      progress(10);
      if (spec.host) await relocate(call.vcenter, vm, spec.host as MoRef);
      if (spec.deviceChange) await changeDevices(call.vcenter, vm, spec.deviceChange as Struct[]);
      noteMigration(call, vm, from);
      return undefined;
    }),
  MigrateVM_Task: (call) =>
    startTask(call, async () => {
      const vm = vmOf(call.vcenter, call.self);
      const from = vm.host;
      if (call.args.host) await relocate(call.vcenter, vm, call.args.host as MoRef);
      noteMigration(call, vm, from);
      return undefined;
    }),

  Rename_Task: (call) =>
    startTask(call, async () => {
      rename(call.vcenter, call.vcenter.object(call.self).ref, String(call.args.newName));
      return undefined;
    }),
  Destroy_Task: (call) => {
    const { ref } = call.vcenter.object(call.self);
    return startTask(call, async () => {
      if (ref.$ref === 'DistributedVirtualPortgroup') await destroyPortgroup(call.vcenter, ref.id);
      else if (ref.$ref === 'Folder') removeFolder(call.vcenter, ref);
      else if (ref.$ref === 'VirtualMachine') {
        const vm = vmOf(call.vcenter, ref);
        requirePower(vm, 'poweredOff', 'poweredOff');
        note(call, 'VmRemovedEvent', vm, 'is removed');
        await lab(call.vcenter.datacenter.vms.destroy(vm.id));
        call.vcenter.follow();
        await removeUnusedSegments(call.vcenter);
      } else throw new VimFault('NotSupported', `a ${ref.$ref} of the lab cannot be destroyed`);
      return undefined;
    });
  },

  CreateFolder: ({ vcenter, self, args }) => {
    const name = String(args.name);
    requireVmFolder(vcenter, self);
    if (name === '' || name.length > 80)
      throw new VimFault('InvalidName', `"${name}" cannot name a folder`, { name });
    const present = vcenter.state.folders.find((one) => one.parent === self.id && one.name === name);
    if (present) throw duplicate(name, moRef('Folder', present.id));
    const folder = { id: `group-v${vcenter.nextId()}`, name, parent: self.id };
    vcenter.state.folders.push(folder);
    vcenter.changed();
    return moRef('Folder', folder.id);
  },
  MoveIntoFolder_Task: (call) =>
    startTask(call, async () => {
      requireVmFolder(call.vcenter, call.self);
      for (const ref of call.args.list as MoRef[]) {
        if (ref.$ref !== 'VirtualMachine')
          throw new VimFault('NotSupported', 'only VMs can be moved in the lab');
        call.vcenter.state.vms[vmOf(call.vcenter, ref).id]!.folder = call.self.id;
      }
      return undefined;
    }),
};

/** Names and folders that a new VM may have. Throws DuplicateName, InvalidName. */
export function requireFreeName(vcenter: Vcenter, name: string): void {
  if (name === '' || name.length > 80)
    throw new VimFault('InvalidName', `"${name}" cannot name a VM`, { name });
  const present = vcenter.datacenter.record.vms.find((vm) => machineName(vcenter, vm) === name);
  if (present) throw duplicate(name, moRef('VirtualMachine', present.id));
}

export function duplicate(name: string, object: MoRef): VimFault {
  return new VimFault('DuplicateName', `The name '${name}' already exists.`, { name, object });
}

/** Waits for the lab; what it refuses becomes a fault that says why. */
export async function lab<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw asVimFault(error);
  }
}

/** Moves a VM to another host; its VLANs are there before it is. */
export async function relocate(vcenter: Vcenter, vm: VmRecord, to: MoRef): Promise<void> {
  const host = hostOf(vcenter, to);
  if (!host) throw new VimFault('ManagedObjectNotFound', `there is no host ${to.id}`, { obj: to });
  for (const nic of vm.nics) {
    // The host's own port group of that name may be on another VLAN: the NIC arrives on the one it left.
    const here = laneOf(vcenter, vm, nic);
    const there = laneOf(vcenter, vm, nic, host.id);
    if (here && there) await segmentFor(vcenter, host.id, here.vlan);
  }
  await lab(vcenter.datacenter.vms.migrate(vm.id, host.id));
  for (const nic of vm.nics) await lab(realize(vcenter, vm, nic));
  await removeUnusedSegments(vcenter);
}

async function powerOff(call: Call): Promise<undefined> {
  const vm = vmOf(call.vcenter, call.self);
  requirePower(vm, 'poweredOn', 'poweredOff');
  await lab(call.vcenter.datacenter.vms.power(vm.id, 'off'));
  note(call, 'VmPoweredOffEvent', vm, 'is powered off');
  return undefined;
}

async function reconfigure(vcenter: Vcenter, vm: VmRecord, spec: Struct): Promise<void> {
  const overlay = vcenter.state.vms[vm.id]!;
  const known = [
    'changeVersion',
    'name',
    'annotation',
    'instanceUuid',
    'extraConfig',
    'deviceChange',
    'vAppConfig',
    'managedBy',
    'numCPUs',
    'numCoresPerSocket',
    'memoryMB',
    'guestId',
    'tools',
    'flags',
    'cpuAllocation',
    'memoryAllocation',
  ];
  for (const [name, value] of Object.entries(spec)) {
    if (name !== '$type' && value !== undefined && !known.includes(name)) {
      throw new VimFault('NotSupported', `the lab cannot change ${name} of a VM`);
    }
  }
  if (spec.name !== undefined && spec.name !== machineName(vcenter, vm)) {
    rename(vcenter, moRef('VirtualMachine', vm.id), String(spec.name));
  }
  if (spec.deviceChange) await changeDevices(vcenter, vm, spec.deviceChange as Struct[]);
  if (spec.instanceUuid !== undefined) overlay.instanceUuid = String(spec.instanceUuid);
  if (spec.annotation !== undefined) overlay.annotation = String(spec.annotation).slice(0, 65_536);
  applyExtraConfig(overlay, (spec.extraConfig ?? []) as Struct[]);
  if (((spec.extraConfig ?? []) as Struct[]).some(({ key }) => key === TOLD_KEY)) {
    await tellEngine(vcenter, vm, overlay.extraConfig[TOLD_KEY] ?? '');
  }
  if (isStruct(spec.managedBy))
    overlay.managedBy = spec.managedBy.extensionKey === '' ? null : spec.managedBy;
  if (isStruct(spec.vAppConfig)) await applyProperties(vcenter, vm, spec.vAppConfig);
  overlay.changeVersion++;
}

function applyExtraConfig(overlay: VmOverlay, options: readonly Struct[]): void {
  for (const option of options) {
    const key = String(option.key);
    const value = String(option.value ?? '');
    if (value === '') delete overlay.extraConfig[key];
    else overlay.extraConfig[key] = value.slice(0, 65_536);
  }
  if (Object.keys(overlay.extraConfig).length > 1000)
    throw invalidArgument('spec.extraConfig', 'more than 1000 options');
}

/** NICs move between port groups; nothing else of the hardware changes in the lab. */
async function changeDevices(vcenter: Vcenter, vm: VmRecord, changes: readonly Struct[]): Promise<void> {
  for (const [index, change] of changes.entries()) {
    const path = `spec.deviceChange[${index}]`;
    const device = change.device as Struct;
    const nic = nicOfKey(vm, Number(device.key));
    if (
      !String(device.$type).match(/^Virtual(E1000e?|Vmxnet3?|EthernetCard)$/) ||
      change.operation !== 'edit'
    ) {
      throw new VimFault(
        'NotSupported',
        `${path}: the lab edits network adapters only, and adds and removes none`,
      );
    }
    if (!nic) {
      throw new VimFault('InvalidDeviceSpec', `there is no device ${device.key}`, {
        deviceIndex: index,
        property: `${path}.device.key`,
      });
    }
    requireWholeDevice(vm, nic, device, index, path);
    await moveNic(vcenter, vm, nic, device.backing as Struct, `${path}.device.backing`);
  }
}

/** vCenter takes what is left out of an edited device for a change: the MAC or the connection would be lost. */
function requireWholeDevice(vm: VmRecord, nic: NicRecord, device: Struct, index: number, path: string): void {
  const refuse = (property: string, why: string): never => {
    throw new VimFault('InvalidDeviceSpec', `${path}: ${why}; send the device as it was read`, {
      deviceIndex: index,
      property: `${path}.device.${property}`,
    });
  };
  if (device.$type !== 'VirtualVmxnet3') refuse('key', `device ${nicKey(vm, nic)} is a VirtualVmxnet3`);
  if (String(device.macAddress ?? '').toLowerCase() !== nic.mac)
    refuse('macAddress', 'the MAC address differs');
  const connectable = device.connectable as Struct | undefined;
  if (!connectable) refuse('connectable', 'connectable is missing');
  if (vm.process && connectable!.connected !== true)
    refuse('connectable.connected', 'the adapter would be disconnected, which the lab cannot');
  if (!isStruct(device.backing)) refuse('backing', 'the backing is missing');
}

async function moveNic(
  vcenter: Vcenter,
  vm: VmRecord,
  nic: NicRecord,
  backing: Struct,
  path: string,
): Promise<void> {
  if (backing.$type === 'VirtualEthernetCardNetworkBackingInfo') {
    const group = standardNameFrom(vcenter, backing);
    requireAccessVlan(requireGroup(vcenter, vm.host, group, nicKey(vm, nic) - nicKey(vm, vm.nics[0]!) + 1));
    plug(vcenter, vm, nic, { kind: 'standard', group });
    return lab(realize(vcenter, vm, nic));
  }
  if (backing.$type !== 'VirtualEthernetCardDistributedVirtualPortBackingInfo') {
    throw new VimFault('NotSupported', `${path}: the lab has port groups only`);
  }
  const port = backing.port as Struct;
  if (port.switchUuid !== vcenter.state.switchUuid)
    throw invalidArgument(`${path}.port.switchUuid`, 'there is no such switch');
  const present = portOfNic(vcenter.state, vm, nic);
  const wanted = String(port.portgroupKey ?? present?.portgroup ?? '');
  if (port.portKey !== undefined && port.portKey !== present?.key) {
    const taken = vcenter.state.ports.find((one) => one.key === port.portKey);
    if (taken?.connectee)
      throw new VimFault('ResourceInUse', `port ${port.portKey} is in use`, {
        type: 'DistributedVirtualPort',
        name: String(port.portKey),
      });
    throw invalidArgument(`${path}.port.portKey`, 'there is no such port; name a port group');
  }
  if (!vcenter.state.portgroups.some((one) => one.id === wanted)) {
    throw invalidArgument(`${path}.port.portgroupKey`, `there is no port group ${wanted}`);
  }
  connect(vcenter, vm, nic, portgroupOf(vcenter.state, wanted).id);
  await lab(realize(vcenter, vm, nic));
}

/** Name of the standard port group that a backing is about. Throws InvalidArgument where there is no such network. */
export function standardNameFrom(vcenter: Vcenter, backing: Struct): string {
  const ref = backing.network as MoRef | undefined;
  const named = vcenter.state.standard.networks.find((one) =>
    ref ? one.id === ref.id : one.name === backing.deviceName,
  );
  if (named) return named.name;
  throw invalidArgument('backing.deviceName', `there is no network ${String(backing.deviceName)}`);
}

async function clone(call: Call, progress: (percent: number) => void): Promise<MoRef> {
  const { vcenter, args } = call;
  const source = vmOf(vcenter, call.self);
  const spec = args.spec as Struct;
  const location = spec.location as Struct;
  requireSnapshot(vcenter, source, spec);
  progress(20);
  const made = await copyOf(vcenter, source.id, {
    name: String(args.name),
    folder: args.folder as MoRef,
    host: location.host as MoRef | undefined,
    isTemplate: spec.template === true,
    annotation: null,
    ...(isStruct(spec.config) ? { config: spec.config } : {}),
    ...(isStruct(spec.customization) ? { customization: spec.customization } : {}),
  });
  progress(80);
  const vm = vmOf(vcenter, moRef('VirtualMachine', made));
  if (spec.powerOn === true && spec.template !== true) await lab(vcenter.datacenter.vms.power(made, 'on'));
  note(call, 'VmClonedEvent', vm, `is a clone of ${machineName(vcenter, source)}`, {
    sourceVm: {
      $type: 'VmEventArgument',
      name: machineName(vcenter, source),
      vm: moRef('VirtualMachine', source.id),
    },
  });
  return moRef('VirtualMachine', made);
}

export interface Copy {
  name: string;
  folder: MoRef;
  /** Where the source is, where nothing is said. */
  host: MoRef | undefined;
  isTemplate: boolean;
  /** Null for the notes of the source. */
  annotation: string | null;
  config?: Struct;
  customization?: Struct;
}

/** Copies a VM or template; answers the id of the copy, which is off. */
export async function copyOf(vcenter: Vcenter, from: string, copy: Copy): Promise<string> {
  const source = vmOf(vcenter, moRef('VirtualMachine', from));
  const { name } = copy;
  requireFreeName(vcenter, name);
  requireVmFolder(vcenter, copy.folder);
  const host = hostOf(vcenter, copy.host ?? hostRef(vcenter, source.host));
  if (!host) throw invalidArgument('spec.location.host', 'there is no such host');
  const origin = vcenter.state.vms[source.id]!;
  const annotation = copy.config?.annotation ?? copy.annotation ?? origin.annotation;
  const making: Partial<VmOverlay> = {
    folder: copy.folder.id,
    // In one step with the clone, as everything of a configuration is.
    annotation: String(annotation),
    extraConfig: { ...origin.extraConfig },
    isTemplate: copy.isTemplate,
  };
  const work = () => vcenter.datacenter.vms.clone(source.id, { name, host: host.id }, false);
  const vm = await lab(vcenter.make(name, making, work));
  if (copy.customization) setCustomization(vcenter.state.vms[vm.id]!, copy.customization);
  for (const nic of vm.nics) {
    const before = source.nics.find((one) => one.id === nic.id);
    const into = before && plugOf(vcenter.state, source, before);
    if (into) plug(vcenter, vm, nic, into);
  }
  // First: it may put a NIC on a network that the host has.
  if (copy.config) await reconfigure(vcenter, vm, copy.config);
  for (const nic of vm.nics) await lab(realize(vcenter, vm, nic));
  vcenter.changed();
  return vm.id;
}

/** A clone shares disks with a snapshot of its source, and with nothing else. */
function requireSnapshot(vcenter: Vcenter, source: VmRecord, spec: Struct): void {
  const snapshot = spec.snapshot as MoRef | undefined;
  const isLinked = (spec.location as Struct).diskMoveType === 'createNewChildDiskBacking';
  if (isLinked && !snapshot)
    throw invalidArgument('spec.snapshot', 'disks are shared with a snapshot only, and none is named');
  if (!snapshot) return;
  const { snapshots = [] } = vcenter.state.vms[source.id]!;
  if (!snapshots.some(({ id }) => id === snapshot.id))
    throw invalidArgument('spec.snapshot', `${machineName(vcenter, source)} has no such snapshot`);
}

function rename(vcenter: Vcenter, ref: MoRef, name: string): void {
  if (ref.$ref === 'VirtualMachine') {
    requireFreeName(vcenter, name);
    vcenter.state.vms[ref.id]!.name = name;
  } else if (ref.$ref === 'DistributedVirtualPortgroup') {
    const present = vcenter.state.portgroups.find((one) => one.name === name);
    if (present) throw duplicate(name, moRef('DistributedVirtualPortgroup', present.id));
    const group = portgroupOf(vcenter.state, ref.id);
    group.name = name;
    group.configVersion++;
  } else {
    const folder = vcenter.state.folders.find((one) => one.id === ref.id);
    if (!folder) throw new VimFault('NotSupported', `a ${ref.$ref} of the lab keeps its name`);
    folder.name = name;
  }
}

function removeFolder(vcenter: Vcenter, ref: MoRef): void {
  const { folders, vms } = vcenter.state;
  const children = vcenter.object(ref).properties.childEntity?.() as MoRef[];
  if (
    !folders.some((one) => one.id === ref.id) ||
    children.length > 0 ||
    Object.values(vms).some((vm) => vm.folder === ref.id)
  ) {
    throw new VimFault('NotSupported', 'the lab destroys empty VM folders only');
  }
  vcenter.state.folders = folders.filter((one) => one.id !== ref.id);
}

/** Throws where the folder is none for VMs. */
export function requireVmFolder(vcenter: Vcenter, ref: MoRef): void {
  vcenter.object(ref);
  if (ref.id === REFS.vmFolder.id || vcenter.state.folders.some((one) => one.id === ref.id)) return;
  throw new VimFault('NotSupported', `${ref.id} is no folder for virtual machines`);
}

function requirePower(vm: VmRecord, wanted: 'poweredOn' | 'poweredOff', requested: string): void {
  const existing = vm.process ? 'poweredOn' : 'poweredOff';
  if (existing === wanted) return;
  throw new VimFault(
    'InvalidPowerState',
    `The attempted operation cannot be performed in the current state (${existing === 'poweredOn' ? 'Powered on' : 'Powered off'}).`,
    { requestedState: requested, existingState: existing },
  );
}

function noteMigration(call: Call, vm: VmRecord, from: string): void {
  note(call, 'VmMigratedEvent', vm, `migrated from ${from}`, {
    sourceHost: { $type: 'HostEventArgument', name: from, host: hostRef(call.vcenter, from) },
  });
}

function note(call: Call, type: string, vm: VmRecord, what: string, more: Struct = {}): void {
  const { vcenter, session } = call;
  const name = machineName(vcenter, vm);
  const host = hostRef(vcenter, vm.host);
  vcenter.events.note(type, session.user, `${name} on ${vm.host} ${what}`, {
    host: { $type: 'HostEventArgument', name: vm.host, host },
    vm: { $type: 'VmEventArgument', name, vm: moRef('VirtualMachine', vm.id) },
    ...(/^Vm/.test(type) ? { template: false } : {}),
    ...(type === 'VmReconfiguredEvent' ? { configSpec: {} } : {}),
    ...more,
  });
}
