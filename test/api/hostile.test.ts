import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { type ApiFixture, openApi, TOKEN } from './fixture.ts';

const AUTH = { authorization: `Bearer ${TOKEN}` };

describe('the API in front of strangers', () => {
  let fixture: ApiFixture;
  let port: number;
  beforeEach(async () => {
    fixture = await openApi();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    port = (fixture.api.server.address() as AddressInfo).port;
  });
  afterEach(() => fixture.close());

  it('answers nobody without the token, on any route, known or not, but /healthz', async () => {
    const urls = [
      '/api/v1/pool',
      '/api/v1/pool/x',
      '/api/v1/status',
      '/api/v1/watch',
      '/api/openapi.json',
      '/',
      '/x',
      '/healthz/',
      '/HEALTHZ',
      '//healthz',
      '/healthz/../api/v1/pool',
      '/%68ealthz/x',
    ];
    for (const url of urls) {
      for (const authorization of [
        undefined,
        'Bearer',
        'Bearer ',
        `Basic ${TOKEN}`,
        `Bearer ${TOKEN}x`,
        `Bearer ${TOKEN.slice(1)}`,
        `Bearer ${TOKEN} x`,
      ]) {
        const answer = await fixture.api.inject({
          url,
          headers: authorization === undefined ? {} : { authorization },
        });
        assert.ok([401, 429].includes(answer.statusCode), `${url} ${authorization}: ${answer.statusCode}`);
        fixture.clock.ms += 10_000;
      }
    }
    const health = await fixture.api.inject({ url: '/healthz' });
    assert.deepEqual([health.statusCode, health.json()], [200, { ok: true }]);
    assert.doesNotMatch(fixture.logged(), new RegExp(TOKEN.slice(1)));
  });

  it('ends connections that never finish their headers, also of who neither reads nor closes', async () => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /api/v1/pool HTTP/1.1\r\nHost: x\r\n');
    const count = () =>
      new Promise<number>((resolve) =>
        fixture.api.server.getConnections((_error, number) => resolve(number)),
      );
    try {
      const startedAt = performance.now();
      while ((await count()) > 0) {
        assert.ok(performance.now() - startedAt < 12_000, 'the server still keeps the connection');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    } finally {
      socket.destroy();
    }
  }).timeout(15_000);

  it('slows down whoever guesses tokens, and never the one who has it', async () => {
    const guess = () =>
      fixture.api.inject({
        url: '/api/v1/status',
        headers: { authorization: 'Bearer wrong-wrong-wrong-wrong' },
      });
    for (let count = 0; count < 10; count++) assert.equal((await guess()).statusCode, 401);
    const throttled = await guess();
    assert.equal(throttled.statusCode, 429);
    assert.equal(throttled.json().code, 'ERR_THROTTLED');
    assert.equal(throttled.headers['retry-after'], '60');
    assert.equal((await fixture.call('GET', '/api/v1/status')).statusCode, 200);
    fixture.clock.ms += 61_000;
    assert.equal((await guess()).statusCode, 401);
  });

  it('refuses pages of other origins, token or not', async () => {
    for (const origin of ['http://evil.example', 'null', 'x', 'http://localhost:81']) {
      const answer = await fixture.call('GET', '/api/v1/status', undefined, { origin, host: 'localhost:80' });
      assert.equal(answer.statusCode, 403, origin);
    }
    const own = await fixture.call('GET', '/api/v1/status', undefined, {
      origin: 'http://weft:7470',
      host: 'weft:7470',
    });
    assert.equal(own.statusCode, 200);
  });

  it('refuses a body of 100 MB after the first megabyte, with and without a length, in bounded memory', async () => {
    for (const isChunked of [false, true]) {
      const before = process.memoryUsage().rss;
      const { status, sentBytes } = await upload(100 * 1024 * 1024, isChunked);
      assert.equal(status, 413);
      assert.ok(sentBytes < 20 * 1024 * 1024, `${sentBytes} bytes were taken`);
      assert.ok(process.memoryUsage().rss - before < 60 * 1024 * 1024);
    }
    assert.equal((await fixture.call('GET', '/api/v1/status')).statusCode, 200);
  });

  it('tells also a client that sends its whole body before it reads why it was refused', async () => {
    const socket = net.connect(port, '127.0.0.1');
    let error: Error | null = null;
    socket.on('error', (cause) => {
      error = cause;
    });
    const head = `POST /api/v1/apply HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`;
    socket.write(`${head}Content-Length: 10000000\r\n\r\n`);
    const part = Buffer.alloc(10_000, 0x20);
    for (let count = 0; count < 1000 && error === null; count++) {
      await new Promise((resolve) => socket.write(part, resolve));
    }
    assert.equal(error, null);
    const [answer] = await once(socket, 'data');
    assert.match(String(answer), /^HTTP\/1\.1 413 /);
    socket.destroy();
  });

  it('ends the connection of one that goes on sending all the same', async () => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST /api/v1/apply HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n`,
    );
    const sending = setInterval(() => socket.write('     '), 50);
    try {
      const startedAt = performance.now();
      socket.resume();
      // Not by once(): a reset, which is as good an end, would reject it.
      await new Promise((resolve) => socket.once('close', resolve));
      assert.ok(performance.now() - startedAt < 5000);
    } finally {
      clearInterval(sending);
      socket.destroy();
    }
  });

  it('refuses JSON nested 10,000 deep, broken, duplicated, or with names that reach a prototype', async () => {
    const bodies = [
      `${'['.repeat(10_000)}${']'.repeat(10_000)}`,
      `{"spec":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`,
      '{"spec":',
      '',
      '{"spec":{},"spec":{}}',
      '{"__proto__":{"spec":{}}}',
      '{"spec":{"constructor":{"prototype":{"x":1}}}}',
    ];
    for (const body of bodies) {
      const answer = await fixture.api.inject({
        method: 'PUT',
        url: '/api/v1/pool/x',
        headers: { ...AUTH, 'content-type': 'application/json' },
        payload: body,
      });
      assert.equal(answer.statusCode, 400, body.slice(0, 40));
      assert.equal(answer.json().code, 'ERR_BODY_INVALID');
    }
    assert.equal(({} as Record<string, unknown>).x, undefined);
  });

  it('refuses bodies that are not JSON', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'application/yaml',
    ]) {
      const answer = await fixture.api.inject({
        method: 'POST',
        url: '/api/v1/apply',
        headers: { ...AUTH, 'content-type': type },
        payload: 'x',
      });
      assert.equal(answer.json().code, 'ERR_BODY_INVALID');
    }
    for (const body of ['null', '3', '"x"', '{}', '[[]]', '[null]']) {
      const answer = await fixture.api.inject({
        method: 'POST',
        url: '/api/v1/apply',
        headers: { ...AUTH, 'content-type': 'application/json' },
        payload: body,
      });
      assert.equal(answer.statusCode, 400, body);
    }
  });

  it('refuses names with line ends, slashes, dots and prototype names, and repeats none of it raw', async () => {
    for (const name of [
      'a%0d%0aSet-Cookie:x',
      'a%2fb',
      '..',
      '%2e%2e',
      '__proto__',
      'constructor',
      'a%00',
      '%ff',
      'A',
      'x'.repeat(64),
      'x'.repeat(5000),
      '%e2%80%ae',
    ]) {
      for (const [method, kind] of [
        ['GET', 'pool'],
        ['PUT', 'pool'],
        ['DELETE', 'pool'],
      ] as const) {
        const answer = await fixture.call(
          method,
          `/api/v1/${kind}/${name}`,
          method === 'PUT' ? { spec: {} } : undefined,
        );
        assert.ok([400, 404].includes(answer.statusCode), `${method} ${name}: ${answer.statusCode}`);
        assert.ok(answer.json().code.startsWith('ERR_'));
        assert.doesNotMatch(answer.json().message, /\p{Cc}/u);
      }
    }
    for (const kind of ['__proto__', 'constructor', 'toString', 'spec%00']) {
      assert.equal((await fixture.call('GET', `/api/v1/${kind}/x`)).statusCode, 404);
    }
    assert.doesNotMatch(fixture.logged().replaceAll('\n', ''), /\p{Cc}/u);
  });

  it('answers errors of its own making without their insides, and logs them', async () => {
    fixture.backend.error = new Error('secret-inside');
    const answer = await fixture.call('GET', '/api/v1/status');
    assert.equal(answer.statusCode, 500);
    assert.equal(answer.json().code, 'ERR_INTERNAL');
    assert.doesNotMatch(answer.body, /secret-inside/);
    assert.match(fixture.logged(), /secret-inside/);
  });

  it('refuses requests that two servers could read differently', async () => {
    const head = `PUT /api/v1/pool/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`;
    const requests = [
      `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
      `${head}Content-Length: +2\r\n\r\n{}`,
      `${head}Content-Length: 0x2\r\n\r\n{}`,
      `${head}Transfer-Encoding: xchunked\r\n\r\n{}`,
      `${head}X : y\r\n\r\n`,
      `${head}X: a\r\n b\0\r\n\r\n`,
      'GET /healthz HTTP/1.1\r\n\r\n',
      'GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc',
    ];
    for (const request of requests) {
      const answer = await raw(request);
      assert.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(request.slice(-60)));
    }
    assert.equal(await fixture.store.get('policy/pool/x'), undefined);
  });

  async function upload(bytes: number, isChunked: boolean): Promise<{ status: number; sentBytes: number }> {
    const request = http.request({
      port,
      host: '127.0.0.1',
      method: 'POST',
      path: '/api/v1/apply',
      headers: {
        ...AUTH,
        'content-type': 'application/json',
        ...(isChunked ? {} : { 'content-length': bytes }),
      },
    });
    request.on('error', () => {});
    request.setMaxListeners(0);
    let status = 0;
    request.once('response', (response) => {
      status = response.statusCode ?? 0;
      response.resume();
    });
    const chunk = Buffer.alloc(65_536, 0x20);
    let sentBytes = 0;
    while (sentBytes < bytes && status === 0 && !request.destroyed) {
      sentBytes += chunk.length;
      if (!request.write(chunk)) {
        await Promise.race([once(request, 'drain'), once(request, 'response'), once(request, 'close')]).catch(
          () => {},
        );
      }
    }
    if (status === 0 && !request.destroyed) await once(request, 'response');
    request.destroy();
    return { status, sentBytes };
  }

  async function raw(request: string): Promise<string> {
    const socket = net.connect(port, '127.0.0.1');
    socket.setTimeout(3000, () => socket.destroy(new Error('no answer')));
    socket.end(Buffer.from(request, 'latin1'));
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    return answer;
  }
});
