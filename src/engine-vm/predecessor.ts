/**
 * An engine takes the place of another process of the same engine: it makes everything ready first, and only then ends
 * the other one, so that nobody takes up new flows for no longer than that takes.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { WeftError } from '../policy/errors.ts';

/** A process that does not end by itself by then (it hangs) is killed. */
const PATIENCE_MS = 2000;
const KILL_MS = 10_000;

/**
 * Ends the process and resolves when it is gone; gone already: at once. Throws ERR_KERNEL where it is in another
 * network namespace, and so no engine that this one could replace, or cannot be ended.
 */
export async function endPredecessor(pid: number, signal: AbortSignal): Promise<void> {
  if (isGone(pid)) return;
  if (readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync('/proc/self/ns/net')) {
    throw new WeftError('ERR_KERNEL', `process ${pid} is no engine of this network namespace`);
  }
  const beganAt = performance.now();
  kill(pid, 'SIGTERM');
  let isKilled = false;
  while (!isGone(pid)) {
    const passedMs = performance.now() - beganAt;
    if (!isKilled && passedMs > PATIENCE_MS) {
      kill(pid, 'SIGKILL');
      isKilled = true;
    }
    if (passedMs > KILL_MS) {
      throw new WeftError('ERR_KERNEL', `process ${pid} does not end on SIGKILL; it is stuck in the kernel`);
    }
    await delay(2, undefined, { signal });
  }
}

function kill(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A zombie has let go of all it had. */
function isGone(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    return state === 'Z' || state === 'X';
  } catch {
    return true;
  }
}
