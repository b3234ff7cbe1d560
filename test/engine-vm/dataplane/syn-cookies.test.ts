/** `synCookies`: the engine answers SYNs without keeping anything, and joins the client to a member once it has proven itself. */
import assert from 'node:assert/strict';
import { COOKIE_MSS, SynCookies } from '../../../src/engine-vm/dataplane/syn-cookies.ts';
import {
  BUCKET_BYTES,
  bucketsFor,
  CONFIG_BYTES,
  FlowSlots,
  SLOT_BYTES,
} from '../../../src/engine-vm/fastpath/flow-slots.ts';
import { TUNNEL_BYTES, TUNNELS } from '../../../src/engine-vm/fastpath/tunnel-heads.ts';
import { FlowMemory, flowMemoryBytes } from '../../../src/engine-vm/flow/flow-memory.ts';
import { HEADROOM, Packet } from '../../../src/packet/packet.ts';
import { parse } from '../../../src/packet/parse.ts';
import type { GraphComponent, GraphService } from '../../../src/policy/graph.ts';
import { type FrameSpec, frame } from '../../packet/frames.ts';
import { MiniTcp } from './mini-tcp.ts';
import {
  ALL_FLOWS,
  BALANCER,
  dataIp,
  type GraphParts,
  graphFor,
  type Host,
  memberIp,
  memberIp6,
  NAMES,
  type Seen,
  settled,
  type TestEngine,
  VIP,
  VIP6,
} from './network.ts';

const FIRST = 0xfffffff0;
const OWN = 77_000;

function cookieServices(synCookies: 'auto' | 'always', change: Partial<GraphService> = {}): GraphService[] {
  return graphFor('A').services.map((service) =>
    service.protocol === 'tcp' ? { ...service, synCookies, ...change } : service,
  );
}

/** The network with one member for new flows, and how its client and that member speak. */
function site(name: string, isIpv6 = false, parts: GraphParts = {}) {
  const made = settled({ services: cookieServices('always'), ...parts });
  const { network, engines, hosts, client } = made;
  const from = isIpv6 ? 'fd00::9' : '10.0.0.9';
  const to = isIpv6 ? VIP6 : VIP;
  const member = hosts[name]!;
  for (const engine of Object.values(engines)) {
    engine.dataplane.applyHealth(
      'web',
      Object.fromEntries(NAMES.map((other) => [`cloud/${other}/nic0`, other === name])),
    );
  }
  const say = (spec: Partial<FrameSpec>, engine: TestEngine = engines.A!) =>
    network.emit(client, { from, to, sport: 7000, dport: 8080, toMac: engine.mac, ...spec });
  const answer = (seen: Seen, spec: Partial<FrameSpec>) =>
    network.emit(member, {
      from: isIpv6 ? memberIp6(name) : memberIp(name),
      to: seen.from,
      sport: 80,
      dport: seen.sport,
      toMac: seen.from === from ? client.mac : seen.fromMac,
      ...spec,
    });
  /** The client's ACK of the SYN-ACK to a SYN. */
  const prove = (spec: Partial<FrameSpec> = {}) => {
    say({ flags: 'S', seq: FIRST, window: 5000, ...spec });
    const reply = client.one();
    const cookie = sequence(reply);
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 1, window: 5000 });
    return { cookie, reply };
  };
  return { ...made, from, to, member, say, answer, prove, A: engines.A!, B: engines.B! };
}

function sequence({ packet }: Seen): number {
  return packet.view.getUint32(packet.l4 + 4);
}

function acknowledged({ packet }: Seen): number {
  return packet.view.getUint32(packet.l4 + 8);
}

function windowOf({ packet }: Seen): number {
  return packet.view.getUint16(packet.l4 + 14);
}

/** Options of the segment, in hex. */
function options({ packet }: Seen): string {
  const end = packet.l4 + (packet.view.getUint8(packet.l4 + 12) >> 4) * 4;
  return Buffer.from(packet.buffer.subarray(packet.l4 + 20, end)).toString('hex');
}

function flowsOf(engine: TestEngine) {
  return engine.dataplane.flows(ALL_FLOWS).flows;
}

function syn(from: string, to: string): Packet {
  const bytes = frame({ from, to, sport: 7000, dport: 8080 });
  const packet = new Packet();
  parse(packet, bytes, HEADROOM, bytes.length - HEADROOM);
  return packet;
}

describe('a SYN cookie', () => {
  const WALL = 1_800_000_000_000;
  const key = Buffer.alloc(32, 7);
  const packet = syn('10.0.0.9', VIP);

  it('is understood by every engine of the group, and names the segment size', () => {
    for (const [offered, named] of [
      [40, 88],
      [536, 536],
      [1219, 966],
      [1459, 1440],
      [1460, 1460],
      [8960, 1460],
    ] as const) {
      const cookie = new SynCookies(key).make(packet, FIRST | 0, offered, WALL);
      assert.equal(new SynCookies(key).check(packet, FIRST | 0, cookie, WALL), named);
    }
    assert.deepEqual(
      [...COOKIE_MSS],
      [...COOKIE_MSS].sort((a, b) => a - b),
    );
  });

  it('is good for its client, connection and sequence number alone, and under its key', () => {
    const cookies = new SynCookies(key);
    const cookie = cookies.make(packet, 5, 1460, WALL);
    assert.equal(cookies.check(syn('10.0.0.8', VIP), 5, cookie, WALL), 0);
    assert.equal(cookies.check(syn('10.0.0.9', '10.0.0.101'), 5, cookie, WALL), 0);
    assert.equal(cookies.check(syn('fd00::9', VIP6), 5, cookie, WALL), 0);
    assert.equal(cookies.check(packet, 6, cookie, WALL), 0);
    for (let bit = 0; bit < 32; bit++) assert.equal(cookies.check(packet, 5, cookie ^ (1 << bit), WALL), 0);
    assert.equal(new SynCookies(Buffer.alloc(32, 8)).check(packet, 5, cookie, WALL), 0);
  });

  it('lasts for one to two minutes, and bears clocks that differ by one', () => {
    const cookies = new SynCookies(key);
    const cookie = cookies.make(packet, 5, 1460, WALL);
    assert.equal(cookies.check(packet, 5, cookie, WALL + 64_000), 1460);
    assert.equal(cookies.check(packet, 5, cookie, WALL - 64_000), 1460);
    assert.equal(cookies.check(packet, 5, cookie, WALL + 128_000), 0);
    assert.equal(cookies.check(packet, 5, cookie, WALL - 128_000), 0);
  });
});

describe('a service with SYN cookies', () => {
  for (const isIpv6 of [false, true]) {
    const family = isIpv6 ? 'IPv6' : 'IPv4';
    it(`answers SYNs of ${family} itself, keeps nothing and asks no member`, () => {
      const { say, client, member, A, from, to } = site('a1', isIpv6);
      say({ flags: 'S', seq: FIRST, tcpOptions: [2, 4, 5, 0xb4, 1, 3, 3, 7] });
      const reply = client.one();
      assert.deepEqual(
        [reply.flags, reply.from, reply.sport, reply.to, reply.dport, reply.fromMac],
        ['SA', to, 8080, from, 7000, A.mac],
      );
      assert.deepEqual([acknowledged(reply), windowOf(reply)], [FIRST + 1, 0]);
      assert.equal(options(reply), isIpv6 ? '020405a0' : '020405b4', 'the segment size, and nothing else');
      assert.deepEqual(flowsOf(A), []);
      assert.deepEqual(member.take(), []);
      assert.equal(A.dataplane.counters().components['shop/syn-cookies/sent'], 1);
    });

    for (const [name, where] of [
      ['a1', 'beside the engine'],
      ['b1', 'beside a peer'],
    ] as const) {
      it(`joins a client of ${family} that has proven itself to a member ${where}`, () => {
        const { prove, say, answer, client, member, engines, from, to } = site(name, isIpv6);
        const { cookie } = prove({ tcpOptions: [2, 4, 5, 0x14] });
        const asked = member.one();
        assert.deepEqual([asked.flags, asked.from, asked.sport, asked.dport], ['S', from, 7000, 80]);
        assert.deepEqual([sequence(asked), windowOf(asked), options(asked)], [FIRST, 5000, '02040514']);
        assert.deepEqual(client.take(), [], 'its window is closed');
        answer(asked, { flags: 'SA', seq: OWN, ack: FIRST + 1, window: 3000, tcpOptions: [2, 4, 5, 0xb4] });
        const opened = client.one();
        assert.deepEqual([opened.flags, opened.from, opened.sport], ['A', to, 8080]);
        assert.deepEqual(
          [sequence(opened), acknowledged(opened), windowOf(opened)],
          [cookie + 1, FIRST + 1, 3000],
        );
        const third = member.one();
        assert.deepEqual([third.flags, sequence(third), acknowledged(third)], ['A', FIRST + 1, OWN + 1]);
        say({ flags: 'PA', seq: FIRST + 1, ack: cookie + 1, payload: 'question' });
        const question = member.one();
        assert.deepEqual([sequence(question), acknowledged(question)], [FIRST + 1, OWN + 1]);
        answer(asked, { flags: 'PA', seq: OWN + 1, ack: FIRST + 9, payload: 'answer' });
        const reply = client.one();
        assert.deepEqual([sequence(reply), acknowledged(reply)], [(cookie + 1) >>> 0, (FIRST + 9) >>> 0]);
        const engine = engines[name[0]!.toUpperCase()]!;
        assert.deepEqual(
          flowsOf(engine).map(({ state, kind }) => [state, kind]),
          [['established', 'local']],
        );
        const id = `cloud/${name}/nic0`;
        assert.equal(engine.dataplane.connectionReport().local[id], 1);
      });
    }
  }

  it('believes a cookie that the program gave where the SYN before it had come up', () => {
    const { say, client, member, network, A, from, to } = site('a1', false, {
      services: cookieServices('auto'),
    });
    say({ flags: 'S', seq: FIRST });
    assert.equal(member.one().flags, 'S');
    const cookie = new SynCookies(Buffer.alloc(32, 7)).make(
      syn(from, to),
      FIRST | 0,
      1460,
      1_700_000_000_000 + network.now,
    );
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 1, window: 5000 });
    const asked = member.one();
    assert.deepEqual([asked.flags, sequence(asked)], ['S', FIRST]);
    assert.deepEqual(client.take(), []);
    assert.deepEqual(
      flowsOf(A).map(({ state }) => state),
      ['half-open'],
    );
    // It goes on with the member that is being asked.
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 1, window: 5000 });
    assert.equal(flowsOf(A).length, 1);
    assert.deepEqual(client.take(), []);
  });

  it('joins it to a member that is translated both ways', () => {
    const services = cookieServices('always', { returnPath: 'engine' });
    const { prove, say, answer, client, member, A } = site('b1', false, { services });
    const { cookie } = prove();
    const asked = member.one();
    assert.deepEqual([asked.flags, asked.from], ['S', dataIp('A')]);
    answer(asked, { flags: 'SA', seq: OWN, ack: FIRST + 1, window: 3000 });
    assert.deepEqual([client.one().flags, member.one().flags], ['A', 'A']);
    answer(asked, { flags: 'PA', seq: OWN + 1, ack: FIRST + 1, payload: 'hello' });
    const hello = client.one();
    assert.deepEqual([sequence(hello), hello.toMac, hello.fromMac], [cookie + 1, client.mac, A.mac]);
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 6 });
    assert.equal(acknowledged(member.one()), OWN + 6);
  });

  it('gives no answer to whom its firewall denies, and judges again when the cookie comes back', () => {
    const rules = (action: 'allow' | 'deny'): GraphComponent[] => [
      {
        type: 'firewall',
        policy: 'edge',
        rules: [{ name: 'some', protocol: 'tcp', action, from: ['10.0.0.9/32'] }],
        defaultAction: action === 'allow' ? 'deny' : 'allow',
      },
      BALANCER,
    ];
    const denied = site('a1', false, { services: cookieServices('always', { components: rules('deny') }) });
    denied.say({ flags: 'S', seq: FIRST });
    assert.deepEqual(denied.client.take(), []);
    assert.equal(denied.A.dataplane.counters().drops['firewall-deny'], 1);

    const allowed = site('a1', false, { services: cookieServices('always', { components: rules('allow') }) });
    allowed.say({ flags: 'S', seq: FIRST });
    const cookie = sequence(allowed.client.one());
    const services = cookieServices('always', { components: rules('deny') });
    allowed.A.dataplane.load(graphFor('A', { services, revision: 2 }));
    allowed.say({ flags: 'A', seq: FIRST + 1, ack: cookie + 1 });
    const refusal = allowed.client.one();
    assert.deepEqual([refusal.flags, sequence(refusal)], ['R', cookie + 1]);
    assert.deepEqual(allowed.member.take(), []);
    assert.deepEqual(flowsOf(allowed.A), []);
  });

  it('takes a cookie that another engine gave, and none that nobody gave', () => {
    const { say, client, member, B, A } = site('b1');
    say({ flags: 'S', seq: FIRST });
    const cookie = sequence(client.one());
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 2 }, B);
    assert.deepEqual(member.take(), []);
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 1 }, B);
    assert.equal(member.one().flags, 'S');
    assert.deepEqual(flowsOf(A), []);
  });

  it('takes it from a probe of the closed window as well, where the ACK was lost', () => {
    const { say, client, member } = site('b1');
    say({ flags: 'S', seq: FIRST });
    const cookie = sequence(client.one());
    say({ flags: 'A', seq: FIRST, ack: cookie + 1 });
    assert.equal(sequence(member.one()), FIRST);
  });

  it('passes on that its member refuses', () => {
    for (const name of ['a1', 'b1']) {
      const { prove, answer, client, member } = site(name);
      const { cookie } = prove();
      answer(member.one(), { flags: 'RA', seq: 0, ack: FIRST + 1 });
      const reset = client.one();
      assert.deepEqual([reset.flags, sequence(reset)], ['AR', cookie + 1]);
    }
  });

  it('asks a member that is silent again, and resets the client in the end', () => {
    for (const name of ['a1', 'b1']) {
      const { prove, client, member, network, engines } = site(name);
      const { cookie } = prove();
      assert.equal(member.one().flags, 'S');
      network.pass(2500);
      assert.deepEqual(
        member.take().map((seen) => [seen.flags, sequence(seen)]),
        [['S', FIRST]],
      );
      network.pass(8000);
      assert.deepEqual(
        member.take().map(({ flags }) => flags),
        ['S'],
      );
      const reset = client.one();
      assert.deepEqual([reset.flags, reset.from, reset.sport, sequence(reset)], ['R', VIP, 8080, cookie + 1]);
      for (const engine of Object.values(engines)) assert.deepEqual(flowsOf(engine), []);
    }
  });

  it('ends what its member still has of an earlier connection, as a host would', () => {
    const { prove, answer, member, client } = site('a1');
    prove();
    const asked = member.one();
    answer(asked, { flags: 'A', seq: OWN, ack: FIRST - 500 });
    const reset = member.one();
    assert.deepEqual([reset.flags, sequence(reset)], ['R', FIRST - 500]);
    assert.deepEqual(client.take(), []);
    answer(asked, { flags: 'SA', seq: OWN, ack: FIRST + 1, window: 3000 });
    assert.equal(client.one().flags, 'A');
  });

  it('answers a repeated SYN-ACK of the member, and takes a client port for a later connection', () => {
    for (const name of ['a1', 'b1']) {
      const { prove, say, answer, client, member, network } = site(name);
      const { cookie } = prove();
      const asked = member.one();
      for (let time = 0; time < 2; time++) {
        answer(asked, { flags: 'SA', seq: OWN, ack: FIRST + 1, window: 3000 });
        assert.equal(sequence(client.one()), cookie + 1);
        assert.equal(acknowledged(member.one()), OWN + 1);
      }
      say({ flags: 'FA', seq: FIRST + 1, ack: cookie + 1 });
      assert.equal(acknowledged(member.one()), OWN + 1);
      answer(asked, { flags: 'FA', seq: OWN + 1, ack: FIRST + 2 });
      assert.equal(sequence(client.one()), cookie + 1);
      network.pass(100);
      const later = 0x10000;
      say({ flags: 'S', seq: later });
      const again = sequence(client.one());
      say({ flags: 'A', seq: later + 1, ack: again + 1, window: 100 });
      const anew = member.one();
      assert.deepEqual([anew.flags, sequence(anew)], ['S', later]);
    }
  });

  it('keeps streams whole where frames are lost, come twice or out of order', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const name = seed % 2 === 0 ? 'a1' : 'b1';
      const { say, answer, client, member, network } = site(name, seed % 3 === 0);
      let dice = seed;
      const roll = (): number => {
        dice = (Math.imul(dice, 1103515245) + 12345) & 0x7fffffff;
        return dice / 0x80000000;
      };
      const bytes = (length: number) => Uint8Array.from({ length }, () => Math.floor(roll() * 256));
      const underway: (() => void)[] = [];
      const perhaps = (deliver: () => void): void => {
        if (roll() < 0.15) return;
        underway.push(deliver);
        if (roll() < 0.1) underway.push(deliver);
      };
      let asked: Seen | null = null;
      const questions = bytes(12_000);
      const answers = bytes(15_000);
      const one = new MiniTcp(0xfffff000 + seed, questions, (spec) => perhaps(() => say(spec)));
      const other = new MiniTcp(Math.floor(roll() * 2 ** 32), answers, (spec) =>
        perhaps(() => answer(asked!, spec)),
      );
      const collect = (host: Host, end: MiniTcp) => {
        for (const seen of host.take()) {
          if (host === member) asked = seen;
          perhaps(() => end.take(seen));
        }
      };
      one.connect();
      for (let step = 0; step < 8000; step++) {
        if (underway.length === 0 || roll() < 0.02) {
          network.pass(200, 50);
          if (other.isEstablished || roll() < 0.5) one.repeat();
          other.repeat();
        } else underway.splice(Math.floor(roll() * Math.min(4, underway.length)), 1)[0]!();
        collect(client, one);
        collect(member, other);
        if (one.received.length === answers.length && other.received.length === questions.length) break;
      }
      assert.ok(!one.isReset && !other.isReset, `seed ${seed}: reset`);
      assert.deepEqual(Buffer.from(other.received), Buffer.from(questions), `seed ${seed}`);
      assert.deepEqual(Buffer.from(one.received), Buffer.from(answers), `seed ${seed}`);
    }
  });
});

describe('a connection that a SYN cookie began', () => {
  /** An established one, told of to peers; `goesOn` proves that both directions still fit. */
  function established(name: string, parts: GraphParts = {}) {
    const made = site(name, false, parts);
    const { prove, say, answer, client, member, network } = made;
    const { cookie } = prove();
    const asked = member.one();
    answer(asked, { flags: 'SA', seq: OWN, ack: FIRST + 1, window: 3000 });
    answer(asked, { flags: 'PA', seq: OWN + 1, ack: FIRST + 1, payload: 'banner' });
    say({ flags: 'A', seq: FIRST + 1, ack: cookie + 7 });
    network.pass(1000);
    const goesOn = (): void => {
      let seen: Seen[] = [];
      client.take();
      member.take();
      for (let tries = 0; tries < 3 && seen.length === 0; tries++) {
        say({ flags: 'PA', seq: FIRST + 1, ack: cookie + 7, payload: 'question' });
        seen = member.take();
        network.pass(50);
      }
      assert.deepEqual(
        seen.slice(0, 1).map((one) => [one.flags, sequence(one), acknowledged(one)]),
        [['AP', FIRST + 1, OWN + 7]],
      );
      client.take();
      answer(asked, { flags: 'PA', seq: OWN + 7, ack: FIRST + 9, payload: 'answer' });
      assert.equal(sequence(client.one()), cookie + 7);
    };
    return { ...made, goesOn };
  }

  for (const [name, id] of [
    ['a1', 'A'],
    ['b1', 'B'],
  ] as const) {
    it(`goes on where ${id === 'A' ? 'its only engine' : "its member's engine"} has forgotten it`, () => {
      const { network, engines, goesOn } = established(name);
      network.restart(engines[id]!);
      engines[id]!.dataplane.load(graphFor(id, { services: cookieServices('always') }));
      network.pass(4000);
      goesOn();
      goesOn();
    });
  }

  it('goes on where its member moves to another host', () => {
    const { network, engines, hosts, goesOn } = established('b1');
    const { B, C } = engines;
    const b1 = hosts.b1!;
    B!.members.splice(B!.members.indexOf(b1), 1);
    C!.members.push(b1);
    b1.engine = C!;
    const parts = { services: cookieServices('always'), engineOf: { b1: 'C' }, revision: 2 };
    for (const [id, { dataplane }] of Object.entries(engines)) dataplane.load(graphFor(id, parts));
    network.pass(100);
    goesOn();
  });

  it('goes on in the next process, which finds its records', () => {
    let memory: ConstructorParameters<typeof FlowSlots>[0] | undefined;
    let leftMs: number | null = null;
    const openSlots = (capacity: number, seed: number) => {
      memory ??= {
        config: new ArrayBuffer(CONFIG_BYTES),
        index: new ArrayBuffer(BUCKET_BYTES * bucketsFor(capacity)),
        slots: new ArrayBuffer(SLOT_BYTES * capacity),
        tunnels: new ArrayBuffer(TUNNEL_BYTES * TUNNELS),
        records: new FlowMemory(new ArrayBuffer(flowMemoryBytes(capacity >> 1)), capacity >> 1),
      };
      return new FlowSlots(memory, capacity, seed, leftMs);
    };
    const { network, engines, goesOn } = established('a1');
    const A = engines.A!;
    network.openSlots = openSlots;
    A.dataplane.openSlots();
    leftMs = network.now;
    network.restart(A);
    for (const id of ['B', 'C']) engines[id]!.isDead = true;
    A.dataplane.load(graphFor('A', { services: cookieServices('always') }));
    network.pass(4000);
    goesOn();
  });

  it('is not taken for one where the client had begun it with the member itself', () => {
    const { network, engines, say, answer, member, client } = site('b1', false, {
      services: cookieServices('auto'),
    });
    say({ flags: 'S', seq: FIRST });
    const asked = member.one();
    answer(asked, { flags: 'SA', seq: OWN, ack: FIRST + 1 });
    say({ flags: 'A', seq: FIRST + 1, ack: OWN + 1 });
    network.pass(1000);
    network.restart(engines.B!);
    engines.B!.dataplane.load(graphFor('B', { services: cookieServices('auto') }));
    network.pass(4000);
    client.take();
    member.take();
    say({ flags: 'PA', seq: FIRST + 1, ack: OWN + 1, payload: 'question' });
    assert.equal(acknowledged(member.take()[0]!), OWN + 1);
  });

  it('goes on by what its member says of it, where nothing had been sent yet', () => {
    const { prove, say, answer, client, member, network, engines } = site('b1');
    const { cookie } = prove();
    answer(member.one(), { flags: 'SA', seq: OWN, ack: FIRST + 1 });
    network.restart(engines.B!);
    engines.B!.dataplane.load(graphFor('B', { services: cookieServices('always') }));
    network.pass(4000);
    client.take();
    member.take();
    say({ flags: 'PA', seq: FIRST + 1, ack: cookie + 1, payload: 'question' });
    const asked = member.one();
    assert.equal(asked.flags, 'S');
    answer(asked, { flags: 'A', seq: OWN + 1, ack: FIRST + 1 });
    assert.deepEqual([client.take().map(({ flags }) => flags), member.take()], [['A'], []]);
    say({ flags: 'PA', seq: FIRST + 1, ack: cookie + 1, payload: 'question' });
    assert.equal(acknowledged(member.one()), OWN + 1);
  });
});

describe('SYN cookies in floods', () => {
  it('begin where half-open connections are as many as they may be, so that none makes room', () => {
    const { say, client, member, A, network } = site('a1', false, {
      services: cookieServices('auto'),
      maxFlows: 64,
    });
    for (let port = 1; port <= 16; port++) say({ flags: 'S', sport: 1000 + port });
    assert.equal(member.take().length, 16);
    assert.deepEqual(client.take(), []);
    for (let port = 1; port <= 40; port++) say({ flags: 'S', sport: 2000 + port });
    assert.equal(member.take().length, 0);
    assert.equal(client.take().length, 40);
    const counters = A.dataplane.counters();
    assert.equal(counters.evictedFlows, 0);
    assert.deepEqual([...counters.answeredOf], [['shop', 40]]);
    const steps = A.dataplane.trace({
      service: 'shop',
      from: '10.0.0.9',
      fromPort: 3000,
      to: VIP,
      port: 8080,
      balancedTo: null,
    }).hop.steps;
    assert.match(steps.find(({ component }) => component === 'syn-cookie')!.detail, /under a flood/);
    say({ flags: 'S', seq: FIRST });
    say({ flags: 'A', seq: FIRST + 1, ack: sequence(client.one()) + 1 });
    assert.equal(member.one().flags, 'S', 'who is real gets in');
    network.pass(12_000);
    say({ flags: 'S', sport: 4000 });
    assert.equal(member.take().filter(({ flags }) => flags === 'S').length >= 1, true);
  });

  it('go on while the service is said to be under a flood, and end with it', () => {
    const { say, client, member, A } = site('a1', false, { services: cookieServices('auto') });
    A.dataplane.setFloods(new Set(['shop']));
    say({ flags: 'S' });
    assert.equal(client.one().flags, 'SA');
    A.dataplane.setFloods(new Set());
    say({ flags: 'S' });
    assert.equal(member.one().flags, 'S');
  });
});
