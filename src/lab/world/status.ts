/** What `weft lab status` shows: the inventory together with what only the lab itself knows. */

import type { VcenterAddress } from '../vcenter/index.ts';
import { GATEWAY, type LabNetwork } from './blueprint.ts';
import type { Datacenter } from './datacenter.ts';
import { clientAddresses } from './fabric.ts';
import { describeFault } from './faults.ts';
import { labPaths, namespaceOf } from './names.ts';
import { networkOf } from './record.ts';

export interface LabStatus {
  lab: string;
  runDir: string;
  /** Pid of the daemon. */
  pid: number;
  /** Where engines find the controller, and where that leads (null before there is a controller). */
  gateway: { address: string; port: number; target: { host: string; port: number } | null };
  /** The simulated vCenter in front of the lab, or null where there is none. */
  vcenter: VcenterAddress | null;
  /** What the production network is. */
  network: LabNetwork;
  client: { namespace: string; addresses: string[] };
  hosts: {
    id: string;
    namespace: string;
    uplinkPath: string[];
    /** False after `weft lab fault host`. */
    hasPower: boolean;
    /** Null while it is in service; `waitsFor` says what keeps it from being in maintenance. */
    maintenance: { state: 'entering' | 'in'; waitsFor: { vm: string; reason: string }[] } | null;
    segments: { name: string; role: string; shadows: string | null; ports: string[] }[];
  }[];
  vms: {
    id: string;
    name: string;
    namespace: string;
    host: string;
    power: 'on' | 'off';
    isHung: boolean;
    engine: string | null;
    pid: number | null;
    nics: { id: string; mac: string; segment: string; addresses: string[] }[];
  }[];
  faults: { id: string; description: string }[];
}

export function labStatus(datacenter: Datacenter, vcenter: VcenterAddress | null): LabStatus {
  const { lab, record } = datacenter;
  const nameOf = (id: string) => record.vms.find((vm) => vm.id === id)?.name ?? id;
  return {
    lab,
    runDir: labPaths(lab).runDir,
    pid: process.pid,
    gateway: { ...GATEWAY, target: record.gateway },
    vcenter,
    network: networkOf(record),
    client: { namespace: namespaceOf(lab, 'client'), addresses: clientAddresses() },
    hosts: record.hosts.map((host) => ({
      id: host.id,
      namespace: namespaceOf(lab, host.id),
      uplinkPath: host.uplinkPath,
      hasPower: host.failed === undefined,
      maintenance: host.maintenance
        ? { state: host.maintenance, waitsFor: [...datacenter.maintenance.obstacles(host.id)] }
        : null,
      segments: host.segments.map((segment) => ({
        ...segment,
        ports: record.vms
          .filter((vm) => vm.host === host.id)
          .flatMap((vm) =>
            vm.nics.filter((nic) => nic.segment === segment.name).map((nic) => `${vm.name}/${nic.id}`),
          ),
      })),
    })),
    vms: record.vms.map((vm) => ({
      id: vm.id,
      name: vm.name,
      namespace: namespaceOf(lab, vm.name),
      host: vm.host,
      power: vm.process ? 'on' : 'off',
      isHung: record.faults.some((fault) => fault.kind === 'hang' && fault.vm === vm.id),
      engine: vm.engine?.id ?? null,
      pid: vm.process?.pid ?? null,
      nics: vm.nics.map(({ id, mac, segment, addresses }) => ({ id, mac, segment, addresses })),
    })),
    faults: record.faults.map((fault) => ({ id: fault.id, description: describeFault(fault, nameOf) })),
  };
}
