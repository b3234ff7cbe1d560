/** Why a VM is a member of a pool or is not: every criterion with what the VM has in its place. Pure. */
import type { CriterionVerdict, MembershipExplanation, MembershipVerdict } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { nearestName } from '../policy/nearest-name.ts';
import type { Actual } from './actual.ts';
import type { Desired } from './desired.ts';
import { type Candidate, type Criterion, candidateOf, criteriaOf, servingNic } from './selector.ts';
import type { ListedVm, SeatedNic } from './world.ts';

/** VMs shown where nobody asks for one: so many members, and so many that nearly fit. */
const MOST_MEMBERS = 200;
const MOST_NEAR = 20;

/** Throws ERR_NOT_FOUND (the pool, the VM), with the name that was probably meant. */
export function explainMembership(
  pool: string,
  vm: string | null,
  desired: Desired,
  actual: Actual,
): MembershipExplanation {
  const spec = desired.policies.pools.get(pool);
  if (!spec) throw notFound(`there is no pool ${pool}`, pool, [...desired.policies.pools.keys()]);
  const criteria = criteriaOf(spec.members);
  const inCloud = [...actual.world.listed.values()].filter(({ cloud }) => cloud === spec.cloud);
  const nics = nicsByVm(spec.cloud, actual);
  const judge = (seated: ListedVm): MembershipVerdict =>
    verdict(seated, nics.get(seated.vm.id) ?? [], criteria);
  const answer = {
    pool,
    cloud: spec.cloud,
    cloudMessage:
      actual.unreachable.get(spec.cloud) ??
      (actual.world.clouds.has(spec.cloud) ? '' : 'it has not been listed yet'),
    considered: inCloud.length,
    members: (desired.pools.get(pool) ?? []).length,
  };
  if (vm !== null) {
    const named = inCloud.filter((one) => one.vm.name === vm || one.vm.id === vm);
    if (named.length === 0) {
      const names = inCloud.map((one) => one.vm.name);
      throw notFound(`cloud ${spec.cloud} lists no VM ${vm}`, vm, names);
    }
    return { ...answer, vms: named.map(judge), omitted: 0 };
  }
  const verdicts = inCloud.map(judge);
  const members = verdicts.filter(({ isMember }) => isMember).sort(byName);
  const near = verdicts
    .filter((one) => !one.isMember && isNear(one, criteria.length))
    .sort((a, b) => misses(a) - misses(b) || hints(b) - hints(a) || byName(a, b));
  const vms = [...members.slice(0, MOST_MEMBERS), ...near.slice(0, MOST_NEAR)];
  return { ...answer, vms, omitted: members.length + near.length - vms.length };
}

/** ERR_NOT_FOUND with the nearest of the names there are. */
export function notFound(message: string, name: string, names: readonly string[]): WeftError {
  const nearest = nearestName(name, names);
  return new WeftError(
    'ERR_NOT_FOUND',
    nearest === undefined ? message : `${message}; did you mean ${nearest}?`,
  );
}

function nicsByVm(cloud: string, actual: Actual): Map<string, SeatedNic[]> {
  const byVm = new Map<string, SeatedNic[]>();
  for (const nic of actual.world.nics.values()) {
    if (nic.cloud !== cloud) continue;
    const list = byVm.get(nic.vm.id);
    if (list) list.push(nic);
    else byVm.set(nic.vm.id, [nic]);
  }
  return byVm;
}

function verdict(
  { vm, host }: ListedVm,
  nics: readonly SeatedNic[],
  criteria: readonly Criterion[],
): MembershipVerdict {
  const onNetwork = nics.filter((nic) => nic.production !== null);
  const candidate = candidateOf(vm, onNetwork);
  const serving = servingNic(criteria, onNetwork);
  const verdicts = criteria.map((one) => judgeCriterion(one, candidate));
  if (vm.engine !== null) {
    verdicts.push(failed('engine', ['a VM that Weft did not make'], [`engine ${vm.engine}`], ''));
  } else if (!host) {
    verdicts.push(failed('host', ['a host that is listed'], [vm.host], 'may the user see the host?'));
  } else if (onNetwork.length === 0) {
    const found = vm.nics.map((nic) => nic.segment).filter((name) => name !== '');
    verdicts.push(failed('network', ['a NIC on a production segment'], found, ''));
  } else if (serving === null && verdicts.every(({ fits }) => fits)) {
    const found = onNetwork.map(({ nic }) => `${nic.id} on ${nic.segment} (${nic.addresses.join(', ')})`);
    verdicts.push(failed('network', ['one NIC that fulfils segments and addresses together'], found, ''));
  }
  if (vm.power !== 'on') verdicts.push(failed('power', ['on'], [vm.power], ''));
  const missing = verdicts.filter(({ fits }) => !fits);
  const isMember = missing.length === 0;
  return {
    vm: vm.name,
    id: vm.id,
    host: host?.name ?? vm.host,
    isMember,
    nic: isMember ? (serving?.nic.id ?? null) : null,
    criteria: verdicts,
    reason: isMember ? 'it fulfils every criterion' : missing.map(sentence).join('; '),
  };
}

function judgeCriterion(one: Criterion, candidate: Candidate): CriterionVerdict {
  const fits = one.passes(candidate);
  const found = one.found(candidate);
  const matched = one.matched(candidate);
  const wanted = [...one.wanted];
  const name = one.isExclusion ? `exclude.${one.name}` : one.name;
  if (one.isExclusion) {
    return { criterion: name, fits, wanted, found, detail: fits ? '' : `left out by ${matched.join(', ')}` };
  }
  if (fits) return { criterion: name, fits, wanted, found, detail: '' };
  const lacking = wanted.filter((entry) => !matched.includes(entry));
  const meant = lacking.flatMap((entry) => nearestName(entry, found) ?? []);
  const needsAll = matched.length > 0 && wanted.length > 1;
  return {
    criterion: name,
    fits,
    wanted,
    found,
    detail: [
      ...(needsAll ? [`lacks ${lacking.join(', ')}`] : []),
      ...(meant.length > 0 ? [`${meant[0]} is near, but not it`] : []),
    ].join('; '),
  };
}

function failed(criterion: string, wanted: string[], found: string[], detail: string): CriterionVerdict {
  return { criterion, fits: false, wanted, found, detail };
}

function sentence({ criterion, wanted, found, detail }: CriterionVerdict): string {
  const has = found.length === 0 ? 'nothing' : found.join(', ');
  if (criterion.startsWith('exclude.')) return `${criterion} (${detail})`;
  const sense = `${criterion}: wants ${wanted.join(', ')}, has ${has}`;
  return detail === '' ? sense : `${sense} (${detail})`;
}

/** One miss, and either something that does fit or a value that is nearly right: else every VM would be near. */
function isNear(one: MembershipVerdict, given: number): boolean {
  if (misses(one) !== 1 || one.criteria.some(({ criterion }) => criterion === 'engine')) return false;
  return one.criteria
    .slice(0, given)
    .some((c) => (c.fits ? !c.criterion.startsWith('exclude.') : c.detail !== ''));
}

function misses(one: MembershipVerdict): number {
  return one.criteria.filter(({ fits }) => !fits).length;
}

function hints(one: MembershipVerdict): number {
  return one.criteria.filter(({ fits, detail }) => !fits && detail !== '').length;
}

function byName(a: MembershipVerdict, b: MembershipVerdict): number {
  return a.vm < b.vm ? -1 : a.vm > b.vm ? 1 : 0;
}
