import assert from 'node:assert/strict';
import type { CaptureOrder } from '../../../src/engine-vm/dataplane/capture.ts';
import { frame } from '../../packet/frames.ts';
import {
  ALL_FLOWS,
  BALANCER,
  engineMac,
  graphFor,
  type Host,
  memberMac,
  NAMES,
  settled,
  type TestEngine,
  VIP,
  VIP6,
} from './network.ts';

const CLIENT = '10.0.0.9';
const ORDER: CaptureOrder = {
  id: 'c',
  service: 'shop',
  client: null,
  seconds: 60,
  packets: 1000,
  snap: 1600,
};
const FIREWALL = {
  type: 'firewall' as const,
  policy: 'edge',
  defaultAction: 'allow' as const,
  rules: [
    { name: 'bad', action: 'deny' as const, from: ['10.0.0.66/32'], protocol: 'any' as const },
    { name: 'rude', action: 'reject' as const, from: ['10.0.0.67/32'], protocol: 'any' as const },
  ],
};

interface Noted {
  port: string;
  isSent: boolean;
  comment: string;
  bytes: Buffer;
  length: number;
  micros: number;
}

function fetched(engine: TestEngine) {
  const { records, ...news } = engine.dataplane.captureFetch({ id: 'c' });
  const bytes = Buffer.from(records);
  const noted: Noted[] = [];
  for (let at = 0; at < bytes.length; ) {
    const total = bytes.readUInt32LE(at);
    const kept = bytes.readUInt32LE(at + 20);
    noted.push({
      port: ['out', 'in', 'self'][bytes[at + 4]!]!,
      isSent: bytes[at + 5] === 1,
      micros: bytes.readDoubleLE(at + 8),
      length: bytes.readUInt32LE(at + 16),
      bytes: bytes.subarray(at + 24, at + 24 + kept),
      comment: bytes.toString('utf8', at + 24 + kept, at + total),
    });
    assert.equal(total, 24 + kept + bytes.readUInt16LE(at + 6));
    at += total;
  }
  return { ...news, frames: noted };
}

describe('capture', () => {
  const toMac = engineMac('A');

  /** A service whose flows engine A sends to member a1 beside it, with an established connection of port 7. */
  function withConnection(parts: Parameters<typeof settled>[0] = {}) {
    const others = NAMES.filter((name) => name !== 'a1');
    const world = settled({ components: [FIREWALL, BALANCER], without: others, ...parts });
    const { network, client, hosts } = world;
    const from = (flags: string, sport = 7) =>
      network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, flags, toMac });
    const back = (flags: string, dport = 7) => {
      const { a1 } = hosts as { a1: Host };
      network.emit(a1, { from: '10.0.0.11', to: CLIENT, sport: 80, dport, flags, toMac: client.mac });
    };
    const open = (port: number) => {
      from('S', port);
      back('SA', port);
      from('A', port);
      back('A', port);
    };
    return { ...world, from, back, open };
  }

  it('notes each frame as it came and as it left, with every verdict', () => {
    const { engines, from, back, hosts, client } = withConnection();
    const A = engines.A!;
    A.dataplane.captureStart(ORDER);
    from('S');
    back('SA');
    const { frames, noted, lost, ended } = fetched(A);
    assert.deepEqual(
      frames.map(({ port, isSent }) => [port, isSent]),
      [
        ['out', false],
        ['in', true],
        ['in', false],
        ['out', true],
      ],
    );
    const [came, left, answer, restored] = frames as [Noted, Noted, Noted, Noted];
    assert.match(
      came.comment,
      /^A out: new flow \(half-open, local, to a1\), firewall policy edge, no rule fits: allow by default.*: pass, load-balancer a1: .*: pass; to in$/,
    );
    assert.equal(left.comment, 'A in: sent, destination 10.0.0.100:8080 is now 10.0.0.11:80, other MACs');
    assert.equal(answer.comment, 'A in: known flow (half-open, local, to a1); to out');
    assert.equal(restored.comment, 'A out: sent, source 10.0.0.11:80 is now 10.0.0.100:8080');
    const seenInside = hosts.a1!.take().at(-1)!;
    assert.deepEqual(left.bytes, Buffer.from(seenInside.bytes.subarray(10)));
    assert.deepEqual(restored.bytes, Buffer.from(client.take().at(-1)!.bytes.subarray(10)));
    assert.notDeepEqual(came.bytes, left.bytes, 'the frame as it came is not the one that was rewritten');
    assert.deepEqual([noted, lost, ended], [[2, 2, 0], [0, 0, 0], null]);
    assert.equal(fetched(A).frames.length, 0, 'each is fetched once');
  });

  it('says why a packet is dropped or refused, and shows the answer that the engine makes', () => {
    const { network, engines, client } = withConnection();
    engines.A!.dataplane.captureStart(ORDER);
    network.emit(client, { from: '10.0.0.66', to: VIP, dport: 8080, toMac });
    network.emit(client, { from: '10.0.0.67', to: VIP, dport: 8080, toMac });
    const [denied, rejected, reset] = fetched(engines.A!).frames as [Noted, Noted, Noted];
    assert.match(
      denied.comment,
      /^A out: no flow, firewall .*rule bad \(1 of 2\): deny.*: drop; drop: firewall-deny$/,
    );
    assert.match(rejected.comment, /rule rude \(2 of 2\): reject.*: reject; drop: firewall-reject$/);
    assert.deepEqual(
      [reset.port, reset.isSent, reset.comment],
      ['out', true, 'A out: sent, made by the engine in answer'],
    );
  });

  it('sees a flow at the entry engine and at the member, and nothing of other services or clients', () => {
    const others = NAMES.filter((name) => name !== 'b1');
    const { network, engines, client } = settled({ without: others });
    for (const id of ['A', 'B']) engines[id]!.dataplane.captureStart({ ...ORDER, client: '10.0.0.0/28' });
    const send = (from: string, to: string, dport: number, protocol: 'tcp' | 'udp' = 'tcp') =>
      network.emit(client, { from, to, sport: 7, dport, protocol, toMac });
    send(CLIENT, VIP, 8080);
    send('10.0.0.77', VIP, 8080);
    send(CLIENT, VIP, 53, 'udp');
    send('fd00::9', VIP6, 8080);
    send(CLIENT, '10.0.0.12', 22);
    const [atA, atB] = [fetched(engines.A!).frames, fetched(engines.B!).frames];
    assert.deepEqual(
      atA.map(({ comment }) => comment.replace(/load-balancer.*:/, '')),
      ['A out: new flow (half-open, remote, to b1),  pass; to out', 'A out: sent, other MACs'],
    );
    assert.deepEqual(
      atB.map(({ comment }) => comment),
      [
        'B out: new flow (half-open, local, to b1); to in',
        'B in: sent, destination 10.0.0.100:8080 is now 10.0.0.13:80',
      ],
    );
    assert.equal(atA[0]!.bytes.readUIntBE(0, 6), Number.parseInt(toMac.replaceAll(':', ''), 16));
    assert.equal(atB[0]!.bytes.readUIntBE(0, 6), Number.parseInt(memberMac('b1').replaceAll(':', ''), 16));
  });

  it('takes its flows back from the kernel while it runs, and no others', () => {
    const { engines, from, back, open, network } = withConnection({ hasSlots: true });
    const { dataplane } = engines.A!;
    open(7);
    open(8);
    const kernel = () =>
      Object.fromEntries(dataplane.flows(ALL_FLOWS).flows.map((flow) => [flow.client, flow.kernel]));
    const trace = () =>
      dataplane
        .trace({ service: 'shop', from: CLIENT, fromPort: 7, to: VIP, port: 8080, balancedTo: null })
        .hop.steps.find(({ component }) => component === 'kernel');
    assert.deepEqual(kernel(), { '10.0.0.9:7': 'both', '10.0.0.9:8': 'both' });
    assert.equal(trace()?.verdict, 'forwards');
    assert.match(trace()!.detail, /client: the kernel by slot \d+ \(0 packets, 0 bytes so far\)/);

    dataplane.captureStart({ ...ORDER, client: '10.9.0.0/16' });
    assert.equal(kernel()['10.0.0.9:7'], 'both', 'of another client');
    dataplane.captureStop({ id: 'c' });
    dataplane.captureStart(ORDER);
    assert.deepEqual(kernel(), { '10.0.0.9:7': 'none', '10.0.0.9:8': 'none' });
    assert.equal(trace()?.verdict, 'hands up');
    from('A');
    back('A');
    assert.equal(kernel()['10.0.0.9:7'], 'none', 'a packet that is captured entrusts nothing');
    assert.equal(fetched(engines.A!).frames.length, 4);
    dataplane.captureStop({ id: 'c' });
    from('A');
    back('A');
    assert.deepEqual(kernel(), { '10.0.0.9:7': 'both', '10.0.0.9:8': 'none' });

    dataplane.load(graphFor('A', { components: [FIREWALL, BALANCER], revision: 2, without: NAMES.slice(1) }));
    assert.equal(kernel()['10.0.0.9:7'], 'none', 'another graph makes every slot stale');
    assert.match(trace()!.detail, /slot \d+ is stale, the flow is judged anew by its next packet/);
    network.pass(100);
  });

  it('ends by time, by frames, with its service, and where nobody fetches', () => {
    const { engines, from, network } = withConnection();
    const { dataplane } = engines.A!;
    dataplane.captureStart({ ...ORDER, packets: 3 });
    for (let port = 1; port < 9; port++) from('S', port);
    let news = fetched(engines.A!);
    assert.deepEqual([news.frames.length, news.ended], [3, '3 frames are captured']);
    assert.equal(fetched(engines.A!).frames.length, 0);

    dataplane.captureStart({ ...ORDER, seconds: 2 });
    assert.throws(() => dataplane.captureStart({ ...ORDER, id: 'd' }), { code: 'ERR_THROTTLED' });
    assert.throws(() => dataplane.captureFetch({ id: 'd' }), { code: 'ERR_NOT_FOUND' });
    dataplane.captureStop({ id: 'd' });
    network.pass(2100);
    from('S', 20);
    news = fetched(engines.A!);
    assert.deepEqual([news.frames.length, news.ended], [0, 'the 2 s are over']);

    dataplane.captureStart(ORDER);
    network.pass(6000);
    assert.throws(() => dataplane.captureFetch({ id: 'c' }), { code: 'ERR_NOT_FOUND' });

    dataplane.captureStart(ORDER);
    dataplane.load({ ...graphFor('A', { revision: 3 }), services: [] });
    assert.equal(fetched(engines.A!).ended, 'service shop is gone');
    assert.throws(() => dataplane.captureStart(ORDER), { code: 'ERR_NOT_FOUND' });
  });

  it('counts what finds no room, keeps no more than the snap of a frame, and forwards all the same', () => {
    const { network, engines, client, hosts, open } = withConnection();
    const { dataplane } = engines.A!;
    open(7);
    hosts.a1!.take();
    dataplane.captureStart({ ...ORDER, packets: 1_000_000, snap: 1000 });
    const payload = new Uint8Array(1400);
    const count = 3000;
    for (let n = 0; n < count; n++) {
      network.send(
        client,
        frame({
          fromMac: client.mac,
          from: CLIENT,
          to: VIP,
          sport: 7,
          dport: 8080,
          flags: 'A',
          payload,
          toMac,
        }),
      );
    }
    assert.equal(hosts.a1!.take().length, count, 'every frame went through');
    let frames = 0;
    let last = fetched(engines.A!);
    for (; last.frames.length > 0; last = fetched(engines.A!)) {
      frames += last.frames.length;
      for (const { bytes, length } of last.frames) assert.deepEqual([bytes.length, length], [1000, 1454]);
    }
    const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
    assert.ok(sum(last.lost) > 0);
    assert.equal(frames, sum(last.noted));
    assert.equal(sum(last.noted) + sum(last.lost), count * 2);
  });

  it('changes nothing: random and damaged frames leave the same way, with a capture and without', function () {
    this.timeout(60_000);
    const seed = Number(process.env.WEFT_FUZZ_SEED ?? Date.now() % 1_000_000);
    console.log(`      seed ${seed}`);
    const run = (isCaptured: boolean): string[] => {
      let state = seed;
      const random = () => {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        return (state >>> 0) / 0x1_0000_0000;
      };
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
      const { network, engines, hosts, client } = settled({ components: [FIREWALL, BALANCER] });
      network.isVerifying = false;
      const everyone = [...network.hosts, ...network.engines.map((engine) => engine.self)];
      const left: string[] = [];
      let noted = 0;
      for (let n = 0; n < 20_000; n++) {
        if (isCaptured && n % 500 === 0) {
          engines.A!.dataplane.captureStop({ id: 'c' });
          engines.A!.dataplane.captureStart({ ...ORDER, snap: pick([64, 65_550]) });
        }
        if (!isCaptured && n % 500 === 0) pick([1, 2]);
        const bytes = frame({
          from: pick([CLIENT, '10.0.0.66', '10.0.0.67', '10.0.0.11', VIP]),
          to: pick([VIP, VIP, '10.0.0.11', CLIENT]),
          fromMac: pick([client.mac, memberMac('a1'), engineMac('B'), engineMac('A')]),
          toMac: pick([toMac, memberMac('a1'), client.mac, 'ff:ff:ff:ff:ff:ff']),
          protocol: pick(['tcp', 'udp', 'icmp'] as const),
          sport: pick([1, 2, 80, 8080, 53]),
          dport: pick([8080, 53, 80, 1]),
          flags: pick(['S', 'SA', 'A', 'FA', 'R']),
          payload: new Uint8Array(Math.floor(random() * 40)),
          ...(random() < 0.1 ? { fragment: { id: 1, offset: pick([0, 8]), hasMore: true } } : {}),
        });
        for (let damage = 0; random() < 0.2 && damage < 4; damage++) {
          bytes[10 + Math.floor(random() * (bytes.length - 10))] = Math.floor(random() * 256);
        }
        network.inject(engines.A!, pick([0, 1]), bytes);
        for (const [index, host] of everyone.entries()) {
          for (const seen of host.take()) left.push(`${index} ${Buffer.from(seen.bytes).toString('hex')}`);
        }
        if (!isCaptured || n % 50 !== 49) continue;
        const { frames } = fetched(engines.A!);
        noted += frames.length;
        for (const one of frames) assert.match(one.comment, /^A (out|in|self): \S/);
      }
      assert.ok(isCaptured ? noted > 1000 : noted === 0, `${noted} frames noted`);
      left.push(JSON.stringify(engines.A!.dataplane.counters()), JSON.stringify(Object.keys(hosts)));
      return left;
    };
    assert.deepEqual(run(true), run(false));
  });
});
