/** The lab platform's segments and ports. */
import type { NicRef, SegmentSpec } from '../hypervisor/platform.ts';
import type { LabSession } from './session.ts';

export async function ensureSegment(
  session: LabSession,
  segment: SegmentSpec,
  signal: AbortSignal,
): Promise<void> {
  await session.call('PUT', pathOf(segment.host, segment.name), signal, { shadows: segment.shadows });
}

export async function removeSegment(
  session: LabSession,
  host: string,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  await session.call('DELETE', pathOf(host, segment), signal);
}

export async function attachNic(
  session: LabSession,
  nic: NicRef,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  const path = `/vms/${encodeURIComponent(nic.vm)}/nics/${encodeURIComponent(nic.nic)}/segment`;
  await session.call('PUT', path, signal, { segment });
}

export async function mirrorNics(
  session: LabSession,
  engine: string,
  nics: readonly NicRef[],
  signal: AbortSignal,
): Promise<void> {
  const body = { nics: nics.map(({ vm, nic }) => ({ vm, nic })) };
  await session.call('PUT', `/engines/${encodeURIComponent(engine)}/mirror`, signal, body);
}

function pathOf(host: string, segment: string): string {
  return `/hosts/${encodeURIComponent(host)}/segments/${encodeURIComponent(segment)}`;
}
