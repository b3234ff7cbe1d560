/**
 * Ports of distributed switches whose VLAN was overridden to that of a shadow: interception as vCenter sees it. No
 * property tells of them, so they are fetched where Weft has a shadow.
 */
import { overrideOf } from './distributed-switch.ts';
import type { PortTable } from './inventory-listing.ts';
import type { MirroredObject, ObjectMirror } from './inventory-objects.ts';
import type { PortGroupMark } from './marks.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

/** The overridden ports now, by `switch/port`, with the mark of the shadow. */
export async function readPorts(
  session: VcenterSession,
  mirror: ObjectMirror,
  signal: AbortSignal,
): Promise<PortTable> {
  const table = new Map<string, PortGroupMark>();
  const portgroups = [...mirror.all()].filter((object) => object.ref.type === 'DistributedVirtualPortgroup');
  const marks = portgroups.flatMap((one) => markOf(one) ?? []);
  for (const { ref, properties } of portgroups) {
    const ours = marks.filter((mark) => mark.production === ref.value);
    const dvs = properties['config.distributedVirtualSwitch'] as MoRef | undefined;
    if (ours.length === 0 || !dvs) continue;
    const criteria = { connected: true, portgroupKey: [ref.value], inside: true };
    for (const port of await session.call(dvs, 'FetchDVPorts', { criteria }, signal)) {
      const vlan = overrideOf(port);
      const named = ours.filter((mark) => mark.vlan === vlan);
      // An override moves with its VM, also to a host that has no shadow: it is listed there all the same, for its
      // path has to be put back; and so where somebody took the shadow away, and only its `out` is left.
      const shadow =
        named.find((mark) => mark.host === port.proxyHost?.value) ??
        named.find((mark) => mark.role === 'in') ??
        named[0];
      if (shadow) table.set(`${port.dvsUuid}/${port.key}`, shadow);
    }
  }
  return table;
}

function markOf(portgroup: MirroredObject): PortGroupMark | null {
  return (portgroup.properties['config.description'] as PortGroupMark | null | undefined) ?? null;
}
