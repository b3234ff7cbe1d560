import assert from 'node:assert/strict';
import { ControlCodec, nameHash } from '../../../src/engine-vm/dataplane/control.ts';
import { PORT_IN, PORT_OUT } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { formatAddress } from '../../../src/packet/address.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { arp, frame, neighbour } from '../../packet/frames.ts';
import {
  ALL_FLOWS,
  BALANCER,
  dataIp,
  engineMac,
  type GraphParts,
  graphFor,
  type Host,
  memberIp,
  memberMac,
  NAMES,
  type Network,
  OWNED,
  type Seen,
  settled,
  type TestEngine,
  VIP,
  VIP6,
} from './network.ts';

const CLIENT = '10.0.0.9';

function receivers(hosts: Record<string, Host>): { name: string; seen: Seen }[] {
  return NAMES.flatMap((name) => hosts[name]!.take().map((seen) => ({ name, seen })));
}

/** Only this member takes new flows, as far as the engine knows. */
function onlyUp(engine: TestEngine, up: string): void {
  engine.dataplane.applyHealth(
    'web',
    Object.fromEntries(NAMES.map((name) => [`cloud/${name}/nic0`, name === up])),
  );
}

function who(network: Network, client: Host): string[] {
  client.take();
  network.send(client, arp({ operation: 1, fromMac: client.mac, sender: CLIENT, target: VIP }));
  return client.take().map((seen) => seen.fromMac);
}

describe('telling switches where members are', () => {
  const all = { ...Object.fromEntries(NAMES.map((name) => [name, name[0]!.toUpperCase()])) };

  it('says in the name of each member that comes to stand behind the engine, three times, and never again', () => {
    const { network, engines } = settled();
    network.reverseRequests.length = 0;
    const engineOf = { ...all, b1: 'A' };
    engines.A!.dataplane.load(graphFor('A', { engineOf, revision: 2 }));
    network.pass(2000);
    assert.deepEqual(network.reverseRequests, Array(3).fill(memberMac('b1')), 'nobody else is announced');
    engines.A!.dataplane.load(graphFor('A', { engineOf, revision: 3 }));
    network.pass(2000);
    assert.equal(network.reverseRequests.length, 3, 'a new graph alone is no news');
  });

  it('says nothing more of one that has left meanwhile', () => {
    const { network, engines } = settled();
    network.reverseRequests.length = 0;
    engines.A!.dataplane.load(graphFor('A', { engineOf: { ...all, b1: 'A' }, revision: 2 }));
    network.pass(100);
    engines.A!.dataplane.load(graphFor('A', { revision: 3 }));
    network.pass(2000);
    assert.deepEqual(network.reverseRequests, [memberMac('b1')]);
  });
});

describe('announcing', () => {
  it('answers ARP and solicitations at one engine on the production side, at each for its own members', () => {
    const { network, engines, hosts, client } = settled();
    assert.deepEqual(who(network, client), [engineMac('A')]);
    assert.deepEqual(engines.A!.dataplane.ownedAddresses(), [VIP, VIP6]);
    network.send(
      client,
      neighbour({
        fromMac: client.mac,
        toMac: '33:33:ff:00:01:00',
        from: 'fd00::9',
        to: 'ff02::1:ff00:100',
        target: VIP6,
      }),
    );
    const answer = client.one();
    assert.deepEqual([answer.fromMac, answer.from, answer.packet.icmpType], [engineMac('A'), VIP6, 136]);
    network.send(
      hosts.b1!,
      arp({ operation: 1, fromMac: memberMac('b1'), sender: memberIp('b1'), target: VIP }),
    );
    assert.equal(hosts.b1!.one().fromMac, engineMac('B'));
    assert.equal(client.take().length + receivers(hosts).length, 0, 'the request goes no further');
  });

  it('moves to the next engine when the owner dies, tells it three times, and moves back', () => {
    const { network, engines, client } = settled();
    engines.A!.isDead = true;
    network.pass(480);
    assert.equal(client.take().length, 0);
    network.pass(1000);
    const told = client.take().filter((seen) => seen.packet.etherType === 0x0806);
    assert.deepEqual(
      told.map((seen) => seen.fromMac),
      [engineMac('B'), engineMac('B'), engineMac('B')],
    );
    assert.deepEqual(who(network, client), [engineMac('B')]);
    network.restart(engines.A!);
    engines.A!.isDead = false;
    engines.A!.dataplane.load(graphFor('A'));
    network.pass(900);
    assert.deepEqual(who(network, client), [engineMac('B')], 'a recovered engine takes its time');
    network.pass(300);
    assert.deepEqual(who(network, client), [engineMac('A')]);
    assert.deepEqual(engines.B!.dataplane.ownedAddresses(), []);
  });

  it('is taken up again within a second by an engine that begins anew before anybody missed it', () => {
    const parts = { deadAfterMs: 30_000 };
    const { network, engines, client } = settled(parts);
    assert.deepEqual(who(network, client), [engineMac('A')]);
    network.restart(engines.A!);
    engines.A!.dataplane.load(graphFor('A', parts));
    network.pass(1100);
    assert.deepEqual(who(network, client), [engineMac('A')]);
    assert.deepEqual(engines.B!.dataplane.ownedAddresses(), []);
  });

  it('gives its addresses up after standing still, and never takes peers for dead because of that', () => {
    const { network, engines, client } = settled();
    engines.A!.isDead = true;
    network.pass(60_000, 50);
    assert.deepEqual(who(network, client), [engineMac('B')]);
    engines.A!.isDead = false;
    engines.A!.dataplane.tick();
    assert.deepEqual(engines.A!.dataplane.ownedAddresses(), []);
    assert.equal(engines.A!.dataplane.peers().B!.isAlive, true);
    network.pass(2000);
    assert.deepEqual(who(network, client), [engineMac('A')]);
  });

  it('refuses a member that claims an announced address', () => {
    const { network, engines, hosts, client } = settled();
    network.send(hosts.b1!, arp({ operation: 1, fromMac: memberMac('b1'), sender: VIP, target: VIP }));
    network.send(
      hosts.b1!,
      arp({ operation: 2, fromMac: memberMac('b1'), toMac: client.mac, sender: VIP, target: CLIENT }),
    );
    assert.equal(client.take().length, 0);
    assert.equal(engines.B!.dataplane.counters().drops['spoofed-address'], 2);
  });
});

describe('probes', () => {
  it('tell who lives, and whether the protected side does', () => {
    const { network, engines, hosts } = settled();
    const seen = () => engines.A!.dataplane.peers();
    assert.deepEqual([seen().B!.isAlive, seen().B!.isInsideAlive], [true, true]);
    assert.ok(seen().B!.silentMs <= 100);
    hosts.b1!.isAnsweringArp = false;
    network.pass(2000);
    assert.equal(seen().B!.isInsideAlive, true, 'one of two still answers');
    hosts.b2!.isAnsweringArp = false;
    network.pass(2000);
    assert.deepEqual([seen().B!.isAlive, seen().B!.isInsideAlive], [true, false]);
    engines.B!.isDead = true;
    network.pass(700);
    assert.deepEqual([seen().B!.isAlive, seen().B!.isInsideAlive], [false, null]);
    assert.ok(seen().B!.silentMs >= 500);
  });

  it('are refused without the key, replayed as answers, or from inside', () => {
    const { network, engines } = settled();
    const A = engines.A!;
    const recorded: Uint8Array[] = [];
    const receive = A.dataplane.receive.bind(A.dataplane);
    A.dataplane.receive = (port, buffer, start, length) => {
      if (buffer[start + 12] === 0x88 && buffer[start + 13] === 0xb5) recorded.push(Uint8Array.from(buffer));
      receive(port, buffer, start, length);
    };
    network.pass(200);
    const answers = recorded.filter((bytes) => bytes[HEADROOM + 16] === 2);
    assert.ok(answers.length > 0);
    network.pass(1000);
    const before = A.dataplane.counters().drops['control-invalid'] ?? 0;
    network.inject(A, PORT_OUT, answers[0]!);
    assert.equal(A.dataplane.counters().drops['control-invalid'], before + 1, 'replayed');
    const forged = Uint8Array.from(recorded.at(-1)!);
    forged[HEADROOM + 14 + 12]! ^= 1;
    network.inject(A, PORT_OUT, forged);
    const inside = Uint8Array.from(recorded.at(-1)!);
    inside.set([2, 0xaa, 0, 0, 0, 1], HEADROOM + 6);
    network.inject(A, PORT_IN, inside);
    assert.equal(A.dataplane.counters().drops['control-invalid'], before + 3);
  });
});

describe('a long flow', () => {
  function established(parts: GraphParts, member: string) {
    const world = settled(parts);
    const { network, engines, hosts, client } = world;
    for (const engine of Object.values(engines)) onlyUp(engine, member);
    const send = (flags: string, toMac = engineMac('A'), payload = '') =>
      network.emit(client, { from: CLIENT, to: VIP, sport: 77, dport: 8080, flags, toMac, payload });
    send('S');
    const seen = hosts[member]!.one();
    const answer = (flags: string) =>
      network.emit(hosts[member]!, {
        from: memberIp(member),
        to: seen.from,
        sport: 80,
        dport: seen.sport,
        flags,
        toMac: seen.from === CLIENT ? client.mac : seen.fromMac,
      });
    answer('SA');
    client.take();
    send('A');
    hosts[member]!.take();
    return { ...world, send, answer, seen };
  }

  it('survives the death of its entry engine: the member’s engine claims it', () => {
    const { network, engines, hosts, client, send, answer } = established({}, 'c1');
    engines.A!.isDead = true;
    network.pass(1500);
    client.take();
    for (const engine of Object.values(engines)) onlyUp(engine, 'b1');
    send('PA', engineMac('B'), 'one');
    assert.equal(hosts.c1!.one().dport, 80, 'delivered by the engine that claims it');
    send('PA', engineMac('B'), 'two');
    const second = hosts.c1!.one();
    assert.equal(second.fromMac, engineMac('B'));
    answer('A');
    assert.equal(client.one().from, VIP);
    assert.equal(engines.B!.dataplane.flows(ALL_FLOWS).flows[0]!.vm, 'c1');
    assert.deepEqual(engines.C!.dataplane.connectionReport().local, { 'cloud/c1/nic0': 1 });
  });

  it('survives when its address comes back to a recovered engine, also where it is translated both ways', () => {
    const { network, engines, hosts, client, send, answer } = established({ engineOf: { c1: null } }, 'c1');
    // The flow lives at A; the address moves to B although A lives on.
    send('PA', engineMac('B'), 'one');
    assert.equal(hosts.c1!.one().from, dataIp('A'));
    send('PA', engineMac('B'), 'two');
    const seen = hosts.c1!.one();
    assert.deepEqual([seen.from, seen.fromMac], [dataIp('A'), engineMac('A')]);
    answer('A');
    const reply = client.one();
    assert.deepEqual([reply.from, reply.toMac], [VIP, client.mac]);
    assert.equal(engines.B!.dataplane.flows(ALL_FLOWS).flows[0]!.kind, 'remote');
    network.pass(10);
  });

  it('survives with a cut-off first packet when frames bear offloads', () => {
    const { network, hosts, client } = established({}, 'c1');
    const big = {
      from: CLIENT,
      to: VIP,
      sport: 77,
      dport: 8080,
      flags: 'A',
      toMac: engineMac('B'),
      payload: 'x'.repeat(3000),
      isPartial: true,
    };
    network.emit(client, big);
    assert.equal(hosts.c1!.take().length, 0, 'TCP will send it again');
    network.emit(client, big);
    assert.equal(hosts.c1!.one().packet.isChecksumPartial, true);
  });

  it('is reset where nobody claims it', () => {
    const { network, engines, client } = settled();
    const send = () =>
      network.emit(client, {
        from: CLIENT,
        to: VIP,
        sport: 5,
        dport: 8080,
        flags: 'A',
        ack: 42,
        toMac: engineMac('A'),
      });
    send();
    assert.equal(client.take().length, 0);
    network.pass(320);
    send();
    const reset = client.one();
    assert.deepEqual([reset.flags, reset.packet.view.getUint32(reset.packet.l4 + 4)], ['R', 42]);
    assert.equal(engines.A!.dataplane.counters().drops['no-flow'], 1);
  });

  it('goes on to the VM that owns the address, where it began before the engine came in line', () => {
    const { network, hosts, client } = settled();
    const bytes = frame({
      from: CLIENT,
      to: OWNED,
      sport: 5,
      dport: 8080,
      flags: 'A',
      fromMac: client.mac,
      toMac: memberMac('a1'),
    });
    network.send(client, bytes);
    network.pass(320);
    network.send(client, bytes);
    assert.deepEqual(hosts.a1!.one().bytes, bytes);
  });

  it('finds its member again through the session map', () => {
    const persistent = { ...BALANCER, persistence: { type: 'source-address' as const, timeoutMs: 60_000 } };
    const { network, engines, hosts, client } = settled({ components: [persistent] });
    network.emit(client, { from: CLIENT, to: VIP, sport: 5, dport: 8080, toMac: engineMac('A') });
    const [{ name }] = receivers(hosts) as [{ name: string; seen: Seen }];
    const [session, ...more] = network.sessions;
    assert.deepEqual(session, {
      service: 'shop',
      client: CLIENT,
      member: `cloud/${name}/nic0`,
      time: 1_700_000_000_000 + network.now,
      engine: 'A',
    });
    assert.equal(more.length, 0);
    const known = { member: 'cloud/c2/nic0', time: 1_800_000_000_000, engine: 'C' };
    engines.B!.dataplane.applySession('shop', CLIENT, known);
    network.emit(client, { from: CLIENT, to: VIP, sport: 6, dport: 8080, flags: 'A', toMac: engineMac('B') });
    assert.equal(hosts.c2!.one().dport, 80);
  });

  it('has one member everywhere where two engines chose in the same millisecond', () => {
    const persistent = { ...BALANCER, persistence: { type: 'source-address' as const, timeoutMs: 60_000 } };
    const { network, engines, hosts, client } = settled({ components: [persistent] });
    onlyUp(engines.A!, 'a1');
    onlyUp(engines.B!, 'b1');
    for (const [sport, toMac] of [
      [5, engineMac('A')],
      [6, engineMac('B')],
    ] as const) {
      network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, toMac });
    }
    receivers(hosts);
    const [atA, atB] = network.sessions;
    assert.equal(atA!.time, atB!.time);
    for (const { service, member, time, engine } of network.sessions) {
      for (const other of network.engines) {
        if (other.id === engine) continue;
        other.dataplane.applySession(service, CLIENT, { member, time, engine });
      }
    }
    for (const id of ['A', 'B', 'C']) {
      engines[id]!.dataplane.applyHealth('web', {});
      const toMac = engineMac(id);
      network.emit(client, { from: CLIENT, to: VIP, sport: 7, dport: 8080, toMac });
      assert.deepEqual(
        receivers(hosts).map(({ name }) => name),
        ['b1'],
        `through ${id}`,
      );
    }
  });

  it('is adopted by the member’s engine after its restart, and nothing untranslated leaks meanwhile', () => {
    const { network, engines, hosts, client, send, answer } = established({}, 'c1');
    network.restart(engines.C!);
    engines.C!.dataplane.load(graphFor('C'));
    answer('PA');
    assert.equal(client.take().length, 0);
    assert.equal(engines.C!.dataplane.counters().drops.settling, 1);
    send('A');
    assert.equal(hosts.c1!.one().dport, 80);
    answer('PA');
    assert.equal(client.one().from, VIP);
    send('A');
    network.pass(15_000, 100);
    assert.deepEqual(engines.C!.dataplane.connectionReport().local, { 'cloud/c1/nic0': 1 });
  });
});

describe('a connection whose entry engine is its member’s too', () => {
  /** A connection through A to a1 beside it, that has lived for a while. */
  function replicated(lifeMs = 1000) {
    const world = settled();
    const { network, engines, hosts, client } = world;
    onlyUp(engines.A!, 'a1');
    const send = (flags: string, via: string, spec: { isPartial?: boolean; payload?: string } = {}) =>
      network.emit(client, {
        from: CLIENT,
        to: VIP,
        sport: 77,
        dport: 8080,
        flags,
        toMac: engineMac(via),
        ...spec,
      });
    const answer = (flags: string) =>
      network.emit(hosts.a1!, {
        from: memberIp('a1'),
        to: CLIENT,
        sport: 80,
        dport: 77,
        flags,
        toMac: client.mac,
      });
    send('S', 'A');
    answer('SA');
    send('A', 'A');
    network.pass(lifeMs);
    hosts.a1!.take();
    client.take();
    let revision = 1;
    /** What the controller makes of members behind A: attached to an engine, or bypassed. */
    const attach = (engine: string | null, ids = ['A', 'B', 'C']) => {
      revision++;
      for (const id of ids) {
        engines[id]!.dataplane.load(graphFor(id, { engineOf: { a1: engine, a2: engine }, revision }));
        // Nobody else takes new flows, so that nothing is mistaken for a way back.
        onlyUp(engines[id]!, 'none');
      }
      engines.A!.members.splice(0, 2);
      for (const name of ['a1', 'a2']) {
        hosts[name]!.engine = engine === null ? null : engines[engine]!;
        if (engine !== null) engines[engine]!.members.push(hosts[name]!);
      }
    };
    const die = () => {
      engines.A!.isDead = true;
      attach(null, ['B', 'C']);
      network.pass(1500);
      client.take();
    };
    const comeBack = () => {
      network.restart(engines.A!);
      engines.A!.isDead = false;
      engines.A!.dataplane.load(graphFor('A'));
      attach('A');
      network.pass(100);
    };
    const resets = () => client.take().filter(({ flags }) => flags.includes('R')).length;
    return { ...world, send, answer, attach, die, comeBack, resets };
  }

  it('waits at the peer that takes the address over, and goes on when the engine is back', () => {
    const { network, engines, hosts, client, send, answer, die, comeBack, resets } = replicated();
    die();
    send('PA', 'B');
    network.pass(3000);
    send('PA', 'B');
    assert.equal(resets(), 0);
    hosts.a1!.take();
    comeBack();
    answer('PA');
    assert.equal(client.take().length, 0, 'an answer does not leak before the client is seen again');
    send('PA', 'B');
    assert.deepEqual([hosts.a1!.one().to, engines.A!.dataplane.counters().flows], [memberIp('a1'), 1]);
    answer('PA');
    assert.deepEqual(
      client.take().map(({ from, flags }) => [from, flags]),
      [[VIP, 'AP']],
    );
    assert.deepEqual(engines.A!.dataplane.connectionReport().local, { 'cloud/a1/nic0': 1 });
  });

  it('is found by the restarted engine itself, which asks its peers', () => {
    for (const spec of [{}, { isPartial: true, payload: 'get' }]) {
      const { network, hosts, client, send, answer, die, comeBack, resets } = replicated();
      die();
      comeBack();
      network.pass(2000);
      client.take();
      send('PA', 'A', spec);
      assert.ok(hosts.a1!.take().length >= 1, 'the peer delivers the very packet that it was asked with');
      answer('PA');
      assert.equal(client.one().from, VIP);
      send('PA', 'A');
      assert.equal(hosts.a1!.one().to, memberIp('a1'));
      assert.equal(resets(), 0);
    }
  });

  it('is found by the restarted engine while its members are still bypassed', () => {
    const { network, engines, hosts, client, send, attach, die, resets } = replicated();
    die();
    network.restart(engines.A!);
    engines.A!.isDead = false;
    attach(null);
    network.pass(2000);
    send('PA', 'A');
    network.pass(400);
    send('PA', 'A');
    assert.equal(resets(), 0);
    attach('A');
    hosts.a1!.take();
    send('PA', 'A');
    assert.equal(hosts.a1!.one().to, memberIp('a1'));
    assert.equal(engines.A!.dataplane.counters().drops['control-invalid'], undefined);
    client.take();
  });

  it('is reset where its member stays bypassed for ten seconds', () => {
    const { network, send, die, resets } = replicated();
    die();
    send('PA', 'B');
    network.pass(9000);
    send('PA', 'B');
    assert.equal(resets(), 1);
    for (const via of ['B', 'C']) {
      send('PA', via);
      network.pass(400);
      send('PA', via);
      assert.equal(resets(), 1, `it is not taken up again by ${via}`);
    }
  });

  it('goes on at once where the member moved to a peer', () => {
    const { hosts, client, send, answer, attach, die } = replicated();
    die();
    attach('C', ['B', 'C']);
    hosts.a1!.take();
    send('PA', 'B');
    assert.equal(hosts.a1!.one().to, memberIp('a1'));
    answer('PA');
    assert.equal(client.one().from, VIP);
  });

  it('is not worth a word before it has lived for a quarter of a second, and is forgotten when it ends', () => {
    const short = replicated(200);
    short.die();
    const ended = replicated();
    ended.send('R', 'A');
    ended.network.pass(500);
    ended.die();
    for (const { network, send, resets } of [short, ended]) {
      send('PA', 'B');
      network.pass(400);
      send('PA', 'B');
      assert.equal(resets(), 1);
    }
  });

  it('is not mistaken for an earlier one with the same client port that its new engine has closed', () => {
    const world = replicated();
    const { network, engines, hosts, client, send, answer } = world;
    // The address was B's for a while: the earlier connection went through it, to b1.
    onlyUp(engines.B!, 'b1');
    send('R', 'A');
    network.pass(6000);
    for (const [flags, from] of [
      ['S', 'client'],
      ['SA', 'b1'],
      ['A', 'client'],
      ['FA', 'client'],
      ['FA', 'b1'],
    ] as const) {
      if (from === 'client') send(flags, 'B');
      else
        network.emit(hosts.b1!, {
          from: memberIp('b1'),
          to: CLIENT,
          sport: 80,
          dport: 77,
          flags,
          toMac: client.mac,
        });
    }
    send('S', 'A');
    answer('SA');
    send('A', 'A');
    network.pass(2000);
    for (const host of Object.values(hosts)) host.take();
    world.attach('C', ['B', 'C']);
    engines.A!.isDead = true;
    network.pass(500);
    for (const host of Object.values(hosts)) host.take();
    send('A', 'B');
    assert.deepEqual(
      receivers(hosts).map(({ name }) => name),
      ['b1'],
      'what bears no data may be of the earlier one',
    );
    network.pass(1100);
    for (const host of Object.values(hosts)) host.take();
    send('PA', 'B', { payload: 'get' });
    assert.deepEqual(
      receivers(hosts).map(({ name }) => name),
      ['a1'],
    );
  });

  it('costs few frames for many connections, sends nothing again soon, and takes nothing malformed', () => {
    const { network, engines, hosts, client } = settled();
    onlyUp(engines.A!, 'a1');
    const told: Uint8Array[] = [];
    for (const peer of [engines.B!, engines.C!]) {
      const receive = peer.dataplane.receive.bind(peer.dataplane);
      peer.dataplane.receive = (port, buffer, start, length) => {
        const isControl = buffer[start + 12] === 0x88 && buffer[start + 13] === 0xb5;
        if (isControl && buffer[start + 16] === 5) told.push(Uint8Array.from(buffer));
        receive(port, buffer, start, length);
      };
    }
    for (let sport = 100; sport < 400; sport++) {
      const toMac = engineMac('A');
      network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, flags: 'S', toMac });
      network.emit(hosts.a1!, {
        from: memberIp('a1'),
        to: CLIENT,
        sport: 80,
        dport: sport,
        flags: 'SA',
        toMac: client.mac,
      });
      network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, flags: 'A', toMac });
    }
    network.pass(1000);
    const entries =
      told.reduce((sum, bytes) => sum + bytes[HEADROOM + 34]! * 256 + bytes[HEADROOM + 35]!, 0) / 17;
    assert.equal(entries, 600, 'each peer hears of each connection once');
    assert.ok(told.length <= 40, `${told.length} frames`);
    told.length = 0;
    network.pass(10_000);
    assert.equal(told.length, 0);
    network.pass(6000);
    assert.ok(told.length > 0, 'what lives is told again');
    const cut = new ControlCodec(Buffer.alloc(32, 7), 'A');
    const bytes = new Uint8Array(HEADROOM + 128);
    const [high, low] = [0x02ee, 2];
    const length = cut.write(
      bytes,
      new DataView(bytes.buffer),
      HEADROOM,
      high,
      low,
      0x02ee,
      1,
      5,
      0,
      nameHash('B'),
      1,
      2,
      Uint8Array.of(0, 10, 0, 0, 9, 10),
    );
    network.inject(engines.B!, PORT_OUT, bytes.subarray(0, HEADROOM + length));
    assert.equal(engines.B!.dataplane.counters().drops['control-invalid'], 1);
  });
});

describe('a new graph', () => {
  it('keeps flows, follows members that move, and ends those that go', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!;
    const send = (sport: number, flags: string) =>
      network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, flags, toMac: A.mac });
    onlyUp(A, 'a1');
    send(1, 'S');
    assert.equal(hosts.a1!.take().length, 1);
    const moved = { engineOf: { a1: 'B', b1: 'A' }, revision: 2 };
    for (const id of ['A', 'B', 'C']) engines[id]!.dataplane.load(graphFor(id, moved));
    for (const [name, to] of [
      ['a1', 'B'],
      ['b1', 'A'],
    ] as const) {
      const host = hosts[name]!;
      const from = host.engine!;
      from.members.splice(from.members.indexOf(host), 1);
      host.engine = engines[to]!;
      engines[to]!.members.push(host);
    }
    assert.deepEqual(A.dataplane.connectionReport().local, {});
    send(1, 'A');
    assert.deepEqual([hosts.a1!.one().fromMac], [A.mac]);
    assert.deepEqual(engines.B!.dataplane.connectionReport().local, { 'cloud/a1/nic0': 1 });
    for (const [name, to] of [
      ['a1', 'A'],
      ['b1', 'B'],
    ] as const) {
      const host = hosts[name]!;
      const from = host.engine!;
      from.members.splice(from.members.indexOf(host), 1);
      host.engine = engines[to]!;
      engines[to]!.members.push(host);
    }
    for (const id of ['A', 'B', 'C'])
      engines[id]!.dataplane.load(graphFor(id, { revision: 3, maxFlows: 64 }));
    send(1, 'A');
    assert.equal(hosts.a1!.one().fromMac, client.mac);
    assert.deepEqual(A.dataplane.connectionReport().local, { 'cloud/a1/nic0': 1 });
    A.dataplane.load(graphFor('A', { without: ['a1'], revision: 4 }));
    assert.equal(A.dataplane.counters().flows, 0);
    assert.deepEqual(A.dataplane.connectionReport().local, {});
  });

  describe('with a bypassed member', () => {
    /** A connection through A to c1, whose engine then goes out of line. */
    function bypassed() {
      const world = settled();
      const { network, engines, hosts, client } = world;
      const A = engines.A!;
      onlyUp(A, 'c1');
      const send = (flags: string, sport = 1) =>
        network.emit(client, { from: CLIENT, to: VIP, sport, dport: 8080, flags, toMac: A.mac });
      send('S');
      send('A');
      send('S', 2);
      hosts.c1!.take();
      let revision = 1;
      const attach = (engine: string | null) => {
        revision++;
        const engineOf = { c1: engine, c2: engine };
        for (const id of ['A', 'B']) engines[id]!.dataplane.load(graphFor(id, { engineOf, revision }));
        for (const name of ['c1', 'c2']) {
          const host = hosts[name]!;
          host.engine = engine === null ? null : engines[engine]!;
          engines.C!.members.splice(0, 2, ...(engine === null ? [] : [hosts.c1!, hosts.c2!]));
        }
      };
      attach(null);
      return { ...world, A, send, attach };
    }

    it('keeps its connections for when it is in line again, and balances half-open ones anew', () => {
      const { network, engines, hosts, client, A, send, attach } = bypassed();
      assert.equal(A.dataplane.counters().flows, 1);
      network.pass(4000);
      attach(null);
      network.pass(5500);
      send('A');
      assert.equal(client.take().filter(({ flags }) => flags === 'R').length, 0);
      for (const host of Object.values(hosts)) host.take();
      attach('C');
      send('A');
      assert.equal(hosts.c1!.one().dport, 80);
      assert.deepEqual(engines.C!.dataplane.connectionReport().local['cloud/c1/nic0'], 2);
    });

    it('resets them where it stays away', () => {
      const { network, client, A, send, attach } = bypassed();
      network.pass(6000);
      attach(null);
      network.pass(4100);
      client.take();
      send('PA');
      assert.equal(client.one().flags.includes('R'), true);
      assert.equal(A.dataplane.counters().flows, 0);
      assert.equal(A.dataplane.counters().drops['no-flow'], 1);
    });
  });

  it('is refused whole where it contradicts itself, and the graph before stays in force', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!.dataplane;
    const broken: [RegExp, (graph: ReturnType<typeof graphFor>) => unknown][] = [
      [/no pool 7/, (graph) => Object.assign(graph.services[0]!.tiers[0]!, { pool: 7 })],
      [/no MAC/, (graph) => Object.assign(graph.members[0]!, { mac: 'x' })],
      [/no IPv4/, (graph) => Object.assign(graph.members[0]!, { ipv4: '10.0.0.256' })],
      [/32 bytes/, (graph) => Object.assign(graph.engine, { groupKey: '' })],
      [/another tier/, (graph) => graph.services.push({ ...graph.services[0]!, name: 'copy' })],
      [/load balancer/, (graph) => Object.assign(graph.services[1]!, { components: [] })],
      [/for engine B/, (graph) => Object.assign(graph.engine, { id: 'B' })],
      [
        /rule|prefix/i,
        (graph) => {
          graph.services[0]!.components.unshift({
            type: 'firewall',
            policy: 'p',
            rules: [{ name: 'r', action: 'deny', from: ['nonsense'], protocol: 'any' }],
            defaultAction: 'allow',
          });
        },
      ],
    ];
    for (const [message, damage] of broken) {
      const graph = structuredClone(graphFor('A', { revision: 9 }));
      if (message.source === 'for engine B') graph.peers = [];
      damage(graph);
      assert.throws(() => A.load(graph), message);
    }
    network.emit(client, { from: CLIENT, to: VIP, sport: 1, dport: 8080, toMac: engineMac('A') });
    assert.equal(receivers(hosts).length, 1);
  });
});

describe('trace, explain and flows', () => {
  it('tell both phases of a packet’s way and change nothing', () => {
    const { engines } = settled({
      components: [
        {
          type: 'firewall',
          policy: 'p',
          rules: [{ name: 'bad', action: 'deny', from: ['10.0.0.66/32'], protocol: 'any' }],
          defaultAction: 'allow',
        },
        BALANCER,
      ],
    });
    const A = engines.A!.dataplane;
    onlyUp(engines.A!, 'b1');
    const before = JSON.stringify([A.counters(), A.connectionReport()]);
    const question = { service: 'shop', from: CLIENT, fromPort: 5, to: VIP, port: 8080, balancedTo: null };
    const answer = A.trace(question);
    assert.equal(answer.packet, `tcp ${CLIENT}:5 > ${VIP}:8080`);
    assert.deepEqual(answer.next, { engine: 'B', member: 'cloud/b1/nic0' });
    assert.deepEqual(
      answer.hop.steps.map((step) => step.component),
      ['parse', 'flow-table', 'service', 'firewall', 'load-balancer', 'rewrite', 'send'],
    );
    const second = engines.B!.dataplane.trace({ ...question, balancedTo: 'cloud/b1/nic0' });
    assert.equal(second.outcome, 'delivered to b1');
    assert.equal(A.trace({ ...question, from: '10.0.0.66' }).outcome, 'dropped: firewall-deny');
    assert.equal(A.trace({ ...question, port: 1 }).outcome, 'dropped: not-a-service');
    assert.equal(A.trace({ ...question, to: '10.0.0.77' }).outcome, 'bridged');
    assert.equal(
      engines.C!.dataplane.trace({ ...question, balancedTo: 'cloud/b1/nic0' }).outcome,
      'dropped: not-local',
    );
    assert.throws(() => A.trace({ ...question, from: 'nobody' }), /not an IP address/);
    assert.equal(JSON.stringify([A.counters(), A.connectionReport()]), before);
  });

  it('explain the choice per tier, and list flows', () => {
    const { network, engines, hosts, client } = settled();
    const A = engines.A!.dataplane;
    const [explanation] = A.explain({ service: 'shop', from: CLIENT });
    assert.equal(explanation!.candidates.length, 6);
    network.emit(client, { from: CLIENT, to: VIP, sport: 5, dport: 8080, toMac: engineMac('A') });
    const [{ name }] = receivers(hosts) as [{ name: string; seen: Seen }];
    assert.equal(name, explanation!.choice);
    const [flow] = A.flows(ALL_FLOWS).flows;
    assert.deepEqual(
      [flow!.service, flow!.client, flow!.address, flow!.vm, flow!.state, flow!.packets],
      ['shop', `${CLIENT}:5`, `${VIP}:8080`, name, 'half-open', 1],
    );
    assert.equal(
      A.trace({ service: 'shop', from: CLIENT, fromPort: 5, to: VIP, port: 8080, balancedTo: null }).outcome,
      `delivered to ${name}`,
    );
    assert.throws(() => A.explain({ service: 'nothing', from: null }), /not in the graph/);
    assert.equal(formatAddress(0, 0, 0xffff, 0x0a000009), CLIENT);
  });

  it('choose the least topological load: (C,H) = (20,0), (4,3), (5,1) gives the third', () => {
    const { network, engines } = settled();
    const graph = graphFor('A', { revision: 2 });
    graph.pools[0]!.members = ['a1', 'b1', 'c1'].map((name) => ({
      member: NAMES.indexOf(name),
      weight: 1,
      isDraining: false,
    }));
    graph.members[NAMES.indexOf('b1')]!.hops = 3;
    const A = engines.A!.dataplane;
    A.load(graph);
    for (let sport = 1; sport <= 20; sport++) {
      network.inject(
        engines.A!,
        PORT_OUT,
        frame({
          from: CLIENT,
          to: memberIp('a1'),
          sport,
          dport: 80,
          fromMac: '02:cc:00:00:00:01',
          toMac: memberMac('a1'),
        }),
      );
    }
    A.applyConnections('B', { local: { 'cloud/b1/nic0': 4 }, sent: {}, received: {} });
    A.applyConnections('C', { local: { 'cloud/c1/nic0': 5 }, sent: {}, received: {} });
    const [explanation] = A.explain({ service: 'shop', from: null });
    assert.deepEqual(
      explanation!.candidates.map((candidate) => candidate.load),
      [20, 16, 10],
    );
    assert.equal(explanation!.choice, 'c1');
  });
});
