/**
 * From an engine's graph to what its proxies run: the settings of the services whose HTTP it proxies. Pure. The sibling
 * for `weft proxy` is settings.ts.
 */

import { createHmac } from 'node:crypto';
import type { GraphPool, GraphService, ServiceGraph } from '../../policy/graph.ts';
import type { HttpService } from '../../policy/http-service.ts';
import { STACK_GATEWAY_MARK } from '../stack-gateway.ts';
import type { MemberSettings, ServiceSettings } from './service.ts';

/** Verdicts of health monitors: by pool, then by member id. */
export type Verdicts = ReadonlyMap<string, Readonly<Record<string, boolean>>>;

/** By the name of the service. */
export function proxiedSettings(graph: ServiceGraph, verdicts: Verdicts): Map<string, ServiceSettings> {
  const all = new Map<string, ServiceSettings>();
  for (const service of graph.services) {
    const settings = settingsOf(graph, service, verdicts);
    if (settings !== null) all.set(service.name, settings);
  }
  return all;
}

/** Addresses whose packets are for proxies. */
export function proxiedAddresses(graph: ServiceGraph): string[] {
  const proxied = graph.services.filter(({ http }) => http !== undefined);
  return [...new Set(proxied.flatMap(({ tiers }) => tiers[0]!.addresses.map(({ address }) => address)))];
}

function settingsOf(graph: ServiceGraph, service: GraphService, verdicts: Verdicts): ServiceSettings | null {
  const { http, name, tiers, components } = service;
  const tier = tiers[0];
  if (http === undefined || tier === undefined) return null;
  const pool = graph.pools[tier.pool]!;
  const balancer = components.find((component) => component.type === 'load-balancer');
  const further = new Set(http.routes.map((route) => route.pool));
  further.delete(pool.name);
  return {
    name,
    tier: tier.name,
    listeners: tier.addresses.map(({ address }) => ({ address, port: tier.port, mark: STACK_GATEWAY_MARK })),
    method: balancer?.type === 'load-balancer' ? balancer.method : 'topological',
    ...(balancer?.type === 'load-balancer' && balancer.persistence.type !== 'none'
      ? { persistence: balancer.persistence }
      : {}),
    members: membersOf(graph, pool, verdicts),
    pools: graph.pools
      .filter((one) => further.has(one.name))
      .map((one) => ({
        name: one.name,
        members: membersOf(graph, one, verdicts),
        ...(one.tls === undefined ? {} : { poolTls: one.tls }),
      })),
    ...(pool.tls === undefined ? {} : { poolTls: pool.tls }),
    http,
    addressSets: addressSetsOf(graph, http),
    // A cookie that one engine gives, all others of the group know, also after a restart.
    cookieKey: keyOf(graph, `session cookies of ${name}`),
    sessionKey: keyOf(graph, `sessions of ${name}`).subarray(0, 8),
  };
}

/** Those that access rules name. A graph comes into force with all its sets, so each is there. */
function addressSetsOf(
  { addressSets = [] }: ServiceGraph,
  { accessRules }: HttpService,
): Record<string, string> {
  const names = new Set((accessRules?.rules ?? []).flatMap(({ fromSets }) => fromSets));
  return Object.fromEntries(
    addressSets.flatMap(({ name, prefixes }) =>
      names.has(name) && prefixes !== undefined ? [[name, prefixes]] : [],
    ),
  );
}

/** The same on all engines of the group. */
function keyOf(graph: ServiceGraph, use: string): Uint8Array {
  return createHmac('sha256', Buffer.from(graph.engine.groupKey, 'base64')).update(use).digest();
}

/** Members without an address, such as VMs that boot, are left out. */
function membersOf(graph: ServiceGraph, pool: GraphPool, verdicts: Verdicts): MemberSettings[] {
  const known = verdicts.get(pool.name);
  const isAnyUp = pool.members.some(({ member }) => known?.[graph.members[member]!.id] === true);
  return pool.members.flatMap(({ member, weight, isDraining }) => {
    const { id, ipv4, ipv6, hops } = graph.members[member]!;
    const address = ipv4 ?? ipv6;
    if (address === null) return [];
    const verdict = known?.[id];
    // As in dataplane/member-health.ts: it may be booting.
    const isDown = verdict === false || (verdict === undefined && isAnyUp && pool.healthMonitors.length > 0);
    return [{ name: id, address, port: pool.port, weight, hops, isDraining, isDown }];
  });
}
