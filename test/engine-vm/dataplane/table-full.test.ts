/** A full flow table: new flows are refused by name, or forwarded by hash without a record, as the service says. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { GraphComponent, GraphService } from '../../../src/policy/graph.ts';
import {
  ALL_FLOWS,
  BALANCER,
  type GraphParts,
  graphFor,
  type Host,
  memberIp,
  memberMac,
  NAMES,
  type Seen,
  settled,
  type TestEngine,
  VIP,
  VIP6,
} from './network.ts';

/** Services that forward by hash; only one address each, where members' answers shall be told by their end alone. */
const hashing = (components: GraphComponent[] = [BALANCER], isSingle = false): GraphService[] =>
  graphFor('A', { components }).services.map((service) => ({
    ...service,
    whenTableFull: 'hash',
    tiers: service.tiers.map((tier) => ({
      ...tier,
      addresses: isSingle ? tier.addresses.filter(({ address }) => address === VIP) : tier.addresses,
    })),
  }));

interface Flow {
  from: string;
  sport: number;
  protocol?: 'udp';
}

/** The test network, and how clients and members speak in it through engine A. */
function site(parts: GraphParts = {}) {
  const all = settled({ maxFlows: 8, services: hashing(), ...parts });
  const { network, engines, hosts, client } = all;
  const vipOf = (flow: Flow) => (flow.from.includes(':') ? VIP6 : VIP);
  const send = (flow: Flow, flags: string, entry: TestEngine = engines.A!): void =>
    network.emit(client, {
      from: flow.from,
      to: vipOf(flow),
      sport: flow.sport,
      dport: flow.protocol === 'udp' ? 53 : 8080,
      ...(flow.protocol === 'udp' ? { protocol: 'udp' as const } : { flags }),
      toMac: entry.mac,
    });
  /** The member that has seen a frame since the last call, and the frame. */
  const reached = (): { host: Host; name: string; frame: Seen } | null => {
    const seen = NAMES.flatMap((name) =>
      hosts[name]!.take().map((frame) => ({ host: hosts[name]!, name, frame })),
    );
    assert.ok(seen.length <= 1, `${seen.length} members saw it`);
    return seen[0] ?? null;
  };
  const answer = (to: { host: Host; frame: Seen }, flags: string): Seen => {
    const { frame } = to;
    const isUdp = frame.packet.protocol === 17;
    network.emit(to.host, {
      from: frame.to,
      to: frame.from,
      sport: frame.dport,
      dport: frame.sport,
      ...(isUdp ? { protocol: 'udp' as const } : { flags }),
      toMac: client.mac,
    });
    return client.one();
  };
  /** Opens a connection and checks both directions; the member's name. */
  const open = (flow: Flow, entry?: TestEngine): string => {
    send(flow, 'S', entry);
    const to = reached();
    assert.ok(to !== null, 'no member saw the first packet');
    assert.deepEqual([to.frame.from, to.frame.sport], [flow.from, flow.sport]);
    const reply = answer(to, 'SA');
    const port = flow.protocol === 'udp' ? 53 : 8080;
    assert.deepEqual(
      [reply.from, reply.sport, reply.to, reply.dport],
      [vipOf(flow), port, flow.from, flow.sport],
    );
    if (flow.protocol !== 'udp') assert.equal(goOn(flow, 'A', entry), to.name);
    return to.name;
  };
  /** The next packet of the client, and its answer; the member's name. */
  const goOn = (flow: Flow, flags = 'PA', entry?: TestEngine): string => {
    send(flow, flags, entry);
    const to = reached();
    assert.ok(to !== null, 'no member saw the packet');
    assert.equal(answer(to, 'PA').from, vipOf(flow));
    return to.name;
  };
  const fill = (engine: TestEngine = engines.A!): void => {
    for (let n = 0; ; n++) {
      const before = size(engine);
      open({ from: '10.0.0.250', sport: 1024 + n }, engine);
      if (size(engine) === before) return;
    }
  };
  const forget = (): void => {
    for (const name of NAMES) hosts[name]!.take();
    client.take();
  };
  return { ...all, forget, A: engines.A!, B: engines.B!, send, reached, answer, open, goOn, fill };
}

const size = (engine: TestEngine): number => engine.dataplane.counters().flows;
const dropped = (engine: TestEngine, name: string): number => engine.dataplane.counters().drops[name] ?? 0;

describe('a full flow table', () => {
  it('refuses new flows by name where the service does not say otherwise', () => {
    const { A, send, reached, open } = site({ services: graphFor('A').services });
    for (let n = 0; n < 8; n++) open({ from: '10.0.0.250', sport: 1024 + n });
    assert.equal(size(A), 8);
    send({ from: '10.0.0.9', sport: 7000 }, 'S');
    assert.equal(reached(), null);
    assert.equal(dropped(A, 'flow-table-full'), 1);
    const question = {
      service: 'shop',
      from: '10.0.0.9',
      fromPort: 7000,
      to: VIP,
      port: 8080,
      balancedTo: null,
    };
    assert.equal(A.dataplane.trace(question).outcome, 'dropped: flow-table-full');
    assert.equal(A.dataplane.counters().components['shop/table-full/refused'], 1);
    assert.deepEqual([...A.dataplane.counters().fullOf], [['shop', { hashed: 0, refused: 1 }]]);
    const [explained] = A.dataplane.explain({ service: 'shop', from: null });
    assert.match(explained!.reason, /; but the flow table is full: new flows are dropped$/);
  });

  it('says where new flows go while it is full, and no word of it before', () => {
    const { A, open } = site();
    const reason = () => A.dataplane.explain({ service: 'shop', from: null })[0]!.reason;
    assert.doesNotMatch(reason(), /full/);
    for (let n = 0; n < 8; n++) open({ from: '10.0.0.250', sport: 1024 + n });
    assert.match(reason(), /; but the flow table is full: new flows go where a hash of them says/);
  });

  it('forwards every later flow both ways, by the same member throughout', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            from: fc.constantFrom('10.0.0.9', '10.0.0.10', '192.0.2.77', 'fd00::9'),
            sport: fc.integer({ min: 1024, max: 65_535 }),
            isUdp: fc.boolean(),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        (drawn) => {
          const { A, open, goOn, fill } = site({ maxFlows: 100 });
          fill();
          const full = size(A);
          const flows = new Map<string, { flow: Flow; name: string }>();
          for (const { from, sport, isUdp } of drawn) {
            const key = `${from} ${sport} ${isUdp}`;
            if (flows.has(key) || (isUdp && from.includes(':'))) continue;
            const flow: Flow = { from, sport, ...(isUdp ? { protocol: 'udp' as const } : {}) };
            flows.set(key, { flow, name: open(flow) });
          }
          for (let round = 0; round < 3; round++)
            for (const { flow, name } of flows.values()) assert.equal(goOn(flow), name);
          assert.equal(size(A), full);
          assert.equal(dropped(A, 'flow-table-full'), 0);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('spreads a thousand flows over all members, with a table of a thousand full', () => {
    const { A, open, fill } = site({ maxFlows: 1000 });
    fill();
    assert.equal(size(A), 1000);
    const question = {
      service: 'shop',
      from: '10.1.0.0',
      fromPort: 5000,
      to: VIP,
      port: 8080,
      balancedTo: null,
    };
    const { steps } = A.dataplane.trace(question).hop;
    assert.ok(steps.some(({ detail }) => detail.includes('the flow table is full')));
    const counts = new Map<string, number>();
    for (let n = 0; n < 1000; n++) {
      const name = open({ from: `10.1.${n >> 8}.${n & 255}`, sport: 5000 + n });
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    assert.equal(counts.size, NAMES.length);
    for (const [name, count] of counts) assert.ok(count > 80, `${name} got ${count} of 1000`);
    assert.equal(size(A), 1000);
  });

  it('chooses the same member on another engine of the group, whose table is full as well', () => {
    const { A, B, open, goOn, send, forget, fill, network } = site();
    fill(A);
    fill(B);
    const flows = [...Array(12).keys()].map((n): Flow => ({ from: '10.0.0.9', sport: 7000 + n }));
    const names = flows.map((flow) => open(flow, A));
    A.isDead = true;
    // Members beside the dead engine are out of reach in this network.
    const others = flows.filter((_flow, n) => names[n]![0] !== 'a');
    assert.ok(others.length > 0);
    for (const flow of others) send(flow, 'PA', B);
    // Peers are asked first; nobody claims those of members beside B, where there was no room either.
    network.pass(400);
    forget();
    for (const flow of others) assert.equal(goOn(flow, 'PA', B), names[flows.indexOf(flow)]);
  });

  it('does not change the member when there is room again, and gives the flow a record', () => {
    const { A, open, goOn, fill, send, forget, network } = site();
    fill();
    const flows = [...Array(6).keys()].map(
      (n): Flow => ({
        from: '10.0.0.9',
        sport: 7000 + n,
        ...(n % 2 === 0 ? { protocol: 'udp' as const } : {}),
      }),
    );
    const names = flows.map((flow) => open(flow));
    for (let n = 0; n < 8; n++) send({ from: '10.0.0.250', sport: 1024 + n }, 'RA');
    forget();
    network.pass(7000);
    assert.ok(size(A) < 8);
    for (const [n, flow] of flows.entries()) assert.equal(goOn(flow), names[n]);
    assert.ok(size(A) > 0);
    assert.deepEqual(
      A.dataplane
        .flows(ALL_FLOWS)
        .flows.map(({ vm }) => vm)
        .sort(),
      [...names].sort(),
    );
    for (const [n, flow] of flows.entries()) assert.equal(goOn(flow), names[n]);
  });

  it('lets the firewall judge each packet, and nothing that it denies reaches a member', () => {
    const firewall = (action: 'allow' | 'deny'): GraphComponent => ({
      type: 'firewall',
      policy: 'edge',
      defaultAction: 'allow',
      rules: [{ name: 'one', action, from: ['10.0.0.9/32'], protocol: 'any' }],
    });
    const { A, open, send, reached, fill, engines } = site({
      services: hashing([firewall('allow'), BALANCER]),
    });
    fill();
    const flow: Flow = { from: '10.0.0.9', sport: 7000 };
    open(flow);
    for (const [id, engine] of Object.entries(engines))
      engine.dataplane.load(
        graphFor(id, { revision: 2, maxFlows: 8, services: hashing([firewall('deny'), BALANCER]) }),
      );
    for (const flags of ['PA', 'A', 'S', 'FA', 'RA']) {
      send(flow, flags);
      assert.equal(reached(), null, flags);
    }
    assert.equal(dropped(A, 'firewall-deny'), 5);
    open({ from: '10.0.0.10', sport: 7000 });
  });

  it('keeps the members of flows without a record when another one comes', () => {
    const { engines, open, goOn, fill } = site({ without: ['c2'] });
    fill();
    const flows = [...Array(30).keys()].map((n): Flow => ({ from: '10.0.0.9', sport: 7000 + n }));
    const names = flows.map((flow) => open(flow));
    for (const [id, engine] of Object.entries(engines))
      engine.dataplane.load(graphFor(id, { revision: 2, maxFlows: 8, services: hashing() }));
    for (const [n, flow] of flows.entries()) assert.equal(goOn(flow), names[n]);
  });

  it('begins no flow at a member that drains or is down, and moves datagrams away from one that is down', () => {
    const { A, open, goOn, fill } = site();
    fill();
    const flows = [...Array(12).keys()].map(
      (n): Flow => ({ from: '10.0.0.9', sport: 7000 + n, protocol: 'udp' }),
    );
    const names = flows.map((flow) => open(flow));
    const gone = names[0]!;
    A.dataplane.applyHealth('web', { [`cloud/${gone}/nic0`]: false });
    flows.forEach((flow, n) => {
      const name = goOn(flow);
      if (names[n] === gone) assert.notEqual(name, gone);
      else assert.equal(name, names[n]);
    });
    for (let n = 0; n < 20; n++) assert.notEqual(open({ from: '10.0.0.10', sport: 8000 + n }), gone);
  });

  it('tells answers of a member for two addresses of a service apart, and refuses what it could not', () => {
    const { A, network, client, open, fill, send, reached } = site();
    fill();
    const flow: Flow = { from: '10.0.0.9', sport: 7000 };
    // Until both addresses have the same member for the same client's port.
    const name = open(flow);
    for (let sport = 7000; sport < 7200; sport++) {
      if (sport !== 7000) send({ from: '10.0.0.9', sport }, 'S');
      const first = sport === 7000 ? { name, sport } : seenBy(reached());
      network.emit(client, {
        from: '10.0.0.9',
        to: memberIp('a1'),
        sport,
        dport: 8080,
        flags: 'S',
        toMac: memberMac('a1'),
      });
      const second = reached();
      if (second === null) {
        assert.ok(dropped(A, 'flow-table-full') > 0);
        return;
      }
      assert.notDeepEqual(seenBy(second), first, 'one member, one client port, two connections');
    }
    assert.fail('the same member was never chosen twice');
  });

  it('leaves answers of connections past the services alone', () => {
    const { A, network, hosts, client, fill, open } = site();
    fill();
    open({ from: '10.0.0.9', sport: 7000 });
    const direct = { from: '10.0.0.9', to: memberIp('a2'), sport: 9000, dport: 80, toMac: memberMac('a2') };
    network.emit(client, { ...direct, flags: 'S' });
    assert.equal(hosts.a2!.one().dport, 80);
    const reply = { from: memberIp('a2'), to: '10.0.0.9', sport: 80, dport: 9000, toMac: client.mac };
    network.emit(hosts.a2!, { ...reply, flags: 'SA' });
    assert.equal(client.one().from, memberIp('a2'));
    network.emit(hosts.a2!, { ...reply, flags: 'PA' });
    assert.equal(client.one().from, memberIp('a2'));
    assert.equal(size(A), 8);
  });

  it('keeps a client at one member where the service does, with records and without', () => {
    const { open, fill } = site({
      services: hashing([
        {
          type: 'load-balancer',
          method: 'topological',
          persistence: { type: 'source-address', timeoutMs: 60_000 },
        },
      ]),
    });
    const name = open({ from: '10.0.0.9', sport: 7000 });
    fill();
    for (let n = 1; n < 10; n++) assert.equal(open({ from: '10.0.0.9', sport: 7000 + n }), name);
  });

  it('goes on where so many flows are without a record that notes are forgotten', () => {
    const { A, client, hosts, network, open, goOn, fill, send, forget } = site({
      services: hashing([BALANCER], true),
    });
    fill();
    const flows = [...Array(6000).keys()].map(
      (n): Flow => ({ from: `10.2.${n >> 8}.${n & 255}`, sport: 5000 }),
    );
    const names = flows.map((flow) => open(flow));
    for (let n = 0; n < flows.length; n += 500) {
      const { from, sport } = flows[n]!;
      const host = hosts[names[n]!]!;
      // Its answer is translated, noted or not.
      network.emit(host, {
        from: memberIp(names[n]!),
        to: from,
        sport: 80,
        dport: sport,
        flags: 'PA',
        toMac: client.mac,
      });
      assert.equal(client.one().from, VIP);
      // What is not noted is asked about first, and TCP repeats itself.
      send(flows[n]!, 'PA');
      network.pass(400);
      forget();
      assert.equal(goOn(flows[n]!), names[n]);
    }
    assert.equal(dropped(A, 'flow-table-full'), 0);
  });
});

/** A member and the client port that it saw. */
function seenBy(to: { name: string; frame: Seen } | null): { name: string; sport: number } | null {
  return to === null ? null : { name: to.name, sport: to.frame.sport };
}
