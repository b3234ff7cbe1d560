/** One host: its place in the physical network and where that is known from, and its hops to the others. Pure. */
import { hopsBetween } from '../hypervisor/topology.ts';
import type { HostExplanation } from '../policy/answers.ts';
import type { Actual } from './actual.ts';
import type { Desired } from './desired.ts';
import { notFound } from './membership.ts';

/** Every host of that name or id, of whichever cloud. Throws ERR_NOT_FOUND with the name that was probably meant. */
export function explainHost(name: string, desired: Desired, actual: Actual): HostExplanation[] {
  const all = [...actual.world.hosts.values()];
  const named = all.filter(({ host }) => host.name === name || host.id === name);
  if (named.length === 0) {
    const names = all.map(({ host }) => host.name);
    throw notFound(`no cloud lists a host ${name}`, name, names);
  }
  return named.map(({ cloud, host }): HostExplanation => {
    const used = host.uplinkEvidence.find(({ path }) => path !== null);
    return {
      host: host.name,
      id: host.id,
      cloud,
      cluster: host.cluster,
      isConnected: host.isConnected,
      isInMaintenance: host.isInMaintenance,
      hardware: host.hardware,
      segments: host.segments,
      vms: [...actual.world.listed.values()].filter((one) => one.cloud === cloud && one.vm.host === host.id)
        .length,
      engine: [...desired.engines.values()].find((e) => e.cloud === cloud && e.host === host.id)?.id ?? null,
      uplinkPath: host.uplinkPath,
      evidence: host.uplinkEvidence.map((one) => ({ ...one, isUsed: one === used })),
      hops: all
        .filter((other) => other.cloud === cloud && other.host.id !== host.id)
        .map((other) => ({
          host: other.host.name,
          hops: hopsBetween(host.uplinkPath, other.host.uplinkPath),
        })),
    };
  });
}
