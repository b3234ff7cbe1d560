/** The contract of shared state: what every implementation of src/state/shared.ts must pass. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isWeftError, WeftError } from '../../src/policy/errors.ts';
import type { SharedEntry, SharedHub, SharedState } from '../../src/state/shared.ts';

export interface SharedUnderTest {
  readonly hub: SharedHub;
  /** How long an engine may be away before what it tells of itself lapses. */
  readonly graceMs: number;
  /** An engine's end; begins to connect. */
  connect(engine: string, epoch?: number): Promise<SharedState>;
  /** Breaks the engine's link; it may connect again at once. */
  cut(engine: string): void;
  /** Breaks the engine's link until `heal`. */
  takeDown(engine: string): void;
  heal(engine: string): void;
  /** The controller restarts and has forgotten all shared state. */
  restartHub(): Promise<SharedHub>;
  dispose(): Promise<void>;
}

/** Waits until `probe` gives something true. */
export async function eventually<Value>(
  probe: () => Value,
  what: string,
  timeoutMs = 5000,
): Promise<NonNullable<Value>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = probe();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(5);
  }
}

/** Runs the suite on implementations that `create` opens, each for one test. */
export function sharedContract(name: string, create: () => Promise<SharedUnderTest>): void {
  describe(`${name} fulfils the shared-state contract`, () => {
    let subject: SharedUnderTest;

    beforeEach(async () => {
      subject = await create();
    });
    afterEach(() => subject.dispose());

    const up = async (engine: string, epoch = 1): Promise<SharedState> => {
      const client = await subject.connect(engine, epoch);
      await eventually(() => client.isConnected, `${engine} connects`);
      return client;
    };
    const valueAt = (state: SharedState, key: string) => state.get(key)?.value;

    it('shows what an engine puts to the controller and to other engines', async () => {
      const [a, b] = [await up('a', 7), await up('b')];
      b.subscribe('connections/', () => {});
      a.put('connections/a', { local: { m: 1 } });
      const entry = await eventually(() => b.get('connections/a'), 'b sees a');
      assert.deepEqual(entry.value, { local: { m: 1 } });
      assert.equal(entry.writer, 'a');
      assert.equal(entry.epoch, 7);
      await eventually(() => subject.hub.get('connections/a'), 'the hub sees a');
      a.put('engine/a', { host: 'h' });
      await eventually(() => subject.hub.get('engine/a'), 'the hub sees the report');
    });

    it('shows an own put to its own subscribers at once, and keeps a copy', async () => {
      const a = await subject.connect('a');
      const seen: unknown[] = [];
      a.subscribe('connections/', (entry) => seen.push(entry.value));
      const value = { local: { m: 1 } };
      a.put('connections/a', value);
      value.local.m = 2;
      assert.deepEqual(valueAt(a, 'connections/a'), { local: { m: 1 } });
      assert.equal(seen.length, 1);
      a.delete('connections/a');
      assert.equal(a.get('connections/a'), undefined);
      assert.deepEqual(a.list(''), []);
      assert.equal(seen[1], undefined);
    });

    it('gives a late subscriber what is there, then each change', async () => {
      const a = await up('a');
      for (let n = 0; n < 500; n++) a.put(`session/s/c${n}/a`, { member: 'm', time: n }, { ttlMs: 60_000 });
      await eventually(() => subject.hub.list('session/').length === 500, 'the hub has all');
      const b = await up('b');
      const seen = new Map<string, unknown>();
      b.subscribe('session/s/', (entry) => seen.set(entry.key, entry.value));
      await eventually(() => seen.size === 500, 'b has all');
      a.delete('session/s/c7/a');
      a.put('session/s/c8/a', { member: 'n', time: 1000 }, { ttlMs: 60_000 });
      await eventually(() => seen.get('session/s/c7/a') === undefined, 'b sees the deletion');
      await eventually(
        () => valueAt(b, 'session/s/c8/a') && b.list('session/').length === 499,
        'b sees the change',
      );
      const hubSeen: string[] = [];
      subject.hub.subscribe('session/s/c9', (entry) => hubSeen.push(entry.key));
      assert.equal(hubSeen.length, 11);
    });

    it('stops calling back a subscriber that has stopped', async () => {
      const [a, b] = [await up('a'), await up('b')];
      let calls = 0;
      const stop = b.subscribe('connections/', () => calls++);
      a.put('connections/a', 1);
      await eventually(() => calls === 1, 'the first is seen');
      stop();
      a.put('connections/a', 2);
      await eventually(() => valueAt(subject.hub, 'connections/a') === 2, 'the hub has the second');
      await delay(30);
      assert.equal(calls, 1);
      b.subscribe('connections/', () => {});
      await eventually(() => valueAt(b, 'connections/a') === 2, 'a new subscription has the second');
    });

    it('lets an entry lapse when it is not put again in time', async () => {
      const [a, b] = [await up('a'), await up('b')];
      b.subscribe('session/', () => {});
      a.put('session/s/short/a', { member: 'm', time: 1 }, { ttlMs: 150 });
      a.put('session/s/long/a', { member: 'm', time: 1 }, { ttlMs: 600 });
      await eventually(() => b.list('session/').length === 2, 'both are seen');
      await eventually(() => !b.get('session/s/short/a'), 'the short one lapses');
      assert.ok(b.get('session/s/long/a'));
      a.put('session/s/long/a', { member: 'm', time: 2 }, { ttlMs: 60_000 });
      await delay(700);
      assert.ok(b.get('session/s/long/a'), 'a refreshed entry stays');
      assert.equal(subject.hub.get('session/s/short/a'), undefined);
    });

    it('refuses keys of other writers', async () => {
      const [a, b] = [await up('a'), await up('b')];
      b.subscribe('', () => {});
      b.put('connections/b', 'genuine');
      subject.hub.put('graph/a', 'genuine');
      a.subscribe('', () => {});
      await eventually(() => valueAt(a, 'connections/b') && valueAt(a, 'graph/a'), 'a sees both');
      for (const key of [
        'connections/b',
        'engine/b',
        'graph/a',
        'session/s/c/b',
        'health/p',
        'policy/x',
        'other',
      ]) {
        a.put(key, 'forged');
      }
      a.put('connections/a', 'after');
      await eventually(
        () => valueAt(b, 'connections/a') === 'after',
        'what came after the forgeries arrives',
      );
      for (const state of [subject.hub, b]) {
        assert.ok(state.list('').every((entry) => entry.value !== 'forged'));
      }
      await eventually(() => valueAt(a, 'connections/b') === 'genuine', 'the forger sees the truth again');
      assert.equal(valueAt(a, 'graph/a'), 'genuine');
      for (const key of ['connections/a', 'engine/a', 'session/s/c/a', 'health/p']) {
        assert.throws(
          () => subject.hub.put(key, 1),
          (error) => isWeftError(error, 'ERR_WRITER_REFUSED'),
        );
      }
    });

    it('shows an engine its own graph, and nobody else their graphs or reports', async () => {
      const [a, b] = [await up('a'), await up('b')];
      const seen = new Set<string>();
      for (const prefix of ['', 'graph/', 'graph/b', 'engine/'])
        b.subscribe(prefix, ({ key }) => seen.add(key));
      a.put('engine/a', 1);
      a.put('connections/a', 1);
      subject.hub.put('graph/a', { revision: 1 });
      subject.hub.put('graph/b', { revision: 2 });
      await eventually(() => valueAt(b, 'graph/b') && valueAt(b, 'connections/a'), 'b sees what it may');
      await delay(30);
      assert.deepEqual([...seen].sort(), ['connections/a', 'graph/b']);
      subject.hub.delete('graph/b');
      await eventually(() => !b.get('graph/b'), 'b sees the deletion');
    });

    it('keeps what is known while the link is down, and sends the latest afterwards', async () => {
      const [a, b] = [await up('a'), await up('b')];
      const links: boolean[] = [];
      b.onConnection((isConnected) => links.push(isConnected));
      b.subscribe('connections/', () => {});
      const values: unknown[] = [];
      subject.hub.subscribe('connections/b', (entry) => values.push(entry.value));
      a.put('connections/a', 'old');
      b.put('connections/b', 0);
      b.put('session/s/gone/b', { member: 'm', time: 1 }, { ttlMs: 60_000 });
      await eventually(() => valueAt(b, 'connections/a') && values.length === 1, 'all is known');
      subject.takeDown('b');
      await eventually(() => !b.isConnected, 'b notices');
      for (let n = 1; n <= 50; n++) b.put('connections/b', n);
      b.delete('session/s/gone/b');
      a.put('connections/a', 'new');
      await delay(30);
      assert.equal(valueAt(b, 'connections/a'), 'old');
      subject.heal('b');
      await eventually(() => valueAt(b, 'connections/a') === 'new', 'b catches up');
      await eventually(() => valueAt(subject.hub, 'connections/b') === 50, 'the hub catches up');
      await eventually(() => !subject.hub.get('session/s/gone/b'), 'the deletion arrives');
      assert.deepEqual(values, [0, 50]);
      assert.deepEqual(links, [false, true]);
    });

    it('voids what an engine tells of itself when it stays away, and has it back when it returns', async () => {
      const [a, b] = [await up('a'), await up('b')];
      const engines: [string, boolean][] = [];
      subject.hub.onEngine((engine, isConnected) => engines.push([engine, isConnected]));
      b.subscribe('', () => {});
      a.put('connections/a', 1);
      a.put('engine/a', 1);
      a.put('session/s/c/a', { member: 'm', time: 1 }, { ttlMs: 60_000 });
      await eventually(() => valueAt(b, 'connections/a') && valueAt(b, 'session/s/c/a'), 'b sees a');
      subject.cut('a');
      await eventually(() => engines.length === 2, 'the link went down and came up again');
      await delay(subject.graceMs + 300);
      assert.ok(b.get('connections/a'), 'a short absence changes nothing');
      subject.takeDown('a');
      await eventually(() => !b.get('connections/a'), 'the counts lapse', subject.graceMs + 3000);
      assert.equal(subject.hub.get('engine/a'), undefined);
      assert.ok(b.get('session/s/c/a'), 'sessions live by their own time');
      assert.deepEqual(
        subject.hub.connected().map(({ engine }) => engine),
        ['b'],
      );
      subject.heal('a');
      await eventually(() => b.get('connections/a') && subject.hub.get('engine/a'), 'they come back');
      assert.deepEqual(engines, [
        ['a', false],
        ['a', true],
        ['a', false],
        ['a', true],
      ]);
    });

    it('lets a later boot of an engine take the place of the earlier', async () => {
      const earlier = await up('a', 5);
      const b = await up('b');
      b.subscribe('connections/', () => {});
      earlier.put('connections/a', 'earlier');
      await eventually(() => valueAt(b, 'connections/a') === 'earlier', 'b sees the earlier');
      const later = await up('a', 6);
      await eventually(() => !b.get('connections/a'), 'the counts of the earlier boot are void');
      await eventually(() => !earlier.isConnected, 'the earlier is cut off');
      earlier.put('connections/a', 'ghost');
      later.put('connections/a', 'later');
      await eventually(() => valueAt(b, 'connections/a') === 'later', 'b sees the later');
      await delay(500);
      assert.equal(valueAt(b, 'connections/a'), 'later');
      assert.equal(b.get('connections/a')!.epoch, 6);
      assert.ok(!earlier.isConnected && later.isConnected);
      assert.deepEqual(
        subject.hub.connected().find(({ engine }) => engine === 'a'),
        { engine: 'a', epoch: 6 },
      );
    });

    for (const [what, epoch] of [
      ['used its epoch again', 100],
      ['has a clock that went back', 40],
    ] as const) {
      it(`lets a new boot in that ${what}`, async () => {
        const before = await up('a', 100);
        for (let n = 0; n < 20; n++) before.put('connections/a', n);
        await eventually(() => valueAt(subject.hub, 'connections/a') === 19, 'the hub has the counts');
        subject.takeDown('a');
        await eventually(() => !before.isConnected, 'the first boot is gone');
        await before.close();
        subject.heal('a');
        const after = await up('a', epoch);
        assert.ok(after.epoch > 100);
        after.put('connections/a', 'fresh');
        await eventually(() => valueAt(subject.hub, 'connections/a') === 'fresh', 'its first put counts');
      });
    }

    it('grants a lease to one at a time, and hands it on when it is released', async () => {
      const engines = await Promise.all(['a', 'b', 'c'].map((engine) => up(engine)));
      const holders = new Set<string>();
      let most = 0;
      const leases = engines.map((engine) =>
        engine.lease('health/p', 1000, (isHeld) => {
          if (isHeld) holders.add(engine.writer);
          else holders.delete(engine.writer);
          most = Math.max(most, holders.size);
        }),
      );
      await eventually(() => holders.size === 1, 'one holds it');
      const first = [...holders][0]!;
      await delay(1200);
      assert.deepEqual([...holders], [first], 'it is renewed');
      const index = engines.findIndex((engine) => engine.writer === first);
      engines[index]!.put('health/p', { monitor: first, version: 1 });
      await eventually(() => valueAt(subject.hub, 'health/p'), 'the holder may write');
      holders.delete(first);
      leases[index]!.release();
      await eventually(() => holders.size === 1, 'another holds it', 900);
      const second = engines.find((engine) => holders.has(engine.writer))!;
      assert.notEqual(second.writer, first);
      second.put('health/p', { monitor: second.writer, version: 2 });
      await eventually(
        () => subject.hub.get('health/p')?.writer === second.writer,
        'the next holder may write',
      );
      engines[index]!.put('health/p', { monitor: first, version: 3 });
      await delay(50);
      assert.equal(subject.hub.get('health/p')!.writer, second.writer, 'the former holder may not');
      assert.equal(most, 1);
    });

    it('tells a holder that is cut off that the lease is lost before another has it', async () => {
      const [a, b] = [await up('a'), await up('b')];
      const events: string[] = [];
      a.lease('health/p', 600, (isHeld) => events.push(`a ${isHeld}`));
      await eventually(() => events.length === 1, 'a has it');
      b.lease('health/p', 600, (isHeld) => events.push(`b ${isHeld}`));
      await delay(50);
      subject.takeDown('a');
      await eventually(() => events.includes('b true'), 'b has it');
      assert.deepEqual(events, ['a true', 'a false', 'b true']);
      subject.heal('a');
      await eventually(() => a.isConnected, 'a is back');
      await delay(300);
      assert.equal(events.length, 3);
    });

    it('leaves a lease with a holder that is back in time', async () => {
      const a = await up('a');
      const events: boolean[] = [];
      a.lease('health/p', 2500, (isHeld) => events.push(isHeld));
      await eventually(() => events.length === 1, 'a has it');
      subject.cut('a');
      await eventually(() => !a.isConnected, 'a notices');
      await eventually(() => a.isConnected, 'a is back');
      await delay(2600);
      assert.deepEqual(events, [true]);
    });

    it('gives the controller leases too', async () => {
      const a = await up('a');
      const events: string[] = [];
      const lease = subject.hub.lease('health/p', 500, (isHeld) => events.push(`controller ${isHeld}`));
      await eventually(() => events.length === 1, 'the controller has it');
      a.lease('health/p', 500, (isHeld) => events.push(`a ${isHeld}`));
      subject.hub.put('health/p', { monitor: 'controller', version: 1 });
      await delay(700);
      assert.deepEqual(events, ['controller true']);
      lease.release();
      await eventually(() => events.includes('a true'), 'then a has it');
    });

    it('carries requests of the controller and their answers', async () => {
      const a = await up('a');
      await assert.rejects(subject.hub.request('a', 'explain', 1, 1000), (error) =>
        isWeftError(error, 'ERR_NOT_FOUND'),
      );
      a.onRequest(async (method, params) => {
        if (method === 'fail') throw new WeftError('ERR_KERNEL', 'socket: EPERM');
        if (method === 'hang') await delay(60_000, undefined, { ref: false });
        return { method, params };
      });
      assert.deepEqual(await subject.hub.request('a', 'explain', { x: 1 }, 1000), {
        method: 'explain',
        params: { x: 1 },
      });
      await assert.rejects(
        subject.hub.request('a', 'fail', null, 1000),
        (error) => isWeftError(error, 'ERR_KERNEL') && error.message.includes('EPERM'),
      );
      await assert.rejects(subject.hub.request('a', 'hang', null, 50), (error) =>
        isWeftError(error, 'ERR_TIMEOUT'),
      );
      await assert.rejects(subject.hub.request('nobody', 'explain', null, 50), (error) =>
        isWeftError(error, 'ERR_ENGINE_UNREACHABLE'),
      );
      const hanging = subject.hub.request('a', 'hang', null, 60_000);
      subject.cut('a');
      await assert.rejects(hanging, (error) => isWeftError(error, 'ERR_ENGINE_UNREACHABLE'));
    });

    it('goes on when the controller restarts empty', async () => {
      const [a, b] = [await up('a'), await up('b')];
      subject.hub.put('graph/a', { revision: 9 });
      const graphs: SharedEntry[] = [];
      a.subscribe('', () => {});
      a.subscribe('graph/a', (entry) => graphs.push(entry));
      b.subscribe('', () => {});
      a.put('connections/a', 1);
      b.put('connections/b', 2);
      await eventually(() => valueAt(a, 'connections/b') && valueAt(a, 'graph/a'), 'all is known');
      const hub = await subject.restartHub();
      assert.deepEqual(valueAt(a, 'graph/a'), { revision: 9 });
      assert.equal(valueAt(a, 'connections/b'), 2);
      await eventually(() => hub.list('connections/').length === 2, 'the engines tell the new hub');
      await delay(100);
      assert.equal(valueAt(a, 'connections/b'), 2);
      assert.equal(graphs.length, 1, 'no graph at the new hub is not an empty graph');
      hub.put('graph/a', { revision: 10 });
      await eventually(() => graphs.length === 2, 'the next graph arrives');
    });
  });
}
