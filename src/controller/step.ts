/** The steps there are: what the planner says and what the performer does. */
import type { NicRef } from '../hypervisor/platform.ts';
import type { StepSummary } from '../policy/answers.ts';
import type { AddressSetEntry } from '../policy/graph.ts';
import type { GraphContent, Placement } from './actual.ts';
import { CLONE_BOOKKEEPING, type CloneAction } from './autoscale/clone-step.ts';

interface StepBase {
  /** Equal for the same step planned again: failures in a row are counted by it. */
  id: string;
  object: string;
  reason: string;
  undo: string | null;
  /** What it waits for, or null where it can be performed now. */
  blockedBy: string | null;
  /** Traffic is lost until it is done: it overtakes others and is not held up by the journal. */
  isUrgent: boolean;
  /** The cloud it acts on, or null where it only touches the store and the hub. */
  cloud: string | null;
  /** Things that no other step may touch meanwhile. */
  lanes: readonly string[];
  /** Things that no step may have as a lane meanwhile. */
  shares: readonly string[];
  /** Privileges that the cloud's user lacks for it, a sentence each. */
  missing?: readonly string[];
}

export type Action =
  | {
      step: 'place-engine';
      engine: string;
      group: string;
      host: string;
      production: string;
      addresses: string[];
      vm: string | null;
    }
  | { step: 'ensure-segment'; host: string; segment: string; shadows: string }
  | {
      step: 'deploy-engine';
      engine: string;
      host: string;
      segments: { mgmt: string; out: string; in: string };
      /** Null where the group leaves it to the cloud. */
      size: 'small' | 'medium' | 'large' | null;
    }
  | {
      /** Gives an engine of a lost store, while it runs, what it needs to speak to this controller. */
      step: 'enrol-engine';
      engine: string;
      vm: string;
      host: string;
      segments: { mgmt: string; out: string; in: string };
    }
  | { step: 'push-graph'; engine: string; content: GraphContent | null; hash: string; sets?: GraphSets }
  | { step: 'record-interception'; nic: string; segment: string }
  | { step: 'intercept-nic'; nic: string; vm: string; port: string; segment: string; before: string }
  | { step: 'release-nic'; nic: string; vm: string; port: string; segment: string }
  | { step: 'forget-interception'; nic: string }
  | { step: 'mirror-nics'; engine: string; host: string; nics: readonly NicRef[] }
  | { step: 'power-engine'; engine: string; vm: string; power: 'on' | 'off' | 'reset' }
  | { step: 'keep-engine'; engine: string; rest: Placement['rest'] }
  | { step: 'remove-engine'; engine: string; vm: string; isRecovery: boolean }
  | { step: 'forget-engine'; engine: string }
  | { step: 'settle-engine'; engine: string }
  | { step: 'remove-segment'; host: string; segment: string }
  | CloneAction;

export type Verb = Action['step'];

/** Cloud and engine of the place-engine action are in the base and the action. */
/** The address sets that a graph names, by name. */
export type GraphSets = ReadonlyMap<string, AddressSetEntry>;

export type Step = StepBase & Action;

/** Steps that change only the store and the hub: they are their own journal. */
const BOOKKEEPING: ReadonlySet<Verb> = new Set<Verb>([
  'place-engine',
  'push-graph',
  'record-interception',
  'forget-interception',
  'forget-engine',
  'settle-engine',
  'keep-engine',
  ...CLONE_BOOKKEEPING,
]);

/** Whether the step touches a cloud and is journalled. */
export function isJournalled(step: Step): boolean {
  return !BOOKKEEPING.has(step.step);
}

/** The id of a step: its verb and what it acts on. */
export function stepId(verb: Verb, subject: string): string {
  return `${verb}:${subject}`;
}

/** Lane of an engine. */
export function engineLane(engine: string): string {
  return `engine:${engine}`;
}

/** Lane of a segment of a host. */
export function segmentLane(cloud: string, host: string, segment: string): string {
  return `segment:${cloud}/${host}/${segment}`;
}

/** Lane of a NIC. */
export function nicLane(nic: string): string {
  return `nic:${nic}`;
}

/** As `weft plan` prints it. */
export function summarize(step: Step): StepSummary {
  return {
    step: step.step,
    object: step.object,
    reason: step.blockedBy === null ? step.reason : `${step.reason} (waits: ${step.blockedBy})`,
    undo: step.undo,
    ...(step.missing ? { missing: [...step.missing] } : {}),
  };
}
