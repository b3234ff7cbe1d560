/**
 * Faults that are injected into a lab: VMs that hang, links that are cut or lose packets, API calls that are slow,
 * fail, or succeed without the caller hearing of it.
 */
import { z } from 'zod';

/** The calls of the platform contract that can be made to fail or wait. */
export const PLATFORM_METHODS = [
  'inventory',
  'watch',
  'ensureSegment',
  'removeSegment',
  'deployEngine',
  'removeVm',
  'cloneVm',
  'power',
  'migrate',
  'stats',
  'attach',
  'mirror',
] as const;
export type PlatformMethod = (typeof PLATFORM_METHODS)[number];

/** A link: the uplink of a host, or the cable of a VM's NIC. */
const Link = z.union([
  z.strictObject({ host: z.string() }),
  z.strictObject({ vm: z.string(), nic: z.string() }),
]);
export type Link = z.output<typeof Link>;

/** What a rule does to calls of the simulated vCenter, beside making them wait. */
export const VCENTER_EFFECTS = [
  'none',
  'refuse',
  'busy',
  'conflict',
  'deny',
  'lose-reply',
  'expire-session',
  'stick',
  'fail-task',
  'restart',
] as const;

/** What can be injected and stays until it is healed. VMs and NICs are named by id. */
export const FaultSpec = z.discriminatedUnion('kind', [
  /** Every process of the VM is stopped: the VM is on and does nothing. */
  z.strictObject({ kind: z.literal('hang'), vm: z.string() }),
  /** The host loses its power: its VMs are off, and the cluster starts those that are no engines elsewhere. */
  z.strictObject({ kind: z.literal('host'), host: z.string() }),
  /** The link is down. */
  z.strictObject({ kind: z.literal('cut'), link: Link }),
  /** So many of a hundred packets are lost, in each direction. */
  z.strictObject({ kind: z.literal('lose'), link: Link, percent: z.number().gt(0).max(100) }),
  /** Calls of the method wait before they are carried out. */
  z.strictObject({
    kind: z.literal('slow'),
    method: z.enum(PLATFORM_METHODS),
    delayMs: z.int().min(1).max(600_000),
  }),
  /**
   * The next calls of the method fail: with a fault, and nothing done; or, with `isReplyLost`, they are carried out
   * and the connection breaks instead of the answer.
   */
  z.strictObject({
    kind: z.literal('fail'),
    method: z.enum(PLATFORM_METHODS),
    count: z.int().min(1).max(1_000_000),
    isReplyLost: z.boolean(),
  }),
  /**
   * Calls of the simulated vCenter: of a method (`*` is every one), on one object or on all, so many of a hundred
   * and for so many calls (null: until it is healed). They wait, and then the effect comes.
   */
  z.strictObject({
    kind: z.literal('vcenter'),
    call: z.string().regex(/^(\*|\w{1,64})$/),
    object: z
      .string()
      .regex(/^[\w.-]{1,64}$/)
      .nullable(),
    percent: z.number().gt(0).max(100),
    count: z.int().min(1).max(1_000_000).nullable(),
    delayMs: z.int().min(0).max(600_000),
    effect: z.enum(VCENTER_EFFECTS),
  }),
  /** The user of the simulated vCenter has the privilege no more, as with a role that lacks it. */
  z.strictObject({ kind: z.literal('privilege'), privilege: z.string().regex(/^\w+(\.\w+)+$/) }),
]);
export type FaultSpec = z.output<typeof FaultSpec>;
export type Fault = FaultSpec & { id: string };

/** What becomes of one call. */
export interface CallFate {
  delayMs: number;
  failure: 'none' | 'refused' | 'reply-lost';
}

/** Decides one call and counts it: a `fail` fault whose calls are used up leaves the list. */
export function fateOf(method: PlatformMethod, faults: Fault[]): CallFate {
  const fate: CallFate = { delayMs: 0, failure: 'none' };
  for (const fault of [...faults]) {
    if (!('method' in fault) || fault.method !== method) continue;
    if (fault.kind === 'slow') {
      fate.delayMs += fault.delayMs;
    } else if (fate.failure === 'none') {
      fate.failure = fault.isReplyLost ? 'reply-lost' : 'refused';
      fault.count--;
      if (fault.count === 0) faults.splice(faults.indexOf(fault), 1);
    }
  }
  return fate;
}

/** True when both name the same link. */
export function isSameLink(a: Link, b: Link): boolean {
  if ('host' in a) return 'host' in b && a.host === b.host;
  return 'vm' in b && a.vm === b.vm && a.nic === b.nic;
}

/** True when injecting `next` replaces `present`: one fault of a kind per VM, link or method. */
export function isReplacedBy(present: FaultSpec, next: FaultSpec): boolean {
  if (present.kind === 'hang') return next.kind === 'hang' && present.vm === next.vm;
  if (present.kind === 'privilege') return next.kind === 'privilege' && present.privilege === next.privilege;
  if (present.kind === 'host') return next.kind === 'host' && present.host === next.host;
  if (present.kind === 'vcenter') {
    const isSameCall = next.kind === 'vcenter' && present.call === next.call;
    return isSameCall && present.object === next.object && present.effect === next.effect;
  }
  if (present.kind === 'cut' || present.kind === 'lose') {
    return next.kind === present.kind && isSameLink(present.link, next.link);
  }
  return next.kind === present.kind && 'method' in next && present.method === next.method;
}

/** The VM that has the fault, or whose cable has it; null for all others. */
export function vmOf(fault: Fault): string | null {
  if (fault.kind === 'hang') return fault.vm;
  return 'link' in fault && 'vm' in fault.link ? fault.link.vm : null;
}

/** One line for people. */
export function describeFault(fault: FaultSpec, nameOf: (vm: string) => string): string {
  const link = (target: Link) =>
    'host' in target ? `the uplink of ${target.host}` : `${nameOf(target.vm)}/${target.nic}`;
  switch (fault.kind) {
    case 'hang':
      return `${nameOf(fault.vm)} hangs`;
    case 'host':
      return `${fault.host} has lost its power`;
    case 'cut':
      return `${link(fault.link)} is cut`;
    case 'lose':
      return `${link(fault.link)} loses ${fault.percent}% of its packets`;
    case 'slow':
      return `${fault.method} calls wait ${fault.delayMs} ms`;
    case 'privilege':
      return `vCenter: the user lacks the privilege ${fault.privilege}`;
    case 'vcenter':
      return describeVcenterFault(fault);
    case 'fail':
      return fault.isReplyLost
        ? `the next ${fault.count} ${fault.method} calls are carried out, but their replies get lost`
        : `the next ${fault.count} ${fault.method} calls are refused`;
  }
}

function describeVcenterFault(fault: Extract<FaultSpec, { kind: 'vcenter' }>): string {
  const calls = fault.call === '*' ? 'every method' : fault.call;
  const effects: Record<(typeof VCENTER_EFFECTS)[number], string> = {
    none: '',
    refuse: 'are refused',
    busy: 'fail with ResourceInUse',
    conflict: 'fail with ConcurrentAccess',
    deny: 'fail with NoPermission',
    'lose-reply': 'are carried out, but their replies get lost',
    'expire-session': 'find every session expired',
    stick: 'begin tasks that do not end',
    'fail-task': 'begin tasks that fail',
    restart: 'find vCenter restarting',
  };
  const parts = [fault.delayMs > 0 ? `wait ${fault.delayMs} ms` : '', effects[fault.effect]].filter(
    (part) => part !== '',
  );
  const share = fault.percent < 100 ? `${fault.percent}% of the calls` : 'calls';
  const which = `${share} of ${calls}${fault.object ? ` on ${fault.object}` : ''}`;
  const limit = fault.count === null ? '' : `, ${fault.count} more times`;
  return `vCenter: ${which} ${parts.join(' and ') || 'pass'}${limit}`;
}
