/** What Weft is to one VM or one host: the answers behind `/api/v1/vm` and `/api/v1/host`. Pure. */
import type { HostView, SystemStatus, VmView } from '../policy/answers.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import type { View } from './backend.ts';
import { explainMembership } from './membership.ts';
import { isObserved } from './mirror.ts';
import { hostKey, type SeatedNic } from './world.ts';

/** Which services a VM serves, through which engine, and why it does not serve the others. Throws ERR_NOT_FOUND. */
export function vmView(cloud: string, id: string, view: View, status: SystemStatus): VmView {
  const { desired, actual } = view;
  const nics = [...actual.world.nics.values()].filter((nic) => nic.cloud === cloud && nic.vm.id === id);
  const engine = [...actual.world.engineVms].find(([, vms]) =>
    vms.some((one) => one.cloud === cloud && one.vm.id === id),
  );
  const vm = nics[0]?.vm ?? engine?.[1].find((one) => one.vm.id === id)?.vm;
  if (!vm) throw unknown('VM', id, cloud, view);
  const host = actual.world.hosts.get(hostKey(cloud, vm.host))?.host;
  const services: VmView['services'] = [];
  const others: VmView['others'] = [];
  for (const [name, spec] of desired.policies.services) {
    const state = status.services.find((one) => one.name === name);
    for (const tier of spec.tiers) {
      const pool = desired.policies.pools.get(tier.pool);
      if (!pool || pool.cloud !== cloud) continue;
      const member = status.members.find(
        (one) => one.pool === tier.pool && one.member.startsWith(`${cloud}/${id}/`),
      );
      const place = { service: name, tier: tier.name, pool: tier.pool, isEnabled: spec.isEnabled };
      if (!member) {
        const why = !spec.isEnabled
          ? `virtual service ${name} is disabled`
          : engine
            ? 'it is a service engine itself'
            : whyNot(tier.pool, vm.id, view);
        others.push({ ...place, why });
        continue;
      }
      services.push({
        ...place,
        state: state?.state ?? 'unknown',
        message: state?.message ?? '',
        addresses: tier.addresses,
        port: tier.port,
        memberPort: pool.port,
        health: member.health,
        reason: member.reason,
        connections: member.connections,
        isIntercepted: member.isIntercepted,
      });
    }
  }
  return {
    cloud,
    vm: id,
    name: vm.name,
    host: host?.name ?? vm.host,
    power: vm.power,
    ownEngine: engine?.[0] ?? null,
    services,
    others,
    path: nics.map((nic) => pathOf(nic, view, status)),
  };
}

/** The engine of a host, what stands behind it, and why there is none. Throws ERR_NOT_FOUND. */
export function hostView(cloud: string, id: string, view: View, status: SystemStatus): HostView {
  const { desired, actual } = view;
  const host = actual.world.hosts.get(hostKey(cloud, id))?.host;
  if (!host) throw unknown('host', id, cloud, view);
  const wanted = [...desired.engines.values()].filter((one) => one.cloud === cloud && one.host === id);
  return {
    cloud,
    host: id,
    name: host.name,
    isConnected: host.isConnected,
    isInMaintenance: host.isInMaintenance,
    engines: wanted.flatMap((engine) => {
      const found = status.engines.find((one) => one.id === engine.id);
      const state = actual.engines.get(engine.id);
      if (!found) return [];
      return [
        {
          ...found,
          verdict: state?.verdict ?? 'absent',
          verdictReason: state?.reason ?? '',
          verdictMs: state ? Math.max(0, Math.round(actual.now - state.since)) : 0,
          isConnected: state?.isConnected ?? false,
          addresses: engine.addresses,
          segment: engine.production,
          services: engine.services,
          behind: (desired.nicsOf.get(engine.id) ?? []).flatMap((nic) => {
            const seated = actual.world.nics.get(nic);
            return seated ? [{ vm: seated.vm.name, isIntercepted: seated.isOnShadow }] : [];
          }),
        },
      ];
    }),
    why:
      wanted.length > 0
        ? ''
        : (actual.held.get(cloud) ??
          actual.unreachable.get(cloud) ??
          (host.isInMaintenance
            ? 'the host is in maintenance'
            : 'no enabled service has members on this host')),
    operations: status.operations.filter(({ object }) =>
      [host.name, ...wanted.map((engine) => engine.id)].some((name) => object.split(/[\s/]/).includes(name)),
    ),
  };
}

function pathOf(nic: SeatedNic, { desired, actual }: View, status: SystemStatus): VmView['path'][number] {
  const id = desired.interceptions.get(nic.id);
  const engine = id === undefined ? undefined : status.engines.find((one) => one.id === id);
  const verdict = id === undefined ? undefined : actual.engines.get(id);
  const observer = desired.observations.get(nic.id);
  const base = { nic: nic.nic.id, mac: nic.nic.mac, segment: nic.nic.segment, addresses: nic.nic.addresses };
  if (id === undefined) {
    return {
      ...base,
      engine: null,
      isBent: nic.isOnShadow,
      why:
        actual.held.get(nic.cloud) ??
        (nic.isOnShadow
          ? 'it stands on a shadow segment and no policy asks for that: it is released'
          : nic.production === null
            ? `network ${nic.nic.segment} is none that an engine can stand on`
            : observer === undefined
              ? 'no enabled service needs its traffic in line'
              : isObserved(nic.id, desired, actual)
                ? `engine ${observer} observes a copy of its traffic`
                : `engine ${observer} shall observe a copy of its traffic, and does not yet`),
    };
  }
  return {
    ...base,
    engine: id,
    isBent: nic.isOnShadow,
    why: nic.isOnShadow
      ? `its traffic passes engine ${id} (${engine?.state ?? 'unknown'})`
      : `it shall pass engine ${id}, which is ${engine?.state ?? 'not there'}: ${verdict?.reason ?? 'it is deployed first'}`,
  };
}

/** Why the VM is no member of the pool, as `weft explain` says it. */
function whyNot(pool: string, vm: string, { desired, actual }: View): string {
  try {
    const [found] = explainMembership(pool, vm, desired, actual).vms.filter(({ id }) => id === vm);
    return found?.reason ?? 'it does not fulfil the selector of the pool';
  } catch (error) {
    if (isWeftError(error, 'ERR_NOT_FOUND')) return error.message;
    throw error;
  }
}

function unknown(what: string, id: string, cloud: string, { desired, actual }: View): WeftError {
  if (!desired.policies.clouds.has(cloud))
    return new WeftError('ERR_NOT_FOUND', `there is no cloud ${cloud}`);
  const failure = actual.unreachable.get(cloud);
  return new WeftError(
    failure === undefined ? 'ERR_NOT_FOUND' : 'ERR_HYPERVISOR_UNREACHABLE',
    `${what} ${id} is not in the inventory of cloud ${cloud}${failure === undefined ? ': was it just made?' : ` as last read; ${failure}`}`,
  );
}
