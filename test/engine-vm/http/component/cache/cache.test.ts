/** The cache on sockets: what members are asked, what clients get. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import * as zlib from 'node:zlib';
import { NodeMember } from '../../node-member.ts';
import { loopKinds, ProxySite } from '../../proxy-site.ts';
import { fetchRaw, type RawResponse } from '../../raw-client.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A member that answers as the test says, and counts. */
class Member extends NodeMember {
  answer: Answer = (_, response) => response.end();
  asked: string[] = [];
  headers: IncomingMessage['headers'][] = [];

  protected serve(request: IncomingMessage, response: ServerResponse): void {
    this.asked.push(`${request.method} ${request.url}`);
    this.headers.push(request.headers);
    request.resume();
    this.answer(request, response);
  }
}

for (const loop of loopKinds()) {
  describe(`the cache by ${loop}`, () => {
    const member = new Member();
    let port = 0;
    let site: ProxySite;
    let count = 0;
    /** A path that no test has used. */
    const fresh = (): string => `/page${++count}`;
    const get = (path: string, fields: string[] = [], method = 'GET'): Promise<RawResponse> =>
      fetchRaw(site.port, `${method} ${path}`, fields);
    /** Answers with these fields and a body that counts. */
    const give = (headers: Record<string, string | string[]>, status = 200): void => {
      let n = 0;
      member.answer = (_, response) => {
        const body = `body ${++n}`;
        response.writeHead(status, { 'Content-Length': body.length, ...headers }).end(body);
      };
    };

    before(async () => {
      port = await member.listen();
      site = await ProxySite.start(
        [port],
        {
          compression: { codings: ['gzip', 'br'] },
          cache: { maxBytes: 2 ** 24, maxObjectBytes: 2 ** 22, purgeFrom: ['127.0.0.1'], cacheStatus: true },
        },
        loop,
        2,
      );
    });
    after(async () => {
      await site.stop();
      await member.close();
    });
    beforeEach(() => {
      member.asked = [];
      member.headers = [];
    });

    it('answers from what it has, in all workers, and says how old it is', async () => {
      give({ 'Cache-Control': 'max-age=60', ETag: '"a"', 'Content-Type': 'text/plain' });
      const path = fresh();
      const first = await get(path);
      assert.equal(first.fields['cache-status'], 'weft; fwd=miss; stored');
      assert.equal(first.fields.age, undefined);
      for (let n = 0; n < 20; n++) {
        const { status, fields, body, isWhole } = await get(path);
        assert.equal(status, 200);
        assert.ok(isWhole);
        assert.equal(body.toString(), 'body 1');
        assert.equal(fields['content-length'], '6');
        assert.equal(fields['content-type'], 'text/plain');
        assert.equal(fields.etag, '"a"');
        assert.match(fields.age!, /^[01]$/);
        assert.equal(fields['cache-status'], 'weft; hit');
      }
      assert.equal(member.asked.length, 1);
    });

    it('answers HEAD, conditions and ranges from a whole response', async () => {
      const modified = 'Thu, 01 Jan 2026 00:00:00 GMT';
      give({ 'Cache-Control': 'max-age=60', ETag: '"a"', 'Last-Modified': modified });
      const path = fresh();
      await get(path);
      const head = await get(path, [], 'HEAD');
      assert.equal(head.fields['content-length'], '6');
      assert.ok(head.isWhole);
      const TABLE: [fields: string[], status: number, body: string, range?: string][] = [
        [['If-None-Match: "b", W/"a"'], 304, ''],
        [['If-None-Match: *'], 304, ''],
        [['If-None-Match: "b"', `If-Modified-Since: ${modified}`], 200, 'body 1'],
        [[`If-Modified-Since: ${modified}`], 304, ''],
        [['If-Modified-Since: Wed, 31 Dec 2025 00:00:00 GMT'], 200, 'body 1'],
        [['Range: bytes=0-3'], 206, 'body', 'bytes 0-3/6'],
        [['Range: bytes=5-'], 206, '1', 'bytes 5-5/6'],
        [['Range: bytes=-1'], 206, '1', 'bytes 5-5/6'],
        [['Range: bytes=-99'], 206, 'body 1', 'bytes 0-5/6'],
        [['Range: bytes=6-'], 416, '', 'bytes */6'],
        [['Range: bytes=0-1,3-4'], 200, 'body 1'],
        [['Range: lines=0-1'], 200, 'body 1'],
        [['Range: bytes=0-3', 'If-Range: "a"'], 206, 'body', 'bytes 0-3/6'],
        [['Range: bytes=0-3', 'If-Range: W/"a"'], 200, 'body 1'],
        [['Range: bytes=0-3', `If-Range: ${modified}`], 206, 'body', 'bytes 0-3/6'],
      ];
      for (const [fields, status, body, range] of TABLE) {
        const answer = await get(path, fields);
        assert.equal(answer.status, status, fields.join());
        assert.equal(answer.body.toString(), body, fields.join());
        assert.equal(answer.fields['content-range'], range);
        assert.ok(answer.isWhole);
        if (status === 304) assert.equal(answer.fields.etag, '"a"');
      }
      assert.equal(member.asked.length, 1);
    });

    const NOT_STORED: [name: string, headers: Record<string, string>, fields?: string[], status?: number][] =
      [
        ['no-store', { 'Cache-Control': 'max-age=60, no-store' }],
        ['private', { 'Cache-Control': 'Private="x", max-age=60' }],
        ['no lifetime', { 'Last-Modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }],
        ['max-age=0', { 'Cache-Control': 'max-age=0' }],
        ['s-maxage=0', { 'Cache-Control': 's-maxage=0, max-age=60' }],
        ['Expires in the past', { Expires: '0' }],
        ['Set-Cookie', { 'Cache-Control': 'max-age=60', 'Set-Cookie': 'a=b' }],
        ['Vary: *', { 'Cache-Control': 'max-age=60', Vary: '*' }],
        ['status 500', { 'Cache-Control': 'max-age=60' }, [], 500],
        ['Authorization', { 'Cache-Control': 'max-age=60' }, ['Authorization: Basic eDp5']],
        ['a cookie', { 'Cache-Control': 'max-age=60' }, ['Cookie: a=b']],
        ['no-store of the client', { 'Cache-Control': 'max-age=60' }, ['Cache-Control: no-store']],
        ['another method by a field', { 'Cache-Control': 'max-age=60' }, ['X-HTTP-Method-Override: DELETE']],
        ['another target by a field', { 'Cache-Control': 'max-age=60' }, ['X-Original-URL: /admin']],
        ['another host by a field', { 'Cache-Control': 'max-age=60' }, ['X-Host: evil']],
        ['a body', { 'Cache-Control': 'max-age=60' }, ['Content-Length: 0', 'If-Match: "x"']],
      ];
    for (const [name, headers, fields = [], status = 200] of NOT_STORED) {
      it(`asks the member each time with ${name}`, async () => {
        give(headers, status);
        const path = fresh();
        await get(path, fields);
        assert.equal((await get(path, fields)).body.toString(), 'body 2');
      });
    }

    it('stores what Authorization and cookies came with where the member says that it is for all', async () => {
      for (const control of ['public, max-age=60', 's-maxage=60']) {
        give({ 'Cache-Control': control });
        const path = fresh();
        await get(path, ['Authorization: Basic eDp5', 'Cookie: a=b']);
        assert.equal((await get(path)).body.toString(), 'body 1');
      }
    });

    it('keeps hosts, queries and variants apart', async () => {
      give({ 'Cache-Control': 'max-age=60', Vary: 'Accept-Language' });
      const path = fresh();
      const asks: [path: string, fields: string[]][] = [
        [path, []],
        [path, ['Host: other']],
        [`${path}?a&b`, []],
        [`${path}?b&a`, []],
        [path, ['Accept-Language: de']],
        [path, ['Accept-Language: fr']],
      ];
      for (let round = 0; round < 2; round++) {
        for (const [n, [target, fields]] of asks.entries()) {
          assert.equal((await get(target, fields)).body.toString(), `body ${n + 1}`);
        }
      }
      assert.equal((await get(path, ['Host: OTHER'])).body.toString(), 'body 2');
    });

    it('stores no more than some variants of an address', async () => {
      give({ 'Cache-Control': 'max-age=60', Vary: 'X-Any' });
      const path = fresh();
      for (let n = 0; n < 40; n++) await get(path, [`X-Any: ${n}`]);
      assert.equal((await get(path, ['X-Any: 39'])).body.toString(), 'body 40');
      assert.equal((await get(path, ['X-Any: 0'])).body.toString(), 'body 41');
    });

    it('stores what is compressed, and serves it to those who take it', async () => {
      const text = 'compress me '.repeat(1000);
      member.answer = (_, response) =>
        response.writeHead(200, { 'Cache-Control': 'max-age=60', 'Content-Type': 'text/html' }).end(text);
      const path = fresh();
      for (let n = 0; n < 3; n++) {
        const zipped = await get(path, ['Accept-Encoding: gzip']);
        assert.equal(zipped.fields['content-encoding'], 'gzip');
        assert.equal(zlib.gunzipSync(zipped.body).toString(), text);
        if (n > 0) assert.equal(zipped.fields['content-length'], String(zipped.body.length));
        assert.equal((await get(path)).body.toString(), text);
        const br = await get(path, ['Accept-Encoding: br']);
        assert.equal(zlib.brotliDecompressSync(br.body).toString(), text);
        await get(path, ['Accept-Encoding: deflate, gzip;q=0.9']);
      }
      assert.equal(member.asked.length, 3);
    });

    it('serves large responses to slow clients and fast ones', async () => {
      const text = Buffer.from(Array.from({ length: 200_000 }, (_, n) => `${n} `).join(''));
      member.answer = (_, response) => response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end(text);
      const path = fresh();
      assert.ok((await get(path)).body.equals(text));
      const socket = await site.connect();
      socket.pause();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`);
      await delay(100);
      assert.ok((await get(path)).body.equals(text));
      const part = await get(path, ['Range: bytes=1000000-1000099']);
      assert.ok(part.body.equals(text.subarray(1_000_000, 1_000_100)));
      const parts: Buffer[] = [];
      socket.on('data', (bytes: Buffer) => parts.push(bytes)).resume();
      await once(socket, 'end');
      assert.ok(Buffer.concat(parts).subarray(-text.length).equals(text));
      socket.destroy();
      assert.equal(member.asked.length, 1);
    });

    it('asks whether a stale response still holds, and takes the fields of the 304', async () => {
      let n = 0;
      member.answer = (request, response) => {
        n++;
        const fields = {
          'Cache-Control': n < 2 ? 'no-cache' : 'max-age=60',
          ETag: '"a"',
          'X-Count': String(n),
        };
        if (request.headers['if-none-match'] === '"a"') response.writeHead(304, fields).end();
        else response.writeHead(200, { ...fields, 'X-Old': '1' }).end('stored');
      };
      const path = fresh();
      await get(path);
      const renewed = await get(path, ['If-None-Match: "z"']);
      assert.equal(renewed.status, 200);
      assert.equal(renewed.body.toString(), 'stored');
      assert.equal(renewed.fields['x-count'], '2');
      assert.equal(renewed.fields['x-old'], '1');
      assert.equal(renewed.fields['cache-status'], 'weft; hit; fwd=stale; fwd-status=304');
      assert.equal((await get(path)).fields['x-count'], '2');
      assert.equal((await get(path, ['If-None-Match: "a"'])).status, 304);
      assert.equal(n, 2);
    });

    it('serves what is stale while it is fetched anew', async () => {
      give({ 'Cache-Control': 'max-age=1, stale-while-revalidate=60', Age: '1' });
      const path = fresh();
      await get(path);
      assert.equal((await get(path)).body.toString(), 'body 1');
      for (let n = 0; n < 100 && member.asked.length < 2; n++) await delay(10);
      await delay(50);
      assert.equal((await get(path)).body.toString(), 'body 2');
    });

    it('serves what is stale in the place of an error', async () => {
      give({ 'Cache-Control': 'max-age=1, stale-if-error=60', Age: '1' });
      const path = fresh();
      await get(path);
      give({}, 503);
      const stale = await get(path);
      assert.equal(stale.status, 200);
      assert.equal(stale.body.toString(), 'body 1');
      member.answer = (request) => request.socket.destroy();
      assert.equal((await get(path)).body.toString(), 'body 1');
      give({}, 404);
      assert.equal((await get(path)).status, 404);
    });

    it('never serves stale what must be validated', async () => {
      give({ 'Cache-Control': 'max-age=1, stale-if-error=60, must-revalidate', Age: '1', ETag: '"a"' });
      const path = fresh();
      await get(path);
      give({}, 503);
      assert.equal((await get(path)).status, 503);
    });

    it('forgets what an unsafe method may have changed', async () => {
      give({ 'Cache-Control': 'max-age=60', Location: '/elsewhere' });
      const path = fresh();
      await get(path);
      await get('/elsewhere');
      give({ Location: '/elsewhere' }, 500);
      await get(path, [], 'POST');
      assert.equal((await get(path)).body.toString(), 'body 1');
      give({ Location: '/elsewhere' }, 201);
      await get(path, [], 'POST');
      give({ 'Cache-Control': 'max-age=60' });
      member.asked = [];
      await get(path);
      await get('/elsewhere');
      assert.deepEqual(member.asked, [`GET ${path}`, 'GET /elsewhere']);
    });

    it('is purged by address and by the beginning of it', async () => {
      give({ 'Cache-Control': 'max-age=60' });
      const path = fresh();
      for (const target of [path, `${path}/a`, `${path}/b?c`]) await get(target);
      const purged = await get(path, [], 'PURGE');
      assert.equal(purged.status, 200);
      assert.match(purged.body.toString(), /1 stored/);
      assert.equal((await get(path)).body.toString(), 'body 4');
      assert.equal((await get(`${path}/a`)).body.toString(), 'body 2');
      assert.match((await get(`${path}/*`, [], 'PURGE')).body.toString(), /2 stored/);
      assert.equal((await get(`${path}/a`)).body.toString(), 'body 5');
      assert.ok(!member.asked.some((line) => line.startsWith('PURGE')));
    });

    it('is purged by URL from the main thread, and stores nothing that was asked for before', async () => {
      give({ 'Cache-Control': 'max-age=60' });
      const path = fresh();
      for (const target of [path, `${path}?x`, `${path}/a`]) await get(target);
      assert.equal(site.workers.purge([`http://TEST${path}`]), 1);
      assert.equal(site.workers.purge([`test${path}`, 'another/*']), 0);
      assert.equal(site.workers.purge([`https://test${path}*`]), 2);
      const { promise, resolve } = Promise.withResolvers<ServerResponse>();
      member.answer = (_, response) => resolve(response);
      const slow = get(path);
      const response = await promise;
      response.writeHead(200, { 'Cache-Control': 'max-age=60', 'Content-Length': 3 }).write('o');
      await delay(50);
      site.workers.purge(['*']);
      response.end('ld');
      assert.equal((await slow).body.toString(), 'old');
      give({ 'Cache-Control': 'max-age=60' });
      assert.equal((await get(path)).body.toString(), 'body 1');
      assert.equal((await get(path)).fields['cache-status'], 'weft; hit');
      assert.ok(site.workers.purge(['*']) > 0);
      assert.equal((await get(path)).body.toString(), 'body 2');
    });

    it('stores behind proxies in front by the host and port that they name', async () => {
      const behind = await ProxySite.start(
        [port],
        {
          trustedProxies: { from: ['127.0.0.1'] },
          cache: { maxBytes: 2 ** 24, maxObjectBytes: 2 ** 22, purgeFrom: ['127.0.0.1'], cacheStatus: true },
        },
        loop,
        2,
      );
      give({ 'Cache-Control': 'max-age=1, stale-while-revalidate=60' });
      const path = fresh();
      const by = async (host: string, port_ = '', method = 'GET', own = 'inner'): Promise<string> => {
        const fields = [
          `Host: ${own}`,
          `X-Forwarded-Host: ${host}`,
          ...(port_ === '' ? [] : [`X-Forwarded-Port: ${port_}`]),
        ];
        const { body } = await fetchRaw(behind.port, `${method} ${path}`, fields);
        return body.toString();
      };
      const asked = [
        await by('a.example'),
        await by('b.example'),
        await by('a.example', '8443'),
        await by('a.example', '', 'GET', 'inner2'),
      ];
      assert.deepEqual(asked, ['body 1', 'body 2', 'body 3', 'body 4']);
      assert.equal(await by('A.example'), 'body 1');
      assert.equal(await by('a.example', '80'), 'body 1');
      assert.equal(await by('a.example', '8443'), 'body 3');
      assert.deepEqual(
        member.headers.map((one) => [one.host, one['x-forwarded-host'], one['x-forwarded-port']]),
        [
          ['inner', 'a.example', undefined],
          ['inner', 'b.example', undefined],
          ['inner', 'a.example', '8443'],
          ['inner2', 'a.example', undefined],
        ],
      );
      await delay(1100);
      member.headers = [];
      assert.equal(await by('a.example'), 'body 1');
      for (let n = 0; n < 100 && member.headers.length === 0; n++) await delay(10);
      assert.deepEqual(
        member.headers.map((one) => [one.host, one['x-forwarded-host']]),
        [['inner', 'a.example']],
        'what is fetched anew is fetched for the same host',
      );
      assert.match(await by('a.example', '', 'PURGE'), /3 stored/, 'with any Host and port');
      assert.equal(await by('b.example'), 'body 2');
      await behind.stop();
    });

    it('sends one of many equal requests to a member', async () => {
      let n = 0;
      member.answer = (_, response) => {
        n++;
        setTimeout(() => response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end(`body ${n}`), 200);
      };
      const path = fresh();
      const all = await Promise.all(Array.from({ length: 40 }, () => get(path)));
      for (const { body } of all) assert.match(body.toString(), /^body [12]$/);
      // One for each worker.
      assert.ok(n <= 2, `${n} requests`);
      assert.ok(all.some(({ fields }) => fields['cache-status'] === 'weft; fwd=miss; collapsed'));
    });

    it('does not make requests wait for each other where nothing is stored', async () => {
      member.answer = (_, response) => {
        setTimeout(() => response.writeHead(200, { 'Cache-Control': 'no-store' }).end('own'), 150);
      };
      const path = fresh();
      const started = performance.now();
      await Promise.all(Array.from({ length: 20 }, () => get(path)));
      assert.equal(member.asked.length, 20);
      assert.ok(performance.now() - started < 1500);
    });

    it('lets the next one fetch where the client left that it was fetched for', async () => {
      member.answer = (_, response) => {
        setTimeout(() => response.writeHead(200, { 'Cache-Control': 'max-age=60' }).end('late'), 300);
      };
      const path = fresh();
      const sockets = await Promise.all(Array.from({ length: 8 }, () => site.connect()));
      for (const socket of sockets) socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);
      await delay(100);
      for (const socket of sockets) socket.resetAndDestroy();
      const { body } = await get(path);
      assert.equal(body.toString(), 'late');
    });

    it('tells at once what is not stored, to who asks for that only', async () => {
      const { status } = await get(fresh(), ['Cache-Control: only-if-cached']);
      assert.equal(status, 504);
      assert.equal(member.asked.length, 0);
    });

    it('stores nothing of a response that was cut', async () => {
      member.answer = (_, response) => {
        response.writeHead(200, { 'Cache-Control': 'max-age=60', 'Content-Length': 10 }).write('12345');
        setTimeout(() => response.destroy(), 20);
      };
      const path = fresh();
      assert.equal((await get(path)).isWhole, false);
      give({ 'Cache-Control': 'max-age=60' });
      assert.equal((await get(path)).body.toString(), 'body 1');
    });

    it('keeps what it has over a reload', async () => {
      give({ 'Cache-Control': 'max-age=60' });
      const path = fresh();
      await get(path);
      await site.workers.reload(site.settings);
      assert.equal((await get(path)).body.toString(), 'body 1');
    });
  });
}
