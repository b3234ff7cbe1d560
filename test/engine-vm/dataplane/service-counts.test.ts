/** Counts by service: whose they stay, and which of them show. */
import assert from 'node:assert/strict';
import { ServiceCounts } from '../../../src/engine-vm/dataplane/service-counts.ts';
import type { GraphService } from '../../../src/policy/graph.ts';

describe('counts of services', () => {
  const service = (name: string, synCookies?: 'auto' | 'always') => ({ name, synCookies }) as GraphService;

  it('stay with their service when others come and go', () => {
    const counts = new ServiceCounts();
    counts.load([service('shop'), service('mail')]);
    counts.evicted.add(0);
    counts.evicted.add(1);
    counts.hashed.add(2);
    counts.refused.add(2);
    counts.refused.add(2);
    counts.load([service('chat'), service('mail')]);
    assert.equal(counts.evicted.of(0), 1);
    assert.deepEqual([...counts.evictedOf()], []);
    assert.deepEqual(counts.counters(), { 'mail/table-full/hashed': 1, 'mail/table-full/refused': 2 });
    counts.load([service('mail'), service('shop')]);
    assert.deepEqual(counts.counters(), { 'mail/table-full/hashed': 1, 'mail/table-full/refused': 2 });
    assert.deepEqual([...counts.evictedOf()], [], 'what was counted of a service goes with it');
  });

  it('show those that are not zero, and cookies that came back wherever any were sent', () => {
    const counts = new ServiceCounts();
    counts.load([service('shop', 'auto'), service('mail', 'always')]);
    counts.proven.add(1);
    assert.deepEqual(counts.counters(), {});
    counts.cookies.add(1);
    counts.cookies.add(2);
    assert.deepEqual(counts.counters(), {
      'shop/syn-cookies/sent': 1,
      'shop/syn-cookies/proven': 1,
      'mail/syn-cookies/sent': 1,
      'mail/syn-cookies/proven': 0,
    });
    assert.deepEqual([...counts.answeredOf()], [['shop', 1]]);
  });

  it('know no flood of a graph that has just come into force', () => {
    const counts = new ServiceCounts();
    counts.load([service('shop'), service('mail')]);
    counts.setFloods(new Set(['mail']));
    assert.deepEqual([counts.isFlooded(1), counts.isFlooded(2)], [false, true]);
    counts.setFloods(new Set());
    assert.equal(counts.isFlooded(2), false);
    counts.setFloods(new Set(['mail']));
    counts.load([service('mail')]);
    assert.equal(counts.isFlooded(1), false);
  });
});
