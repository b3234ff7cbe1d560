/** The steps that change how many members a pool has. */
import type { ScaleDecision } from '../../policy/autoscale.ts';
import type { CloneRecord } from './fleet.ts';

export type CloneAction =
  /** Puts new clones on record, or keeps clones that drain. */
  | {
      step: 'scale-out';
      pool: string;
      clones: CloneRecord[];
      /** Keys of clones that stay after all. */
      kept: string[];
      nextNumber: number;
      decision: ScaleDecision;
    }
  /** Clone, customise, switch on, tag, and wait for an address: the platform does all of it, or none. */
  | { step: 'clone-vm'; clone: string; host: string }
  /** Its monitors call it up: from now on it counts. */
  | { step: 'admit-clone'; clone: string }
  /** A clone of an earlier controller whose store was lost: it is on record again. */
  | { step: 'adopt-clone'; record: CloneRecord }
  /** It came to nothing: it will be removed, and the next one waits. */
  | { step: 'give-up-clone'; clone: string; message: string; policy: string; decision: ScaleDecision }
  /** No new connections for these. */
  | { step: 'scale-in'; pool: string; clones: string[]; decision: ScaleDecision | null; message: string }
  /** It has drained. */
  | { step: 'retire-clone'; clone: string; message: string }
  | { step: 'remove-clone'; clone: string; vm: string }
  | { step: 'forget-clone'; clone: string }
  | { step: 'forget-scale'; pool: string };

/** Those that change only the store. */
export const CLONE_BOOKKEEPING: readonly CloneAction['step'][] = [
  'scale-out',
  'admit-clone',
  'adopt-clone',
  'give-up-clone',
  'scale-in',
  'retire-clone',
  'forget-clone',
  'forget-scale',
];

/** Lane of a clone. */
export function cloneLane(key: string): string {
  return `clone:${key}`;
}
