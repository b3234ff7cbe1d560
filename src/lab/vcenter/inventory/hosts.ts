/** Hosts, their cluster, its resource pool, and the datastore. */
import type { HostRecord } from '../../world/record.ts';
import { UPLINK_NAME } from '../port-setting.ts';
import { networksOn } from '../standard-switch.ts';
import { REFS } from '../state.ts';
import { type Vcenter, VERSION } from '../vcenter.ts';
import { dateTime, type MoRef, moRef, type Struct, type Value } from '../wire/values.ts';
import { entityOf } from './describe.ts';
import type { ManagedObject } from './object.ts';
import { about } from './services.ts';
import { standardSwitchInfo } from './standard-switch.ts';

const CORES = 8;
const MHZ = 2600;
const MEMORY_BYTES = 64 * 2 ** 30;
const STARTED = Date.now();

/** Reference of a host of the lab: `host-11` for the first. */
export function hostRef(vcenter: Vcenter, id: string): MoRef {
  const index = vcenter.datacenter.record.hosts.findIndex((host) => host.id === id);
  return moRef('HostSystem', `host-${11 + index}`);
}

/** The lab's host behind a reference, or undefined. */
export function hostOf(vcenter: Vcenter, ref: MoRef): HostRecord | undefined {
  return vcenter.datacenter.record.hosts.find((host) => hostRef(vcenter, host.id).id === ref.id);
}

export function networkSystemRef(host: MoRef): MoRef {
  return moRef('HostNetworkSystem', host.id.replace('host', 'networkSystem'));
}

export function hostObjects(vcenter: Vcenter): ManagedObject[] {
  const { hosts, vms } = vcenter.datacenter.record;
  const hostRefs = hosts.map((host) => hostRef(vcenter, host.id));
  const networks = () => [
    ...vcenter.state.portgroups.map((one) => moRef('DistributedVirtualPortgroup', one.id)),
    ...vcenter.state.standard.networks.map((one) => moRef('Network', one.id)),
  ];
  const vmRefs = (list: readonly { id: string }[]) => list.map((vm) => moRef('VirtualMachine', vm.id));
  const computeSummary = (): Struct => ({
    $type: 'ClusterComputeResourceSummary',
    totalCpu: hosts.length * CORES * MHZ,
    totalMemory: hosts.length * MEMORY_BYTES,
    numCpuCores: hosts.length * CORES,
    numCpuThreads: hosts.length * CORES,
    effectiveCpu: hosts.length * CORES * MHZ,
    effectiveMemory: (hosts.length * MEMORY_BYTES) / 2 ** 20,
    numHosts: hosts.length,
    numEffectiveHosts: hosts.length,
    overallStatus: 'green',
    currentFailoverLevel: 1,
    numVmotions: 0,
  });
  return [
    ...hosts.flatMap((host) => [hostObject(vcenter, host), networkSystem(vcenter, host)]),
    {
      ref: REFS.cluster,
      properties: {
        ...entityOf(vcenter, REFS.cluster, `${vcenter.datacenter.lab}-cluster`, REFS.hostFolder),
        resourcePool: () => REFS.resourcePool,
        host: () => hostRefs,
        datastore: () => [REFS.datastore],
        network: networks,
        summary: computeSummary,
        summaryEx: computeSummary,
        configurationEx: () => ({
          $type: 'ClusterConfigInfoEx',
          ...clusterConfig(vcenter),
          group: vcenter.state.cluster.groups,
        }),
        configuration: () => ({ $type: 'ClusterConfigInfo', ...clusterConfig(vcenter) }),
        lifecycleManaged: () => false,
      },
    },
    {
      ref: REFS.resourcePool,
      properties: {
        ...entityOf(vcenter, REFS.resourcePool, 'Resources', REFS.cluster),
        owner: () => REFS.cluster,
        resourcePool: () => [],
        vm: () => vmRefs(vms),
        config: poolConfig,
        summary: () => ({
          name: 'Resources',
          config: poolConfig(),
          runtime: poolRuntime(hosts.length),
        }),
        runtime: () => poolRuntime(hosts.length),
        childConfiguration: () => [],
      },
    },
    {
      ref: REFS.datastore,
      properties: {
        ...entityOf(vcenter, REFS.datastore, 'lab-store', REFS.datastoreFolder),
        info: () => ({
          $type: 'DatastoreInfo',
          name: 'lab-store',
          url: datastoreUrl(vcenter),
          freeSpace: 2 ** 39,
          maxFileSize: 2 ** 42,
          maxMemoryFileSize: 2 ** 42,
        }),
        summary: () => ({
          datastore: REFS.datastore,
          name: 'lab-store',
          url: datastoreUrl(vcenter),
          capacity: 2 ** 40,
          freeSpace: 2 ** 39,
          accessible: true,
          multipleHostAccess: true,
          type: 'VMFS',
          maintenanceMode: 'normal',
        }),
        host: () =>
          hostRefs.map((key) => ({
            key,
            mountInfo: {
              path: '/vmfs/volumes/lab-store',
              accessMode: 'readWrite',
              mounted: true,
              accessible: true,
            },
          })),
        vm: () => vmRefs(vms),
        capability: () => ({
          directoryHierarchySupported: true,
          rawDiskMappingsSupported: false,
          perFileThinProvisioningSupported: true,
          storageIORMSupported: false,
          nativeSnapshotSupported: false,
        }),
      },
    },
  ];
}

export function datastoreUrl(vcenter: Vcenter): string {
  return `ds:///vmfs/volumes/${vcenter.uuidOf('datastore').slice(0, 17)}/`;
}

/** What a NIC of a host hears of the switch above it by LLDP. */
export function networkHint(host: HostRecord): Struct {
  const rack = host.uplinkPath.at(-1) ?? '';
  return {
    $type: 'PhysicalNicHintInfo',
    device: 'vmnic0',
    lldpInfo: {
      chassisId: rack,
      portId: host.id,
      timeToLive: 120,
      parameter: [{ key: 'System Name', value: rack }],
    },
  };
}

function hostObject(vcenter: Vcenter, host: HostRecord): ManagedObject {
  const ref = hostRef(vcenter, host.id);
  const config = (): Struct => ({
    host: ref,
    product: productOf(),
    network: networkInfo(vcenter, host),
    hyperThread: undefined,
  });
  const runtime = (): Struct => ({
    connectionState: host.failed ? 'notResponding' : 'connected',
    powerState: host.failed ? 'unknown' : 'poweredOn',
    standbyMode: 'none',
    inMaintenanceMode: host.maintenance === 'in',
    bootTime: dateTime(STARTED),
  });
  const hardwareSummary = (): Struct => ({
    vendor: 'Weft',
    model: 'lab host',
    uuid: vcenter.uuidOf(host.id),
    memorySize: MEMORY_BYTES,
    cpuModel: 'simulated',
    cpuMhz: MHZ,
    numCpuPkgs: 1,
    numCpuCores: CORES,
    numCpuThreads: CORES,
    numNics: 1,
    numHBAs: 1,
  });
  return {
    ref,
    properties: {
      ...entityOf(vcenter, ref, host.id, REFS.cluster),
      runtime,
      summary: () => ({
        host: ref,
        hardware: hardwareSummary(),
        runtime: runtime(),
        config: {
          name: host.id,
          port: 443,
          product: productOf(),
          vmotionEnabled: true,
          faultToleranceEnabled: false,
        },
        quickStats: {
          overallCpuUsage: 0,
          overallMemoryUsage: 0,
          uptime: Math.round((Date.now() - STARTED) / 1000),
        },
        overallStatus: 'green',
        rebootRequired: false,
      }),
      hardware: () => ({
        systemInfo: { vendor: 'Weft', model: 'lab host', uuid: vcenter.uuidOf(host.id) },
        cpuInfo: { numCpuPackages: 1, numCpuCores: CORES, numCpuThreads: CORES, hz: MHZ * 1_000_000 },
        cpuPkg: [
          {
            index: 0,
            vendor: 'simulated',
            hz: MHZ * 1_000_000,
            busHz: 100_000_000,
            description: 'simulated',
            threadId: Array.from({ length: CORES }, (_, index): Value => index),
          },
        ],
        memorySize: MEMORY_BYTES,
        smcPresent: false,
      }),
      configManager: () => ({ networkSystem: networkSystemRef(ref) }),
      config,
      vm: () =>
        vcenter.datacenter.record.vms
          .filter((vm) => vm.host === host.id)
          .map((vm) => moRef('VirtualMachine', vm.id)),
      datastore: () => [REFS.datastore],
      network: () => [
        ...vcenter.state.portgroups.map((one) => moRef('DistributedVirtualPortgroup', one.id)),
        ...networksOn(vcenter.state, host.id),
      ],
    },
  };
}

function networkSystem(vcenter: Vcenter, host: HostRecord): ManagedObject {
  return {
    ref: networkSystemRef(hostRef(vcenter, host.id)),
    properties: { networkInfo: () => networkInfo(vcenter, host) },
  };
}

function networkInfo(vcenter: Vcenter, host: HostRecord): Struct {
  const isStandardOnly = vcenter.state.standard.kind === 'standard';
  return {
    ...standardSwitchInfo(vcenter, host),
    proxySwitch: isStandardOnly ? [] : [proxySwitch(vcenter, host)],
    pnic: [
      {
        key: 'key-vim.host.PhysicalNic-vmnic0',
        device: 'vmnic0',
        pci: '0000:00:01.0',
        linkSpeed: { speedMb: 10000, duplex: true },
        spec: {},
        wakeOnLanSupported: false,
        mac: '02:57:fe:00:00:01',
      },
    ],
  };
}

function productOf(): Struct {
  return { ...about('VMware ESXi', 'embeddedEsx', 'HostAgent', VERSION.version) };
}

function clusterConfig(vcenter: Vcenter): Struct {
  const { rules, drsVms, dasVms } = vcenter.state.cluster;
  return {
    dasConfig: { enabled: true, failoverLevel: 1, admissionControlEnabled: false },
    dasVmConfig: dasVms,
    drsConfig: {
      enabled: true,
      enableVmBehaviorOverrides: true,
      defaultVmBehavior: 'manual',
      vmotionRate: 3,
    },
    drsVmConfig: drsVms,
    rule: rules,
  };
}

function poolConfig(): Struct {
  const unlimited = (): Struct => ({
    reservation: 0,
    expandableReservation: true,
    limit: -1,
    shares: { shares: 4000, level: 'normal' },
  });
  return { entity: REFS.resourcePool, cpuAllocation: unlimited(), memoryAllocation: unlimited() };
}

function poolRuntime(hosts: number): Struct {
  const usage = (most: number): Struct => ({
    reservationUsed: 0,
    reservationUsedForVm: 0,
    unreservedForPool: most,
    unreservedForVm: most,
    overallUsage: 0,
    maxUsage: most,
  });
  return { memory: usage(hosts * MEMORY_BYTES), cpu: usage(hosts * CORES * MHZ), overallStatus: 'green' };
}

function proxySwitch(vcenter: Vcenter, host: HostRecord): Struct {
  return {
    dvsUuid: vcenter.state.switchUuid,
    dvsName: `${vcenter.datacenter.lab}-dvs`,
    key: `key-vim.host.ProxySwitch-${host.id}`,
    numPorts: 2048,
    numPortsAvailable: 2000,
    uplinkPort: [{ $type: 'KeyValue', key: `uplink-${host.id}`, value: UPLINK_NAME }],
    mtu: 1500,
    pnic: ['key-vim.host.PhysicalNic-vmnic0'],
    spec: {},
  };
}
