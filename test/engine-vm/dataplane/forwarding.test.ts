import assert from 'node:assert/strict';
import { PORT_IN, PORT_OUT, PORT_SELF } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { arp, frame } from '../../packet/frames.ts';
import {
  dataIp,
  engineMac,
  graphFor,
  type Host,
  memberIp,
  memberIp6,
  memberMac,
  NAMES,
  Network,
  OWNED,
  type Seen,
  settled,
  VIP,
  VIP6,
} from './network.ts';

const CLIENT = '10.0.0.9';

/** Whoever of the members saw frames, and what. */
function receivers(hosts: Record<string, Host>): { name: string; seen: Seen }[] {
  return NAMES.flatMap((name) => hosts[name]!.take().map((seen) => ({ name, seen })));
}

describe('bridge', () => {
  it('passes everything on, byte for byte, before the first graph', () => {
    const network = new Network();
    const engine = network.addEngine('A', engineMac('A'));
    const inside = network.addHost('02:aa:00:00:00:01', engine);
    const outside = network.addHost('02:cc:00:00:00:01');
    const bytes = frame({
      from: '1.1.1.1',
      to: VIP,
      dport: 8080,
      fromMac: outside.mac,
      toMac: inside.mac,
      vlans: [9],
    });
    network.send(outside, bytes);
    assert.deepEqual(inside.one().bytes, bytes);
    const back = frame({ from: VIP, to: '1.1.1.1', fromMac: inside.mac, toMac: outside.mac });
    network.send(inside, back);
    assert.deepEqual(outside.one().bytes, back);
    network.inject(engine, PORT_SELF, back);
    assert.deepEqual(engine.dataplane.counters().drops, { held: 1 });
  });

  it('drops packets to a service in frames to a group of MACs, which would come past its firewall', () => {
    const { network, engines, hosts, client } = settled();
    for (const toMac of ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01'])
      for (const [to, dport] of [
        [VIP, 53],
        [OWNED, 53],
        [VIP, 7],
      ] as const)
        network.emit(client, { from: CLIENT, to, protocol: 'udp', sport: 5, dport, toMac });
    assert.deepEqual(receivers(hosts), []);
    assert.equal(engines.A!.dataplane.counters().drops['group-mac'], 6);
    network.emit(client, {
      from: CLIENT,
      to: '10.0.0.255',
      protocol: 'udp',
      dport: 9,
      toMac: 'ff:ff:ff:ff:ff:ff',
    });
    assert.ok(receivers(hosts).length > 0, 'other broadcasts pass');
  });

  it('passes frames that no policy names unchanged, both ways, also ones it cannot parse', () => {
    const { network, hosts, client } = settled();
    const { a1 } = hosts as { a1: Host };
    for (const bytes of [
      frame({ from: CLIENT, to: memberIp('a1'), dport: 22, fromMac: client.mac, toMac: a1.mac }),
      frame({ from: CLIENT, to: memberIp('a1'), protocol: 'icmp', fromMac: client.mac, toMac: a1.mac }),
      frame({ from: CLIENT, to: memberIp('a1'), dport: 22, fromMac: client.mac, toMac: a1.mac }).subarray(
        0,
        40,
      ),
      frame({
        from: 'fd00::9',
        to: memberIp6('a1'),
        dport: 22,
        fromMac: client.mac,
        toMac: a1.mac,
        vlans: [3],
      }),
    ]) {
      network.send(client, bytes);
      assert.deepEqual(a1.one().bytes, bytes);
      const back = Uint8Array.from(bytes);
      back.copyWithin(HEADROOM, HEADROOM + 6, HEADROOM + 12);
      back.set(bytes.subarray(HEADROOM, HEADROOM + 6), HEADROOM + 6);
      network.send(a1, back);
      assert.deepEqual(client.one().bytes, back);
    }
  });

  it('turns frames between members of one host round, and copies their broadcasts to the others only', () => {
    const { network, engines, hosts, client } = settled();
    const { a1, a2, b1 } = hosts as Record<string, Host> & { a1: Host; a2: Host; b1: Host };
    network.emit(a1, { from: memberIp('a1'), to: memberIp('a2'), dport: 22, toMac: a2.mac });
    assert.equal(a2.one().fromMac, a1.mac);
    assert.equal(client.take().length + a1.take().length, 0);
    network.send(a1, arp({ operation: 1, fromMac: a1.mac, sender: memberIp('a1'), target: memberIp('b1') }));
    assert.equal(a1.take().length, 0);
    assert.equal(a2.one().toMac, a2.mac);
    assert.equal(client.one().toMac, 'ff:ff:ff:ff:ff:ff');
    assert.equal(b1.one().toMac, 'ff:ff:ff:ff:ff:ff');
    assert.equal(engines.A!.self.one().toMac, 'ff:ff:ff:ff:ff:ff');
    network.emit(a1, { from: memberIp('a1'), to: '10.0.0.255', protocol: 'udp', toMac: 'ff:ff:ff:ff:ff:ff' });
    assert.equal(a2.one().toMac, a2.mac);
    assert.equal(a1.take().length, 0);
  });

  it('keeps its own stack reachable and never balances what it sends', () => {
    const { network, engines, hosts, client } = settled();
    const { a1, b1 } = hosts as { a1: Host; b1: Host };
    const A = engines.A!;
    network.emit(client, { from: CLIENT, to: dataIp('A'), dport: 50000, flags: 'A', toMac: A.mac });
    assert.equal(A.self.one().to, dataIp('A'));
    network.inject(
      A,
      PORT_SELF,
      frame({ from: dataIp('A'), to: OWNED, dport: 8080, fromMac: A.mac, toMac: a1.mac }),
    );
    assert.equal(a1.one().from, dataIp('A'));
    network.inject(
      A,
      PORT_SELF,
      frame({ from: dataIp('A'), to: memberIp('b1'), dport: 80, fromMac: A.mac, toMac: b1.mac }),
    );
    assert.equal(b1.one().from, dataIp('A'));
    assert.deepEqual(engines.B!.dataplane.connectionReport().local, {});
  });

  it('refuses the MACs of engines from inside, and the own one from outside', () => {
    const { network, engines, hosts } = settled();
    const bytes = (fromMac: string) =>
      frame({ from: CLIENT, to: memberIp('c1'), fromMac, toMac: memberMac('c1') });
    network.inject(engines.A!, PORT_IN, bytes(engineMac('B')));
    network.inject(engines.A!, PORT_IN, bytes(engineMac('A')));
    network.inject(engines.A!, PORT_OUT, bytes(engineMac('A')));
    assert.equal(engines.A!.dataplane.counters().drops['spoofed-peer'], 3);
    assert.equal(receivers(hosts).length, 0);
  });

  it('does not multiply the broadcasts of a sender that invents MACs', () => {
    const { network, engines, hosts } = settled();
    for (let i = 0; i < 3000; i++) {
      const fromMac = `02:bb:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
      network.inject(
        engines.A!,
        PORT_IN,
        frame({ from: '1.2.3.4', to: '1.2.3.5', fromMac, toMac: hosts.a2!.mac }),
      );
    }
    network.sent = 0;
    network.emit(hosts.a1!, {
      from: memberIp('a1'),
      to: '10.0.0.255',
      protocol: 'udp',
      toMac: 'ff:ff:ff:ff:ff:ff',
    });
    assert.ok(network.sent < 100, String(network.sent));
  });
});

for (const family of [4, 6] as const) {
  const vip = family === 4 ? VIP : VIP6;
  const from = family === 4 ? CLIENT : 'fd00::9';
  const ip = (name: string) => (family === 4 ? memberIp(name) : memberIp6(name));

  describe(`a TCP service over IPv${family}`, () => {
    it('translates to a member beside the entry engine, and its replies back', () => {
      const { network, engines, hosts, client } = settled();
      const A = engines.A!;
      network.emit(client, { from, to: vip, sport: 1111, dport: 8080, toMac: A.mac });
      const [{ name, seen }] = receivers(hosts) as [{ name: string; seen: Seen }];
      assert.match(name, /^a/);
      assert.deepEqual(
        [seen.from, seen.to, seen.sport, seen.dport, seen.toMac],
        [from, ip(name), 1111, 80, memberMac(name)],
      );
      assert.equal(seen.fromMac, client.mac);
      network.emit(hosts[name]!, {
        from: ip(name),
        to: from,
        sport: 80,
        dport: 1111,
        flags: 'SA',
        toMac: client.mac,
      });
      const reply = client.one();
      assert.deepEqual(
        [reply.from, reply.sport, reply.dport, reply.fromMac, reply.flags],
        [vip, 8080, 1111, memberMac(name), 'SA'],
      );
      assert.deepEqual(Object.values(A.dataplane.connectionReport().local), [1]);
    });

    it('sends to a member beside a peer with new MACs only; the peer translates, and the answer goes straight back', () => {
      const { network, engines, hosts, client } = settled();
      const { A, B } = engines as Record<'A' | 'B', (typeof engines)[string]>;
      A.dataplane.applyHealth(
        'web',
        Object.fromEntries(
          NAMES.filter((name) => name !== 'b2').map((name) => [`cloud/${name}/nic0`, false]),
        ),
      );
      network.emit(client, { from, to: vip, sport: 2222, dport: 8080, toMac: A.mac });
      const [{ name, seen }] = receivers(hosts) as [{ name: string; seen: Seen }];
      assert.equal(name, 'b2');
      assert.deepEqual(
        [seen.from, seen.to, seen.dport, seen.fromMac, seen.toMac],
        [from, ip('b2'), 80, A.mac, memberMac('b2')],
      );
      network.emit(hosts.b2!, {
        from: ip('b2'),
        to: from,
        sport: 80,
        dport: 2222,
        flags: 'SA',
        toMac: client.mac,
      });
      const reply = client.one();
      assert.deepEqual([reply.from, reply.sport, reply.fromMac], [vip, 8080, memberMac('b2')]);
      assert.deepEqual(B.dataplane.connectionReport().local, { 'cloud/b2/nic0': 1 });
      assert.deepEqual(B.dataplane.connectionReport().received, { 'cloud/b2/nic0': { A: 1 } });
      assert.deepEqual(A.dataplane.connectionReport().local, {});
    });

    it('translates both ways to a member that has no engine', () => {
      const parts = { engineOf: { c1: null } };
      const { network, engines, hosts, client } = settled(parts);
      const A = engines.A!;
      A.dataplane.applyHealth(
        'web',
        Object.fromEntries(
          NAMES.filter((name) => name !== 'c1').map((name) => [`cloud/${name}/nic0`, false]),
        ),
      );
      network.emit(client, { from, to: vip, sport: 3333, dport: 8080, toMac: A.mac });
      const seen = hosts.c1!.one();
      assert.equal(seen.from, family === 4 ? dataIp('A') : 'fd00::201');
      assert.deepEqual([seen.to, seen.dport, seen.fromMac], [ip('c1'), 80, A.mac]);
      assert.ok(seen.sport >= 40000 && seen.sport <= 64999);
      network.emit(hosts.c1!, {
        from: ip('c1'),
        to: seen.from,
        sport: 80,
        dport: seen.sport,
        flags: 'SA',
        toMac: A.mac,
      });
      const reply = client.one();
      assert.deepEqual(
        [reply.from, reply.sport, reply.to, reply.dport, reply.fromMac],
        [vip, 8080, from, 3333, A.mac],
      );
      assert.deepEqual(A.dataplane.connectionReport().sent, { 'cloud/c1/nic0': 1 });
      network.emit(client, { from, to: vip, sport: 3333, dport: 8080, flags: 'R', toMac: A.mac });
      assert.deepEqual(A.dataplane.connectionReport().sent, {});
    });
  });
}

describe('an address of which routers are told', () => {
  it('is balanced by every engine, answered for on no link, and known to members by their own engine', () => {
    const { engine: _engine, services } = graphFor('A');
    services[0]!.tiers[0]!.addresses = [{ address: VIP, announcers: ['A', 'B', 'C'], attraction: 'bgp' }];
    const { network, engines, hosts, client } = settled({ services: [services[0]!] });
    for (const id of ['A', 'B', 'C']) {
      assert.deepEqual(engines[id]!.dataplane.ownedAddresses(), []);
      const toMac = engines[id]!.mac;
      network.emit(client, { from: CLIENT, to: VIP, sport: 4000 + toMac.length, dport: 8080, toMac });
      assert.equal(receivers(hosts).length, 1, id);
    }
    const ask = (host: Host, sender: string) =>
      network.send(host, arp({ operation: 1, fromMac: host.mac, sender, target: VIP }));
    ask(client, CLIENT);
    assert.equal(client.take().length, 0, 'nobody on the production segment answers');
    for (const host of Object.values(hosts)) host.take();
    ask(hosts.b1!, memberIp('b1'));
    assert.equal(hosts.b1!.one().fromMac, engines.B!.mac);
  });
});

describe('a service', () => {
  it('counts a connection once, from SYN to the second FIN, retransmissions and all', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!;
    const count = () =>
      Object.values(A.dataplane.connectionReport().local).reduce((sum, value) => sum + value, 0);
    const send = (flags: string) =>
      network.emit(client, { from: CLIENT, to: VIP, sport: 1, dport: 8080, flags, toMac: A.mac });
    send('S');
    send('S');
    const [first, second] = receivers(hosts);
    assert.equal(first!.name, second!.name);
    assert.equal(count(), 1);
    const member = hosts[first!.name]!;
    const answer = (flags: string) =>
      network.emit(member, {
        from: memberIp(first!.name),
        to: CLIENT,
        sport: 80,
        dport: 1,
        flags,
        toMac: client.mac,
      });
    answer('SA');
    send('A');
    send('FA');
    assert.equal(count(), 1);
    answer('FA');
    assert.equal(count(), 0);
    send('A');
    answer('R');
    assert.equal(count(), 0);
    send('S');
    assert.equal(count(), 1, 'a SYN on a closing flow begins anew');
    assert.equal(A.dataplane.counters().newFlows, 2);
    network.pass(12_000, 50);
    assert.equal(count(), 0, 'half-open flows end');
    assert.equal(A.dataplane.counters().flows, 0);
  });

  it('sends a UDP client to one member per flow', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!;
    const names = new Set<string>();
    for (let i = 0; i < 6; i++) {
      network.emit(client, {
        from: CLIENT,
        to: VIP,
        protocol: 'udp',
        sport: 5000,
        dport: 53,
        toMac: A.mac,
        payload: 'q',
      });
      const [{ name, seen }] = receivers(hosts) as [{ name: string; seen: Seen }];
      assert.deepEqual([seen.to, seen.dport], [memberIp(name), 80]);
      names.add(name);
      network.emit(hosts[name]!, {
        from: memberIp(name),
        to: CLIENT,
        protocol: 'udp',
        sport: 80,
        dport: 5000,
        toMac: client.mac,
      });
      assert.deepEqual([client.one().from, A.dataplane.counters().newFlows], [VIP, 1]);
    }
    assert.equal(names.size, 1);
  });

  it('takes traffic in line to an address that a VM owns, also to the VM itself', () => {
    const { network, engines, hosts, client } = settled();
    const seenBy = new Set<string>();
    for (let sport = 1; sport <= 6; sport++) {
      network.emit(client, { from: CLIENT, to: OWNED, sport, dport: 8080, toMac: memberMac('a1') });
      const [{ name, seen }] = receivers(hosts) as [{ name: string; seen: Seen }];
      seenBy.add(name);
      assert.deepEqual([seen.to, seen.dport], [memberIp(name), 80]);
      network.emit(hosts[name]!, {
        from: memberIp(name),
        to: CLIENT,
        sport: 80,
        dport: sport,
        flags: 'SA',
        toMac: client.mac,
      });
      const reply = client.one();
      assert.deepEqual([reply.from, reply.sport], [OWNED, 8080]);
      network.share();
    }
    assert.ok(seenBy.has('a1') && seenBy.size > 1, [...seenBy].join());
    assert.equal(engines.A!.dataplane.counters().newFlows, 6);
  });

  it('balances what a member sends to another tier, and hairpins where the choice is on its own host', () => {
    const { network, hosts } = settled();
    const { a1 } = hosts as { a1: Host };
    const names: string[] = [];
    for (let sport = 1; sport <= 4; sport++) {
      network.emit(a1, { from: memberIp('a1'), to: VIP, sport, dport: 8080, toMac: engineMac('C') });
      const [{ name, seen }] = receivers(hosts) as [{ name: string; seen: Seen }];
      names.push(name);
      const isItself = name === 'a1';
      assert.equal(seen.from, isItself ? dataIp('A') : memberIp('a1'));
      network.emit(hosts[name]!, {
        from: memberIp(name),
        to: seen.from,
        sport: 80,
        dport: seen.sport,
        flags: 'SA',
        toMac: isItself ? engineMac('A') : a1.mac,
      });
      const reply = a1.one();
      assert.deepEqual([reply.from, reply.sport, reply.to, reply.dport], [VIP, 8080, memberIp('a1'), sport]);
      network.share();
    }
    assert.ok(names.includes('a1') && names.includes('a2'), names.join());
  });

  it('keeps two connections of one client port apart where both end at one member', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!;
    A.dataplane.applyHealth(
      'web',
      Object.fromEntries(NAMES.filter((name) => name !== 'a2').map((name) => [`cloud/${name}/nic0`, false])),
    );
    network.emit(client, { from: CLIENT, to: VIP, sport: 7, dport: 8080, toMac: A.mac });
    network.emit(client, { from: CLIENT, to: OWNED, sport: 7, dport: 8080, toMac: memberMac('a1') });
    network.emit(client, { from: CLIENT, to: memberIp('a2'), sport: 7, dport: 80, toMac: memberMac('a2') });
    const seen = hosts.a2!.take();
    assert.equal(new Set(seen.map((one) => one.sport)).size, 3);
    for (const one of seen) {
      network.emit(hosts.a2!, {
        from: memberIp('a2'),
        to: CLIENT,
        sport: 80,
        dport: one.sport,
        flags: 'SA',
        toMac: client.mac,
      });
    }
    assert.deepEqual(
      client.take().map((reply) => `${reply.from}:${reply.sport}>${reply.dport}`),
      [`${VIP}:8080>7`, `${OWNED}:8080>7`, `${memberIp('a2')}:80>7`],
    );
    assert.deepEqual(A.dataplane.connectionReport().local, { 'cloud/a2/nic0': 3 });
  });

  it('counts direct connections to a member, but not the probes of engines', () => {
    const { network, engines, hosts, client } = settled();
    const { B } = engines;
    const bytes = frame({
      from: CLIENT,
      to: memberIp('b1'),
      sport: 9,
      dport: 80,
      fromMac: client.mac,
      toMac: memberMac('b1'),
    });
    network.send(client, bytes);
    assert.deepEqual(hosts.b1!.one().bytes, bytes);
    network.inject(
      B!,
      PORT_OUT,
      frame({
        from: dataIp('A'),
        to: memberIp('b1'),
        sport: 9,
        dport: 80,
        fromMac: engineMac('A'),
        toMac: memberMac('b1'),
      }),
    );
    assert.equal(hosts.b1!.one().from, dataIp('A'));
    assert.deepEqual(B!.dataplane.connectionReport().local, { 'cloud/b1/nic0': 1 });
    const reply = frame({
      from: memberIp('b1'),
      to: CLIENT,
      sport: 80,
      dport: 9,
      flags: 'R',
      fromMac: memberMac('b1'),
      toMac: client.mac,
    });
    network.send(hosts.b1!, reply);
    assert.deepEqual(client.one().bytes, reply);
    assert.deepEqual(B!.dataplane.connectionReport().local, {});
  });

  it('never balances a balanced frame again, and drops it where its member is not', () => {
    const { network, engines, hosts } = settled();
    const bytes = frame({
      from: CLIENT,
      to: VIP,
      dport: 8080,
      fromMac: engineMac('A'),
      toMac: memberMac('c1'),
    });
    network.inject(engines.B!, PORT_OUT, bytes);
    assert.equal(receivers(hosts).length, 0);
    assert.equal(engines.B!.dataplane.counters().drops['not-local'], 1);
  });

  it('leaves a frame alone that a switch only flooded', () => {
    const { network, engines, hosts } = settled();
    network.inject(
      engines.B!,
      PORT_OUT,
      frame({ from: CLIENT, to: VIP, dport: 8080, fromMac: '02:cc:00:00:00:01', toMac: engineMac('A') }),
    );
    network.inject(
      engines.B!,
      PORT_OUT,
      frame({ from: CLIENT, to: OWNED, dport: 8080, fromMac: '02:cc:00:00:00:01', toMac: memberMac('a1') }),
    );
    assert.equal(receivers(hosts).length, 0);
    assert.equal(engines.B!.dataplane.counters().newFlows, 0);
  });

  it('drops where no member is usable', () => {
    const { network, engines, client } = settled();
    engines.A!.dataplane.applyHealth(
      'web',
      Object.fromEntries(NAMES.map((name) => [`cloud/${name}/nic0`, false])),
    );
    network.emit(client, { from: CLIENT, to: VIP, dport: 8080, toMac: engineMac('A') });
    assert.equal(engines.A!.dataplane.counters().drops['no-member'], 1);
  });

  it('chooses again for a SYN that a dead member never answered', () => {
    const { network, engines, hosts, client } = settled();
    const send = () =>
      network.emit(client, { from: CLIENT, to: VIP, sport: 4, dport: 8080, toMac: engineMac('A') });
    send();
    const [{ name }] = receivers(hosts) as [{ name: string; seen: Seen }];
    engines.A!.dataplane.applyHealth('web', { [`cloud/${name}/nic0`]: false });
    send();
    const [again] = receivers(hosts) as [{ name: string; seen: Seen }];
    assert.notEqual(again.name, name);
  });

  it('translates partial checksums so that the kernel can complete them', () => {
    const { network, hosts, client } = settled();
    network.emit(client, {
      from: CLIENT,
      to: VIP,
      sport: 6,
      dport: 8080,
      toMac: engineMac('A'),
      isPartial: true,
    });
    const [{ name, seen }] = receivers(hosts) as [{ name: string; seen: Seen }];
    assert.equal(seen.packet.isChecksumPartial, true);
    network.emit(hosts[name]!, {
      from: memberIp(name),
      to: CLIENT,
      sport: 80,
      dport: 6,
      flags: 'SA',
      toMac: client.mac,
      isPartial: true,
      payload: 'odd',
    });
    assert.equal(client.one().packet.isChecksumPartial, true);
  });

  it('lets fragments follow their first one, both ways, and drops those whose first was not seen', () => {
    const { network, engines, hosts, client } = settled();
    const part = (offset: number, id: number) =>
      network.emit(client, {
        from: CLIENT,
        to: VIP,
        protocol: 'udp',
        sport: 8,
        dport: 53,
        toMac: engineMac('A'),
        payload: 'f'.repeat(24),
        fragment: { id, offset, hasMore: offset === 0 },
      });
    part(32, 1);
    assert.equal(engines.A!.dataplane.counters().drops.fragment, 1);
    part(0, 2);
    part(32, 2);
    const [first, second] = receivers(hosts);
    assert.equal(first!.name, second!.name);
    assert.equal(second!.seen.to, memberIp(first!.name));
    for (const offset of [0, 32]) {
      network.emit(hosts[first!.name]!, {
        from: memberIp(first!.name),
        to: CLIENT,
        protocol: 'udp',
        sport: 80,
        dport: 8,
        toMac: client.mac,
        payload: 'g'.repeat(24),
        fragment: { id: 3, offset, hasMore: offset === 0 },
      });
    }
    assert.deepEqual(
      client.take().map((seen) => seen.from),
      [VIP, VIP],
    );
    network.pass(2100);
    part(64, 2);
    assert.equal(engines.A!.dataplane.counters().drops.fragment, 2);
  });

  it('carries ICMP errors about its flows to the member, translated inside and out', () => {
    const { network, hosts, client } = settled();
    network.emit(client, { from: CLIENT, to: VIP, sport: 6, dport: 8080, toMac: engineMac('A') });
    const [{ name }] = receivers(hosts) as [{ name: string; seen: Seen }];
    const quoted = frame({ from: VIP, to: CLIENT, sport: 8080, dport: 6, flags: 'A' }).subarray(
      HEADROOM + 14,
    );
    network.emit(client, {
      from: '10.0.0.1',
      to: VIP,
      protocol: 'icmp',
      icmpType: 3,
      sport: 0,
      payload: quoted,
      toMac: engineMac('A'),
    });
    const seen = hosts[name]!.one();
    assert.equal(seen.to, memberIp(name));
    const inner = Buffer.from(seen.bytes.subarray(seen.packet.l4 + 8));
    assert.deepEqual(
      [...inner.subarray(12, 20)],
      [...memberIp(name).split('.').map(Number), ...CLIENT.split('.').map(Number)],
    );
    assert.deepEqual([inner.readUInt16BE(20), inner.readUInt16BE(22)], [80, 6]);
  });

  it('refuses new flows when the table is full, and evicts half-open ones first', () => {
    const { network, engines, hosts, client } = settled({ maxFlows: 8 });
    const A = engines.A!;
    const open = (sport: number) =>
      network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, toMac: A.mac });
    for (let sport = 1; sport <= 20; sport++) open(sport);
    assert.ok(A.dataplane.counters().flows <= 5, 'half of the table at most is half open');
    receivers(hosts);
    for (let sport = 100; sport < 120; sport++) {
      open(sport);
      for (const { name, seen } of receivers(hosts)) {
        network.emit(hosts[name]!, {
          from: memberIp(name),
          to: CLIENT,
          sport: 80,
          dport: seen.sport,
          flags: 'SA',
          toMac: client.mac,
        });
        network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, flags: 'A', toMac: A.mac });
      }
      receivers(hosts);
    }
    const { drops, flows } = A.dataplane.counters();
    assert.equal(flows, 8);
    assert.ok(drops['flow-table-full']! > 0);
  });
});

describe('an announced address', () => {
  it('answers pings and refuses what is no service', () => {
    const { network, engines, client } = settled();
    network.emit(client, {
      from: CLIENT,
      to: VIP,
      protocol: 'icmp',
      sport: 5,
      payload: 'ping',
      toMac: engineMac('A'),
    });
    assert.equal(client.one().packet.icmpType, 0);
    network.emit(client, { from: CLIENT, to: VIP, sport: 5, dport: 9999, toMac: engineMac('A') });
    assert.equal(client.one().flags, 'AR');
    network.emit(client, {
      from: CLIENT,
      to: VIP,
      protocol: 'udp',
      sport: 5,
      dport: 9999,
      toMac: engineMac('A'),
    });
    assert.equal(client.take().length, 0);
    assert.equal(engines.A!.dataplane.counters().drops['not-a-service'], 2);
  });
});

describe('a firewall', () => {
  const rules = [
    { name: 'bad', action: 'deny' as const, from: ['10.0.0.66/32'], protocol: 'any' as const },
    { name: 'rude', action: 'reject' as const, from: ['10.0.0.67/32'], protocol: 'any' as const },
  ];
  const firewall = { type: 'firewall' as const, policy: 'p', rules, defaultAction: 'allow' as const };
  const balancer = {
    type: 'load-balancer' as const,
    method: 'topological' as const,
    persistence: { type: 'none' as const },
  };

  it('drops, and rejects with a reset or an ICMP error', () => {
    const { network, engines, hosts, client } = settled({ components: [firewall, balancer] });
    const toMac = engineMac('A');
    network.emit(client, { from: '10.0.0.66', to: VIP, dport: 8080, toMac });
    assert.equal(client.take().length, 0);
    network.emit(client, { from: '10.0.0.67', to: VIP, sport: 3, dport: 8080, seq: 9, toMac });
    const reset = client.one();
    assert.deepEqual(
      [reset.flags, reset.from, reset.dport, reset.packet.view.getUint32(reset.packet.l4 + 8)],
      ['AR', VIP, 3, 10],
    );
    network.emit(client, { from: '10.0.0.67', to: VIP, protocol: 'udp', dport: 53, toMac });
    assert.equal(client.one().packet.icmpType, 3);
    network.emit(client, { from: '10.0.0.66', to: VIP, protocol: 'icmp', toMac });
    const { drops, components } = engines.A!.dataplane.counters();
    assert.deepEqual([drops['firewall-deny'], drops['firewall-reject']], [2, 2]);
    assert.equal(components['shop/firewall/bad'], 2);
    assert.equal(client.take().length, 0, 'no firewall at the address passes the echo');
    assert.equal(receivers(hosts).length, 0);
  });

  it('ends a running flow that a new rule denies', () => {
    const { network, engines, hosts, client } = settled({ components: [firewall, balancer] });
    const A = engines.A!;
    const send = (flags: string) =>
      network.emit(client, { from: CLIENT, to: VIP, sport: 1, dport: 8080, flags, toMac: A.mac });
    send('S');
    assert.equal(receivers(hosts).length, 1);
    const denied = { ...firewall, defaultAction: 'deny' as const };
    A.dataplane.load(graphFor('A', { components: [denied, balancer], revision: 2 }));
    send('A');
    assert.equal(receivers(hosts).length, 0);
    assert.deepEqual(A.dataplane.connectionReport().local, {});
    assert.equal(A.dataplane.counters().drops['firewall-deny'], 1);
  });
});
