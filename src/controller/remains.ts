/**
 * What an earlier controller left in a cloud, and what becomes of it: the measure of whether a cloud is held, and the
 * answer of `weft adopt`. Pure.
 *
 * A controller whose store does not know a cloud, and who finds engines, bent NICs or shadow segments there, touches
 * nothing: its store may have been lost, or it may look at what another controller runs. An operator decides.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Adoption, KeptPolicy } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import type { PolicyItem } from '../policy/refs.ts';
import { type Actual, foundAddresses } from './actual.ts';
import { isNamedAsClone } from './autoscale/plan-clones.ts';
import type { View } from './backend.ts';
import { type Desired, desire, NOBODY } from './desired.ts';
import { plan } from './plan.ts';
import type { PolicyCopy } from './policy-copy.ts';
import { handoverOf } from './replacement.ts';
import { summarize } from './step.ts';
import { hostKey, SHADOW_SUFFIX, type World } from './world.ts';

/** Why nothing is done in a cloud until it is adopted, or null where nothing of an earlier controller is there. */
export function holdReason(cloud: string, world: World): string | null {
  const engines = [...world.engineVms.values()].flat().filter((one) => one.cloud === cloud).length;
  const nics = [...world.nics.values()].filter((nic) => nic.cloud === cloud && nic.isOnShadow).length;
  const segments = shadowSegments(cloud, world).length;
  if (engines + nics + segments === 0) return null;
  return `an earlier controller left ${count(engines, 'engine')}, ${count(nics, 'bent NIC')} and ${count(segments, 'shadow segment')} in cloud ${cloud}, and nothing is touched there: see \`weft adopt ${cloud}\``;
}

/** What adopting the cloud would do, as of the latest round. Throws ERR_NOT_FOUND where the cloud is not known. */
export function describeAdoption(cloud: string, view: View): Omit<Adoption, 'keptPolicy'> {
  const { actual } = view;
  requireListed(cloud, view);
  const held = new Map(actual.held);
  const reason = held.get(cloud) ?? null;
  held.delete(cloud);
  const freed: Actual = { ...actual, held };
  const desired = desire(
    view.desired.policies,
    actual.world,
    actual.placements,
    NOBODY,
    foundAddresses(actual),
  );
  const steps = plan(desired, freed).filter((step) => step.cloud === cloud);
  const engines = foundEngines(cloud, desired, actual);
  const nics = foundNics(cloud, desired, actual, engines);
  const segments = shadowSegments(cloud, actual.world).map(({ host, hostId, segment, isUnfinished }) => ({
    host,
    segment,
    fate: isWantedSegment(cloud, isUnfinished ? null : hostId, segment, desired)
      ? ('kept' as const)
      : ('removed' as const),
  }));
  const found = { cloud, engines, nics, segments };
  return {
    ...found,
    clones: foundClones(cloud, desired, actual),
    allowances: foundAllowances(cloud, desired, actual.world),
    isHeld: reason !== null,
    warnings: warningsFor(found, desired),
    steps: steps.map(summarize),
    fingerprint: createHash('sha256').update(JSON.stringify(found)).digest('hex').slice(0, 16),
  };
}

/** The copy beside what the store holds. The cloud itself may be reached in another way by now: that is no difference. */
export function describeKept(copy: PolicyCopy, stored: readonly PolicyItem[]): KeptPolicy {
  const { instance: controller, savedAt, objects, unreadable } = copy;
  const state = ({ kind, name, spec }: PolicyItem): KeptPolicy['objects'][number]['state'] => {
    const own = stored.find((one) => one.kind === kind && one.name === name);
    if (!own) return 'missing';
    return kind === 'cloud' || isDeepStrictEqual(own.spec, spec) ? 'same' : 'differs';
  };
  return { controller, savedAt, objects: objects.map((one) => ({ ...one, state: state(one) })), unreadable };
}

function foundClones(cloud: string, { pools, members, policies }: Desired, { world, fleet }: Actual) {
  const found: Adoption['clones'] = [];
  for (const { cloud: at, vm, host } of world.vms.values()) {
    if (at !== cloud || vm.isClone !== true) continue;
    const chosenBy = [...pools].filter(([, ids]) =>
      ids.some((id) => members.get(id)?.cloud === cloud && members.get(id)?.vm.id === vm.id),
    );
    const names = chosenBy.map(([pool]) => pool).sort();
    const scaling = names.find((pool) => {
      const autoscale = policies.pools.get(pool)?.autoscale;
      return autoscale !== undefined && isNamedAsClone(vm.name, pool, autoscale);
    });
    const isKnown = [...fleet.clones.values()].some((one) => one.cloud === cloud && one.vm === vm.id);
    found.push({
      vm: vm.name,
      host: host.name,
      pools: names,
      fate: scaling === undefined && !isKnown ? 'stays' : 'scales',
      reason:
        scaling !== undefined || isKnown
          ? `pool ${scaling ?? names[0] ?? ''} scales, and counts it among its clones`
          : names.length > 0
            ? 'no pool that chooses it scales under its name: it stays as an ordinary member'
            : 'no pool chooses it: nothing is done with it, remove it by hand if it has to go',
    });
  }
  return found.sort((a, b) => (a.vm < b.vm ? -1 : 1));
}

function foundAllowances(cloud: string, desired: Desired, world: World): Adoption['allowances'] {
  const found = new Map<string, Adoption['allowances'][number]>();
  for (const { cloud: at, host } of world.hosts.values()) {
    if (at !== cloud) continue;
    for (const { name, allowances = [] } of host.segments) {
      const segment = name.endsWith(SHADOW_SUFFIX) ? name.slice(0, -SHADOW_SUFFIX.length) : name;
      if (allowances.length === 0 || found.has(segment)) continue;
      const isWanted = [...desired.engines.values()].some(
        (one) => one.cloud === cloud && one.shadow === name,
      );
      found.set(segment, { segment, allows: [...allowances], fate: isWanted ? 'kept' : 'withdrawn' });
    }
  }
  return [...found.values()];
}

function requireListed(cloud: string, { desired, actual }: View): void {
  if (!desired.policies.clouds.has(cloud)) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `there is no cloud ${cloud}: apply its policy first, or restore a backup`,
    );
  }
  const failure = actual.unreachable.get(cloud);
  if (failure !== undefined || !actual.world.clouds.has(cloud)) {
    throw new WeftError(
      'ERR_HYPERVISOR_UNREACHABLE',
      `cloud ${cloud} does not answer, so it is not known what is there: ${failure ?? 'it has not been listed yet'}`,
    );
  }
}

function foundEngines(cloud: string, desired: Desired, actual: Actual): Adoption['engines'] {
  const found: Adoption['engines'] = [];
  for (const [engine, vms] of actual.world.engineVms) {
    for (const { vm, cloud: at } of vms) {
      if (at !== cloud) continue;
      const seated = actual.world.hosts.get(hostKey(cloud, vm.host));
      const inside = vm.nics.find((nic) => nic.id === 'in')?.segment ?? '';
      const behind = [...actual.world.nics.values()]
        .filter((nic) => nic.cloud === cloud && nic.isOnShadow)
        .filter((nic) => nic.host.id === vm.host && nic.nic.segment === inside)
        .map((nic) => nic.vm.name);
      const wanted = desired.engines.get(engine);
      const isWanted = wanted?.host === vm.host;
      const isConnected = actual.engines.get(engine)?.isConnected === true;
      const isKept = isWanted && (isConnected || actual.placements.get(engine)?.vm === vm.id);
      const handover = isWanted && wanted ? handoverOf(wanted, actual) : null;
      const isTold = !isKept && (handover === 'enrol' || handover === 'wait');
      found.push({
        engine,
        vm: vm.name,
        host: seated?.host.name ?? vm.host,
        behind,
        fate: isKept ? 'kept' : isTold ? 'enrolled anew' : isWanted ? 'replaced' : 'removed',
        reason: isKept
          ? 'it speaks to this controller'
          : isTold
            ? 'it trusts the authority of the lost store; it is told of this controller, and forwards on'
            : isWanted
              ? 'policy asks for it, but it does not speak to this controller: it trusts the authority of the lost store'
              : 'no policy asks for it',
      });
    }
  }
  return found.sort((a, b) => (a.engine < b.engine ? -1 : 1));
}

function foundNics(
  cloud: string,
  desired: Desired,
  actual: Actual,
  engines: Adoption['engines'],
): Adoption['nics'] {
  return [...actual.world.nics.values()]
    .filter((nic) => nic.cloud === cloud && nic.isOnShadow)
    .map((nic) => {
      const wanted = desired.interceptions.get(nic.id);
      const isKept = engines.some((one) => one.engine === wanted && one.fate !== 'replaced');
      return {
        vm: nic.vm.name,
        nic: nic.nic.id,
        host: nic.host.name,
        segment: nic.nic.segment,
        fate:
          wanted === undefined ? ('released' as const) : isKept ? ('kept' as const) : ('bent anew' as const),
      };
    })
    .sort((a, b) => (a.vm < b.vm ? -1 : 1));
}

interface FoundSegment {
  host: string;
  hostId: string;
  segment: string;
  isUnfinished: boolean;
}

function shadowSegments(cloud: string, world: World): FoundSegment[] {
  const found: FoundSegment[] = [];
  for (const { cloud: at, host } of world.hosts.values()) {
    if (at !== cloud) continue;
    for (const { name, role, isUnfinished = false } of host.segments) {
      if (role === 'shadow' && name.endsWith(SHADOW_SUFFIX))
        found.push({ host: host.name, hostId: host.id, segment: name, isUnfinished });
    }
  }
  return found;
}

/** `host` null: on any of them, for whoever makes one goes on with what is half made. */
function isWantedSegment(cloud: string, host: string | null, segment: string, desired: Desired): boolean {
  for (const engine of desired.engines.values()) {
    const isThere = host === null || engine.host === host;
    if (engine.cloud === cloud && isThere && engine.shadow === segment) return true;
  }
  return false;
}

function warningsFor({ engines, nics }: Pick<Adoption, 'engines' | 'nics'>, desired: Desired): string[] {
  const warnings: string[] = [];
  const removed = engines.filter(({ fate }) => fate === 'removed');
  const released = nics.filter(({ fate }) => fate === 'released');
  if (removed.length + released.length > 0) {
    const wanted = desired.engines.size === 0 ? 'No policy asks for any engine' : 'No policy asks for them';
    warnings.push(
      `${count(removed.length, 'engine')} would be removed and ${count(released.length, 'NIC')} released. ${wanted}: apply the policy that they served first (\`weft apply -f\`), or restore a backup (\`weft restore\`), unless they are to go.`,
    );
  }
  const told = engines.filter(({ fate }) => fate === 'enrolled anew').length;
  if (told > 0) {
    warnings.push(
      `${count(told, 'engine')} would be told of this controller while they forward: no flow ends for it. One that does not speak to it within half a minute is replaced, and flows through that one end.`,
    );
  }
  const replaced = engines.filter(({ fate }) => fate === 'replaced').length;
  if (replaced > 0) {
    warnings.push(
      `${count(replaced, 'engine')} would be replaced, one host after the other; flows through an engine that is replaced end. A backup of the lost store (\`weft restore\`) brings the engines back as they are, without that.`,
    );
  }
  return warnings;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
