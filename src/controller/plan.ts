/**
 * plan(desired, actual): the steps from what is to what ought to be. Pure; the same steps are printed by `weft plan`.
 *
 * A step whose time has not come names in `blockedBy` what it waits for. Nothing is remembered between plans: a step
 * that was lost, in a crash or in a cloud, is simply planned again.
 */
import type { AddressSetEntry } from '../policy/graph.ts';
import { type Actual, type GraphContent, hostBlock, nicsOnShadow, type Placement } from './actual.ts';
import { planClones } from './autoscale/plan-clones.ts';
import type { Desired, WantedEngine } from './desired.ts';
import { packSet } from './firewall-sets.ts';
import { compileGraphs, graphHash } from './graph.ts';
import { mirrorBlock, planMirrors } from './mirror.ts';
import { planNics } from './plan-nics.ts';
import { planSegmentRemovals } from './plan-segments.ts';
import { requirePrivileges } from './privileges.ts';
import {
  adoptionBlock,
  type EngineVm,
  graphBlock,
  handoverOf,
  handoverWait,
  isRightful,
} from './replacement.ts';
import { engineLane, type GraphSets, type Step, segmentLane, stepId } from './step.ts';
import { hasSegment, hostKey, SHADOW_SUFFIX } from './world.ts';

/** All steps, those for lost traffic first. */
export function plan(desired: Desired, actual: Actual): Step[] {
  const steps = [
    ...planNics(desired, actual),
    ...planMirrors(desired, actual),
    ...planEngines(desired, actual),
    ...planGraphs(desired, actual),
    ...planRemovals(desired, actual),
    ...planUnfinished(desired, actual),
    ...planSegmentRemovals(desired, actual),
    ...planClones(desired, actual),
  ];
  return steps
    .map((step) => requirePrivileges(step, actual))
    .map((step) => hold(step, desired, actual))
    .sort((a, b) => Number(b.isUrgent) - Number(a.isUrgent));
}

/** In a cloud that nobody has adopted, or that another controller drives, every step waits, also those of the store that lead to others. */
function hold(step: Step, desired: Desired, actual: Actual): Step {
  if (actual.held.size === 0 && actual.foreign.size === 0) return step;
  const engine = 'engine' in step ? step.engine : undefined;
  const cloud =
    step.cloud ??
    (engine === undefined ? undefined : desired.engines.get(engine)?.cloud) ??
    ('nic' in step ? step.nic.slice(0, step.nic.indexOf('/')) : '');
  const reason = actual.foreign.get(cloud) ?? actual.held.get(cloud);
  return reason === undefined ? step : { ...step, blockedBy: reason, isUrgent: false };
}

function planEngines(desired: Desired, actual: Actual): Step[] {
  const steps: Step[] = [];
  for (const engine of desired.engines.values()) {
    const placement = actual.placements.get(engine.id);
    const vms = actual.world.engineVms.get(engine.id) ?? [];
    const rightful = vms.find(({ cloud, vm }) => isRightful(vm, cloud, engine));
    const { host } = actual.world.hosts.get(hostKey(engine.cloud, engine.host)) ?? {};
    const object = `engine ${engine.id}`;
    const blocked = hostBlock(engine.cloud, engine.host, actual);
    const isPlaced =
      placement !== undefined &&
      placement.production === engine.production &&
      placement.addresses.join() === engine.addresses.join() &&
      actual.groupKeys.has(engine.group);
    // A VM that bears the mark but is unknown here is one of a store that was lost. Once it speaks to the hub it is
    // taken on as it is; where it does not, though it was told how, it is replaced.
    const isOrphaned = placement === undefined && vms.length > 0;
    const handover = handoverOf(engine, actual);
    const isAdopted = handover === 'adopt';
    const isAwaited = handover === 'enrol' || handover === 'wait';
    if (!isPlaced) {
      steps.push({
        ...bookkeeping('place-engine', engine.id),
        cloud: engine.cloud,
        object,
        reason: isAdopted
          ? `host ${engine.hostName} runs an engine that the store had lost; it is taken on`
          : `host ${engine.hostName} runs members of ${engine.services.join(', ')}`,
        undo: 'forget-engine',
        blockedBy:
          occupant(engine, actual) ??
          (isAdopted
            ? adoptionBlock(engine, desired, actual)
            : isAwaited
              ? handoverWait(engine.id, actual)
              : isOrphaned
                ? `the engine VM that an earlier controller left on host ${engine.hostName} is removed first`
                : null),
        step: 'place-engine',
        engine: engine.id,
        group: engine.group,
        host: engine.host,
        production: engine.production,
        addresses: engine.addresses,
        vm: isAdopted ? (rightful?.vm.id ?? null) : (placement?.vm ?? null),
      });
    }
    const isShadowed = hasSegment(host, engine.shadow);
    if (!isShadowed) {
      steps.push({
        id: stepId('ensure-segment', `${engine.cloud}/${engine.host}/${engine.shadow}`),
        object: `segment ${engine.shadow} on host ${engine.hostName}`,
        reason: `the protected side of engine ${engine.id}`,
        undo: 'remove-segment',
        blockedBy: blocked,
        isUrgent: false,
        cloud: engine.cloud,
        lanes: [segmentLane(engine.cloud, engine.host, engine.shadow)],
        shares: [],
        step: 'ensure-segment',
        host: engine.host,
        segment: engine.shadow,
        shadows: engine.production,
      });
    }
    for (const { cloud, vm } of vms) {
      if (vm.id === rightful?.vm.id && cloud === engine.cloud && (placement || isAdopted || isAwaited))
        continue;
      const isRightfulVm = vm.id === rightful?.vm.id && cloud === engine.cloud;
      // Two engines between the same segments are a loop: the second one goes at once.
      const isTwin =
        !isRightfulVm && placement !== undefined && standsBesideAnother(vm, cloud, desired, actual);
      steps.push(
        removeEngine(
          {
            engine: engine.id,
            cloud,
            vm,
            reason: isRightfulVm
              ? 'an engine VM of a controller whose store was lost cannot be spoken to; it is replaced'
              : 'it bears the mark of an engine that stands elsewhere',
            waitsForNics: !isTwin,
            isRecovery: false,
          },
          actual,
        ),
      );
    }
    if (isAwaited && rightful) {
      if (handover === 'enrol') steps.push(enrolEngine(engine, rightful.vm, blocked));
    } else if (!rightful || (placement && placement.vm !== rightful.vm.id) || isOrphaned) {
      steps.push({
        id: stepId('deploy-engine', engine.id),
        object,
        reason: `host ${engine.hostName} needs an engine of group ${engine.group}`,
        undo: 'remove-engine',
        blockedBy:
          blocked ??
          (!placement || placement.production !== engine.production
            ? 'its placement is recorded first'
            : null) ??
          (isShadowed ? null : `segment ${engine.shadow} is made first`) ??
          (vms.length > (rightful ? 1 : 0) ? 'VMs that bear its mark elsewhere are removed first' : null) ??
          (rightful || !engine.isResting ? null : `host ${engine.hostName} is in maintenance`) ??
          (rightful ? null : mirrorBlock(engine.cloud, engine.id, actual)),
        isUrgent: false,
        cloud: engine.cloud,
        lanes: [engineLane(engine.id)],
        shares: [segmentLane(engine.cloud, engine.host, engine.shadow)],
        step: 'deploy-engine',
        engine: engine.id,
        host: engine.host,
        segments: { mgmt: engine.mgmt, out: engine.production, in: engine.shadow },
        size: desired.policies.groups.get(engine.group)?.size ?? null,
      });
    } else if (engine.isResting) steps.push(...planRest(engine, rightful.vm, actual));
    else steps.push(...planRecovery(engine, rightful.vm, desired, actual));
    if (placement && isPlaced && rightful) steps.push(...planKeep(engine, placement, actual));
  }
  return steps;
}

/** The engine forwards meanwhile, and goes on with the graph that it has until it gets another. */
function enrolEngine(engine: WantedEngine, vm: EngineVm, blockedBy: string | null): Step {
  return {
    id: stepId('enrol-engine', engine.id),
    object: `engine ${engine.id}`,
    reason:
      'it trusts the authority of a controller whose store was lost, and is told of this one while it runs',
    undo: null,
    blockedBy,
    isUrgent: false,
    cloud: engine.cloud,
    lanes: [engineLane(engine.id)],
    shares: [],
    step: 'enrol-engine',
    engine: engine.id,
    vm: vm.id,
    host: engine.host,
    segments: { mgmt: engine.mgmt, out: engine.production, in: engine.shadow },
  };
}

/** What keeps an engine from its seat: another one still stands between the same two segments. */
function occupant(engine: WantedEngine, actual: Actual): string | null {
  for (const [id, other] of actual.placements) {
    const isSame =
      other.cloud === engine.cloud && other.host === engine.host && other.production === engine.production;
    if (id !== engine.id && isSame) return `engine ${id} on the same segment is removed first`;
  }
  for (const [id, vms] of actual.world.engineVms) {
    const isSame = vms.some(({ cloud, vm }) => isRightful(vm, cloud, engine));
    if (id !== engine.id && isSame) return `engine ${id} on the same segment is removed first`;
  }
  return null;
}

/** Whether the engine of that host, this one or another, has a VM of its own between the same segments. */
function standsBesideAnother(vm: EngineVm, cloud: string, desired: Desired, actual: Actual): boolean {
  const inside = vm.nics.find(({ id }) => id === 'in')?.segment;
  return [...desired.engines.values()].some(
    (other) =>
      other.cloud === cloud &&
      other.host === vm.host &&
      other.shadow === inside &&
      (actual.world.engineVms.get(other.id) ?? []).some(
        (one) => one.vm.id !== vm.id && isRightful(one.vm, one.cloud, other),
      ),
  );
}

/** An engine whose host goes into maintenance: off, as soon as neither NICs nor peers depend on it. */
function planRest(engine: WantedEngine, vm: EngineVm, actual: Actual): Step[] {
  if (vm.power === 'off') return [];
  const behind = nicsOnShadow(engine.cloud, engine.host, engine.production, actual);
  return [
    {
      ...powerEngine(engine, vm, 'off', actual),
      reason: `host ${engine.hostName} goes into maintenance`,
      undo: 'power-engine',
      blockedBy:
        hostBlock(engine.cloud, engine.host, actual) ??
        (behind.length > 0 ? `${behind.length} NICs behind it leave first` : null) ??
        mirrorBlock(engine.cloud, engine.id, actual) ??
        dependent(engine, actual),
    },
  ];
}

/** Which live peer has not yet acknowledged that the engine announces nothing and stands before nobody; null for none. */
function dependent(engine: WantedEngine, actual: Actual): string | null {
  for (const [id, placement] of actual.placements) {
    const state = actual.engines.get(id);
    if (id === engine.id || placement.group !== engine.group) continue;
    if (state?.verdict !== 'alive' || !state.isConnected) continue;
    // One that does not acknowledge must not keep a host from its maintenance for ever.
    const owedMs = state.unacknowledgedSince === null ? 0 : actual.now - state.unacknowledgedSince;
    if (owedMs > actual.timing.acknowledgeMs) continue;
    const { members = [], services = [] } = state.acknowledged ?? {};
    const isFirst = services.some(({ tiers }) =>
      tiers.some(({ addresses }) => addresses.some(({ announcers }) => announcers[0] === engine.id)),
    );
    if (isFirst) return `engine ${id} has yet to take over what it announces`;
    if (members.some((member) => member.engine === engine.id)) return `engine ${id} still sends by way of it`;
  }
  return null;
}

/** Remembers that the host of an engine is in maintenance, that it is back, and when that may be forgotten. */
function planKeep(engine: WantedEngine, placement: Placement, actual: Actual): Step[] {
  const rest = placement.rest ?? null;
  const keep = (next: Placement['rest'], reason: string): Step[] => [
    { ...bookkeeping('keep-engine', engine.id), reason, step: 'keep-engine', engine: engine.id, rest: next },
  ];
  if (engine.isResting) {
    const isNoted = rest !== null && rest.endedAt === null;
    return isNoted ? [] : keep({ endedAt: null }, `host ${engine.hostName} goes into maintenance`);
  }
  if (rest === null) return [];
  if (rest.endedAt === null)
    return keep({ endedAt: actual.now }, `host ${engine.hostName} is back in service`);
  if (engine.services.length > 0) return keep(null, 'members are back on its host');
  return actual.now - rest.endedAt > actual.timing.keepMs
    ? keep(null, 'no member came back to its host')
    : [];
}

/** A silent engine: power on or reset, twice; then it is removed, and deployed afresh. */
function planRecovery(engine: WantedEngine, vm: EngineVm, desired: Desired, actual: Actual): Step[] {
  const state = actual.engines.get(engine.id);
  const isStable = state?.verdict === 'alive' && actual.now - state.since >= actual.timing.stableMs;
  if (isStable && actual.placements.get(engine.id)?.recovery) {
    const reason = 'it has worked long enough for its earlier failures to be forgotten';
    return [{ ...bookkeeping('settle-engine', engine.id), reason, step: 'settle-engine', engine: engine.id }];
  }
  if (state?.verdict !== 'silent') return [];
  const group = desired.policies.groups.get(engine.group);
  const attempts = actual.placements.get(engine.id)?.recovery?.attempts ?? 0;
  const lastAt = actual.placements.get(engine.id)?.recovery?.lastAt ?? 0;
  const waits =
    recoveryWaitMs(attempts, vm.power === 'off', actual.timing.bootTimeoutMs) - (actual.now - lastAt);
  const held = nicsOnShadow(engine.cloud, engine.host, engine.production, actual);
  const mayReleaseFirst = group?.failMode !== 'closed' && held.length > 0 && actual.now - state.since < 3000;
  const blockedBy =
    hostBlock(engine.cloud, engine.host, actual) ??
    (waits > 0 && attempts > 0 ? `attempt ${attempts} has time to work until the next one` : null) ??
    (mayReleaseFirst ? 'its NICs are released first' : null) ??
    mirrorBlock(engine.cloud, engine.id, actual);
  if (attempts % 3 === 2) {
    const reason = `it stayed silent after ${attempts} attempts (${state.reason}); it is deployed afresh`;
    const { id, cloud } = engine;
    const removal = { engine: id, cloud, vm, reason, waitsForNics: false, isRecovery: true };
    return [{ ...removeEngine(removal, actual), blockedBy }];
  }
  const power = vm.power === 'off' ? 'on' : 'reset';
  const reason = `${state.reason}: power ${power}, attempt ${attempts + 1}`;
  return [{ ...powerEngine(engine, vm, power, actual), reason, blockedBy }];
}

function powerEngine(
  engine: WantedEngine,
  vm: EngineVm,
  power: 'on' | 'off' | 'reset',
  actual: Actual,
): Extract<Step, { step: 'power-engine' }> {
  return {
    id: stepId('power-engine', engine.id),
    object: `engine ${engine.id}`,
    reason: '',
    undo: null,
    blockedBy: hostBlock(engine.cloud, engine.host, actual),
    isUrgent: false,
    cloud: engine.cloud,
    lanes: [engineLane(engine.id)],
    shares: [],
    step: 'power-engine',
    engine: engine.id,
    vm: vm.id,
    power,
  };
}

/** How long an attempt has to show effect: a VM that is off again has shown it; one that is on needs time to boot. */
function recoveryWaitMs(attempts: number, isOff: boolean, bootTimeoutMs: number): number {
  const rounds = Math.min(Math.max(attempts - 1, 0), 24);
  return isOff
    ? Math.min(1000 * 2 ** rounds, 60_000)
    : Math.min(bootTimeoutMs * 2 ** Math.floor(rounds / 3), 300_000);
}

/** What the graph names of the policy's address sets. */
function setsOf({ addressSets = [] }: GraphContent, { policies }: Desired): GraphSets {
  return new Map(
    addressSets.flatMap(({ name, prefixes }): [string, AddressSetEntry][] => {
      const spec = prefixes === undefined ? policies.addressSets.get(name) : undefined;
      return spec ? [[name, packSet(spec)]] : [];
    }),
  );
}

function planGraphs(desired: Desired, actual: Actual): Step[] {
  const graphs = compileGraphs(desired, actual);
  const steps: Step[] = [];
  const pending = [...desired.engines.keys()].filter((id) => !graphs.has(id));
  for (const [id, content] of graphs) {
    const hash = graphHash(content);
    if (actual.pushed.get(id) === hash) continue;
    const names = content.services.map((service) => service.name).join(', ') || 'no service';
    const group = actual.placements.get(id)?.group ?? '';
    steps.push({
      ...bookkeeping('push-graph', id),
      isUrgent: true,
      blockedBy: actual.pushed.has(id) ? null : graphBlock(group, desired, actual),
      reason: `its graph changed: ${names}, ${content.members.length} members`,
      step: 'push-graph',
      engine: id,
      content,
      hash,
      sets: setsOf(content, desired),
    });
  }
  for (const id of pending) {
    steps.push({
      ...bookkeeping('push-graph', id),
      reason: `it learns of ${desired.engines.get(id)?.services.join(', ')}`,
      blockedBy: 'the engine is deployed first',
      step: 'push-graph',
      engine: id,
      content: null,
      hash: '',
    });
  }
  return steps;
}

/** Engines that nothing asks for: out of the way once no NIC stands behind them. */
function planRemovals(desired: Desired, actual: Actual): Step[] {
  const steps: Step[] = [];
  const ids = new Set([...actual.placements.keys(), ...actual.world.engineVms.keys()]);
  for (const id of [...ids].sort()) {
    if (desired.engines.has(id)) continue;
    const vms = actual.world.engineVms.get(id) ?? [];
    const placement = actual.placements.get(id);
    for (const { cloud, vm } of vms) {
      const reason = placement
        ? 'no enabled service has members on its host'
        : 'no policy asks for an engine VM that an earlier controller left';
      steps.push(
        removeEngine({ engine: id, cloud, vm, reason, waitsForNics: true, isRecovery: false }, actual),
      );
    }
    if (placement) {
      steps.push({
        ...bookkeeping('forget-engine', id),
        cloud: placement.cloud,
        reason: 'its data addresses are free again once its VM is gone',
        blockedBy:
          actual.unreachable.get(placement.cloud) ??
          (!actual.world.clouds.has(placement.cloud)
            ? `the inventory of ${placement.cloud} is not known`
            : null) ??
          (vms.length > 0 ? 'its VM is removed first' : null),
        step: 'forget-engine',
        engine: id,
      });
    }
  }
  return steps;
}

/** Half-made engine VMs that nothing asks for any more. Those that are asked for, their deployment makes anew. */
function planUnfinished(desired: Desired, actual: Actual): Step[] {
  const steps: Step[] = [];
  for (const { cloud, vm } of actual.world.unfinished) {
    if (vm.engine === null) continue;
    const wanted = desired.engines.get(vm.engine);
    if (wanted?.cloud === cloud && wanted.host === vm.host) continue;
    const half = { id: vm.id, host: vm.host, power: 'off', nics: [] } as const;
    const reason = 'its deployment was cut short, and nothing asks for it any more';
    steps.push(
      removeEngine(
        { engine: vm.engine, cloud, vm: half, reason, waitsForNics: false, isRecovery: false },
        actual,
      ),
    );
  }
  return steps;
}

interface Removal {
  engine: string;
  cloud: string;
  vm: EngineVm;
  reason: string;
  /** False where another engine serves the NICs behind it, or where they must stay: then it does not wait for them. */
  waitsForNics: boolean;
  /** One of the attempts to bring a silent engine back. */
  isRecovery: boolean;
}

function removeEngine(removal: Removal, actual: Actual): Step {
  const { engine, cloud, vm, reason } = removal;
  const inside = vm.nics.find((nic) => nic.id === 'in')?.segment ?? '';
  const behind =
    removal.waitsForNics && inside.endsWith(SHADOW_SUFFIX)
      ? nicsOnShadow(cloud, vm.host, inside.slice(0, -SHADOW_SUFFIX.length), actual)
      : [];
  return {
    id: stepId('remove-engine', `${engine}/${vm.id}`),
    object: `engine ${engine} (vm ${vm.id})`,
    reason,
    undo: 'deploy-engine',
    blockedBy:
      hostBlock(cloud, vm.host, actual) ??
      // An engine of a lost store may yet show up at the hub and be taken on.
      (!actual.placements.has(engine) && !actual.isSettled
        ? 'engines have a few seconds to find the controller'
        : null) ??
      (behind.length > 0 ? `${behind.length} NICs behind it are released first` : null) ??
      mirrorBlock(cloud, engine, actual),
    isUrgent: false,
    cloud,
    lanes: [engineLane(engine)],
    shares: [],
    step: 'remove-engine',
    engine,
    vm: vm.id,
    isRecovery: removal.isRecovery,
  };
}

function bookkeeping(
  verb: Step['step'],
  engine: string,
): Pick<Step, 'id' | 'object' | 'undo' | 'blockedBy' | 'isUrgent' | 'cloud' | 'lanes' | 'shares'> {
  return {
    id: stepId(verb, engine),
    object: `engine ${engine}`,
    undo: null,
    blockedBy: null,
    isUrgent: false,
    cloud: null,
    // A graph may be pushed while the engine is being recovered; everything else about an engine is one at a time.
    lanes: verb === 'push-graph' ? [`graph:${engine}`] : [engineLane(engine)],
    shares: [],
  };
}
