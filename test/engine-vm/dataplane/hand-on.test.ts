/** Tiers of members that hand the same packet on: each tier sees each packet once, whatever hosts its members are on. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PORT_IN, PORT_OUT } from '../../../src/engine-vm/dataplane/dataplane.ts';
import type { GraphService } from '../../../src/policy/graph.ts';
import { frame } from '../../packet/frames.ts';
import {
  ALL_FLOWS,
  BALANCER,
  ENGINES,
  engineMac,
  type GraphParts,
  graphFor,
  type Host,
  memberIp,
  memberMac,
  NAMES,
  settled,
  VIP,
  VIP6,
} from './network.ts';

const CLIENT = { 4: '10.0.0.9', 6: 'fd00::9' } as const;

interface Tiers {
  /** Members by tier; those of all but the last hand packets on. */
  tiers: string[][];
  failMode?: 'open' | 'closed';
  protocol?: 'tcp' | 'udp';
  returnPath?: 'engine';
}

/** Loads graphs with a service whose tiers have these members. */
function site({ tiers, failMode = 'closed', protocol = 'tcp', returnPath }: Tiers, parts: GraphParts = {}) {
  const all = settled(parts);
  const { network, engines, hosts, client } = all;
  const drain = new Set<string>();
  let revision = 2;
  const load = (engineOf = parts.engineOf): void => {
    for (const id of ENGINES) {
      const graph = graphFor(id, { ...parts, ...(engineOf ? { engineOf } : {}) });
      const service: GraphService = {
        name: 'chained',
        protocol,
        components: [BALANCER],
        ...(returnPath ? { returnPath } : {}),
        tiers: tiers.map((_names, index) => ({
          name: `t${index}`,
          port: 8080,
          pool: index,
          addresses: index > 0 ? [] : [VIP, VIP6].map((address) => ({ address, announcers: [...ENGINES] })),
          ...(index < tiers.length - 1 ? { handsOn: { failMode } } : {}),
        })),
      };
      const pools = tiers.map((names, index) => ({
        name: `t${index}`,
        port: 80,
        healthMonitors: [],
        members: names.map((name) => ({
          member: NAMES.indexOf(name),
          weight: 1,
          isDraining: drain.has(name),
        })),
      }));
      engines[id]!.dataplane.load({ ...graph, revision, pools, services: [service] });
    }
    revision++;
    network.pass(100);
    for (const host of network.hosts) host.take();
  };
  load();
  const A = engines.A!;
  /** What each member got since the last call, and what members hand on until nobody has anything more to. */
  const handedOn = (): { name: string; seen: ReturnType<Host['one']> }[] => {
    const trail: { name: string; seen: ReturnType<Host['one']> }[] = [];
    for (let round = 0; round < 20; round++) {
      const got = NAMES.flatMap((name) =>
        hosts[name]!.take()
          .filter(({ packet }) => packet.l4 !== 0 || packet.isFragment)
          .map((seen) => ({ name, seen })),
      );
      if (got.length === 0) return trail;
      for (const { name, seen } of got) {
        trail.push({ name, seen });
        if (seen.to === VIP || seen.to === VIP6) handOn(name, seen);
      }
    }
    return assert.fail(`no end: ${trail.map(({ name }) => name).join(' ')}`);
  };
  /** A member sends on what it got, as a router does: with its own MAC, to that of the engine beside it. */
  const handOn = (name: string, seen: ReturnType<Host['one']>): void => {
    const { bytes, packet } = seen;
    const on = Uint8Array.from(bytes);
    const start = packet.start;
    on.set(
      engineMac(hosts[name]!.engine!.id)
        .split(':')
        .map((byte) => Number.parseInt(byte, 16)),
      start,
    );
    on.set(
      memberMac(name)
        .split(':')
        .map((byte) => Number.parseInt(byte, 16)),
      start + 6,
    );
    network.send(hosts[name]!, on);
  };
  const send = (flags: string, sport = 6000, ipVersion: 4 | 6 = 4) => {
    network.emit(client, {
      from: CLIENT[ipVersion],
      to: ipVersion === 4 ? VIP : VIP6,
      sport,
      dport: 8080,
      ...(protocol === 'tcp' ? { flags } : { protocol }),
      toMac: A.mac,
    });
    return handedOn();
  };
  const names = (trail: { name: string }[]) => trail.map(({ name }) => name);
  /** The member of the last tier answers the first packet. */
  const answer = (name: string) => {
    const back = { from: memberIp(name), to: CLIENT[4], sport: 80, dport: 6000, flags: 'SA' };
    network.emit(hosts[name]!, { ...back, toMac: client.mac });
    client.take();
  };
  return { ...all, A, drain, load, send, names, handedOn, handOn, answer };
}

const drops = (engine: { dataplane: { counters(): { drops: Record<string, number> } } }, reason: string) =>
  engine.dataplane.counters().drops[reason] ?? 0;

describe('tiers whose members hand the same packet on', () => {
  for (const version of [4, 6] as const) {
    for (const tiers of [
      [['a1'], ['a2']],
      [['a1'], ['b1']],
      [['b1'], ['a1']],
      [['b1'], ['c1']],
      [['b1'], ['b2']],
      [['b1'], ['c1'], ['b2']],
      [['a1'], ['a2'], ['b1'], ['b2'], ['c1']],
    ]) {
      it(`lets IPv${version} packets see ${tiers.join(', ')}, each once and in this order`, () => {
        const { client, hosts, network, send, names } = site({ tiers });
        const vip = version === 4 ? VIP : VIP6;
        const last = tiers.at(-1)![0]!;
        for (const flags of ['S', 'A', 'PA', 'PA']) {
          const trail = send(flags, 6000, version);
          assert.deepEqual(names(trail), tiers.flat());
          for (const { name, seen } of trail) {
            assert.equal(seen.toMac, memberMac(name));
            assert.deepEqual([seen.from, seen.sport], [CLIENT[version], 6000], 'the client is seen');
            if (name === last) assert.deepEqual([seen.to !== vip, seen.dport], [true, 80]);
            else assert.deepEqual([seen.to, seen.dport], [vip, 8080], 'nothing is translated');
          }
          if (flags !== 'S') continue;
          const { to } = trail.at(-1)!.seen;
          const back = { from: to, to: CLIENT[version], sport: 80, dport: 6000, toMac: client.mac };
          network.emit(hosts[last]!, { ...back, flags: 'SA' });
          const answer = client.one();
          assert.deepEqual([answer.from, answer.sport, answer.flags], [vip, 8080, 'SA']);
        }
      });
    }
  }

  const PAST_LAST = ['a1', 'b1'];

  it('takes what another member sends for a packet of a client, which no tier has seen', () => {
    const { hosts, network, send, names, handedOn, handOn } = site({ tiers: [['a1'], ['b1']] });
    const trail = send('S');
    assert.deepEqual(names(trail), PAST_LAST);
    handOn('a2', trail[0]!.seen);
    assert.deepEqual(names(handedOn()), PAST_LAST, 'it begins at the first tier');
    const unknown = { from: '10.0.0.77', to: VIP, sport: 7, dport: 8080, flags: 'S', toMac: engineMac('A') };
    network.emit(hosts.a1!, unknown);
    assert.deepEqual(names(handedOn()), PAST_LAST, 'so does a flow that the member was not given');
  });

  it('refuses markers of members, and packets that were handed on past their engine', () => {
    const { A, client, hosts, network, send, names, handedOn } = site({ tiers: [['a1'], ['b1']] });
    assert.deepEqual(names(send('S')), PAST_LAST);
    const packet = { from: CLIENT[4], to: VIP, sport: 6000, dport: 8080, flags: 'A' };
    for (const id of ['A', 'B']) {
      const before = drops(A, 'spoofed-peer');
      network.inject(A, PORT_IN, frame({ ...packet, fromMac: engineMac(id), toMac: memberMac('b1') }));
      assert.equal(drops(A, 'spoofed-peer'), before + 1);
    }
    network.inject(A, PORT_OUT, frame({ ...packet, fromMac: memberMac('a1'), toMac: engineMac('A') }));
    assert.equal(drops(A, 'handed-past'), 1);
    const B = engineMac('B');
    network.inject(A, PORT_OUT, frame({ ...packet, fromMac: B, toMac: memberMac('a2') }));
    assert.equal(drops(A, 'not-local'), 1, 'a2 is in no tier of the service');
    assert.deepEqual(handedOn(), []);
    assert.deepEqual([client.take(), hosts.b1!.take()], [[], []]);
  });

  it('counts the connection at the engine beside each member, until the client ends it', () => {
    const { engines, send, answer } = site({ tiers: [['b1'], ['c1']] });
    send('S');
    answer('c1');
    send('A');
    const local = (id: string) => engines[id]!.dataplane.connectionReport().local;
    assert.deepEqual(local('A'), {});
    assert.deepEqual(local('B'), { 'cloud/b1/nic0': 1 });
    assert.deepEqual(local('C'), { 'cloud/c1/nic0': 1 });
    const kinds = ['A', 'B', 'C'].map((id) =>
      engines[id]!.dataplane.flows(ALL_FLOWS)
        .flows.map(({ tier, kind, vm }) => `${tier} ${kind} ${vm}`)
        .sort(),
    );
    assert.deepEqual(kinds, [['t0 through b1'], ['t0 through b1', 't1 remote c1'], ['t1 local c1']]);
    send('R');
    for (const id of ENGINES) assert.deepEqual(local(id), {});
  });

  it('brings answers back through the last of the members that handed packets on, with returnPath engine', () => {
    for (const tiers of [
      [['a1'], ['a2']],
      [['b1'], ['c1']],
      [['a1'], ['b1'], ['c1']],
    ]) {
      const { client, hosts, network, send, names } = site({ tiers, returnPath: 'engine' });
      const [by, last] = tiers.flat().slice(-2);
      const trail = send('S');
      assert.deepEqual(names(trail), tiers.flat());
      const { from, sport } = trail.at(-1)!.seen;
      const engine = hosts[by!]!.engine!;
      const answer = { from: memberIp(last!), sport: 80, to: from, dport: sport, toMac: engine.mac };
      network.emit(hosts[last!]!, { ...answer, flags: 'SA' });
      const back = hosts[by!]!.one();
      assert.deepEqual([back.from, back.sport, back.to, back.dport], [VIP, 8080, CLIENT[4], 6000]);
      assert.deepEqual(client.take(), []);
      network.emit(hosts[by!]!, {
        from: VIP,
        to: CLIENT[4],
        sport: 8080,
        dport: 6000,
        flags: 'SA',
        toMac: client.mac,
      });
      assert.deepEqual([client.one().from, names(send('A'))], [VIP, tiers.flat()]);
    }
  });

  it('keeps the member of a flow, and spreads flows by topological load', () => {
    const { send, names, network } = site({ tiers: [['a1', 'b1'], ['c1']] });
    const first: string[] = [];
    for (let sport = 6000; sport < 6010; sport++) {
      const [name] = names(send('S', sport));
      first.push(name!);
      network.share();
      assert.deepEqual(names(send('A', sport)), [name, 'c1']);
    }
    assert.deepEqual([...new Set(first)].sort(), ['a1', 'b1']);
  });

  it('gives a connection another member where the one that handed it on fails', () => {
    for (const tier of [
      ['a1', 'a2'],
      ['b1', 'b2'],
      ['a1', 'b1'],
    ]) {
      const { engines, network, answer, send, names, handedOn } = site({ tiers: [tier, ['c1']] });
      const [down] = names(send('S'));
      answer('c1');
      assert.deepEqual(names(send('A')), [down, 'c1']);
      const [up] = tier.filter((name) => name !== down);
      const verdicts = Object.fromEntries(tier.map((name) => [`cloud/${name}/nic0`, name !== down]));
      for (const id of ENGINES) engines[id]!.dataplane.applyHealth('t0', verdicts);
      send('PA');
      network.pass(50);
      handedOn();
      assert.deepEqual(names(send('PA')), [up, 'c1'], `${down} is down`);
      assert.equal(drops(engines.A!, 'no-flow') + drops(engines.B!, 'no-flow'), 0);
    }
  });

  it('goes on where another engine becomes the entry in the middle of a connection', () => {
    for (const tiers of [
      [['b1'], ['c1']],
      [['a1'], ['c1']],
      [['a1'], ['b1']],
      [['c1'], ['c2'], ['b1']],
    ]) {
      const { client, network, send, names, handedOn, answer } = site({ tiers });
      assert.deepEqual(names(send('S')), tiers.flat());
      answer(tiers.at(-1)![0]!);
      assert.deepEqual(names(send('A')), tiers.flat());
      for (let i = 0; i < 3; i++) {
        const packet = { from: CLIENT[4], to: VIP, sport: 6000, dport: 8080, flags: 'PA' };
        network.emit(client, { ...packet, toMac: engineMac('B') });
        const trail = handedOn();
        // Two peers may know the connection that the first one is asked about, and both deliver it.
        const seen = i === 0 ? [...new Set(names(trail))] : names(trail);
        assert.deepEqual(seen, tiers.flat(), `packet ${i}`);
        assert.equal(trail.at(-1)!.seen.sport, 6000);
      }
      assert.deepEqual(client.take(), []);
    }
  });

  it('keeps the flows of a member that drains, and gives it no new ones', () => {
    const { send, names, answer, load, drain } = site({ tiers: [['a1', 'b1'], ['c1']] });
    assert.deepEqual(names(send('S')), ['a1', 'c1']);
    answer('c1');
    assert.deepEqual(names(send('A')), ['a1', 'c1']);
    drain.add('a1');
    load();
    assert.deepEqual(names(send('PA')), ['a1', 'c1']);
    assert.deepEqual(names(send('S', 6001)), ['b1', 'c1']);
  });

  it('traces a packet through each tier that is beside the engine, and to the next engine', () => {
    const { engines, send } = site({ tiers: [['a1'], ['b1'], ['b2']] });
    const ask = (id: string, balancedTo: string | null) =>
      engines[id]!.dataplane.trace({
        service: 'chained',
        from: CLIENT[4],
        fromPort: 6000,
        to: VIP,
        port: 8080,
        balancedTo,
      });
    for (const isKnown of [false, true]) {
      if (isKnown) send('S');
      const first = ask('A', null);
      assert.deepEqual(first.next, { engine: 'B', member: 'cloud/b1/nic0' });
      assert.match(JSON.stringify(first.hop.steps), /a1 hands the packet on to tier t1/);
      const second = ask('B', 'cloud/b1/nic0');
      assert.match(JSON.stringify(second.hop.steps), /b1 hands the packet on to tier t2/);
      assert.equal(second.outcome, 'delivered to b2');
    }
  });

  it('refuses, or passes by the tier, while none of its members is up', () => {
    for (const failMode of ['closed', 'open'] as const) {
      const { A, engines, network, answer, send, names, handedOn } = site({
        tiers: [['a1'], ['b1'], ['c1']],
        failMode,
      });
      assert.deepEqual(names(send('S', 6000)), ['a1', 'b1', 'c1']);
      answer('c1');
      send('A', 6000);
      const set = (pool: string, name: string, isUp: boolean) => {
        for (const id of ENGINES) engines[id]!.dataplane.applyHealth(pool, { [`cloud/${name}/nic0`]: isUp });
      };
      set('t0', 'a1', false);
      assert.deepEqual(names(send('S', 6001)), failMode === 'open' ? ['b1', 'c1'] : []);
      assert.equal(drops(A, 'no-member') > 0, failMode === 'closed');
      if (failMode === 'closed') continue;
      send('PA', 6000);
      network.pass(50);
      handedOn();
      assert.deepEqual(names(send('PA', 6000)), ['b1', 'c1'], 'connections too');
      set('t1', 'b1', false);
      assert.deepEqual(names(send('S', 6002)), ['c1']);
      send('PA', 6000);
      network.pass(50);
      handedOn();
      assert.deepEqual(names(send('PA', 6000)), ['c1']);
      set('t0', 'a1', true);
      set('t1', 'b1', true);
      assert.deepEqual(names(send('S', 6003)), ['a1', 'b1', 'c1']);
    }
  });

  it('asks for no member without an engine beside it', () => {
    const { A, send, names, load } = site({ tiers: [['a1', 'c1'], ['b1']] }, { engineOf: { c1: null } });
    for (let sport = 6000; sport < 6004; sport++) assert.deepEqual(names(send('S', sport)), ['a1', 'b1']);
    const [explanation] = A.dataplane.explain({ service: 'chained', from: null });
    assert.match(explanation!.candidates[1]!.reason, /no engine stands beside it/);
    load({ a1: null, c1: null });
    assert.deepEqual(names(send('S', 7000)), []);
  });

  it('does not give a member its own packets', () => {
    const { hosts, network, names, handedOn } = site({ tiers: [['a1'], ['b1']] });
    const own = { from: memberIp('a1'), to: VIP, sport: 7000, dport: 8080, toMac: engineMac('A') };
    for (const flags of ['S', 'S']) {
      network.emit(hosts.a1!, { ...own, flags });
      assert.deepEqual(names(handedOn()), ['b1']);
    }
  });

  it('takes later fragments the way of their first, from client and member alike', () => {
    for (const tiers of [
      [['a1'], ['a2']],
      [['b1'], ['c1']],
      [['a1'], ['b1'], ['c1']],
    ]) {
      const { client, network, names, handedOn } = site({ tiers, protocol: 'udp' });
      const spec = { from: CLIENT[4], to: VIP, sport: 6000, dport: 8080, protocol: 'udp' as const };
      const fragment = (offset: number, hasMore: boolean) =>
        network.emit(client, {
          ...spec,
          toMac: engineMac('A'),
          payload: new Uint8Array(64),
          fragment: { id: 9, offset, hasMore },
        });
      fragment(0, true);
      assert.deepEqual(names(handedOn()), tiers.flat());
      fragment(72, false);
      const trail = handedOn();
      assert.deepEqual(names(trail), tiers.flat());
      assert.notEqual(trail.at(-1)!.seen.to, VIP, 'translated at its end');
    }
  });

  it('leaves to the kernel what no other flow of the same key is entrusted with', () => {
    const { engines, answer, send, names } = site({ tiers: [['a1'], ['c1']] }, { hasSlots: true });
    send('S');
    answer('c1');
    for (let i = 0; i < 3; i++) assert.deepEqual(names(send('PA')), ['a1', 'c1']);
    const kernel = (id: string) =>
      engines[id]!.dataplane.flows(ALL_FLOWS)
        .flows.map(({ tier, kernel }) => `${tier} ${kernel}`)
        .sort();
    assert.deepEqual(kernel('A'), ['t0 forward', 't1 none']);
    assert.deepEqual(kernel('C'), ['t1 forward']);
  });

  it('never sends a packet in circles, whatever tiers, failures and graphs there are', () => {
    const tier = fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(tier, { minLength: 2, maxLength: 4 }),
        fc.constantFrom('open' as const, 'closed' as const),
        fc.array(
          fc.record({
            sport: fc.integer({ min: 6000, max: 6003 }),
            flags: fc.constantFrom('S', 'A', 'PA', 'FA', 'R'),
            down: fc.constantFrom(...NAMES),
            pool: fc.nat({ max: 3 }),
            isUp: fc.boolean(),
            isBypassed: fc.boolean(),
          }),
          { maxLength: 12 },
        ),
        (tiers, failMode, events) => {
          const { engines, send, load } = site({ tiers, failMode });
          for (const { sport, flags, down, pool, isUp, isBypassed } of events) {
            for (const id of ENGINES)
              engines[id]!.dataplane.applyHealth(`t${pool}`, { [`cloud/${down}/nic0`]: isUp });
            if (isBypassed) load({ [down]: null });
            // `send` itself fails where there is no end.
            assert.ok(send(flags, sport).length <= tiers.length * 2);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
