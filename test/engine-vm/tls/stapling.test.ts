/** OCSP stapling: what clients get, and what is not stapled. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import { ProxyWorkers } from '../../../src/engine-vm/http/proxy-workers.ts';
import { loadTls, type TlsSettings, withFreshStaples } from '../../../src/engine-vm/tls/settings.ts';
import { freePort, settingsOf } from '../http/proxy-site.ts';
import { Authority, type Issued } from './authority.ts';

describe('OCSP stapling', () => {
  let directory: string;
  let authority: Authority;
  let issued: Issued[];
  let ocspFile: string;
  let port: number;
  let workers: ProxyWorkers;
  let notes: string[];

  /** The certificates with their issuer behind, as stapling needs it; the first has the response. */
  const load = (file = ocspFile): TlsSettings => {
    const certificates = issued.map(({ certificateFile, keyFile }, n) => {
      const chainFile = `${certificateFile}.chain`;
      writeFileSync(
        chainFile,
        readFileSync(certificateFile, 'utf8') + readFileSync(authority.certificateFile, 'utf8'),
      );
      return { certificateFile: chainFile, keyFile, ...(n === 0 ? { ocspFile: file } : {}) };
    });
    notes = [];
    return loadTls({ certificates, minVersion: '1.2' }, true, notes);
  };
  const settings = (tls: TlsSettings) => ({
    ...settingsOf(port, [port], { tls: { certificates: [{ certificateFile: 'x', keyFile: 'x' }] } }),
    tls,
  });

  const stapled = async (servername: string): Promise<Buffer | null> => {
    const socket = connect({
      port,
      host: '127.0.0.1',
      servername,
      rejectUnauthorized: false,
      requestOCSP: true,
    });
    socket.on('error', () => undefined);
    const [response] = (await once(socket, 'OCSPResponse')) as [Buffer | null];
    socket.destroy();
    return response;
  };

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-tls-'));
    authority = new Authority(directory, 'web');
    issued = ['first', 'second'].map((id) =>
      authority.issue(id, { use: 'serverAuth', names: `DNS:${id}.test` }),
    );
    ocspFile = join(directory, 'first.ocsp');
    copyFileSync(authority.ocsp(issued[0]!, 'good', 60), ocspFile);
    port = await freePort();
    workers = await ProxyWorkers.start({
      settings: settings(load()),
      workers: 1,
      onFailure: (error) => {
        throw error;
      },
    });
  });
  after(async () => {
    await workers.drain(100);
    rmSync(directory, { recursive: true });
  });

  it('staples to the certificate whose it is, where clients ask', async () => {
    assert.deepEqual(notes, []);
    assert.deepEqual(await stapled('first.test'), readFileSync(ocspFile));
    assert.equal((await stapled('second.test'))?.length ?? 0, 0);
  });

  it('takes a new response without any other file being read again', async () => {
    const tls = load();
    assert.equal(withFreshStaples(tls, notes), null);
    await delay(1100);
    const fresh = readFileSync(authority.ocsp(issued[0]!, 'newer', 120));
    writeFileSync(ocspFile, fresh);
    const changed = withFreshStaples(tls, notes)!;
    assert.notEqual(changed.id, tls.id);
    await workers.reload(settings(changed));
    assert.deepEqual(await stapled('first.test'), fresh);
    assert.deepEqual(notes, []);
  });

  it('does not staple what is of another, of a stranger, or says that it is revoked', async () => {
    const revoked = authority.issue('revoked', { use: 'serverAuth', names: 'DNS:revoked.test' });
    const other = new Authority(directory, 'stranger');
    const garbage = join(directory, 'garbage');
    writeFileSync(garbage, 'garbage');
    const forged = other.ocsp(issued[0]!, 'forged', 60);
    for (const [file, why] of [
      [authority.ocsp(issued[1]!, 'of-second', 60), /of another certificate/],
      [forged, /of another certificate|not signed by the issuer/],
      [garbage, /no OCSP response/],
      ['/nowhere', /cannot be read \(ENOENT\)/],
    ] as const) {
      const tls = load(file);
      assert.equal(notes.length, 1, String(why));
      assert.match(notes[0]!, why);
      assert.equal(tls.certificates[0]!.ocsp, undefined);
      await workers.reload(settings(tls));
      assert.equal((await stapled('first.test'))?.length ?? 0, 0);
    }
    authority.revoke(revoked);
    issued.unshift(revoked);
    load(authority.ocsp(revoked, 'of-revoked', 60));
    issued.shift();
    assert.match(notes[0]!, /says that the certificate is revoked/);
  });

  it('stops when one goes out of date, though nobody reloads', async () => {
    const tls = load();
    const soon = { ...tls.certificates[0]!.ocsp!, untilMs: Date.now() + 1000 };
    const certificates = tls.certificates.map((one, n) => (n === 0 ? { ...one, ocsp: soon } : one));
    await workers.reload(settings({ ...tls, id: 'soon', certificates }));
    assert.notEqual((await stapled('first.test'))?.length ?? 0, 0);
    await delay(1100);
    assert.equal((await stapled('first.test'))?.length ?? 0, 0);
  });
});
