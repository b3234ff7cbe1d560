/** The settings of the distributed switch that can be changed: its private VLANs, and its sessions of port mirroring. */
import { REFS } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { isStruct, type Struct } from '../wire/values.ts';
import { requireVersion } from './fabric.ts';
import { lab } from './machines.ts';
import { type Methods, startTask } from './method.ts';

const TYPES = ['promiscuous', 'isolated', 'community'];

export const switchMethods: Methods = {
  ReconfigureDvs_Task: (call) => {
    const { state } = call.vcenter;
    const spec = call.args.spec as Struct;
    requireVersion(spec.configVersion, state.switchConfigVersion, 'the switch');
    if (spec.$type !== 'VMwareDVSConfigSpec') {
      throw invalidArgument('spec', 'it must be a VMwareDVSConfigSpec (xsi:type) for this switch');
    }
    const others = Object.keys(spec).filter(
      (name) =>
        !['$type', 'configVersion', 'pvlanConfigSpec', 'vspanConfigSpec'].includes(name) &&
        spec[name] !== undefined,
    );
    if (others.length > 0) {
      throw new VimFault('NotSupported', `the lab cannot change ${others.join(', ')} of its switch`);
    }
    const vspans = changedVspans(call.vcenter, (spec.vspanConfigSpec ?? []) as Struct[]);
    return startTask(call, async () => {
      requireVersion(spec.configVersion, state.switchConfigVersion, 'the switch');
      state.pvlans = changedPvlans(state.pvlans, (spec.pvlanConfigSpec ?? []) as Struct[]);
      if (spec.vspanConfigSpec !== undefined) await mirrorAs(call.vcenter, vspans);
      state.switchConfigVersion++;
      return undefined;
    });
  },
};

/** The sessions as they would be. Throws what a real vCenter does of what the lab cannot mirror. */
function changedVspans(vcenter: Vcenter, changes: readonly Struct[]): Struct[] {
  let sessions = [...(vcenter.state.vspans ?? [])];
  for (const [index, { operation, vspanSession: session }] of changes.entries()) {
    const path = `spec.vspanConfigSpec[${index}]`;
    if (!isStruct(session)) throw invalidArgument(`${path}.vspanSession`, 'it is missing');
    const present = sessions.find((one) => one.key === session.key);
    if (operation === 'remove' || operation === 'edit') {
      if (!present) throw new VimFault('NotFound', `${path}: there is no session ${String(session.key)}`);
      sessions = sessions.filter((one) => one !== present);
    } else if (operation !== 'add')
      throw invalidArgument(`${path}.operation`, 'it is none of add, edit, remove');
    if (operation === 'remove') continue;
    if (sessions.some((one) => one.name === session.name)) {
      throw new VimFault('DuplicateName', `there is a session ${String(session.name)} already`, {
        name: String(session.name),
        object: REFS.switch,
      });
    }
    requireMirrorable(vcenter, session, `${path}.vspanSession`);
    const key = operation === 'add' ? `vspan-${vcenter.nextId()}` : session.key;
    sessions.push({ ...session, key: key as string });
  }
  return sessions;
}

function requireMirrorable(vcenter: Vcenter, session: Struct, path: string): void {
  if (session.sessionType !== undefined && session.sessionType !== 'dvPortMirror') {
    throw new VimFault(
      'NotSupported',
      `${path}: the lab mirrors ports of one host to ports of the same, as dvPortMirror`,
    );
  }
  const { sources, targets } = portsOf(session);
  if (targets.length !== 1) throw invalidArgument(`${path}.destinationPort`, 'the lab mirrors to one port');
  vcenter.follow();
  for (const key of [...sources, ...targets]) {
    if (vcenter.state.ports.every((port) => port.key !== key)) {
      throw new VimFault('NotFound', `${path}: there is no port ${key} on this switch`);
    }
  }
  const [target = ''] = targets;
  if (sources.includes(target)) throw invalidArgument(path, `port ${target} cannot be mirrored to itself`);
  if (engineOn(vcenter, target) === null) {
    throw new VimFault('NotSupported', `${path}: the lab mirrors to the port of an engine's NIC in`);
  }
}

function portsOf(session: Struct): { sources: string[]; targets: string[] } {
  const keys = (port: Struct[string]) => (isStruct(port) ? ((port.portKey ?? []) as string[]) : []);
  const { sourcePortReceived: received, sourcePortTransmitted: sent } = session;
  return {
    sources: [...new Set([...keys(received), ...keys(sent)])],
    targets: keys(session.destinationPort),
  };
}

/** The engine whose `in` is on the port, or null. */
function engineOn(vcenter: Vcenter, key: string): string | null {
  const port = vcenter.state.ports.find((one) => one.key === key);
  const vm = vcenter.datacenter.record.vms.find((one) => one.id === port?.connectee?.vm);
  return port?.connectee?.nic === 'in' ? (vm?.engine?.id ?? null) : null;
}

/** Lays the copies that the sessions ask for. */
async function mirrorAs(vcenter: Vcenter, sessions: Struct[]): Promise<void> {
  const { state, datacenter } = vcenter;
  const wanted = new Map<string, { vm: string; nic: string }[]>();
  for (const session of sessions) {
    const { sources, targets } = portsOf(session);
    const engine = engineOn(vcenter, targets[0] ?? '');
    if (engine === null || session.enabled !== true) continue;
    const nics = sources.flatMap((key) => state.ports.find((one) => one.key === key)?.connectee ?? []);
    wanted.set(engine, [...(wanted.get(engine) ?? []), ...nics.map(({ vm, nic }) => ({ vm, nic }))]);
  }
  for (const { engine } of datacenter.record.vms) {
    if (engine) await lab(datacenter.segments.mirror(engine.id, wanted.get(engine.id) ?? []));
  }
  state.vspans = sessions;
}

function changedPvlans(present: readonly Struct[], changes: readonly Struct[]): Struct[] {
  let pvlans = [...present];
  for (const [index, { operation, pvlanEntry: entry }] of changes.entries()) {
    const path = `spec.pvlanConfigSpec[${index}]`;
    if (!isStruct(entry) || !TYPES.includes(String(entry.pvlanType))) {
      throw invalidArgument(`${path}.pvlanEntry.pvlanType`, `it is none of ${TYPES.join(', ')}`);
    }
    const isSame = (one: Struct) =>
      one.primaryVlanId === entry.primaryVlanId && one.secondaryVlanId === entry.secondaryVlanId;
    if (operation === 'add') {
      if (pvlans.some((one) => one.secondaryVlanId === entry.secondaryVlanId)) {
        throw new VimFault('AlreadyExists', `private VLAN ${String(entry.secondaryVlanId)} is there already`);
      }
      const isPrimary = entry.pvlanType === 'promiscuous';
      if (isPrimary !== (entry.primaryVlanId === entry.secondaryVlanId)) {
        throw invalidArgument(`${path}.pvlanEntry`, 'a promiscuous one is its own primary, and no other is');
      }
      pvlans.push(entry);
    } else if (operation === 'remove') pvlans = pvlans.filter((one) => !isSame(one));
    else throw invalidArgument(`${path}.operation`, 'private VLANs are added and removed');
  }
  return pvlans;
}
