/** HTTP/2 from clients that others wrote: Node's, curl. What members receive, what clients get, on every kind of loop. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { promisify } from 'node:util';
import { loopKinds, ProxySite } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';

export interface Answer {
  status: number;
  fields: Record<string, unknown>;
  body: string;
  trailers: Record<string, unknown>;
}

/** One request; its fields may hold pseudo-header fields of other values. */
async function ask(
  client: ClientHttp2Session,
  fields: Record<string, string | string[]>,
  body?: string | Buffer,
  trailers?: Record<string, string>,
): Promise<Answer> {
  const stream = client.request(
    { ':path': '/', ...fields },
    {
      endStream: body === undefined,
      waitForTrailers: trailers !== undefined,
    },
  );
  const answer: Answer = { status: 0, fields: {}, body: '', trailers: {} };
  stream.on('response', (head) => {
    answer.status = head[':status']!;
    answer.fields = head;
  });
  stream.on('trailers', (head) => {
    answer.trailers = head;
  });
  if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.on('data', (bytes: Buffer) => {
    answer.body += bytes.toString('latin1');
  });
  if (body !== undefined) stream.end(body);
  await once(stream, 'close');
  return answer;
}

for (const loop of loopKinds()) {
  describe(`HTTP/2 from clients by ${loop}`, () => {
    const origin = new RecordingOrigin();
    let site: ProxySite;
    let client: ClientHttp2Session;

    before(async () => {
      site = await ProxySite.start([await origin.listen()], { maxBodyBytes: 4_000_000 }, loop);
    });
    after(async () => {
      await site.stop();
      await origin.close();
    });
    beforeEach(async () => {
      origin.take();
      client = connect(`http://127.0.0.1:${site.port}`);
      client.on('error', () => undefined);
      await once(client, 'connect');
    });
    afterEach(() => {
      client.destroy();
    });

    it('sends a request on as HTTP/1.1, and its response back', async () => {
      const answer = await ask(client, {
        ':path': '/a?b',
        'x-mine': '1',
        cookie: ['a=1', 'b=2'],
        te: 'trailers',
      });
      assert.equal(answer.status, 200);
      assert.equal(answer.body, 'GET /a?b HTTP/1.1|0');
      assert.match(String(answer.fields.date), / GMT$/);
      const [got] = origin.take();
      assert.deepEqual(got?.fields, [
        ['host', `127.0.0.1:${site.port}`],
        ['x-mine', '1'],
        ['cookie', 'a=1; b=2'],
        ['x-forwarded-for', '127.0.0.1'],
        ['x-forwarded-proto', 'http'],
        ['x-forwarded-host', `127.0.0.1:${site.port}`],
        ['via', '2.0 weft'],
      ]);
    });

    it('carries bodies and trailers both ways', async () => {
      const answer = await ask(client, { ':method': 'POST', ':path': '/p' }, 'hello', { 'x-sum': '5' });
      assert.equal(answer.body, 'POST /p HTTP/1.1|5');
      const [got] = origin.take();
      assert.equal(got?.body, 'hello');
      assert.deepEqual(got.fields.at(-1), ['trailer x-sum', '5']);
      const chunked = await ask(client, { ':path': '/chunked' });
      assert.equal(chunked.body, 'abcdefg');
      assert.equal(chunked.trailers['x-sum'], '7');
    });

    it('answers HEAD, 304 and interim responses', async () => {
      const head = await ask(client, { ':method': 'HEAD' });
      assert.deepEqual([head.status, head.fields['content-length'], head.body], [200, '7', '']);
      const not = await ask(client, { ':path': '/not-modified' });
      assert.deepEqual([not.status, not.fields.etag, not.body], [304, '"x"', '']);
      const late = await ask(client, { ':path': '/interim' });
      assert.deepEqual([late.status, late.body], [200, 'late']);
    });

    it('answers a hundred requests of one connection at a time', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) => ask(client, { ':path': `/n${n}` })),
      );
      assert.deepEqual(
        answers.map(({ body }) => body),
        Array.from({ length: 100 }, (_, n) => `GET /n${n} HTTP/1.1|0`),
      );
    });

    it('carries large bodies within the windows of both sides', async () => {
      const large = '0123456789'.repeat(100_000);
      const answers = await Promise.all(
        [1, 2, 3, 4].flatMap(() => [
          ask(client, { ':path': '/large' }),
          ask(client, { ':method': 'POST', ':path': '/up' }, large),
        ]),
      );
      for (const [n, { body }] of answers.entries()) {
        if (n % 2 === 0) assert.ok(body === large, `${body.length} bytes`);
        else assert.equal(body, 'POST /up HTTP/1.1|1000000');
      }
    });

    it('tells a client of a response that breaks off, and refuses what HTTP/1.1 refuses', async () => {
      const short = client.request({ ':path': '/short' });
      short.resume();
      const [error] = (await once(short, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ERR_HTTP2_STREAM_ERROR');
      for (const [path, status, name] of [
        ['/a/%2e%2e/b', 400, 'target-dot-segment'],
        ['/a%2fb', 400, 'target-slash-encoded'],
        ['/garbage', 502, 'member-head-invalid'],
      ] as const) {
        const answer = await ask(client, { ':path': path });
        assert.equal(answer.status, status);
        assert.match(answer.body, new RegExp(name));
      }
      const many = await ask(client, { 'x-long': 'a'.repeat(9000) });
      assert.equal(many.status, 431);
    });

    it('ends its connections once their requests are answered when it stops', async () => {
      const member = new RecordingOrigin();
      const other = await ProxySite.start([await member.listen()], {}, loop);
      const mine = connect(`http://127.0.0.1:${other.port}`);
      mine.on('error', () => undefined);
      await once(mine, 'connect');
      const hanging = ask(mine, { ':path': '/large' });
      const goaway = once(mine, 'goaway');
      await hanging;
      await other.stop(2000);
      await goaway;
      await member.close();
    });

    it('answers curl', async () => {
      const run = promisify(execFile);
      const { stdout } = await run('curl', [
        ...['-s', '--http2-prior-knowledge', '-d', 'x'.repeat(100_000), '-w', '|%{http_version}'],
        `http://127.0.0.1:${site.port}/curl`,
      ]);
      assert.equal(stdout, 'POST /curl HTTP/1.1|100000|2');
    });
  });
}
