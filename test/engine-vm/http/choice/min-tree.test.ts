/** The tree of minima against a walk over all keys. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MinTree } from '../../../../src/engine-vm/http/choice/min-tree.ts';

const key = fc.oneof(fc.nat(4), fc.constant(Number.POSITIVE_INFINITY));

describe('the tree of minima', () => {
  it('finds the first of the least keys behind any position', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 37 }),
        fc.array(fc.record({ position: fc.nat(36), key, last: fc.integer({ min: -1, max: 36 }) }), {
          maxLength: 60,
        }),
        (count, steps) => {
          const tree = new MinTree(count);
          const keys = new Array<number>(count).fill(Number.POSITIVE_INFINITY);
          for (const step of steps) {
            const position = step.position % count;
            const last = Math.min(step.last, count - 1);
            tree.set(position, step.key);
            keys[position] = step.key;
            assert.equal(tree.get(position), step.key);
            const least = Math.min(...keys);
            let expected = -1;
            for (let n = 1; n <= count && expected < 0; n++) {
              const at = (last + n) % count;
              if (keys[at] === least && least < Number.POSITIVE_INFINITY) expected = at;
            }
            assert.equal(tree.least(last), expected);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('has none where there are no members', () => {
    assert.equal(new MinTree(0).least(-1), -1);
  });
});
