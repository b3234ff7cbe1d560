/** The firewall on the path of packets: what established flows, limits, windows, sets and members make of it. */

import assert from 'node:assert/strict';
import type { DataplaneOptions } from '../../../src/engine-vm/dataplane/dataplane.ts';
import {
  BUCKET_BYTES,
  bucketsFor,
  CONFIG_BYTES,
  FlowSlots,
  SLOT_BYTES,
} from '../../../src/engine-vm/fastpath/flow-slots.ts';
import { TUNNEL_BYTES, TUNNELS } from '../../../src/engine-vm/fastpath/tunnel-heads.ts';
import { FlowMemory, flowMemoryBytes } from '../../../src/engine-vm/flow/flow-memory.ts';
import { packPrefixes } from '../../../src/packet/packed-prefixes.ts';
import type { GraphComponent, GraphFirewallRule, ServiceGraph } from '../../../src/policy/graph.ts';
import { WEEKDAYS } from '../../../src/policy/time-window.ts';
import { BALANCER, engineMac, graphFor, type Host, memberIp, NAMES, settled, VIP } from './network.ts';

const CLIENT = '10.0.0.9';
/** The wall clock of the network in memory begins here. */
const EPOCH_MS = 1_700_000_000_000;

function firewall(
  rules: (Partial<GraphFirewallRule> & { name: string })[],
  defaultAction: 'allow' | 'deny',
): GraphComponent {
  return {
    type: 'firewall',
    policy: 'p',
    rules: rules.map((rule) => ({ action: 'allow', protocol: 'any', ...rule })),
    defaultAction,
  };
}

function scene(
  components: GraphComponent[],
  extra: Partial<ServiceGraph> = {},
  openSlots?: DataplaneOptions['openSlots'],
) {
  const network = settled({ components, openSlots });
  const { engines, hosts, client } = network;
  const A = engines.A!;
  const load = (next: GraphComponent[], more: Partial<ServiceGraph> = extra) =>
    A.dataplane.load({ ...graphFor('A', { components: next, revision: 2 }), ...more });
  load(components);
  const send = (flags: string, sport = 1, from = CLIENT, protocol: 'tcp' | 'udp' = 'tcp') => {
    const dport = protocol === 'tcp' ? 8080 : 53;
    network.network.emit(client, { from, to: VIP, sport, dport, flags, protocol, toMac: engineMac('A') });
    return NAMES.flatMap((name) => (hosts[name] as Host).take().map(() => name));
  };
  return { ...network, A, load, send, drops: () => A.dataplane.counters().drops };
}

describe('a firewall on the path', () => {
  it('compiles a long list of rules between packets, which the former ones judge until the graph is in force', () => {
    const { A, send } = scene([firewall([], 'allow'), BALANCER]);
    const others = Array.from({ length: 10_000 }, (_, n) => ({
      name: `r${n}`,
      action: 'deny' as const,
      from: [`172.${16 + (n >> 12)}.${(n >> 4) & 255}.${(n & 15) * 16}/28`],
    }));
    const next = firewall([...others, { name: 'client', action: 'reject', from: [CLIENT] }], 'allow');
    const graph = graphFor('A', { components: [next, BALANCER], revision: 3 });
    const steps = A.dataplane.prepare(graph);
    let pauses = 0;
    while (steps.next().done !== true) {
      pauses++;
      if (pauses % 10 === 0) assert.equal(send('S', pauses).length, 1, 'the former rules hold');
    }
    assert.ok(pauses > 10_000 / 256, `${pauses} pauses`);
    assert.equal(send('S', 9).length, 1);
    A.dataplane.load(graph);
    assert.equal(send('S', 10).length, 0);
    assert.equal(send('S', 10, '172.16.5.21').length, 0);
    assert.equal(send('S', 10, '10.0.0.10').length, 1);
    assert.equal(A.dataplane.firewall({ policy: 'p', limit: 1 }).packets.client, 1);
    const broken = graphFor('A', {
      components: [firewall([{ name: 'odd', from: ['10.0.0.300'] }], 'allow'), BALANCER],
      revision: 4,
    });
    assert.throws(() => [...A.dataplane.prepare(broken)], /firewall rule odd/);
    assert.equal(send('S', 11).length, 0, 'the graph before stays');
  });

  it('holds a limit of packets for an established flow, which lives on', () => {
    const slow = firewall(
      [
        {
          name: 'slow',
          action: 'rate-limit',
          limit: { packetsPerSecond: 10, burstMs: 1000, per: 'source' },
        },
      ],
      'deny',
    );
    const { network, send, drops, A } = scene([slow, BALANCER]);
    let passed = 0;
    for (let n = 0; n < 100; n++) passed += send(n === 0 ? 'S' : 'A').length;
    assert.equal(passed, 10);
    assert.equal(drops()['firewall-limit'], 90);
    assert.equal(A.dataplane.counters().flows, 1);
    network.pass(500);
    let later = 0;
    for (let n = 0; n < 100; n++) later += send('A').length;
    assert.equal(later, 5);
    assert.equal(send('S', 1, '10.0.0.10').length, 1, 'another source has its own rate');
  });

  it('leaves the kernel no direction whose packets or bytes are limited, and the other one as ever', () => {
    const limits = {
      packetsPerSecond: { packetsPerSecond: 1_000_000 },
      bytesPerSecond: { bytesPerSecond: 1_000_000_000 },
      connectionsPerSecond: { connectionsPerSecond: 1000 },
    };
    for (const [name, limit] of Object.entries(limits)) {
      const installed: number[] = [];
      class Recorded extends FlowSlots {
        override install(...args: Parameters<FlowSlots['install']>): boolean {
          installed.push(args[0] & 1);
          return super.install(...args);
        }
      }
      const rule = {
        name,
        action: 'rate-limit' as const,
        limit: { burstMs: 1000, per: 'rule' as const, ...limit },
      };
      const { network, hosts, send } = scene([firewall([rule], 'deny'), BALANCER], {}, (capacity, seed) => {
        const slots = capacity * SLOT_BYTES;
        const index = bucketsFor(capacity) * BUCKET_BYTES;
        return new Recorded(
          {
            config: new ArrayBuffer(CONFIG_BYTES),
            index: new ArrayBuffer(index),
            slots: new ArrayBuffer(slots),
            tunnels: new ArrayBuffer(TUNNEL_BYTES * TUNNELS),
            records: new FlowMemory(new ArrayBuffer(flowMemoryBytes(capacity >> 1)), capacity >> 1),
          },
          capacity,
          seed,
        );
      });
      const [member] = send('S');
      assert.ok(member !== undefined);
      const answer = (flags: string) =>
        network.emit(hosts[member]!, {
          from: memberIp(member),
          to: CLIENT,
          sport: 80,
          dport: 1,
          flags,
          toMac: '02:cc:00:00:00:01',
        });
      answer('SA');
      send('A');
      answer('A');
      send('A');
      assert.deepEqual([...new Set(installed)].sort(), name === 'connectionsPerSecond' ? [0, 1] : [1], name);
    }
  });

  it('counts a retransmitted SYN as no new connection', () => {
    const slow = firewall(
      [
        {
          name: 'slow',
          action: 'rate-limit',
          limit: { connectionsPerSecond: 2, burstMs: 1000, per: 'rule' },
        },
      ],
      'deny',
    );
    const { send, drops } = scene([slow, BALANCER]);
    for (let n = 0; n < 5; n++) assert.equal(send('S', 1).length, 1);
    assert.equal(send('S', 2).length, 1);
    assert.equal(send('S', 3).length, 0);
    assert.equal(drops()['firewall-limit'], 1);
    assert.equal(send('A', 1).length, 1);
  });

  it('ends a running flow when the window of its rule closes, without a new graph', () => {
    const closes = new Date(EPOCH_MS + 60_000).toISOString().slice(11, 16);
    const times = { timeZone: 'UTC', windows: [{ days: [...WEEKDAYS], from: '00:00', to: closes }] };
    const { network, send, drops } = scene([firewall([{ name: 'day', times }], 'deny'), BALANCER]);
    assert.equal(send('S').length, 1);
    assert.equal(send('A').length, 1);
    network.pass(120_000, 100);
    assert.equal(send('A').length, 0);
    assert.equal(drops()['firewall-deny'], 1);
  });

  it('judges by address sets, and a set that changes ends flows', () => {
    const rules = firewall([{ name: 'known', fromSets: [0] }], 'deny');
    const setOf = (...prefixes: string[]) => ({
      addressSets: [{ name: 'known', hash: prefixes.join(), prefixes: packPrefixes(prefixes) }],
    });
    const { send, load, drops } = scene([rules, BALANCER], setOf('10.0.0.8/30', 'fd00::/8'));
    assert.equal(send('S').length, 1);
    assert.equal(send('S', 1, '10.0.0.13').length, 0);
    load([rules, BALANCER], setOf('10.0.0.12/30'));
    assert.equal(send('A').length, 0);
    assert.equal(send('S', 1, '10.0.0.13').length, 1);
    assert.equal(drops()['firewall-deny'], 2);
    assert.throws(
      () => load([rules, BALANCER], { addressSets: [{ name: 'known', hash: 'x' }] }),
      /address set known is not here/,
    );
    assert.equal(send('S', 2, '10.0.0.13').length, 1, 'the graph before holds');
  });

  it('behind the balancer judges by the member that was chosen', () => {
    const rules = firewall([{ name: 'canary', action: 'deny', memberSet: 0 }], 'allow');
    const { send, load, drops } = scene([BALANCER, rules], { memberSets: [[]] });
    assert.equal(send('S').length, 1);
    load([BALANCER, rules], { memberSets: [NAMES.map((_name, index) => index)] });
    assert.equal(send('A').length, 0);
    assert.equal(send('S', 2).length, 0);
    assert.equal(drops()['firewall-deny'], 2);
  });

  it('judges by tier', () => {
    const { send } = scene([firewall([{ name: 'front', tiers: ['front'] }], 'deny'), BALANCER]);
    assert.equal(send('S').length, 1);
    const other = scene([firewall([{ name: 'back', tiers: ['back'] }], 'deny'), BALANCER]);
    assert.equal(other.send('S').length, 0);
  });

  it('answers what its rules did and logged, and counts half-open flows that it evicted', () => {
    const rules = firewall([{ name: 'all', log: { every: 1, perSecond: 100 } }], 'deny');
    const { A, send } = scene([rules, BALANCER]);
    for (let n = 1; n <= 3; n++) send('S', n);
    const answer = A.dataplane.firewall({ policy: 'p', limit: 2 });
    assert.deepEqual([answer.packets, answer.limited], [{ all: 3 }, {}]);
    assert.deepEqual(
      answer.log.map(({ from, fromPort, verdict }) => [from, fromPort, verdict]),
      [
        [CLIENT, 3, 'allowed'],
        [CLIENT, 2, 'allowed'],
      ],
    );
    assert.deepEqual(A.dataplane.firewall({ policy: 'q', limit: 9 }), { packets: {}, limited: {}, log: [] });
    for (let n = 4; n < 600; n++) send('S', n);
    assert.equal(A.dataplane.counters().evictedFlows, 599 - 256);
    assert.deepEqual([...A.dataplane.counters().evictedOf.values()], [599 - 256]);
  });

  it('forgets flows after the silence that the engine group allows', () => {
    const { A, network, send } = scene([BALANCER], {
      engine: {
        ...graphFor('A').engine,
        timeouts: { tcpHalfOpenMs: 300, tcpEstablishedMs: 60_000, tcpClosingMs: 100, udpMs: 700 },
      },
    });
    send('S');
    send('', 1, CLIENT, 'udp');
    assert.equal(A.dataplane.counters().flows, 2);
    network.pass(500);
    assert.equal(A.dataplane.counters().flows, 1);
    network.pass(500);
    assert.equal(A.dataplane.counters().flows, 0);
  });
});
