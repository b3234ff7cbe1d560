/** The switches above a host, from what the admin wrote, tags, hints and clusters: which source says what. Pure. */
import type { UplinkEvidence } from '../hypervisor/platform.ts';
import type { HeardSwitches } from './network-hints.ts';

/** Where the place of a host can be known from. */
export type UplinkSource = 'attribute' | 'rack-tag' | 'hints' | 'cluster';

/** What counts first where nothing else is said: what people wrote, before what was heard, before what is assumed. */
export const UPLINK_SOURCES: readonly UplinkSource[] = ['attribute', 'rack-tag', 'hints', 'cluster'];

export interface UplinkFacts {
  datacenter: string;
  cluster: string;
  /** The custom attribute, by its name. */
  attribute: { name: string; value: string };
  /** The tag of the rack's category; null where the host has none. */
  rack: { category: string; tag: string | null };
  heard: HeardSwitches | undefined;
  /** Why no host hears anything, or an empty string. */
  silence: string;
}

/** What each source says, in that order. `cluster` always has a path, and comes last where it is not named. */
export function uplinkEvidence(
  facts: UplinkFacts,
  order: readonly UplinkSource[] = UPLINK_SOURCES,
): UplinkEvidence[] {
  const sources: UplinkSource[] = order.includes('cluster') ? [...order] : [...order, 'cluster'];
  return sources.map((source) => ({ source, ...READERS[source](facts) }));
}

const READERS: Record<UplinkSource, (facts: UplinkFacts) => { path: string[] | null; detail: string }> = {
  attribute({ attribute: { name, value } }) {
    const path = value
      .split('/')
      .map((part) => part.trim())
      .filter((part) => part !== '');
    if (path.length === 0) return { path: null, detail: `custom attribute ${name} is not set` };
    return { path, detail: `custom attribute ${name} is ${value}` };
  },
  'rack-tag'({ rack: { category, tag }, datacenter }) {
    if (tag === null) return { path: null, detail: `no tag of category ${category}` };
    return { path: [datacenter, tag], detail: `tag ${tag} of category ${category}` };
  },
  hints({ heard, datacenter, silence }) {
    if (!heard) return { path: null, detail: silence || 'its NICs hear no switch by LLDP or CDP' };
    return { path: [datacenter, heard.rack], detail: heard.detail };
  },
  cluster({ cluster, datacenter }) {
    const detail = `hosts of cluster ${cluster} count as neighbours`;
    return { path: [datacenter, cluster], detail };
  },
};
