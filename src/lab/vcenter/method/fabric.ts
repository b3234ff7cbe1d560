/** Methods of the distributed switch, its port groups and ports, and of the cluster. */

import { portView } from '../inventory/fabric.ts';
import { hostRef } from '../inventory/hosts.ts';
import {
  accessVlan,
  checkSetting,
  defaultPolicy,
  defaultSetting,
  mergeSetting,
  requireOverridable,
} from '../port-setting.ts';
import { portgroupOf, realize, removeUnusedSegments, settingOf } from '../ports.ts';
import type { PortgroupRecord, PortRecord } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { isMoRef, isStruct, type MoRef, moRef, type Struct } from '../wire/values.ts';
import { duplicate, lab } from './machines.ts';
import { type Methods, startTask, vmOf } from './method.ts';

const MAX_PORTGROUPS = 1000;

export const fabricMethods: Methods = {
  AddDVPortgroup_Task: (call) => {
    const specs = call.args.spec as Struct[];
    return startTask(call, async () => {
      for (const spec of specs) addPortgroup(call.vcenter, spec);
      return undefined;
    });
  },

  ReconfigureDVPortgroup_Task: (call) => {
    const group = portgroupOf(call.vcenter.state, call.self.id);
    const spec = call.args.spec as Struct;
    requireVersion(spec.configVersion, group.configVersion, `port group ${group.name}`);
    return startTask(call, async () => {
      requireVersion(spec.configVersion, group.configVersion, `port group ${group.name}`);
      await reconfigurePortgroup(call.vcenter, group, spec);
      return undefined;
    });
  },

  ReconfigureDVPort_Task: (call) => {
    const specs = call.args.port as Struct[];
    const changes = specs.map((spec, index) => checkPort(call.vcenter, spec, `port[${index}]`));
    return startTask(call, async (progress) => {
      for (const [index, { port, spec }] of changes.entries()) {
        requireVersion(spec.configVersion, port.configVersion, `port ${port.key}`);
        if (isStruct(spec.setting)) port.setting = mergeSetting(port.setting, spec.setting, true);
        if (spec.name !== undefined) port.name = String(spec.name);
        port.configVersion++;
        await move(call.vcenter, port);
        call.vcenter.changed();
        progress(((index + 1) / changes.length) * 100);
      }
      await removeUnusedSegments(call.vcenter);
      return undefined;
    });
  },

  FetchDVPorts: ({ vcenter, args }) => {
    vcenter.follow();
    return vcenter.state.ports
      .filter((port) => matches(vcenter, port, (args.criteria ?? {}) as Struct))
      .map((port) => portView(vcenter, port));
  },
  FetchDVPortKeys: ({ vcenter, args }) => {
    vcenter.follow();
    return vcenter.state.ports
      .filter((port) => matches(vcenter, port, (args.criteria ?? {}) as Struct))
      .map((port) => port.key);
  },
  QueryUsedVlanIdInDvs: ({ vcenter }) => {
    const settings = [
      ...vcenter.state.portgroups.map((one) => one.setting),
      ...vcenter.state.ports.map((port) => settingOf(vcenter.state, port)),
    ];
    const ids = settings.flatMap((setting) => {
      const id = (setting.vlan as Struct).vlanId;
      return typeof id === 'number' ? [id] : [];
    });
    return [...new Set(ids)].sort((a, b) => a - b);
  },
  DestroyNetwork: async (call) => {
    await destroyPortgroup(call.vcenter, call.self.id);
    call.vcenter.changed();
    return undefined;
  },

  ReconfigureComputeResource_Task: (call) => {
    const spec = call.args.spec as Struct;
    if (spec.$type !== 'ClusterConfigSpecEx') {
      throw invalidArgument('spec', 'a cluster takes a ClusterConfigSpecEx (xsi:type)');
    }
    return startTask(call, async () => {
      requireMachines(call.vcenter, spec);
      const { cluster } = call.vcenter.state;
      if (call.args.modify !== true) {
        cluster.rules = [];
        cluster.groups = [];
        cluster.drsVms = [];
        cluster.dasVms = [];
      }
      cluster.groups = applyChanges(cluster.groups, spec.groupSpec, 'name', 'groupSpec');
      cluster.drsVms = applyChanges(cluster.drsVms, spec.drsVmConfigSpec, 'key', 'drsVmConfigSpec');
      cluster.dasVms = applyChanges(cluster.dasVms, spec.dasVmConfigSpec, 'key', 'dasVmConfigSpec');
      cluster.rules = applyRules(call.vcenter, cluster.rules, (spec.rulesSpec ?? []) as Struct[]);
      return undefined;
    });
  },
};

/** Removes a port group. Throws ResourceInUse where a VM is on it. */
export async function destroyPortgroup(vcenter: Vcenter, id: string): Promise<void> {
  vcenter.follow();
  const group = portgroupOf(vcenter.state, id);
  const used = vcenter.state.ports.filter((port) => port.portgroup === id && port.connectee);
  if (group.isUplink || used.length > 0) {
    throw new VimFault('ResourceInUse', `The resource '${group.name}' is in use by ${used.length} ports.`, {
      type: 'DistributedVirtualPortgroup',
      name: group.name,
    });
  }
  vcenter.state.portgroups = vcenter.state.portgroups.filter((one) => one !== group);
  delete vcenter.state.customValues[id];
  await removeUnusedSegments(vcenter);
}

function addPortgroup(vcenter: Vcenter, spec: Struct): void {
  const { state } = vcenter;
  const name = String(spec.name ?? '');
  if (name === '' || name.length > 80)
    throw new VimFault('InvalidName', `"${name}" cannot name a port group`, { name });
  const present = state.portgroups.find((one) => one.name === name);
  if (present) throw duplicate(name, moRef('DistributedVirtualPortgroup', present.id));
  if (state.portgroups.length >= MAX_PORTGROUPS)
    throw invalidArgument('spec', `there are ${MAX_PORTGROUPS} port groups already`);
  const type = String(spec.type ?? '');
  if (!['earlyBinding', 'ephemeral', 'lateBinding'].includes(type)) {
    throw invalidArgument('spec.type', `"${type}" is none of earlyBinding, ephemeral, lateBinding`);
  }
  let setting = defaultSetting({ $type: 'VmwareDistributedVirtualSwitchVlanIdSpec', vlanId: 0 });
  if (isStruct(spec.defaultPortConfig)) {
    checkSetting(spec.defaultPortConfig, 'spec.defaultPortConfig', state.pvlans);
    setting = mergeSetting(setting, spec.defaultPortConfig, false);
  }
  state.portgroups.push({
    id: `dvportgroup-${vcenter.nextId()}`,
    name,
    description: String(spec.description ?? ''),
    type,
    isUplink: false,
    numPorts: Number(spec.numPorts ?? 8),
    isAutoExpand: spec.autoExpand !== false,
    configVersion: 0,
    setting,
    policy: isStruct(spec.policy) ? mergePolicy(defaultPolicy(), spec.policy) : defaultPolicy(),
  });
  state.switchConfigVersion++;
}

async function reconfigurePortgroup(vcenter: Vcenter, group: PortgroupRecord, spec: Struct): Promise<void> {
  if (isStruct(spec.defaultPortConfig)) {
    checkSetting(spec.defaultPortConfig, 'spec.defaultPortConfig', vcenter.state.pvlans);
  }
  const ports = vcenter.state.ports.filter((port) => port.portgroup === group.id);
  const setting = isStruct(spec.defaultPortConfig)
    ? mergeSetting(group.setting, spec.defaultPortConfig, false)
    : group.setting;
  if (ports.length > 0) accessVlan(setting, `port group ${group.name}`);
  if (spec.name !== undefined && spec.name !== group.name) {
    const present = vcenter.state.portgroups.find((one) => one.name === spec.name);
    if (present) throw duplicate(String(spec.name), moRef('DistributedVirtualPortgroup', present.id));
    group.name = String(spec.name);
  }
  if (spec.numPorts !== undefined) {
    if (Number(spec.numPorts) < ports.length)
      throw invalidArgument('spec.numPorts', `${ports.length} ports are in use`);
    group.numPorts = Number(spec.numPorts);
  }
  if (spec.description !== undefined) group.description = String(spec.description);
  if (spec.autoExpand !== undefined) group.isAutoExpand = spec.autoExpand === true;
  if (isStruct(spec.policy)) group.policy = mergePolicy(group.policy, spec.policy);
  group.setting = setting;
  group.configVersion++;
  for (const port of ports) await move(vcenter, port);
  await removeUnusedSegments(vcenter);
}

function mergePolicy(present: Struct, change: Struct): Struct {
  return { ...present, ...change, $type: 'VMwareDVSPortgroupPolicy' };
}

function checkPort(vcenter: Vcenter, spec: Struct, path: string): { port: PortRecord; spec: Struct } {
  vcenter.follow();
  if (spec.operation !== 'edit')
    throw new VimFault('NotSupported', `${path}: the lab edits ports, and adds and removes none`);
  const port = vcenter.state.ports.find((one) => one.key === spec.key);
  if (!port) throw new VimFault('NotFound', `${path}: there is no port ${spec.key} on this switch`);
  requireVersion(spec.configVersion, port.configVersion, `port ${port.key}`);
  if (isStruct(spec.setting)) {
    checkSetting(spec.setting, `${path}.setting`, vcenter.state.pvlans);
    const { policy, setting } = portgroupOf(vcenter.state, port.portgroup);
    requireOverridable(spec.setting, policy, port.key);
    accessVlan(
      mergeSetting(setting, mergeSetting(port.setting, spec.setting, true), false),
      `port ${port.key}`,
    );
  }
  return { port, spec };
}

/** Throws ConcurrentAccess where somebody changed the object since it was read, InvalidArgument where none was sent. */
export function requireVersion(sent: Struct[string], present: number, what: string): void {
  if (sent === undefined) throw invalidArgument('configVersion', `say which version of ${what} this changes`);
  if (sent === String(present)) return;
  throw new VimFault(
    'ConcurrentAccess',
    `${what} has been changed since version ${sent}: read it again (now ${present}).`,
  );
}

async function move(vcenter: Vcenter, port: PortRecord): Promise<void> {
  const vm = vcenter.datacenter.record.vms.find((one) => one.id === port.connectee?.vm);
  const nic = vm?.nics.find((one) => one.id === port.connectee?.nic);
  if (vm && nic) await lab(realize(vcenter, vm, nic));
}

function matches(vcenter: Vcenter, port: PortRecord, criteria: Struct): boolean {
  const vm = vcenter.datacenter.record.vms.find((one) => one.id === port.connectee?.vm);
  const keys = criteria.portgroupKey as string[] | undefined;
  const hosts = criteria.host as MoRef[] | undefined;
  const portKeys = criteria.portKey as string[] | undefined;
  return (
    (criteria.connected === undefined || criteria.connected === (port.connectee !== null)) &&
    (criteria.active === undefined || criteria.active === Boolean(vm?.process)) &&
    criteria.uplinkPort !== true &&
    (!keys?.length || keys.includes(port.portgroup) === (criteria.inside !== false)) &&
    (!portKeys?.length || portKeys.includes(port.key)) &&
    (!hosts?.length || hosts.some((host) => vm && hostRef(vcenter, vm.host).id === host.id))
  );
}

/** Applies a list of ArrayUpdateSpecs to a list whose members are told apart by one field. */
function applyChanges(present: Struct[], changes: Struct[string], key: string, what: string): Struct[] {
  let result = [...present];
  const keyOf = (value: Struct[string]) => JSON.stringify(value);
  for (const change of (changes ?? []) as Struct[]) {
    const info = change.info as Struct | undefined;
    const id = keyOf(change.operation === 'remove' ? change.removeKey : info?.[key]);
    const isThere = result.some((one) => keyOf(one[key]) === id);
    if (change.operation === 'add' ? isThere : !isThere) {
      throw invalidArgument(
        `spec.${what}`,
        `${id} is ${isThere ? '' : 'not '}there${isThere ? ' already' : ''}`,
      );
    }
    result = result.filter((one) => keyOf(one[key]) !== id);
    if (change.operation !== 'remove' && info) result.push(info);
  }
  return result;
}

/** Groups, rules and overrides can name only VMs that are there: nobody would take the others out again. */
function requireMachines(vcenter: Vcenter, spec: Struct): void {
  for (const list of [spec.groupSpec, spec.rulesSpec, spec.drsVmConfigSpec, spec.dasVmConfigSpec]) {
    for (const { info } of (list ?? []) as { info?: Struct }[]) {
      const named = [info?.key, ...(Array.isArray(info?.vm) ? info.vm : [])];
      for (const ref of named) if (isMoRef(ref)) vmOf(vcenter, ref);
    }
  }
}

function applyRules(vcenter: Vcenter, present: Struct[], changes: readonly Struct[]): Struct[] {
  let result = [...present];
  for (const change of changes) {
    if (change.operation === 'remove') {
      const before = result.length;
      result = result.filter((one) => one.key !== Number(change.removeKey));
      if (result.length === before)
        throw invalidArgument('spec.rulesSpec.removeKey', `there is no rule ${change.removeKey}`);
      continue;
    }
    const info = change.info as Struct;
    for (const field of ['vmGroupName', 'affineHostGroupName', 'antiAffineHostGroupName']) {
      const name = info[field];
      if (name !== undefined && !vcenter.state.cluster.groups.some((one) => one.name === name)) {
        throw invalidArgument(`spec.rulesSpec.info.${field}`, `there is no group ${name}`);
      }
    }
    const key = change.operation === 'add' ? vcenter.nextId() : info.key;
    const rule = { ...info, key, ruleUuid: vcenter.uuidOf(`rule ${key}`), inCompliance: true };
    result = [...result.filter((one) => one.key !== key), rule];
  }
  return result;
}
