/** How checks wait: for a status, for a condition, for a while; all end when the run is interrupted. */
import type { SystemStatus } from '../../policy/answers.ts';
import type { CheckContext } from './check.ts';

/** True once a status fulfils the predicate, false after `timeoutMs`. */
export async function waitFor(
  context: CheckContext,
  holds: (status: SystemStatus) => boolean,
  timeoutMs: number,
  pauseMs = 100,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (holds(await context.status())) return true;
    if (Date.now() > deadline) return false;
    await sleep(pauseMs, context.signal);
  }
}

/** True once the predicate holds, false after `timeoutMs`. */
export async function until(holds: () => boolean, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > deadline) return false;
    await sleep(50, signal);
  }
  return true;
}

/** Throws the signal's reason when it aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}
