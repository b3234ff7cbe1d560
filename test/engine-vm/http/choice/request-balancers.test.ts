/** The methods of balancing by request: each against its definition, evaluated over all members. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { hashText, mix } from '../../../../src/engine-vm/balance/hash.ts';
import { createBalancer } from '../../../../src/engine-vm/balance/registry.ts';
import { DECAY_MS } from '../../../../src/engine-vm/http/choice/quickest.ts';
import { createRequestBalancer } from '../../../../src/engine-vm/http/choice/registry.ts';
import type {
  BalancedMembers,
  RequestBalancer,
} from '../../../../src/engine-vm/http/choice/request-balancer.ts';
import { BALANCING_METHODS } from '../../../../src/policy/balancing-methods.ts';
import { candidatesOf } from '../../balance/candidates.ts';

function membersOf(weights: readonly number[]): BalancedMembers {
  return {
    weights: Float64Array.from(weights),
    ids: Uint32Array.from(weights, (_, n) => hashText(`m${n}`)),
  };
}

function opened(method: (typeof BALANCING_METHODS)[number], weights: readonly number[]): RequestBalancer {
  const balancer = createRequestBalancer(method, membersOf(weights));
  for (let n = 0; n < weights.length; n++) balancer.share(n, 1);
  return balancer;
}

const weightsOf = (most: number) => fc.array(fc.nat(most), { minLength: 1, maxLength: 12 });

/** A change of one member: its share, or a request that ends. */
const steps = fc.array(
  fc.record({ position: fc.nat(11), isOpen: fc.option(fc.boolean()), source: fc.nat(0xffff_ffff) }),
  { maxLength: 80 },
);

describe('every method of balancing by request', () => {
  for (const method of BALANCING_METHODS) {
    it(`${method} chooses a member that takes requests and has a weight, or -1 where there is none`, () => {
      fc.assert(
        fc.property(weightsOf(3), steps, (weights, changes) => {
          const balancer = createRequestBalancer(method, membersOf(weights));
          const isOpen = weights.map(() => false);
          const active = weights.map(() => 0);
          let nowMs = 0;
          for (const change of changes) {
            const position = change.position % weights.length;
            if (change.isOpen !== null) {
              isOpen[position] = change.isOpen;
              balancer.share(position, change.isOpen ? 1 : 0);
            } else if (active[position]! > 0) {
              balancer.answered?.(position, change.source % 100, ++nowMs);
              balancer.loaded(position, --active[position]!);
            }
            const chosen = balancer.choose(change.source);
            assert.equal(
              chosen >= 0,
              weights.some((weight, n) => weight > 0 && isOpen[n]),
            );
            if (chosen < 0) continue;
            assert.ok(isOpen[chosen] && weights[chosen]! > 0);
            balancer.loaded(chosen, ++active[chosen]!);
          }
        }),
        { numRuns: method === 'maglev' || method === 'source-hash' ? 20 : 200 },
      );
    });

    it(`${method} goes on where it was with the members of a reload`, () => {
      const weights = [1, 1, 1, 1];
      const plain = opened(method, weights);
      const before = opened(method, weights);
      const ask = (balancer: RequestBalancer, n: number): number => {
        const chosen = balancer.choose(mix(n));
        balancer.answered?.(chosen, 5 + chosen, n);
        return chosen;
      };
      for (let n = 1; n < 30; n++) assert.equal(ask(before, n), ask(plain, n));
      const after = createRequestBalancer(method, membersOf(weights));
      after.adopt(before, Int32Array.from([0, 1, 2, 3]));
      for (let n = 0; n < 4; n++) after.share(n, 1);
      for (let n = 30; n < 60; n++) assert.equal(ask(after, n), ask(plain, n));
    });
  }
});

describe('least-connections by request', () => {
  it('chooses what a walk over all members chooses', () => {
    fc.assert(
      fc.property(weightsOf(1), steps, (weights, changes) => {
        const balancer = opened('least-connections', weights);
        const model = createBalancer('least-connections');
        const candidates = candidatesOf(weights.map((weight) => ({ weight })));
        for (const { position: any, isOpen } of changes) {
          const position = any % weights.length;
          if (isOpen !== null) {
            balancer.share(position, isOpen ? 1 : 0);
            candidates.usable[position] = isOpen ? 1 : 0;
          } else if (candidates.connections[position]! > 0) {
            balancer.loaded(position, --candidates.connections[position]!);
          }
          const chosen = balancer.choose(0);
          assert.equal(chosen, model.choose(candidates, 0, false));
          if (chosen >= 0) balancer.loaded(chosen, ++candidates.connections[chosen]!);
        }
      }),
    );
  });

  it('gives a member with a tenth of its share a tenth of the requests under way', () => {
    const balancer = opened('least-connections', [1, 1]);
    balancer.share(1, 0.1);
    const active = [0, 0];
    for (let n = 0; n < 110; n++) {
      const chosen = balancer.choose(0);
      balancer.loaded(chosen, ++active[chosen]!);
    }
    assert.deepEqual(active, [100, 10]);
  });
});

describe('turns', () => {
  it('come one after the other, and to nobody twice while others wait', () => {
    const balancer = opened('round-robin', [5, 1, 3]);
    const chosen = Array.from({ length: 7 }, () => balancer.choose(0));
    assert.deepEqual(chosen, [0, 1, 2, 0, 1, 2, 0]);
  });

  it('by weight give each member exactly its weight in every round, evenly spread', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), (weights) => {
        const balancer = opened('weighted-round-robin', weights);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const seen = weights.map(() => [] as number[]);
        for (let turn = 0; turn < 3 * total; turn++) {
          seen[balancer.choose(0)]!.push(turn);
          if ((turn + 1) % total !== 0) continue;
          assert.deepEqual(
            seen.map((turns) => turns.length),
            weights.map((weight) => (weight * (turn + 1)) / total),
          );
        }
        for (const [n, turns] of seen.entries()) {
          const longest = Math.max(...turns.slice(1).map((turn, at) => turn - turns[at]!));
          assert.ok(longest <= total / weights[n]! + weights.length, `${longest} of ${weights.join()}`);
        }
      }),
    );
  });

  it('are not made up for by a member that comes back', () => {
    const balancer = opened('weighted-round-robin', [2, 1, 1]);
    balancer.share(0, 0);
    for (let n = 0; n < 1000; n++) balancer.choose(0);
    balancer.share(0, 1);
    const counts = [0, 0, 0];
    for (let n = 0; n < 40; n++) counts[balancer.choose(0)]!++;
    assert.ok(Math.abs(counts[0]! - 20) <= 2, counts.join());
    balancer.share(0, 0.5);
    counts.fill(0);
    for (let n = 0; n < 30; n++) counts[balancer.choose(0)]!++;
    assert.ok(Math.abs(counts[0]! - 10) <= 1, counts.join());
  });

  it('stay exact for ever', () => {
    const balancer = opened('weighted-round-robin', [3, 0]);
    // Each turn is a third of a round: far beyond where times are counted from anew.
    for (let n = 0; n < 3_500_000; n++) balancer.choose(0);
    balancer.share(1, 1);
    assert.equal(balancer.choose(0), 0);
  });
});

describe('hashes by request', () => {
  const count = 50;
  const sources = Array.from({ length: 5000 }, (_, n) => mix(n));

  it('move only the clients of members that take none, spread over the others, and back', () => {
    const balancer = opened('source-hash', new Array<number>(count).fill(1));
    const before = sources.map((source) => balancer.choose(source));
    for (const gone of [3, 17, 42]) balancer.share(gone, 0);
    const moved = new Map<number, number>();
    for (const [n, source] of sources.entries()) {
      const now = balancer.choose(source);
      if (![3, 17, 42].includes(before[n]!)) assert.equal(now, before[n]);
      else moved.set(now, (moved.get(now) ?? 0) + 1);
    }
    assert.ok(moved.size > 40, `moved to ${moved.size} members`);
    for (const gone of [3, 17, 42]) balancer.share(gone, 1);
    assert.deepEqual(
      sources.map((source) => balancer.choose(source)),
      before,
    );
  });

  it('find the one member that is left', () => {
    const balancer = opened('maglev', new Array<number>(count).fill(1));
    for (let n = 0; n < count; n++) if (n !== 29) balancer.share(n, 0);
    for (const source of sources) assert.equal(balancer.choose(source), 29);
  });
});

describe('the quickest', () => {
  const events = fc.array(
    fc.record({
      position: fc.nat(7),
      ms: fc.double({ min: 0.1, max: 5000, noNaN: true }),
      afterMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
    }),
    { maxLength: 120 },
  );

  for (const method of ['least-response-time', 'peak-ewma'] as const) {
    it(`${method} has the least mean x (requests + 1), by the means as defined`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 8 }), events, (count, list) => {
          const balancer = opened(method, new Array<number>(count).fill(1));
          const means = new Array<number>(count).fill(0);
          const heard = new Array<number>(count).fill(0);
          const active = new Array<number>(count).fill(0);
          let nowMs = 0;
          for (const { position: any, ms, afterMs } of list) {
            nowMs += afterMs;
            const decay = (n: number): number => means[n]! * Math.exp((heard[n]! - nowMs) / DECAY_MS);
            const position = any % count;
            const old = decay(position);
            const kept = Math.exp((heard[position]! - nowMs) / DECAY_MS);
            const isWhole = means[position] === 0 || (method === 'peak-ewma' && ms > old);
            means[position] = isWhole ? ms : old + ms * (1 - kept);
            heard[position] = nowMs;
            balancer.answered!(position, ms, nowMs);
            const chosen = balancer.choose(0);
            const costs = active.map((requests, n) =>
              means[n] === 0 ? requests * 1e100 : decay(n) * (requests + 1),
            );
            assert.ok(costs[chosen]! <= Math.min(...costs) * (1 + 1e-6), `${costs.join()} gave ${chosen}`);
            balancer.loaded(chosen, ++active[chosen]!);
          }
        }),
      );
    });
  }

  it('by peak leaves a member that became slow at once, and tries it again later', () => {
    const balancer = opened('peak-ewma', [1, 1]);
    for (let nowMs = 1; nowMs < 1000; nowMs++) for (const n of [0, 1]) balancer.answered!(n, 2, nowMs);
    balancer.answered!(0, 500, 1000);
    balancer.loaded(1, 100);
    assert.equal(balancer.choose(0), 1);
    // 500 ms decay below 202 ms in 0.9 of the decay, while the other goes on at 2 ms.
    for (let nowMs = 1001; nowMs < 1000 + 0.95 * DECAY_MS; nowMs++) balancer.answered!(1, 2, nowMs);
    assert.equal(balancer.choose(0), 0);
  });

  it('asks a member of which nothing is known once, and then waits', () => {
    const balancer = opened('least-response-time', [1, 1]);
    balancer.answered!(0, 3, 1);
    assert.equal(balancer.choose(0), 1);
    balancer.loaded(1, 1);
    for (let n = 1; n < 50; n++) {
      assert.equal(balancer.choose(0), 0);
      balancer.loaded(0, n);
    }
    balancer.answered!(1, 1, 2);
    assert.equal(balancer.choose(0), 1);
  });
});

describe('topological, by request', () => {
  it('takes the least C x (1 + H): of (20,0), (4,3), (5,1) the third, and of idle members the nearest', () => {
    const hops = Float64Array.of(0, 3, 1);
    const balancer = createRequestBalancer('topological', { ...membersOf([1, 1, 1]), hops });
    for (let n = 0; n < 3; n++) balancer.share(n, 1);
    assert.equal(balancer.choose(0), 0);
    for (const [n, active] of [20, 4, 5].entries()) balancer.loaded(n, active);
    assert.equal(balancer.choose(0), 2);
    balancer.loaded(0, 0);
    balancer.loaded(2, 0);
    assert.equal(balancer.choose(0), 0);
  });
});
