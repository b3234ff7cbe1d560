/** A small service graph for tests of the engine: one service, its members on two hosts. */
import type { GraphComponent, GraphMember, ServiceGraph } from '../../../src/policy/graph.ts';

export function memberOf(vm: string, parts: Partial<GraphMember> = {}): GraphMember {
  return {
    id: `lab/${vm}/0`,
    vm,
    host: 'h1',
    mac: '02:00:00:00:00:01',
    ipv4: '10.0.0.1',
    ipv6: null,
    hops: 0,
    engine: 'e1',
    ...parts,
  };
}

/** Engine `e1` with the service `shop` (tier `web`, and `db` where a second pool is given). */
export function graphOf(
  members: GraphMember[],
  components: GraphComponent[],
  pools: { member: number; weight: number; isDraining: boolean }[][] = [
    members.map((_member, member) => ({ member, weight: 1, isDraining: false })),
  ],
): ServiceGraph {
  const names = ['web', 'db'];
  return {
    revision: 1,
    engine: {
      id: 'e1',
      host: 'h1',
      mac: '02:00:00:00:01:01',
      failMode: 'open',
      dataAddresses: [],
      probeIntervalMs: 100,
      deadAfterMs: 400,
      maxFlows: 1024,
      groupKey: '',
    },
    peers: [],
    members,
    pools: pools.map((entries, index) => ({
      name: names[index],
      port: 8080,
      healthMonitors: [],
      members: entries,
    })),
    services: [
      {
        name: 'shop',
        protocol: 'tcp',
        tiers: pools.map((_entries, index) => ({
          name: names[index],
          port: 80,
          pool: index,
          addresses: [{ address: `10.0.9.${index + 1}`, announcers: [] }],
        })),
        components,
      },
    ],
  };
}
