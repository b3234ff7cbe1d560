/** Which members may get new flows, from the verdicts of the monitor. */
import assert from 'node:assert/strict';
import { MemberHealth } from '../../../src/engine-vm/dataplane/member-health.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';

const SPEC = { type: 'ping' as const, intervalMs: 1000, timeoutMs: 300, rise: 2, fall: 2 };

function healthOf(healthMonitors: (typeof SPEC)[]): MemberHealth {
  const health = new MemberHealth();
  const members = ['a', 'b', 'c'].map((id) => ({ id }));
  const pool = {
    name: 'web',
    port: 80,
    healthMonitors,
    members: members.map((_member, member) => ({ member, weight: 1, isDraining: false })),
  };
  health.load({ members, pools: [pool] } as unknown as ServiceGraph);
  return health;
}

const states = (health: MemberHealth): boolean[] => [0, 1, 2].map((member) => health.isUp(0, member));

describe('member health', () => {
  it('takes all to be up while nobody has been checked', () => {
    assert.deepEqual(states(healthOf([SPEC])), [true, true, true]);
  });

  it('lets a member that was not checked yet wait while others are known to be up', () => {
    const health = healthOf([SPEC]);
    health.apply('web', { a: true, b: false });
    assert.deepEqual(states(health), [true, false, false]);
    health.apply('web', { a: true, b: false, c: true });
    assert.deepEqual(states(health), [true, false, true]);
  });

  it('prefers a member that was not checked yet to none', () => {
    const health = healthOf([SPEC]);
    health.apply('web', { a: false, b: false });
    assert.deepEqual(states(health), [false, false, true]);
  });

  it('takes all to be up in a pool that nobody monitors', () => {
    const health = healthOf([]);
    health.apply('web', { a: true });
    assert.deepEqual(states(health), [true, true, true]);
  });
});
