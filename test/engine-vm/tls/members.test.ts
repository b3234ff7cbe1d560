/** TLS with members: who is believed, and what becomes of requests where nobody is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { HttpMonitor } from '../../../src/engine-vm/health/http.ts';
import type { ServiceSettings } from '../../../src/engine-vm/http/service.ts';
import { withTls } from '../../../src/engine-vm/tls/with-tls.ts';
import { HealthMonitor } from '../../../src/policy/pool.ts';
import { MemberTls } from '../../../src/policy/pool-tls.ts';
import { loopKinds, ProxySite, request, settingsOf } from '../http/proxy-site.ts';
import { Authority, type Issued } from './authority.ts';

interface Seen {
  name: string | false | null;
  isReused: boolean;
  client: string | undefined;
}

/** A member that answers each request with what it got; `/cut` ends without close_notify, `/close` with it. */
class TlsMember {
  readonly seen: Seen[] = [];
  readonly heads: string[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<TLSSocket>();
  /** The TCP connections, by the proxy's port. */
  readonly #below = new Map<number, Socket>();

  async listen(issued: Issued, more: TlsOptions = {}, port = 0): Promise<number> {
    const server = createServer({ cert: issued.certificate, key: issued.key, ...more }, (socket) => {
      this.#sockets.add(socket);
      this.seen.push({
        name: socket.servername,
        isReused: socket.isSessionReused(),
        client: socket.getPeerCertificate()?.subject?.CN as string | undefined,
      });
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
      let text = '';
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1');
        const at = text.indexOf('\r\n\r\n');
        if (at < 0) return;
        const head = text.slice(0, at);
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        if (text.length < at + 4 + length) return;
        this.heads.push(head);
        const body = text.slice(at + 4);
        text = '';
        if (/^GET \/(cut|close)/.test(head)) {
          socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart', () => {
            if (head.startsWith('GET /cut')) this.#below.get(socket.remotePort!)!.destroy();
            else socket.end();
          });
        } else socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      });
    });
    server.on('tlsClientError', () => undefined);
    server.on('connection', (below: Socket) => {
      const { remotePort } = below;
      this.#below.set(remotePort!, below);
      below.on('close', () => this.#below.delete(remotePort!));
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#servers.push(server);
    return (server.address() as AddressInfo).port;
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

for (const loop of loopKinds()) {
  describe(`TLS with members (${loop})`, () => {
    let directory: string;
    let authority: Authority;
    let good: Issued;
    let member: TlsMember;
    let site: ProxySite;

    const speak = (settings: ServiceSettings, tls: Record<string, unknown>): ServiceSettings =>
      withTls({
        ...settings,
        poolTls: MemberTls.parse({
          authoritiesFile: authority.certificateFile,
          serverName: 'member.test',
          ...tls,
        }),
      }).settings;

    const use = async (ports: number[], tls: Record<string, unknown> = {}, http = {}): Promise<void> => {
      site = await ProxySite.start(ports, http, loop);
      await site.workers.reload(speak(settingsOf(site.port, ports, http), tls));
    };

    before(() => {
      directory = mkdtempSync(join(tmpdir(), 'weft-tls-'));
      authority = new Authority(directory, 'members');
      good = authority.issue('good', { use: 'serverAuth', names: 'DNS:member.test,IP:127.0.0.1' });
    });
    after(() => rmSync(directory, { recursive: true }));
    beforeEach(() => {
      member = new TlsMember();
    });
    afterEach(async () => {
      member.close();
      await site.stop();
    });

    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`${version}: asks for the name, resumes sessions, shows its own certificate`, async () => {
        const own = authority.issue(`own-${version}-${loop}`);
        const port = await member.listen(good, {
          minVersion: version,
          maxVersion: version,
          requestCert: true,
          rejectUnauthorized: true,
          ca: readFileSync(authority.certificateFile),
        });
        await use(
          [port],
          { certificateFile: own.certificateFile, keyFile: own.keyFile },
          { memberConnections: { idle: 0 } },
        );
        for (let n = 0; n < 3; n++) assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 200 /);
        const client = `own-${version}-${loop}`;
        // With 1.2 the name of a resumed session is in its ticket, where Node does not look.
        const name = version === 'TLSv1.2' ? false : 'member.test';
        assert.deepEqual(member.seen, [
          { name: 'member.test', isReused: false, client },
          { name, isReused: true, client },
          { name, isReused: true, client },
        ]);
      });
    }

    it('keeps connections, and moves large bodies both ways', async () => {
      await use([await member.listen(good)]);
      const body = 'x'.repeat(2_000_000);
      for (let n = 0; n < 3; n++) {
        const text = await site.talk(request('POST /x', [`Content-Length: ${body.length}`], body));
        assert.equal(text.slice(text.indexOf('\r\n\r\n') + 4), body);
      }
      assert.equal(member.seen.length, 1);
    });

    it('without a name, the certificate must have the address', async () => {
      await use([await member.listen(good)], { serverName: undefined });
      assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 200 /);
      const named = authority.issue(`named-${loop}`, { use: 'serverAuth', names: 'DNS:member.test' });
      const port = await member.listen(named);
      await site.workers.reload(speak(settingsOf(site.port, [port]), { serverName: undefined }));
      assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 502 [\s\S]*member-certificate-name/);
    });

    it('refuses bad members by name, and sends them nothing', async () => {
      const revoked = authority.issue(`revoked-${loop}`, { use: 'serverAuth', names: 'DNS:member.test' });
      authority.revoke(revoked);
      const revokedFile = authority.list(`list-${loop}`);
      const issue = (id: string, more: Record<string, string>): Issued =>
        authority.issue(`${id}-${loop}`, { use: 'serverAuth', names: 'DNS:member.test', ...more });
      const cases: [string, Issued][] = [
        ['member-certificate-name', issue('other', { names: 'DNS:other.test' })],
        ['member-certificate-expired', issue('old', { from: '200101000000Z', to: '200201000000Z' })],
        ['member-certificate-untrusted', issue('client', { use: 'clientAuth' })],
        ['member-certificate-revoked', revoked],
        [
          'member-certificate-untrusted',
          new Authority(directory, `stranger-${loop}`).issue('good', {
            use: 'serverAuth',
            names: 'DNS:member.test',
          }),
        ],
      ];
      await use([await member.listen(good)], { revokedFile });
      for (const [name, issued] of cases) {
        const port = await member.listen(issued);
        await site.workers.reload(speak(settingsOf(site.port, [port]), { revokedFile }));
        assert.match(await site.talk(request('GET /x')), new RegExp(`^HTTP/1.1 502 [\\s\\S]*${name}`), name);
      }
      assert.deepEqual(member.heads, []);
      // One that is good gets what the bad one did not.
      const bad = await member.listen(cases[0]![1]);
      const fine = await member.listen(good);
      await site.workers.reload(speak(settingsOf(site.port, [bad, fine]), { revokedFile }));
      for (let n = 0; n < 4; n++) assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 200 /);
    });

    it('refuses members that speak no TLS, or are silent', async () => {
      const plain = createTcpServer((socket) => {
        socket.on('error', () => undefined);
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      }).listen(0, '127.0.0.1');
      const silent = createTcpServer((socket) => void socket.on('error', () => undefined)).listen(
        0,
        '127.0.0.1',
      );
      await Promise.all([once(plain, 'listening'), once(silent, 'listening')]);
      const http = { connectTimeoutMs: 300, retries: 0 };
      await use([(plain.address() as AddressInfo).port], {}, http);
      assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 502 [\s\S]*member-tls/);
      await site.workers.reload(
        speak(settingsOf(site.port, [(silent.address() as AddressInfo).port], http), {}),
      );
      assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 502 [\s\S]*member-tls/);
      plain.close();
      silent.close();
    });

    it('a body without a length is whole only with close_notify', async () => {
      await use([await member.listen(good)]);
      assert.match(await site.talk(request('GET /close')), /\r\n0\r\n\r\n$|part$/);
      const text = await site.talk(request('GET /cut'));
      assert.doesNotMatch(text, /\r\n0\r\n\r\n$/);
    });

    it('the PROXY header goes in front of TLS', async () => {
      const port = await member.listen(good);
      const heads: string[] = [];
      const front = createTcpServer((socket) => {
        socket.once('data', (bytes: Buffer) => {
          const at = bytes.indexOf('\r\n') + 2;
          heads.push(bytes.toString('latin1', 0, at));

          const behind = connect(port, '127.0.0.1');
          behind.write(bytes.subarray(at));
          socket.pipe(behind).pipe(socket);
          for (const one of [socket, behind]) one.on('error', () => undefined);
        });
      }).listen(0, '127.0.0.1');
      await once(front, 'listening');
      const http = { proxyProtocol: { toMembers: 'v1' } };
      await use([(front.address() as AddressInfo).port], {}, http);
      assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 200 /);
      assert.match(heads[0]!, /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$/);
      front.close();
    });

    it('other terms end connections that were kept', async () => {
      const port = await member.listen(good);
      await use([port]);
      await site.talk(request('GET /x'));
      await site.talk(request('GET /x'));
      assert.equal(member.seen.length, 1);
      const stranger = new Authority(directory, `terms-${loop}`);
      await site.workers.reload(
        speak(settingsOf(site.port, [port]), { authoritiesFile: stranger.certificateFile }),
      );
      assert.match(await site.talk(request('GET /x')), /^HTTP\/1.1 502 [\s\S]*member-certificate-untrusted/);
    });

    it('health monitors ask by TLS where they shall', async () => {
      const port = await member.listen(good);
      await use([port]);
      const ask = async (tls: boolean): Promise<boolean> => {
        const spec = HealthMonitor.parse({ type: 'http', host: 'member.test', tls });
        const monitor = new HttpMonitor(spec as Extract<HealthMonitor, { type: 'http' }>);
        return (await monitor.check('127.0.0.1', port, AbortSignal.timeout(2000))).isUp;
      };
      assert.equal(await ask(true), true);
      assert.equal(member.seen[0]!.name, 'member.test');
      assert.equal(await ask(false), false);
    });

    it('never speaks plainly where the files are not loaded', async () => {
      await use([await member.listen(good)]);
      const poolTls = MemberTls.parse({ authoritiesFile: authority.certificateFile });
      await assert.rejects(site.workers.reload({ ...site.settings, poolTls }), /certificates are not loaded/);
    });
  });
}
