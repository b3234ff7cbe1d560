/** The segments that networks of vCenter are for hosts and for cards: those of others, and the port groups that Weft made. */
import type { Segment } from '../hypervisor/platform.ts';
import type { PortTable } from './inventory-listing.ts';
import { type Card, listOf, type MirroredObject, type ObjectMirror } from './inventory-objects.ts';
import { allowancesOf, type PortGroupMark, readStandardName, segmentNow, shadowNow } from './marks.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export class SegmentListing {
  readonly #managementNetwork: string;
  #portgroups = new Map<string, MirroredObject>();
  /** By host: `out` port groups without any `in` of a host that is there, which it lists for all hosts. */
  #beginnings = new Map<string, PortGroupMark[]>();

  constructor(managementNetwork: string) {
    this.#managementNetwork = managementNetwork;
  }

  /** To be called when anything but VMs has changed. `hosts` in the order of their ids. */
  follow(mirror: ObjectMirror, hosts: readonly MirroredObject[]): void {
    this.#portgroups = new Map();
    for (const object of mirror.all()) {
      const key = object.properties.key;
      if (object.ref.type === 'DistributedVirtualPortgroup' && typeof key === 'string') {
        this.#portgroups.set(key, object);
      }
    }
    this.#beginnings = this.#findBeginnings(hosts);
  }

  /** The segments of a host whose `network` lists these. */
  of(host: string, networks: readonly MoRef[], mirror: ObjectMirror): Segment[] {
    const segments = new Map<string, Segment>();
    for (const network of networks) {
      const segment = this.#segment(host, network, mirror.get(network.value)?.properties ?? {});
      if (segment) segments.set(segment.name, segment);
    }
    for (const mark of this.#beginnings.get(host) ?? []) {
      const name = shadowNow(mark, this.#productionOf(mark));
      if (!segments.has(name)) segments.set(name, unfinishedSegment(name, allowancesOf(mark)));
    }
    for (const { type, value } of networks) {
      if (type !== 'Network') continue;
      const { role, production = '' } = readStandardName(textOf(mirror.get(value)?.properties.name)) ?? {};
      const name = `${production}-weft`;
      // Its name is all that tells of a standard port group: without the production one it may be anybody's.
      if (role === 'out' && segments.has(production) && !segments.has(name))
        segments.set(name, unfinishedSegment(name));
    }
    return [...segments.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** What a network is for a host; null for what no VM of the host can be put on. */
  #segment(host: string, network: MoRef, properties: Record<string, unknown>): Segment | null {
    const name = textOf(properties.name);
    // Uplinks carry no VM; NSX's own networks cannot be shadowed.
    if (name === '' || network.type === 'OpaqueNetwork' || isUplink(properties)) return null;
    const mark = properties['config.description'] as PortGroupMark | null | undefined;
    const made = mark ?? (network.type === 'Network' ? readStandardName(name) : null);
    if (made?.role === 'out') return null;
    if (mark) {
      if (mark.host !== host) return null;
      const allowances = allowancesOf(mark);
      return {
        name: this.#nameOf(mark),
        role: 'shadow',
        ...(allowances.length === 0 ? {} : { allowances }),
      };
    }
    if (made) return { name, role: 'shadow' };
    return { name, role: name === this.#managementNetwork ? 'management' : 'production' };
  }

  /** The segment that a card stands on, by the port it has. */
  segmentOf({ plug }: Card, mirror: ObjectMirror, ports: PortTable): string {
    if (plug.kind === 'other') return '';
    if (plug.kind === 'standard') {
      const name = textOf(mirror.get(plug.network?.value ?? '')?.properties.name) || plug.name;
      const made = readStandardName(name);
      return made?.role === 'out' ? made.production : name;
    }
    const overridden = ports.get(`${plug.switchUuid}/${plug.port}`);
    if (overridden !== undefined) return shadowNow(overridden, this.#productionOf(overridden));
    const portgroup = this.#portgroups.get(plug.portGroup)?.properties;
    const mark = portgroup?.['config.description'] as PortGroupMark | null | undefined;
    return mark ? this.#nameOf(mark) : textOf(portgroup?.name);
  }

  #nameOf(mark: PortGroupMark): string {
    return segmentNow(mark, this.#productionOf(mark));
  }

  /** The name of the production port group today; undefined where it is gone. */
  #productionOf(mark: PortGroupMark): string | undefined {
    const name = this.#portgroups.get(mark.production)?.properties.name;
    return typeof name === 'string' ? name : undefined;
  }

  /** Each is listed by one host that is connected, for what is done about it is done through a host. */
  #findBeginnings(hosts: readonly MirroredObject[]): Map<string, PortGroupMark[]> {
    const marks = new Map<string, PortGroupMark>();
    for (const { ref, properties } of this.#portgroups.values()) {
      const mark = properties['config.description'] as PortGroupMark | null | undefined;
      if (mark) marks.set(ref.value, mark);
    }
    const known = new Set<string | null>(hosts.map(({ ref }) => ref.value));
    const shadowed = new Set(
      [...marks.values()].flatMap((one) =>
        one.role === 'in' && known.has(one.host) ? [one.production] : [],
      ),
    );
    const found = new Map<string, PortGroupMark[]>();
    for (const [id, mark] of marks) {
      if (mark.role === 'in' || shadowed.has(mark.production)) continue;
      const sees = hosts.filter(({ properties }) =>
        listOf<MoRef>(properties.network).some(({ value }) => value === id),
      );
      const host = (sees.find((one) => isConnected(one.properties)) ?? sees[0])?.ref.value;
      if (host !== undefined) found.set(host, [...(found.get(host) ?? []), mark]);
    }
    return found;
  }
}

/** Whether a host of the mirror answers vCenter. */
export function isConnected(properties: MirroredObject['properties']): boolean {
  return properties['runtime.connectionState'] === 'connected';
}

function unfinishedSegment(name: string, allowances: readonly string[] = []): Segment {
  return { name, role: 'shadow', ...(allowances.length === 0 ? {} : { allowances }), isUnfinished: true };
}

/** vCenter's own mark of the port groups that hold a switch's uplinks. */
function isUplink(properties: Record<string, unknown>): boolean {
  return listOf<Vim<'Tag'>>(properties.tag).some((tag) => tag.key === 'SYSTEM/DVS.UPLINKPG');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
