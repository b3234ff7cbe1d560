/** What becomes of a call to the simulated vCenter, as the injected faults say. */
import type { Fault } from '../world/faults.ts';
import { VimFault } from './wire/fault.ts';

export interface CallFate {
  delayMs: number;
  /** Thrown instead of carrying the call out. */
  fault: VimFault | null;
  /** Carried out, but the connection breaks instead of the answer. */
  isReplyLost: boolean;
  /** Every session ends before the call is looked at. */
  isSessionLost: boolean;
  /** The task that the call begins never ends by itself. */
  isStuck: boolean;
  /** What the task that the call begins ends with, undone. */
  taskFault: VimFault | null;
  /** vCenter goes down, after the call where its reply is lost as well, else before it; and comes back. */
  isRestart: boolean;
}

type CallRule = Extract<Fault, { kind: 'vcenter' }>;

/** Decides one call and counts it: a rule whose calls are used up leaves the list. */
export function fateOf(faults: Fault[], method: string, object: string): CallFate {
  const fate: CallFate = {
    delayMs: 0,
    fault: null,
    isReplyLost: false,
    isSessionLost: false,
    isStuck: false,
    taskFault: null,
    isRestart: false,
  };
  const falls = (rule: Fault): rule is CallRule =>
    rule.kind === 'vcenter' &&
    (rule.call === '*' || rule.call === method) &&
    (rule.object === null || rule.object === object) &&
    Math.random() * 100 < rule.percent;
  const use = (rule: CallRule): void => {
    fate.delayMs += rule.delayMs;
    if (rule.count !== null && --rule.count === 0) faults.splice(faults.indexOf(rule), 1);
  };
  // A call without a session gets no further: the other rules wait for the one that follows.
  for (const rule of faults.filter((one) => endsSessions(one) && falls(one)) as CallRule[]) {
    use(rule);
    fate.isSessionLost = true;
  }
  if (fate.isSessionLost) return fate;
  for (const rule of [...faults]) {
    if (endsSessions(rule) || !falls(rule)) continue;
    use(rule);
    if (rule.effect === 'busy') {
      fate.fault ??= new VimFault('ResourceInUse', `${object} is in use, because a fault was injected`, {
        type: method,
        name: object,
      });
    } else if (rule.effect === 'refuse') {
      fate.fault ??= new VimFault('SystemError', `${method} was refused, because a fault was injected`, {
        reason: 'injected',
      });
    } else if (rule.effect === 'deny') {
      fate.fault ??= new VimFault(
        'NoPermission',
        `permission for ${method} is withheld, because a fault was injected`,
        {
          object: { $ref: 'Folder', id: 'group-d1' },
          privilegeId: 'System.View',
        },
      );
    } else if (rule.effect === 'lose-reply') fate.isReplyLost = true;
    else if (rule.effect === 'stick') fate.isStuck = true;
    else if (rule.effect === 'restart') fate.isRestart = true;
    else if (rule.effect === 'conflict') {
      fate.fault ??= new VimFault(
        'ConcurrentAccess',
        `${object} has been changed since it was read, because a fault was injected`,
      );
    } else if (rule.effect === 'fail-task') {
      fate.taskFault ??= new VimFault(
        'SystemError',
        `the task of ${method} failed, because a fault was injected`,
        { reason: 'injected' },
      );
    }
  }
  return fate;
}

function endsSessions(rule: Fault): boolean {
  return rule.kind === 'vcenter' && rule.effect === 'expire-session';
}
