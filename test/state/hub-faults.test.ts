import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Identity } from '../../src/state/identity.ts';
import type { SharedState } from '../../src/state/shared.ts';
import { connectShared } from '../../src/state/shared-client.ts';
import { eventually } from '../contract/shared.ts';
import { HubFixture } from './hub-fixture.ts';
import { UnrulyRelay } from './unruly-relay.ts';

describe('shared state under faults', () => {
  let fixture: HubFixture;

  afterEach(() => fixture.dispose());

  it('converges though messages are repeated and reordered and links break', async function () {
    this.timeout(30_000);
    fixture = await HubFixture.open({ graceMs: 300 });
    const engines: SharedState[] = [];
    const relays: UnrulyRelay[] = [];
    const views = [1, 2, 3, 4].map(() => new Map<string, unknown>());
    for (const [index, engine] of ['a', 'b', 'c', 'd'].entries()) {
      const identity = await fixture.identity(engine);
      const relay = await UnrulyRelay.open(fixture.authority, fixture.url, identity);
      relays.push(relay);
      const client = connectShared({ url: relay.url, identity, writer: engine, epoch: 1 });
      engines.push(client);
      client.subscribe('', ({ key, value }) => views[index]!.set(key, JSON.stringify(value)));
    }
    const truth = new Map<string, unknown>();
    const end = Date.now() + 4000;
    let round = 0;
    while (Date.now() < end) {
      round++;
      for (const engine of engines) {
        engine.put(`connections/${engine.writer}`, { round });
        truth.set(`connections/${engine.writer}`, { round });
        const key = `session/s/${round % 40}/${engine.writer}`;
        if (Math.random() < 0.3) {
          engine.delete(key);
          truth.delete(key);
        } else {
          engine.put(key, { member: 'm', time: round }, { ttlMs: 60_000 });
          truth.set(key, { member: 'm', time: round });
        }
      }
      if (round % 100 === 0) relays[Math.floor(Math.random() * 4)]!.cut();
      await delay(3);
    }
    const expected = JSON.stringify([...truth].sort());
    const contentOf = (state: SharedState) =>
      JSON.stringify(
        state
          .list('')
          .map(({ key, value }) => [key, value])
          .sort(),
      );
    for (const state of [fixture.hub, ...engines]) {
      await eventually(() => contentOf(state) === expected, `${state.writer} converges`, 8000);
    }
    for (const view of views) {
      const shown = [...view].filter(([, json]) => json !== undefined);
      assert.equal(
        JSON.stringify(shown.sort()),
        JSON.stringify([...truth].map(([k, v]) => [k, JSON.stringify(v)]).sort()),
      );
    }
    assert.ok(relays.every((relay) => relay.repeated > 20 && relay.reordered > 20));
    await Promise.all(engines.map((engine) => engine.close()));
    for (const relay of relays) relay.close();
  });

  it('takes 200 engines back at once', async function () {
    this.timeout(60_000);
    fixture = await HubFixture.open();
    const identity = await fixture.identity('e0');
    const engines: SharedState[] = [];
    for (let n = 0; n < 200; n++) {
      const own = n === 0 ? identity : await fixture.identity(`e${n}`);
      const engine = connectShared({ url: fixture.url, identity: own, writer: `e${n}`, epoch: 1 });
      engine.subscribe('connections/', () => {});
      engine.put(`connections/e${n}`, { local: { m: n } });
      engines.push(engine);
    }
    const allKnow = () => engines.every((engine) => engine.list('connections/').length === 200);
    await eventually(allKnow, 'all connect', 20_000);
    const hub = await fixture.restartHub();
    const from = performance.now();
    await eventually(() => hub.connected().length === 200, 'all are back', 20_000);
    await eventually(() => hub.list('connections/').length === 200, 'the hub knows all', 20_000);
    const tookMs = Math.round(performance.now() - from);
    assert.ok(allKnow());
    assert.ok(tookMs < 15_000, `${tookMs} ms`);
    await Promise.all(engines.map((engine) => engine.close()));
  });

  it('notices a link that swallows everything within 4 s at both ends', async function () {
    this.timeout(15_000);
    fixture = await HubFixture.open();
    const client = await fixture.connect('a');
    await eventually(() => client.isConnected, 'a connects');
    await delay(1500);
    const from = performance.now();
    fixture.wires.get('a')!.hold();
    await eventually(() => !client.isConnected && fixture.hub.connected().length === 0, 'both notice', 6000);
    const tookMs = performance.now() - from;
    assert.ok(tookMs > 1500 && tookMs < 4500, `${tookMs} ms`);
    fixture.wires.get('a')!.heal();
    await eventually(() => client.isConnected, 'a is back');
  });

  it('cuts off an engine that does not read, and no other waits for it', async function () {
    this.timeout(20_000);
    fixture = await HubFixture.open();
    const [slow, quick] = [await fixture.connect('slow'), await fixture.connect('quick')];
    const writer = await fixture.connect('writer');
    let latest = 0;
    slow.subscribe('connections/', () => {});
    quick.subscribe('connections/', ({ value }) => {
      latest = (value as { n: number } | undefined)?.n ?? 0;
    });
    await eventually(() => [slow, quick, writer].every((one) => one.isConnected), 'all connect');
    fixture.wires.get('slow')!.hold();
    const padding = 'x'.repeat(200_000);
    let worst = 0;
    for (let n = 1; n <= 120; n++) {
      writer.put('connections/writer', { n, padding });
      const from = performance.now();
      await eventually(() => latest === n, 'the quick one sees it');
      worst = Math.max(worst, performance.now() - from);
    }
    await eventually(() => fixture.hub.connected().length === 2, 'the slow one is cut off');
    assert.ok(worst < 1000, `${worst} ms`);
    fixture.wires.get('slow')!.heal();
    await eventually(
      () => JSON.stringify(slow.get('connections/writer')?.value)?.startsWith('{"n":120,') === true,
      'it catches up',
      8000,
    );
  });

  it('has everything back after the controller stood still, and nothing lapsed for it', async function () {
    this.timeout(30_000);
    fixture = await HubFixture.open();
    const directory = join(fixture.directory, 'stopped');
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'hub-process.ts'), directory],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const { url, identities } = JSON.parse((await lines.next()).value!) as {
      url: string;
      identities: Record<string, Identity>;
    };
    const [a, b] = ['a', 'b'].map((writer) =>
      connectShared({ url, identity: identities[writer]!, writer, epoch: 1 }),
    ) as [SharedState, SharedState];
    let lapses = 0;
    b.subscribe('connections/', ({ value }) => {
      if (value === undefined) lapses++;
    });
    a.put('connections/a', 1);
    await eventually(() => b.get('connections/a'), 'b sees a');
    child.kill('SIGSTOP');
    await eventually(() => !a.isConnected && !b.isConnected, 'both notice');
    a.put('connections/a', 2);
    await delay(2500);
    assert.equal(b.get('connections/a')?.value, 1);
    child.kill('SIGCONT');
    await eventually(() => b.get('connections/a')?.value === 2, 'all is back', 10_000);
    assert.equal(lapses, 0);
    await Promise.all([a.close(), b.close()]);
    child.kill('SIGKILL');
    await once(child, 'close');
  });
});
