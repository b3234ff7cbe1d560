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

  it('do so through compression and the cache', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`      seed ${seed}`);
    const { messages, forwarded } = fuzz(20_000, seed, {
      compression: { minBytes: 0 },
      decompression: {},
      cache: { maxBytes: 2 ** 20, maxObjectBytes: 2 ** 18, purgeFrom: ['0.0.0.0/0'], cacheStatus: true },
    });
    assert.ok(messages >= 20_000 && forwarded > 1000, String(forwarded));
  });
});
