/** The networks of a host as segments: which port group is behind each name, and which of them Weft made. */
import { WeftError } from '../policy/errors.ts';
import { type PortGroupMark, readPortGroupMark, readStandardName, segmentNow, shadowNow } from './marks.ts';
import { readThere } from './objects.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export interface DistributedNetwork {
  kind: 'distributed';
  ref: MoRef;
  name: string;
  config: Vim<'DVPortgroupConfigInfo'>;
  /** Null where somebody else made it. */
  mark: PortGroupMark | null;
}

/** One that Weft made. */
export type MarkedNetwork = DistributedNetwork & { mark: PortGroupMark };

export interface StandardNetwork {
  kind: 'standard';
  ref: MoRef;
  name: string;
}

/** An NSX segment and the like: seen, and not touched. */
export interface OpaqueNetwork {
  kind: 'opaque';
  ref: MoRef;
  name: string;
}

export type HostNetwork = DistributedNetwork | StandardNetwork | OpaqueNetwork;

export interface HostNetworks {
  host: MoRef;
  name: string;
  /** The cluster, or the compute resource of a host that stands alone. */
  parent: MoRef;
  networkSystem: MoRef;
  networks: HostNetwork[];
}

/** Reads them from vCenter. Throws ERR_NOT_FOUND for an unknown host. */
export async function readHostNetworks(
  session: VcenterSession,
  hostId: string,
  signal: AbortSignal,
): Promise<HostNetworks> {
  const host: MoRef = { type: 'HostSystem', value: hostId };
  const paths = ['name', 'parent', 'network', 'configManager.networkSystem'];
  const found = (await session.properties([host], paths, signal)).get(hostId);
  if (!found) throw new WeftError('ERR_NOT_FOUND', `there is no host ${hostId} in this vCenter`);
  const refs = (found.network ?? []) as MoRef[];
  const networks: HostNetwork[] = [];
  const distributed = refs.filter((ref) => ref.type === 'DistributedVirtualPortgroup');
  for (const [value, read] of await readThere(session, distributed, ['name', 'config'], signal)) {
    const config = read.config as Vim<'DVPortgroupConfigInfo'>;
    networks.push({
      kind: 'distributed',
      ref: { type: 'DistributedVirtualPortgroup', value },
      name: read.name as string,
      config,
      mark: readPortGroupMark(config.description),
    });
  }
  nameSegments(networks);
  const others = refs.filter((ref) => ref.type !== 'DistributedVirtualPortgroup');
  const names = await readThere(session, others, ['name'], signal);
  for (const ref of others) {
    const name = names.get(ref.value)?.name as string | undefined;
    if (name !== undefined)
      networks.push({ kind: ref.type === 'Network' ? 'standard' : 'opaque', ref, name });
  }
  return {
    host,
    name: found.name as string,
    parent: found.parent as MoRef,
    networkSystem: found['configManager.networkSystem'] as MoRef,
    networks,
  };
}

/** Calls marked port groups after their production port groups, whatever these are called by now. */
export function nameSegments(networks: readonly HostNetwork[]): void {
  const names = new Map(networks.map(({ ref, name }) => [ref.value, name]));
  for (const one of networks) {
    if (one.kind !== 'distributed' || !one.mark) continue;
    one.mark = { ...one.mark, segment: segmentNow(one.mark, names.get(one.mark.production)) };
  }
}

/** The network behind the name of a segment, as the inventory lists it for this host. */
export function findSegment(on: HostNetworks, segment: string): HostNetwork | undefined {
  return (
    on.networks.find((one) => isShadowOf(one, on.host.value) && one.mark.segment === segment) ??
    on.networks.find(
      (one) =>
        one.name === segment &&
        (one.kind === 'distributed' ? one.mark === null : readStandardName(segment)?.role !== 'out'),
    )
  );
}

/**
 * The `out` port group of a segment that the host has no shadow of: the whole of it where its making was cut short, and
 * nothing of it where other hosts have theirs.
 */
export function findBeginning(on: HostNetworks, segment: string): MarkedNetwork | undefined {
  return on.networks.find(
    (one): one is MarkedNetwork =>
      one.kind === 'distributed' &&
      one.mark?.role === 'out' &&
      // `nameSegments` has called it after its production port group.
      shadowNow(one.mark, undefined) === segment,
  );
}

/** The port group for an engine's `out` NIC on a production segment, or that segment itself where there is none. */
export function findOut(on: HostNetworks, production: HostNetwork): HostNetwork {
  const out =
    production.kind === 'distributed'
      ? on.networks.find(
          (one) =>
            one.kind === 'distributed' &&
            one.mark?.role === 'out' &&
            one.mark.production === production.ref.value,
        )
      : on.networks.find((one) => one.kind === 'standard' && one.name === `${production.name}-weft-out`);
  return out ?? production;
}

/** Whether it is the shadow segment that Weft made on a distributed switch for the host. */
export function isShadowOf(network: HostNetwork, host: string): network is MarkedNetwork {
  return network.kind === 'distributed' && network.mark?.role === 'in' && network.mark.host === host;
}

/** ERR_NOT_FOUND, for people. */
export function segmentNotFound(segment: string, host: string): WeftError {
  return new WeftError(
    'ERR_NOT_FOUND',
    `host ${host} has no segment ${segment}: make a port group of that name, or name another`,
  );
}

/** ERR_HYPERVISOR_REFUSED, for what the platform itself refuses. */
export function refusal(message: string): WeftError {
  return new WeftError('ERR_HYPERVISOR_REFUSED', message);
}
