/** Engines in two networks with a router between them: frames in VXLAN, what is too big for it, who is believed. */
import assert from 'node:assert/strict';
import { tunnelVni } from '../../../src/engine-vm/dataplane/compiled-graph.ts';
import { PORT_OUT } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { fold, pseudoHeaderSum } from '../../../src/packet/checksum.ts';
import { HEADROOM, Packet } from '../../../src/packet/packet.ts';
import { parse } from '../../../src/packet/parse.ts';
import { gsoSize } from '../../../src/packet/split.ts';
import { vniOf } from '../../../src/packet/vxlan.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { type FrameSpec, frame, mac } from '../../packet/frames.ts';
import {
  type GraphParts,
  graphFor,
  type Host,
  memberMac,
  NAMES,
  Router,
  type Seen,
  settled,
  type TestEngine,
  VIP,
  VIP6,
} from './network.ts';

const CLIENT = { 4: '10.0.0.9', 6: 'fd00::9' } as const;
const ROUTER = { a: ['10.0.0.1', 'fd00::1'], c: ['10.1.0.1', 'fd01::1'] };
const FAIL_CLOSED = { failMode: 'closed' } as const;
const C1 = { 4: '10.1.0.15', 6: 'fd01::15' } as const;

/** Moves engine C and its members into a network of their own. */
function across(graph: ServiceGraph, families: readonly (4 | 6)[]): ServiceGraph {
  const moved = (addresses: string[]): string[] =>
    addresses.map((one) => one.replace('10.0.0.', '10.1.0.').replace('fd00::', 'fd01::'));
  const wanted = (addresses: readonly string[]): string[] =>
    addresses.filter((one) => families.includes(one.includes(':') ? 6 : 4));
  const placed = (id: string, addresses: string[]): string[] =>
    wanted(id === 'C' ? moved(addresses) : addresses);
  return {
    ...graph,
    engine: {
      ...graph.engine,
      dataAddresses: placed(graph.engine.id, graph.engine.dataAddresses),
      gateways: wanted(graph.engine.id === 'C' ? ROUTER.c : ROUTER.a),
    },
    peers: graph.peers.map((peer) => ({ ...peer, dataAddresses: placed(peer.id, peer.dataAddresses) })),
    members: graph.members.map((member) => {
      if (!member.vm.startsWith('c')) return member;
      const [ipv4, ipv6] = moved([member.ipv4!, member.ipv6!]);
      return { ...member, ipv4: ipv4!, ipv6: ipv6! };
    }),
  };
}

/** A and B on one side, C with its members on the other. */
function twoSites(parts: GraphParts = {}, families: readonly (4 | 6)[] = [4, 6]) {
  const site = settled(parts);
  const { network, engines, hosts, client } = site;
  const router = new Router({ '': ROUTER.a, c: ROUTER.c });
  network.router = router;
  for (const thing of [engines.C!, hosts.c1!, hosts.c2!]) thing.site = 'c';
  const place = (where: string, mac: string, ...addresses: string[]) => {
    for (const address of addresses) router.hosts.set(address, { site: where, mac });
  };
  for (const engine of network.engines) {
    const graph = across(graphFor(engine.id, { ...parts, revision: 2 }), families);
    place(engine.site, engine.mac, ...graph.engine.dataAddresses.map((one) => one.split('/')[0]!));
    for (const { vm, ipv4, ipv6 } of graph.members) {
      place(vm.startsWith('c') ? 'c' : '', memberMac(vm), ipv4!, ipv6!);
    }
    engine.dataplane.load(graph);
  }
  place('', client.mac, CLIENT[4], CLIENT[6]);
  network.pass(2000);
  for (const host of [...network.hosts, ...network.engines.map((engine) => engine.self)]) host.take();
  router.seen.splice(0);
  const A = engines.A!;
  only(A, 'c1');
  return { ...site, router, A, C: engines.C!, c1: hosts.c1! };
}

function only(engine: TestEngine, name: string): void {
  engine.dataplane.applyHealth(
    'web',
    Object.fromEntries(NAMES.map((other) => [`cloud/${other}/nic0`, other === name])),
  );
}

/** What the datagrams bear that the router passed on: the frames inside, control frames left out. */
function carried(router: Router): Seen[] {
  return router.seen.splice(0).filter(({ packet }) => {
    const isVxlan = packet.destinationPort === 4789;
    return isVxlan && packet.view.getUint16(packet.l4 + 16 + 12) !== 0x88b5;
  });
}

/** A frame as it stands after its headroom, with a SYN's options put in (their length a multiple of 4). */
function withOptions(spec: FrameSpec, options: number[]): Uint8Array {
  const plain = frame({ ...spec, payload: Uint8Array.from(options) });
  const packet = new Packet();
  parse(packet, plain, HEADROOM, plain.length - HEADROOM);
  const before = packet.view.getUint8(packet.l4 + 12);
  packet.view.setUint8(packet.l4 + 12, ((5 + options.length / 4) << 4) | (before & 15));
  const word = packet.view.getUint16(packet.l4 + 16);
  // The header's length is one 16-bit word with the flags: the checksum follows by difference.
  const change = ((options.length / 4) << 12) & 0xffff;
  const sum = (~word & 0xffff) + change;
  packet.view.setUint16(packet.l4 + 16, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
  return plain;
}

for (const family of [4, 6] as const) {
  const vip = family === 4 ? VIP : VIP6;
  const from = CLIENT[family];

  describe(`a peer in another network, flows and tunnel over IPv${family}`, () => {
    const open = (parts: GraphParts = {}) => {
      const site = twoSites(parts, family === 4 ? [4, 6] : [6]);
      const { network, A, client } = site;
      const send = (some: Partial<FrameSpec> = {}): void =>
        network.emit(client, { from, to: vip, sport: 9000, dport: 8080, toMac: A.mac, ...some });
      const answer = (some: Partial<FrameSpec> = {}): void =>
        network.emit(site.c1, {
          from: C1[family],
          to: from,
          sport: 80,
          dport: 9000,
          flags: 'SA',
          toMac: site.router.mac,
          ...some,
        });
      return { ...site, send, answer };
    };

    it('lives, as probes through the tunnel tell', () => {
      const { A, C, router, network } = open();
      network.pass(1000);
      assert.equal(A.dataplane.peers().C!.isAlive, true);
      assert.equal(C.dataplane.peers().A!.isAlive, true);
      assert.ok(router.seen.length > 0);
      assert.deepEqual(A.dataplane.counters().drops['tunnel-invalid'], undefined);
      C.isDead = true;
      network.pass(1000);
      assert.equal(A.dataplane.peers().C!.isAlive, false);
    });

    it('gets the flow as on the link, and its answer goes straight to the client', () => {
      const { send, answer, c1, client, A, C, router } = open();
      send();
      const seen = c1.one();
      assert.deepEqual([seen.from, seen.sport, seen.to, seen.dport], [from, 9000, C1[family], 80]);
      const [datagram, ...more] = carried(router);
      assert.equal(more.length, 0);
      assert.equal(datagram!.packet.ipVersion, family);
      assert.equal(vniOf(datagram!.packet), tunnelVni(Buffer.alloc(32, 7), 'A', 'C'));
      assert.ok(datagram!.sport >= 49_152);
      answer();
      const reply = client.one();
      assert.deepEqual([reply.from, reply.sport, reply.fromMac], [vip, 8080, router.mac]);
      assert.equal(carried(router).length, 0, 'the answer is in no tunnel');
      assert.deepEqual(C.dataplane.connectionReport().received, { 'cloud/c1/nic0': { A: 1 } });
      send({ flags: 'A' });
      send({ flags: 'PA', payload: 'hello' });
      assert.equal(c1.take().length, 2);
      assert.deepEqual(A.dataplane.counters().drops, {});
    });

    it('lowers the segment size that the member offers, wherever the option stands', () => {
      for (const options of [
        [2, 4, 1460 >> 8, 1460 & 255],
        [1, 2, 4, 1460 >> 8, 1460 & 255, 1, 1, 0],
      ]) {
        const { send, c1, client, network, router } = open();
        send();
        c1.take();
        const spec: FrameSpec = { from: C1[family], to: from, sport: 80, dport: 9000, flags: 'SA' };
        network.send(c1, withOptions({ ...spec, fromMac: c1.mac, toMac: router.mac }, options));
        const { packet } = client.one();
        const at = packet.l4 + 20 + options.indexOf(2) + 2;
        assert.equal(packet.view.getUint16(at), family === 4 ? 1500 - 70 - 40 : 1500 - 70 - 60);
      }
    });

    it('gets a stream in segments that fit: long packets and super-frames', () => {
      const { send, answer, c1, client, network, A } = open();
      send();
      answer();
      send({ flags: 'A' });
      c1.take();
      client.take();
      const text = Uint8Array.from({ length: 30_000 }, (_, at) => at * 7);
      const collect = (): { bytes: Buffer; flags: string[] } => {
        const seen = c1.take();
        const parts = seen.map(({ packet }) => {
          assert.equal(packet.malformed, null);
          assert.ok(packet.end - packet.l3 <= 1450);
          const at = packet.l4 + (packet.view.getUint8(packet.l4 + 12) >> 4) * 4;
          return { seq: packet.view.getUint32(packet.l4 + 4), data: packet.buffer.subarray(at, packet.end) };
        });
        parts.forEach(({ seq, data }, index) => {
          if (index + 1 < parts.length) assert.equal(parts[index + 1]!.seq, seq + data.length);
        });
        return { bytes: Buffer.concat(parts.map(({ data }) => data)), flags: seen.map(({ flags }) => flags) };
      };
      const short = text.subarray(0, 1440);
      send({ flags: 'PA', seq: 100, payload: short });
      const two = collect();
      assert.deepEqual(two.bytes, Buffer.from(short));
      assert.deepEqual(two.flags, ['A', 'AP']);
      const spec: FrameSpec = {
        from,
        to: vip,
        sport: 9000,
        dport: 8080,
        flags: 'PA',
        seq: 2000,
        payload: text,
      };
      const long = frame({ ...spec, isPartial: true, fromMac: client.mac, toMac: A.mac });
      long[1] = family === 4 ? 1 : 4;
      new DataView(long.buffer).setUint16(4, 1448, true);
      const packet = new Packet();
      parse(packet, long, HEADROOM, long.length - HEADROOM);
      assert.equal(gsoSize(packet), 1448);
      network.send(client, long);
      const many = collect();
      assert.deepEqual(many.bytes, Buffer.from(text));
      assert.equal(many.flags.filter((flags) => flags.includes('P')).length, 1);
    });

    it('refuses datagrams that do not fit, and says how much does', () => {
      const services = graphFor('A').services;
      services[1]!.tiers[0]!.addresses.push({ address: VIP6, announcers: ['A'] });
      const { send, c1, client, A } = open({ services });
      const payload = new Uint8Array(1450);
      send({ protocol: 'udp', dport: 53, payload: 'x' });
      assert.equal(c1.take().length, 1);
      const udp = { protocol: 'udp', dport: 53, payload } as const;
      if (family === 6) {
        send(udp);
        assert.equal(c1.take().length, 0);
        const { packet, from: said } = client.one();
        assert.deepEqual([packet.icmpType, packet.view.getUint32(packet.l4 + 4), said], [2, 1430, VIP6]);
        assert.deepEqual(A.dataplane.counters().drops, { 'too-big': 1 });
        return;
      }
      const { network } = open();
      const engine = network.engines[0]!;
      only(engine, 'c1');
      const target = network.hosts.find(({ mac }) => mac === memberMac('c1'))!;
      const sender = network.hosts.at(-1)!;
      const whole = frame({ from, to: vip, sport: 9000, ...udp, fromMac: sender.mac, toMac: engine.mac });
      network.send(sender, whole);
      const pieces = target.take().map(({ packet }) => packet);
      assert.equal(pieces.length, 2, 'without DF it goes in fragments');
      assert.deepEqual(
        pieces.map(({ fragmentOffset, end, l3 }) => [fragmentOffset, end - l3 - 20]),
        [
          [0, 1424],
          [1424, 34],
        ],
      );
      const refused = Uint8Array.from(whole);
      const view = new DataView(refused.buffer);
      view.setUint16(HEADROOM + 20, 0x4000);
      const sum = (~view.getUint16(HEADROOM + 24) & 0xffff) + 0x4000;
      view.setUint16(HEADROOM + 24, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
      network.send(sender, refused);
      assert.equal(target.take().length, 0);
      const { packet, from: said } = sender.one();
      assert.deepEqual([packet.icmpType, packet.view.getUint16(packet.l4 + 6), said], [3, 1450, VIP]);
    });

    it('is translated by way of the router where no engine stands beside the member, or answers shall return', () => {
      for (const parts of [
        { engineOf: { c1: null, c2: null } },
        { services: graphFor('A').services.map((one) => ({ ...one, returnPath: 'engine' as const })) },
      ]) {
        const { send, c1, client, A, network, router, answer } = open(parts);
        // A host with its port on the production segment again.
        send();
        const seen = c1.one();
        assert.notEqual(seen.from, from);
        assert.equal(seen.fromMac, router.mac);
        assert.equal(carried(router).length, 0, 'in no tunnel');
        answer({ to: seen.from, dport: seen.sport });
        const reply = client.one();
        assert.deepEqual([reply.from, reply.sport, reply.fromMac], [vip, 8080, A.mac]);
        network.pass(10);
      }
    });
  });
}

describe('a tunnel', () => {
  const inside = (host: Host, some: Partial<FrameSpec> = {}): Uint8Array =>
    frame({
      from: CLIENT[4],
      to: VIP,
      sport: 1,
      dport: 8080,
      fromMac: '02:ee:00:00:00:01',
      toMac: host.mac,
      ...some,
    }).subarray(HEADROOM);

  /** A VXLAN datagram to engine C. */
  const datagram = (vni: number, inner: Uint8Array, some: Partial<FrameSpec> = {}): Uint8Array => {
    const header = Uint8Array.from([8, 0, 0, 0, vni >> 16, (vni >> 8) & 255, vni & 255, 0]);
    return frame({
      from: '10.0.0.201',
      to: '10.1.0.203',
      protocol: 'udp',
      sport: 50_000,
      dport: 4789,
      fromMac: '02:dd:00:00:00:01',
      toMac: '02:ee:00:00:00:03',
      payload: Uint8Array.from([...header, ...inner]),
      ...some,
    });
  };

  it('carries packets to members that hand them on, and what they hand on', () => {
    const pools = ['c1', 'a1'].map((name) => ({
      name,
      port: 80,
      healthMonitors: [],
      members: [{ member: NAMES.indexOf(name), weight: 1, isDraining: false }],
    }));
    const { announcers } = graphFor('A').services[0]!.tiers[0]!.addresses[0]!;
    const [first] = graphFor('A').services;
    const tiers = [
      {
        name: 'filter',
        port: 8080,
        pool: 0,
        addresses: [{ address: VIP, announcers }],
        handsOn: FAIL_CLOSED,
      },
      { name: 'page', port: 8080, pool: 1, addresses: [] },
    ];
    const { network, A, C, c1, client, hosts, router } = twoSites({
      pools,
      services: [{ ...first!, tiers }],
    });
    const packet = { from: CLIENT[4], to: VIP, sport: 9000, dport: 8080 };
    for (const flags of ['S', 'A', 'PA']) {
      network.emit(client, { ...packet, flags, toMac: A.mac });
      const given = c1.one();
      assert.deepEqual([given.from, given.to, given.dport], [CLIENT[4], VIP, 8080]);
      network.emit(c1, { ...packet, flags, toMac: C.mac });
      const reached = hosts.a1!.one();
      assert.deepEqual([reached.from, reached.to, reached.dport], [CLIENT[4], '10.0.0.11', 80]);
      assert.equal(carried(router).length, 2, 'there and back in a tunnel');
    }
  });

  it('believes only the VNI of its direction, from the address of the peer, with the MAC of that peer inside', () => {
    const { network, C, c1 } = twoSites();
    const key = Buffer.alloc(32, 7);
    const vni = tunnelVni(key, 'A', 'C');
    const good = inside(c1);
    const other = (mac: string): Uint8Array => inside(c1, { fromMac: mac });
    const refused = [
      datagram(tunnelVni(key, 'C', 'A'), good),
      datagram(tunnelVni(key, 'B', 'C'), good),
      datagram(vni, good, { from: '10.0.0.9' }),
      datagram(vni, good, { from: '10.0.0.202' }),
      datagram(vni, other('02:ee:00:00:00:02')),
      datagram(vni, other('02:cc:00:00:00:09')),
      datagram(vni, good.subarray(0, 10)),
      datagram(vni, datagram(vni, good).subarray(HEADROOM)),
    ];
    for (const bytes of refused) network.inject(C, PORT_OUT, bytes);
    assert.equal(c1.take().length, 0);
    const { drops } = C.dataplane.counters();
    assert.equal(
      (drops['tunnel-invalid'] ?? 0) + (drops['not-local'] ?? 0),
      refused.length,
      JSON.stringify(drops),
    );
    network.inject(C, PORT_OUT, datagram(vni, good));
    assert.equal(c1.one().to, C1[4]);
  });

  it('survives whatever a datagram holds', () => {
    const { network, C, c1 } = twoSites();
    const vni = tunnelVni(Buffer.alloc(32, 7), 'A', 'C');
    const good = inside(c1);
    network.isVerifying = false;
    for (let round = 0; round < 3000; round++) {
      const bytes = Uint8Array.from(good.subarray(0, 14 + Math.floor(network.random() * (good.length - 13))));
      for (let flips = 0; flips < 3; flips++) {
        bytes[Math.floor(network.random() * bytes.length)] = Math.floor(network.random() * 256);
      }
      network.inject(C, PORT_OUT, datagram(vni, bytes));
    }
    network.isVerifying = true;
    for (const host of network.hosts) host.take();
    network.inject(C, PORT_OUT, datagram(vni, inside(c1, { sport: 77 })));
    assert.equal(c1.take().length, 1);
  });

  it('is not used before the router has answered, and follows a router that takes its place', () => {
    const { network, A, client, router, c1 } = twoSites();
    const send = (sport: number) =>
      network.emit(client, { from: CLIENT[4], to: VIP, sport, dport: 8080, toMac: A.mac });
    network.restart(A);
    A.dataplane.load(across(graphFor('A'), [4, 6]));
    only(A, 'c1');
    send(1);
    assert.deepEqual(A.dataplane.counters().drops, { 'no-route': 1 });
    network.pass(600);
    send(2);
    assert.equal(c1.take().length, 1);
    router.mac = '02:dd:00:00:00:02';
    send(3);
    assert.equal(c1.take().length, 0, 'nobody has the former MAC');
    network.inject(A, PORT_OUT, frameOfArp(router.mac));
    send(4);
    assert.equal(c1.take().length, 1);
    network.inject(A, PORT_OUT, frameOfArp(memberMac('a1')));
    send(5);
    assert.equal(c1.take().length, 1, 'a member does not become the router');
  });

  it('may bring a checksum that the NIC is still to finish, and keeps it so', () => {
    const { A, C, c1, client, network, router } = twoSites();
    network.emit(client, { from: CLIENT[4], to: VIP, sport: 7, dport: 8080, toMac: A.mac });
    c1.take();
    const bytes = Uint8Array.from(carried(router)[0]!.bytes);
    bytes.set(mac(C.mac), HEADROOM);
    const inner = new Packet();
    const start = HEADROOM + 50;
    parse(inner, bytes, start, bytes.length - start);
    inner.view.setUint16(inner.l4 + 16, fold(pseudoHeaderSum(inner)));
    // VIRTIO_NET_HDR_F_NEEDS_CSUM, and where: of the whole datagram.
    bytes[0] = 1;
    new DataView(bytes.buffer).setUint16(6, 50 + 34, true);
    new DataView(bytes.buffer).setUint16(8, 16, true);
    network.inject(C, PORT_OUT, bytes);
    const seen = c1.one();
    assert.equal(seen.packet.isChecksumPartial, true, 'and it is checked as such');
    assert.deepEqual([...seen.bytes.subarray(0, HEADROOM)], [1, 0, 0, 0, 0, 0, 34, 0, 16, 0]);
  });

  it('is seen by captures at both ends: the datagram, and the frame inside it on its way', () => {
    const { A, C, c1, client, network } = twoSites();
    const order = { id: 'c', service: 'shop', client: null, seconds: 60, packets: 100, snap: 1600 };
    for (const engine of [A, C]) engine.dataplane.captureStart(order);
    network.emit(client, { from: CLIENT[4], to: VIP, sport: 7, dport: 8080, toMac: A.mac });
    const seen = c1.one();
    const noted = [A, C].map((engine) => {
      const records = Buffer.from(engine.dataplane.captureFetch({ id: 'c' }).records);
      const frames: { comment: string; bytes: Buffer }[] = [];
      for (let at = 0; at < records.length; at += records.readUInt32LE(at)) {
        const text = at + 24 + records.readUInt32LE(at + 20);
        const comment = records.toString('utf8', text, at + records.readUInt32LE(at));
        frames.push({ comment, bytes: records.subarray(at + 24, text) });
      }
      return frames;
    });
    const [came, sent] = noted[0]!;
    assert.match(came!.comment, /^A out: new flow \(half-open, remote, to c1\), .*: pass; to out$/);
    assert.match(sent!.comment, /^A out: sent, in VXLAN to 10\.1\.0\.203, VNI \d+; other MACs$/);
    assert.equal(sent!.bytes.length, came!.bytes.length + 50);
    const [arrived, delivered] = noted[1]!;
    assert.match(arrived!.comment, /^C out: in VXLAN from A; new flow \(half-open, local, to c1\); to in$/);
    assert.equal(
      delivered!.comment,
      'C in: sent, out of VXLAN; destination 10.0.0.100:8080 is now 10.1.0.15:80',
    );
    assert.deepEqual(arrived!.bytes.subarray(14), sent!.bytes.subarray(14), 'the datagram, but for its hop');
    assert.deepEqual(delivered!.bytes, Buffer.from(seen.bytes.subarray(HEADROOM)));
    assert.deepEqual([noted[0]!.length, noted[1]!.length], [2, 2]);
  });

  it('shows in a trace and in explanations', () => {
    const { A, C } = twoSites();
    const question = {
      service: 'shop',
      from: CLIENT[4],
      fromPort: 1,
      to: VIP,
      port: 8080,
      balancedTo: null,
    };
    const { hop, next } = A.dataplane.trace(question);
    assert.deepEqual(next, { engine: 'C', member: 'cloud/c1/nic0' });
    const step = hop.steps.find(({ component }) => component === 'vxlan');
    assert.match(
      step!.detail,
      /^10\.0\.0\.201 to 10\.1\.0\.203, VNI \d+, by the router 10\.0\.0\.1; IP packets of up to 1450 bytes$/,
    );
    assert.equal(C.dataplane.trace({ ...question, balancedTo: next!.member }).outcome, 'delivered to c1');
    const [explanation] = A.dataplane.explain({ service: 'shop', from: null });
    assert.deepEqual(
      explanation!.candidates.map(({ path }) => path),
      ['in line', 'in line', 'in line', 'in line', 'VXLAN', 'VXLAN'],
    );
  });

  it('is not there without a router in the graph: all are taken to be on the link', () => {
    const { engines } = settled();
    const [explanation] = engines.A!.dataplane.explain({ service: 'shop', from: null });
    assert.ok(explanation!.candidates.every(({ path }) => path === 'in line'));
  });

  const frameOfArp = (mac: string): Uint8Array => {
    const bytes = new Uint8Array(HEADROOM + 60);
    bytes.set([255, 255, 255, 255, 255, 255], HEADROOM);
    const parts = mac.split(':').map((part) => Number.parseInt(part, 16));
    bytes.set([...parts, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...parts, 10, 0, 0, 1], HEADROOM + 6);
    bytes.set([10, 0, 0, 1], HEADROOM + 38);
    return bytes;
  };
});
