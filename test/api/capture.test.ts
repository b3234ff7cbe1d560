import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { WeftError } from '../../src/policy/errors.ts';
import { type ApiFixture, openApi, TOKEN } from './fixture.ts';

describe('capture over REST', () => {
  let fixture: ApiFixture;
  let port: number;
  beforeEach(async () => {
    fixture = await openApi();
    await fixture.applySample();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    port = (fixture.api.server.address() as AddressInfo).port;
    fixture.backend.chunks = [Buffer.from('head')];
  });
  afterEach(() => fixture.close());

  /** Opens a capture and resolves with its answer's head. */
  function open(path: string): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = { port, path, headers: { authorization: `Bearer ${TOKEN}` }, agent: false };
      http.get(options, resolve).on('error', reject);
    });
  }

  async function bodyOf(answer: http.IncomingMessage): Promise<string> {
    const parts: Buffer[] = [];
    for await (const part of answer) parts.push(part as Buffer);
    return Buffer.concat(parts).toString();
  }

  async function until(holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 5000;
    while (!holds() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(holds());
  }

  it('streams the file, with bounds where none are named, and ends it in good order when it is told to', async () => {
    const answer = await open('/api/v1/capture/web');
    assert.deepEqual(
      [answer.statusCode, answer.headers['content-type'], answer.headers['cache-control']],
      [200, 'application/x-pcapng', 'no-store'],
    );
    assert.deepEqual(fixture.backend.captured, [
      { service: 'web', engine: null, client: null, seconds: 60, packets: 10_000, snap: 1600 },
    ]);
    const id = String(answer.headers['weft-capture']);
    assert.equal((await fixture.call('DELETE', `/api/v1/capture/web/${id}`)).statusCode, 204);
    assert.equal(await bodyOf(answer), 'headend');
    assert.deepEqual(fixture.backend.captureEnds, ['ended']);
    assert.equal((await fixture.call('DELETE', `/api/v1/capture/web/${id}`)).statusCode, 404);
    assert.match(fixture.logged(), /a capture of packets begins/);
  });

  it('ends when its reader is gone, and when the controller stops', async () => {
    (await open('/api/v1/capture/web?seconds=9')).destroy();
    await until(() => fixture.backend.captureEnds.length === 1);
    const answer = await open('/api/v1/capture/web');
    answer.on('error', () => {});
    await fixture.api.close();
    await until(() => fixture.backend.captureEnds.length === 2);
    assert.deepEqual(fixture.backend.captureEnds, ['gone', 'gone']);
  });

  it('refuses the ninth at a time, and takes another once one is over', async () => {
    const eight = await Promise.all(Array.from({ length: 8 }, () => open('/api/v1/capture/web')));
    const ninth = await open('/api/v1/capture/web');
    assert.equal(JSON.parse(await bodyOf(ninth)).code, 'ERR_THROTTLED');
    for (const one of eight) one.destroy();
    await until(() => fixture.backend.captureEnds.length === 8);
    assert.equal(await bodyOf(await open('/api/v1/capture/web?seconds=1')), 'headend');
  });

  it('refuses what makes no sense, names the nearest service, and passes on why engines refuse', async () => {
    const call = (path: string) => fixture.call('GET', `/api/v1/capture/${path}`);
    assert.match((await call('wbe')).json().message, /did you mean "web"/);
    for (const [query, path] of [
      ['seconds=0', '$.seconds'],
      ['seconds=3601', '$.seconds'],
      ['seconds=soon', '$.seconds'],
      ['packets=1000001', '$.packets'],
      ['packets=-1', '$.packets'],
      ['snap=63', '$.snap'],
      ['snap=65551', '$.snap'],
      ['snap=1.5', '$.snap'],
      ['client=10.0.0.0%2F33', '$.client'],
      ['client=a&client=b', '$.client'],
      ['engine=', '$.engine'],
      ['file=%2Fetc%2Fpasswd', '$.file'],
    ]) {
      const answer = await call(`web?${query}`);
      assert.equal(answer.statusCode, 400, query);
      assert.deepEqual(
        answer.json().problems.map((one: { path: string }) => one.path),
        [path],
        query,
      );
    }
    assert.deepEqual(fixture.backend.captured, []);
    fixture.backend.error = new WeftError('ERR_THROTTLED', 'engine edge-h1 captures service web already');
    const refused = await call('web');
    assert.deepEqual([refused.statusCode, refused.json().code], [429, 'ERR_THROTTLED']);
    for (const id of ['x', '..%2f..', '__proto__', 'a'.repeat(150)]) {
      assert.equal((await fixture.call('DELETE', `/api/v1/capture/web/${id}`)).statusCode, 404, id);
    }
    const noToken = await fixture.api.inject({ method: 'GET', url: '/api/v1/capture/web' });
    assert.equal(noToken.statusCode, 401);
  });
});
