/** The lab platform's inventory and watch. */
import type { Inventory } from '../hypervisor/platform.ts';
import type { LabSession } from './session.ts';

export function readInventory(session: LabSession, signal: AbortSignal): Promise<Inventory> {
  return session.call<Inventory>('GET', '/inventory', signal);
}

/** Asks again as long as the daemon answers that nothing has changed. */
export async function watchInventory(
  session: LabSession,
  cursor: string,
  signal: AbortSignal,
): Promise<string> {
  for (;;) {
    const answer = await session.call<{ cursor: string }>(
      'GET',
      `/watch?cursor=${encodeURIComponent(cursor)}`,
      signal,
    );
    if (answer.cursor !== cursor) return answer.cursor;
  }
}
