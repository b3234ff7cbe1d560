/**
 * Whose turn it is: engines that a lost store knew and that cannot be spoken to are replaced one after the other, so
 * that the others go on forwarding meanwhile. Pure.
 */
import type { Actual } from './actual.ts';
import type { Desired, WantedEngine } from './desired.ts';

/** Whether an engine VM of an earlier controller runs in that engine's place, and this store does not know it. */
export function isLeftOver(engine: WantedEngine, actual: Actual): boolean {
  if (actual.placements.has(engine.id)) return false;
  const vms = actual.world.engineVms.get(engine.id) ?? [];
  return vms.some(({ cloud, vm }) => cloud === engine.cloud && vm.host === engine.host && vm.power === 'on');
}

/** One that cannot be spoken to either. */
function isOrphan(engine: WantedEngine, actual: Actual): boolean {
  return isLeftOver(engine, actual) && actual.engines.get(engine.id)?.isConnected !== true;
}

/** What a left-over engine waits for before it is replaced, or null where it is its turn, or where it is none. */
export function replacementBlock(id: string, desired: Desired, actual: Actual): string | null {
  const engine = desired.engines.get(id);
  if (!engine || !isLeftOver(engine, actual)) return null;
  if (!isOrphan(engine, actual)) return `engine ${id} speaks to the controller and is taken on`;
  if (!actual.isSettled) return 'engines have a few seconds to find the controller';
  for (const other of desired.engines.values()) {
    if (other.group !== engine.group || isOrphan(other, actual)) continue;
    const state = actual.engines.get(other.id);
    const isAtWork = state?.verdict === 'alive' && state.isReady;
    const hasWork = (desired.nicsOf.get(other.id) ?? []).some((nic) => desired.members.has(nic));
    if (hasWork && !(isAtWork && state.isProven)) return `engine ${other.id} is brought into service first`;
  }
  for (const other of desired.engines.values()) {
    if (other.group !== engine.group || !isOrphan(other, actual)) continue;
    return other.id === id ? null : `engine ${other.id} is replaced first`;
  }
  return null;
}
