/** The proxy whole, on sockets: what members receive, what clients get, on every kind of loop. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { loopKinds, ProxySite, request, settingsOf } from './proxy-site.ts';
import { RecordingOrigin } from './recording-origin.ts';

const body = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4);
const status = (answer: string): number => Number(answer.slice(9, 12));

/** Reads until the text fits. */
async function until(socket: Socket, pattern: RegExp): Promise<string> {
  let text = '';
  for await (const [bytes] of on(socket)) {
    text += bytes.toString('latin1');
    if (pattern.test(text)) return text;
  }
  throw new Error(`the connection ended with ${JSON.stringify(text)}`);
}

async function* on(socket: Socket): AsyncGenerator<[Buffer]> {
  while (!socket.readableEnded && !socket.destroyed) {
    const bytes = socket.read() as Buffer | null;
    if (bytes !== null) {
      yield [bytes];
      continue;
    }
    const over = new AbortController();
    const { signal } = over;
    await Promise.race(['readable', 'end', 'close'].map((event) => once(socket, event, { signal })));
    over.abort();
  }
}

for (const loop of loopKinds()) {
  describe(`the proxy by ${loop}`, () => {
    const origin = new RecordingOrigin();
    let port = 0;
    let site: ProxySite;

    before(async () => {
      port = await origin.listen();
      site = await ProxySite.start([port], { maxBodyBytes: 100_000 }, loop);
    });
    after(async () => {
      await site.stop();
      await origin.close();
    });
    beforeEach(() => {
      origin.take();
    });

    it('sends a request on and its response back, in pieces of any length', async () => {
      const text = request('POST /a?b', ['Content-Length: 5', 'X-Mine: 1'], 'hello');
      for (const length of [text.length, 1, 7, 50]) {
        const answer = await site.talk(text, length);
        assert.equal(status(answer), 200);
        assert.equal(body(answer), 'POST /a?b HTTP/1.1|5');
        assert.match(answer, /\r\nDate: [^\r]+ GMT\r\n/);
        assert.match(answer, /\r\nConnection: close\r\n/);
        const [got] = origin.take();
        assert.deepEqual(got?.fields, [
          ['host', 'test'],
          ['content-length', '5'],
          ['x-mine', '1'],
          ['x-forwarded-for', '127.0.0.1'],
          ['x-forwarded-proto', 'http'],
          ['x-forwarded-host', 'test'],
          ['via', '1.1 weft'],
        ]);
        assert.equal(got.body, 'hello');
      }
    });

    it('frames chunked bodies anew, without extensions, and sends trailers on', async () => {
      const text = request(
        'PUT /c',
        ['Transfer-Encoding: chunked'],
        '3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n',
      );
      for (const length of [text.length, 1, 11]) {
        assert.equal(body(await site.talk(text, length)), 'PUT /c HTTP/1.1|5');
        const [got] = origin.take();
        assert.equal(got?.body, 'abcde');
        assert.deepEqual(got.fields.at(-1), ['trailer x-t', '1']);
      }
      const answer = await site.talk(request('GET /chunked'));
      assert.match(answer, /Transfer-Encoding: chunked/);
      assert.match(
        body(answer),
        /^7\r\nabcdefg\r\n0\r\nX-Sum: 7\r\n\r\n$|^3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n$/,
      );
    });

    it('answers an HTTP/1.0 client without chunks, and keeps its connection only when asked', async () => {
      const answer = await site.talk('GET /chunked HTTP/1.0\r\n\r\n');
      assert.equal(body(answer), 'abcdefg');
      assert.match(answer, /Connection: close/);
      const [got] = origin.take();
      assert.equal(got?.line, 'GET /chunked HTTP/1.1');
      assert.deepEqual(got.fields[0], ['host', `127.0.0.1:${port}`]);
      const two = await site.talk('GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /y HTTP/1.0\r\n\r\n');
      assert.equal(two.match(/Connection: keep-alive/g)?.length, 1);
      assert.match(two, /GET \/y HTTP\/1\.1\|0$/);
    });

    it('answers pipelined requests in their order', async () => {
      const many = Array.from({ length: 40 }, (_, n) => `GET /p${n} HTTP/1.1\r\nHost: test\r\n\r\n`).join('');
      const post = `POST /q HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc`;
      const text = `${many}${post}${request('GET /last')}`;
      for (const length of [text.length, 13]) {
        const answer = await site.talk(text, length);
        const lines = [...answer.matchAll(/(GET|POST) \/(\w+) HTTP\/1\.1\|/g)].map(([, , name]) => name);
        assert.deepEqual(lines, [...Array.from({ length: 40 }, (_, n) => `p${n}`), 'q', 'last']);
        origin.take();
      }
    });

    it('keeps connections to members for later requests', async () => {
      const socket = await site.connect();
      for (let n = 0; n < 5; n++) {
        socket.write('GET /k HTTP/1.1\r\nHost: test\r\n\r\n');
        await until(socket, /\|0$/);
      }
      socket.destroy();
      assert.equal(new Set(origin.take().map(({ connection }) => connection)).size, 1);
    });

    it('takes hop-by-hop fields out both ways, and what clients say of other clients', async () => {
      const answer = await site.talk(
        request('GET /hop', [
          'X-Forwarded-For: 6.6.6.6',
          'Forwarded: for=6.6.6.6',
          'X-Real-IP: 6.6.6.6',
          'Keep-Alive: 5',
          'Proxy-Authorization: secret',
          'TE: trailers',
          'Connection: X-Gone',
          'X-Gone: 1',
          'X-Kept: 2',
        ]),
      );
      const names = origin.take()[0]!.fields.map(([name, value]) => `${name}=${value}`);
      assert.deepEqual(names, [
        'host=test',
        'x-kept=2',
        'x-forwarded-for=127.0.0.1',
        'x-forwarded-proto=http',
        'x-forwarded-host=test',
        'via=1.1 weft',
      ]);
      assert.doesNotMatch(answer, /X-Own|Keep-Alive|Proxy-Authenticate/);
      assert.match(answer, /X-End: 2/);
    });

    it('knows which responses have no body', async () => {
      const head = await site.talk(request('HEAD /h'));
      assert.match(head, /Content-Length: 7\r\n/);
      assert.equal(body(head), '');
      const same = await site.talk(request('GET /not-modified'));
      assert.equal(status(same), 304);
      assert.equal(body(same), '');
      assert.equal(
        body(await site.talk(request('GET /until-close'))).replaceAll(/^9\r\n|\r\n0\r\n\r\n$/g, ''),
        'all of it',
      );
    });

    it('sends interim responses on, but no flood of them', async () => {
      const answer = await site.talk(request('GET /interim'));
      assert.match(
        answer,
        /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 OK/,
      );
      assert.match(
        await site.talk(request('GET /interim-flood')),
        /HTTP\/1\.1 502 [\s\S]*member-too-many-interim/,
      );
    });

    it('refuses what it cannot trust of a member', async () => {
      for (const [path, reason] of [
        ['/garbage', 'member-head-invalid'],
        ['/two-lengths', 'member-framing-invalid'],
        ['/endless-head', 'member-head-too-large'],
      ] as const) {
        const answer = await site.talk(request(`GET ${path}`));
        assert.equal(status(answer), 502, path);
        assert.match(answer, new RegExp(reason));
      }
      const extra = await site.talk(`GET /extra HTTP/1.1\r\nHost: test\r\n\r\n${request('GET /after')}`);
      assert.doesNotMatch(extra, /evil/);
      assert.match(extra, /GET \/after/);
    });

    it('lets a client notice that a body was cut short', async () => {
      const answer = await site.talk(request('GET /short'));
      assert.match(answer, /Content-Length: 10/);
      assert.equal(body(answer).length <= 5, true);
    });

    it('repeats a request on a fresh connection where the member had closed the idle one, if it may be repeated', async () => {
      await site.talk(request('GET /a'));
      origin.dropAll();
      assert.equal(status(await site.talk(request('GET /b'))), 200);
      assert.match(await site.talk(request('GET /hang-up')), /^HTTP\/1\.1 502 [\s\S]*member-closed/);
    });

    it('sends large responses to a slow reader whole', async () => {
      const socket = await site.connect();
      socket.write(request('GET /large'));
      let length = 0;
      for await (const [bytes] of on(socket)) {
        length += bytes.length;
        if (length < 200_000) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      assert.ok(length > 1_000_000 && length < 1_001_000);
    });

    it('takes large requests, and refuses those that are too large', async () => {
      const text = 'x'.repeat(90_000);
      assert.match(await site.talk(request('POST /l', [`Content-Length: ${text.length}`], text)), /\|90000$/);
      const tooLong = await site.talk(request('POST /l', ['Content-Length: 200000'], text));
      assert.match(tooLong, /^HTTP\/1\.1 413 [\s\S]*body-too-large/);
    });

    it('passes WebSocket through, and no other protocol', async () => {
      const socket = await site.connect();
      socket.write(
        'GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nfirst',
      );
      let text = await until(socket, /<first>$/);
      assert.match(
        text,
        /^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*Upgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi!<first>$/,
      );
      socket.write('second');
      text = await until(socket, /<second>$/);
      socket.end();
      await once(socket, 'close');
      origin.take();
      await site.talk(
        request('GET /u', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: x']),
      );
      assert.ok(!origin.take()[0]!.fields.some(([name]) => name === 'upgrade' || name === 'http2-settings'));
    });

    it('lets members see nothing of what it refuses', async () => {
      const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n';
      for (const [text, reason] of [
        [
          request('POST /', ['Content-Length: 6', 'Transfer-Encoding: chunked'], `0\r\n\r\n${smuggled}`),
          'content-length-with',
        ],
        [
          request('POST /', ['Transfer-Encoding: chunked, identity'], `0\r\n\r\n${smuggled}`),
          'transfer-encoding-unsupported',
        ],
        [request('POST /', ['Transfer-Encoding: xchunked'], smuggled), 'transfer-encoding-unsupported'],
        [request('POST /', ['Transfer-Encoding:\u000bchunked'], smuggled), 'field-value-invalid'],
        [
          request('POST /', ['Content-Length: 0', 'Content-Length: 44'], smuggled),
          'content-length-duplicate',
        ],
        [request('POST /', ['Content-Length: +0'], smuggled), 'content-length-invalid'],
        [request('POST /', ['X: y\nContent-Length: 44'], smuggled), 'line-end-invalid'],
        [request('POST /', ['Content-Length : 44'], smuggled), 'field-name-invalid'],
        [request('GET /../admin'), 'target-dot-segment'],
        [request('GET /%2e%2e/admin'), 'target-dot-segment'],
        [request('CONNECT test:80'), 'method-refused'],
      ] as const) {
        const answer = await site.talk(text);
        assert.match(answer, new RegExp(`^HTTP/1.1 (400|405|501) [\\s\\S]*${reason}`), text);
        assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, text);
        assert.deepEqual(origin.take(), []);
      }
      // These begin well: the member gets no end of them.
      for (const [text, reason] of [
        [request('POST /', ['Transfer-Encoding: chunked'], `0\n\n${smuggled}`), 'chunk-invalid'],
        [request('POST /', ['Transfer-Encoding: chunked'], `0x0\r\n\r\n${smuggled}`), 'chunk-invalid'],
        [
          request('POST /', ['Transfer-Encoding: chunked'], `0\r\nHost: evil\r\n\r\n${smuggled}`),
          'trailer-forbidden',
        ],
      ] as const) {
        assert.match(await site.talk(text), new RegExp(`^HTTP/1.1 400 [\\s\\S]*${reason}`), text);
        assert.deepEqual(origin.take(), []);
      }
    });

    it('takes new settings without losing what has begun', async () => {
      const socket = await site.connect();
      socket.write('POST /r HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab');
      const changed = {
        responseFields: { set: [{ name: 'X-New', value: 'yes' }], remove: [] },
        maxBodyBytes: 100_000,
      };
      await site.workers.reload(settingsOf(site.port, [port], changed));
      socket.write('cd');
      const answer = await until(socket, /\|4$/);
      assert.equal(status(answer), 200);
      socket.write(request('GET /r'));
      assert.match(await until(socket, /\|0$/), /X-New: yes/);
      socket.destroy();
      await site.workers.reload(site.settings);
    });
  });

  describe(`the end of a proxy by ${loop}`, () => {
    it('answers what has begun, with its last response, and logs every request', async () => {
      const origin = new RecordingOrigin();
      const site = await ProxySite.start([await origin.listen()], {}, loop, 2);
      const idle = await site.connect();
      const busy = await site.connect();
      busy.write('POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\na');
      while (origin.connections === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const stopped = site.stop(20_000);
      idle.resume();
      await Promise.race([once(idle, 'end'), once(idle, 'close')]);
      busy.write('b');
      const answer = await until(busy, /\|2$/);
      assert.match(answer, /Connection: close/);
      busy.destroy();
      await stopped;
      assert.deepEqual(
        site.log.map(({ request: line, status: code, received }) => [line, code, received]),
        [['POST /b', 200, 2]],
      );
      await origin.close();
    });

    it('waits for heads, bodies and responses only so long', async () => {
      const origin = new RecordingOrigin();
      const limits = { headTimeoutMs: 100, bodyTimeoutMs: 100, responseTimeoutMs: 100, idleTimeoutMs: 100 };
      const site = await ProxySite.start([await origin.listen()], limits, loop);
      assert.match(await site.talk('GET / HTTP/1.1\r\nHost: te'), /^HTTP\/1\.1 408 [\s\S]*head-timeout/);
      const body = await site.talk(request('POST /', ['Content-Length: 5'], 'ab'));
      assert.match(body, /^HTTP\/1\.1 (408 [\s\S]*body-timeout|504 )/);
      assert.match(await site.talk(request('GET /silent')), /^HTTP\/1\.1 504 [\s\S]*member-timeout/);
      assert.equal(await site.talk(''), '');
      await site.stop();
      await origin.close();
    });

    it('says so where no member takes connections', async () => {
      const origin = new RecordingOrigin();
      const port = await origin.listen();
      await origin.close();
      const site = await ProxySite.start([port], {}, loop);
      assert.match(await site.talk(request('GET /')), /^HTTP\/1\.1 50[23] [\s\S]*member-(connect|none)/);
      await site.stop();
    });
  });
}
