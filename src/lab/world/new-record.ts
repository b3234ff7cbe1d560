/** How records begin and grow: the record of a new lab, a new VM, and what the inventory shows of one. */
import type { Vm } from '../../hypervisor/platform.ts';
import {
  APPLICATION_FOLDER,
  APPLICATION_TAGS,
  APPLICATION_VMS,
  HOSTS,
  type LabNetwork,
  MANAGEMENT_SEGMENT,
  macOf,
  PRODUCTION_SEGMENT,
  productionAddresses,
  SPINE,
  siteOf,
} from './blueprint.ts';
import type { LabRecord, NicRecord, VmRecord } from './record.ts';

/** What the maker of a VM says; the rest is numbered. */
export type NewVm = Omit<VmRecord, 'id' | 'number' | 'process' | 'nics'> & {
  nics: Pick<NicRecord, 'id' | 'segment' | 'addresses'>[];
};

/** The lab of blueprint.ts, all VMs off. */
export function newRecord(lab: string, network: LabNetwork = 'flat'): LabRecord {
  const record: LabRecord = {
    lab,
    ...(network === 'routed' ? { network } : {}),
    nextVm: 1,
    nextFault: 1,
    hosts: HOSTS.map((host) => ({
      id: host.id,
      uplinkPath: [SPINE, host.rack],
      segments: [
        { name: PRODUCTION_SEGMENT, role: 'production', shadows: null },
        { name: MANAGEMENT_SEGMENT, role: 'management', shadows: null },
      ],
    })),
    vms: [],
    faults: [],
    gateway: null,
  };
  for (const { name, host, station, owner } of APPLICATION_VMS) {
    newVm(record, {
      name,
      host,
      folder: APPLICATION_FOLDER,
      tags: [...APPLICATION_TAGS],
      attributes: { owner },
      engine: null,
      clonedFrom: null,
      nics: [
        {
          id: 'eth0',
          segment: PRODUCTION_SEGMENT,
          addresses: productionAddresses(station, siteOf(network, host)),
        },
      ],
    });
  }
  return record;
}

/** Adds a VM, off, with the next number, id and MACs. */
export function newVm(record: LabRecord, vm: NewVm): VmRecord {
  const number = record.nextVm++;
  const added: VmRecord = {
    ...vm,
    id: `vm-${number}`,
    number,
    process: null,
    nics: vm.nics.map((nic, index) => ({
      ...nic,
      mac: macOf(number, index),
      isEnginePort: vm.engine !== null && nic.id !== 'mgmt',
    })),
  };
  record.vms.push(added);
  return added;
}

/** A VM as the platform contract shows it. */
export function viewOf(vm: VmRecord): Vm {
  return {
    id: vm.id,
    name: vm.name,
    host: vm.host,
    power: vm.process ? 'on' : 'off',
    folder: vm.folder,
    tags: [...vm.tags],
    attributes: { ...vm.attributes },
    engine: vm.engine?.id ?? null,
    ...(vm.clonedFrom === null ? {} : { isClone: true }),
    nics: vm.nics.map(({ id, mac, segment, addresses }) => ({
      id,
      mac,
      segment,
      isConnected: vm.process !== null,
      addresses: [...addresses],
    })),
  };
}
