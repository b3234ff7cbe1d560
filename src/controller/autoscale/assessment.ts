/** What is to become of a pool now: the decision, how it is carried out, and what keeps it from being carried out. Pure. */
import type { AutoscaleSpec } from '../../policy/autoscale.ts';
import type { Actual } from '../actual.ts';
import type { Desired } from '../desired.ts';
import { type Decision, decide } from './decide.ts';
import { type CloneRecord, NEW_STATE, type ScaleState } from './fleet.ts';
import { isLeaving } from './fleet-view.ts';
import { nextClones } from './next-clone.ts';
import type { Survey, SurveyedClone } from './survey.ts';

export interface Assessment {
  decision: Decision;
  /** Clones that stay after all, though they were draining. */
  kept: readonly SurveyedClone[];
  /** Clones to make. */
  growth: readonly CloneRecord[];
  nextNumber: number;
  /** Clones that leave. */
  leaving: readonly SurveyedClone[];
  /** Why the decision is not carried out, in whole or in part, or null. */
  problem: string | null;
}

const BACK_OFF_MS = { first: 60_000, most: 3_600_000 };

export function assess(survey: Survey, desired: Desired, actual: Actual): Assessment {
  const { pool, autoscale, situation, clones } = survey;
  const state = actual.fleet.states.get(pool) ?? NEW_STATE;
  const decision = decide(autoscale, situation);
  const nothing = {
    decision,
    kept: [],
    growth: [],
    nextNumber: state.nextNumber,
    leaving: [],
    problem: null,
  };
  const difference = decision.target - situation.size;
  if (difference < 0) {
    const leaving = victims(clones, -difference);
    const short = -difference - leaving.length;
    const problem =
      short > 0
        ? `${situation.size - leaving.length} members are left that Weft did not make or that are on their way already: it removes only its own clones`
        : null;
    return { ...nothing, leaving, problem };
  }
  if (difference === 0) return nothing;
  if (!desired.usedPools.has(pool)) {
    return {
      ...nothing,
      problem: 'no enabled virtual service uses the pool, so nobody would serve by its members',
    };
  }
  // Whoever drains is still there and knows its work: cheaper than another clone.
  const kept = clones
    .filter(({ record, vm }) => record.phase === 'draining' && vm?.vm.power === 'on')
    .slice(-difference);
  const missing = difference - kept.length;
  if (missing === 0) return { ...nothing, kept };
  const waits = backOffMs(state, autoscale, actual.now);
  if (waits > 0) {
    const problem = `the last clone came to nothing (${state.failure}); the next one is made in ${Math.ceil(waits / 1000)} s, or once the pool is changed`;
    return { ...nothing, kept, problem };
  }
  // After a failure one clone shows whether the cause is gone.
  const isTrial = isFailing(state, autoscale);
  const coming = clones.some(({ record }) => record.phase === 'cloning' || record.phase === 'starting');
  if (isTrial && coming)
    return { ...nothing, kept, problem: 'one clone is tried first, as the last one came to nothing' };
  const next = nextClones(survey, isTrial ? 1 : missing, desired, actual);
  if ('problem' in next) return { ...nothing, kept, problem: next.problem };
  return { ...nothing, kept, growth: next.records, nextNumber: next.nextNumber };
}

/** Text of the policy by which clones are made: once it is changed, earlier failures say nothing any more. */
export function policyText(autoscale: AutoscaleSpec): string {
  const { source, hosts, folder, datastore, segment, customisation, tags, namePrefix, readyTimeoutMs } =
    autoscale;
  return JSON.stringify([
    source,
    hosts,
    folder,
    datastore,
    segment,
    customisation,
    tags,
    namePrefix,
    readyTimeoutMs,
  ]);
}

function isFailing(state: ScaleState, autoscale: AutoscaleSpec): boolean {
  return state.failures > 0 && state.failedPolicy === policyText(autoscale);
}

/** How long no clone is made, after as many as came to nothing in a row. */
function backOffMs(state: ScaleState, autoscale: AutoscaleSpec, now: number): number {
  if (!isFailing(state, autoscale)) return 0;
  const pause = Math.min(BACK_OFF_MS.first * 2 ** (state.failures - 1), BACK_OFF_MS.most);
  return Math.max(0, state.failedAt + pause - now);
}

/** Which clones leave: those that serve nobody, then those with the fewest connections, the newest first. */
function victims(clones: readonly SurveyedClone[], count: number): SurveyedClone[] {
  const rank = ({ record, health, connections }: SurveyedClone): number[] => [
    record.phase === 'ready' ? 1 : 0,
    health.health === 'up' ? 1 : 0,
    connections ?? Number.MAX_SAFE_INTEGER,
  ];
  return clones
    .filter(({ record }) => !isLeaving(record))
    .map((clone, index) => ({ clone, rank: [...rank(clone), -index] }))
    .sort((a, b) => {
      for (let at = 0; at < a.rank.length; at++) {
        if (a.rank[at] !== b.rank[at]) return a.rank[at]! - b.rank[at]!;
      }
      return 0;
    })
    .slice(0, count)
    .map(({ clone }) => clone);
}
