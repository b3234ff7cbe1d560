/** Doing an operation again, from reading on, when somebody else was at the same object. */
import { abortable } from './session.ts';
import { faultName } from './vim/faults.ts';

/**
 * Repeats the work while its object is busy with a task or changed between reading and writing. The task may be our
 * own, started by a call whose reply was lost; the work reads first and finds what that task has done. Gives up, with
 * the fault, when it takes longer than that.
 */
export async function untilFree<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= ATTEMPTS || !PASSING.includes(faultName(error) ?? '')) throw error;
      const ms = Math.min(FIRST_MS * 2 ** attempt, LONGEST_MS) * (0.5 + Math.random());
      await abortable(new Promise((resolve) => setTimeout(resolve, ms)), signal);
    }
  }
}

const PASSING = ['TaskInProgress', 'ConcurrentAccess'];
/** About half a minute in all. */
const ATTEMPTS = 18;
const FIRST_MS = 50;
const LONGEST_MS = 2500;
