/** Which VMs a pool's selector chooses and on which NIC. */
import type { Vm } from '../hypervisor/platform.ts';
import { CRITERIA, type CriterionName, type MemberSelector } from '../policy/member-selector.ts';
import { patternMatcher } from '../policy/name-pattern.ts';
import { prefixMatcher } from './address-range.ts';
import type { SeatedNic } from './world.ts';

/** What a criterion is asked about: a VM, with the production segments of its NICs and their addresses. */
export interface Candidate {
  vm: Vm;
  segments: readonly string[];
  addresses: readonly string[];
}

/** A VM with its NICs that are on a production segment or its shadow. */
export function candidateOf(vm: Vm, nics: readonly SeatedNic[]): Candidate {
  return {
    vm,
    segments: [...new Set(nics.flatMap(segmentOf))],
    addresses: nics.flatMap(({ nic }) => nic.addresses),
  };
}

/** One list of a selector, ready to be asked. */
export interface Criterion {
  name: CriterionName;
  /** Whether VMs that fulfil it are left out. */
  isExclusion: boolean;
  wanted: readonly string[];
  /** The entries that the VM fulfils. */
  matched(candidate: Candidate): string[];
  /** What the VM has in this place, for people. */
  found(candidate: Candidate): string[];
  /** Whether the VM passes: exclusions pass VMs that fulfil no entry. */
  passes(candidate: Candidate): boolean;
  /** Whether a NIC is one to serve on; missing where the criterion says nothing of NICs. */
  fitsNic?(nic: SeatedNic): boolean;
}

/** Every list of the selector that is not empty, what is left out last. */
export function criteriaOf(selector: MemberSelector): Criterion[] {
  const { exclude = {}, ...include } = selector;
  return [
    ...CRITERIA.map((name) => criterion(name, include[name] ?? [], false)),
    ...CRITERIA.map((name) => criterion(name, exclude[name] ?? [], true)),
  ].filter(({ wanted }) => wanted.length > 0);
}

/** The NIC that a VM serves a pool on, or null where the VM is no member. Engines never are. */
export function memberNic(
  criteria: readonly Criterion[],
  vm: Vm,
  nics: readonly SeatedNic[],
): SeatedNic | null {
  if (vm.engine !== null) return null;
  const candidate = candidateOf(vm, nics);
  if (!criteria.every((one) => one.passes(candidate))) return null;
  return servingNic(criteria, nics);
}

/** The first NIC that every criterion over NICs takes, one with an address before others; null where there is none. */
export function servingNic(criteria: readonly Criterion[], nics: readonly SeatedNic[]): SeatedNic | null {
  const fit = nics.filter((nic) => criteria.every((one) => one.isExclusion || one.fitsNic?.(nic) !== false));
  return fit.find((nic) => nic.nic.addresses.length > 0) ?? fit[0] ?? null;
}

/** What each criterion looks at, and how one entry of it is compared. */
interface Notion {
  found(candidate: Candidate): readonly string[];
  /** A test of one entry against one value that was found. */
  matcher(wanted: string): (found: string) => boolean;
  /** Whether all entries have to be fulfilled; else one is enough. */
  needsAll: boolean;
  /** The values of one NIC, for what is said of NICs. */
  ofNic?(nic: SeatedNic): string[];
}

const NOTIONS: Record<CriterionName, Notion> = {
  tags: { found: ({ vm }) => vm.tags, matcher: patternMatcher, needsAll: true },
  names: { found: ({ vm }) => [vm.name], matcher: patternMatcher, needsAll: false },
  folders: { found: ({ vm }) => [vm.folder], matcher: folderMatcher, needsAll: false },
  segments: {
    found: ({ segments }) => segments,
    matcher: patternMatcher,
    needsAll: false,
    ofNic: segmentOf,
  },
  addresses: {
    found: ({ addresses }) => addresses,
    matcher: (prefix) => prefixMatcher([prefix]),
    needsAll: false,
    ofNic: ({ nic }) => nic.addresses,
  },
  attributes: {
    found: ({ vm }) => Object.entries(vm.attributes).map(([name, value]) => `${name}=${value}`),
    matcher: patternMatcher,
    needsAll: true,
  },
};

function criterion(name: CriterionName, wanted: readonly string[], isExclusion: boolean): Criterion {
  const { found, matcher, needsAll, ofNic } = NOTIONS[name];
  const entries = wanted.map((entry) => ({ entry, fits: matcher(entry) }));
  const matched = (candidate: Candidate): string[] => {
    const values = found(candidate);
    return entries.filter(({ fits }) => values.some(fits)).map(({ entry }) => entry);
  };
  return {
    name,
    isExclusion,
    wanted,
    matched,
    found: (candidate) => [...found(candidate)],
    passes(candidate) {
      const values = found(candidate);
      if (isExclusion) return !entries.some(({ fits }) => values.some(fits));
      if (needsAll) return entries.every(({ fits }) => values.some(fits));
      return entries.some(({ fits }) => values.some(fits));
    },
    ...(ofNic ? { fitsNic: (nic) => entries.some(({ fits }) => ofNic(nic).some(fits)) } : {}),
  };
}

/** A test for folders that are the given one or below it; `*` stands for any characters. */
function folderMatcher(folder: string): (found: string) => boolean {
  const trimmed = (path: string) => path.replace(/^\/+|\/+$/g, '');
  const outer = trimmed(folder);
  if (outer === '') return () => true;
  const fits = patternMatcher(outer);
  const fitsBelow = patternMatcher(`${outer}/*`);
  return (found) => fits(trimmed(found)) || fitsBelow(trimmed(found));
}

function segmentOf(nic: SeatedNic): string[] {
  const name = nic.production ?? nic.nic.segment;
  return name === '' ? [] : [name];
}
