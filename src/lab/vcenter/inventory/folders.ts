/** The tree: root folder, datacenter, its four folders, and folders of VMs. */

import type { VmRecord } from '../../world/record.ts';
import { REFS } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { type MoRef, moRef } from '../wire/values.ts';
import { entityOf } from './describe.ts';
import type { ManagedObject } from './object.ts';

const VM_TYPES = ['Folder', 'VirtualMachine', 'VirtualApp'];

export function folderObjects(vcenter: Vcenter): ManagedObject[] {
  const { state } = vcenter;
  const networks = () => [
    ...state.portgroups.map((one) => moRef('DistributedVirtualPortgroup', one.id)),
    ...state.standard.networks.map((one) => moRef('Network', one.id)),
  ];
  const switches = state.standard.kind === 'standard' ? [] : [REFS.switch];
  const folder = (
    ref: MoRef,
    name: string,
    parent: MoRef | undefined,
    types: string[],
    children: () => MoRef[],
  ) => ({
    ref,
    properties: {
      ...entityOf(vcenter, ref, name, parent),
      childType: () => types,
      childEntity: children,
    },
  });
  return [
    folder(REFS.rootFolder, 'Datacenters', undefined, ['Folder', 'Datacenter'], () => [REFS.datacenter]),
    {
      ref: REFS.datacenter,
      properties: {
        ...entityOf(vcenter, REFS.datacenter, datacenterName(vcenter), REFS.rootFolder),
        vmFolder: () => REFS.vmFolder,
        hostFolder: () => REFS.hostFolder,
        datastoreFolder: () => REFS.datastoreFolder,
        networkFolder: () => REFS.networkFolder,
        datastore: () => [REFS.datastore],
        network: networks,
        configuration: () => ({ $type: 'DatacenterConfigInfo' }),
      },
    },
    folder(REFS.vmFolder, 'vm', REFS.datacenter, VM_TYPES, () => childrenOf(vcenter, REFS.vmFolder.id)),
    folder(REFS.hostFolder, 'host', REFS.datacenter, ['Folder', 'ComputeResource'], () => [REFS.cluster]),
    folder(REFS.datastoreFolder, 'datastore', REFS.datacenter, ['Folder', 'Datastore', 'StoragePod'], () => [
      REFS.datastore,
    ]),
    folder(
      REFS.networkFolder,
      'network',
      REFS.datacenter,
      ['Folder', 'Network', 'DistributedVirtualSwitch'],
      () => [...switches, ...networks()],
    ),
    ...state.folders.map((one) =>
      folder(moRef('Folder', one.id), one.name, moRef('Folder', one.parent), VM_TYPES, () =>
        childrenOf(vcenter, one.id),
      ),
    ),
  ];
}

/** Name of the one datacenter. */
export function datacenterName(vcenter: Vcenter): string {
  return `${vcenter.datacenter.lab}-dc`;
}

/** The folder that a VM is in: the one it was put into, else the lab's, which is made where it is not there yet. */
export function folderOf(vcenter: Vcenter, vm: VmRecord): MoRef {
  const own = vcenter.state.vms[vm.id]?.folder;
  if (own) return moRef('Folder', own);
  return moRef('Folder', ensureFolder(vcenter, vm.folder));
}

/** Id of the VM folder of a path such as `/lab/shop`. */
export function ensureFolder(vcenter: Vcenter, path: string): string {
  const { folders } = vcenter.state;
  let parent: string = REFS.vmFolder.id;
  for (const name of path.split('/').filter((part) => part !== '')) {
    let next = folders.find((one) => one.parent === parent && one.name === name);
    if (!next) {
      next = { id: `group-v${vcenter.nextId()}`, name, parent };
      folders.push(next);
    }
    parent = next.id;
  }
  return parent;
}

function childrenOf(vcenter: Vcenter, id: string): MoRef[] {
  return [
    ...vcenter.state.folders.filter((one) => one.parent === id).map((one) => moRef('Folder', one.id)),
    ...vcenter.datacenter.record.vms
      .filter((vm) => folderOf(vcenter, vm).id === id)
      .map((vm) => moRef('VirtualMachine', vm.id)),
  ];
}
