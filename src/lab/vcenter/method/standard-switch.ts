/** Methods of a host's standard switch: port groups are added, changed and removed, and NICs follow them. */
import { hostOf } from '../inventory/hosts.ts';
import { realize, removeUnusedSegments } from '../ports.ts';
import { addGroup, groupOn, removeGroup, standardNameOf, TRUNK, VSWITCH } from '../standard-switch.ts';
import type { StandardGroupRecord } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { isStruct, type MoRef, moRef, type Struct } from '../wire/values.ts';
import { lab } from './machines.ts';
import type { Methods } from './method.ts';

const MAX_GROUPS = 512;

export const standardSwitchMethods: Methods = {
  AddPortGroup: ({ vcenter, self, args }) => {
    const host = hostOfSystem(vcenter, self);
    const group = groupFrom(host, args.portgrp as Struct, 'portgrp');
    if (groupOn(vcenter.state, host, group.name)) {
      throw new VimFault(
        'AlreadyExists',
        `The specified key, name, or identifier '${group.name}' already exists.`,
        {
          name: group.name,
        },
      );
    }
    if (vcenter.state.standard.groups.filter((one) => one.host === host).length >= MAX_GROUPS) {
      throw invalidArgument('portgrp', `the host has ${MAX_GROUPS} port groups already`);
    }
    addGroup(vcenter, group);
    vcenter.changed();
    return undefined;
  },

  UpdatePortGroup: async ({ vcenter, self, args }) => {
    const host = hostOfSystem(vcenter, self);
    const present = requirePresent(vcenter, host, String(args.pgName));
    const wanted = groupFrom(host, args.portgrp as Struct, 'portgrp');
    if (wanted.name !== present.name) {
      throw new VimFault(
        'NotSupported',
        'the lab does not rename standard port groups: add one, and remove the other',
      );
    }
    Object.assign(present, wanted);
    for (const vm of vcenter.datacenter.record.vms.filter((one) => one.host === host)) {
      for (const nic of vm.nics) {
        if (standardNameOf(vcenter.state, vm, nic) === present.name) await lab(realize(vcenter, vm, nic));
      }
    }
    await removeUnusedSegments(vcenter);
    vcenter.changed();
    return undefined;
  },

  RemovePortGroup: async ({ vcenter, self, args }) => {
    const host = hostOfSystem(vcenter, self);
    const present = requirePresent(vcenter, host, String(args.pgName));
    const users = vcenter.datacenter.record.vms.filter(
      (vm) =>
        vm.host === host &&
        vm.process !== null &&
        vm.nics.some((nic) => standardNameOf(vcenter.state, vm, nic) === present.name),
    );
    if (users.length > 0) {
      throw new VimFault(
        'ResourceInUse',
        `The resource '${present.name}' is in use by ${users.map((vm) => vm.name).join(', ')}.`,
        { type: 'Network', name: present.name },
      );
    }
    removeGroup(vcenter.state, present);
    await removeUnusedSegments(vcenter);
    vcenter.changed();
    return undefined;
  },
};

function hostOfSystem(vcenter: Vcenter, self: MoRef): string {
  const host = hostOf(vcenter, moRef('HostSystem', self.id.replace('networkSystem', 'host')));
  if (self.$ref === 'HostNetworkSystem' && host) return host.id;
  throw new VimFault('ManagedObjectNotFound', `there is no network system ${self.id}`, { obj: self });
}

function requirePresent(vcenter: Vcenter, host: string, name: string): StandardGroupRecord {
  const present = groupOn(vcenter.state, host, name);
  if (!present) throw new VimFault('NotFound', `host ${host} has no port group ${name}`);
  return present;
}

function groupFrom(host: string, spec: Struct, path: string): StandardGroupRecord {
  const name = String(spec.name ?? '');
  if (name === '' || name.length > 256)
    throw invalidArgument(`${path}.name`, `"${name}" cannot name a port group`);
  if (spec.vswitchName !== VSWITCH) {
    throw new VimFault(
      'NotFound',
      `host ${host} has no switch ${String(spec.vswitchName)}; it has ${VSWITCH}`,
    );
  }
  const vlanId = Number(spec.vlanId);
  if (vlanId < 0 || vlanId > TRUNK)
    throw invalidArgument(`${path}.vlanId`, `${vlanId} is no VLAN: use 0 to ${TRUNK}`);
  return { host, name, vlanId, policy: isStruct(spec.policy) ? spec.policy : {} };
}
