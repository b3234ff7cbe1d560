/** The sketch of names that come most often, beside exact counts. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MostSeen } from '../../../src/engine-vm/http/most-seen.ts';

describe('the names that come most often', () => {
  it('are never counted too low, too high by the least at most, and missed only where they are rare', () => {
    const names = fc.array(
      fc.nat(40).map((n) => `n${Math.floor((n * n) / 40)}`),
      { maxLength: 600 },
    );
    fc.assert(
      fc.property(names, fc.integer({ min: 1, max: 12 }), (list, capacity) => {
        const sketch = new MostSeen(capacity);
        const exact = new Map<string, number>();
        for (const name of list) {
          sketch.add(name);
          exact.set(name, (exact.get(name) ?? 0) + 1);
        }
        const found = sketch.list(capacity);
        const counts = Object.values(found);
        assert.ok(counts.length <= capacity);
        assert.equal(
          counts.reduce((sum, count) => sum + count, 0),
          list.length,
        );
        const least = Math.min(...counts);
        for (const [name, count] of Object.entries(found)) {
          assert.ok(count >= exact.get(name)! && count <= exact.get(name)! + least);
        }
        for (const [name, count] of exact) {
          if (count > list.length / capacity) assert.ok(found[name] !== undefined, name);
        }
      }),
    );
  });
});
