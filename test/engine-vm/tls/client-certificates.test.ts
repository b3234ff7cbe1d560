/** Certificates of clients: asked for, judged, told to members. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { ProxyWorkers } from '../../../src/engine-vm/http/proxy-workers.ts';
import { loadTls } from '../../../src/engine-vm/tls/settings.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { CLIENT_CERTIFICATE_FIELDS } from '../../../src/policy/http-tls.ts';
import { freePort, loopKinds, settingsOf } from '../http/proxy-site.ts';
import { RecordingOrigin } from '../http/recording-origin.ts';
import { Authority, type Issued } from './authority.ts';
import { type CertificateFiles, makeCertificate } from './certificates.ts';

for (const loop of loopKinds()) {
  describe(`certificates of clients (${loop})`, () => {
    const origin = new RecordingOrigin();
    let directory: string;
    let port: number;
    let memberPort: number;
    let own: CertificateFiles;
    let authority: Authority;
    let alice: Issued;
    let workers: ProxyWorkers;

    const settings = (asked: Record<string, unknown> | undefined) => {
      const made = settingsOf(port, [memberPort], {
        tls: {
          certificates: [own],
          ...(asked === undefined
            ? {}
            : { clientCertificates: { authoritiesFile: authority.certificateFile, ...asked } }),
        },
      });
      return { ...made, tls: loadTls(made.http.tls!, true) };
    };

    before(async () => {
      directory = mkdtempSync(join(tmpdir(), 'weft-tls-'));
      own = makeCertificate(directory, 'own', ['own.test']);
      authority = new Authority(directory, 'clients');
      alice = authority.issue('alice', { subject: '/O=Été, "Inc"/CN=alice' });
      memberPort = await origin.listen();
      port = await freePort();
      workers = await ProxyWorkers.start({
        settings: settings({}),
        workers: 1,
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

    const open = async (shown: Issued | null, more: ConnectionOptions = {}): Promise<TLSSocket> => {
      const socket = connect({
        port,
        host: '127.0.0.1',
        servername: 'own.test',
        rejectUnauthorized: false,
        ...(shown === null ? {} : { cert: shown.certificate, key: shown.key }),
        ...more,
      });
      socket.on('error', () => undefined);
      await once(socket, 'secureConnect');
      return socket;
    };
    const get = async (socket: TLSSocket, fields = ''): Promise<string> => {
      socket.write(`GET /x HTTP/1.1\r\nHost: own.test\r\nConnection: close\r\n${fields}\r\n`);
      let text = '';
      for await (const piece of socket) text += (piece as Buffer).toString('latin1');
      return text;
    };
    const received = (): [string, string][] =>
      origin
        .take()
        .flatMap(({ fields }) => fields)
        .filter(([name]) => /client-cert/i.test(name)) as [string, string][];

    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const only = { minVersion: version, maxVersion: version };

      it(`${version}: tells members of a good one, and of nothing that clients say themselves`, async () => {
        await workers.reload(settings({ fields: [...CLIENT_CERTIFICATE_FIELDS] }));
        const forged = CLIENT_CERTIFICATE_FIELDS.map((name) => `${name}: forged\r\n`).join('');
        const text = await get(await open(alice, only), `${forged}client-cert-CHAIN: forged\r\n`);
        assert.match(text, /^HTTP\/1.1 200 /);
        const { raw, serialNumber, fingerprint256 } = new X509Certificate(alice.certificate);
        assert.deepEqual(received(), [
          ['client-cert', `:${raw.toString('base64')}:`],
          ['x-client-cert-subject', 'O=\\C3\\89t\\C3\\A9\\, \\"Inc\\",CN=alice'],
          ['x-client-cert-issuer', 'CN=clients'],
          ['x-client-cert-serial', serialNumber],
          ['x-client-cert-sha256', fingerprint256.replaceAll(':', '')],
        ]);
      });

      it(`${version}: a resumed session has its certificate still; other terms take no ticket of before`, async () => {
        await workers.reload(settings({}));
        const socket = await open(alice, only);
        const session = version === 'TLSv1.3' ? once(socket, 'session') : [socket.getSession()];
        await get(socket);
        const [ticket] = (await session) as [Buffer];
        received();
        const again = await open(null, { ...only, session: ticket });
        assert.equal(again.isSessionReused(), true);
        assert.match(await get(again), /^HTTP\/1.1 200 /);
        assert.equal(received().length, 1);
        await workers.reload(settings({ revokedFile: authority.list(`after-${version}-${loop}`) }));
        const refused = await open(null, { ...only, session: ticket });
        assert.equal(refused.isSessionReused(), false);
        assert.match(await get(refused), /^HTTP\/1.1 403 [\s\S]*client-certificate-missing/);
      });

      it(`${version}: refuses by name`, async () => {
        const id = `${version}-${loop}`;
        const revoked = authority.issue(`revoked-${id}`);
        authority.revoke(revoked);
        const cases: [string, Issued | null][] = [
          ['client-certificate-missing', null],
          [
            'client-certificate-expired',
            authority.issue(`old-${id}`, { from: '200101000000Z', to: '200201000000Z' }),
          ],
          [
            'client-certificate-not-yet-valid',
            authority.issue(`early-${id}`, { from: '400101000000Z', to: '410101000000Z' }),
          ],
          ['client-certificate-purpose', authority.issue(`server-${id}`, { use: 'serverAuth' })],
          ['client-certificate-revoked', revoked],
          ['client-certificate-untrusted', new Authority(directory, `other-${id}`).issue('alice')],
        ];
        await workers.reload(settings({ revokedFile: authority.list(`list-${id}`) }));
        for (const [name, shown] of cases) {
          const socket = await open(shown, only);
          const session = version === 'TLSv1.3' ? once(socket, 'session') : [socket.getSession()];
          const text = await get(socket);
          assert.match(text, new RegExp(`^HTTP/1.1 403 Forbidden\r\n[\\s\\S]*${name}`), name);
          // A ticket does not make it any better.
          const [ticket] = (await session) as [Buffer];
          const again = await open(null, { ...only, session: ticket });
          assert.match(await get(again), new RegExp(`^HTTP/1.1 403 [\\s\\S]*${name}`), `${name}, resumed`);
        }
        assert.deepEqual(origin.take(), []);
        assert.match(await get(await open(alice, only)), /^HTTP\/1.1 200 /);
      });
    }

    it('optional: none goes on and is told as none, a bad one is refused', async () => {
      await workers.reload(settings({ mode: 'optional' }));
      assert.match(await get(await open(null), 'Client-Cert: :forged:\r\n'), /^HTTP\/1.1 200 /);
      assert.deepEqual(received(), []);
      const other = new Authority(directory, `optional-${loop}`).issue('alice');
      assert.match(await get(await open(other)), /^HTTP\/1.1 403 [\s\S]*client-certificate-untrusted/);
      for (const field of ['Client_Cert', 'x-client_cert-subject']) {
        assert.match(
          await get(await open(null), `${field}: forged\r\n`),
          /^HTTP\/1.1 400 [\s\S]*field-lookalike/,
        );
      }
      assert.match(await get(await open(null), 'Connection: client-cert\r\n'), /^HTTP\/1.1 400 /);
    });

    it('refuses everybody where no list of an authority is there', async () => {
      const other = new Authority(directory, `listed-${loop}`);
      await workers.reload(settings({ revokedFile: other.list('other') }));
      assert.match(await get(await open(alice)), /^HTTP\/1.1 403 [\s\S]*revocation-list-invalid/);
    });

    it('refuses requests on connections from before, where a certificate is required now', async () => {
      await workers.reload(settings(undefined));
      const socket = await open(null);
      await workers.reload(settings({}));
      assert.match(await get(socket), /^HTTP\/1.1 403 [\s\S]*client-certificate-missing/);
    });

    it('says which file is wrong', () => {
      const empty = join(directory, 'empty');
      writeFileSync(empty, 'nothing');
      assert.throws(() => settings({ authoritiesFile: empty }), /empty holds no certificate in PEM/);
      assert.throws(() => settings({ revokedFile: empty }), /empty holds no list of revoked certificates/);
      assert.throws(() => settings({ revokedFile: '/nowhere' }), /\/nowhere cannot be read \(ENOENT\)/);
      assert.throws(
        () =>
          HttpService.parse({
            cache: {},
            tls: { certificates: [own], clientCertificates: { authoritiesFile: empty } },
          }),
        /must not stand with tls.clientCertificates/,
      );
    });
  });
}
