/** The part of the plan that moves NICs: interception, its canary, release, and what is remembered to undo it. Pure. */
import { type Actual, type GraphContent, hostBlock, isForwarding, isResting } from './actual.ts';
import type { Desired } from './desired.ts';
import { canaryOf, engineFor } from './interception.ts';
import { handoverOf, isLeftOver, replacementBlock } from './replacement.ts';
import { engineLane, nicLane, type Step, segmentLane, stepId } from './step.ts';
import { hasSegment, hostKey, type SeatedNic } from './world.ts';

/** Steps for every NIC that is intercepted, shall be, or was. */
export function planNics(desired: Desired, actual: Actual): Step[] {
  const steps: Step[] = [];
  const context: Context = {
    desired,
    actual,
    standing: new Map(
      [...actual.placements.values()].map((p) => [seatKey(p.cloud, p.host, p.production), p.engine]),
    ),
    canaries: new Map([...desired.engines.keys()].map((id) => [id, canaryOf(id, desired, actual)])),
  };
  for (const nic of actual.world.nics.values()) {
    const step = nic.isOnShadow ? planOnShadow(nic, context) : planOnProduction(nic, context);
    if (step) steps.push(step);
  }
  for (const id of actual.preImages.keys()) {
    const cloud = id.slice(0, id.indexOf('/'));
    if (actual.world.nics.has(id) || !actual.world.clouds.has(cloud) || actual.unreachable.has(cloud))
      continue;
    steps.push({ ...base('forget-interception', id, `nic ${id}`), reason: 'its VM is gone', ...forget(id) });
  }
  return steps;
}

interface Context {
  desired: Desired;
  actual: Actual;
  /** The engine placed on a segment of a host, wanted or not. */
  standing: ReadonlyMap<string, string>;
  canaries: ReadonlyMap<string, string | null>;
}

function planOnShadow(nic: SeatedNic, { desired, actual, standing }: Context): Step | null {
  const wanted = engineFor(nic, desired, actual);
  const production = nic.production ?? '';
  const standingEngine = standing.get(seatKey(nic.cloud, nic.host.id, production));
  const state = standingEngine === undefined ? undefined : actual.engines.get(standingEngine);
  const object = nameOf(nic);
  if (wanted !== undefined) {
    const group = desired.policies.groups.get(desired.engines.get(wanted)?.group ?? '');
    const isServed = standingEngine === wanted && isForwarding(state);
    const isHeld = !isServed && group?.failMode === 'closed' && standingEngine === wanted;
    if (isServed || isHeld) {
      if (actual.preImages.has(nic.id)) return null;
      return {
        ...base('record-interception', nic.id, object),
        reason: `it stands on ${nic.nic.segment} already; undoing it leads to ${production}`,
        undo: 'release-nic',
        step: 'record-interception',
        nic: nic.id,
        segment: production,
      };
    }
  }
  // After a lost store an engine may stand there that nobody can speak to: as far as can be told it forwards.
  const left = wanted === undefined ? undefined : desired.engines.get(wanted);
  const isAwaited = standingEngine === undefined && left !== undefined && isLeftOver(left, actual);
  // It is expected to speak, and goes on with what stands behind it.
  if (isAwaited && handoverOf(left, actual) !== 'replace') return null;
  const isUrgent = !isForwarding(state) && !isAwaited;
  return {
    ...base('release-nic', nic.id, object),
    reason:
      wanted === undefined && isResting(nic.host) && desired.interceptions.has(nic.id)
        ? `host ${nic.host.name} goes into maintenance, and its VM may go where no engine is ready`
        : wanted === undefined
          ? desired.observations.has(nic.id)
            ? 'its engine group only observes'
            : 'no enabled service needs its traffic in line'
          : isAwaited
            ? `engine ${wanted} of the controller whose store was lost is replaced`
            : `engine ${wanted} does not forward (${state?.reason ?? 'it is not there'}), fail mode open`,
    undo: 'intercept-nic',
    blockedBy:
      hostBlock(nic.cloud, nic.host.id, actual) ??
      (isAwaited && left ? replacementBlock(left.id, desired, actual) : null) ??
      (isUrgent || standingEngine === undefined
        ? null
        : peersStillName(nic.id, standingEngine, desired, actual)),
    isUrgent,
    cloud: nic.cloud,
    shares: standingEngine === undefined ? [] : [engineLane(standingEngine)],
    step: 'release-nic',
    nic: nic.id,
    vm: nic.vm.id,
    port: nic.nic.id,
    segment: releaseSegment(nic, actual),
  };
}

/** Back to where it was, if the host it is on now has that segment. */
function releaseSegment(nic: SeatedNic, actual: Actual): string {
  const before = actual.preImages.get(nic.id)?.segment;
  const exists = nic.host.segments.some(
    (segment) => segment.name === before && segment.role === 'production',
  );
  return before !== undefined && exists ? before : (nic.production ?? '');
}

function planOnProduction(nic: SeatedNic, { desired, actual, canaries }: Context): Step | null {
  const engineId = engineFor(nic, desired, actual);
  const engine = engineId === undefined ? undefined : desired.engines.get(engineId);
  const object = nameOf(nic);
  if (!engine || nic.production === null) {
    if (!actual.preImages.has(nic.id)) return null;
    return { ...base('forget-interception', nic.id, object), reason: 'it is released', ...forget(nic.id) };
  }
  if (nic.vm.power !== 'on') return null;
  const canary = canaries.get(engine.id) ?? null;
  return {
    ...base('intercept-nic', nic.id, object),
    reason:
      canary === nic.id
        ? `it is the canary of engine ${engine.id}`
        : `it serves members of ${engine.services.join(', ')} by engine ${engine.id}`,
    undo: 'release-nic',
    blockedBy:
      hostBlock(nic.cloud, nic.host.id, actual) ??
      interceptionBlock(nic.id, engine.id, canary, desired, actual),
    cloud: nic.cloud,
    shares: [engineLane(engine.id), segmentLane(nic.cloud, nic.host.id, engine.shadow)],
    step: 'intercept-nic',
    nic: nic.id,
    vm: nic.vm.id,
    port: nic.nic.id,
    segment: engine.shadow,
    before: nic.production,
  };
}

function interceptionBlock(
  nic: string,
  engine: string,
  canary: string | null,
  desired: Desired,
  actual: Actual,
): string | null {
  const state = actual.engines.get(engine);
  const host = actual.world.hosts.get(
    hostKey(desired.engines.get(engine)?.cloud ?? '', desired.engines.get(engine)?.host ?? ''),
  )?.host;
  const shadow = desired.engines.get(engine)?.shadow;
  if (!hasSegment(host, shadow)) return `segment ${shadow} is made first`;
  if (!state || state.verdict === 'absent' || !actual.placements.has(engine))
    return `engine ${engine} is deployed first`;
  if (state.verdict !== 'alive' || !state.isReady) return `engine ${engine} is not ready: ${state.reason}`;
  if (!state.isProven && canary !== nic) return `the canary of engine ${engine} proves itself first`;
  const known = state.acknowledged?.members.find((member) => member.id === nic);
  if (state.acknowledged?.engine.mode === 'mirror') return `engine ${engine} still observes copies`;
  if (known?.engine !== engine) return `engine ${engine} has not acknowledged the graph that names it`;
  return null;
}

/** Which live peer may still send to the NIC by way of its engine, or null where none does. */
function peersStillName(nic: string, engine: string, desired: Desired, actual: Actual): string | null {
  const group = actual.placements.get(engine)?.group;
  for (const [id, placement] of actual.placements) {
    if (id === engine || placement.group !== group || !desired.policies.groups.has(placement.group)) continue;
    const state = actual.engines.get(id);
    if (state?.verdict !== 'alive' || !state.isConnected) continue;
    if (state.unacknowledgedSince === null && !names(state.acknowledged, nic, engine)) continue;
    // A peer that does not acknowledge must not hold up a release for ever.
    if (state.unacknowledgedSince !== null) {
      if (actual.now - state.unacknowledgedSince > actual.timing.acknowledgeMs) continue;
      if (state.acknowledged !== null && !names(state.acknowledged, nic, engine)) continue;
    }
    return `engine ${id} still sends by way of engine ${engine}`;
  }
  return null;
}

function names(graph: GraphContent | null, nic: string, engine: string): boolean {
  return graph?.members.some((member) => member.id === nic && member.engine === engine) ?? false;
}

function nameOf(nic: SeatedNic): string {
  return `nic ${nic.vm.name}/${nic.nic.id}`;
}

function seatKey(cloud: string, host: string, production: string): string {
  return `${hostKey(cloud, host)}/${production}`;
}

function base(
  verb: Step['step'],
  nic: string,
  object: string,
): Pick<Step, 'id' | 'object' | 'undo' | 'blockedBy' | 'isUrgent' | 'cloud' | 'lanes' | 'shares'> {
  return {
    id: stepId(verb, nic),
    object,
    undo: null,
    blockedBy: null,
    isUrgent: false,
    cloud: null,
    lanes: [nicLane(nic)],
    shares: [],
  };
}

function forget(nic: string): { step: 'forget-interception'; nic: string } {
  return { step: 'forget-interception', nic };
}
