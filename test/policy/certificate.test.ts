/** Certificates as policy: what is refused of a chain and its key, and what no message shows. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { authoritySet } from '../../src/policy/authority-set.ts';
import { certificate } from '../../src/policy/certificate.ts';
import { isNameOf } from '../../src/policy/certificate-check.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { Authority } from '../engine-vm/tls/authority.ts';
import { makeCertificate } from '../engine-vm/tls/certificates.ts';

/** After the certificates are made. */
let now = 0;
const DAY_MS = 86_400_000;

describe('certificates as policy', () => {
  let directory: string;
  let chain: string;
  let key: string;
  let other: { chain: string; key: string };
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-certificate-'));
    const read = (id: string) => {
      const { certificateFile, keyFile } = makeCertificate(directory, id, [`${id}.test`]);
      return { chain: readFileSync(certificateFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
    };
    ({ chain, key } = read('first'));
    other = read('other');
    now = Date.now();
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const problems = (spec: { chain: string; key?: string }, nowMs = now): string =>
    certificate.check!({ description: '', ...spec }, nowMs)
      .map(({ path, message }) => `${path.join('.')} ${message}`)
      .join('; ');
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'ignore' });
  };

  it('are good with their key, and with the one that is kept', () => {
    assert.equal(problems({ chain, key }), '');
    assert.equal(problems({ chain }), '');
  });

  it('are refused with another key, none, or one behind a passphrase, and never show it', () => {
    const encrypted = join(directory, 'encrypted.key');
    const first = join(directory, 'first.key');
    openssl('pkey', '-in', first, '-aes256', '-passout', 'pass:x', '-out', encrypted);
    for (const [bad, message] of [
      [other.key, /^key is not the key of the certificate \(first\)/],
      [chain, /^key is no private key in PEM/],
      ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', /^key is no private key in PEM/],
      [readFileSync(encrypted, 'utf8'), /^key is encrypted: take the passphrase off/],
    ] as const) {
      const said = problems({ chain, key: bad });
      assert.match(said, message);
      assert.ok(!said.includes(bad.split('\n')[1]!.slice(0, 12)), said);
    }
  });

  it('are refused where the chain is out of order, has a key in it, or is no PEM', () => {
    assert.match(problems({ chain: chain + other.chain, key }), /was not issued by the next one \(other\)/);
    const damaged = chain.replace('MII', 'AAA');
    for (const bad of [key, chain + key, 'hello', damaged]) {
      assert.match(problems({ chain: bad, key }), /^chain holds no certificates in PEM/);
    }
  });

  it('are refused when they have expired, or are not valid yet', () => {
    assert.match(problems({ chain, key }, now + 3 * DAY_MS), /certificate 1 \(first\) has expired/);
    assert.match(problems({ chain, key }, now - 3 * DAY_MS), /is not valid before/);
  });

  it('are refused with keys that are too weak', () => {
    const [pem, file] = [join(directory, 'weak.pem'), join(directory, 'weak.key')];
    const made = ['-newkey', 'rsa:1024', '-nodes', '-days', '2', '-subj', '/CN=weak'];
    openssl('req', '-x509', ...made, '-keyout', file, '-out', pem);
    const weak = { chain: readFileSync(pem, 'utf8'), key: readFileSync(file, 'utf8') };
    assert.match(problems(weak), /has a weak key \(RSA of 1024 bits\)/);
  });

  it('hand their key over apart, and take it back in', () => {
    const { secret } = certificate;
    const taken = secret!.take({ description: '', chain, key });
    assert.deepEqual(taken, { spec: { description: '', chain }, secret: key });
    assert.deepEqual(secret!.with(taken.spec, key), { description: '', chain, key });
    assert.equal(secret!.take({ description: '', chain }).secret, null);
  });

  it('may have lines where they are texts, and nowhere else', () => {
    const document = (description: string) =>
      JSON.stringify({ kind: 'certificate', name: 'shop', spec: { description, chain, key } });
    assert.equal(parseDocuments(document('good'), 'f').length, 1);
    assert.throws(() => parseDocuments(document('two\nlines'), 'f'), /must not hold control characters/);
    const bad = JSON.stringify({ kind: 'certificate', name: 'shop', spec: { chain: `${chain}\u0007`, key } });
    assert.throws(
      () => parseDocuments(bad, 'f'),
      (error: Error) => {
        assert.match(error.message, /spec\.chain must not hold control characters/);
        return true;
      },
    );
  });

  it('have names, of which a star is one label', () => {
    const names = ['a.test', '*.b.test'];
    for (const host of ['a.test', 'x.b.test']) assert.ok(isNameOf(names, host), host);
    for (const host of ['b.test', 'x.y.b.test', 'xa.test', '', '.']) assert.ok(!isNameOf(names, host), host);
  });

  it('of authorities hold certificates alone, and lists that can be read', () => {
    const check = (spec: { certificates: string; revoked?: string }) =>
      authoritySet.check!({ description: '', ...spec }, now)
        .map(({ message }) => message)
        .join();
    const { certificateFile } = new Authority(directory, 'authority');
    const pem = readFileSync(certificateFile, 'utf8').replace(/^[\s\S]*?(?=-----BEGIN)/, '');
    assert.equal(check({ certificates: pem }), '');
    assert.match(check({ certificates: pem + key }), /holds a private key/);
    assert.match(check({ certificates: 'x' }), /holds no certificates in PEM/);
    assert.match(check({ certificates: pem, revoked: pem }), /holds no lists of revoked certificates/);
  });
});
