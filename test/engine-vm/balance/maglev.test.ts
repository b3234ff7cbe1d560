/** Maglev against an oracle that follows the paper's own words, and how often the table is built. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { hashText, mix } from '../../../src/engine-vm/balance/hash.ts';
import { MAGLEV_TABLE_SIZE, Maglev } from '../../../src/engine-vm/balance/maglev.ts';
import { candidatesOf, type Row } from './candidates.ts';

/**
 * Section 3.4 of the paper, literally: permutation[i][j] = (offset + j x skip) mod M, backends take turns to claim
 * their next preferred empty entry; here a weight is how much of a turn a backend has each time round. BigInt
 * arithmetic and whole permutations, to share nothing with the code under test but the two hashes.
 */
function oracle(names: { id: string; weight: number }[]): string[] {
  const M = BigInt(MAGLEV_TABLE_SIZE);
  const backends = names
    .filter((name) => name.weight > 0)
    .map((name) => {
      const hash = hashText(name.id);
      const offset = BigInt(mix(hash ^ 0x3c6ef372)) % M;
      const skip = (BigInt(mix(hash ^ 0x5be0cd19)) % (M - 1n)) + 1n;
      return { ...name, hash, offset, skip, j: 0n, fraction: 0 };
    })
    .sort((a, b) => a.hash - b.hash);
  const heaviest = Math.max(...backends.map((backend) => backend.weight));
  const entry: (string | undefined)[] = new Array(MAGLEV_TABLE_SIZE);
  let n = 0;
  while (true) {
    for (const backend of backends) {
      backend.fraction += backend.weight;
      if (backend.fraction < heaviest) continue;
      backend.fraction -= heaviest;
      let c = Number((backend.offset + backend.j * backend.skip) % M);
      while (entry[c] !== undefined) {
        backend.j += 1n;
        c = Number((backend.offset + backend.j * backend.skip) % M);
      }
      entry[c] = backend.id;
      backend.j += 1n;
      n++;
      if (n === MAGLEV_TABLE_SIZE) return entry as string[];
    }
  }
}

/** A source hash for every entry of the table, found once by trying. */
function sourcesByEntry(): Float64Array {
  const sources = new Float64Array(MAGLEV_TABLE_SIZE).fill(-1);
  let found = 0;
  for (let source = 0; found < MAGLEV_TABLE_SIZE; source++) {
    const entry = mix(source) % MAGLEV_TABLE_SIZE;
    if (sources[entry] < 0) {
      sources[entry] = source;
      found++;
    }
  }
  return sources;
}

describe('maglev', () => {
  it('builds the table that the paper describes', function () {
    this.timeout(60_000);
    const sources = sourcesByEntry();
    const member = fc.record({ id: fc.string({ minLength: 1, maxLength: 12 }), weight: fc.nat(7) });
    fc.assert(
      fc.property(
        fc.uniqueArray(member, { minLength: 1, maxLength: 9, selector: (row) => hashText(row.id) }),
        (rows) => {
          fc.pre(rows.some((row) => row.weight > 0));
          const balancer = new Maglev();
          const candidates = candidatesOf(rows);
          const expected = oracle(rows);
          for (let entry = 0; entry < MAGLEV_TABLE_SIZE; entry++) {
            const position = balancer.choose(candidates, sources[entry], false);
            if (rows[position].id !== expected[entry]) {
              assert.fail(`entry ${entry}: ${rows[position].id}, the oracle says ${expected[entry]}`);
            }
          }
        },
      ),
      { numRuns: 8 },
    );
  });

  it('rebuilds only when the usable set or a weight changes', () => {
    const rows: Row[] = Array.from({ length: 200 }, () => ({}));
    const candidates = candidatesOf(rows);
    const balancer = new Maglev();
    balancer.choose(candidates, 1, false);
    const startedAt = performance.now();
    for (let flow = 0; flow < 2000; flow++) {
      candidates.connections[flow % 200]++;
      balancer.choose(candidates, flow, false);
    }
    // 2,000 rebuilds would take seconds.
    assert.ok(performance.now() - startedAt < 500);
    const before = balancer.choose(candidates, 7, false);
    candidates.usable[before] = 0;
    const after = balancer.choose(candidates, 7, false);
    assert.notEqual(after, before);
    candidates.usable[before] = 1;
    assert.equal(balancer.choose(candidates, 7, false), before);
  });
});
