/** When a NIC may be bent through its engine, and what the others may believe of it. Pure. */
import { type Actual, isForwarding } from './actual.ts';
import type { Desired } from './desired.ts';
import { stepId } from './step.ts';
import type { SeatedNic } from './world.ts';

/**
 * The NIC that goes first on an engine that has not proved itself in line: the smallest id, but not one that keeps
 * failing for its own reasons. Null where one stands in line already, or none is left.
 */
export function canaryOf(engine: string, desired: Desired, actual: Actual): string | null {
  const waiting: string[] = [];
  for (const id of desired.nicsOf.get(engine) ?? []) {
    const nic = actual.world.nics.get(id);
    if (!nic) continue;
    if (nic.isOnShadow) return null;
    if (nic.vm.power === 'on') waiting.push(id);
  }
  const isSound = (id: string): boolean => (actual.failures.get(stepId('intercept-nic', id)) ?? 0) < 2;
  return waiting.find(isSound) ?? waiting[0] ?? null;
}

/**
 * Whether the engine itself shall treat the NIC as standing behind it: it does, or it will as soon as the engine has
 * acknowledged that. An engine that is silent is told nothing of the kind about NICs that it has lost.
 */
export function isBehind(
  engine: string,
  nic: SeatedNic,
  canary: string | null,
  desired: Desired,
  actual: Actual,
): boolean {
  if (nic.isOnShadow) return true;
  if (desired.interceptions.get(nic.id) !== engine || nic.vm.power !== 'on') return false;
  const state = actual.engines.get(engine);
  if (!state || state.verdict === 'silent' || state.verdict === 'absent') return false;
  return state.isProven || canary === nic.id;
}

/** Whether other engines may send to the NIC by way of that engine. */
export function isReachedThrough(engine: string, nic: SeatedNic, desired: Desired, actual: Actual): boolean {
  return (
    nic.isOnShadow && desired.interceptions.get(nic.id) === engine && isForwarding(actual.engines.get(engine))
  );
}
