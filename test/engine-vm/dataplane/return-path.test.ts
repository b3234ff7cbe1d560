/** `returnPath: engine`: answers come back to the engine that chose the member, and members see its address. */
import assert from 'node:assert/strict';
import type { GraphService } from '../../../src/policy/graph.ts';
import {
  ALL_FLOWS,
  dataIp,
  type GraphParts,
  graphFor,
  memberIp,
  memberMac,
  NAMES,
  OWNED,
  settled,
  type TestEngine,
  VIP,
} from './network.ts';

const CLIENT = '10.0.0.9';

const returning = (): GraphService[] =>
  graphFor('A').services.map((service) => ({ ...service, returnPath: 'engine' }));

/** Leaves one member for new flows. */
function only(engine: TestEngine, name: string): void {
  engine.dataplane.applyHealth(
    'web',
    Object.fromEntries(NAMES.map((other) => [`cloud/${other}/nic0`, other === name])),
  );
}

/** A connection from the client through engine A to b1, with its member's answer; what b1 and the client saw. */
function connected(parts: GraphParts = {}) {
  const site = settled({ services: returning(), ...parts });
  const { network, engines, hosts, client } = site;
  const A = engines.A!;
  const b1 = hosts.b1!;
  only(A, 'b1');
  const send = (flags: string) =>
    network.emit(client, { from: CLIENT, to: VIP, sport: 7000, dport: 8080, flags, toMac: A.mac });
  send('S');
  const first = b1.one();
  const answer = (flags: string) =>
    network.emit(b1, {
      from: memberIp('b1'),
      to: first.from,
      sport: 80,
      dport: first.sport,
      flags,
      toMac: A.mac,
    });
  answer('SA');
  return { ...site, A, B: engines.B!, b1, first, reply: client.one(), send, answer };
}

describe('a service whose answers return through the engine', () => {
  it('shows its member the address of the engine that chose, which restores the answers', () => {
    const { A, B, first, reply, send, answer, b1, client } = connected();
    assert.deepEqual([first.from, first.to, first.dport], [dataIp('A'), memberIp('b1'), 80]);
    assert.deepEqual([first.fromMac, first.toMac], [A.mac, memberMac('b1')]);
    assert.ok(first.sport >= 40_000);
    assert.deepEqual(
      [reply.from, reply.sport, reply.to, reply.dport, reply.fromMac],
      [VIP, 8080, CLIENT, 7000, A.mac],
    );
    send('A');
    assert.equal(b1.one().sport, first.sport);
    answer('PA');
    assert.equal(client.one().from, VIP);
    const kinds = (engine: TestEngine) => engine.dataplane.flows(ALL_FLOWS).flows.map(({ kind }) => kind);
    assert.deepEqual(kinds(A), ['translated both ways']);
    assert.deepEqual(kinds(B), ['direct']);
  });

  it('counts the connection once, at the engine beside its member, as one that a peer chose', () => {
    const { A, B, send, answer, b1, client } = connected();
    const id = 'cloud/b1/nic0';
    assert.deepEqual(A.dataplane.connectionReport(), { local: {}, sent: {}, received: {} });
    assert.deepEqual(B.dataplane.connectionReport(), {
      local: { [id]: 1 },
      sent: {},
      received: { [id]: { A: 1 } },
    });
    for (const flags of ['A', 'FA']) send(flags);
    answer('FA');
    assert.equal(b1.take().length + client.take().length, 3);
    assert.deepEqual(B.dataplane.connectionReport().local, {});
  });

  it('goes on while the engine beside its member is bypassed, and is counted by the other then', () => {
    const { network, A, B, send, answer, b1, client } = connected();
    send('A');
    b1.take();
    const bypassed = { services: returning(), engineOf: { b1: null, b2: null }, revision: 2 };
    A.dataplane.load(graphFor('A', bypassed));
    B.isDead = true;
    b1.engine = null;
    B.members.splice(0);
    assert.deepEqual(A.dataplane.connectionReport().sent, { 'cloud/b1/nic0': 1 });
    send('PA');
    assert.equal(b1.one().from, dataIp('A'));
    answer('PA');
    assert.equal(client.one().from, VIP);
    A.dataplane.load(graphFor('A', { services: returning(), revision: 3 }));
    assert.deepEqual(A.dataplane.connectionReport().sent, {}, 'the engine that is back counts it');
    network.pass(100);
  });

  it('is not balanced a second time where the member owns the service address and port', () => {
    const services = returning();
    const tier = services[0]!.tiers[0]!;
    tier.port = 80;
    tier.addresses = [
      { address: VIP, announcers: ['A', 'B', 'C'] },
      { address: memberIp('b1'), announcers: [] },
    ];
    const { network, engines, hosts, client } = settled({ services });
    const A = engines.A!;
    only(A, 'b1');
    network.emit(client, { from: CLIENT, to: VIP, sport: 7001, dport: 80, toMac: A.mac });
    const seen = hosts.b1!.one();
    assert.deepEqual([seen.from, seen.to], [dataIp('A'), memberIp('b1')]);
    assert.deepEqual(engines.B!.dataplane.connectionReport().received, { 'cloud/b1/nic0': { A: 1 } });
  });

  it('leaves answers of members beside the engine as they are, and says so in a trace', () => {
    const { network, engines, hosts, client } = settled({ services: returning() });
    const A = engines.A!;
    only(A, 'a2');
    network.emit(client, { from: CLIENT, to: OWNED, sport: 7002, dport: 8080, toMac: memberMac('a1') });
    assert.equal(hosts.a2!.one().from, CLIENT);
    only(A, 'c1');
    const question = { service: 'shop', from: CLIENT, fromPort: 1, to: VIP, port: 8080, balancedTo: null };
    const { hop, next, outcome } = A.dataplane.trace(question);
    assert.equal(next, null);
    assert.equal(outcome, 'delivered to c1');
    assert.match(hop.steps.find(({ component }) => component === 'rewrite')!.detail, /the answer returns/);
    const [explanation] = A.dataplane.explain({ service: 'shop', from: null });
    assert.equal(explanation!.returnPath, 'engine');
    assert.deepEqual(
      explanation!.candidates.map(({ path }) => path),
      ['in line', 'in line', 'translated', 'translated', 'translated', 'translated'],
    );
  });

  it('takes up a connection that began before, when answers still went directly, as it was', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!;
    only(A, 'b1');
    const send = (flags: string) =>
      network.emit(client, { from: CLIENT, to: VIP, sport: 7003, dport: 8080, flags, toMac: A.mac });
    const answer = (flags: string) =>
      network.emit(hosts.b1!, {
        from: memberIp('b1'),
        to: CLIENT,
        sport: 80,
        dport: 7003,
        flags,
        toMac: client.mac,
      });
    send('S');
    answer('SA');
    send('A');
    for (const engine of network.engines) {
      engine.dataplane.load(graphFor(engine.id, { services: returning(), revision: 2 }));
    }
    // Told to the peers after 250 ms: A itself is restarted, and knows nothing but what it asks.
    network.pass(1000);
    hosts.b1!.take();
    network.restart(A);
    A.dataplane.load(graphFor('A', { services: returning(), revision: 2 }));
    network.pass(1000);
    for (let tries = 0; tries < 2; tries++) send('PA');
    const seen = hosts.b1!.take().filter(({ packet }) => packet.ipVersion !== 0);
    assert.ok(seen.length >= 1, 'its member is found');
    assert.ok(seen.every(({ from, sport }) => from === CLIENT && sport === 7003));
  });
});
