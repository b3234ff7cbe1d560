/** Session cookies: clients come back to their member, on every thread and after a reload; nobody else's cookie counts. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withCookieKey } from '../../../src/engine-vm/http/cookie-key.ts';
import type { ServiceSettings } from '../../../src/engine-vm/http/service.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { ProxySite, request, settingsOf } from './proxy-site.ts';
import { RecordingOrigin } from './recording-origin.ts';

const cookieOf = (answer: string): string | null => /\r\nSet-Cookie: ([^;]+);/.exec(answer)?.[1] ?? null;

/** The fields that members got of a request, those between its own. */
function seenBy(origins: readonly RecordingOrigin[]): string[][] {
  return origins.flatMap((origin) =>
    origin
      .take()
      .map(({ fields }) =>
        fields
          .filter(([name]) => name === 'cookie' || name === 'x-after')
          .map(([name, value]) => `${name}: ${value.trim()}`),
      ),
  );
}

describe('session cookies', () => {
  const origins = [new RecordingOrigin(), new RecordingOrigin(), new RecordingOrigin()];
  let ports: number[];
  let site: ProxySite;

  before(async () => {
    ports = await Promise.all(origins.map((origin) => origin.listen()));
    site = await ProxySite.start(ports, { sessionCookie: { maxAgeSeconds: 60 } }, undefined, 2);
  });
  after(async () => {
    await site.stop();
    await Promise.all(origins.map((origin) => origin.close()));
  });

  const ask = (cookie: string): Promise<string> =>
    site.talk(request('GET /x', cookie === '' ? [] : [`Cookie: a=b; ${cookie}; z=1`]));
  const taken = (): number[] => origins.map((origin) => origin.take().length);
  const cookies = async () => {
    const sum = { kept: 0, moved: 0, unknown: 0, given: 0 };
    for (const report of await site.workers.figures()) {
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += report.cookies[name];
    }
    return sum;
  };
  const since = (now: Record<string, number>, then: Record<string, number>) =>
    Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - then[name]!]));

  /** A cookie, and whose it is. */
  async function first(): Promise<{ cookie: string; member: number }> {
    taken();
    const answer = await ask('');
    assert.match(
      answer,
      /\r\nSet-Cookie: weft=[\w-]{22}; Path=\/; (Max-Age=60; )?HttpOnly; SameSite=Lax\r\n/,
    );
    return { cookie: cookieOf(answer)!, member: taken().indexOf(1) };
  }

  it('bring clients back to their member, whichever thread they meet', async () => {
    const { cookie, member } = await first();
    const before = await cookies();
    for (let n = 0; n < 30; n++) assert.equal(cookieOf(await ask(cookie)), null);
    assert.equal(taken()[member], 30);
    assert.deepEqual(since(await cookies(), before), { kept: 30, moved: 0, unknown: 0, given: 0 });
  });

  it('are ignored, counted and replaced where they are forged', async () => {
    const { cookie } = await first();
    const before = await cookies();
    const last = cookie.endsWith('A') ? 'B' : 'A';
    for (const forged of [`${cookie.slice(0, -1)}${last}`, `${cookie}A`, 'weft=', 'weft=127.0.0.1:80']) {
      assert.notEqual(cookieOf(await ask(forged)), null, forged);
    }
    for (const other of [`x${cookie}`, `Weft${cookie.slice(4)}`])
      assert.notEqual(cookieOf(await ask(other)), null);
    assert.deepEqual(since(await cookies(), before), { kept: 0, moved: 0, unknown: 4, given: 6 });
  });

  it('mean the same after a reload, and lead to another member while theirs drains', async () => {
    const { cookie, member } = await first();
    const settings = settingsOf(site.port, ports, { sessionCookie: {} });
    await site.workers.reload(settings);
    assert.equal(cookieOf(await ask(cookie)), null);
    assert.equal(taken()[member], 1);
    for (const change of [{ isDraining: true }, { isDown: true }]) {
      await site.workers.reload({
        ...settings,
        members: settings.members.map((one, n) => (n === member ? { ...one, ...change } : one)),
      });
      const before = await cookies();
      const next = cookieOf(await ask(cookie));
      assert.notEqual(next, null);
      assert.notEqual(next, cookie);
      assert.equal(taken()[member], 0);
      assert.deepEqual(since(await cookies(), before), { kept: 0, moved: 1, unknown: 0, given: 1 });
    }
    await site.workers.reload({ ...settings, members: settings.members.filter((_, n) => n !== member) });
    assert.notEqual(cookieOf(await ask(cookie)), null);
    assert.equal(taken()[member], 0);
    await site.workers.reload(settings);
    assert.equal(cookieOf(await ask(cookie)), null);
    assert.equal(taken()[member], 1);
  });

  it('lead on to another member where theirs takes no connections', async () => {
    const gone = new RecordingOrigin();
    const port = await gone.listen();
    const settings = settingsOf(site.port, [port], { sessionCookie: {} });
    await site.workers.reload(settings);
    const cookie = cookieOf(await ask(''))!;
    await gone.close();
    const both = settingsOf(site.port, [port, ports[0]!], { sessionCookie: {} });
    await site.workers.reload(both);
    const answer = await ask(cookie);
    assert.match(answer, /^HTTP\/1.1 200 /);
    assert.notEqual(cookieOf(answer), null);
    assert.notEqual(cookieOf(answer), cookie);
  });

  it('are taken out before members see them, and make nothing a secret', async () => {
    const { cookie } = await first();
    for (const [sent, seen] of [
      [cookie, null],
      [`a=b; ${cookie}`, 'a=b'],
      [`${cookie}; a=b`, 'a=b'],
      [`a=b; ${cookie}; weft-x=1; c="d e";weft=forged; z`, 'a=b; weft-x=1; c="d e"; z'],
      ['a=b', 'a=b'],
    ] as const) {
      taken();
      const text = (await site.talk(request('GET /x', [`Cookie: ${sent}`, 'X-After: 1']))).slice(0, 15);
      assert.equal(text, 'HTTP/1.1 200 OK');
      const [got] = seenBy(origins);
      assert.deepEqual(got, seen === null ? ['x-after: 1'] : [`cookie: ${seen}`, 'x-after: 1'], sent);
    }
  });

  it('let responses be compressed and stored that others may have', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Cache-Control': 'max-age=60' });
      response.end('again and '.repeat(1000));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const other = await ProxySite.start([port], { sessionCookie: {}, cache: {}, compression: {} });
    try {
      const ours = cookieOf(await other.talk(request('GET /')))!;
      const ask = (text: string, path = '/'): Promise<string> =>
        other.talk(request(`GET ${path}`, [`Cookie: ${text}`, 'Accept-Encoding: gzip']));
      const answer = await ask(ours);
      assert.match(answer, /\r\nContent-Encoding: gzip\r\n/i);
      assert.match(await ask(ours), /\r\nAge: /);
      assert.doesNotMatch(await ask(`${ours}; id=7`, '/mine'), /\r\nContent-Encoding: gzip\r\n/i);
    } finally {
      await other.stop();
      server.close();
    }
  });

  it('mean the same to all proxies that have the key, after a restart, too', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weft-cookie-'));
    const keyFile = join(folder, 'key');
    writeFileSync(keyFile, 'short');
    const load = (): ServiceSettings =>
      withCookieKey(settingsOf(site.port, ports, { sessionCookie: { keyFile } }));
    assert.throws(load, /holds 5 bytes: a key has 32 at least/);
    writeFileSync(keyFile, randomBytes(32));
    const settings = load();
    await site.workers.reload(settings);
    const { cookie, member } = await first();
    const other = await ProxySite.start(ports, { sessionCookie: {} });
    await other.workers.reload({ ...load(), listeners: other.settings.listeners });
    try {
      for (let n = 0; n < 5; n++) await other.talk(request('GET /', [`Cookie: ${cookie}`]));
      assert.equal(taken()[member], 5);
    } finally {
      await other.stop();
      rmSync(folder, { recursive: true });
    }
    assert.throws(load, /cannot be read \(ENOENT\)/);
  });

  it('are one for each pool of routes', async () => {
    const members = settingsOf(0, [ports[1]!, ports[2]!]).members;
    const settings = settingsOf(site.port, [ports[0]!], {
      sessionCookie: { name: 'at', sameSite: 'None', isSecure: true },
      routes: [{ paths: ['/x'], pool: 'api' }],
    });
    await site.workers.reload({ ...settings, pools: [{ name: 'api', members }] });
    taken();
    assert.match(
      await ask(''),
      /\r\nSet-Cookie: at-api=[\w-]{22}; Path=\/; HttpOnly; SameSite=None; Secure\r\n/,
    );
    assert.match(await site.talk(request('GET /y')), /\r\nSet-Cookie: at=[\w-]{22}; /);
  });

  it('must be Secure to be SameSite=None', () => {
    const judged = HttpService.safeParse({ sessionCookie: { sameSite: 'None' } });
    assert.match(judged.error?.issues[0]?.message ?? '', /needs isSecure: true/);
  });
});
