/** What the next clones of a pool are to be: the VM they are like, their names, their hosts; or why there can be none. Pure. */
import type { CloneSource, CloneSpec, Vm } from '../../hypervisor/platform.ts';
import type { AutoscaleSpec } from '../../policy/autoscale.ts';
import type { CriterionName } from '../../policy/member-selector.ts';
import { patternMatcher } from '../../policy/name-pattern.ts';
import { type Actual, isResting } from '../actual.ts';
import type { Desired } from '../desired.ts';
import { type Candidate, criteriaOf } from '../selector.ts';
import { hostKey, type SeatedHost, type SeatedVm, SHADOW_SUFFIX, shadowOf } from '../world.ts';
import { type CloneRecord, NEW_STATE } from './fleet.ts';
import type { Survey } from './survey.ts';

/** The records of that many more clones, and the number that comes after them; or the sentence that says why not. */
export function nextClones(
  survey: Survey,
  count: number,
  desired: Desired,
  actual: Actual,
): { records: CloneRecord[]; nextNumber: number } | { problem: string } {
  const { pool, spec, autoscale } = survey;
  const model = modelOf(survey, actual);
  if ('problem' in model) return model;
  const names = nextNames(survey, count, actual);
  const misfit = whyNotChosen(survey, model.vm, names.names[0] ?? '');
  if (misfit !== null) return { problem: misfit };
  const hosts = chooseHosts(survey, model.vm, count, desired, actual);
  if ('problem' in hosts) return hosts;
  const records = names.names.map((name, index): CloneRecord => {
    const { host } = hosts.hosts[index % hosts.hosts.length]!;
    return {
      pool,
      cloud: spec.cloud,
      model: model.vm?.vm.id ?? null,
      clone: cloneSpec(name, host.id, autoscale),
      hostName: host.name,
      vm: null,
      phase: 'cloning',
      since: actual.now,
      message: '',
      readyTimeoutMs: autoscale.readyTimeoutMs,
      drainTimeoutMs: autoscale.drainTimeoutMs,
      isUncertain: false,
      isHopeless: false,
    };
  });
  return { records, nextNumber: names.nextNumber };
}

function cloneSpec(name: string, host: string, autoscale: AutoscaleSpec): CloneSpec {
  const { folder, datastore, segment, customisation, tags, source, readyTimeoutMs } = autoscale;
  return {
    name,
    host,
    source: sourceOf(source),
    ...(folder === undefined ? {} : { folder }),
    ...(datastore === undefined ? {} : { datastore }),
    ...(segment === undefined ? {} : { segment }),
    ...(customisation === undefined ? {} : { customisation }),
    ...(tags.length === 0 ? {} : { tags }),
    addressTimeoutMs: readyTimeoutMs,
  };
}

function sourceOf(source: AutoscaleSpec['source']): CloneSource {
  switch (source.kind) {
    case 'full':
      return { kind: 'full' };
    case 'linked':
      return source.snapshot === undefined
        ? { kind: 'linked' }
        : { kind: 'linked', snapshot: source.snapshot };
    case 'template':
      return { kind: 'template', template: source.template };
    case 'library-item':
      return { kind: 'library-item', library: source.library, item: source.item };
  }
}

/** The VM that clones are like: the one that is named, else a member; Weft's own clones only where there is no other. */
function modelOf(survey: Survey, actual: Actual): { vm: SeatedVm | null } | { problem: string } {
  const { pool, spec, autoscale, others, clones } = survey;
  const { source } = autoscale;
  const name = source.kind === 'full' || source.kind === 'linked' ? source.vm : undefined;
  if (name !== undefined) {
    const found = [...actual.world.vms.values()].filter(
      (one) => one.cloud === spec.cloud && one.vm.name === name,
    );
    const [first, second] = found;
    if (!first) {
      const isEngine = [...actual.world.engineVms.values()].flat().some((one) => one.vm.name === name);
      return {
        problem: isEngine
          ? `source VM ${name} is an engine: name a VM that runs the application`
          : `source VM ${name} is not in the inventory of cloud ${spec.cloud}: name a VM that is there, or none to take a member`,
      };
    }
    if (second)
      return { problem: `${found.length} VMs are called ${name}: rename one, or name another source` };
    return plugged(first) ? { vm: first } : { problem: noProduction(name) };
  }
  const seated = (id: string): SeatedVm | undefined => actual.world.vms.get(hostKey(spec.cloud, id));
  const candidates = [
    ...others.map((member) => member.vm).sort((a, b) => (a.name < b.name ? -1 : 1)),
    ...clones.flatMap(({ record, vm }) => (record.phase === 'ready' && vm ? [vm.vm] : [])),
  ];
  for (const vm of candidates) {
    const found = seated(vm.id);
    if (found && plugged(found)) return { vm: found };
  }
  if (source.kind === 'template' || source.kind === 'library-item') return { vm: null };
  return {
    problem: `pool ${pool} has no member that could be cloned: name a VM in autoscale.source.vm, or clone from a template`,
  };
}

function noProduction(name: string): string {
  return `source VM ${name} has no NIC on a production segment: its clones could not serve; name another VM`;
}

/** The production segments that a VM's NICs are on, or null where one is on something else. */
function productionOf({ vm, host }: SeatedVm): string[] | null {
  const names: string[] = [];
  for (const nic of vm.nics) {
    const production = host.segments.find(
      ({ name, role }) => role === 'production' && (name === nic.segment || shadowOf(name) === nic.segment),
    );
    if (production) names.push(production.name);
  }
  return names.length === 0 ? null : names;
}

function plugged(seated: SeatedVm): boolean {
  return productionOf(seated) !== null;
}

/** Why the selector would not take a clone in, or null. Addresses are not known before there is one. */
function whyNotChosen(survey: Survey, model: SeatedVm | null, name: string): string | null {
  const { pool, spec, autoscale } = survey;
  const like: Vm = model?.vm ?? {
    id: '',
    name,
    host: '',
    power: 'on',
    folder: '',
    tags: [],
    attributes: {},
    engine: null,
    nics: [],
  };
  const segment = autoscale.segment ?? (model ? productionOf(model)?.[0] : undefined);
  const clone: Vm = {
    ...like,
    name,
    power: 'on',
    folder: autoscale.folder ?? like.folder,
    tags: [...new Set([...like.tags, ...autoscale.tags])],
    nics: like.nics.map((nic, index) => (index === 0 && segment !== undefined ? { ...nic, segment } : nic)),
  };
  // What a template has is not seen before it is cloned: its networks and attributes are taken on trust.
  const isUnseen = (name: CriterionName): boolean =>
    name === 'addresses' ||
    (model === null && (name === 'attributes' || (name === 'segments' && segment === undefined)));
  const production = (name: string): string =>
    name.endsWith(SHADOW_SUFFIX) ? name.slice(0, -SHADOW_SUFFIX.length) : name;
  const candidate: Candidate = {
    vm: clone,
    segments: clone.nics
      .map((nic) => production(nic.segment))
      .concat(clone.nics.length === 0 && segment !== undefined ? segment : []),
    addresses: [],
  };
  const wrong = criteriaOf(spec.members)
    .filter((one) => !isUnseen(one.name) && !one.passes(candidate))
    .map((one) => (one.isExclusion ? `exclude.${one.name}` : one.name));
  if (wrong.length === 0) return null;
  const remedies: Record<string, string> = {
    names: 'set autoscale.namePrefix to what the names begin with',
    tags: 'give the source VM the tags, or list them in autoscale.tags',
    folders: 'set autoscale.folder to one of the folders',
    segments: 'set autoscale.segment to one of the segments',
    'exclude.names': 'set autoscale.namePrefix to what is not left out',
    'exclude.folders': 'set autoscale.folder to one that is not left out',
    'exclude.segments': 'set autoscale.segment to one that is not left out',
  };
  const remedy = wrong.map((key) => remedies[key] ?? `choose a source that fulfils ${key}`).join('; ');
  return `a clone called ${name} would not be chosen by the selector of pool ${pool} (${wrong.join(', ')}): ${remedy}`;
}

/** Names that no VM of the cloud bears, with numbers that were not used before. */
function nextNames(survey: Survey, count: number, actual: Actual): { names: string[]; nextNumber: number } {
  const { pool, spec, autoscale } = survey;
  const prefix = autoscale.namePrefix ?? pool;
  const taken = new Set<string>();
  for (const { cloud, vm } of actual.world.vms.values()) if (cloud === spec.cloud) taken.add(vm.name);
  for (const { cloud, vm } of actual.world.unfinished) if (cloud === spec.cloud) taken.add(vm.name);
  for (const list of actual.world.engineVms.values()) for (const { vm } of list) taken.add(vm.name);
  for (const record of actual.fleet.clones.values()) taken.add(record.clone.name);
  const names: string[] = [];
  let number = (actual.fleet.states.get(pool) ?? NEW_STATE).nextNumber;
  for (; names.length < count; number++) {
    const name = `${prefix}-${number}`;
    if (!taken.has(name)) names.push(name);
  }
  return { names, nextNumber: number };
}

/**
 * A host for each of that many clones: one that was not the scene of a failure and has the fewest members of the pool,
 * where an engine that is only on its way counts like one member more, and one that has yet to be deployed like two;
 * among those the one with the fewest VMs.
 */
function chooseHosts(
  survey: Survey,
  model: SeatedVm | null,
  count: number,
  desired: Desired,
  actual: Actual,
): { hosts: SeatedHost[] } | { problem: string } {
  const { pool, spec, autoscale } = survey;
  const allowed = autoscale.hosts?.map(patternMatcher);
  const segments = model ? (productionOf(model) ?? []) : [];
  const needed = autoscale.segment === undefined ? segments : [autoscale.segment, ...segments.slice(1)];
  const reasons: string[] = [];
  const candidates = [...actual.world.hosts.values()].filter(({ cloud, host }) => {
    if (cloud !== spec.cloud) return false;
    const missing = needed.find(
      (name) => !host.segments.some((segment) => segment.name === name && segment.role === 'production'),
    );
    const why =
      allowed && !allowed.some((fits) => fits(host.name))
        ? 'autoscale.hosts leaves it out'
        : !host.isConnected
          ? 'it is disconnected'
          : isResting(host)
            ? 'it is in maintenance'
            : missing !== undefined
              ? `it has no segment ${missing}`
              : null;
    if (why !== null) reasons.push(`${host.name}: ${why}`);
    return why === null;
  });
  if (candidates.length === 0) {
    const why = reasons.length === 0 ? 'the inventory lists none' : reasons.slice(0, 5).join(', ');
    return {
      problem: `ERR_NO_CAPACITY: no host of cloud ${spec.cloud} can take a clone of pool ${pool} (${why})`,
    };
  }
  const members = new Map<string, number>();
  const add = (counts: Map<string, number>, key: string): void =>
    void counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const id of desired.pools.get(pool) ?? []) {
    const member = desired.members.get(id);
    if (member) add(members, member.host.id);
  }
  for (const { record, member } of survey.clones) if (!member) add(members, record.clone.host);
  const vms = new Map<string, number>();
  for (const { cloud, host } of actual.world.vms.values()) if (cloud === spec.cloud) add(vms, host.id);
  const failed = new Set(actual.fleet.states.get(pool)?.failedHosts ?? []);
  const engines = new Map<string, boolean>();
  for (const engine of desired.engines.values()) {
    if (engine.cloud !== spec.cloud) continue;
    const isAlive = actual.engines.get(engine.id)?.verdict === 'alive';
    engines.set(engine.host, isAlive || engines.get(engine.host) === true);
  }
  const rank = ({ host }: SeatedHost): (number | string)[] => {
    const engine = engines.get(host.id);
    const distance = engine === true ? 0 : engine === false ? 1 : 2;
    return [
      Number(failed.has(host.id)),
      (members.get(host.id) ?? 0) + distance,
      vms.get(host.id) ?? 0,
      host.name,
    ];
  };
  const hosts: SeatedHost[] = [];
  for (let index = 0; index < count; index++) {
    const best = candidates.reduce((a, b) => (isBefore(rank(b), rank(a)) ? b : a));
    hosts.push(best);
    add(members, best.host.id);
    add(vms, best.host.id);
  }
  return { hosts };
}

function isBefore(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  for (let index = 0; index < a.length; index++) {
    if (a[index] !== b[index]) return a[index]! < b[index]!;
  }
  return false;
}
