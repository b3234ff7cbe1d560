/** The component `load-balancer`: candidates, persistence, traces, explanations. */
import assert from 'node:assert/strict';
import { ConnectionTable } from '../../../src/engine-vm/balance/connection-table.ts';
import { LoadBalancer } from '../../../src/engine-vm/balance/load-balancer.ts';
import { SessionMap } from '../../../src/engine-vm/balance/session-map.ts';
import { AddressClasses } from '../../../src/engine-vm/component/address-classes.ts';
import { type Decision, DROP, PASS } from '../../../src/engine-vm/component/component.ts';
import { FirewallLog } from '../../../src/engine-vm/component/firewall-log.ts';
import { type ComponentContext, createComponent } from '../../../src/engine-vm/component/registry.ts';
import { dropIndex } from '../../../src/engine-vm/drops.ts';
import { parseAddress } from '../../../src/packet/address.ts';
import { Packet } from '../../../src/packet/packet.ts';
import type { BalancingMethod } from '../../../src/policy/balancing-methods.ts';
import type { GraphComponent, ServiceGraph } from '../../../src/policy/graph.ts';
import { graphOf, memberOf } from './graph.ts';

function packetFrom(client: string): Packet {
  const words = new Int32Array(4);
  assert.ok(parseAddress(client, words));
  const packet = new Packet();
  packet.ipVersion = client.includes(':') ? 6 : 4;
  [packet.s0, packet.s1, packet.s2, packet.s3] = words;
  return packet;
}

function spec(method: BalancingMethod, timeoutMs = 0): GraphComponent {
  return {
    type: 'load-balancer',
    method,
    persistence: timeoutMs > 0 ? { type: 'source-address', timeoutMs } : { type: 'none' },
  };
}

function bench(graph: ServiceGraph) {
  const down = new Set<number>();
  const told: { scope: string; client: number; member: number; time: number }[] = [];
  const clock = { now: 1000 };
  const connections = new ConnectionTable('e1', () => clock.now);
  connections.load(graph.members, 'e1');
  const sessions = new SessionMap(64, 'e1');
  sessions.load(graph);
  const context: ComponentContext = {
    graph,
    serviceIndex: 0,
    connections,
    sessions,
    addressSets: new AddressClasses(),
    firewallLog: new FirewallLog(),
    isMemberUp: (_pool, member) => !down.has(member),
    nowMs: () => clock.now,
    wallMs: () => clock.now + 1_000_000,
    onSession: (scope, _w0, _w1, _w2, client, member, time) => told.push({ scope, client, member, time }),
  };
  const balancer = createComponent(graph.services[0].components[0], context) as LoadBalancer;
  const decide = (client: string, isTrace = false, tier = 0) => {
    const decision: Decision = {
      service: 0,
      tier,
      isNewFlow: true,
      member: -1,
      reason: -1,
      rule: -1,
      isMetered: false,
      isByHash: false,
      isTrace,
    };
    return { verdict: balancer.process(packetFrom(client), decision), ...decision, decision };
  };
  return { balancer, connections, context, decide, down, told, clock };
}

const THREE = [
  memberOf('a'),
  memberOf('b', { hops: 3, engine: 'e2' }),
  memberOf('c', { hops: 1, engine: 'e3' }),
];

describe('load balancer', () => {
  it('chooses by topological load over the counts of all engines: the worked case', () => {
    const { decide, connections, balancer } = bench(graphOf(THREE, [spec('topological')]));
    for (let flow = 0; flow < 20; flow++) connections.opened(0, null);
    connections.applyReport('e2', { local: { 'lab/b/0': 4 }, sent: {}, received: {} });
    connections.applyReport('e3', { local: { 'lab/c/0': 5 }, sent: {}, received: {} });
    const { verdict, member, decision } = decide('10.1.0.1');
    assert.equal(verdict, PASS);
    assert.equal(member, 2);
    assert.equal(balancer.describe(decision), 'c: topological: least L = C x (1 + H) = 5 x (1 + 1) = 10');
    const explanation = balancer.explainTier(0, 4);
    assert.equal(explanation.choice, 'c');
    assert.deepEqual(
      explanation.candidates.map(({ connections: c, hops, load }) => [c, hops, load]),
      [
        [20, 0, 20],
        [4, 3, 16],
        [5, 1, 10],
      ],
    );
  });

  it('drops with no-member when nobody is up', () => {
    const { decide, down, balancer } = bench(graphOf(THREE, [spec('round-robin')]));
    for (const member of [0, 1, 2]) down.add(member);
    const { verdict, member, reason } = decide('10.1.0.1');
    assert.deepEqual([verdict, member, reason], [DROP, -1, dropIndex('no-member')]);
    assert.deepEqual(balancer.counters(), { chosen: 0, session: 0, 'no-member': 1 });
    const explanation = balancer.explainTier(0, 4);
    assert.equal(explanation.choice, null);
    assert.ok(explanation.candidates.every((candidate) => !candidate.isUsable && candidate.reason !== ''));
  });

  it('leaves out members without an address in the family of the packet', () => {
    const members = [
      memberOf('a'),
      memberOf('b', { ipv6: 'fd00::1' }),
      memberOf('c', { ipv4: null, ipv6: 'fd00::2' }),
    ];
    const { decide } = bench(graphOf(members, [spec('round-robin')]));
    const of = (client: string) => new Set([1, 2, 3, 4].map(() => decide(client).member));
    assert.deepEqual(of('10.1.0.1'), new Set([0, 1]));
    assert.deepEqual(of('fd00::9'), new Set([1, 2]));
  });

  it('gives no new flow to draining members and members of weight 0, in any method', () => {
    for (const method of ['topological', 'round-robin', 'maglev'] as const) {
      const graph = graphOf(
        THREE,
        [spec(method)],
        [
          [
            { member: 0, weight: 0, isDraining: false },
            { member: 1, weight: 1, isDraining: true },
            { member: 2, weight: 1, isDraining: false },
          ],
        ],
      );
      const { decide } = bench(graph);
      for (let flow = 0; flow < 10; flow++) assert.equal(decide(`10.1.0.${flow}`).member, 2);
    }
  });

  it('brings a client back to its member while the session lives', () => {
    const { decide, clock, balancer, told } = bench(graphOf(THREE, [spec('round-robin', 5000)]));
    const first = decide('10.1.0.1').member;
    for (let flow = 0; flow < 5; flow++) decide(`10.1.1.${flow}`);
    clock.now += 4000;
    const again = decide('10.1.0.1');
    assert.equal(again.member, first);
    assert.match(balancer.describe(again.decision), /session keeps its member/);
    assert.deepEqual(balancer.counters(), { chosen: 6, session: 1, 'no-member': 0 });
    assert.equal(told.length, 7);
    assert.deepEqual(told[6], { scope: 'shop', client: 0x0a010001, member: first, time: 1_005_000 });
    clock.now += 4999;
    assert.equal(decide('10.1.0.1').member, first);
  });

  it('lets a session go on at a member that began to drain in a later graph', () => {
    const setting = bench(graphOf(THREE, [spec('round-robin', 5000)]));
    const first = setting.decide('10.1.0.1').member;
    const draining = graphOf(
      THREE,
      [spec('round-robin', 5000)],
      [[0, 1, 2].map((member) => ({ member, weight: 1, isDraining: member === first }))],
    );
    setting.context.sessions.load(draining);
    const next = new LoadBalancer(
      {
        type: 'load-balancer',
        method: 'round-robin',
        persistence: { type: 'source-address', timeoutMs: 5000 },
      },
      { ...setting.context, graph: draining },
      setting.balancer,
    );
    const decision = {
      service: 0,
      tier: 0,
      isNewFlow: true,
      member: -1,
      reason: -1,
      rule: -1,
      isMetered: false,
      isByHash: false,
      isTrace: false,
    };
    next.process(packetFrom('10.1.0.1'), decision);
    assert.equal(decision.member, first);
    assert.deepEqual(next.counters(), { chosen: 1, session: 1, 'no-member': 0 });
    for (let flow = 0; flow < 6; flow++) {
      next.process(packetFrom(`10.1.1.${flow}`), decision);
      assert.notEqual(decision.member, first);
    }
  });

  it('moves a session whose member went down, and tells the others', () => {
    const { decide, down, told } = bench(graphOf(THREE, [spec('round-robin', 5000)]));
    const first = decide('10.1.0.1').member;
    down.add(first);
    const second = decide('10.1.0.1').member;
    assert.notEqual(second, first);
    down.delete(first);
    assert.equal(decide('10.1.0.1').member, second);
    assert.deepEqual(
      told.map(({ member }) => member),
      [first, second],
    );
  });

  it('remembers nothing of a trace', () => {
    const { decide, told, balancer } = bench(graphOf(THREE, [spec('round-robin', 5000)]));
    const foretold = decide('10.1.0.1', true).member;
    assert.equal(decide('10.1.0.2', true).member, foretold);
    assert.deepEqual(balancer.counters(), { chosen: 0, session: 0, 'no-member': 0 });
    assert.equal(told.length, 0);
    assert.equal(decide('10.1.0.1').member, foretold);
  });

  it('explains a client-bound method for a client, and says so where none is named', () => {
    const { decide, balancer } = bench(graphOf(THREE, [spec('source-hash', 5000)]));
    assert.equal(balancer.explainTier(0, 4).choice, null);
    assert.match(balancer.explainTier(0, 4).reason, /name a client/);
    const words: [number, number, number, number] = [0, 0, 0xffff, 0x0a010001];
    const foretold = balancer.explainTier(0, 4, words);
    assert.match(foretold.reason, /rendezvous/);
    assert.equal(THREE[decide('10.1.0.1').member].vm, foretold.choice);
    assert.match(balancer.explainTier(0, 4, words).reason, /persistence/);
  });
});
