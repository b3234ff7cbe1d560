/** Rewriting on the wire: what members are asked for, and what clients see of what members say of themselves. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { HttpService } from '../../../../../src/policy/http-service.ts';
import { ProxySite, request } from '../../proxy-site.ts';
import { Origin, type Received, readRequest } from '../../recording-origin.ts';

/** Answers with the lines that the request's `X-Answer` fields hold, the first of which may be a status. */
class ObedientOrigin extends Origin {
  readonly received: Received[] = [];

  take(): Received[] {
    return this.received.splice(0);
  }

  protected serve(socket: Socket): void {
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      for (let found = readRequest(text, 0); found !== null; found = readRequest(text, 0)) {
        text = text.slice(found.length);
        this.received.push(found.request);
        const lines = found.request.fields.filter(([name]) => name === 'x-answer').map(([, value]) => value);
        const status = lines[0]?.match(/^\d{3}$/) ? lines.shift() : '200';
        socket.write([`HTTP/1.1 ${status} OK`, ...lines, 'Content-Length: 2', '', 'ok'].join('\r\n'));
      }
    });
  }
}

const ofMember = ({ line, fields }: Received): [string, string | undefined, number] => [
  line.split(' ')[1]!,
  fields.find(([name]) => name === 'host')?.[1],
  fields.filter(([name]) => name === 'host').length,
];

describe('rewrites', () => {
  const origin = new ObedientOrigin();
  let port: number;
  before(async () => {
    port = await origin.listen();
  });
  after(() => origin.close());
  afterEach(() => origin.take());

  const REWRITES = [
    { path: '/shop/{rest*}', to: { path: '/app/{rest*}', host: 'shop.internal:8080' } },
    {
      path: '/u/{id}',
      methods: ['GET'],
      to: { path: '/user', query: { set: [{ name: 'id', value: '{id}' }] } },
    },
    {
      hosts: ['*.old.example'],
      query: [{ name: 'v', value: '1' }],
      to: { query: { remove: ['v', 'debug'] } },
    },
    { path: '/same/{rest*}', to: { path: '/{rest*}' } },
  ];

  const ask = async (
    site: ProxySite,
    text: string,
    lines: readonly string[] = [],
    host = 'test',
  ): Promise<string> =>
    site.talk(
      request(
        text,
        lines.map((one) => (one.startsWith('+') ? one.slice(1) : `X-Answer: ${one}`)),
      ).replace('Host: test', `Host: ${host}`),
    );
  /** The values of a field of a response. */
  const values = (answer: string, name: string): string[] =>
    [...answer.matchAll(new RegExp(`^${name}: (.*)\r$`, 'gim'))].map(([, value]) => value!);

  it('ask members for another path, query and host', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES });
    const cases: [string, string, [string, string, number]][] = [
      ['GET /shop/a?b', 'test', ['/app/a?b', 'shop.internal:8080', 1]],
      ['GET //shop/%61?b', 'test', ['/app/%61?b', 'shop.internal:8080', 1]],
      ['GET http://test/shop/a', 'test', ['/app/a', 'shop.internal:8080', 1]],
      ['GET /shop', 'test', ['/shop', 'test', 1]],
      ['GET /u/5', 'test', ['/user?id=5', 'test', 1]],
      ['HEAD /u/5', 'test', ['/u/5', 'test', 1]],
      ['GET /x?v=%31&debug&y', 'a.old.example', ['/x?y', 'a.old.example', 1]],
      ['GET /x?v=2&debug', 'a.old.example', ['/x?v=2&debug', 'a.old.example', 1]],
    ];
    for (const [text, host, expected] of cases) {
      assert.match(await ask(site, text, [], host), /^HTTP\/1.1 200/, text);
      assert.deepEqual(origin.take().map(ofMember), [expected], text);
    }
    await ask(site, 'GET /shop/a', [], 'shop.example');
    const [{ fields }] = origin.take() as [Received];
    assert.deepEqual(fields.find(([name]) => name === 'x-forwarded-host')?.[1], 'shop.example');
    await site.stop();
    assert.equal(site.log[0]!.request, 'GET /shop/a?b', 'the log has what the client asked for');
  });

  it('give members a Host where an old client named none', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES });
    await site.talk('GET /shop/ HTTP/1.0\r\n\r\n');
    assert.deepEqual(origin.take().map(ofMember), [['/app/', 'shop.internal:8080', 1]]);
    await site.stop();
  });

  it('are the same by HTTP/2, from clients and to members', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const member = createServer((incoming, response) => {
      seen.push(incoming.headers);
      response.writeHead(302, {
        location: 'http://shop.internal:8080/app/x',
        'set-cookie': 'a=b; path=/app',
      });
      response.end();
    }).listen(0, '127.0.0.1');
    await once(member, 'listening');
    const site = await ProxySite.start([(member.address() as AddressInfo).port], {
      rewrites: REWRITES,
      memberProtocol: 'http/2',
    });
    const client = connect(`http://127.0.0.1:${site.port}`);
    const stream = client.request({ ':path': '/shop/a?b', ':authority': 'shop.example' });
    const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    assert.deepEqual([head.location, head['set-cookie']], ['/shop/x', ['a=b; path=/shop']]);
    stream.resume();
    await once(stream, 'close');
    client.close();
    const answer = await ask(site, 'GET /shop/c');
    assert.deepEqual(values(answer, 'location'), ['/shop/x']);
    assert.deepEqual(
      seen.map((one) => [one[':path'], one[':authority'], one['x-forwarded-host'], one.host]),
      [
        ['/app/a?b', 'shop.internal:8080', 'shop.example', undefined],
        ['/app/c', 'shop.internal:8080', 'test', undefined],
      ],
    );
    await site.stop();
    member.close();
  });

  it('carry bodies, and requests that come in pieces or one behind the other', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES });
    const post = request('POST /shop/p', ['Content-Length: 3'], 'abc');
    const chunked = request('POST /shop/c', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n');
    const first = (text: string): string => text.replace('Connection: close\r\n', '');
    await site.talk(first(post) + first(chunked) + post);
    for (const text of [post, chunked]) await site.talk(text, 1);
    assert.deepEqual(
      origin.take().map((one) => [ofMember(one)[0], one.body]),
      [
        ['/app/p', 'abc'],
        ['/app/c', 'abc'],
        ['/app/p', 'abc'],
        ['/app/p', 'abc'],
        ['/app/c', 'abc'],
      ],
    );
    await site.stop();
  });

  it('judge, route and refuse by what the client asked for', async () => {
    const site = await ProxySite.start([port], {
      rewrites: REWRITES,
      accessRules: {
        rules: [
          { name: 'client', action: 'deny', paths: ['/shop/admin', '/shop/admin/*'] },
          { name: 'member', action: 'deny', paths: ['/app/*'], status: 410 },
        ],
      },
    });
    for (const [path, status] of [
      ['/shop/admin', 403],
      ['//shop;a/%61dmin', 403],
      ['/app/x', 410],
      ['/shop/%2561dmin', 400],
      ['/shop/x%2fy', 400],
      ['/shop/../app/x', 400],
      ['/shop/app/x', 200],
    ] as const)
      assert.equal((await ask(site, `GET ${path}`)).slice(9, 12), String(status), path);
    assert.deepEqual(origin.take().map(ofMember), [['/app/app/x', 'shop.internal:8080', 1]]);
    await site.stop();
  });

  it('refuse what may be read in two ways, without access rules too', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES, allowsEncodedSlash: true });
    for (const path of ['/shop%2fx', '/shop/%2561', '/shop/%0a'])
      assert.match(await ask(site, `GET ${path}`), /^HTTP\/1.1 400[\s\S]*target-ambiguous/, path);
    assert.match(await ask(site, `GET /u/${'!'.repeat(7000)}`), /^HTTP\/1.1 414[\s\S]*target-too-long/);
    assert.deepEqual(origin.take(), []);
    await site.stop();
  });

  it('map Location, Content-Location and cookies back', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES });
    const urls: [string, string, string][] = [
      ['/shop/a/b', '/app/x?y=/app/#z', '/shop/x?y=/app/#z'],
      ['/shop/a/b', 'http://shop.internal:8080/app/x', '/shop/x'],
      ['/shop/a/b', 'HTTP://Shop.Internal:8080/app/', '/shop/'],
      ['/shop/a/b', 'https://shop.internal:8080/app/x', 'https://shop.example/shop/x'],
      ['/shop/a/b', '//shop.internal:8080/app/x', '/shop/x'],
      ['/shop/a/b', 'http://shop.example:81/app/x', 'http://shop.example:81/shop/x'],
      ['/shop/a/b', 'c', '/shop/a/c'],
      ['/shop/a/b', '../c?d', '/shop/c?d'],
      ['/shop/a/b', '/app/x/../y', '/shop/y'],
      // What is another's, or nowhere for clients, stays.
      ['/shop/a/b', '../../c', '../../c'],
      ['/shop/a/b', '/other/x', '/other/x'],
      ['/shop/a/b', '/app', '/app'],
      ['/shop/a/b', '?x', '?x'],
      ['/shop/a/b', '#x', '#x'],
      ['/shop/a/b', 'http://shop.internal/app/x', 'http://shop.internal/app/x'],
      ['/shop/a/b', 'http://evil.example/app/x', 'http://evil.example/app/x'],
      ['/shop/a/b', 'http://u@shop.internal:8080/app/x', 'http://u@shop.internal:8080/app/x'],
      ['/shop/a/b', '/\\evil.example/app/x', '/\\evil.example/app/x'],
      ['/shop/a/b', 'mailto:app@shop.internal', 'mailto:app@shop.internal'],
      ['/same/a', '//evil.example/x', '//evil.example/x'],
      ['/same/a', '/x', '/same/x'],
      ['/same/a', '/.//evil.example/', '/same/evil.example/'],
      // Its parts do not say which path it was.
      ['/u/5', '/user', '/user'],
      ['/none', '/app/x', '/app/x'],
    ];
    for (const [path, given, expected] of urls) {
      const answer = await ask(
        site,
        `GET ${path}`,
        ['302', `Location: ${given}`, `content-location: ${given}`, 'X-Other: /app/x'],
        'shop.example:81',
      );
      assert.deepEqual(values(answer, 'location'), [expected], `${path} ${given}`);
      assert.deepEqual(values(answer, 'content-location'), [expected]);
      assert.deepEqual(values(answer, 'x-other'), ['/app/x']);
    }
    const cookies: [string, string, string][] = [
      [
        'shop.example:81',
        'a=b; Path=/app; Domain=shop.internal; Secure',
        'a=b; Path=/shop; Domain=shop.example; Secure',
      ],
      [
        'shop.example',
        'a="/app;x"; path = /app/x ; domain=.internal',
        'a="/app;x"; path=/shop/x; domain=shop.example',
      ],
      ['127.0.0.1:9', 'a=b; Domain=shop.internal; HttpOnly', 'a=b; HttpOnly'],
      ['shop.example', 'a=b; Domain=other.internal; Path=/', 'a=b; Domain=other.internal; Path=/'],
      ['shop.example', '__Host-a=b; Path=/; Secure', '__Host-a=b; Path=/; Secure'],
      ['shop.example', 'a=b', 'a=b'],
    ];
    for (const [host, given, expected] of cookies) {
      const answer = await ask(site, 'GET /shop/', [`Set-Cookie: ${given}`], host);
      assert.deepEqual(values(answer, 'set-cookie'), [expected], given);
    }
    const [figures] = await site.workers.figures();
    assert.ok(figures!.components.rewrites!.mappedBack! > 20);
    await site.stop();
  });

  it('map back to the host that a trusted proxy says that the client named', async () => {
    const site = await ProxySite.start([port], {
      rewrites: REWRITES,
      trustedProxies: { from: ['127.0.0.1'] },
    });
    const told = ['+X-Forwarded-Host: shop.example:8443'];
    for (const [scheme, given, expected] of [
      ['http', 'https://shop.internal:8080/app/x', 'https://shop.example/shop/x'],
      ['https', 'https://shop.internal:8080/app/x', '/shop/x'],
      ['https', 'http://shop.internal:8080/app/x', '/shop/x'],
      ['https', 'https://shop.example:8443/app/x', 'https://shop.example:8443/shop/x'],
      ['https', 'https://test/app/x', 'https://test/shop/x'],
      ['https', 'https://other.example/app/x', 'https://other.example/app/x'],
    ] as const) {
      const answer = await ask(site, 'GET /shop/', [
        '302',
        `Location: ${given}`,
        'Set-Cookie: a=b; Domain=shop.internal',
        ...told,
        `+X-Forwarded-Proto: ${scheme}`,
      ]);
      assert.deepEqual(values(answer, 'location'), [expected], `${scheme} ${given}`);
      assert.deepEqual(values(answer, 'set-cookie'), ['a=b; Domain=shop.example']);
    }
    await site.stop();
  });

  it('lead WebSocket to where members have it', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES });
    await ask(site, 'GET /shop/socket', ['+Upgrade: websocket']);
    const socket = await site.connect();
    socket.write(
      'GET /shop/socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Answer: 101\r\nX-Answer: Upgrade: websocket\r\nX-Answer: Connection: Upgrade\r\n\r\n',
    );
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    assert.match(bytes.toString('latin1'), /^HTTP\/1\.1 101 /);
    socket.destroy();
    const [, upgraded] = origin.take();
    assert.deepEqual(ofMember(upgraded!), ['/app/socket', 'shop.internal:8080', 1]);
    assert.ok(upgraded!.fields.some(([name, value]) => name === 'upgrade' && value === 'websocket'));
    await site.stop();
  });

  it('leave out of responses what the policy takes out, mapped or not', async () => {
    const site = await ProxySite.start([port], {
      rewrites: REWRITES,
      responseFields: { remove: ['Set-Cookie'], set: [{ name: 'Location', value: '/app/own' }] },
    });
    const answer = await ask(site, 'GET /shop/', ['302', 'Location: /app/x', 'Set-Cookie: a=b; Path=/app']);
    assert.deepEqual([values(answer, 'location'), values(answer, 'set-cookie')], [['/app/own'], []]);
    await site.stop();
  });

  it('store responses as clients get them, and fetch them anew where they were from', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES, cache: { cacheStatus: true } });
    const stored = ['301', 'Location: /app/x', 'Cache-Control: max-age=1, stale-while-revalidate=60'];
    for (const host of ['shop.example', 'shop.example']) {
      const answer = await ask(site, 'GET /shop/a', stored, host);
      assert.deepEqual(values(answer, 'location'), ['/shop/x']);
    }
    assert.equal(origin.take().length, 1);
    await new Promise((resolve) => setTimeout(resolve, 1300));
    assert.match(await ask(site, 'GET /shop/a', stored, 'shop.example'), /detail=stale/);
    for (let n = 0; origin.received.length === 0 && n < 100; n++) await new Promise((r) => setTimeout(r, 20));
    assert.deepEqual(origin.take().map(ofMember), [['/app/a', 'shop.internal:8080', 1]]);
    // A change that says where: as clients know it.
    assert.match(await ask(site, 'GET /shop/b', ['Cache-Control: max-age=60'], 'shop.example'), /stored/);
    await ask(site, 'POST /shop/a', ['201', 'Location: /app/b', '+Content-Length: 0'], 'shop.example');
    assert.match(await ask(site, 'GET /shop/b', [], 'shop.example'), /fwd=miss/);
    await site.stop();
  });

  it('are written for a member again where its connection was lost', async () => {
    const site = await ProxySite.start([port], { rewrites: REWRITES });
    await ask(site, 'GET /shop/1');
    origin.dropAll();
    assert.match(await ask(site, 'GET /shop/2'), /^HTTP\/1.1 200/);
    assert.deepEqual(
      origin.take().map((one) => ofMember(one)[0]),
      ['/app/1', '/app/2'],
    );
    await site.stop();
  });

  it('are written for a request that waited', async () => {
    const site = await ProxySite.start([port], {
      rewrites: REWRITES,
      memberConnections: { max: 1, queue: {} },
    });
    await Promise.all(Array.from({ length: 8 }, (_, n) => ask(site, `GET /shop/${n}`)));
    assert.deepEqual(
      origin
        .take()
        .map((one) => ofMember(one)[0])
        .sort(),
      Array.from({ length: 8 }, (_, n) => `/app/${n}`),
    );
    await site.stop();
  });

  it('are refused with a cache where they go by what others do not send', () => {
    const rewrites = [{ fields: [{ name: 'X-A' }], to: { host: 'b' } }];
    const { error } = HttpService.safeParse({ rewrites, cache: {} });
    assert.match(error!.issues[0]!.message, /must not ask for fields or cookies with cache/);
    const order = ['rewrites', 'field-changes'];
    assert.match(HttpService.safeParse({ order }).error!.issues[0]!.message, /field-changes before rewrites/);
  });
});
