/** From an engine's graph to the settings of its proxies: whose members, which sets, and keys that engines share. */
import assert from 'node:assert/strict';
import { proxiedAddresses, proxiedSettings } from '../../../src/engine-vm/http/graph-settings.ts';
import { Service } from '../../../src/engine-vm/http/service.ts';
import { packPrefixes } from '../../../src/packet/packed-prefixes.ts';
import type { GraphMember, GraphService, ServiceGraph } from '../../../src/policy/graph.ts';
import { HttpService } from '../../../src/policy/http-service.ts';

const member = (id: string, ipv4: string | null, ipv6: string | null = null): GraphMember => ({
  id,
  vm: id,
  host: 'h1',
  mac: '02:00:00:00:00:01',
  ipv4,
  ipv6,
  hops: id === 'near' ? 0 : 1,
  engine: null,
});

const service = (name: string, http?: Record<string, unknown>): GraphService => ({
  name,
  protocol: 'tcp',
  tiers: [{ name: 'web', port: 80, pool: 0, addresses: [{ address: '10.0.0.1', announcers: [] }] }],
  components: [{ type: 'load-balancer', method: 'round-robin', persistence: { type: 'none' } }],
  ...(http === undefined ? {} : { http: HttpService.parse(http) }),
});

const monitors = (count: number) => new Array(count).fill({}) as ServiceGraph['pools'][0]['healthMonitors'];

const graphOf = (services: GraphService[], groupKey = Buffer.alloc(32, 1)): ServiceGraph => ({
  revision: 1,
  engine: {
    id: 'e1',
    host: 'h1',
    mac: '02:00:00:00:00:02',
    failMode: 'open',
    dataAddresses: [],
    probeIntervalMs: 100,
    deadAfterMs: 300,
    maxFlows: 1000,
    groupKey: groupKey.toString('base64'),
  },
  peers: [],
  members: [member('near', '10.1.0.1'), member('far', null, 'fd00::1'), member('booting', null)],
  pools: [
    {
      name: 'web',
      port: 8080,
      healthMonitors: monitors(1),
      members: [0, 1, 2].map((index) => ({ member: index, weight: 1 + index, isDraining: index === 1 })),
    },
    { name: 'other', port: 81, healthMonitors: [], members: [{ member: 0, weight: 1, isDraining: false }] },
    { name: 'unused', port: 82, healthMonitors: [], members: [] },
  ],
  services,
  addressSets: [
    { name: 'blocked', hash: 'a', prefixes: packPrefixes(['192.0.2.0/24']) },
    { name: 'of firewalls', hash: 'b', prefixes: packPrefixes(['198.51.100.0/24']) },
  ],
});

const rules = [{ name: 'no', action: 'deny', fromSets: ['blocked'] }];
const ROUTED = {
  routes: [
    { paths: ['/a'], pool: 'other' },
    { paths: ['/b'], pool: 'web' },
  ],
  accessRules: { rules },
};

describe("the settings of an engine's proxies", () => {
  it('are of services with http alone, with members that have an address, and pools of routes', () => {
    const graph = graphOf([service('flows'), service('front', ROUTED)]);
    const all = proxiedSettings(graph, new Map());
    assert.deepEqual([...all.keys()], ['front']);
    const { members, pools, listeners, method } = all.get('front')!;
    assert.deepEqual(
      members.map(({ name, address, port, weight, hops, isDraining, isDown }) => [
        name,
        address,
        port,
        weight,
        hops,
        isDraining,
        isDown,
      ]),
      [
        ['near', '10.1.0.1', 8080, 1, 0, false, false],
        ['far', 'fd00::1', 8080, 2, 1, true, false],
      ],
    );
    assert.deepEqual(
      pools?.map(({ name }) => name),
      ['other'],
    );
    assert.deepEqual([listeners[0]!.address, listeners[0]!.port, method], ['10.0.0.1', 80, 'round-robin']);
    assert.deepEqual(proxiedAddresses(graph), ['10.0.0.1']);
    assert.deepEqual(proxiedAddresses(graphOf([service('flows')])), []);
  });

  it('leave out who is down, and who is not known to be up where others are', () => {
    const down = (verdicts: Record<string, boolean>) =>
      proxiedSettings(graphOf([service('front', {})]), new Map([['web', verdicts]]))
        .get('front')!
        .members.map(({ isDown }) => isDown);
    assert.deepEqual(down({ near: false }), [true, false]);
    assert.deepEqual(down({ near: true }), [false, true]);
    assert.deepEqual(down({ near: true, far: true }), [false, false]);
  });

  it('hold the address sets that access rules name, and no service runs without one', () => {
    const graph = graphOf([service('front', ROUTED), service('plain', {})]);
    const all = proxiedSettings(graph, new Map());
    assert.deepEqual(Object.keys(all.get('front')!.addressSets!), ['blocked']);
    assert.deepEqual(all.get('plain')!.addressSets, {});
    assert.equal(new Service(all.get('front')!).components[0]!.type, 'access-rules');
    graph.addressSets = [];
    const lacking = proxiedSettings(graph, new Map()).get('front')!;
    assert.throws(() => new Service(lacking), /address set "blocked" is not here/);
  });

  it('have a cookie key that the engines of a group share, another for each service and group', () => {
    const keyOf = (name: string, fill: number): string =>
      Buffer.from(
        proxiedSettings(graphOf([service(name, {})], Buffer.alloc(32, fill)), new Map()).get(name)!
          .cookieKey!,
      ).toString('hex');
    assert.equal(keyOf('front', 1), keyOf('front', 1));
    assert.equal(new Set([keyOf('front', 1), keyOf('front', 2), keyOf('back', 1)]).size, 3);
  });
});
