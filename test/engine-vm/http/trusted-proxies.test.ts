/** Who the client is behind proxies, and that nobody else can say so; ids of requests. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ClientOrigins } from '../../../src/engine-vm/http/client-origin.ts';
import { Head } from '../../../src/engine-vm/http/head.ts';
import { parseRequestHead } from '../../../src/engine-vm/http/parse-head.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { type LogLine, ProxySite, request } from './proxy-site.ts';
import { type Received, RecordingOrigin } from './recording-origin.ts';

const PROXIES = ['10.0.0.0/8', 'fd00::/8', '127.0.0.1'];
const head = new Head();

/** What the proxy takes a request to be that came from `peer`: null where that is nobody who is believed. */
function originOf(peer: string, fields: string[], http: Record<string, unknown> = {}, of = 'x-forwarded') {
  const bytes = Buffer.from(['GET / HTTP/1.1', 'Host: a', ...fields, '', ''].join('\r\n'), 'latin1');
  const limits = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };
  assert.ok(parseRequestHead(bytes, 0, bytes.length, head, limits) > 0);
  const trustedProxies = { from: PROXIES, fields: of };
  const origins = ClientOrigins.of(HttpService.parse({ trustedProxies, ...http }))!;
  const first = origins.find(peer, false, head);
  assert.equal(origins.find(peer, false, head), first, 'the same fields are the same origin');
  return first === null ? null : { ...first, lines: Buffer.from(first.lines).toString() };
}

describe('trusted proxies', () => {
  const xff = (value: string): string[] => [`X-Forwarded-For: ${value}`];

  for (const [value, client] of [
    ['192.0.2.1', '192.0.2.1'],
    ['198.51.100.9, 192.0.2.1', '192.0.2.1'],
    ['198.51.100.9, 192.0.2.1, 10.1.1.1', '192.0.2.1'],
    ['10.2.2.2, 10.1.1.1', '10.2.2.2'],
    ['192.0.2.1:4711', '192.0.2.1'],
    ['[2001:db8::1]:4711', '2001:db8::1'],
    ['2001:db8::1, fd00::1', '2001:db8::1'],
    ['192.0.2.1, unknown', '10.0.0.1'],
    ['192.0.2.1, 10.0.0.300', '10.0.0.1'],
    ['192.0.2.1, evil, 10.1.1.1', '10.1.1.1'],
    [', 192.0.2.1', '192.0.2.1'],
    ['192.0.2.1,', '10.0.0.1'],
  ] as const) {
    it(`say by X-Forwarded-For: ${value} that the client is ${client}`, () => {
      assert.equal(originOf('10.0.0.1', xff(value))!.address, client);
    });
  }

  for (const [value, client, more] of [
    ['for=192.0.2.1', '192.0.2.1', 'X-Forwarded-Proto: http\r\n'],
    ['For="[2001:db8::1]:80";proto=https', '2001:db8::1', 'X-Forwarded-Proto: https\r\n'],
    ['for=1.1.1.1, for=192.0.2.1;host=a.example;proto=http', '192.0.2.1', 'X-Forwarded-Host: a.example\r\n'],
    ['for=192.0.2.1, for=10.1.1.1', '192.0.2.1', ''],
    ['for=_hidden', '10.0.0.1', ''],
    ['for=192.0.2.1;host="a\\"b"', '192.0.2.1', ''],
    ['for="192.0.2.1', '10.0.0.1', ''],
    ['for = 192.0.2.1', '10.0.0.1', ''],
  ] as const) {
    it(`say by Forwarded: ${value} that the client is ${client}`, () => {
      const origin = originOf('10.0.0.1', [`Forwarded: ${value}`, ...xff('203.0.113.5')], {}, 'forwarded')!;
      assert.equal(origin.address, client);
      assert.ok(origin.lines.includes(more) && !origin.lines.includes('"'));
    });
  }

  it('are believed in one kind of field, from listed addresses alone', () => {
    assert.equal(originOf('192.0.2.77', xff('1.1.1.1')), null);
    assert.equal(originOf('10.0.0.1', ['Forwarded: for=1.1.1.1'])!.address, '10.0.0.1');
    assert.equal(originOf('10.0.0.1', xff('1.1.1.1'), {}, 'forwarded')!.address, '10.0.0.1');
  });

  it('never make a client of what stands left of an address that is not listed', () => {
    const address = fc.constantFrom(
      '192.0.2.1',
      '192.0.2.2',
      '10.0.0.1',
      '10.9.9.9',
      'fd00::7',
      '2001:db8::5',
      'x',
    );
    const isListed = (text: string): boolean => text.startsWith('10.') || text.startsWith('fd');
    fc.assert(
      fc.property(fc.array(address, { minLength: 1, maxLength: 6 }), (list) => {
        let client = '10.0.0.1';
        for (const one of [...list].reverse()) {
          if (!isListed(client) || one === 'x') break;
          client = one;
        }
        assert.equal(originOf('10.0.0.1', [`X-Forwarded-For: ${list.join(', ')}`])!.address, client);
      }),
    );
  });

  it('make no line of what is no host, scheme or port', () => {
    const fields = ['X-Forwarded-Proto: gopher', 'X-Forwarded-Host: a/b', 'X-Forwarded-Port: 99999'];
    const { lines } = originOf('10.0.0.1', [...fields, ...xff('192.0.2.1')])!;
    assert.equal(lines, 'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n');
  });

  it('are told to members of each other where the policy appends, and by Forwarded where it says so', () => {
    const fields = [
      ...xff('9.9.9.9, 192.0.2.1, 10.1.1.1'),
      'X-Forwarded-Proto: https',
      'X-Forwarded-Port: 8443',
    ];
    assert.equal(
      originOf('10.0.0.1', fields, { clientAddress: 'append' })!.lines,
      'X-Forwarded-For: 192.0.2.1, 10.1.1.1, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n',
    );
    assert.equal(
      originOf('10.0.0.1', fields, { clientAddress: 'append', clientFields: 'forwarded' })!.lines,
      'Forwarded: for=192.0.2.1;proto=https, for=10.1.1.1, for=10.0.0.1\r\n',
    );
    assert.ok(!HttpService.safeParse({ clientAddress: 'append' }).success);
  });
});

describe('the proxy behind trusted proxies', () => {
  const origin = new RecordingOrigin();
  let port: number;
  before(async () => {
    port = await origin.listen();
  });
  after(() => origin.close());
  const value = (received: Received, name: string): string[] =>
    received.fields.filter(([other]) => other === name).map(([, text]) => text);
  const SENT = [
    'X-Forwarded-For: 1.1.1.1, 192.0.2.1',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: shop.example',
    'Forwarded: for=6.6.6.6',
  ];

  it('uses the client that they name for rules, limits, the log and members', async () => {
    const site = await ProxySite.start([port], {
      trustedProxies: { from: ['127.0.0.1'] },
      accessRules: { rules: [{ name: 'bad', action: 'deny', from: ['192.0.2.66'] }] },
      rateLimits: { limits: [{ name: 'each', requests: 1, withinMs: 100_000 }] },
    });
    const ask = async (from: string): Promise<string> =>
      (await site.talk(request('GET /', [`X-Forwarded-For: ${from}`]))).slice(9, 12);
    assert.match(await site.talk(request('GET /', SENT)), /^HTTP\/1.1 200/);
    const [received] = origin.take() as [Received];
    assert.deepEqual(value(received, 'x-forwarded-for'), ['192.0.2.1']);
    assert.deepEqual(value(received, 'x-forwarded-proto'), ['https']);
    assert.deepEqual(value(received, 'x-forwarded-host'), ['shop.example']);
    assert.deepEqual(value(received, 'forwarded'), []);
    assert.deepEqual(
      [await ask('192.0.2.66'), await ask('192.0.2.1'), await ask('192.0.2.2')],
      ['403', '429', '200'],
    );
    await site.stop();
    const clients = site.log.map((one) => (one as LogLine & { client: string }).client);
    assert.deepEqual(clients, ['192.0.2.1', '192.0.2.66', '192.0.2.1', '192.0.2.2']);
    origin.take();
  });

  it('tells members nothing that others say', async () => {
    for (const clientFields of ['x-forwarded', 'forwarded']) {
      const site = await ProxySite.start([port], { trustedProxies: { from: ['10.0.0.0/8'] }, clientFields });
      await site.talk(request('GET /', SENT));
      await site.stop();
      const [received] = origin.take() as [Received];
      const isX = clientFields === 'x-forwarded';
      assert.deepEqual(value(received, 'x-forwarded-for'), isX ? ['127.0.0.1'] : []);
      assert.deepEqual(value(received, 'x-forwarded-host'), isX ? ['test'] : []);
      assert.deepEqual(value(received, 'forwarded'), isX ? [] : ['for=127.0.0.1;proto=http']);
    }
  });

  it('gives requests ids, in the log, for members and clients', async () => {
    const site = await ProxySite.start([port], { requestId: { toClients: true } });
    const answer = await site.talk(request('GET /', ['X-Request-Id: mine']));
    const refused = await site.talk(request('GET /', ['X-Request-Id: mine', 'x-request-id: two']));
    await site.stop();
    const ids = origin.take().map((one) => value(one, 'x-request-id'));
    for (const one of ids) assert.match(one.join(), /^[0-9a-f]{32}$/);
    assert.notDeepEqual(ids[0], ids[1]);
    assert.ok(
      answer.includes(`X-Request-Id: ${ids[0]}\r\n`) && refused.includes(`X-Request-Id: ${ids[1]}\r\n`),
    );
    assert.deepEqual(
      site.log.map((one) => (one as LogLine & { id: string }).id),
      ids.flat(),
    );
  });

  it('keeps the id of a trusted proxy, if it is one', async () => {
    const site = await ProxySite.start([port], {
      requestId: { field: 'X-Trace' },
      trustedProxies: { from: ['127.0.0.1'] },
    });
    await site.talk(request('GET /', ['x-trace: abc/1-2']));
    await site.talk(request('GET /', ['X-Trace: a"b']));
    await site.talk(request('GET /', [`X-Trace: ${'a'.repeat(129)}`]));
    await site.stop();
    const ids = origin.take().map((one) => value(one, 'x-trace').join());
    assert.equal(ids[0], 'abc/1-2');
    for (const one of ids.slice(1)) assert.match(one, /^[0-9a-f]{32}$/);
    assert.deepEqual(
      site.log.map((one) => (one as LogLine & { id: string }).id),
      ids,
    );
  });
});
