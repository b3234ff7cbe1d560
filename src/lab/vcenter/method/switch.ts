/** The settings of the distributed switch that can be changed: its private VLANs. */
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { isStruct, type Struct } from '../wire/values.ts';
import { requireVersion } from './fabric.ts';
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
      (name) => !['$type', 'configVersion', 'pvlanConfigSpec'].includes(name) && spec[name] !== undefined,
    );
    if (others.length > 0) {
      throw new VimFault('NotSupported', `the lab cannot change ${others.join(', ')} of its switch`);
    }
    return startTask(call, async () => {
      requireVersion(spec.configVersion, state.switchConfigVersion, 'the switch');
      state.pvlans = changedPvlans(state.pvlans, (spec.pvlanConfigSpec ?? []) as Struct[]);
      state.switchConfigVersion++;
      return undefined;
    });
  },
};

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
