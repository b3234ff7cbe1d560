/** Standard switches as managed objects: a network for each name, and the switch in the host's network information. */
import type { HostRecord } from '../../world/record.ts';
import { switchPolicy, VSWITCH } from '../standard-switch.ts';
import { REFS, type StandardGroupRecord } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { moRef, type Struct } from '../wire/values.ts';
import { entityOf } from './describe.ts';
import { hostRef } from './hosts.ts';
import type { ManagedObject } from './object.ts';

export function standardNetworkObjects(vcenter: Vcenter): ManagedObject[] {
  const { standard } = vcenter.state;
  return standard.networks.map(({ id, name }) => {
    const ref = moRef('Network', id);
    const ids = new Set(standard.nics.filter((one) => one.group === name).map((one) => one.vm));
    return {
      ref,
      properties: {
        ...entityOf(vcenter, ref, name, REFS.networkFolder),
        summary: () => ({ $type: 'NetworkSummary', network: ref, name, accessible: true, ipPoolName: '' }),
        host: () =>
          standard.groups.filter((one) => one.name === name).map((one) => hostRef(vcenter, one.host)),
        vm: () => [...ids].map((vm) => moRef('VirtualMachine', vm)),
      },
    };
  });
}

/** The part of a host's network information that is about its standard switch. */
export function standardSwitchInfo(vcenter: Vcenter, host: HostRecord): Struct {
  const groups = vcenter.state.standard.groups.filter((one) => one.host === host.id);
  const key = `key-vim.host.VirtualSwitch-${VSWITCH}`;
  const bridge: Struct = { $type: 'HostVirtualSwitchBondBridge', nicDevice: ['vmnic0'] };
  return {
    vswitch: [
      {
        name: VSWITCH,
        key,
        numPorts: 2048,
        numPortsAvailable: 2000,
        mtu: 1500,
        portgroup: groups.map(groupKey),
        pnic: ['key-vim.host.PhysicalNic-vmnic0'],
        spec: { numPorts: 128, bridge, policy: switchPolicy(), mtu: 1500 },
      },
    ],
    portgroup: groups.map((group) => ({
      key: groupKey(group),
      vswitch: key,
      computedPolicy: { ...switchPolicy(), ...group.policy },
      spec: { name: group.name, vlanId: group.vlanId, vswitchName: VSWITCH, policy: group.policy },
    })),
  };
}

function groupKey(group: StandardGroupRecord): string {
  return `key-vim.host.PortGroup-${group.name}`;
}
