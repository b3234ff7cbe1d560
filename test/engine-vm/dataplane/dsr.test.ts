/** Direct server return: members get packets for the service address itself, told apart by MAC alone. */
import assert from 'node:assert/strict';
import type { GraphService } from '../../../src/policy/graph.ts';
import {
  ALL_FLOWS,
  engineMac,
  type GraphParts,
  graphFor,
  memberIp,
  memberMac,
  NAMES,
  settled,
  type TestEngine,
  VIP,
  VIP6,
} from './network.ts';

const untranslated = (): GraphService[] =>
  graphFor('A').services.map((service) => ({ ...service, delivery: 'dsr' }));

function only(engine: TestEngine, name: string): void {
  engine.dataplane.applyHealth(
    'web',
    Object.fromEntries(NAMES.map((other) => [`cloud/${other}/nic0`, other === name])),
  );
}

function site(name: string, parts: GraphParts = {}) {
  const all = settled({ services: untranslated(), ...parts });
  const { network, engines, hosts, client } = all;
  const A = engines.A!;
  const member = hosts[name]!;
  only(A, name);
  const open = (from: string, vip: string) => {
    const send = (flags: string) =>
      network.emit(client, { from, to: vip, sport: 6000, dport: 8080, flags, toMac: A.mac });
    const answer = (flags: string) =>
      network.emit(member, { from: vip, to: from, sport: 8080, dport: 6000, flags, toMac: client.mac });
    return { send, answer };
  };
  return { ...all, A, member, open };
}

describe('direct server return', () => {
  for (const [from, vip] of [
    ['10.0.0.9', VIP],
    ['fd00::9', VIP6],
  ] as const) {
    it(`leaves ${vip} in packets to members here and beside peers, and their answers alone`, () => {
      for (const [name, engine] of [
        ['a2', 'A'],
        ['b2', 'B'],
      ] as const) {
        const { client, engines, member, open } = site(name);
        const { send, answer } = open(from, vip);
        send('S');
        const seen = member.one();
        assert.deepEqual([seen.from, seen.sport, seen.to, seen.dport], [from, 6000, vip, 8080]);
        assert.equal(seen.toMac, memberMac(name));
        answer('SA');
        const reply = client.one();
        assert.deepEqual([reply.from, reply.sport, reply.fromMac], [vip, 8080, memberMac(name)]);
        send('A');
        assert.equal(member.one().to, vip);
        const report = engines[engine]!.dataplane.connectionReport();
        assert.deepEqual(report.local, { [`cloud/${name}/nic0`]: 1 });
        send('FA');
        answer('FA');
        assert.deepEqual(engines[engine]!.dataplane.connectionReport().local, {});
      }
    });
  }

  it('needs no engine beside the member', () => {
    const { A, client, member, open, network } = site('c1', { engineOf: { c1: null } });
    const { send, answer } = open('10.0.0.9', VIP);
    send('S');
    const seen = member.one();
    assert.deepEqual([seen.from, seen.to, seen.fromMac], ['10.0.0.9', VIP, engineMac('A')]);
    answer('SA');
    assert.equal(client.one().from, VIP);
    send('A');
    assert.deepEqual(A.dataplane.connectionReport().sent, { 'cloud/c1/nic0': 1 });
    network.pass(11_000, 100);
    send('PA');
    assert.equal(member.take().filter(({ to }) => to === VIP).length, 2, 'nothing is waited for');
    send('FA');
    assert.deepEqual(A.dataplane.connectionReport().sent, {});
  });

  it('keeps its connections over a graph, and when the engine beside the member goes and comes back', () => {
    const { A, member, open } = site('a1');
    const { send, answer } = open('10.0.0.9', VIP);
    for (const flags of ['S', 'A']) {
      send(flags);
      if (flags === 'S') answer('SA');
    }
    const load = (revision: number, parts: GraphParts = {}) =>
      A.dataplane.load(graphFor('A', { services: untranslated(), revision, ...parts }));
    load(2);
    assert.deepEqual(A.dataplane.connectionReport().local, { 'cloud/a1/nic0': 1 });
    load(3, { engineOf: { a1: 'B' } });
    assert.deepEqual(
      A.dataplane.flows(ALL_FLOWS).flows.map(({ kind }) => kind),
      ['remote'],
    );
    load(4);
    assert.deepEqual(A.dataplane.connectionReport().local, { 'cloud/a1/nic0': 1 });
    member.take();
    send('PA');
    assert.equal(member.one().to, VIP);
    assert.notEqual(memberIp('a1'), VIP);
  });

  it('refuses a client that says it is the service', () => {
    const { A, network, client, member } = site('a1');
    network.emit(client, { from: VIP, to: VIP, sport: 8080, dport: 8080, toMac: A.mac });
    assert.equal(member.take().length, 0);
    assert.deepEqual(A.dataplane.counters().drops, { 'no-member': 1 });
  });
});
