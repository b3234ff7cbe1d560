/** What is left of a shadow segment of vCenter whose making was cut short: its `out` port group. */
import type { SegmentSpec } from '../../src/hypervisor/platform.ts';
import { findSegment, readHostNetworks } from '../../src/vcenter/host-networks.ts';
import type { VcenterSession } from '../../src/vcenter/session.ts';

/** Removes the port group that NICs are attached to, which is made last. */
export async function halveSegment(
  session: VcenterSession,
  { host, name }: SegmentSpec,
  signal: AbortSignal,
): Promise<void> {
  await session.connect(signal);
  const on = await readHostNetworks(session, host, signal);
  const shadow = findSegment(on, name);
  if (shadow?.kind === 'distributed') await session.task(shadow.ref, 'Destroy_Task', {}, signal);
  else await session.call(on.networkSystem, 'RemovePortGroup', { pgName: name }, signal);
}
