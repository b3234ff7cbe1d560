/** Services whose connections end in the engine's own stack: who gets which packets, and what a change of graphs keeps. */
import assert from 'node:assert/strict';
import { PORT_SELF } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { STACK_GATEWAY_MAC } from '../../../src/engine-vm/stack-gateway.ts';
import type { GraphService } from '../../../src/policy/graph.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { type FrameSpec, frame } from '../../packet/frames.ts';
import {
  ALL_FLOWS,
  dataIp,
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
const proxied = (): GraphService[] =>
  graphFor('A').services.map((service) =>
    service.name === 'shop' ? { ...service, http: HttpService.parse({}) } : service,
  );

function network(services = proxied()) {
  const site = settled({ services });
  const A = site.engines.A!;
  const B = site.engines.B!;
  const send = (flags: string, spec: Partial<FrameSpec> = {}) =>
    site.network.emit(site.client, {
      ...{ from: CLIENT, to: VIP, sport: 7000, dport: 8080, flags, toMac: A.mac },
      ...spec,
    });
  /** What A's stack sends to the client. */
  const answer = (flags: string, spec: Partial<FrameSpec> = {}) =>
    site.network.inject(
      A,
      PORT_SELF,
      frame({
        ...{ fromMac: A.mac, toMac: STACK_GATEWAY_MAC, from: VIP, to: CLIENT },
        ...{ sport: 8080, dport: 7000, flags },
        ...spec,
      }),
    );
  const load = (engine: TestEngine, next: GraphService[]) =>
    engine.dataplane.load(graphFor(engine.id, { services: next, revision: 2 }));
  /** Leaves one member for new flows. */
  const only = (engine: TestEngine, name: string) =>
    engine.dataplane.applyHealth(
      'web',
      Object.fromEntries(NAMES.map((other) => [`cloud/${other}/nic0`, other === name])),
    );
  const kinds = (engine: TestEngine) => engine.dataplane.flows(ALL_FLOWS).flows.map(({ kind }) => kind);
  return { ...site, A, B, send, answer, load, only, kinds };
}

describe('a proxied service in the data plane', () => {
  it('gives the stack what clients send, and clients what it answers, with the MAC of their last packet', () => {
    const { A, send, answer, client, network: net, kinds } = network();
    send('S');
    const got = A.self.one();
    assert.deepEqual([got.to, got.dport, got.toMac, got.flags], [VIP, 8080, A.mac, 'S']);
    answer('SA');
    const seen = client.one();
    assert.deepEqual([seen.from, seen.sport, seen.fromMac, seen.toMac], [VIP, 8080, A.mac, client.mac]);
    assert.deepEqual(kinds(A), ['proxied']);
    // A router that fails over: the client's next packet comes from another MAC.
    const router = net.addHost('02:dd:00:00:00:09');
    net.emit(router, { from: CLIENT, to: VIP, sport: 7000, dport: 8080, flags: 'A', toMac: A.mac });
    A.self.take();
    answer('PA');
    assert.equal(router.one().from, VIP);
    assert.deepEqual(client.take(), []);
  });

  it('drops what the stack sends to clients of no flow', () => {
    const { A, answer, client } = network();
    answer('R');
    assert.deepEqual(client.take(), []);
    assert.equal(A.dataplane.counters().drops['no-flow'], 1);
  });

  it('lets the stack reset the middle of a connection that nobody knows, but not one of the VM that owns the address', () => {
    const { A, send, hosts, client, network: net } = network();
    send('A');
    assert.equal(A.self.one().flags, 'A');
    const to = { to: OWNED, toMac: memberMac('a1') };
    send('A', to);
    assert.equal(hosts.a1!.one().to, OWNED);
    send('S', { ...to, sport: 7001 });
    assert.equal(A.self.one().to, OWNED);
    assert.deepEqual(hosts.a1!.take(), []);
    // A proxy of a peer has that VM as its member.
    const peer = { from: dataIp('B'), fromMac: net.engines[1]!.mac, ...to, sport: 7002, dport: 80 };
    net.emit(client, { ...peer, flags: 'S' });
    assert.equal(hosts.a1!.one().from, dataIp('B'));
    assert.deepEqual(A.self.take(), []);
  });

  it('goes on with connections of the stack where no graph proxies any more, and balances new ones by flow', () => {
    const { A, send, answer, client, load, only, hosts, kinds } = network();
    send('S');
    A.self.take();
    load(A, graphFor('A').services);
    answer('SA');
    assert.equal(client.one().flags, 'SA');
    send('A');
    assert.equal(A.self.one().flags, 'A');
    only(A, 'a1');
    send('S', { sport: 7001 });
    assert.equal(hosts.a1!.one().to, memberIp('a1'));
    assert.deepEqual(A.self.take(), []);
    assert.deepEqual(kinds(A).sort(), ['local', 'proxied']);
  });

  it('goes on with connections of members where a service is proxied from now on', () => {
    const { A, send, load, only, hosts, client, network: net } = network(graphFor('A').services);
    only(A, 'a1');
    send('S');
    hosts.a1!.take();
    load(A, proxied());
    net.emit(hosts.a1!, {
      from: memberIp('a1'),
      to: CLIENT,
      sport: 80,
      dport: 7000,
      flags: 'SA',
      toMac: client.mac,
    });
    assert.equal(client.one().from, VIP);
    send('A');
    assert.equal(hosts.a1!.one().flags, 'A');
    send('S', { sport: 7001 });
    assert.equal(A.self.one().sport, 7001);
  });

  it('translates what a peer balanced by flow, when its own graph proxies already, and still', () => {
    const { A, B, send, load, only, hosts, client, network: net } = network();
    load(A, graphFor('A').services);
    only(A, 'b1');
    send('S');
    const first = hosts.b1!.one();
    assert.deepEqual([first.to, first.dport, first.from], [memberIp('b1'), 80, CLIENT]);
    net.emit(hosts.b1!, {
      from: memberIp('b1'),
      to: CLIENT,
      sport: 80,
      dport: 7000,
      flags: 'SA',
      toMac: client.mac,
    });
    assert.deepEqual([client.one().from], [VIP]);
    assert.deepEqual(B.self.take(), []);
    assert.deepEqual(A.self.take(), []);
  });
});
