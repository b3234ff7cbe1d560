/** Verdicts on a pool: rise and fall, mass failure, changes of members, faults on this side; with a turned clock. */
import assert from 'node:assert/strict';
import { HealthMonitor } from '../../../src/engine-vm/health/health-monitor.ts';
import type { CheckResult, Monitor } from '../../../src/engine-vm/health/monitor.ts';
import type { GraphMember, GraphPool } from '../../../src/policy/graph.ts';
import type { HealthReport } from '../../../src/state/shared.ts';
import { memberOf } from '../balance/graph.ts';
import { TurnedClock } from './turned-clock.ts';

const SPEC = { type: 'tcp' as const, intervalMs: 1000, timeoutMs: 300, rise: 2, fall: 2 };

/** A pool of members at 10.0.0.1, .2 ..., whose answers the test chooses by address. */
function bench(
  vms: string[],
  previous: HealthReport | null = null,
  specs: GraphPool['healthMonitors'] = [SPEC],
) {
  const clock = new TurnedClock();
  const answers = new Map<string, CheckResult | 'silent'>();
  const asked: { address: string; port: number }[] = [];
  const onAsked: ((address: string) => void)[] = [];
  const reports: HealthReport[] = [];
  const troubles: string[] = [];
  const members: GraphMember[] = vms.map((vm, index) => memberOf(vm, { ipv4: `10.0.0.${index + 1}` }));
  const monitor: Monitor = {
    label: 'tcp connection',
    check(address, port, signal) {
      asked.push({ address, port });
      for (const callback of onAsked) callback(address);
      const answer = answers.get(address) ?? { isUp: true, reason: 'connected in 1 ms' };
      if (answer !== 'silent') return Promise.resolve(answer);
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          resolve({ isUp: false, reason: (signal.reason as Error).message });
        });
      });
    },
  };
  const pool: GraphPool = {
    name: 'web',
    port: 8080,
    healthMonitors: specs,
    members: members.map((_member, member) => ({ member, weight: 1, isDraining: false })),
  };
  const health = new HealthMonitor({
    engine: 'e1',
    previous,
    createMonitor: () => monitor,
    clock,
    onReport: (report) => reports.push(structuredClone(report)),
    onTrouble: (reason) => troubles.push(reason),
  });
  health.update(pool, members);
  const verdicts = () =>
    Object.fromEntries(
      Object.entries(reports.at(-1)?.members ?? {}).map(([id, { isUp }]) => [id.split('/')[1], isUp]),
    );
  return { clock, answers, asked, onAsked, reports, troubles, health, pool, members, verdicts };
}

const REFUSED: CheckResult = { isUp: false, reason: 'connection refused' };

function report(parts: HealthReport['members']): HealthReport {
  return { monitor: 'e9', version: 7, members: parts };
}

describe('health monitor', () => {
  it('decides at the first check of a member that nobody has judged', async () => {
    const { clock, answers, verdicts, reports } = bench(['a', 'b', 'c']);
    answers.set('10.0.0.2', REFUSED);
    await clock.pass(300);
    assert.deepEqual(verdicts(), { a: true, b: false, c: true });
    assert.equal(
      reports.at(-1)?.members['lab/b/0'].reason,
      'tcp connection on port 8080: connection refused',
    );
    assert.equal(reports.at(-1)?.monitor, 'e1');
  });

  it('takes a member down after `fall` failures in a row, and up after `rise` successes', async () => {
    const { clock, answers, verdicts, asked } = bench(['a', 'b', 'c']);
    await clock.pass(300);
    const count = () => asked.filter(({ address }) => address === '10.0.0.1').length;
    const before = count();
    answers.set('10.0.0.1', REFUSED);
    await clock.pass(1000);
    assert.equal(count(), before + 1);
    assert.equal(verdicts().a, true);
    await clock.pass(1000);
    assert.equal(verdicts().a, false);
    answers.delete('10.0.0.1');
    await clock.pass(1000);
    assert.equal(verdicts().a, false);
    await clock.pass(1000);
    assert.equal(verdicts().a, true);
  });

  it('forgives a single failure', async () => {
    const { clock, answers, verdicts, reports } = bench(['a', 'b', 'c']);
    await clock.pass(300);
    for (let round = 0; round < 4; round++) {
      answers.set('10.0.0.1', REFUSED);
      await clock.pass(1000);
      answers.delete('10.0.0.1');
      await clock.pass(1000);
    }
    assert.equal(verdicts().a, true);
    const versions = reports.map(({ version }) => version);
    assert.deepEqual(
      versions,
      versions.map((_version, index) => index + 1),
    );
  });

  it('counts a check without an answer as failed at its deadline', async () => {
    const { clock, answers, reports } = bench(['a', 'b', 'c']);
    await clock.pass(300);
    answers.set('10.0.0.1', 'silent');
    await clock.pass(2400);
    assert.equal(reports.at(-1)?.members['lab/a/0'].isUp, false);
    assert.match(reports.at(-1)?.members['lab/a/0'].reason ?? '', /no answer in 300 ms$/);
  });

  it('takes over the verdicts of the monitor before, and goes on with its version', async () => {
    const { clock, reports, verdicts } = bench(
      ['a', 'b'],
      report({
        'lab/a/0': { isUp: false, since: 5, reason: 'was refused' },
        'lab/gone/0': { isUp: true, since: 5, reason: '' },
      }),
    );
    await clock.pass(20);
    assert.deepEqual(reports[0], {
      monitor: 'e1',
      version: 8,
      members: { 'lab/a/0': { isUp: false, since: 5, reason: 'was refused' } },
    });
    await clock.pass(1000);
    assert.deepEqual(verdicts(), { a: false, b: true });
    await clock.pass(1000);
    assert.deepEqual(verdicts(), { a: true, b: true });
    assert.ok((reports.at(-1)?.members['lab/a/0'].since ?? 0) > 5);
  });

  it('asks again at once before it takes down more than half of a pool', async () => {
    const { clock, answers, asked, verdicts } = bench(['a', 'b', 'c', 'd']);
    await clock.pass(300);
    for (const last of [1, 2, 3]) answers.set(`10.0.0.${last}`, REFUSED);
    await clock.pass(1000);
    asked.length = 0;
    await clock.pass(1000);
    // Each of the three was asked by schedule and once more in the same moment.
    assert.deepEqual(
      [1, 2, 3, 4].map((last) => asked.filter(({ address }) => address === `10.0.0.${last}`).length),
      [2, 2, 2, 1],
    );
    assert.deepEqual(verdicts(), { a: false, b: false, c: false, d: true });
  });

  it('ejects nobody when the second opinion is that they are up', async () => {
    const { clock, answers, onAsked, verdicts, reports } = bench(['a', 'b', 'c']);
    await clock.pass(300);
    for (const last of [1, 2, 3]) answers.set(`10.0.0.${last}`, REFUSED);
    await clock.pass(1000);
    const known = reports.length;
    // They fail once more, but not when they are asked again in the same moment.
    const failing = new Set(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    onAsked.push((address) => {
      if (failing.delete(address)) queueMicrotask(() => answers.delete(address));
    });
    await clock.pass(1000);
    assert.equal(failing.size, 0);
    assert.deepEqual(verdicts(), { a: true, b: true, c: true });
    assert.equal(reports.length, known);
  });

  it('needs no second opinion for one member among several', async () => {
    const { clock, answers, asked, verdicts } = bench(['a', 'b', 'c']);
    await clock.pass(300);
    answers.set('10.0.0.1', REFUSED);
    await clock.pass(1000);
    asked.length = 0;
    await clock.pass(1000);
    assert.equal(asked.filter(({ address }) => address === '10.0.0.1').length, 1);
    assert.equal(verdicts().a, false);
  });

  it('changes no verdict when the fault is on this side, and says so once', async () => {
    const { clock, answers, verdicts, troubles } = bench(['a', 'b']);
    await clock.pass(300);
    const fault = { isUp: false, reason: 'no route', isInconclusive: true as const };
    answers.set('10.0.0.1', fault);
    answers.set('10.0.0.2', fault);
    await clock.pass(10_000);
    assert.deepEqual(verdicts(), { a: true, b: true });
    assert.deepEqual(troubles, ['tcp connection: no route']);
  });

  it('needs every monitor of the pool to say that a member is up', async () => {
    const { clock, answers, asked, verdicts } = bench(['a', 'b', 'c'], null, [SPEC, { ...SPEC, port: 9090 }]);
    await clock.pass(300);
    assert.deepEqual([...new Set(asked.map(({ port }) => port))].sort(), [8080, 9090]);
    answers.set('10.0.0.1', REFUSED);
    await clock.pass(2000);
    assert.deepEqual(verdicts(), { a: false, b: true, c: true });
  });

  it('follows the members of the pool, and leaves those that stay undisturbed', async () => {
    const { clock, answers, asked, health, pool, members, verdicts } = bench(['a', 'b']);
    answers.set('10.0.0.1', REFUSED);
    await clock.pass(300);
    assert.deepEqual(verdicts(), { a: false, b: true });
    const next = [memberOf('c', { ipv4: null, ipv6: 'fd00::3' }), members[0], memberOf('d', { ipv4: null })];
    asked.length = 0;
    health.update(pool, next.slice(0, 2));
    await clock.pass(300);
    assert.deepEqual(verdicts(), { c: true, a: false });
    assert.deepEqual(
      asked.map(({ address }) => address),
      ['fd00::3'],
    );
    health.update(
      { ...pool, members: [0, 1, 2].map((member) => ({ member, weight: 1, isDraining: false })) },
      next,
    );
    await clock.pass(300);
    assert.deepEqual(verdicts(), { c: true, a: false, d: false });
    next[2] = memberOf('d', { ipv4: '10.0.0.9' });
    health.update(
      { ...pool, members: [0, 1, 2].map((member) => ({ member, weight: 1, isDraining: false })) },
      next,
    );
    await clock.pass(300);
    assert.deepEqual(verdicts(), { c: true, a: false, d: true });
  });

  it('judges a member anew that left the pool and came back, and reports it', async () => {
    const old = { isUp: true, since: 1, reason: 'was up' };
    const { clock, health, pool, members, verdicts } = bench(
      ['a', 'b'],
      report({ 'lab/a/0': old, 'lab/b/0': old }),
    );
    await clock.pass(300);
    health.update({ ...pool, members: pool.members.slice(0, 1) }, members);
    await clock.pass(300);
    assert.deepEqual(verdicts(), { a: true });
    health.update(pool, members);
    await clock.pass(1500);
    assert.deepEqual(verdicts(), { a: true, b: true });
  });

  it('asks and reports nothing more once it is stopped', async () => {
    const { clock, answers, asked, health, reports } = bench(['a', 'b']);
    answers.set('10.0.0.1', 'silent');
    await clock.pass(150);
    health.stop();
    asked.length = 0;
    const known = reports.length;
    await clock.pass(10_000);
    assert.equal(asked.length, 0);
    assert.equal(reports.length, known);
    assert.equal(clock.pending, 0);
  });
});
