/** The distributed switch, its port groups, and its ports as `FetchDVPorts` shows them. */
import { defaultSetting, UPLINK_NAME } from '../port-setting.ts';
import { nicKey, portgroupOf, settingOf } from '../ports.ts';
import { MANAGEMENT_VLAN, type PortgroupRecord, type PortRecord, PRODUCTION_VLAN, REFS } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { dateTime, type MoRef, moRef, type Struct } from '../wire/values.ts';
import { entityOf } from './describe.ts';
import { hostRef } from './hosts.ts';
import type { ManagedObject } from './object.ts';

const STARTED = dateTime(Date.now());

export function fabricObjects(vcenter: Vcenter): ManagedObject[] {
  const { state, datacenter } = vcenter;
  if (state.standard.kind === 'standard') return [];
  const { record } = datacenter;
  const name = switchName(vcenter);
  const hosts = () => record.hosts.map((host) => hostRef(vcenter, host.id));
  const groups = () => state.portgroups.map((one) => moRef('DistributedVirtualPortgroup', one.id));
  const uplinks = state.portgroups.filter((one) => one.isUplink);
  const portCount = () => state.portgroups.reduce((sum, one) => sum + one.numPorts, 0);
  const product = (): Struct => ({
    name: 'DVS',
    vendor: 'VMware, Inc.',
    version: '8.0.0',
    build: '20519528',
    forwardingClass: 'etherswitch',
  });
  return [
    {
      ref: REFS.switch,
      properties: {
        ...entityOf(vcenter, REFS.switch, name, REFS.networkFolder),
        uuid: () => state.switchUuid,
        capability: () => ({
          dvsOperationSupported: true,
          dvPortGroupOperationSupported: true,
          dvPortOperationSupported: true,
          featuresSupported: {
            $type: 'VMwareDVSFeatureCapability',
            networkResourceManagementSupported: false,
            vmDirectPathGen2Supported: false,
            nicTeamingPolicy: ['loadbalance_srcid', 'failover_explicit'],
            networkFilterSupported: false,
            macLearningSupported: true,
            vspanSupported: true,
            lldpSupported: true,
            ipfixSupported: false,
          },
        }),
        summary: () => ({
          name,
          uuid: state.switchUuid,
          numPorts: portCount(),
          productInfo: product(),
          hostMember: hosts(),
          vm: record.vms.map((vm) => moRef('VirtualMachine', vm.id)),
          host: hosts(),
          portgroupName: state.portgroups.map((one) => one.name),
          numHosts: record.hosts.length,
        }),
        config: () => ({
          $type: 'VMwareDVSConfigInfo',
          uuid: state.switchUuid,
          name,
          numStandalonePorts: 0,
          numPorts: portCount(),
          maxPorts: 2 ** 31 - 1,
          uplinkPortPolicy: { $type: 'DVSNameArrayUplinkPortPolicy', uplinkPortName: [UPLINK_NAME] },
          uplinkPortgroup: uplinks.map((one) => moRef('DistributedVirtualPortgroup', one.id)),
          defaultPortConfig: defaultSetting({
            $type: 'VmwareDistributedVirtualSwitchVlanIdSpec',
            vlanId: 0,
          }),
          host: record.hosts.map((host) => ({
            config: {
              host: hostRef(vcenter, host.id),
              maxProxySwitchPorts: 2048,
              backing: {
                $type: 'DistributedVirtualSwitchHostMemberPnicBacking',
                pnicSpec: [
                  {
                    pnicDevice: 'vmnic0',
                    uplinkPortKey: `uplink-${host.id}`,
                    uplinkPortgroupKey: uplinks[0]!.id,
                  },
                ],
              },
            },
            productInfo: product(),
            uplinkPortKey: [`uplink-${host.id}`],
            status: 'up',
          })),
          productInfo: product(),
          configVersion: String(state.switchConfigVersion),
          contact: {},
          createTime: STARTED,
          networkResourceManagementEnabled: false,
          vspanSession: state.vspans ?? [],
          pvlanConfig: state.pvlans,
          maxMtu: 1500,
          linkDiscoveryProtocolConfig: { protocol: 'lldp', operation: 'listen' },
        }),
        portgroup: groups,
        runtime: () => ({
          hostMemberRuntime: record.hosts.map((host) => ({ host: hostRef(vcenter, host.id), status: 'up' })),
        }),
      },
    },
    ...state.portgroups.map((group) => portgroupObject(vcenter, group)),
  ];
}

export function switchName(vcenter: Vcenter): string {
  return `${vcenter.datacenter.lab}-dvs`;
}

/** A port as the wire shows it. */
export function portView(vcenter: Vcenter, port: PortRecord): Struct {
  const { state, datacenter } = vcenter;
  const vm = datacenter.record.vms.find((one) => one.id === port.connectee?.vm);
  const nic = vm?.nics.find((one) => one.id === port.connectee?.nic);
  const setting = settingOf(state, port);
  const { vlanId } = setting.vlan as Struct;
  return {
    $type: 'DistributedVirtualPort',
    key: port.key,
    config: {
      name: port.name,
      setting: markInherited(portgroupOf(state, port.portgroup).setting, port.setting),
      configVersion: String(port.configVersion),
    },
    dvsUuid: state.switchUuid,
    portgroupKey: port.portgroup,
    ...(vm ? { proxyHost: hostRef(vcenter, vm.host) } : {}),
    ...(vm && nic
      ? {
          connectee: {
            connectedEntity: moRef('VirtualMachine', vm.id),
            nicKey: String(nicKey(vm, nic)),
            type: 'vmVnic',
          },
        }
      : {}),
    conflict: false,
    ...(vm && nic
      ? {
          state: {
            runtimeInfo: {
              linkUp: vm.process !== null,
              blocked: false,
              ...(typeof vlanId === 'number' ? { vlanIds: [{ start: vlanId, end: vlanId }] } : {}),
              mtu: 1500,
              ...(vm.process ? { macAddress: nic.mac } : {}),
            },
            stats: noTraffic(),
          },
        }
      : {}),
    connectionCookie: port.connectionCookie,
    lastStatusChange: STARTED,
  };
}

/** The effective setting of a port: what comes from the port group says that it is inherited. */
function markInherited(group: Struct, own: Struct): Struct {
  const marked: Struct = {};
  for (const [name, value] of Object.entries(group)) {
    marked[name] = typeof value === 'object' && 'inherited' in value ? { ...value, inherited: true } : value;
  }
  return { ...marked, ...own, $type: 'VMwareDVSPortSetting' };
}

function portgroupObject(vcenter: Vcenter, group: PortgroupRecord): ManagedObject {
  const { state, datacenter } = vcenter;
  const ref = moRef('DistributedVirtualPortgroup', group.id);
  const ports = state.ports.filter((port) => port.portgroup === group.id);
  const vms = (): MoRef[] =>
    [...new Set(ports.flatMap((port) => port.connectee?.vm ?? []))].map((id) => moRef('VirtualMachine', id));
  return {
    ref,
    properties: {
      ...entityOf(vcenter, ref, group.name, REFS.networkFolder),
      // vCenter's own mark of uplinks.
      ...(group.isUplink ? { tag: () => [{ key: 'SYSTEM/DVS.UPLINKPG' }] } : {}),
      key: () => group.id,
      config: () => ({
        key: group.id,
        name: group.name,
        numPorts: group.numPorts,
        distributedVirtualSwitch: REFS.switch,
        defaultPortConfig: group.setting,
        description: group.description,
        type: group.type,
        policy: group.policy,
        configVersion: String(group.configVersion),
        autoExpand: group.isAutoExpand,
        uplink: group.isUplink,
      }),
      portKeys: () => ports.map((port) => port.key),
      summary: () => ({
        $type: 'NetworkSummary',
        network: ref,
        name: group.name,
        accessible: true,
        ipPoolName: '',
      }),
      host: () => datacenter.record.hosts.map((host) => hostRef(vcenter, host.id)),
      vm: vms,
    },
  };
}

/** VLANs that the fabric above the hosts carries. */
export const CARRIED_VLANS: readonly number[] = [MANAGEMENT_VLAN, PRODUCTION_VLAN];

function noTraffic(): Struct {
  const names = [
    'packetsInMulticast',
    'packetsOutMulticast',
    'bytesInMulticast',
    'bytesOutMulticast',
    'packetsInUnicast',
    'packetsOutUnicast',
    'bytesInUnicast',
    'bytesOutUnicast',
    'packetsInBroadcast',
    'packetsOutBroadcast',
    'bytesInBroadcast',
    'bytesOutBroadcast',
    'packetsInDropped',
    'packetsOutDropped',
    'packetsInException',
    'packetsOutException',
  ];
  return Object.fromEntries(names.map((name) => [name, 0]));
}
