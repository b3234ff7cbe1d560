/** The PROXY protocol on sockets: from proxies in front, with curl as one. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { proxyHeaderOf } from '../../../src/engine-vm/http/proxy-header.ts';
import { ProxySite, request } from './proxy-site.ts';
import { RecordingOrigin } from './recording-origin.ts';

const run = promisify(execFile);
const ends = { sourceAddress: '192.0.2.7', sourcePort: 4711, targetAddress: '198.51.100.1', targetPort: 80 };
const V1 = Buffer.from(proxyHeaderOf('v1', ends)).toString('latin1');
const V2 = Buffer.from(proxyHeaderOf('v2', ends)).toString('latin1');
const LOCAL = Buffer.from(proxyHeaderOf('v2', null)).toString('latin1');

describe('PROXY protocol from clients', () => {
  let origin: RecordingOrigin;
  let site: ProxySite;
  before(async () => {
    origin = new RecordingOrigin();
    const originPort = await origin.listen();
    const proxyProtocol = { from: ['127.0.0.0/8'] };
    site = await ProxySite.start([originPort], { proxyProtocol, headTimeoutMs: 300 });
  });
  after(async () => {
    await site.stop();
    await origin.close();
  });

  const client = (): string | undefined =>
    origin.received.at(-1)!.fields.find(([name]) => name === 'x-forwarded-for')?.[1];

  for (const [name, header] of [
    ['v1', V1],
    ['v2', V2],
  ] as const) {
    it(`takes ${name}, whole, byte by byte, and with one request more`, async () => {
      const two = `${header}${request('GET /').replace('Connection: close\r\n', '')}${request('GET /')}`;
      for (const length of [two.length, 1]) {
        const count = origin.received.length;
        const answers = await site.talk(two, length);
        assert.equal(answers.match(/HTTP\/1\.1 200/g)?.length, 2);
        assert.equal(origin.received.length, count + 2);
        assert.equal(client(), '192.0.2.7');
      }
    });
  }

  it('takes the socket’s address where the header tells of none', async () => {
    assert.match(await site.talk(LOCAL + request('GET /')), /^HTTP\/1\.1 200/);
    assert.equal(client(), '127.0.0.1');
  });

  it('refuses a connection without a header, or with two', async () => {
    const count = origin.received.length;
    assert.match(await site.talk(request('GET /')), /^HTTP\/1\.1 400 [\s\S]*proxy-header-invalid/);
    assert.match(await site.talk(V1 + V1 + request('GET /')), /^HTTP\/1\.1 (400|505)/);
    assert.match(await site.talk(V1.replace('TCP4', 'TCP9') + request('GET /')), /proxy-header-invalid/);
    assert.equal(origin.received.length, count);
  });

  it('closes where no header comes in the time of a head', async () => {
    assert.equal(await site.talk(V2.slice(0, 20)), '');
  });

  it('understands curl, over HTTP/1.1 and HTTP/2', async () => {
    for (const version of ['--http1.1', '--http2-prior-knowledge']) {
      const url = `http://127.0.0.1:${site.port}/`;
      const { stdout } = await run('curl', ['-sS', '--haproxy-protocol', version, url, '-w', '%{http_code}']);
      assert.match(stdout, /200$/);
    }
  });
});

describe('PROXY protocol from those that are not trusted', () => {
  it('is refused, and nothing reaches a member', async () => {
    const origin = new RecordingOrigin();
    const site = await ProxySite.start([await origin.listen()], {
      proxyProtocol: { from: ['192.0.2.0/24'] },
    });
    for (const header of [V1, V2]) {
      assert.match(await site.talk(header + request('GET /')), /^HTTP\/1\.1 (400|505)/);
    }
    assert.equal(origin.received.length, 0);
    assert.match(await site.talk(request('GET /')), /^HTTP\/1\.1 200/);
    await site.stop();
    await origin.close();
  });
});
