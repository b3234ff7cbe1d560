/** When a NIC may be bent through its engine, and what the others may believe of it. Pure. */
import { type Actual, isForwarding, isResting } from './actual.ts';
import type { Desired, WantedEngine } from './desired.ts';
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
 * The engine that a NIC shall pass now; undefined for none. Behind an engine that is to be switched off nothing new is
 * put. What stands behind it stays there while its host is being emptied, provided that wherever its VM may be taken an
 * engine forwards already: then it travels in line. Otherwise it is bypassed before it leaves, except in a closed group,
 * which has no bypass.
 */
export function engineFor(nic: SeatedNic, desired: Desired, actual: Actual): string | undefined {
  const wanted = desired.interceptions.get(nic.id);
  const engine = wanted === undefined ? undefined : desired.engines.get(wanted);
  if (!engine?.isResting) return wanted;
  if (!nic.isOnShadow || !nic.host.isEvacuating) return undefined;
  const isClosed = desired.policies.groups.get(engine.group)?.failMode === 'closed';
  return isClosed || canTravel(engine, desired, actual) ? wanted : undefined;
}

const travels = new WeakMap<Desired, Map<string, boolean>>();

/** Whether engines forward on every host that may take a VM from where the engine stands. */
function canTravel(engine: WantedEngine, desired: Desired, actual: Actual): boolean {
  const known = travels.get(desired) ?? new Map<string, boolean>();
  travels.set(desired, known);
  const before = known.get(engine.id);
  if (before !== undefined) return before;
  const ready = new Set<string>();
  for (const other of desired.engines.values()) {
    const isSame = other.cloud === engine.cloud && other.production === engine.production;
    if (isSame && isForwarding(actual.engines.get(other.id))) ready.add(other.host);
  }
  const can = [...actual.world.hosts.values()].every(({ cloud, host }) => {
    const isTarget =
      cloud === engine.cloud && host.id !== engine.host && host.isConnected && !isResting(host);
    return !isTarget || !host.segments.some(({ name }) => name === engine.production) || ready.has(host.id);
  });
  known.set(engine.id, can);
  return can;
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
  if (engineFor(nic, desired, actual) !== engine || nic.vm.power !== 'on') return false;
  const state = actual.engines.get(engine);
  if (!state || state.verdict === 'silent' || state.verdict === 'absent') return false;
  return state.isProven || canary === nic.id;
}

/** Whether other engines may send to the NIC by way of that engine. */
export function isReachedThrough(engine: string, nic: SeatedNic, desired: Desired, actual: Actual): boolean {
  return (
    nic.isOnShadow && engineFor(nic, desired, actual) === engine && isForwarding(actual.engines.get(engine))
  );
}
