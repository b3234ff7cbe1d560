/** Import of an OVA: the descriptor becomes a specification, the specification a VM and a lease for its disks. */
import { hostOf } from '../inventory/hosts.ts';
import type { LeaseDisk } from '../leases.ts';
import { type OvfDescriptor, type OvfProperty, readDescriptor } from '../ovf.ts';
import { type Plug, plug, portgroupOf, realize } from '../ports.ts';
import { REFS, type VmOverlay } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { asVimFault, invalidArgument, VimFault } from '../wire/fault.ts';
import { isStruct, type MoRef, type Struct } from '../wire/values.ts';
import { lab, requireFreeName, requireVmFolder, standardNameFrom } from './machines.ts';
import type { Methods } from './method.ts';
import { changeProperties, engineProperties } from './vapp.ts';

/** Ids of an engine's NICs, in the order of the appliance's hardware. */
const ENGINE_NICS = ['mgmt', 'out', 'in'] as const;
const MAX_ANNOUNCED = 500;

export const importMethods: Methods = {
  ParseDescriptor: ({ args }) => {
    const parameters = args.pdp as Struct;
    const ovf = readDescriptor(String(args.ovfDescriptor), String(parameters.deploymentOption ?? ''));
    return {
      $type: 'OvfParseDescriptorResult',
      network: ovf.networks.map(({ name, description }) => ({ name, description })),
      property: ovf.properties.map(propertyInfo),
      productInfo: { key: 0, ...ovf.product },
      annotation: '',
      defaultEntityName: ovf.name,
      virtualApp: false,
      deploymentOption: ovf.options.map(({ id, label, description }) => ({ key: id, label, description })),
      defaultDeploymentOption: (ovf.options.find((one) => one.isDefault) ?? ovf.options[0])?.id ?? '',
    };
  },

  CreateImportSpec: ({ vcenter, args }) => {
    const parameters = args.cisp as Struct;
    vcenter.object(args.resourcePool as MoRef);
    vcenter.object(args.datastore as MoRef);
    const errors: VimFault[] = [];
    try {
      const ovf = readDescriptor(String(args.ovfDescriptor), String(parameters.deploymentOption ?? ''));
      const result = importSpec(vcenter, ovf, parameters, errors);
      if (errors.length === 0) return result;
    } catch (error) {
      errors.push(asVimFault(error));
    }
    return { $type: 'OvfCreateImportSpecResult', error: errors.map((one) => one.localized()) };
  },

  ImportVApp: (call) => {
    const { vcenter, self, args } = call;
    if (self.id !== REFS.resourcePool.id) throw vcenter.object(self);
    const spec = args.spec as Struct;
    if (spec.$type !== 'VirtualMachineImportSpec') {
      throw new VimFault('NotSupported', 'the lab imports a VirtualMachineImportSpec (xsi:type) only');
    }
    const config = spec.configSpec as Struct;
    const folder = args.folder as MoRef | undefined;
    if (folder) requireVmFolder(vcenter, folder);
    requireFreeName(vcenter, String(config.name ?? ''));
    const disks = disksOf(vcenter, config);
    return vcenter.leases.open(disks, () =>
      makeEngine(vcenter, config, args.host as MoRef | undefined, folder),
    );
  },

  HttpNfcLeaseProgress: ({ vcenter, self, args }) => {
    vcenter.leases.progress(self.id, Number(args.percent));
    return undefined;
  },
  HttpNfcLeaseComplete: ({ vcenter, self }) => {
    vcenter.leases.complete(self.id);
    return undefined;
  },
  HttpNfcLeaseAbort: async ({ vcenter, self, args }) => {
    const given = isStruct(args.fault) ? args.fault : undefined;
    await vcenter.leases.abort(
      self.id,
      given &&
        new VimFault('SystemError', String(given.localizedMessage ?? 'aborted'), {
          reason: 'aborted by the client',
        }),
    );
    return undefined;
  },
  HttpNfcLeaseGetManifest: ({ vcenter, self }) => vcenter.leases.manifest(self.id),
};

export interface PackageDeployment {
  descriptor: string;
  /** The deployment option; empty for the default. */
  option: string;
  /** As OvfCreateImportSpecParams has them. */
  parameters: Struct;
  annotation: string;
  pool: MoRef;
  host: MoRef | undefined;
  folder: MoRef | undefined;
}

/** Deploys a package whose disks are here already; answers the id of the VM, which is off. */
export async function deployPackage(vcenter: Vcenter, deployment: PackageDeployment): Promise<string> {
  vcenter.object(deployment.pool);
  const { host, folder } = deployment;
  if (host) vcenter.object(host);
  if (folder) requireVmFolder(vcenter, folder);
  requireFreeName(vcenter, String(deployment.parameters.entityName));
  const errors: VimFault[] = [];
  const ovf = readDescriptor(deployment.descriptor, deployment.option);
  const { importSpec: spec } = importSpec(vcenter, ovf, deployment.parameters, errors);
  const [problem] = errors;
  if (problem) throw problem;
  const config = { ...((spec as Struct).configSpec as Struct), annotation: deployment.annotation };
  const vm = await makeEngine(vcenter, config, host, folder);
  vcenter.state.vms[vm]!.isImporting = false;
  vcenter.changed();
  return vm;
}

function importSpec(vcenter: Vcenter, ovf: OvfDescriptor, parameters: Struct, errors: VimFault[]): Struct {
  const name = String(parameters.entityName || ovf.name);
  const mappings = (parameters.networkMapping ?? []) as Struct[];
  for (const { name: given } of mappings) {
    if (!ovf.networks.some((one) => one.name === given)) {
      errors.push(new VimFault('OvfNetworkMappingNotSupported', `the package has no network ${given}`));
    }
  }
  const nics = ovf.nics.map((network, index): Struct => {
    const target = mappings.find((one) => one.name === network)?.network as MoRef | undefined;
    const backing = target && backingOf(vcenter, target);
    if (!backing) {
      errors.push(
        invalidArgument(
          'cisp.networkMapping',
          `network ${network} of the package is mapped to no port group`,
        ),
      );
    }
    return {
      $type: 'VirtualDeviceConfigSpec',
      operation: 'add',
      device: {
        $type: 'VirtualVmxnet3',
        key: -(index + 1),
        deviceInfo: { $type: 'Description', label: `Network adapter ${index + 1}`, summary: network },
        ...(backing ? { backing } : {}),
        connectable: { startConnected: true, allowGuestControl: true, connected: true },
        addressType: 'generated',
      },
    };
  });
  const items: Struct[] = [];
  const disks = ovf.hardwareDisks.map((diskId, index): Struct => {
    const disk = ovf.disks.find((one) => one.diskId === diskId);
    const file = ovf.files.find((one) => one.id === disk?.fileRef);
    if (!disk || !file)
      errors.push(
        new VimFault('OvfMissingElement', `disk ${diskId} has no file`, { lineNumber: 0, name: 'File' }),
      );
    const deviceId = importKey(name, index);
    if (file) {
      if (vcenter.leases.announced.size >= MAX_ANNOUNCED) vcenter.leases.announced.clear();
      vcenter.leases.announced.set(deviceId, file.size);
      items.push({
        deviceId,
        path: file.href,
        ...(file.size ? { size: file.size } : {}),
        cimType: 17,
        create: false,
      });
    }
    return {
      $type: 'VirtualDeviceConfigSpec',
      operation: 'add',
      fileOperation: 'create',
      device: {
        $type: 'VirtualDisk',
        key: -(100 + index),
        backing: {
          $type: 'VirtualDiskFlatVer2BackingInfo',
          fileName: '',
          diskMode: 'persistent',
          thinProvisioned: parameters.diskProvisioning === 'thin',
        },
        controllerKey: -200,
        unitNumber: index,
        capacityInKB: Math.ceil((disk?.capacityBytes ?? 0) / 1024),
      },
    };
  });
  const given = new Map(
    ((parameters.propertyMapping ?? []) as Struct[]).map((one) => [String(one.key), String(one.value)]),
  );
  const properties = ovf.properties.map((property, index): Struct => {
    const id = fullKey(property);
    const value = given.get(id);
    given.delete(id);
    if (value !== undefined && !property.isUserConfigurable) {
      errors.push(
        new VimFault('OvfPropertyValue', `property ${id} is not user-configurable`, {
          lineNumber: 0,
          type: property.type,
          value: '',
        }),
      );
    }
    if (value !== undefined && value.length < property.minLength) {
      errors.push(
        new VimFault('OvfPropertyValue', `property ${id} is too short`, {
          lineNumber: 0,
          type: property.type,
          value: '',
        }),
      );
    }
    return {
      $type: 'VAppPropertySpec',
      operation: 'add',
      info: { ...propertyInfo(property, index), ...(value === undefined ? {} : { value }) },
    };
  });
  for (const unknown of given.keys())
    errors.push(invalidArgument('cisp.propertyMapping', `the package has no property ${unknown}`));
  const controller: Struct = {
    $type: 'VirtualDeviceConfigSpec',
    operation: 'add',
    device: { $type: 'ParaVirtualSCSIController', key: -200, busNumber: 0, sharedBus: 'noSharing' },
  };
  return {
    $type: 'OvfCreateImportSpecResult',
    importSpec: {
      $type: 'VirtualMachineImportSpec',
      configSpec: {
        name,
        version: 'vmx-14',
        guestId: 'other5xLinux64Guest',
        files: { vmPathName: '[lab-store]' },
        numCPUs: 1,
        memoryMB: 1024,
        deviceChange: [controller, ...disks, ...nics],
        vAppConfig: {
          $type: 'VmConfigSpec',
          product: [{ $type: 'VAppProductSpec', operation: 'add', info: { key: 0, ...ovf.product } }],
          property: properties,
          ovfEnvironmentTransport: ['com.vmware.guestInfo'],
          installBootRequired: false,
        },
      },
    },
    fileItem: items,
  };
}

/** Makes the engine that the OVF properties name, off, with its NICs on the port groups of the specification. */
async function makeEngine(
  vcenter: Vcenter,
  config: Struct,
  at: MoRef | undefined,
  folder: MoRef | undefined,
): Promise<string> {
  const vApp = (config.vAppConfig ?? {}) as Struct;
  const list = changeProperties([], vApp);
  const properties = engineProperties(list);
  if (!properties) {
    throw new VimFault(
      'OvfUnsupportedPackage',
      'the lab runs engines of Weft only: the package has no OVF property "engine"',
      { lineNumber: 0 },
    );
  }
  if (vcenter.datacenter.record.vms.some((vm) => vm.engine?.id === properties.engine)) {
    throw new VimFault('AlreadyExists', `engine ${properties.engine} is there already`, {
      name: properties.engine,
    });
  }
  const host = at ? hostOf(vcenter, at) : vcenter.datacenter.record.hosts[0];
  if (!host) throw invalidArgument('host', 'there is no such host');
  const plugs = plugsOf(vcenter, config);
  const overlay: Partial<VmOverlay> = {
    isImporting: true,
    name: String(config.name),
    folder: folder?.id ?? REFS.vmFolder.id,
    annotation: String(config.annotation ?? ''),
    properties: list,
    product: ((vApp.product ?? []) as Struct[]).flatMap((one) => (isStruct(one.info) ? [one.info] : [])),
    extraConfig: Object.fromEntries(
      ((config.extraConfig ?? []) as Struct[]).map(({ key, value }) => [String(key), String(value)]),
    ),
    ...instanceUuidFor(vcenter, config),
  };
  const spec = {
    engine: properties.engine,
    host: host.id,
    segments: { mgmt: 'mgmt', out: 'prod', in: 'prod' },
    properties,
  };
  const vm = await lab(
    vcenter.make(properties.engine, overlay, () => vcenter.datacenter.vms.deployEngine(spec, false)),
  );
  try {
    for (const [index, id] of ENGINE_NICS.entries()) {
      const nic = vm.nics.find((one) => one.id === id)!;
      plug(vcenter, vm, nic, plugs[index]!);
      await lab(realize(vcenter, vm, nic));
    }
    vcenter.changed();
  } catch (error) {
    await vcenter.datacenter.vms.destroy(vm.id);
    throw error;
  }
  return vm.id;
}

/** The UUID that the specification asks for, where no VM has it yet: vCenter then chooses another. */
function instanceUuidFor(vcenter: Vcenter, config: Struct): Partial<VmOverlay> {
  const instanceUuid = String(config.instanceUuid ?? '').toLowerCase();
  const isTaken = Object.values(vcenter.state.vms).some((vm) => vm.instanceUuid === instanceUuid);
  return instanceUuid === '' || isTaken ? {} : { instanceUuid };
}

/** How a NIC is put on a network, of whichever kind of switch; undefined where there is none. */
function backingOf(vcenter: Vcenter, network: MoRef): Struct | undefined {
  const { portgroups, standard, switchUuid } = vcenter.state;
  if (portgroups.some((one) => one.id === network.id)) {
    return {
      $type: 'VirtualEthernetCardDistributedVirtualPortBackingInfo',
      port: { switchUuid, portgroupKey: network.id },
    };
  }
  const found = standard.networks.find((one) => one.id === network.id);
  return found && { $type: 'VirtualEthernetCardNetworkBackingInfo', deviceName: found.name, network };
}

/** What the NICs of a specification are on, in the order mgmt, out, in. */
function plugsOf(vcenter: Vcenter, config: Struct): Plug[] {
  const nics = ((config.deviceChange ?? []) as Struct[])
    .map((change) => change.device as Struct)
    .filter((device) => String(device.$type).match(/^Virtual(E1000e?|Vmxnet3?)$/));
  if (nics.length !== ENGINE_NICS.length) {
    throw invalidArgument(
      'spec.configSpec.deviceChange',
      `an engine has the NICs mgmt, out and in, not ${nics.length}`,
    );
  }
  const networkOf = (device: Struct) => String((device.deviceInfo as Struct | undefined)?.summary ?? '');
  return ENGINE_NICS.map((id, index) => {
    const device = nics.find((one) => networkOf(one) === id) ?? nics[index]!;
    const backing = device.backing as Struct | undefined;
    if (backing?.$type === 'VirtualEthernetCardNetworkBackingInfo') {
      return { kind: 'standard', group: standardNameFrom(vcenter, backing) };
    }
    if (backing?.$type !== 'VirtualEthernetCardDistributedVirtualPortBackingInfo') {
      throw invalidArgument('spec.configSpec.deviceChange', `NIC ${id} is on no port group`);
    }
    const portgroup = portgroupOf(vcenter.state, String((backing.port as Struct).portgroupKey)).id;
    return { kind: 'distributed', portgroup };
  });
}

function disksOf(vcenter: Vcenter, config: Struct): LeaseDisk[] {
  return ((config.deviceChange ?? []) as Struct[])
    .map((change) => change.device as Struct)
    .filter((device) => device.$type === 'VirtualDisk')
    .map((device, index) => ({
      importKey: importKey(String(config.name), index),
      size: vcenter.leases.announced.get(importKey(String(config.name), index)) ?? 0,
      capacityBytes: Number(device.capacityInKB) * 1024,
      uploaded: null,
    }));
}

function importKey(name: string, disk: number): string {
  return `/${name}/ParaVirtualSCSIController0:${disk}`;
}

function fullKey(property: OvfProperty): string {
  return [property.classId, property.key, property.instanceId].filter((part) => part !== '').join('.');
}

function propertyInfo(property: OvfProperty, key: number): Struct {
  return {
    $type: 'VAppPropertyInfo',
    key,
    classId: property.classId,
    instanceId: property.instanceId,
    id: property.key,
    label: property.label,
    type: property.isPassword ? `password(${property.minLength}..)` : property.type,
    userConfigurable: property.isUserConfigurable,
    defaultValue: property.defaultValue,
  };
}
