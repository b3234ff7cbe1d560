/** Waiting for a vCenter task: a collector of its own watches `info`, so that waits do not disturb each other. */
import { WeftError } from '../policy/errors.ts';
import type { VcenterSession } from './session.ts';
import { errorOfFault, faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

const WAIT_SECONDS = 30;
const CLEAN_UP_MS = 5000;

/** Resolves with the task's result; throws its fault. When the signal aborts, cancels the task and throws the reason. */
export async function waitForTask(
  session: VcenterSession,
  task: MoRef,
  doing: string,
  signal: AbortSignal,
  progress?: (fraction: number) => void,
): Promise<unknown> {
  try {
    for (;;) {
      const generation = session.generation;
      try {
        return await watchTask(session, task, doing, signal, progress);
      } catch (error) {
        // The collector went with its session; the task did not.
        if (session.generation === generation || faultName(error) !== 'ManagedObjectNotFound') throw error;
      }
    }
  } catch (error) {
    if (signal.aborted) {
      await session.call(task, 'CancelTask', {}, AbortSignal.timeout(CLEAN_UP_MS)).catch(() => undefined);
    }
    throw error;
  }
}

async function watchTask(
  session: VcenterSession,
  task: MoRef,
  doing: string,
  signal: AbortSignal,
  progress?: (fraction: number) => void,
): Promise<unknown> {
  const { propertyCollector } = session.content;
  const collector = await session.call(propertyCollector, 'CreatePropertyCollector', {}, signal);
  try {
    const spec = {
      propSet: [{ type: 'Task', pathSet: ['info.state', 'info.progress', 'info.error', 'info.result'] }],
      objectSet: [{ obj: task }],
    };
    await session.call(collector, 'CreateFilter', { spec, partialUpdates: false }, signal);
    const info = new Map<string, unknown>();
    for (let version = ''; ; ) {
      const update = await session.call(
        collector,
        'WaitForUpdatesEx',
        { version, options: { maxWaitSeconds: WAIT_SECONDS } },
        signal,
      );
      if (!update) continue;
      version = update.version;
      for (const filter of update.filterSet ?? []) {
        for (const object of filter.objectSet ?? []) {
          if (object.kind === 'leave') throw gone(doing);
          for (const change of object.changeSet ?? []) info.set(change.name, change.val);
        }
      }
      const percent = info.get('info.progress');
      if (typeof percent === 'number') progress?.(Math.min(Math.max(percent / 100, 0), 1));
      const state = info.get('info.state');
      if (state === 'success') return info.get('info.result');
      if (state === 'error') throw taskError(info.get('info.error'), doing);
    }
  } finally {
    await session
      .call(collector, 'DestroyPropertyCollector', {}, AbortSignal.timeout(CLEAN_UP_MS))
      .catch(() => undefined);
  }
}

/** The fault of a failed task, in the words of a failed call. */
function taskError(error: unknown, doing: string): WeftError {
  const { fault, localizedMessage } = (error ?? {}) as Partial<Vim<'LocalizedMethodFault'>>;
  const { $type, ...detail } = (fault ?? {}) as Record<string, unknown>;
  return errorOfFault(
    { name: typeof $type === 'string' ? $type : 'MethodFault', message: localizedMessage ?? '', detail },
    doing,
  );
}

function gone(doing: string): WeftError {
  return new WeftError(
    'ERR_HYPERVISOR_UNREACHABLE',
    `vCenter forgot the task of ${doing} before it told its end`,
  );
}
