/** What users see of a pool that scales: size, why it is what it is, clones, and the latest decisions. Pure. */
import type { AutoscaleStatus, CloneStatus } from '../../policy/autoscale.ts';
import type { Actual } from '../actual.ts';
import type { Desired } from '../desired.ts';
import { type Assessment, assess } from './assessment.ts';
import { figuresOf } from './decide.ts';
import { NEW_STATE, type ScaleState } from './fleet.ts';
import { isLeaving } from './fleet-view.ts';
import { type Survey, surveyPools } from './survey.ts';

/** By pool name, of every pool that scales. */
export function scaleStatuses(desired: Desired, actual: Actual): Map<string, AutoscaleStatus> {
  const statuses = new Map<string, AutoscaleStatus>();
  for (const [pool, survey] of surveyPools(desired, actual)) {
    const assessment = assess(survey, desired, actual);
    const state = actual.fleet.states.get(pool) ?? NEW_STATE;
    statuses.set(pool, {
      state: stateOf(survey, assessment),
      wanted: assessment.decision.target,
      message: messageOf(survey, assessment, state),
      figures: figuresOf(survey.situation),
      clones: survey.clones.map(({ record, health }): CloneStatus => {
        const { phase, message, clone, hostName, since } = record;
        return {
          vm: clone.name,
          host: hostName,
          phase,
          since: new Date(since).toISOString(),
          message:
            message !== '' ? message : phase === 'ready' && health.health === 'up' ? '' : health.reason,
        };
      }),
      decisions: state.decisions,
    });
  }
  return statuses;
}

function stateOf({ situation, clones }: Survey, { decision, problem }: Assessment): AutoscaleStatus['state'] {
  if (problem !== null) return 'held';
  if (decision.target > situation.size || situation.coming > 0) return 'growing';
  if (decision.target < situation.size || clones.some(({ record }) => isLeaving(record))) return 'shrinking';
  return 'steady';
}

function messageOf({ situation }: Survey, { decision, problem }: Assessment, state: ScaleState): string {
  const parts = [decision.reason];
  if (problem !== null) parts.push(problem);
  else if (state.failures > 0) parts.push(`the last clone came to nothing (${state.failure})`);
  if (problem === null && situation.distrust !== null) {
    parts.push(`nothing is taken away: ${situation.distrust}`);
  }
  return parts.join('; ');
}
