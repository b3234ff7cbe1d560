/**
 * Engines of a store that was lost. They trust its authority, so they are told of this controller while they forward,
 * all of a group before the first is taken on: none is cut for it. Those that do not come are replaced one after the
 * other, so that the others go on forwarding meanwhile. Pure.
 */
import { type Actual, isForwarding } from './actual.ts';
import type { Desired, WantedEngine } from './desired.ts';

export interface EngineVm {
  id: string;
  host: string;
  power: 'on' | 'off';
  nics: readonly { id: string; segment: string }[];
}

/** Whether a VM that bears an engine's mark stands where that engine shall stand. */
export function isRightful(vm: EngineVm, cloud: string, engine: WantedEngine): boolean {
  const segment = (id: string): string | undefined => vm.nics.find((nic) => nic.id === id)?.segment;
  return (
    cloud === engine.cloud &&
    vm.host === engine.host &&
    segment('out') === engine.production &&
    segment('in') === engine.shadow
  );
}

/** Whether an engine VM of an earlier controller runs in that engine's place, and this store does not know it. */
export function isLeftOver(engine: WantedEngine, actual: Actual): boolean {
  if (actual.placements.has(engine.id)) return false;
  const vms = actual.world.engineVms.get(engine.id) ?? [];
  return vms.some(({ cloud, vm }) => cloud === engine.cloud && vm.host === engine.host && vm.power === 'on');
}

/** `enrol`: it is told of this controller now. `wait`: it may come yet. `adopt`: it speaks. `replace`: it will not. */
export type Handover = 'enrol' | 'wait' | 'adopt' | 'replace';

/** What becomes of a left-over engine; null where it is none. */
export function handoverOf(engine: WantedEngine, actual: Actual): Handover | null {
  if (!isLeftOver(engine, actual)) return null;
  const vms = actual.world.engineVms.get(engine.id) ?? [];
  const rightful = vms.find(({ cloud, vm }) => isRightful(vm, cloud, engine) && vm.power === 'on')?.vm;
  const state = actual.engines.get(engine.id);
  const told = actual.told.get(engine.id);
  const isTold = told !== undefined && told.vm === rightful?.id;
  const isLate = isTold && actual.now - told.since > actual.timing.enrolMs;
  if (rightful && state?.isConnected === true) {
    // What was silent to this controller until now is believed once it has spoken for a moment.
    return isForwarding(state) || !isTold || isLate ? 'adopt' : 'wait';
  }
  if (!actual.isSettled) return 'wait';
  if (!rightful || isLate) return 'replace';
  return isTold && told.isDone ? 'wait' : 'enrol';
}

/** What an engine that speaks waits for before it is taken on: the others of its group; null where for nothing. */
export function adoptionBlock(engine: WantedEngine, desired: Desired, actual: Actual): string | null {
  for (const other of desired.engines.values()) {
    if (other.id === engine.id || other.group !== engine.group) continue;
    const handover = handoverOf(other, actual);
    if (handover === 'enrol' || handover === 'wait')
      return `engine ${other.id} finds its way to this controller first`;
  }
  return null;
}

/**
 * What graphs of a group wait for, or null. Engines that have new graphs and such that have the lost store's do not know
 * each other: each side would take the other for dead. So all of them change in one moment.
 */
export function graphBlock(group: string, desired: Desired, actual: Actual): string | null {
  for (const engine of desired.engines.values()) {
    const handover = engine.group === group ? handoverOf(engine, actual) : null;
    if (handover !== null && handover !== 'replace') return `engine ${engine.id} is taken on first`;
  }
  return null;
}

/** What a left-over engine waits for before it is replaced, or null where it is its turn, or where it is none. */
export function replacementBlock(id: string, desired: Desired, actual: Actual): string | null {
  const engine = desired.engines.get(id);
  const handover = engine ? handoverOf(engine, actual) : null;
  if (!engine || handover === null) return null;
  if (handover === 'adopt') return `engine ${id} speaks to the controller and is taken on`;
  if (handover !== 'replace') return handoverWait(id, actual);
  const isOrphan = (other: WantedEngine): boolean => handoverOf(other, actual) === 'replace';
  for (const other of desired.engines.values()) {
    if (other.group !== engine.group || isOrphan(other)) continue;
    const state = actual.engines.get(other.id);
    const isAtWork = state?.verdict === 'alive' && state.isReady;
    const hasWork = (desired.nicsOf.get(other.id) ?? []).some((nic) => desired.members.has(nic));
    if (hasWork && !(isAtWork && state.isProven)) return `engine ${other.id} is brought into service first`;
  }
  for (const other of desired.engines.values()) {
    if (other.group !== engine.group || !isOrphan(other)) continue;
    return other.id === id ? null : `engine ${other.id} is replaced first`;
  }
  return null;
}

/** Why an engine of a lost store is left as it is for now. */
export function handoverWait(id: string, actual: Actual): string {
  if (!actual.isSettled) return 'engines have a few seconds to find the controller';
  return `engine ${id} is told of this controller, and has ${Math.round(actual.timing.enrolMs / 1000)} s to speak to it`;
}
