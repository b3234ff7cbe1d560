import assert from 'node:assert/strict';
import { hopsBetween } from '../../src/hypervisor/topology.ts';

describe('hops', () => {
  it('counts the switches between two hosts', () => {
    assert.equal(hopsBetween(['spine', 'tor-a'], ['spine', 'tor-a']), 1);
    assert.equal(hopsBetween(['spine', 'tor-a'], ['spine', 'tor-b']), 3);
  });
});
