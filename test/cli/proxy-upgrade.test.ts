/** One `weft proxy` takes the place of the other under load, and no request fails. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../engine-vm/http/proxy-site.ts';
import { echoOrigin, ProxyLoad } from './proxy-load.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const UPGRADES = 20;

function policy(port: number, memberPort: number, revision: number): string {
  return `
kind: virtual-service
name: shop
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: ${port}, pool: web }]
  http:
    sessionCookie: {}
    responseFields: { set: [{ name: X-Revision, value: "${revision}" }] }
---
kind: pool
name: web
spec:
  cloud: any
  members: { addresses: [127.0.0.1, 127.0.0.2] }
  port: ${memberPort}
`;
}

interface Proxy {
  readonly child: ChildProcess;
  said: string;
}

describe('upgrade of weft proxy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-upgrade-test-'));
  const file = join(folder, 'shop.yaml');
  const origin = echoOrigin();
  origin.on('upgrade', (_received, socket) => {
    socket.on('error', () => undefined);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.pipe(socket);
  });
  const proxies: Proxy[] = [];
  let port = 0;
  let memberPort = 0;

  before(async () => {
    origin.listen(0);
    await once(origin, 'listening');
    memberPort = (origin.address() as AddressInfo).port;
    port = await freePort();
  });
  after(() => {
    for (const { child } of proxies) child.kill('SIGKILL');
    origin.closeAllConnections();
    origin.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(revision: number, workers: number, ...options: string[]): Promise<Proxy> {
    writeFileSync(file, policy(port, memberPort, revision));
    const args = ['--disable-warning=ExperimentalWarning', MAIN, 'proxy', '-f', file];
    const child = spawn(process.execPath, [...args, '--workers', String(workers), ...options], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    const proxy: Proxy = { child, said: '' };
    proxies.push(proxy);
    child.stderr.on('data', (bytes) => {
      proxy.said += bytes;
    });
    const ready = options.includes('--replace') ? 'takes the place' : 'workers,';
    while (!proxy.said.includes(ready)) {
      assert.deepEqual([child.exitCode, child.signalCode], [null, null], proxy.said);
      await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    }
    return proxy;
  }

  async function ended({ child }: Proxy): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  it(`answers every request of new and kept connections during ${UPGRADES} upgrades`, async function () {
    this.timeout(240_000);
    let latest = await start(0, 2);
    const load = new ProxyLoad(port);
    load.start('kept', 8);
    load.start('new', 8);
    load.start('http2', 4);
    try {
      for (let revision = 1; revision <= UPGRADES; revision++) {
        const before = latest;
        // Sometimes more threads than sockets, sometimes less.
        latest = await start(revision, 1 + (revision % 3), '--replace', String(before.child.pid));
        await load.more(100);
        await ended(before);
        assert.match(before.said, /replaced; requests that have begun have/);
        // Nobody is left to answer with an older one.
        load.inForce = revision;
        await load.more(60);
      }
    } finally {
      await load.stop();
    }
    assert.deepEqual(load.failures, []);
    assert.equal(load.revisions.size, UPGRADES + 1);
    const { kept, new: fresh, http2 } = load.answered;
    assert.ok(Math.min(kept, fresh, http2) > 10 * UPGRADES, JSON.stringify(load.answered));
    latest.child.kill('SIGTERM');
    await ended(latest);
    const answered = proxies.reduce(
      (sum, { said }) => sum + Number(/(\d+) requests answered/.exec(said)?.[1]),
      0,
    );
    assert.equal(answered, load.total);
  });

  it('lets responses and WebSockets go on, keeps cookies, and serves a connection that was idle', async function () {
    this.timeout(60_000);
    const first = await start(0, 1);
    const long = new Promise<string>((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: '/long', agent: false }, (response: IncomingMessage) => {
        let text = '';
        response.setEncoding('latin1').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => resolve(text)).on('error', reject);
      }).on('error', reject);
    });
    const tunnel = connect(port, '127.0.0.1');
    let echoed = '';
    tunnel.setEncoding('latin1').on('data', (text: string) => {
      echoed += text;
    });
    tunnel.write('GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    while (!echoed.includes('\r\n\r\n')) await once(tunnel, 'data');
    const idle = connect(port, '127.0.0.1');
    await once(idle, 'connect');

    const second = await start(1, 1, '--replace', String(first.child.pid));
    // Its threads are told by the one that says so.
    while (!first.said.includes('replaced;')) await once(first.child.stderr!, 'data');
    await sleep(300);
    tunnel.write('still there');
    while (!echoed.endsWith('still there')) await once(tunnel, 'data');
    tunnel.end();
    const ask = async (cookie: string): Promise<{ cookie: string; text: string }> => {
      const answer = await fetch(`http://127.0.0.1:${port}/a`, { headers: cookie === '' ? {} : { cookie } });
      const given = answer.headers.get('set-cookie')?.split(';')[0] ?? '';
      return { cookie: given, text: (await answer.text()).slice(0, 6) };
    };
    let answer = '';
    idle.setEncoding('latin1').on('data', (text: string) => {
      answer += text;
    });
    idle.write('GET /late HTTP/1.1\r\nHost: shop\r\n\r\n');
    await once(idle, 'end');
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\nX-Revision: 0\r\n/i);
    assert.match(answer, /\r\nConnection: close\r\n/i);
    const cookie = /\r\nSet-Cookie: ([^;]+)/i.exec(answer)?.[1] ?? '';
    assert.notEqual(cookie, '');
    // The cookie of the first is one of the second: none is given anew.
    assert.deepEqual(await ask(cookie), { cookie: '', text: 'GET /a' });
    assert.equal(await long, 'begin,end');
    await ended(first);
    assert.equal(first.child.exitCode, 0, first.said);
    second.child.kill('SIGTERM');
    await ended(second);
  });

  it('says so where there is nobody to replace, or no proxy', async function () {
    this.timeout(30_000);
    for (const [pid, message] of [
      [process.pid, `process ${process.pid} is no weft proxy`],
      [2 ** 22 + 1, `there is no process ${2 ** 22 + 1}`],
    ] as const) {
      await assert.rejects(start(0, 1, '--replace', String(pid)), (error: Error) => {
        assert.ok(error.message.includes(message), error.message);
        return true;
      });
    }
  });
});
