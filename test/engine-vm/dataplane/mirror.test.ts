/** An engine of mode `mirror`: copies come in by `in`, are counted, and nothing but probes between engines leaves it. */
import assert from 'node:assert/strict';
import { PORT_IN, PORT_OUT, PORT_SELF } from '../../../src/engine-vm/dataplane/dataplane.ts';
import type { GraphComponent, ServiceGraph } from '../../../src/policy/graph.ts';
import { arp, type FrameSpec, frame } from '../../packet/frames.ts';
import {
  ALL_FLOWS,
  BALANCER,
  engineMac,
  graphFor,
  memberIp,
  memberMac,
  Network,
  OWNED,
  settled,
} from './network.ts';

const CLIENT = '10.0.0.9';
const CLIENT_MAC = '02:cc:00:00:00:01';
const FIREWALL: GraphComponent = {
  type: 'firewall',
  policy: 'edge',
  rules: [{ name: 'no-tens', action: 'deny', protocol: 'any', from: ['10.0.0.66/32'] }],
  defaultAction: 'allow',
};

function observingGraph(id: string): ServiceGraph {
  const graph = graphFor(id, { components: [FIREWALL, BALANCER] });
  const members = graph.members.map((one) => ({ ...one, engine: one.engine === id ? id : null }));
  return { ...graph, engine: { ...graph.engine, mode: 'mirror', fastPath: 'off' }, members };
}

describe('mirror engine', () => {
  function begin() {
    const network = new Network();
    const engine = network.addEngine('A', engineMac('A'));
    const outside = network.addHost(CLIENT_MAC);
    engine.dataplane.load(observingGraph('A'));
    const copy = (spec: FrameSpec) => network.inject(engine, PORT_IN, frame(spec));
    const toMember = (spec: Partial<FrameSpec>) =>
      copy({
        from: CLIENT,
        to: memberIp('a1'),
        dport: 80,
        fromMac: CLIENT_MAC,
        toMac: memberMac('a1'),
        ...spec,
      });
    const fromMember = (spec: Partial<FrameSpec>) =>
      copy({
        from: memberIp('a1'),
        to: CLIENT,
        sport: 80,
        fromMac: memberMac('a1'),
        toMac: CLIENT_MAC,
        ...spec,
      });
    const connection = (sport: number, ends: Partial<FrameSpec> = {}) => {
      toMember({ sport, flags: 'S', ...ends });
      fromMember({ dport: sport, flags: 'SA', ...(ends.from ? { to: ends.from } : {}) });
      toMember({ sport, flags: 'A', ...ends });
    };
    return { network, engine, outside, toMember, fromMember, connection };
  }
  const rules = (counters: { components: Record<string, number> }) =>
    Object.fromEntries(
      Object.entries(counters.components).filter(([key]) => key.startsWith('shop/firewall/')),
    );

  it('counts connections and flows of its members from copies of both directions', () => {
    const { engine, connection, toMember, fromMember } = begin();
    for (let port = 4000; port < 4005; port++) connection(port);
    assert.equal(engine.dataplane.connectionReport().local['cloud/a1/nic0'], 5);
    assert.equal(engine.dataplane.counters().newFlows, 5);
    toMember({ sport: 4000, flags: 'FA' });
    fromMember({ dport: 4000, flags: 'FA' });
    assert.equal(engine.dataplane.connectionReport().local['cloud/a1/nic0'], 4);
    connection(4000);
    assert.equal(engine.dataplane.connectionReport().local['cloud/a1/nic0'], 5, 'the port is used again');
  });

  it('counts which verdict each rule would have given, once per connection, and drops nothing', () => {
    const { engine, connection } = begin();
    for (let port = 4000; port < 4003; port++) connection(port);
    for (let port = 5000; port < 5002; port++) connection(port, { from: '10.0.0.66' });
    assert.deepEqual(rules(engine.dataplane.counters()), {
      'shop/firewall/no-tens': 2,
      'shop/firewall/default': 3,
    });
    assert.deepEqual(engine.dataplane.counters().drops, {});
    assert.equal(
      engine.dataplane.connectionReport().local['cloud/a1/nic0'],
      5,
      'those it would deny are there too',
    );
  });

  it('takes what comes to a service address that a member owns for that service', () => {
    const { engine, connection } = begin();
    connection(4000, { to: OWNED, dport: 8080 });
    assert.deepEqual(rules(engine.dataplane.counters()), { 'shop/firewall/default': 1 });
    const [flow] = engine.dataplane.flows(ALL_FLOWS).flows;
    assert.deepEqual([flow?.service, flow?.vm, flow?.kind], ['shop', 'a1', 'direct']);
  });

  it('counts a connection between two members once, though it is copied twice', () => {
    const { network, engine } = begin();
    const spec = {
      from: memberIp('a2'),
      to: memberIp('a1'),
      fromMac: memberMac('a2'),
      toMac: memberMac('a1'),
    };
    for (let copy = 0; copy < 2; copy++) {
      network.inject(engine, PORT_IN, frame({ ...spec, sport: 4000, dport: 80, flags: 'S' }));
    }
    assert.equal(engine.dataplane.counters().newFlows, 1);
    const { local } = engine.dataplane.connectionReport();
    assert.equal(local['cloud/a1/nic0'], 1);
    assert.equal(local['cloud/a2/nic0'] ?? 0, 0);
  });

  it('sends nothing, whatever comes in and however time passes', () => {
    const { network, engine, outside, connection, toMember } = begin();
    connection(4000);
    toMember({ sport: 4001, flags: 'R' });
    toMember({ protocol: 'udp', dport: 53, sport: 7 });
    toMember({ protocol: 'icmp' });
    toMember({ dport: 9 });
    network.send(
      outside,
      frame({
        from: CLIENT,
        to: '10.0.0.100',
        dport: 8080,
        flags: 'S',
        fromMac: CLIENT_MAC,
        toMac: engine.mac,
      }),
    );
    network.send(outside, arp({ operation: 1, fromMac: CLIENT_MAC, sender: CLIENT, target: '10.0.0.100' }));
    network.inject(
      engine,
      PORT_SELF,
      frame({ from: '10.0.0.201', to: CLIENT, fromMac: engine.mac, toMac: CLIENT_MAC }),
    );
    network.inject(
      engine,
      PORT_OUT,
      frame({ from: CLIENT, to: memberIp('a1'), dport: 80, fromMac: CLIENT_MAC, toMac: memberMac('a1') }),
    );
    network.pass(5000);
    // Its peers are not there: what it asks them leaves by `out`, and nothing else.
    const isProbe = (bytes: Uint8Array) => bytes[10 + 12] === 0x88 && bytes[10 + 13] === 0xb5;
    assert.ok(outside.take().every(({ bytes }) => isProbe(bytes)));
    assert.deepEqual(network.reverseRequests, []);
    assert.deepEqual(engine.self.take(), []);
    assert.equal(engine.dataplane.counters().drops.observing, 1);
    assert.deepEqual(engine.dataplane.ownedAddresses(), []);
  });

  it('proves itself alive to peers by probes on the production side', () => {
    const { network, engines } = settled();
    for (const id of ['A', 'B', 'C']) engines[id]!.dataplane.load(observingGraph(id));
    network.pass(2000);
    assert.equal(engines.B!.dataplane.peers().A?.isAlive, true);
    engines.A!.isDead = true;
    network.pass(1000);
    assert.equal(engines.B!.dataplane.peers().A?.isAlive, false);
  });

  it('says of a trace and a choice that they are only observed', () => {
    const { engine } = begin();
    const question = { service: 'shop', from: CLIENT, fromPort: 5, to: OWNED, port: 8080, balancedTo: null };
    assert.match(engine.dataplane.trace(question).outcome ?? '', /^only observed; in line it would go to/);
    const denied = engine.dataplane.trace({ ...question, from: '10.0.0.66' });
    assert.equal(denied.outcome, 'only observed; in line it would be dropped: firewall-deny');
  });

  it('comes back in line with what it announced before', () => {
    const { network, engines } = settled();
    const { A } = engines as { A: (typeof engines)[string] };
    A.dataplane.load(observingGraph('A'));
    network.pass(100);
    assert.deepEqual(A.dataplane.ownedAddresses(), []);
    A.dataplane.load(graphFor('A'));
    network.pass(4000);
    assert.ok(A.dataplane.ownedAddresses().length > 0);
  });
});
