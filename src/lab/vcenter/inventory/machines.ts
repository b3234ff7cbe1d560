/** Virtual machines: the lab's VMs with their NICs on distributed ports, guest addresses, and what vCenter adds. */
import type { NicRecord, VmRecord } from '../../world/record.ts';
import { nicKey, portgroupOf, portOfNic } from '../ports.ts';
import { networkOf, standardNameOf } from '../standard-switch.ts';
import { REFS, type VmOverlay } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { dateTime, type MoRef, moRef, type Struct } from '../wire/values.ts';
import { entityOf } from './describe.ts';
import { folderOf } from './folders.ts';
import { datastoreUrl, hostRef } from './hosts.ts';
import type { ManagedObject } from './object.ts';

const GUEST = { id: 'other5xLinux64Guest', name: 'Other 5.x or later Linux (64-bit)', family: 'linuxGuest' };
const MEMORY_MB = 1024;
const CPUS = 1;

export function machineObjects(vcenter: Vcenter): ManagedObject[] {
  return vcenter.datacenter.record.vms.map((vm) => machineObject(vcenter, vm));
}

/** Name that people see. */
export function machineName(vcenter: Vcenter, vm: VmRecord): string {
  return vcenter.state.vms[vm.id]?.name ?? vm.name;
}

function machineObject(vcenter: Vcenter, vm: VmRecord): ManagedObject {
  const ref = moRef('VirtualMachine', vm.id);
  const overlay = vcenter.state.vms[vm.id]!;
  const name = machineName(vcenter, vm);
  const isOn = vm.process !== null;
  const failed = vcenter.datacenter.record.hosts.find((host) => host.id === vm.host)?.failed;
  const vmPath = `[lab-store] ${name}/${name}.vmx`;
  const addresses = isOn ? vm.nics.flatMap((nic) => nic.addresses) : [];
  const tools = isOn ? 'toolsOk' : 'toolsNotRunning';

  const runtime = (): Struct => ({
    device: vm.nics.map((nic) => ({ $type: 'VirtualMachineDeviceRuntimeInfo', key: nicKey(vm, nic) })),
    host: hostRef(vcenter, vm.host),
    // What was known last is what is shown of a VM whose host does not respond.
    connectionState: failed ? 'disconnected' : 'connected',
    powerState: isOn || failed?.vms.includes(vm.id) ? 'poweredOn' : 'poweredOff',
    faultToleranceState: 'notConfigured',
    toolsInstallerMounted: false,
    maxCpuUsage: 2600,
    maxMemoryUsage: MEMORY_MB,
    numMksConnections: 0,
    recordReplayState: 'inactive',
    onlineStandby: false,
    consolidationNeeded: false,
    cleanPowerOff: !isOn,
    paused: false,
  });
  const configSummary = (): Struct => ({
    name,
    template: overlay.isTemplate,
    vmPathName: vmPath,
    memorySizeMB: MEMORY_MB,
    cpuReservation: 0,
    memoryReservation: 0,
    numCpu: CPUS,
    numEthernetCards: vm.nics.length,
    numVirtualDisks: 1,
    uuid: overlay.uuid,
    instanceUuid: overlay.instanceUuid,
    guestId: GUEST.id,
    guestFullName: GUEST.name,
    annotation: overlay.annotation,
    ...(overlay.managedBy ? { managedBy: overlay.managedBy } : {}),
    hwVersion: 'vmx-14',
  });
  const guestSummary = (): Struct => ({
    guestId: GUEST.id,
    guestFullName: GUEST.name,
    toolsStatus: tools,
    toolsVersionStatus2: 'guestToolsUnmanaged',
    toolsRunningStatus: isOn ? 'guestToolsRunning' : 'guestToolsNotRunning',
    ...(isOn ? { hostName: vm.name } : {}),
    ...(addresses[0] ? { ipAddress: addresses[0] } : {}),
    hwVersion: 'vmx-14',
  });
  const quickStats = (): Struct => {
    const load = vcenter.datacenter.stats([vm.id])[0];
    return {
      overallCpuUsage: Math.round((load?.cpu ?? 0) * 2600),
      hostMemoryUsage: Math.round((load?.memoryBytes ?? 0) / 2 ** 20),
      guestHeartbeatStatus: isOn ? 'green' : 'gray',
      uptimeSeconds: 0,
    };
  };
  return {
    ref,
    properties: {
      ...entityOf(vcenter, ref, name, folderOf(vcenter, vm)),
      capability: () => ({}),
      config: () => config(vcenter, vm, overlay, name, vmPath),
      environmentBrowser: () => moRef('EnvironmentBrowser', `envbrowser-${vm.number}`),
      resourcePool: () => REFS.resourcePool,
      runtime,
      guest: () => ({
        toolsStatus: tools,
        toolsVersionStatus2: 'guestToolsUnmanaged',
        toolsRunningStatus: isOn ? 'guestToolsRunning' : 'guestToolsNotRunning',
        toolsVersion: '12352',
        ...(isOn
          ? { guestId: GUEST.id, guestFamily: GUEST.family, guestFullName: GUEST.name, hostName: vm.name }
          : {}),
        ...(addresses[0] ? { ipAddress: addresses[0] } : {}),
        net: isOn ? vm.nics.map((nic) => guestNic(vcenter, vm, nic)) : [],
        guestState: isOn ? 'running' : 'notRunning',
        guestOperationsReady: isOn,
      }),
      summary: () => ({
        vm: ref,
        runtime: runtime(),
        guest: guestSummary(),
        config: configSummary(),
        storage: { committed: 2 ** 20, uncommitted: 0, unshared: 2 ** 20, timestamp: dateTime(0) },
        quickStats: quickStats(),
        overallStatus: 'green',
        customValue: vcenter.customValues(vm.id),
      }),
      datastore: () => [REFS.datastore],
      network: () => networksOf(vcenter, vm),
      snapshot: () => snapshotInfo(ref, overlay),
      rootSnapshot: () =>
        (overlay.snapshots ?? [])
          .filter(({ parent }) => parent === null)
          .map(({ id }) => moRef('VirtualMachineSnapshot', id)),
      guestHeartbeatStatus: () => (isOn ? 'green' : 'gray'),
    },
  };
}

/** The snapshots of a VM, as objects. */
export function snapshotObjects(vcenter: Vcenter): ManagedObject[] {
  return Object.entries(vcenter.state.vms).flatMap(([vm, { snapshots = [] }]) =>
    snapshots.map(({ id }) => ({
      ref: moRef('VirtualMachineSnapshot', id),
      properties: {
        vm: () => moRef('VirtualMachine', vm),
        childSnapshot: () =>
          snapshots.filter((one) => one.parent === id).map((one) => moRef('VirtualMachineSnapshot', one.id)),
      },
    })),
  );
}

function snapshotInfo(vm: MoRef, { snapshots = [] }: VmOverlay): Struct | undefined {
  const current = snapshots.at(-1);
  if (!current) return undefined;
  const tree = (parent: string | null): Struct[] =>
    snapshots
      .filter((one) => one.parent === parent)
      .map((one, index) => ({
        snapshot: moRef('VirtualMachineSnapshot', one.id),
        vm,
        name: one.name,
        description: one.description,
        id: index + 1,
        createTime: dateTime(one.createdAt),
        state: 'poweredOff',
        quiesced: false,
        childSnapshotList: tree(one.id),
      }));
  return { currentSnapshot: moRef('VirtualMachineSnapshot', current.id), rootSnapshotList: tree(null) };
}

/** Port groups that the VM's NICs are on, each once. */
function networksOf(vcenter: Vcenter, vm: VmRecord): MoRef[] {
  const { state } = vcenter;
  const distributed = vm.nics.flatMap((nic) => portOfNic(state, vm, nic)?.portgroup ?? []);
  const standard = vm.nics.flatMap((nic) => standardNameOf(state, vm, nic) ?? []);
  return [
    ...[...new Set(distributed)].map((id) => moRef('DistributedVirtualPortgroup', id)),
    ...[...new Set(standard)].flatMap((name) => networkOf(state, name) ?? []),
  ];
}

function config(vcenter: Vcenter, vm: VmRecord, overlay: VmOverlay, name: string, vmPath: string): Struct {
  const vApp: Struct = {
    $type: 'VmConfigInfo',
    product: overlay.product,
    property: overlay.properties,
    ipAssignment: {},
    ovfEnvironmentTransport: ['com.vmware.guestInfo'],
    installBootRequired: false,
    installBootStopDelay: 0,
  };
  return {
    changeVersion: `${dateTime(0)}#${overlay.changeVersion}`,
    modified: dateTime(0),
    name,
    guestFullName: GUEST.name,
    version: 'vmx-14',
    uuid: overlay.uuid,
    instanceUuid: overlay.instanceUuid,
    template: overlay.isTemplate,
    guestId: GUEST.id,
    alternateGuestName: '',
    annotation: overlay.annotation,
    files: { vmPathName: vmPath, logDirectory: `[lab-store] ${name}/` },
    tools: {
      toolsVersion: 12352,
      ...(overlay.pendingCustomization ? { pendingCustomization: overlay.pendingCustomization } : {}),
    },
    flags: {},
    defaultPowerOps: {},
    hardware: {
      numCPU: CPUS,
      numCoresPerSocket: 1,
      memoryMB: MEMORY_MB,
      device: [...fixedDevices(name), ...vm.nics.map((nic) => nicDevice(vcenter, vm, nic))],
    },
    extraConfig: Object.entries(overlay.extraConfig).map(([key, value]) => ({
      $type: 'OptionValue',
      key,
      value,
    })),
    datastoreUrl: [{ name: 'lab-store', url: datastoreUrl(vcenter) }],
    ...(overlay.properties.length > 0 ? { vAppConfig: vApp } : {}),
    ...(overlay.managedBy ? { managedBy: overlay.managedBy } : {}),
    firmware: 'bios',
  };
}

function fixedDevices(name: string): Struct[] {
  return [
    {
      $type: 'VirtualPCIController',
      key: 100,
      deviceInfo: { label: 'PCI controller 0', summary: 'PCI controller 0' },
      busNumber: 0,
    },
    {
      $type: 'ParaVirtualSCSIController',
      key: 1000,
      deviceInfo: { label: 'SCSI controller 0', summary: 'VMware paravirtual SCSI' },
      controllerKey: 100,
      unitNumber: 3,
      busNumber: 0,
      device: [2000],
      sharedBus: 'noSharing',
      scsiCtlrUnitNumber: 7,
    },
    {
      $type: 'VirtualDisk',
      key: 2000,
      deviceInfo: { label: 'Hard disk 1', summary: '1,048,576 KB' },
      backing: {
        $type: 'VirtualDiskFlatVer2BackingInfo',
        fileName: `[lab-store] ${name}/${name}.vmdk`,
        datastore: REFS.datastore,
        diskMode: 'persistent',
        thinProvisioned: true,
      },
      controllerKey: 1000,
      unitNumber: 0,
      capacityInKB: 2 ** 20,
      capacityInBytes: 2 ** 30,
    },
  ];
}

/** The device of a NIC, as `config.hardware.device` shows it. */
export function nicDevice(vcenter: Vcenter, vm: VmRecord, nic: NicRecord): Struct {
  const port = portOfNic(vcenter.state, vm, nic);
  const group = standardNameOf(vcenter.state, vm, nic);
  const isOn = vm.process !== null;
  const key = nicKey(vm, nic);
  return {
    $type: 'VirtualVmxnet3',
    key,
    deviceInfo: {
      label: `Network adapter ${key - 3999}`,
      summary: group ?? `DVSwitch: ${vcenter.state.switchUuid}`,
    },
    ...(group === undefined
      ? {}
      : {
          backing: {
            $type: 'VirtualEthernetCardNetworkBackingInfo',
            deviceName: group,
            useAutoDetect: false,
            network: networkOf(vcenter.state, group),
          },
        }),
    ...(port
      ? {
          backing: {
            $type: 'VirtualEthernetCardDistributedVirtualPortBackingInfo',
            port: {
              switchUuid: vcenter.state.switchUuid,
              portgroupKey: port.portgroup,
              portKey: port.key,
              connectionCookie: port.connectionCookie,
            },
          },
        }
      : {}),
    connectable: {
      startConnected: true,
      allowGuestControl: true,
      connected: isOn,
      status: isOn ? 'ok' : 'untried',
    },
    controllerKey: 100,
    unitNumber: 7 + key - 4000,
    addressType: 'assigned',
    macAddress: nic.mac,
    wakeOnLanEnabled: true,
    uptCompatibilityEnabled: false,
  };
}

function guestNic(vcenter: Vcenter, vm: VmRecord, nic: NicRecord): Struct {
  const port = portOfNic(vcenter.state, vm, nic);
  const network = port
    ? portgroupOf(vcenter.state, port.portgroup).name
    : standardNameOf(vcenter.state, vm, nic);
  return {
    ...(network === undefined ? {} : { network }),
    ipAddress: nic.addresses,
    macAddress: nic.mac,
    connected: true,
    deviceConfigId: nicKey(vm, nic),
    ipConfig: {
      ipAddress: nic.addresses.map((ipAddress) => ({
        ipAddress,
        prefixLength: ipAddress.includes(':') ? 64 : 24,
        state: 'preferred',
      })),
    },
  };
}
