/**
 * The part of the plan that makes and removes clones of members. Pure.
 *
 * One growth is one chain of steps, each of which can be done again, and each of which is on record before the next:
 * scale-out, clone-vm, admit-clone; and the way back, scale-in, retire-clone, remove-clone, forget-clone. A clone that
 * comes to nothing goes that way from wherever it is, by give-up-clone.
 */
import type { AutoscaleSpec, ScaleDecision } from '../../policy/autoscale.ts';
import { type Actual, hostBlock } from '../actual.ts';
import type { Desired } from '../desired.ts';
import { poolCarriers } from '../member-figures.ts';
import { type Step, stepId } from '../step.ts';
import { hostKey } from '../world.ts';
import { type Assessment, assess, policyText } from './assessment.ts';
import { type CloneAction, cloneLane } from './clone-step.ts';
import { figuresOf } from './decide.ts';
import { type CloneRecord, cloneKey } from './fleet.ts';
import { type Survey, type SurveyedClone, surveyClones, surveyPools } from './survey.ts';

/** Attempts at a clone that the platform refuses, until it is given up. */
const MAX_ATTEMPTS = 3;

/** Steps for every pool that scales and every clone on record. */
export function planClones(desired: Desired, actual: Actual): Step[] {
  const steps: Step[] = [];
  const surveys = surveyPools(desired, actual);
  for (const survey of surveys.values()) {
    steps.push(...planAdoptions(survey, actual), ...planPool(survey, desired, actual));
  }
  const carriers = poolCarriers(desired);
  for (const clone of surveyClones(desired, actual, carriers)) {
    const engines = carriers.get(clone.record.pool) ?? new Set<string>();
    steps.push(...planClone(clone, surveys.get(clone.record.pool), engines, desired, actual));
  }
  steps.push(...planStrays(actual), ...planForgetting(desired, actual));
  return steps;
}

function planPool(survey: Survey, desired: Desired, actual: Actual): Step[] {
  const { pool, situation } = survey;
  const assessment = assess(survey, desired, actual);
  const { decision, kept, growth, leaving, problem } = assessment;
  const steps: Step[] = [];
  if (kept.length > 0 || growth.length > 0) {
    const to = situation.size + kept.length + growth.length;
    const names = [
      ...kept.map(({ record }) => `${record.clone.name} stays`),
      ...growth.map(({ clone, hostName }) => `${clone.name} on host ${hostName}`),
    ];
    steps.push({
      ...bookkeeping('scale-out', pool, `pool ${pool}`),
      cloud: survey.spec.cloud,
      reason: `${situation.size} to ${to} members (${names.join(', ')}): ${decision.reason}`,
      undo: 'scale-in',
      lanes: [poolLane(pool), ...kept.map(({ key }) => cloneLane(key))],
      step: 'scale-out',
      pool,
      clones: [...growth],
      kept: kept.map(({ key }) => key),
      nextNumber: assessment.nextNumber,
      decision: decided(actual, survey, to, decision.reason),
    });
    for (const record of growth) steps.push(...preview(record));
  } else if (problem !== null && decision.target > situation.size) steps.push(unable(assessment, survey));
  if (leaving.length > 0) {
    const to = situation.size - leaving.length;
    const names = leaving.map(({ record }) => record.clone.name).join(', ');
    steps.push({
      ...bookkeeping('scale-in', pool, `pool ${pool}`),
      cloud: survey.spec.cloud,
      reason: `${situation.size} to ${to} members (${names} drain): ${decision.reason}`,
      undo: 'scale-out',
      lanes: [poolLane(pool), ...leaving.map(({ key }) => cloneLane(key))],
      step: 'scale-in',
      pool,
      clones: leaving.map(({ key }) => key),
      decision: decided(actual, survey, to, decision.reason),
      message: decision.reason,
    });
    for (const clone of leaving) steps.push(...removalPreview(clone));
  }
  return steps;
}

/** Whether a name is one that clones of the pool are given. */
export function isNamedAsClone(name: string, pool: string, { namePrefix }: AutoscaleSpec): boolean {
  const prefix = `${namePrefix ?? pool}-`;
  return name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length));
}

/** Members that bear the mark of a clone and a name as this pool gives them, and are not on record: a store was lost. */
function planAdoptions({ pool, spec, autoscale, others }: Survey, actual: Actual): Step[] {
  return others.flatMap((member): Step[] => {
    const { vm, host } = member;
    if (!vm.isClone || !isNamedAsClone(vm.name, pool, autoscale)) return [];
    const { readyTimeoutMs, drainTimeoutMs } = autoscale;
    const record: CloneRecord = {
      pool,
      cloud: spec.cloud,
      model: null,
      clone: { name: vm.name, host: vm.host },
      hostName: host.name,
      vm: vm.id,
      phase: 'ready',
      since: actual.now,
      message: '',
      readyTimeoutMs,
      drainTimeoutMs,
      isUncertain: false,
      isHopeless: false,
    };
    return [
      {
        ...bookkeeping('adopt-clone', cloneKey(pool, vm.name), objectOf(record)),
        cloud: spec.cloud,
        reason: `it bears the mark of a clone, and the store had lost it; pool ${pool} may let it go again`,
        blockedBy: actual.unreachable.get(spec.cloud) ?? null,
        step: 'adopt-clone',
        record,
      },
    ];
  });
}

/** A growth that cannot be carried out is shown as a step that waits for its remedy. */
function unable({ decision, problem }: Assessment, { pool, situation }: Survey): Step {
  return {
    ...bookkeeping('scale-out', pool, `pool ${pool}`),
    reason: `${situation.size} to ${decision.target} members: ${decision.reason}`,
    blockedBy: problem,
    step: 'scale-out',
    pool,
    clones: [],
    kept: [],
    nextNumber: 0,
    decision: { at: '', from: 0, to: 0, reason: '', figures: figuresOf(situation) },
  };
}

/** What follows once the clone is on record. */
function preview(record: CloneRecord): Step[] {
  const key = cloneKey(record.pool, record.clone.name);
  return [
    { ...cloneVm(key, record), blockedBy: 'it is put on record first' },
    { ...admission(key, record), blockedBy: 'it is made first' },
  ];
}

function removalPreview({ key, record, vm }: SurveyedClone): Step[] {
  return [
    { ...retirement(key, record, 'its connections end'), blockedBy: 'it takes no new connections first' },
    { ...removal(key, record, vm?.vm.id ?? ''), blockedBy: 'its connections end first' },
  ];
}

function planClone(
  clone: SurveyedClone,
  survey: Survey | undefined,
  engines: ReadonlySet<string>,
  desired: Desired,
  actual: Actual,
): Step[] {
  const { key, record } = clone;
  const pool = desired.policies.pools.get(record.pool);
  const isUnreadable = desired.policies.unreadable.some(
    (one) => one.kind === 'pool' && one.name === record.pool,
  );
  const isLeft = record.phase !== 'draining' && record.phase !== 'removing';
  if (isLeft && !isUnreadable && pool?.cloud !== record.cloud) {
    const message = pool ? `pool ${record.pool} is in another cloud now` : `pool ${record.pool} is gone`;
    return [
      {
        ...bookkeeping('scale-in', key, objectOf(record)),
        reason: `${message}: what was cloned for it is removed`,
        step: 'scale-in',
        pool: record.pool,
        clones: [key],
        decision: null,
        message,
      },
      ...removalPreview(clone),
    ];
  }
  switch (record.phase) {
    case 'cloning':
      return planCloning(clone, survey, actual);
    case 'starting':
      return planStarting(clone, survey, desired, actual);
    case 'ready':
      return isMissing(clone, actual) ? [forgetting(key, record, 'its VM is gone')] : [];
    case 'draining':
      return planDraining(clone, engines, pool !== undefined, actual);
    case 'removing':
      return planRemoving(clone, actual);
  }
}

function planCloning({ key, record }: SurveyedClone, survey: Survey | undefined, actual: Actual): Step[] {
  const step = cloneVm(key, record);
  const attempts = actual.failures.get(step.id) ?? 0;
  if ((record.isHopeless || attempts >= MAX_ATTEMPTS) && !actual.unreachable.has(record.cloud)) {
    return [givingUp(key, record, record.message || `it failed ${attempts} times`, survey, actual)];
  }
  return [{ ...step, blockedBy: hostBlock(record.cloud, record.clone.host, actual) }, admission(key, record)];
}

function planStarting(
  clone: SurveyedClone,
  survey: Survey | undefined,
  desired: Desired,
  actual: Actual,
): Step[] {
  const { key, record, member, health } = clone;
  if (isMissing(clone, actual))
    return [givingUp(key, record, 'its VM vanished before it was up', survey, actual)];
  const isReachable = member !== null && (member.ipv4 !== null || member.ipv6 !== null);
  const isUp = isReachable && (health.health === 'up' || !desired.usedPools.has(record.pool));
  if (isUp) return [{ ...admission(key, record), blockedBy: null }];
  const reason = isReachable ? health.reason : member ? 'its guest has no address yet' : health.reason;
  const waitedMs = actual.now - record.since;
  // Time that nobody could have probed it in does not count against it.
  if (waitedMs >= record.readyTimeoutMs && !actual.unreachable.has(record.cloud)) {
    const message = `it was not up ${Math.round(record.readyTimeoutMs / 1000)} s after it was made: ${reason}`;
    return [givingUp(key, record, message, survey, actual)];
  }
  return [{ ...admission(key, record), blockedBy: `it is not up yet: ${reason}` }];
}

function planDraining(
  clone: SurveyedClone,
  engines: ReadonlySet<string>,
  hasPool: boolean,
  actual: Actual,
): Step[] {
  const { key, record, vm, member, connections } = clone;
  if (isMissing(clone, actual)) return [forgetting(key, record, 'its VM is gone')];
  const { cloneSettleMs } = actual.timing;
  const idleSince = actual.fleet.idleSince.get(key);
  const isIdle = idleSince !== undefined && actual.now - idleSince >= cloneSettleMs;
  const leftMs = record.since + record.drainTimeoutMs - actual.now;
  const isCarried = hasPool && member !== null && engines.size > 0 && vm?.vm.power === 'on';
  const silent = [...engines].find((engine) => actual.engines.get(engine)?.verdict !== 'alive');
  const ask = isIdle ? 'it has no connections left' : !isCarried ? 'nobody is sent to it any more' : null;
  let blockedBy: string | null = actual.unreachable.get(record.cloud) ?? null;
  let reason =
    ask ?? `its time to drain is over, ${connections ?? 'nobody knows how many'} connections are cut`;
  if (ask === null && blockedBy === null) {
    if (leftMs > 0) {
      blockedBy = `${connections ?? 'nobody knows how many'} connections are left, for ${Math.ceil(leftMs / 1000)} s more`;
      reason = 'its connections end, or its time to drain is over';
    } else if (silent !== undefined) {
      blockedBy = `engine ${silent} is ${actual.engines.get(silent)?.verdict ?? 'absent'}: nothing is taken away until it is heard`;
    }
  }
  return [
    { ...retirement(key, record, reason), blockedBy },
    { ...removal(key, record, vm?.vm.id ?? record.vm ?? ''), blockedBy: 'its connections end first' },
  ];
}

function planRemoving(clone: SurveyedClone, actual: Actual): Step[] {
  const { key, record, vm, unfinished } = clone;
  const found = vm?.vm ?? unfinished;
  if (found) {
    return [{ ...removal(key, record, found.id), blockedBy: hostBlock(record.cloud, found.host, actual) }];
  }
  const missingMs = actual.now - (actual.fleet.missingSince.get(key) ?? actual.now);
  // An answer that never came may still come true.
  const waitsMs =
    record.vm === null && record.isUncertain ? record.since + actual.timing.cloneGraceMs - actual.now : 0;
  const blockedBy =
    actual.unreachable.get(record.cloud) ??
    (!actual.world.clouds.has(record.cloud) ? `the inventory of ${record.cloud} is not known` : null) ??
    (waitsMs > 0
      ? `the platform gave no answer when it was made, and may still be at it: watched for ${Math.ceil(waitsMs / 1000)} s more`
      : missingMs < actual.timing.cloneSettleMs
        ? 'the inventory has shown it lately'
        : null);
  return [{ ...forgetting(key, record, 'it is gone'), blockedBy }];
}

/** Half-made clones that no record names: of a store that was lost. Somebody else's have the time to be finished. */
function planStrays(actual: Actual): Step[] {
  const known = new Set(
    [...actual.fleet.clones.values()].map((record) => hostKey(record.cloud, record.clone.name)),
  );
  return actual.world.unfinished.flatMap(({ cloud, vm }): Step[] => {
    if (vm.engine !== null || known.has(hostKey(cloud, vm.name))) return [];
    const since = actual.fleet.straySince.get(hostKey(cloud, vm.id)) ?? actual.now;
    const waitsMs = since + actual.timing.cloneGraceMs - actual.now;
    return [
      {
        ...cloudStep('remove-clone', hostKey(cloud, vm.id), `vm ${vm.name}`, cloud),
        reason: 'a clone that was cut short, and that nobody asks for',
        blockedBy:
          hostBlock(cloud, vm.host, actual) ??
          (waitsMs > 0 ? `whoever makes it has ${Math.ceil(waitsMs / 1000)} s more to finish it` : null),
        step: 'remove-clone',
        clone: hostKey(cloud, vm.id),
        vm: vm.id,
      },
    ];
  });
}

/** States of pools that are gone. */
function planForgetting(desired: Desired, actual: Actual): Step[] {
  const pools = new Set([...actual.fleet.clones.values()].map((record) => record.pool));
  return [...actual.fleet.states.keys()].flatMap((pool): Step[] => {
    const isNamed =
      desired.policies.pools.has(pool) ||
      desired.policies.unreadable.some((one) => one.kind === 'pool' && one.name === pool);
    if (isNamed || pools.has(pool)) return [];
    return [
      {
        ...bookkeeping('forget-scale', pool, `pool ${pool}`),
        reason: 'the pool is gone, and so are its clones',
        step: 'forget-scale',
        pool,
      },
    ];
  });
}

/** Whether the VM of a clone has been missing from a good inventory for a while. */
function isMissing({ key, record }: SurveyedClone, actual: Actual): boolean {
  const since = actual.fleet.missingSince.get(key);
  return (
    record.vm !== null &&
    since !== undefined &&
    !actual.unreachable.has(record.cloud) &&
    actual.now - since >= actual.timing.cloneSettleMs
  );
}

function decided(actual: Actual, survey: Survey, to: number, reason: string): ScaleDecision {
  const figures = figuresOf(survey.situation);
  return { at: new Date(actual.now).toISOString(), from: survey.situation.size, to, reason, figures };
}

function givingUp(
  key: string,
  record: CloneRecord,
  message: string,
  survey: Survey | undefined,
  actual: Actual,
): Step {
  const size = survey?.situation.size ?? 0;
  return {
    ...bookkeeping('give-up-clone', key, objectOf(record)),
    reason: `${message}; it is removed`,
    step: 'give-up-clone',
    clone: key,
    message,
    policy: survey ? policyText(survey.autoscale) : '',
    decision: {
      at: new Date(actual.now).toISOString(),
      from: size,
      to: Math.max(0, size - 1),
      reason: `${record.clone.name} on host ${record.hostName} came to nothing: ${message}`,
      figures: survey
        ? figuresOf(survey.situation)
        : { size, serving: 0, coming: 0, leaving: 0, connectionsPerMember: null, cpuPercent: null },
    },
  };
}

function cloneVm(key: string, record: CloneRecord): Step {
  const { source } = record.clone;
  const from =
    source?.kind === 'template'
      ? `template ${source.template}`
      : source?.kind === 'library-item'
        ? `library item ${source.library}/${source.item}`
        : `a ${source?.kind ?? 'full'} clone of vm ${record.model}`;
  return {
    ...cloudStep('clone-vm', key, objectOf(record), record.cloud),
    lanes: [cloneLane(key)],
    reason: `pool ${record.pool} grows: ${from} on host ${record.hostName}`,
    undo: 'remove-clone',
    step: 'clone-vm',
    clone: key,
    host: record.clone.host,
  };
}

function admission(key: string, record: CloneRecord): Step {
  return {
    ...bookkeeping('admit-clone', key, objectOf(record)),
    reason: 'it is up and serves',
    undo: 'scale-in',
    blockedBy: 'it is made first',
    step: 'admit-clone',
    clone: key,
  };
}

function retirement(key: string, record: CloneRecord, message: string): Step {
  return {
    ...bookkeeping('retire-clone', key, objectOf(record)),
    reason: message,
    step: 'retire-clone',
    clone: key,
    message,
  };
}

function removal(key: string, record: CloneRecord, vm: string): Step {
  return {
    ...cloudStep('remove-clone', key, objectOf(record), record.cloud),
    reason:
      record.phase === 'removing'
        ? record.message || 'it is not needed any more'
        : 'it is not needed any more',
    step: 'remove-clone',
    clone: key,
    vm,
  };
}

function forgetting(key: string, record: CloneRecord, reason: string): Step {
  return {
    ...bookkeeping('forget-clone', key, objectOf(record)),
    reason,
    cloud: record.cloud,
    step: 'forget-clone',
    clone: key,
  };
}

function objectOf(record: CloneRecord): string {
  return `vm ${record.clone.name}`;
}

type Base = Pick<Step, 'id' | 'object' | 'undo' | 'blockedBy' | 'isUrgent' | 'cloud' | 'lanes' | 'shares'>;

function bookkeeping(verb: CloneAction['step'], subject: string, object: string): Base {
  const isOfPool =
    verb === 'scale-out' || verb === 'forget-scale' || (verb === 'scale-in' && !subject.includes('/'));
  return {
    id: stepId(verb, subject),
    object,
    undo: null,
    blockedBy: null,
    isUrgent: false,
    cloud: null,
    lanes: [isOfPool ? poolLane(subject) : cloneLane(subject)],
    shares: [],
  };
}

function cloudStep(verb: CloneAction['step'], subject: string, object: string, cloud: string): Base {
  return { ...bookkeeping(verb, subject, object), cloud, lanes: [cloneLane(subject)] };
}

function poolLane(pool: string): string {
  return `pool:${pool}`;
}
