/** Who probes a pool: leases, hand-over of verdicts, and what becomes of pools that need no monitor any more. */
import assert from 'node:assert/strict';
import { HealthElection } from '../../../src/engine-vm/health/election.ts';
import type { CheckResult } from '../../../src/engine-vm/health/monitor.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import type { HealthReport, SharedEntry, SharedState } from '../../../src/state/shared.ts';
import { graphOf, memberOf } from '../balance/graph.ts';
import { TurnedClock } from './turned-clock.ts';

const SPEC = { type: 'tcp' as const, intervalMs: 1000, timeoutMs: 300, rise: 2, fall: 2 };

/** The shared state of several engines, as far as the election uses it; leases change hands when the test says so. */
class Hub {
  readonly entries = new Map<string, SharedEntry>();
  readonly leases = new Map<string, Map<string, (isHeld: boolean) => void>>();
  private readonly readers = new Set<(entry: SharedEntry) => void>();
  private seq = 0;

  connect(writer: string): SharedState {
    return {
      writer,
      epoch: 1,
      isConnected: true,
      get: (key) => this.entries.get(key),
      list: (prefix) => [...this.entries.values()].filter(({ key }) => key.startsWith(prefix)),
      put: (key, value) => this.write(key, structuredClone(value), writer),
      delete: (key) => this.write(key, undefined, writer),
      subscribe: (prefix, onEntry) => {
        const reader = (entry: SharedEntry): void => {
          if (entry.key.startsWith(prefix)) onEntry(entry);
        };
        for (const entry of this.entries.values()) reader(entry);
        this.readers.add(reader);
        return () => this.readers.delete(reader);
      },
      lease: (key, _ttlMs, onChange) => {
        const contenders = this.leases.get(key) ?? new Map();
        this.leases.set(key, contenders.set(writer, onChange));
        return { release: () => contenders.delete(writer) };
      },
      onConnection: () => () => {},
      onRequest: () => {},
      close: () => Promise.resolve(),
    };
  }

  write(key: string, value: unknown, writer: string): void {
    const entry: SharedEntry = { key, value, writer, epoch: 1, seq: ++this.seq };
    this.entries.set(key, entry);
    for (const reader of this.readers) reader(entry);
  }

  give(engine: string, isHeld: boolean): void {
    this.leases.get('health/web')?.get(engine)?.(isHeld);
  }

  report(): HealthReport | undefined {
    return this.entries.get('health/web')?.value as HealthReport | undefined;
  }
}

function graph(isMonitored = true): ServiceGraph {
  const made = graphOf(
    [memberOf('a'), memberOf('b', { ipv4: '10.0.0.2' }), memberOf('c', { ipv4: '10.0.0.3' })],
    [],
  );
  made.pools[0].healthMonitors = isMonitored ? [SPEC] : [];
  return made;
}

function bench() {
  const clock = new TurnedClock();
  const hub = new Hub();
  const asked: string[] = [];
  const down = new Set<string>();
  const join = (engine: string) => {
    const election = new HealthElection({
      shared: hub.connect(engine),
      engine,
      clock,
      createMonitor: () => ({
        label: 'tcp connection',
        check(address): Promise<CheckResult> {
          asked.push(engine);
          return Promise.resolve({ isUp: !down.has(address), reason: 'told' });
        },
      }),
    });
    election.load(graph());
    return election;
  };
  return { clock, hub, asked, down, join };
}

describe('health election', () => {
  it('lets only the holder of the lease probe and report', async () => {
    const { clock, hub, asked, join } = bench();
    const elections = [join('e1'), join('e2')];
    await clock.pass(2000);
    assert.deepEqual(asked, []);
    hub.give('e2', true);
    await clock.pass(2000);
    assert.deepEqual(new Set(asked), new Set(['e2']));
    assert.equal(hub.report()?.monitor, 'e2');
    for (const election of elections) election.stop();
  });

  it('stops probing at once when the lease may be lost', async () => {
    const { clock, hub, asked, join } = bench();
    const election = join('e1');
    hub.give('e1', true);
    await clock.pass(1000);
    hub.give('e1', false);
    asked.length = 0;
    const version = hub.report()?.version;
    await clock.pass(5000);
    assert.deepEqual(asked, []);
    assert.equal(hub.report()?.version, version);
    hub.give('e1', true);
    await clock.pass(1000);
    assert.ok(asked.length > 0);
    election.stop();
  });

  it('hands the verdicts over to the next holder, even if the first took its entries along', async () => {
    const { clock, hub, down, join } = bench();
    const elections = [join('e1'), join('e2')];
    down.add('10.0.0.2');
    hub.give('e1', true);
    await clock.pass(1000);
    const since = hub.report()?.members['lab/b/0'].since;
    const version = hub.report()?.version ?? 0;
    hub.give('e1', false);
    hub.write('health/web', undefined, 'e1');
    hub.give('e2', true);
    await clock.pass(20);
    assert.equal(hub.report()?.monitor, 'e2');
    assert.equal(hub.report()?.version, version + 1);
    assert.equal(hub.report()?.members['lab/b/0'].isUp, false);
    assert.equal(hub.report()?.members['lab/b/0'].since, since);
    for (const election of elections) election.stop();
  });

  it('is not confused by an entry that is no report', async () => {
    const { clock, hub, join } = bench();
    hub.write('health/web', { monitor: 'e9', version: 'x', members: { 'lab/a/0': null } }, 'e9');
    const election = join('e1');
    hub.give('e1', true);
    await clock.pass(1000);
    assert.equal(hub.report()?.members['lab/a/0'].isUp, true);
    election.stop();
  });

  it('clears the verdicts of a pool that is no longer monitored', async () => {
    const { clock, hub, asked, down, join } = bench();
    const election = join('e1');
    down.add('10.0.0.2');
    hub.give('e1', true);
    await clock.pass(1000);
    const version = hub.report()?.version ?? 0;
    election.load(graph(false));
    asked.length = 0;
    await clock.pass(5000);
    assert.deepEqual(asked, []);
    assert.deepEqual(hub.report(), { monitor: 'e1', version: version + 1, members: {} });
    assert.equal(hub.leases.get('health/web')?.size, 0);
    election.stop();
  });

  it('gives its leases back when it stops', async () => {
    const { clock, hub, asked, join } = bench();
    const election = join('e1');
    hub.give('e1', true);
    await clock.pass(500);
    election.stop();
    asked.length = 0;
    await clock.pass(5000);
    assert.deepEqual(asked, []);
    assert.equal(hub.leases.get('health/web')?.size, 0);
    assert.equal(clock.pending, 0);
  });
});
