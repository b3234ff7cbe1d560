/** Redirects: which requests get them, where to, and that no request makes a head of them that is none. */
import assert from 'node:assert/strict';
import { HttpService } from '../../../../src/policy/http-service.ts';
import { ProxySite, request } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';

describe('redirects', () => {
  const origin = new RecordingOrigin();
  let site: ProxySite;
  before(async () => {
    site = await ProxySite.start([await origin.listen()], {
      redirects: [
        { paths: ['/old/*'], to: 'https://shop.example:8443/new{path}{query}', status: 301 },
        { hosts: ['plain.example', '[::1]'], to: 'https://{host}{path}{query}' },
        { paths: ['/post'], methods: ['POST'], to: 'http://other.example/', status: 307 },
      ],
    });
  });
  after(async () => {
    await site.stop();
    await origin.close();
  });

  const ask = async (line: string, host = 'test', body = ''): Promise<[string, string | undefined]> => {
    const fields = body === '' ? [] : [`Content-Length: ${body.length}`];
    const answer = await site.talk(request(line, fields, body).replace('Host: test', `Host: ${host}`));
    return [answer.slice(9, 12), /^Location: (.*)\r$/im.exec(answer)?.[1]];
  };

  const cases: [string, string, string, string][] = [
    ['GET /old/a?b=c&d', 'test', '301', 'https://shop.example:8443/new/old/a?b=c&d'],
    ['HEAD /old/', 'test', '301', 'https://shop.example:8443/new/old/'],
    ['GET /x?y', 'plain.example', '308', 'https://plain.example/x?y'],
    ['GET /x', 'Plain.Example:8080', '308', 'https://Plain.Example/x'],
    ['GET /x', '[::1]:80', '308', 'https://[::1]/x'],
    ['GET //evil.example/', 'plain.example', '308', 'https://plain.example//evil.example/'],
    ['GET /$&?$1', 'plain.example', '308', 'https://plain.example/$&?$1'],
  ];
  for (const [line, host, status, location] of cases) {
    it(`answers ${line} of ${host}`, async () => {
      assert.deepEqual(await ask(line, host), [status, location]);
      assert.equal(origin.received.length, 0);
    });
  }

  it('answers a request with a body, and lets the others go on', async () => {
    assert.deepEqual(await ask('POST /post', 'test', 'abc'), ['307', 'http://other.example/']);
    assert.equal(origin.received.length, 0);
    assert.deepEqual(await ask('GET /post'), ['200', undefined]);
    assert.equal(origin.received.length, 1);
  });

  it('sends clients to the host that they named, where a trusted proxy tells of it', async () => {
    const behind = await ProxySite.start([1], {
      trustedProxies: { from: ['127.0.0.1'] },
      redirects: [{ to: 'https://{host}{path}{query}' }],
    });
    for (const [told, expected] of [
      ['shop.example:8080', 'https://shop.example/a?b'],
      ['[2001:db8::1]:80', 'https://[2001:db8::1]/a?b'],
      ['evil.example/x', 'https://test/a?b'],
    ] as const) {
      const answer = await behind.talk(request('GET /a?b', [`X-Forwarded-Host: ${told}`]));
      assert.equal(/^Location: (.*)\r$/m.exec(answer)?.[1], expected);
    }
    await behind.stop();
  });

  it('puts no byte of a request into Location that ends its line', async () => {
    for (const bad of ['GET /old/\rX: y', 'GET /old/\0', 'GET /old/\x7f', 'GET /old/%0d%0aX:%20y']) {
      const answer = await site.talk(request(bad));
      assert.doesNotMatch(answer, /^X:/m);
      assert.match(answer, bad.includes('%') ? /^HTTP\/1\.1 (301|400)/ : /^HTTP\/1\.1 400/);
    }
  });

  it('takes no target without a scheme, a host and a path', () => {
    for (const to of [
      '{path}',
      '//x.example/',
      'https://x.example',
      'https://{path}',
      'javascript:x',
      'https://x/\n',
      'https://x:99999/',
      'https://x:0/',
      'https://[::1]:65536/',
      'https://[1.2.3]/',
    ]) {
      assert.equal(HttpService.safeParse({ redirects: [{ to }] }).success, false, to);
    }
  });
});
