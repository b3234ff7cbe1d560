import assert from 'node:assert/strict';
import { ControlCodec, LONGEST_BODY, nameHash } from '../../../src/engine-vm/dataplane/control.ts';
import { PORT_IN, PORT_OUT, PORT_SELF } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { arp, type FrameSpec, frame, neighbour } from '../../packet/frames.ts';
import {
  BALANCER,
  dataIp,
  engineMac,
  graphFor,
  memberIp,
  memberIp6,
  memberMac,
  OWNED,
  settled,
  VIP,
  VIP6,
} from './network.ts';

/** Frames per run; WEFT_FUZZ_FRAMES sets another number, WEFT_FUZZ_SEED repeats a run. */
const FRAMES = Number(process.env.WEFT_FUZZ_FRAMES ?? 200_000);
const SEED = Number(process.env.WEFT_FUZZ_SEED ?? Date.now() % 1_000_000);
/** Most frames that one frame may cause at the three engines together: a broadcast from inside, copied to each MAC there. */
const MAX_OUTPUT = 80;

describe('hostile frames', () => {
  it(`never throw, never multiply, and leave service intact (${FRAMES} frames)`, function () {
    this.timeout(120_000);
    console.log(`      seed ${SEED}`);
    let state = SEED;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state >>> 0) / 0x1_0000_0000;
    };
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    const firewall = {
      type: 'firewall' as const,
      policy: 'p',
      rules: [{ name: 'r', action: 'reject' as const, from: ['10.0.0.66/32'], protocol: 'any' as const }],
      defaultAction: 'allow' as const,
    };
    const { network, engines, hosts, client } = settled({
      components: [firewall, BALANCER],
      engineOf: { c2: null },
    });
    network.isVerifying = false;
    const macs = ['A', 'B', 'C']
      .map(engineMac)
      .concat(['a1', 'a2', 'b1', 'c2'].map(memberMac), client.mac, 'ff:ff:ff:ff:ff:ff', '33:33:00:00:00:01');
    const v4 = [
      VIP,
      OWNED,
      '10.0.0.9',
      '10.0.0.66',
      dataIp('A'),
      dataIp('B'),
      memberIp('a1'),
      memberIp('b1'),
      memberIp('c2'),
      '255.255.255.255',
    ];
    const v6 = [VIP6, 'fd00::9', memberIp6('a1'), memberIp6('c2'), 'ff02::1', '::'];
    const corpus = Array.from({ length: 3000 }, () => {
      const family = random() < 0.7 ? v4 : v6;
      const spec: FrameSpec = {
        from: pick(family),
        to: pick(family),
        fromMac: pick(macs),
        toMac: pick(macs),
        protocol: pick(['tcp', 'tcp', 'udp', 'icmp']),
        sport: pick([1, 2, 80, 8080, 53, 40000]),
        dport: pick([80, 8080, 53, 1, 40000]),
        flags: pick(['S', 'SA', 'A', 'FA', 'R', 'PA', 'SF', '']),
        payload: new Uint8Array(Math.floor(random() * 60)),
        vlans: random() < 0.1 ? [5] : [],
        isPartial: random() < 0.1,
        hasHopByHop: random() < 0.1,
        icmpType: pick([0, 1, 2, 3, 8, 128, 129, 135, 136]),
        ...(random() < 0.15
          ? { fragment: { id: pick([1, 2]), offset: pick([0, 8, 32]), hasMore: random() < 0.5 } }
          : {}),
      };
      return frame(spec);
    });
    for (let i = 0; i < 200; i++) {
      corpus.push(
        arp({
          operation: pick([1, 2]),
          fromMac: pick(macs),
          toMac: pick(macs),
          sender: pick(v4),
          target: pick(v4),
        }),
      );
      corpus.push(
        neighbour({
          fromMac: pick(macs),
          toMac: pick(macs),
          from: pick(v6),
          to: pick(v6),
          target: pick(v6),
          isAdvertisement: random() < 0.5,
        }),
      );
    }
    // Control frames as they are said, so that mutation reaches what lies behind the first checks.
    const A = engines.A!.dataplane;
    const receive = A.receive.bind(A);
    A.receive = (port, buffer, start, length) => {
      if (buffer[start + 12] === 0x88 && buffer[start + 13] === 0xb5 && corpus.length < 3600)
        corpus.push(Uint8Array.from(buffer));
      receive(port, buffer, start, length);
    };
    network.pass(500);
    const ids = Object.values(engines);
    let worst = 0;
    for (let i = 0; i < FRAMES; i++) {
      const bytes =
        random() < 0.02
          ? Uint8Array.from({ length: Math.floor(random() * 100) + HEADROOM }, () => random() * 256)
          : Uint8Array.from(pick(corpus));
      const changes = random() < 0.5 ? 0 : Math.floor(random() * 4);
      for (let n = 0; n < changes; n++) bytes[Math.floor(random() * bytes.length)] = random() * 256;
      const cut =
        random() < 0.05
          ? bytes.subarray(0, HEADROOM + Math.floor(random() * (bytes.length - HEADROOM)))
          : bytes;
      network.sent = 0;
      try {
        network.inject(pick(ids), pick([PORT_OUT, PORT_IN, PORT_OUT, PORT_IN, PORT_SELF]), cut);
      } catch (error) {
        throw new Error(`seed ${SEED}, frame ${i}: ${Buffer.from(cut).toString('hex')}`, { cause: error });
      }
      worst = Math.max(worst, network.sent);
      if (i % 512 === 0) network.pass(10);
      if (i % 1024 === 0)
        for (const host of [...network.hosts, ...ids.map((engine) => engine.self)]) host.take();
      if (i % 20_000 === 0) {
        for (const engine of ids) {
          const parts = { components: [firewall, BALANCER], engineOf: { c2: null }, revision: 2 + i };
          engine.dataplane.load(graphFor(engine.id, parts));
        }
      }
    }
    assert.ok(worst <= MAX_OUTPUT, `one frame caused ${worst}`);
    for (const engine of ids) assert.ok(engine.dataplane.counters().flows <= 1024);
    network.pass(70_000, 250);
    for (const host of network.hosts) host.take();
    for (const engine of ids) engine.dataplane.applyHealth('web', { 'cloud/c2/nic0': false });
    network.emit(client, { from: '10.0.0.250', to: VIP, sport: 31_000, dport: 8080, toMac: engineMac('A') });
    const served = Object.values(hosts).flatMap((host) => host.take());
    assert.equal(served.filter((seen) => seen.from === '10.0.0.250').length, 1, 'a client is still served');
  });

  it('of a peer that has the key but is broken never throw and never multiply', () => {
    let state = SEED;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state >>> 0) / 0x1_0000_0000;
    };
    const { network, engines, hosts, client } = settled();
    network.isVerifying = false;
    const codec = new ControlCodec(Buffer.alloc(32, 7), 'A');
    const bytes = new Uint8Array(HEADROOM + 1600);
    const view = new DataView(bytes.buffer);
    const inner = frame({
      from: '10.0.0.9',
      to: VIP,
      sport: 9,
      dport: 8080,
      flags: 'A',
      fromMac: client.mac,
    });
    for (let i = 0; i < 20_000; i++) {
      const type = Math.floor(random() * 7);
      const body =
        random() < 0.3
          ? Uint8Array.from(inner.subarray(HEADROOM))
          : Uint8Array.from({ length: Math.floor(random() * random() * LONGEST_BODY) }, () => random() * 256);
      if (random() < 0.5 && body.length > 0) body[Math.floor(random() * body.length)] = random() * 256;
      const flags = Math.floor(random() * 4);
      const to = nameHash('B');
      const [high, low] = [i & 1, i];
      const length = codec.write(
        bytes,
        view,
        HEADROOM,
        0x02ee,
        2,
        0x02ee,
        1,
        type,
        flags,
        to,
        high,
        low,
        body,
      );
      network.sent = 0;
      try {
        network.inject(engines.B!, PORT_OUT, bytes.subarray(0, HEADROOM + length));
      } catch (error) {
        throw new Error(`seed ${SEED}, frame ${i}, type ${type}: ${Buffer.from(body).toString('hex')}`, {
          cause: error,
        });
      }
      assert.ok(network.sent <= 2, `seed ${SEED}, frame ${i}: ${network.sent} frames`);
      if (i % 512 === 0) network.pass(10);
    }
    for (const host of network.hosts) host.take();
    network.emit(client, { from: '10.0.0.250', to: VIP, sport: 31_000, dport: 8080, toMac: engineMac('A') });
    assert.equal(Object.values(hosts).flatMap((host) => host.take()).length, 1, 'a client is still served');
  });
});
