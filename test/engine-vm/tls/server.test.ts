/** TLS of the proxy, as clients that are not ours see it: Node, curl, openssl. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { ProxyWorkers } from '../../../src/engine-vm/http/proxy-workers.ts';
import { loadTls } from '../../../src/engine-vm/tls/settings.ts';
import { freePort, loopKinds, request, settingsOf } from '../http/proxy-site.ts';
import { RecordingOrigin } from '../http/recording-origin.ts';
import { Authority } from './authority.ts';
import { type CertificateFiles, makeCertificate } from './certificates.ts';

const run = promisify(execFile);

for (const loop of loopKinds()) {
  describe(`TLS from clients (${loop})`, () => {
    const origin = new RecordingOrigin();
    let directory: string;
    let port: number;
    let workers: ProxyWorkers;
    let memberPort: number;
    let certificates: CertificateFiles[];

    const settings = (files: CertificateFiles[]) => {
      const made = settingsOf(port, [memberPort], { tls: { certificates: files } });
      return { ...made, tls: loadTls(made.http.tls!, true) };
    };

    before(async () => {
      directory = mkdtempSync(join(tmpdir(), 'weft-tls-'));
      certificates = [
        makeCertificate(directory, 'first', ['first.test', 'also.test']),
        makeCertificate(directory, 'second', ['second.test', '*.wild.test']),
      ];
      memberPort = await origin.listen();
      port = await freePort();
      workers = await ProxyWorkers.start({
        settings: settings(certificates),
        workers: 2,
        loop,
        onFailure: (error) => {
          throw error;
        },
      });
    });
    after(async () => {
      await workers.drain(100);
      await origin.close();
      rmSync(directory, { recursive: true });
    });
    beforeEach(() => void origin.take());

    const open = async (servername: string, more: ConnectionOptions = {}): Promise<TLSSocket> => {
      const socket = connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false, ...more });
      await once(socket, 'secureConnect');
      socket.on('error', () => undefined);
      return socket;
    };
    const read = async (socket: TLSSocket): Promise<string> => {
      let text = '';
      for await (const piece of socket) text += (piece as Buffer).toString('latin1');
      return text;
    };
    const get = async (socket: TLSSocket, host: string, path = '/x'): Promise<string> => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      return await read(socket);
    };

    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`${version}: tells members of it, and ends with close_notify`, async () => {
        const socket = await open('first.test', { minVersion: version, maxVersion: version });
        assert.equal(socket.getProtocol(), version);
        assert.match(await get(socket, 'first.test'), /^HTTP\/1.1 200 OK\r\n/);
        const [received] = origin.take();
        assert.deepEqual(
          received!.fields.filter(([name]) => name.toLowerCase() === 'x-forwarded-proto').map(([, v]) => v),
          ['https'],
        );
      });

      it(`${version}: sessions are resumed, on either thread, not under another name`, async () => {
        const socket = await open('first.test', { minVersion: version, maxVersion: version });
        // With 1.3 the ticket comes behind the handshake.
        const session = version === 'TLSv1.3' ? once(socket, 'session') : [socket.getSession()];
        await get(socket, 'first.test');
        const [ticket] = (await session) as [Buffer];
        for (let n = 0; n < 8; n++) {
          const again = await open('first.test', {
            minVersion: version,
            maxVersion: version,
            session: ticket,
          });
          assert.equal(again.isSessionReused(), true);
          assert.match(await get(again, 'first.test'), /^HTTP\/1.1 200 OK/);
        }
        const other = await open('second.test', {
          minVersion: version,
          maxVersion: version,
          session: ticket,
        });
        assert.equal(other.isSessionReused(), false);
        other.destroy();
      });
    }

    it('shows the certificate of the name, by wildcards, and the first for others', async () => {
      for (const [name, expected] of [
        ['also.test', 'first'],
        ['SECOND.test', 'second'],
        ['a.wild.test', 'second'],
        ['a.b.wild.test', 'first'],
        ['unknown.test', 'first'],
      ] as const) {
        const socket = await open(name);
        assert.equal(socket.getPeerCertificate().subject.CN, expected, name);
        socket.destroy();
      }
    });

    it('refuses hosts that the certificate does not have', async () => {
      assert.match(await get(await open('first.test'), 'second.test'), /^HTTP\/1.1 421 Misdirected Request/);
      assert.match(await get(await open('first.test'), 'ALSO.test:443'), /^HTTP\/1.1 200 /);
      assert.match(await get(await open('second.test'), 'x.wild.test'), /^HTTP\/1.1 200 /);
      assert.equal(origin.take().length, 2);
    });

    it('answers plain HTTP by name', async () => {
      const socket = connectTcp(port, '127.0.0.1');
      socket.write(request('GET /x'));
      let text = '';
      for await (const piece of socket) text += (piece as Buffer).toString('latin1');
      assert.match(text, /^HTTP\/1.1 400 Bad Request\r\n[\s\S]*https\.\n$/);
      assert.equal(origin.take().length, 0);
    });

    it('speaks HTTP/2 where ALPN says so, and no third protocol', async () => {
      const session = connectHttp2(`https://127.0.0.1:${port}`, {
        servername: 'first.test',
        rejectUnauthorized: false,
      });
      const stream = session.request({ ':path': '/x', ':authority': 'first.test' });
      const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
      assert.equal(headers[':status'], 200);
      stream.resume();
      await once(stream, 'end');
      const refused = session.request({ ':path': '/x', ':authority': 'second.test' });
      const [misdirected] = (await once(refused, 'response')) as [{ ':status': number }];
      assert.equal(misdirected[':status'], 421);
      refused.resume();
      await once(refused, 'end');
      session.close();
      await assert.rejects(open('first.test', { ALPNProtocols: ['spdy/1'] }), /no application protocol/i);
    });

    for (const flag of ['--http1.1', '--http2']) {
      it(`curl ${flag} sends and gets large bodies`, async () => {
        const body = join(directory, 'body');
        const { stdout } = await run(
          'sh',
          [
            '-c',
            `head -c 3000000 /dev/zero | tr '\\0' x > ${body}; curl -sk ${flag} --data-binary @${body} -w '|%{http_code} %{http_version}' --resolve first.test:${port}:127.0.0.1 https://first.test:${port}/echo`,
          ],
          { maxBuffer: 1 << 26 },
        );
        assert.match(stdout, flag === '--http2' ? /\|200 2$/ : /\|200 1\.1$/);
        assert.equal(origin.take()[0]!.body.length, 3_000_000);
      });
    }

    it('openssl: weak ciphers, old versions and renegotiation are refused', async () => {
      const client = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'first.test'];
      const fails = async (...more: string[]) => {
        const child = spawn('openssl', [...client, ...more], { stdio: ['ignore', 'ignore', 'ignore'] });
        const [code] = (await once(child, 'exit')) as [number];
        assert.notEqual(code, 0, more.join(' '));
      };
      await fails('-tls1_1', '-cipher', 'ALL:@SECLEVEL=0');
      await fails('-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA');
      const socket = await open('first.test', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
      const refused = new Promise((resolve) => {
        socket.once('error', resolve);
        socket.once('close', resolve);
      });
      socket.renegotiate({ rejectUnauthorized: false }, (error) => void error);
      await refused;
      socket.destroy();
    });

    it('survives hellos and records that are cut or wrong', async () => {
      const hello = await new Promise<Buffer>((resolve) => {
        void freePort().then(async (own) => {
          const { createServer } = await import('node:net');
          const server = createServer((taker) => {
            taker.once('data', (bytes) => {
              resolve(Buffer.from(bytes));
              taker.destroy();
              server.close();
            });
          }).listen(own, '127.0.0.1', () => {
            connect({ port: own, host: '127.0.0.1', servername: 'first.test' }).on('error', () => undefined);
          });
        });
      });
      const talk = async (pieces: Buffer[]): Promise<Buffer> => {
        const socket = connectTcp(port, '127.0.0.1').setNoDelay(true);
        socket.on('error', () => undefined);
        let all = Buffer.alloc(0);
        socket.on('data', (bytes) => {
          all = Buffer.concat([all, Buffer.from(bytes)]);
          socket.destroy();
        });
        for (const piece of pieces) {
          socket.write(piece);
          await new Promise(setImmediate);
        }
        socket.end();
        await once(socket, 'close');
        return all;
      };
      for (let at = 1; at < hello.length; at += 7) {
        const answer = await talk([hello.subarray(0, at), hello.subarray(at)]);
        assert.equal(answer[0], 22, `cut at ${at}`);
      }
      let seed = 7;
      for (let n = 0; n < 300; n++) {
        const wrong = Buffer.from(hello);
        for (let m = 0; m < 3; m++) {
          seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
          wrong[seed % wrong.length] = (seed >> 8) & 255;
        }
        await talk([wrong]);
      }
      assert.match(await get(await open('first.test'), 'first.test'), /^HTTP\/1.1 200 /);
    });

    it('takes new certificates while old connections go on', async () => {
      const old = await open('first.test');
      const fresh = makeCertificate(directory, 'fresh', ['first.test']);
      await workers.reload(settings([fresh, certificates[1]!]));
      const socket = await open('first.test');
      assert.equal(socket.getPeerCertificate().subject.CN, 'fresh');
      assert.match(await get(old, 'first.test'), /^HTTP\/1.1 200 /);
      assert.match(await get(socket, 'first.test'), /^HTTP\/1.1 200 /);
      await workers.reload(settings(certificates));
    });

    it('takes new certificates under load, and no request fails', async () => {
      const other = makeCertificate(directory, 'other', ['first.test', 'second.test', '*.wild.test']);
      let isOver = false;
      let answered = 0;
      const shown = new Set<string>();
      const ask = async (): Promise<void> => {
        while (!isOver) {
          const socket = await open(answered % 2 === 0 ? 'first.test' : 'x.wild.test');
          shown.add(String(socket.getPeerCertificate().subject.CN));
          assert.match(await get(socket, socket.servername as string), /^HTTP\/1.1 200 /);
          answered++;
        }
      };
      const kept = connectHttp2(`https://127.0.0.1:${port}`, {
        servername: 'first.test',
        rejectUnauthorized: false,
      });
      const askKept = async (): Promise<void> => {
        while (!isOver) {
          const stream = kept.request({ ':path': '/x', ':authority': 'first.test' });
          const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
          assert.equal(headers[':status'], 200);
          stream.resume();
          await once(stream, 'end');
          answered++;
        }
      };
      const clients = [ask(), ask(), ask(), askKept()];
      for (let n = 0; n < 20; n++) {
        await workers.reload(settings(n % 2 === 0 ? [other] : certificates));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      isOver = true;
      await Promise.all(clients);
      kept.close();
      assert.ok(answered > 20, `${answered} requests`);
      assert.ok(shown.has('other') && shown.has('first'), [...shown].join());
      await workers.reload(settings(certificates));
    });

    it('takes the PROXY header in front of the handshake', async () => {
      const made = settings(certificates);
      const http = { ...made.http, proxyProtocol: { from: ['127.0.0.1/32'], toMembers: 'none' as const } };
      await workers.reload({ ...made, http });
      const plain = connectTcp(port, '127.0.0.1');
      plain.write('PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n');
      const socket = await open('first.test', { socket: plain });
      assert.match(await get(socket, 'first.test'), /^HTTP\/1.1 200 /);
      const [received] = origin.take();
      assert.deepEqual(
        received!.fields
          .filter(([name]) => name.toLowerCase() === 'x-forwarded-for')
          .map(([, value]) => value),
        ['192.0.2.7'],
      );
      await assert.rejects(open('first.test'));
      await workers.reload(made);
    });

    it('one expired certificate among others is noted, and goes behind them', () => {
      const authority = new Authority(directory, `expired-${loop}`);
      const old = authority.issue('old', {
        use: 'serverAuth',
        names: 'DNS:first.test',
        from: '200101000000Z',
        to: '200201000000Z',
      });
      const notes: string[] = [];
      const { certificateFile, keyFile } = old;
      const certified = [{ certificateFile, keyFile }, certificates[0]!];
      const tls = loadTls({ certificates: certified, minVersion: '1.2' }, true, notes);
      assert.match(notes.join(), /old\.pem has expired .*renew it/);
      assert.deepEqual(
        tls.certificates.map(({ certificateFile }) => certificateFile),
        [certificates[0]!.certificateFile, old.certificateFile],
      );
      assert.throws(
        () => loadTls({ certificates: [{ certificateFile, keyFile }], minVersion: '1.2' }, true),
        /old\.pem has expired/,
      );
    });

    it('reads a thousand certificates in little time', () => {
      const many = Array.from({ length: 1000 }, (_, n) => certificates[n % 2]!);
      const before = performance.now();
      assert.equal(loadTls({ certificates: many, minVersion: '1.2' }, true).certificates.length, 1000);
      const took = performance.now() - before;
      assert.ok(took < 5000, `${Math.round(took)} ms`);
    });

    it('says which file is wrong, and shows none', () => {
      const [first, second] = certificates as [CertificateFiles, CertificateFiles];
      assert.throws(
        () => settings([{ certificateFile: first.certificateFile, keyFile: second.keyFile }]),
        /second\.key is not the key of the certificate in .*first\.pem/,
      );
      assert.throws(() => settings([{ ...first, keyFile: first.certificateFile }]), /holds no private key/);
      assert.throws(
        () => settings([{ ...first, keyFile: '/nowhere' }]),
        /\/nowhere cannot be read \(ENOENT\)/,
      );
    });
  });
}
