/** Performs the steps that change how many members a pool has. Idempotent: repeating one is safe. */
import type { Platform, Progress } from '../../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../../policy/errors.ts';
import type { Clock } from '../clock.ts';
import type { Step } from '../step.ts';
import type { CloneAction } from './clone-step.ts';
import { type CloneRecord, type Fleet, NEW_STATE } from './fleet.ts';

export interface CloneContext {
  fleet: Fleet;
  clock: Clock;
  progress: Progress;
  platform(cloud: string): Platform;
}

/** Answers that say for certain that no clone was left: there is nothing to be watched for. */
const CERTAIN = [
  'ERR_HYPERVISOR_REFUSED',
  'ERR_HYPERVISOR_UNSUPPORTED',
  'ERR_NOT_FOUND',
  'ERR_TIMEOUT',
] as const;

export async function performClones(
  step: Step & CloneAction,
  context: CloneContext,
  signal: AbortSignal,
): Promise<void> {
  const { fleet, clock } = context;
  const now = clock.now();
  switch (step.step) {
    case 'scale-out': {
      const kept = step.kept.flatMap((key) => {
        const record = fleet.clones.get(key);
        return record?.phase === 'draining'
          ? [{ ...record, phase: 'ready' as const, since: now, message: 'it stays after all' }]
          : [];
      });
      const made = step.clones.map((record) => ({ ...record, since: now }));
      const { nextNumber } = step;
      await fleet.change(step.pool, { lastOutAt: now, nextNumber }, [...kept, ...made], step.decision);
      return;
    }
    case 'clone-vm':
      return cloneVm(step.clone, context, signal);
    case 'admit-clone': {
      const record = fleet.clones.get(step.clone);
      if (record?.phase !== 'starting') return;
      const settled = { failures: 0, failure: '', failedHosts: [] };
      await fleet.change(record.pool, settled, [{ ...record, phase: 'ready', since: now, message: '' }]);
      return;
    }
    case 'adopt-clone':
      await fleet.change(step.record.pool, {}, [{ ...step.record, since: now }]);
      return;
    case 'give-up-clone': {
      const record = fleet.clones.get(step.clone);
      if (record?.phase !== 'cloning' && record?.phase !== 'starting') return;
      const before = fleet.states.get(record.pool) ?? NEW_STATE;
      const isSame = before.failedPolicy === step.policy;
      const state = {
        failures: isSame ? before.failures + 1 : 1,
        failedAt: now,
        failure: `${record.clone.name} on host ${record.hostName}: ${step.message}`,
        failedHosts: [...new Set([record.clone.host, ...(isSame ? before.failedHosts : [])])].slice(0, 100),
        failedPolicy: step.policy,
      };
      const removed: CloneRecord = { ...record, phase: 'removing', since: now, message: step.message };
      await fleet.change(record.pool, state, [removed], step.decision);
      return;
    }
    case 'scale-in': {
      const records = step.clones.flatMap((key): CloneRecord[] => {
        const record = fleet.clones.get(key);
        if (!record || record.phase === 'draining' || record.phase === 'removing') return [];
        // One that never served has nobody to wait for.
        const phase = record.phase === 'ready' ? 'draining' : 'removing';
        return [{ ...record, phase, since: now, message: step.message }];
      });
      await fleet.change(step.pool, { lastInAt: now }, records, step.decision);
      return;
    }
    case 'retire-clone': {
      const record = fleet.clones.get(step.clone);
      if (record?.phase !== 'draining') return;
      await fleet.keep({ ...record, phase: 'removing', since: now, message: step.message });
      return;
    }
    case 'remove-clone': {
      const record = fleet.clones.get(step.clone);
      try {
        await context.platform(cloudOf(step)).removeVm(step.vm, signal);
      } catch (error) {
        // Of that name, and without our mark: somebody else's. It stays, and what we know of it goes.
        if (record?.vm !== null || !isWeftError(error, 'ERR_HYPERVISOR_REFUSED')) throw error;
        await fleet.forget(step.clone);
      }
      return;
    }
    case 'forget-clone':
      return fleet.forget(step.clone);
    case 'forget-scale':
      return fleet.forgetPool(step.pool);
  }
}

async function cloneVm(key: string, context: CloneContext, signal: AbortSignal): Promise<void> {
  const { fleet, clock, progress } = context;
  const record = fleet.clones.get(key);
  if (record?.phase !== 'cloning') return;
  const platform = context.platform(record.cloud);
  // Before it is asked: a controller that is killed meanwhile does not hear the answer.
  if (!record.isUncertain) await fleet.keep({ ...record, isUncertain: true });
  try {
    const vm = await platform.cloneVm(record.model, record.clone, progress, signal);
    const made = fleet.clones.get(key) ?? record;
    await fleet.keep({ ...made, vm: vm.id, phase: 'starting', since: clock.now(), message: '' });
  } catch (error) {
    const isCertain = !signal.aborted && CERTAIN.some((code) => isWeftError(error, code));
    const message = error instanceof Error ? error.message : String(error);
    // What is refused may be granted later: somebody else was at it.
    const isHopeless = isCertain && !isWeftError(error, 'ERR_HYPERVISOR_REFUSED');
    await fleet.keep({ ...(fleet.clones.get(key) ?? record), isUncertain: !isCertain, isHopeless, message });
    throw error;
  }
}

function cloudOf(step: Step): string {
  if (step.cloud !== null) return step.cloud;
  throw new WeftError('ERR_INTERNAL', `step ${step.id} names no cloud`);
}
