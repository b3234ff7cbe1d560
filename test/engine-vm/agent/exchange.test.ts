import assert from 'node:assert/strict';
import { Exchange } from '../../../src/engine-vm/exchange.ts';
import type { ToldSession } from '../../../src/engine-vm/http/session-sharing.ts';
import type { ToDataplane } from '../../../src/engine-vm/messages.ts';
import type { SharedEntry, SharedState } from '../../../src/state/shared.ts';

/** As much shared state as the exchange needs, with a way to play the other participants. */
class Shared implements SharedState {
  readonly writer = 'e1';
  readonly epoch = 7;
  readonly isConnected = true;
  readonly ttls: Record<string, number | undefined> = {};
  readonly #entries = new Map<string, SharedEntry>();
  readonly #followers: { prefix: string; onEntry: (entry: SharedEntry) => void }[] = [];

  play(writer: string, key: string, value: unknown, epoch = 1): void {
    const entry = { key, value, writer, epoch, seq: 1 };
    if (value === undefined) this.#entries.delete(key);
    else this.#entries.set(key, entry);
    for (const { prefix, onEntry } of this.#followers) if (key.startsWith(prefix)) onEntry(entry);
  }
  get(key: string): SharedEntry | undefined {
    return this.#entries.get(key);
  }
  list(prefix: string): SharedEntry[] {
    return [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix));
  }
  put(key: string, value: unknown, options?: { ttlMs?: number }): void {
    this.ttls[key] = options?.ttlMs;
    this.play(this.writer, key, value, this.epoch);
  }
  delete(key: string): void {
    this.play(this.writer, key, undefined, this.epoch);
  }
  subscribe(prefix: string, onEntry: (entry: SharedEntry) => void): () => void {
    const follower = { prefix, onEntry };
    this.#followers.push(follower);
    for (const entry of this.list(prefix)) onEntry(entry);
    return () => void this.#followers.splice(this.#followers.indexOf(follower), 1);
  }
  lease(): { release(): void } {
    return { release: () => undefined };
  }
  onConnection(): () => void {
    return () => undefined;
  }
  onRequest(): void {}
  async close(): Promise<void> {}
}

describe('exchange between shared state and data plane', () => {
  let shared: Shared;
  let posted: ToDataplane[];
  let learned: [string, ToldSession][];
  let invalid: string[];
  let exchange: Exchange;
  const counts = { local: { m1: 3 }, sent: {}, received: {} };

  beforeEach(() => {
    shared = new Shared();
    posted = [];
    learned = [];
    invalid = [];
    exchange = new Exchange(
      shared,
      (message) => posted.push(message),
      (service, session) => {
        if (session.client === 'bad') throw new TypeError('no session');
        learned.push([service, session]);
      },
      (key) => invalid.push(key),
    );
  });

  it('begins with what is there and hands on each change, but not its own counts', () => {
    shared.play('e2', 'connections/e2', counts);
    exchange.start();
    exchange.putConnections(counts);
    shared.play('e2', 'connections/e2', undefined);
    assert.deepEqual(posted, [
      { type: 'connections', engine: 'e2', report: counts },
      { type: 'connections', engine: 'e2', report: null },
    ]);
    assert.equal(shared.get('connections/e1')?.value, counts);
  });

  it('keeps the last verdicts of a monitor that is gone', () => {
    exchange.start();
    const verdict = { isUp: false, since: 1, reason: 'refused' };
    shared.play('e2', 'health/web', { monitor: 'e2', version: 1, members: { m1: verdict } });
    shared.play('e2', 'health/web', undefined);
    assert.deepEqual(posted, [{ type: 'health', pool: 'web', members: { m1: false } }]);
  });

  it('goes by own verdicts until a report comes in, tells them to a fresh data plane, and publishes nothing', () => {
    const report = (member: string, isUp: boolean) => ({
      monitor: 'e1',
      version: 1,
      members: { [member]: { isUp, since: 1, reason: 'refused' } },
    });
    const health = (): unknown[] => posted.splice(0).filter(({ type }) => type === 'health');
    exchange.start();
    shared.play('e2', 'health/web', report('m1', true));
    health();
    exchange.judgePool('web', report('m1', false));
    assert.deepEqual(health(), [{ type: 'health', pool: 'web', members: { m1: false } }]);
    assert.equal(shared.get('health/web')?.writer, 'e2');
    exchange.replay();
    assert.deepEqual(health(), [{ type: 'health', pool: 'web', members: { m1: false } }]);
    shared.play('e2', 'health/web', undefined);
    assert.deepEqual(health(), []);
    shared.play('e3', 'health/web', report('m1', true));
    exchange.replay();
    const shared3 = { type: 'health', pool: 'web', members: { m1: true } };
    assert.deepEqual(health(), [shared3, shared3]);
    exchange.judgePool('web', report('m1', false));
    exchange.judgePool('web', null);
    assert.deepEqual(health().at(-1), shared3);
  });

  it('lets the latest record of a session win, then the greater engine id, until none is left', () => {
    exchange.start();
    const session = (): unknown => (posted.at(-1) as Extract<ToDataplane, { type: 'session' }>).session;
    shared.play('e2', 'session/web/fd00::1/e2', { member: 'm2', time: 20 });
    shared.play('e3', 'session/web/fd00::1/e3', { member: 'm3', time: 10 });
    assert.deepEqual(session(), { member: 'm2', time: 20, engine: 'e2' });
    shared.play('e3', 'session/web/fd00::1/e3', { member: 'm3', time: 20 });
    assert.deepEqual(session(), { member: 'm3', time: 20, engine: 'e3' });
    shared.play('e3', 'session/web/fd00::1/e3', undefined);
    assert.deepEqual(session(), { member: 'm2', time: 20, engine: 'e2' });
    shared.play('e2', 'session/web/fd00::1/e2', undefined);
    assert.equal(session(), null);
  });

  it('publishes its own sessions for as long as they hold, and does not hear of them from itself', () => {
    exchange.start();
    exchange.putSession({
      type: 'session',
      service: 'web',
      client: '10.0.0.1',
      member: 'm1',
      time: 5,
      timeoutMs: 60_000,
    });
    assert.deepEqual(shared.get('session/web/10.0.0.1/e1')?.value, { member: 'm1', time: 5 });
    assert.equal(shared.ttls['session/web/10.0.0.1/e1'], 60_000);
    assert.deepEqual(posted, []);
  });

  it('takes up sessions that this engine made in an earlier life', () => {
    shared.play('e1', 'session/web/10.0.0.1/e1', { member: 'm1', time: 5 }, 6);
    exchange.start();
    assert.deepEqual(posted, [
      {
        type: 'session',
        service: 'web',
        client: '10.0.0.1',
        session: { member: 'm1', time: 5, engine: 'e1' },
      },
    ]);
  });

  it('tells a fresh data plane everything again, its own sessions too', () => {
    exchange.start();
    shared.play('e2', 'connections/e2', counts);
    exchange.putSession({
      type: 'session',
      service: 'web',
      client: '10.0.0.1',
      member: 'm1',
      time: 5,
      timeoutMs: 60_000,
    });
    posted.length = 0;
    exchange.replay();
    assert.deepEqual(
      posted.map(({ type }) => type),
      ['connections', 'session'],
    );
  });

  it('brings sessions of proxied HTTP to the proxies, and not those that they told', () => {
    const [mine, other] = [
      { client: '00000000000000aa', member: 'm1 10.0.0.1 80', time: 5 },
      { client: '00000000000000bb', member: 'm2 10.0.0.2 80', time: 6 },
    ];
    exchange.start();
    exchange.putHttpSession('web', mine!, 60_000);
    assert.equal(shared.ttls['http-session/web/00000000000000aa/e1'], 60_000);
    shared.play('e2', 'http-session/web/00000000000000bb/e2', { member: other!.member, time: 6 });
    shared.play('e2', 'http-session/web/00000000000000bb/e2', undefined);
    shared.play('e1', 'http-session/web/00000000000000cc/e1', { member: 'm1', time: 1 }, 6);
    assert.deepEqual(learned, [
      ['web', other],
      ['web', { client: '00000000000000cc', member: 'm1', time: 1 }],
    ]);
    assert.deepEqual([...exchange.httpSessions('web')].map(({ client }) => client).sort(), [
      '00000000000000aa',
      '00000000000000cc',
    ]);
    assert.deepEqual([...exchange.httpSessions('we')], []);
    shared.play('e2', 'http-session/web/bad/e2', { member: 'm1', time: 1 });
    assert.deepEqual(invalid, ['http-session/web/bad/e2']);
    assert.deepEqual(posted, []);
  });

  it('passes over an entry that is not what its key promises', () => {
    exchange.start();
    shared.play('e2', 'health/web', { monitor: 'e2' });
    shared.play('e2', 'session/odd', { member: 'm1', time: 1 });
    assert.deepEqual(invalid, ['health/web', 'session/odd']);
    assert.deepEqual(posted, []);
  });
});
