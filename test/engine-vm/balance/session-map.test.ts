/** The session map: who wins, what is published, what ends, and what a new graph does to it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SessionMap } from '../../../src/engine-vm/balance/session-map.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { graphOf, memberOf } from './graph.ts';

const TIMEOUT_MS = 60_000;
const A = 0;
const B = 1;

function graph(vms = ['a', 'b']): ServiceGraph {
  return graphOf(
    vms.map((vm) => memberOf(vm)),
    [
      {
        type: 'load-balancer',
        method: 'round-robin',
        persistence: { type: 'source-address', timeoutMs: TIMEOUT_MS },
      },
    ],
  );
}

function sessions(capacity = 64): { map: SessionMap; scope: number } {
  const map = new SessionMap(capacity, 'e2');
  map.load(graph());
  return { map, scope: map.scopeOf(0, 0) };
}

describe('session map', () => {
  it('finds the member that a client had until the session times out', () => {
    const { map, scope } = sessions();
    map.set(scope, 0, 0, 0xffff, 7, B, 1000, 5000);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 1000 + TIMEOUT_MS - 1), B);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 1000 + TIMEOUT_MS), -1);
    assert.equal(map.find(scope, 0, 0, 0xffff, 8, 1000), -1);
    map.set(scope, 0, 0, 0xffff, 7, B, 2000, 6000);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 1000 + TIMEOUT_MS), B);
  });

  it('does not care whether address words are signed', () => {
    const { map, scope } = sessions();
    map.set(scope, 0, 0, 0xffff, 0xc0a80001 | 0, B, 0, 0);
    assert.equal(map.find(scope, 0, 0, 0xffff, 0xc0a80001, 1), B);
  });

  it('asks to publish a new or moved session at once, a used one once a second', () => {
    const { map, scope } = sessions();
    const set = (member: number, now: number) => map.set(scope, 0, 0, 0xffff, 7, member, now, now);
    assert.deepEqual(
      [set(A, 0), set(A, 500), set(A, 999), set(A, 1000), set(B, 1001), set(B, 1500), set(B, 2001)],
      [true, false, false, true, true, false, true],
    );
  });

  it('lets the later of two writers win, then the greater engine id', () => {
    const { map, scope } = sessions();
    map.set(scope, 0, 0, 0xffff, 7, A, 10, 1000);
    const remote = (member: string, time: number, engine: string) =>
      map.applyRemote('shop', 0, 0, 0xffff, 7, member, time, engine, 20);
    assert.equal(remote('lab/b/0', 999, 'e9'), false);
    assert.equal(remote('lab/b/0', 1000, 'e1'), false);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 20), A);
    assert.equal(remote('lab/b/0', 1000, 'e9'), true);
    assert.equal(remote('lab/b/0', 1000, 'e9'), false);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 20), B);
    assert.equal(remote('lab/a/0', 2000, 'e1'), true);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 20), A);
  });

  it('moves a session even if the clock of the last writer ran ahead', () => {
    const { map, scope } = sessions();
    map.applyRemote('shop', 0, 0, 0xffff, 7, 'lab/a/0', 600_000, 'e9', 0);
    assert.equal(map.set(scope, 0, 0, 0xffff, 7, B, 10, 1000), true);
    assert.equal(map.timeOf(scope, 0, 0, 0xffff, 7), 600_001);
  });

  it('comes to the same result on every engine, in whatever order the writes arrive', () => {
    const write = fc.record({
      client: fc.nat(2),
      vm: fc.constantFrom('a', 'b'),
      time: fc.nat(4),
      engine: fc.constantFrom('e1', 'e3', 'e4'),
    });
    fc.assert(
      // One engine writes one value at one time.
      fc.property(
        fc
          .uniqueArray(write, { selector: (w) => `${w.client} ${w.time} ${w.engine}`, maxLength: 20 })
          .chain((writes) =>
            fc.tuple(
              fc.constant(writes),
              fc.shuffledSubarray(writes, { minLength: writes.length, maxLength: writes.length }),
            ),
          ),
        ([one, other]) => {
          const outcome = (writes: typeof one) => {
            const { map, scope } = sessions();
            for (const w of [...writes, ...writes.slice(0, 3)]) {
              map.applyRemote('shop', 0, 0, 0xffff, w.client, `lab/${w.vm}/0`, w.time, w.engine, 0);
            }
            return [0, 1, 2].map((client) => map.find(scope, 0, 0, 0xffff, client, 1));
          };
          assert.deepEqual(outcome(one), outcome(other));
        },
      ),
    );
  });

  it('keeps a session that this engine has used when another engine ends its own', () => {
    const { map, scope } = sessions();
    map.applyRemote('shop', 0, 0, 0xffff, 7, 'lab/a/0', 1, 'e9', 0);
    map.applyRemote('shop', 0, 0, 0xffff, 8, 'lab/a/0', 1, 'e9', 0);
    map.set(scope, 0, 0, 0xffff, 8, A, 10, 10);
    map.removeRemote('shop', 0, 0, 0xffff, 7);
    map.removeRemote('shop', 0, 0, 0xffff, 8);
    map.removeRemote('unknown', 0, 0, 0xffff, 8);
    assert.equal(map.find(scope, 0, 0, 0xffff, 7, 11), -1);
    assert.equal(map.find(scope, 0, 0, 0xffff, 8, 11), A);
  });

  it('frees ended sessions in slices', () => {
    const { map, scope } = sessions(64);
    for (let client = 0; client < 40; client++)
      map.set(scope, 0, 0, 0xffff, client, A, client < 30 ? 0 : 50, 0);
    let ended = 0;
    for (let slice = 0; slice < 4; slice++) ended += map.expire(TIMEOUT_MS, 16);
    assert.equal(ended, 30);
    assert.equal(map.size, 10);
  });

  it('holds no more than its capacity, and gives up the longest unused of a few', () => {
    const { map, scope } = sessions(32);
    for (let client = 0; client < 1000; client++) map.set(scope, 0, 0, 0xffff, client, A, client, client);
    assert.equal(map.size, 32);
    assert.equal(map.evictions, 968);
    assert.equal(map.find(scope, 0, 0, 0xffff, 999, 1000), A);
    assert.equal(map.find(scope, 0, 0, 0xffff, 0, 1000), -1);
  });

  it('keeps sessions over a graph that reorders members, and over the absence of one', () => {
    const { map, scope } = sessions();
    map.set(scope, 0, 0, 0xffff, 7, B, 0, 0);
    map.load(graph(['b', 'c', 'a']));
    assert.equal(map.find(map.scopeOf(0, 0), 0, 0, 0xffff, 7, 1), 0);
    map.load(graph(['c', 'a']));
    assert.equal(map.find(map.scopeOf(0, 0), 0, 0, 0xffff, 7, 1), -1);
    map.load(graph(['c', 'a', 'b']));
    assert.equal(map.find(map.scopeOf(0, 0), 0, 0, 0xffff, 7, 1), 2);
  });

  it('keeps sessions that arrive before the graph that names them', () => {
    const map = new SessionMap(64, 'e2');
    map.applyRemote('shop', 0, 0, 0xffff, 7, 'lab/b/0', 1, 'e9', 0);
    map.load(graph());
    assert.equal(map.find(map.scopeOf(0, 0), 0, 0, 0xffff, 7, 1), B);
  });

  it('keeps the tiers of a service apart', () => {
    const pool = [{ member: 0, weight: 1, isDraining: false }];
    const two = graphOf([memberOf('a'), memberOf('b')], graph().services[0].components, [
      pool,
      [{ member: 1, weight: 1, isDraining: false }],
    ]);
    const map = new SessionMap(64, 'e2');
    map.load(two);
    map.set(map.scopeOf(0, 0), 0, 0, 0xffff, 7, A, 0, 0);
    map.set(map.scopeOf(0, 1), 0, 0, 0xffff, 7, B, 0, 0);
    assert.equal(map.find(map.scopeOf(0, 0), 0, 0, 0xffff, 7, 1), A);
    assert.equal(map.find(map.scopeOf(0, 1), 0, 0, 0xffff, 7, 1), B);
    assert.equal(map.scopeName(map.scopeOf(0, 0)), 'shop');
    assert.equal(map.scopeName(map.scopeOf(0, 1)), 'shop.db');
  });

  it('agrees with a plain map under any sequence of uses', () => {
    const step = fc.record({
      client: fc.nat(12),
      member: fc.nat(1),
      kind: fc.constantFrom('set', 'remove', 'expire'),
      wait: fc.nat(TIMEOUT_MS / 3),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { map, scope } = sessions(16);
        const model = new Map<number, { member: number; usedAt: number }>();
        let now = 0;
        for (const { client, member, kind, wait } of steps) {
          now += wait;
          if (kind === 'set') {
            map.set(scope, 0, 0, 0xffff, client, member, now, now);
            model.set(client, { member, usedAt: now });
          } else if (kind === 'remove') {
            map.remove(scope, 0, 0, 0xffff, client);
            model.delete(client);
          } else map.expire(now, 16);
          for (let each = 0; each <= 12; each++) {
            const known = model.get(each);
            const expected = known && now - known.usedAt < TIMEOUT_MS ? known.member : -1;
            assert.equal(map.find(scope, 0, 0, 0xffff, each, now), expected);
          }
        }
      }),
    );
  });
});
