/**
 * Engine groups of mode `mirror`: copies of members' traffic go to their host's engine, which only observes. Pure.
 *
 * An engine never gets copies while it forwards: it would send each of them a second time. So its graph says `mirror`
 * once no NIC stands behind it any more, copies begin when it has acknowledged that, and its graph says `in-line` again
 * only when nothing is copied to it. The engine needs no bypass: members' own traffic does not pass it.
 */
import type { NicRef } from '../hypervisor/platform.ts';
import { type Actual, hostBlock, isForwarding, nicsOnShadow } from './actual.ts';
import type { Desired, WantedEngine } from './desired.ts';
import { engineLane, type Step, stepId } from './step.ts';
import { hostKey } from './world.ts';

/** What is copied to an engine now; empty where nothing is. */
export function mirrorsOf(cloud: string, engine: string, actual: Actual): readonly NicRef[] {
  return actual.world.mirrors.get(hostKey(cloud, engine))?.nics ?? [];
}

/** Whether the engine's graph shall say that it only observes. */
export function isObserving(id: string, desired: Desired, actual: Actual): boolean {
  const placement = actual.placements.get(id);
  if (!placement) return false;
  if (mirrorsOf(placement.cloud, id, actual).length > 0) return true;
  const group = desired.policies.groups.get(placement.group);
  const { cloud, host, production } = placement;
  return group?.mode === 'mirror' && nicsOnShadow(cloud, host, production, actual).length === 0;
}

/** Whether a copy of a member's traffic reaches an engine that observes it. */
export function isObserved(member: string, desired: Desired, actual: Actual): boolean {
  const id = desired.observations.get(member);
  const engine = id === undefined ? undefined : desired.engines.get(id);
  if (!engine || !isReady(engine, actual)) return false;
  return mirrorsOf(engine.cloud, engine.id, actual).some((nic) => keyOf(engine.cloud, nic) === member);
}

/** Why an engine may not be made or removed now: copies would reach one that does not know what they are. */
export function mirrorBlock(cloud: string, engine: string, actual: Actual): string | null {
  return mirrorsOf(cloud, engine, actual).length > 0 ? 'what is copied to it ends first' : null;
}

/** Steps that begin, change and end copying, one per engine. */
export function planMirrors(desired: Desired, actual: Actual): Step[] {
  const steps: Step[] = [];
  for (const engine of desired.engines.values()) {
    const wanted = wantedNics(engine, desired, actual);
    if (wanted.length === 0) continue;
    const present = mirrorsOf(engine.cloud, engine.id, actual);
    const block = observationBlock(engine, actual);
    // What is copied to an engine that fell silent ends: it may come back as one that knows nothing.
    if (block !== null && present.length > 0 && !isFit(engine, actual)) {
      steps.push(mirrorStep(engine.cloud, engine.host, engine.id, [], present, block, actual));
    } else if (textOf(wanted) !== textOf(present)) {
      const reason = `it observes members of ${engine.services.join(', ')}`;
      const step = mirrorStep(engine.cloud, engine.host, engine.id, wanted, present, reason, actual);
      steps.push({ ...step, blockedBy: step.blockedBy ?? block });
    }
  }
  for (const { cloud, engine, nics } of actual.world.mirrors.values()) {
    const wanted = desired.engines.get(engine);
    if (wanted?.cloud === cloud && wantedNics(wanted, desired, actual).length > 0) continue;
    const host =
      actual.placements.get(engine)?.host ?? actual.world.engineVms.get(engine)?.[0]?.vm.host ?? null;
    const reason =
      wanted && !wanted.isMirror
        ? `group ${wanted.group} puts its members in line`
        : 'nothing asks for it any more';
    steps.push(mirrorStep(cloud, host, engine, [], nics, reason, actual));
  }
  return steps;
}

function wantedNics(engine: WantedEngine, desired: Desired, actual: Actual): NicRef[] {
  if (!engine.isMirror || engine.isResting) return [];
  const nics: NicRef[] = [];
  for (const [member, id] of desired.observations) {
    const nic = actual.world.nics.get(member);
    if (id === engine.id && nic?.vm.power === 'on') nics.push({ vm: nic.vm.id, nic: nic.nic.id });
  }
  return nics;
}

/** What the engine says of itself while copies reach it. */
function isFit(engine: WantedEngine, actual: Actual): boolean {
  const state = actual.engines.get(engine.id);
  return (
    isForwarding(state) && (state?.acknowledged === null || state?.acknowledged?.engine.mode === 'mirror')
  );
}

function isReady(engine: WantedEngine, actual: Actual): boolean {
  const state = actual.engines.get(engine.id);
  return isForwarding(state) && state?.acknowledged?.engine.mode === 'mirror';
}

/** What copying to the engine waits for; null where it can begin. */
function observationBlock(engine: WantedEngine, actual: Actual): string | null {
  const { cloud, host, production, id } = engine;
  if (actual.world.mirrorless.has(cloud)) return `cloud ${cloud} cannot mirror ports`;
  const behind = nicsOnShadow(cloud, host, production, actual).length;
  if (behind > 0) return `${behind} NICs behind engine ${id} are released first`;
  const state = actual.engines.get(id);
  if (!state || state.verdict === 'absent') return `engine ${id} is deployed first`;
  if (!isForwarding(state)) return `engine ${id} is not ready: ${state.reason}`;
  return isReady(engine, actual) ? null : `engine ${id} has not acknowledged that it only observes`;
}

function mirrorStep(
  cloud: string,
  host: string | null,
  engine: string,
  nics: readonly NicRef[],
  before: readonly NicRef[],
  reason: string,
  actual: Actual,
): Step {
  const names = (refs: readonly NicRef[]): string =>
    refs.map((nic) => actual.world.nics.get(keyOf(cloud, nic))?.vm.name ?? nic.vm).join(', ');
  const what =
    nics.length === 0 ? `nothing is copied any more (${names(before)})` : `copies of ${names(nics)}`;
  return {
    id: stepId('mirror-nics', `${cloud}/${engine}`),
    object: `engine ${engine}`,
    reason: `${what}: ${reason}`,
    undo: 'mirror-nics',
    blockedBy: host === null ? (actual.unreachable.get(cloud) ?? null) : hostBlock(cloud, host, actual),
    isUrgent: false,
    cloud,
    lanes: [engineLane(engine)],
    shares: [],
    step: 'mirror-nics',
    engine,
    host: host ?? '',
    nics,
  };
}

function keyOf(cloud: string, { vm, nic }: NicRef): string {
  return `${cloud}/${vm}/${nic}`;
}

function textOf(nics: readonly NicRef[]): string {
  return nics
    .map(({ vm, nic }) => `${vm}/${nic}`)
    .sort()
    .join();
}
