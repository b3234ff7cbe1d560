/** The lab platform's load figures. */
import type { VmStats } from '../hypervisor/platform.ts';
import type { LabSession } from './session.ts';

export async function readStats(
  session: LabSession,
  vms: readonly string[],
  signal: AbortSignal,
): Promise<VmStats[]> {
  if (vms.length === 0) return [];
  return session.call<VmStats[]>('GET', `/stats?vms=${vms.map(encodeURIComponent).join(',')}`, signal);
}
