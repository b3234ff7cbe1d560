/** A short run of the fuzz; `npm run bench -- l7-fuzz` is the long one. */
import assert from 'node:assert/strict';
import { fuzz } from './fuzz-run.ts';

describe('mutated messages', () => {
  it('bring members no request that was not authorised, and lose no buffer', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`      seed ${seed}`);
    const { messages, forwarded, refused } = fuzz(20_000, seed);
    assert.ok(messages >= 20_000 && forwarded > 1000 && refused > 1000, `${forwarded} ${refused}`);
  });
});
