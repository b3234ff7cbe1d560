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
  private readonly links = new Map<string, Set<(isConnected: boolean) => void>>();
  private readonly cut = new Set<string>();
  private seq = 0;

  connect(writer: string): SharedState {
    const { cut } = this;
    const watchers = new Set<(isConnected: boolean) => void>();
    this.links.set(writer, watchers);
    return {
      writer,
      epoch: 1,
      get isConnected() {
        return !cut.has(writer);
      },
      get: (key) => this.entries.get(key),
      list: (prefix) => [...this.entries.values()].filter(({ key }) => key.startsWith(prefix)),
      put: (key, value) => this.write(key, structuredClone(value), writer),
      delete: (key) => this.write(key, undefined, writer),
      subscribe: (prefix, onEntry) => {
        const reader = (entry: SharedEntry): void => {
          if (entry.key.startsWith(prefix) && !cut.has(writer)) onEntry(entry);
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
      onConnection: (callback) => {
        watchers.add(callback);
        return () => watchers.delete(callback);
      },
      onRequest: () => {},
      close: () => Promise.resolve(),
    };
  }

  write(key: string, value: unknown, writer: string): void {
    const entry: SharedEntry = { key, value, writer, epoch: 1, seq: ++this.seq };
    this.entries.set(key, entry);
    for (const reader of this.readers) reader(entry);
  }

  /** The engine's link goes down, or comes up again. A lease it holds is the test's to take. */
  link(engine: string, isConnected: boolean): void {
    if (isConnected) this.cut.delete(engine);
    else this.cut.add(engine);
    for (const watcher of this.links.get(engine) ?? []) watcher(isConnected);
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
  /** What each engine goes by while it is headless: who is down, or null for the shared report. */
  const own: Record<string, (string[] | null)[]> = {};
  const join = (engine: string) => {
    const heard: (string[] | null)[] = [];
    own[engine] = heard;
    const election = new HealthElection({
      shared: hub.connect(engine),
      engine,
      clock,
      onOwnReport: (pool, report) => {
        assert.equal(pool, 'web');
        const members = Object.entries(report?.members ?? {});
        heard.push(report && members.filter(([, { isUp }]) => !isUp).map(([id]) => id));
      },
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
  return { clock, hub, asked, down, own, join };
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

  describe('while the link to the hub is down', () => {
    it('probes at every engine for itself, from the last verdicts on, and publishes nothing', async () => {
      const { clock, hub, asked, down, own, join } = bench();
      const elections = [join('e1'), join('e2')];
      down.add('10.0.0.2');
      hub.give('e1', true);
      await clock.pass(2000);
      const published = hub.report();
      hub.link('e1', false);
      hub.link('e2', false);
      hub.give('e1', false);
      asked.length = 0;
      await clock.pass(2900);
      assert.deepEqual([asked, own], [[], { e1: [], e2: [] }], 'not before a lease could have ended');
      await clock.pass(200);
      for (const engine of ['e1', 'e2'])
        assert.deepEqual(own[engine], [['lab/b/0']], 'nothing has changed yet');
      down.add('10.0.0.3');
      down.delete('10.0.0.2');
      await clock.pass(4000);
      for (const engine of ['e1', 'e2']) {
        assert.ok(asked.includes(engine));
        assert.deepEqual(own[engine]!.at(-1), ['lab/c/0']);
      }
      assert.equal(hub.report(), published);
      for (const election of elections) election.stop();
      assert.equal(clock.pending, 0);
    });

    it('does not begin where the link comes back in time', async () => {
      const { clock, hub, asked, own, join } = bench();
      const election = join('e2');
      hub.link('e2', false);
      await clock.pass(2500);
      hub.link('e2', true);
      await clock.pass(2500);
      hub.link('e2', false);
      await clock.pass(2500);
      hub.link('e2', true);
      await clock.pass(5000);
      assert.deepEqual([asked, own.e2], [[], []]);
      election.stop();
    });

    it('goes on from its own verdicts where it is elected when the link is back', async () => {
      const { clock, hub, down, own, join } = bench();
      const election = join('e1');
      hub.give('e1', true);
      await clock.pass(1000);
      hub.link('e1', false);
      hub.give('e1', false);
      down.add('10.0.0.2');
      await clock.pass(8000);
      assert.deepEqual(own.e1!.at(-1), ['lab/b/0']);
      hub.write('health/web', undefined, 'e1');
      hub.link('e1', true);
      hub.give('e1', true);
      await clock.pass(20);
      assert.equal(hub.report()?.members['lab/b/0'].isUp, false);
      assert.equal(hub.report()?.members['lab/a/0'].isUp, true);
      await clock.pass(4000);
      assert.ok(!own.e1!.includes(null), 'the report that came in says it all');
      assert.equal(hub.report()?.members['lab/b/0'].isUp, false);
      election.stop();
    });

    it('stops probing when the elected monitor speaks, or when it had nothing new to say', async () => {
      const { clock, hub, asked, own, join } = bench();
      const elections = [join('e1'), join('e2'), join('e3')];
      hub.give('e1', true);
      await clock.pass(1000);
      for (const engine of ['e2', 'e3']) hub.link(engine, false);
      await clock.pass(6000);
      assert.deepEqual(new Set(asked), new Set(['e1', 'e2', 'e3']));
      hub.link('e2', true);
      hub.write('health/web', { ...hub.report(), version: 99 }, 'e1');
      asked.length = 0;
      await clock.pass(2000);
      assert.ok(!asked.includes('e2') && asked.includes('e3'));
      assert.ok(!own.e2!.includes(null), 'that report has come in by itself');
      hub.link('e3', true);
      await clock.pass(2900);
      assert.ok(!own.e3!.includes(null));
      await clock.pass(200);
      assert.equal(own.e3!.at(-1), null);
      asked.length = 0;
      await clock.pass(2000);
      assert.deepEqual(new Set(asked), new Set(['e1']));
      for (const election of elections) election.stop();
    });

    it('keeps its verdicts while the data plane is away, and lets them go afterwards', async () => {
      const { clock, hub, down, own, join } = bench();
      const election = join('e2');
      down.add('10.0.0.2');
      hub.link('e2', false);
      await clock.pass(6000);
      election.stop();
      assert.deepEqual(own.e2!.at(-1), ['lab/b/0']);
      hub.link('e2', true);
      election.load(graph());
      await clock.pass(3100);
      assert.equal(own.e2!.at(-1), null);
      election.stop();
      assert.equal(clock.pending, 0);
    });
  });
});
