/** HTTP/2 to members: Node's server as one that others wrote, and one that sends what it wants. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { loopKinds, ProxySite } from '../proxy-site.ts';

interface Seen {
  headers: IncomingHttpHeaders;
  connection: number;
  body: string;
}

/** A member of HTTP/2 that says what it got. */
class Http2Member {
  readonly seen: Seen[] = [];
  readonly sessions = new Set<ServerHttp2Session>();
  readonly resets: number[] = [];
  count = 0;
  onStream: ((stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean) | null = null;
  readonly #server: Http2Server;
  readonly #numbers = new WeakMap<object, number>();

  constructor(settings: Parameters<typeof createServer>[0] = {}) {
    // What many slow readers leave in it is no sign of an attack here.
    this.#server = createServer({ maxSessionMemory: 100, ...settings });
    this.#server.on('session', (session) => {
      this.sessions.add(session);
      this.#numbers.set(session, ++this.count);
      session.on('close', () => this.sessions.delete(session));
      session.on('error', () => undefined);
    });
    this.#server.on('stream', (stream: ServerHttp2Stream, headers) => {
      const connection = this.#numbers.get(stream.session!) ?? 0;
      stream.on('error', () => undefined);
      stream.on('close', () => {
        if (stream.rstCode !== 0) this.resets.push(stream.rstCode);
      });
      if (this.onStream?.(stream, headers) === true) return;
      let body = '';
      stream.on('data', (bytes: Buffer) => {
        body += bytes.toString('latin1');
      });
      stream.on('trailers', (trailers: IncomingHttpHeaders) => Object.assign(headers, trailers));
      stream.on('end', () => {
        this.seen.push({ headers, connection, body });
        if (stream.destroyed) return;
        const path = headers[':path']!;
        if (path === '/large') {
          stream.respond();
          stream.end('0123456789'.repeat(100_000));
        } else if (path === '/trailers') {
          stream.respond({ ':status': 200 }, { waitForTrailers: true });
          stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7' }));
          stream.end('abcdefg');
        } else if (path === '/empty') stream.respond({ ':status': 200 }, { endStream: true });
        else if (path === '/hints') {
          stream.additionalHeaders({ ':status': 103, link: '</a>' });
          stream.respond({ 'content-length': 4 });
          stream.end('late');
        } else if (path === '/304') stream.respond({ ':status': 304, etag: '"x"' }, { endStream: true });
        else {
          const text = `${headers[':method']} ${path} ${body.length}`;
          stream.respond({ 'content-length': text.length, 'x-mine': 'yes' });
          stream.end(headers[':method'] === 'HEAD' ? undefined : text);
        }
      });
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

interface Answer {
  status: number;
  fields: Record<string, unknown>;
  body: string;
  trailers: Record<string, unknown>;
  error?: NodeJS.ErrnoException;
}

async function ask(
  client: ClientHttp2Session,
  fields: Record<string, string | string[]>,
  body?: string | Buffer,
): Promise<Answer> {
  const stream = client.request({ ':path': '/', ...fields }, { endStream: body === undefined });
  const answer: Answer = { status: 0, fields: {}, body: '', trailers: {} };
  stream.on('response', (head) => {
    answer.status = head[':status']!;
    answer.fields = head;
  });
  stream.on('trailers', (head) => {
    answer.trailers = head;
  });
  stream.on('error', (error) => {
    answer.error = error;
  });
  stream.on('data', (bytes: Buffer) => {
    answer.body += bytes.toString('latin1');
  });
  if (body !== undefined) stream.end(body);
  await new Promise((resolve) => stream.once('close', resolve));
  return answer;
}

/** A request by HTTP/1.1. */
async function ask1(
  port: number,
  path: string,
  {
    method = 'GET',
    headers = {},
    body,
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; headers: IncomingMessage['headers']; trailers: unknown; body: string }> {
  const request = httpRequest({ port, host: '127.0.0.1', path, method, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const bytes of response) text += (bytes as Buffer).toString('latin1');
  return { status: response.statusCode!, headers: response.headers, trailers: response.trailers, body: text };
}

const until = async (check: () => boolean): Promise<void> => {
  for (let n = 0; n < 200 && !check(); n++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(check(), check.toString());
};

for (const loop of loopKinds()) {
  describe(`HTTP/2 to members by ${loop}`, () => {
    let member: Http2Member;
    let site: ProxySite;
    let client: ClientHttp2Session;

    beforeEach(async () => {
      member = new Http2Member();
      site = await ProxySite.start([await member.listen()], { memberProtocol: 'http/2' }, loop);
      client = connect(`http://127.0.0.1:${site.port}`);
      client.on('error', () => undefined);
      await once(client, 'connect');
    });
    afterEach(async () => {
      client.destroy();
      await site.stop();
      await member.close();
    });

    it('sends requests of both versions, bodies and trailers included', async () => {
      const answer = await ask(
        client,
        { ':method': 'POST', ':path': '/p?q', te: 'trailers', cookie: ['a=1', 'b=2'] },
        'hello',
      );
      assert.deepEqual([answer.status, answer.body, answer.fields['x-mine']], [200, 'POST /p?q 5', 'yes']);
      const { headers, body } = member.seen[0]!;
      assert.equal(body, 'hello');
      assert.deepEqual(Object.fromEntries(Object.entries(headers)), {
        ':method': 'POST',
        ':scheme': 'http',
        ':path': '/p?q',
        ':authority': `127.0.0.1:${site.port}`,
        te: 'trailers',
        cookie: 'a=1; b=2',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': `127.0.0.1:${site.port}`,
        via: '2.0 weft',
      });
      const trailers = await ask(client, { ':path': '/trailers' });
      assert.deepEqual([trailers.body, trailers.trailers['x-sum']], ['abcdefg', '7']);
      const first = await ask1(site.port, '/one', {
        method: 'PUT',
        body: 'x'.repeat(50_000),
        headers: { 'transfer-encoding': 'chunked' },
      });
      assert.deepEqual([first.status, first.body], [200, 'PUT /one 50000']);
      const chunked = await ask1(site.port, '/trailers');
      assert.deepEqual([chunked.body, chunked.trailers], ['abcdefg', { 'x-sum': '7' }]);
      assert.equal(member.count, 1);
    });

    it('answers HEAD, 304, interim and empty responses to both', async () => {
      for (const path of ['/', '/304', '/hints', '/empty']) {
        const method = path === '/' ? 'HEAD' : 'GET';
        const two = await ask(client, { ':path': path, ':method': method });
        const one = await ask1(site.port, path, { method });
        assert.deepEqual([one.status, one.body], [two.status, two.body]);
        assert.equal(two.status, path === '/304' ? 304 : 200);
        assert.equal(two.body, path === '/hints' ? 'late' : '');
      }
    });

    it('shares few connections among many requests', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) => ask(client, { ':path': `/n${n}` })),
      );
      for (const [n, { body }] of answers.entries()) assert.equal(body, `GET /n${n} 0`);
      assert.equal(member.count, 1);
    });

    it('carries large bodies both ways within the windows', async () => {
      const large = '0123456789'.repeat(100_000);
      const answers = await Promise.all(
        [1, 2, 3, 4].flatMap(() => [
          ask(client, { ':path': '/large' }),
          ask(client, { ':method': 'POST', ':path': '/up' }, large),
        ]),
      );
      for (const [n, { body }] of answers.entries()) {
        if (n % 2 === 0) assert.ok(body === large, `${body.length} bytes`);
        else assert.equal(body, 'POST /up 1000000');
      }
    });

    it('serves others on a connection on which a client reads nothing', async () => {
      const slow = Array.from({ length: 20 }, () => client.request({ ':path': '/large' }));
      for (const stream of slow) stream.on('error', () => undefined);
      const heads = await Promise.all(slow.map((stream) => once(stream, 'response')));
      for (const [head] of heads) assert.equal((head as IncomingHttpHeaders)[':status'], 200);
      await until(() => member.seen.length >= 20);
      const other = connect(`http://127.0.0.1:${site.port}`);
      other.on('error', () => undefined);
      for (let n = 0; n < 20; n++) assert.equal((await ask(other, { ':path': '/x' })).body, 'GET /x 0');
      const large = await ask(other, { ':path': '/large' });
      assert.equal(large.body.length, 1_000_000);
      assert.equal(member.count, 1);
      other.destroy();
      const bodies = slow.map(async (stream) => {
        let length = 0;
        stream.on('data', (bytes: Buffer) => {
          length += bytes.length;
        });
        await once(stream, 'end');
        return length;
      });
      assert.deepEqual(new Set(await Promise.all(bodies)), new Set([1_000_000]));
    });

    it('slows a client down whose member does not read', async () => {
      let held: ServerHttp2Stream | null = null;
      member.onStream = (stream, headers) => {
        if (headers[':path'] !== '/slow') return false;
        held = stream;
        return true;
      };
      const upload = client.request({ ':method': 'POST', ':path': '/slow' });
      upload.on('error', () => undefined);
      let taken = 0;
      const piece = Buffer.alloc(16_384);
      const feed = (): void => {
        if (taken < 8_000_000)
          upload.write(piece, () => {
            taken += piece.length;
            feed();
          });
        else upload.end();
      };
      feed();
      await until(() => held !== null);
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.ok(taken < 1_000_000, `${taken} bytes are on their way to a member that reads nothing`);
      assert.equal((await ask(client, { ':path': '/x' })).body, 'GET /x 0');
      let length = 0;
      held!.on('data', (bytes: Buffer) => {
        length += bytes.length;
      });
      held!.on('end', () => {
        held!.respond();
        held!.end(String(length));
      });
      const [bytes] = (await once(upload, 'data')) as [Buffer];
      assert.equal(Number(bytes.toString()), taken);
    });

    it('tells the member that a client has gone, and nobody else', async () => {
      let begun = 0;
      member.onStream = (stream, headers) => {
        if (headers[':path'] !== '/hang') return false;
        begun++;
        stream.respond();
        stream.write('first');
        return true;
      };
      const hanging = client.request({ ':path': '/hang' });
      hanging.on('error', () => undefined);
      await once(hanging, 'data');
      hanging.close(8);
      await until(() => member.resets.includes(8));
      assert.equal((await ask(client, { ':path': '/x' })).body, 'GET /x 0');
      assert.deepEqual([begun, member.count], [1, 1]);
    });

    it('repeats what the member refused, a body that came in pieces included', async () => {
      let refused = 0;
      member.onStream = (stream) => {
        if (refused++ > 0) return false;
        stream.close(7);
        return true;
      };
      assert.equal(
        (await ask(client, { ':method': 'POST', ':path': '/again' }, 'hello')).body,
        'POST /again 5',
      );
      refused = 0;
      assert.equal((await ask(client, { ':path': '/get' })).body, 'GET /get 0');
      refused = 0;
      assert.equal((await ask1(site.port, '/one', { method: 'POST', body: 'abc' })).body, 'POST /one 3');
    });

    it('repeats nothing that the member may have done', async () => {
      member.onStream = (stream, headers) => {
        if (headers[':path'] !== '/reset') return false;
        stream.close(2);
        return true;
      };
      const answer = await ask(client, { ':method': 'POST', ':path': '/reset' }, 'x');
      assert.equal(answer.status, 502);
      assert.match(answer.body, /member-stream-reset/);
      await ask(client, { ':path': '/x' });
      member.onStream = (stream, headers) => {
        if (headers[':path'] !== '/die') return false;
        stream.session!.destroy();
        return true;
      };
      const lost = await ask(client, { ':method': 'POST', ':path': '/die' }, 'x');
      assert.equal(lost.status, 502);
      assert.match(lost.body, /member-closed/);
      assert.equal((await ask(client, { ':path': '/y' })).body, 'GET /y 0');
      assert.equal(member.count, 2);
    });

    it('leaves a connection that says GOAWAY, and lets its requests end', async () => {
      let held: ServerHttp2Stream | null = null;
      member.onStream = (stream, headers) => {
        if (headers[':path'] !== '/held') return false;
        held = stream;
        return true;
      };
      const waiting = ask(client, { ':path': '/held' });
      await until(() => held !== null);
      held!.session!.goaway(0, 1);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal((await ask(client, { ':path': '/x' })).body, 'GET /x 0');
      assert.equal(member.seen.at(-1)!.connection, 2);
      held!.respond();
      held!.end('done');
      assert.equal((await waiting).body, 'done');
    });

    it('breaks a response off where the member does, to both', async () => {
      member.onStream = (stream) => {
        stream.respond({ 'content-length': 10 });
        stream.write('12345', () => stream.close(2));
        return true;
      };
      const two = await ask(client, {});
      assert.equal(two.error?.code, 'ERR_HTTP2_STREAM_ERROR');
      await assert.rejects(ask1(site.port, '/'), { code: 'ECONNRESET' });
    });
  });
}

describe('HTTP/2 to members', () => {
  it('opens further connections where a member takes few streams', async () => {
    const member = new Http2Member({ settings: { maxConcurrentStreams: 2 } });
    const site = await ProxySite.start([await member.listen()], { memberProtocol: 'http/2' });
    const client = connect(`http://127.0.0.1:${site.port}`);
    assert.equal((await ask(client, { ':path': '/first' })).status, 200);
    const held: ServerHttp2Stream[] = [];
    member.onStream = (stream) => {
      held.push(stream);
      return true;
    };
    const answers = Array.from({ length: 6 }, () => ask(client, {}));
    await until(() => held.length === 6);
    for (const stream of held) {
      stream.respond();
      stream.end('x');
    }
    for (const { body } of await Promise.all(answers)) assert.equal(body, 'x');
    assert.ok(member.count >= 3, `${member.count} connections`);
    client.destroy();
    await site.stop();
    await member.close();
  });

  it('answers 504 for a member that is silent, and goes on without it', async () => {
    const member = new Http2Member();
    const site = await ProxySite.start([await member.listen()], {
      memberProtocol: 'http/2',
      responseTimeoutMs: 300,
    });
    member.onStream = (_, headers) => headers[':path'] === '/silent';
    const client = connect(`http://127.0.0.1:${site.port}`);
    const answer = await ask(client, { ':path': '/silent' });
    assert.equal(answer.status, 504);
    await until(() => member.resets.includes(8));
    assert.equal((await ask(client, { ':path': '/x' })).body, 'GET /x 0');
    client.destroy();
    await site.stop();
    await member.close();
  });

  it('goes to another member where one cannot be had, and answers 502 where none can', async () => {
    const gone = new Http2Member();
    const port = await gone.listen();
    await gone.close();
    const member = new Http2Member();
    const site = await ProxySite.start([port, await member.listen()], { memberProtocol: 'http/2' });
    const client = connect(`http://127.0.0.1:${site.port}`);
    for (let n = 0; n < 10; n++) assert.equal((await ask(client, { ':path': '/x' })).body, 'GET /x 0');
    await member.close();
    assert.equal((await ask(client, { ':path': '/x' })).status, 502);
    client.destroy();
    await site.stop();
  });

  it('is told apart from HTTP/1.1 by the settings of the moment', async () => {
    const member = new Http2Member();
    const site = await ProxySite.start([await member.listen()], {});
    assert.equal((await ask1(site.port, '/')).status, 502);
    site.settings = { ...site.settings, http: { ...site.settings.http, memberProtocol: 'http/2' } };
    await site.workers.reload(site.settings);
    const client = connect(`http://127.0.0.1:${site.port}`);
    let answer = await ask(client, { ':path': '/x' });
    for (let n = 0; n < 100 && answer.status !== 200; n++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      answer = await ask(client, { ':path': '/x' });
    }
    assert.equal(answer.body, 'GET /x 0');
    client.destroy();
    await site.stop();
    await member.close();
  });
});
