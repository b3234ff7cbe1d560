import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventOf } from '../../src/api/watch.ts';
import type { WatchEvent } from '../../src/policy/answers.ts';
import { type ApiFixture, openApi, TOKEN } from './fixture.ts';

describe('watch', () => {
  let fixture: ApiFixture;
  let port: number;
  const streams: http.ClientRequest[] = [];
  beforeEach(async () => {
    fixture = await openApi();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    port = (fixture.api.server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    for (const stream of streams.splice(0)) stream.destroy();
    await fixture.close();
  });

  it('tells every change of objects and their status after a revision, in order, without gaps', async () => {
    await fixture.applySample();
    const start = fixture.store.revision;
    await fixture.store.write([{ key: 'status/pool/shop', value: { message: 'two up' } }]);
    await fixture.call('DELETE', '/api/v1/virtual-service/web');
    const events = watch(`?revision=${start}`);
    assert.deepEqual(await next(events, 2), [
      {
        kind: 'pool',
        name: 'shop',
        part: 'status',
        revision: start + 1,
        type: 'changed',
        value: { message: 'two up' },
      },
      { kind: 'virtual-service', name: 'web', part: 'spec', revision: start + 2, type: 'deleted' },
    ]);
    await fixture.call('DELETE', '/api/v1/pool/shop');
    assert.equal((await next(events, 1))[0]!.name, 'shop');
  });

  it('takes up again after the last event that was seen', async () => {
    await fixture.applySample();
    const start = fixture.store.revision;
    await fixture.call('DELETE', '/api/v1/virtual-service/web');
    await fixture.call('DELETE', '/api/v1/pool/shop');
    const [event] = await next(watch('', { 'last-event-id': String(start + 1) }), 1);
    assert.equal(event!.name, 'shop');
  });

  it('never shows other keys of the store', () => {
    for (const key of [
      'pki/ca',
      'policy-guard',
      'policy/pool',
      'policy/secret/x',
      'journal/1',
      'policy/pool/x/y',
    ]) {
      assert.equal(eventOf({ key, value: 1, revision: 1 }), null);
    }
  });

  it('refuses revisions that are none or not of this store', async () => {
    assert.equal((await fixture.call('GET', '/api/v1/watch?revision=x')).statusCode, 400);
    const answer = await fixture.call('GET', '/api/v1/watch?revision=99');
    assert.deepEqual([answer.statusCode, answer.json().code], [410, 'ERR_COMPACTED']);
  });

  it('says to list again where the store no longer has what is asked for', async () => {
    await fixture.close();
    fixture = await openApi({ historyLimit: 2 });
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    port = (fixture.api.server.address() as AddressInfo).port;
    await fixture.applySample();
    for (let count = 0; count < 5; count++) {
      await fixture.store.write([{ key: 'status/pool/shop', value: { count } }]);
    }
    const text = await new Promise<string>((resolve) => {
      get('?revision=0').once('response', async (response) => resolve((await response.toArray()).join('')));
    });
    assert.match(text, /^event: failure\ndata: \{"code":"ERR_COMPACTED"/m);
  });

  it('ends when the API closes', async () => {
    await fixture.applySample();
    const events = watch('?revision=0');
    await next(events, 4);
    await fixture.api.close();
    assert.equal((await events.next()).done, true);
  });

  it('is refused beyond 100 at a time, and free again when one ends', async () => {
    const open = await Promise.all(Array.from({ length: 100 }, () => opened()));
    assert.equal((await fixture.call('GET', '/api/v1/watch')).json().code, 'ERR_THROTTLED');
    open[0]!.destroy();
    for (let attempt = 0; attempt < 50; attempt++) {
      const status = await new Promise<number>((resolve) => {
        const request = get('');
        request.once('response', (response) => resolve(response.statusCode ?? 0));
      });
      if (status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail('no watch was free again');
  });

  function get(query: string, headers: Record<string, string> = {}): http.ClientRequest {
    const request = http.get({
      host: '127.0.0.1',
      port,
      path: `/api/v1/watch${query}`,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
      agent: false,
    });
    request.on('error', () => {});
    streams.push(request);
    return request;
  }

  async function opened(): Promise<http.ClientRequest> {
    const request = get('');
    await new Promise((resolve) => request.once('response', resolve));
    return request;
  }

  async function* watch(query: string, headers?: Record<string, string>): AsyncGenerator<WatchEvent> {
    const request = get(query, headers);
    const response = await new Promise<http.IncomingMessage>((resolve) => request.once('response', resolve));
    let text = '';
    try {
      for await (const chunk of response) {
        text += String(chunk);
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
          text = text.slice(end + 2);
          if (data !== undefined) yield JSON.parse(data) as WatchEvent;
        }
      }
    } catch {
      // The server cut the stream.
    }
  }

  async function next(events: AsyncGenerator<WatchEvent>, count: number): Promise<WatchEvent[]> {
    const found: WatchEvent[] = [];
    while (found.length < count) {
      const { value, done } = await events.next();
      if (done) break;
      found.push(value);
    }
    return found;
  }
});
