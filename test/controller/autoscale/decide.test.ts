/** The decision function: bounds, hysteresis, cooldowns, and what it makes of figures that are not known. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decide, pressureOf, type Situation } from '../../../src/controller/autoscale/decide.ts';
import { AutoscaleSpec } from '../../../src/policy/autoscale.ts';

const spec = (over: object = {}): AutoscaleSpec =>
  AutoscaleSpec.parse({ min: 2, max: 8, targets: { connectionsPerMember: 10 }, ...over });

/** Members that hold so many connections each; everything else allows a decision at once. */
const at = (connections: readonly (number | null)[], over: Partial<Situation> = {}): Situation => ({
  size: connections.length,
  coming: 0,
  leaving: 0,
  serving: connections.map((count) => ({ connections: count, cpuPercent: null })),
  distrust: null,
  highForMs: 3_600_000,
  lowForMs: 3_600_000,
  sinceOutMs: 3_600_000,
  sinceInMs: 3_600_000,
  ...over,
});

describe('the size of a pool', () => {
  it('follows the load within its bounds', () => {
    const cases: [number[], number][] = [
      [[10, 10, 10], 3],
      [[11, 11, 11], 3],
      [[12, 12, 12], 4],
      [[18, 18, 18], 5],
      [[200, 200, 200], 5],
      [[6, 6, 6], 2],
      [[7, 7, 7], 3],
      [[0, 0, 0], 2],
      [[0, 0], 2],
      [[90, 90, 90, 90, 90, 90, 90, 90], 8],
    ];
    for (const [connections, expected] of cases) {
      assert.equal(decide(spec(), at(connections)).target, expected, connections.join(' '));
    }
  });

  it('waits until the load has lasted, and after the last change', () => {
    const high = [30, 30];
    const low = [1, 1, 1, 1];
    assert.match(decide(spec(), at(high, { highForMs: 5000 })).reason, /grows after 10 s more of this/);
    assert.match(decide(spec(), at(high, { sinceOutMs: 50_000 })).reason, /may again in 10 s/);
    assert.match(decide(spec(), at(low, { lowForMs: 299_000 })).reason, /shrinks after 1 s more/);
    assert.match(decide(spec(), at(low, { sinceInMs: 0 })).reason, /may shrink in 5 min/);
    assert.match(
      decide(spec(), at(low, { sinceOutMs: 1000 })).reason,
      /may shrink in 5 min/,
      'a growth counts too',
    );
    for (const situation of [at(high, { highForMs: 5000 }), at(low, { sinceInMs: 0 })]) {
      assert.equal(decide(spec(), situation).target, situation.size);
    }
  });

  it('takes nothing away on figures that cannot be relied on, and still grows on those there are', () => {
    assert.match(
      decide(spec(), at([0, 0, 0], { distrust: 'engine e1 is silent' })).reason,
      /engine e1 is silent/,
    );
    assert.equal(decide(spec(), at([0, 0, 0], { distrust: 'x' })).target, 3);
    assert.equal(
      decide(spec(), at([0, 0, null])).target,
      2,
      'one that is unknown counts as busy: two are enough',
    );
    assert.equal(decide(spec(), at([5, 5, null])).target, 3, 'here it might not be');
    assert.equal(decide(spec(), at([40, null, null])).target, 4, 'what is known is too much for three');
    assert.equal(decide(spec(), at([null, null, null])).target, 3);
    assert.match(decide(spec(), at([null, null])).reason, /nobody knows/);
  });

  it('counts clones that are on their way, and does not ask for them twice', () => {
    assert.equal(decide(spec(), at([20, 20], { size: 4, coming: 2 })).target, 4);
    assert.equal(decide(spec(), at([30, 30], { size: 4, coming: 2 })).target, 6);
    assert.equal(
      decide(spec(), at([0, 0, 0], { size: 4, coming: 1 })).target,
      4,
      'and takes none away meanwhile',
    );
  });

  it('makes up for members that are down, which carry nothing', () => {
    assert.equal(decide(spec(), at([15, 15], { size: 4 })).target, 5);
  });

  it('asks the target that wants most, and shrinks only where every one allows it', () => {
    const both = spec({ targets: { connectionsPerMember: 10, cpuPercent: 50 } });
    const load = (connections: number, cpuPercent: number | null) =>
      at([], { size: 4, serving: Array.from({ length: 4 }, () => ({ connections, cpuPercent })) });
    assert.equal(decide(both, load(1, 80)).target, 6);
    assert.equal(decide(both, load(20, 10)).target, 6);
    assert.equal(decide(both, load(1, 45)).target, 4);
    assert.equal(decide(both, load(1, null)).target, 4);
    assert.equal(decide(both, load(1, 10)).target, 3);
  });

  it('is what a person says, or what the bounds say, at once', () => {
    const soon = { highForMs: 0, lowForMs: 0, sinceInMs: 0, sinceOutMs: 0 };
    assert.equal(decide(spec({ size: 6 }), at([0, 0, 0], soon)).target, 6);
    assert.equal(decide(spec(), at([0], soon)).target, 2);
    assert.equal(decide(spec({ max: 2 }), at([99, 99, 99], soon)).target, 2);
    assert.equal(decide(AutoscaleSpec.parse({ min: 3, max: 3 }), at([0, 0], soon)).target, 3);
  });

  it('stays within its bounds whatever the figures', () => {
    const member = fc.record({
      connections: fc.option(fc.integer({ min: 0, max: 1_000_000 })),
      cpuPercent: fc.option(fc.integer({ min: 0, max: 100 })),
    });
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 20 }),
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 0, max: 10 }),
        fc.integer({ min: 0, max: 400_000 }),
        fc.boolean(),
        (serving, down, coming, min, more, time, isTrusted) => {
          const policy = AutoscaleSpec.parse({
            min,
            max: min + more,
            targets: { connectionsPerMember: 10, cpuPercent: 60 },
          });
          const situation: Situation = {
            size: serving.length + down + coming,
            coming,
            leaving: 0,
            serving,
            distrust: isTrusted ? null : 'x',
            highForMs: time,
            lowForMs: time,
            sinceInMs: time,
            sinceOutMs: time,
          };
          const { target } = decide(policy, situation);
          assert.ok(target >= min && target <= min + more, `${target} members`);
          if (!isTrusted && situation.size <= min + more) assert.ok(target >= situation.size);
          const pressure = pressureOf(policy, situation);
          assert.ok(!(pressure.isHigh && pressure.isLow), 'it is not too few and too many at once');
        },
      ),
      { numRuns: 500 },
    );
  });

  it('comes to rest under a load that stays the same, and changes direction at most once on the way', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 200 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 0, max: 50 }),
        (load, start, target, tolerancePercent) => {
          const policy = AutoscaleSpec.parse({
            min: 1,
            max: 12,
            targets: { connectionsPerMember: target },
            tolerancePercent,
            scaleIn: { step: 3 },
            scaleOut: { step: 3 },
          });
          let size = start;
          let turns = 0;
          let direction = 0;
          for (let round = 0; round < 40; round++) {
            const share = Array.from(
              { length: size },
              (_, index) => Math.floor(load / size) + (index < load % size ? 1 : 0),
            );
            const next = decide(policy, at(share)).target;
            const sign = Math.sign(next - size);
            if (sign !== 0 && direction !== 0 && sign !== direction) turns++;
            if (sign !== 0) direction = sign;
            size = next;
          }
          assert.equal(turns, 0, `load ${load} on ${start} turned around ${turns} times`);
          const rest = Array.from(
            { length: size },
            (_, index) => Math.floor(load / size) + (index < load % size ? 1 : 0),
          );
          assert.equal(decide(policy, at(rest)).target, size, 'it rests');
        },
      ),
      { numRuns: 500 },
    );
  });
});
