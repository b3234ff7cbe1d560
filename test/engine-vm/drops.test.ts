import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DROPS, dropIndex } from '../../src/engine-vm/drops.ts';

describe('drops', () => {
  it('are documented, each with its meaning, and no others', () => {
    const page = readFileSync(new URL('../../docs/drops.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `([a-z-]+)` \| (.+) \|$/gm)].map(([, name, meaning]) => [
      name,
      meaning,
    ]);
    assert.deepEqual(
      rows,
      DROPS.map(([name, meaning]) => [name, meaning]),
      'run: npm run docs',
    );
  });

  it('have an index each', () => {
    DROPS.forEach(([name], index) => {
      assert.equal(dropIndex(name), index);
    });
    assert.equal(new Set(DROPS.map(([name]) => name)).size, DROPS.length);
  });
});
