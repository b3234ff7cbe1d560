/** Secrets of the store: sealed with a key in a file beside it, each for its place. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isCommon, soleReader, tlsPrefix } from '../../src/state/key-owner.ts';
import { openSealer, sealerOf } from '../../src/state/sealer.ts';

describe('the sealer of secrets', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-sealer-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('makes its key once, for nobody else to read, and opens what an earlier process sealed', async () => {
    const file = join(directory, 'secrets.key');
    const sealed = (await openSealer(file)).seal('a secret', 'secret/certificate/a');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(!sealed.includes('secret') && !Buffer.from(sealed, 'base64').includes('a secret'));
    assert.equal((await openSealer(file)).open(sealed, 'secret/certificate/a'), 'a secret');
  });

  it('seals the same text differently each time', () => {
    const sealer = sealerOf(new Uint8Array(32));
    assert.notEqual(sealer.seal('x', 'p'), sealer.seal('x', 'p'));
  });

  it('opens nothing for another place, by another key, or with a bit changed', () => {
    const sealer = sealerOf(new Uint8Array(32));
    const sealed = sealer.seal('x', 'secret/certificate/a');
    assert.equal(sealer.open(sealed, 'secret/certificate/a'), 'x');
    assert.equal(sealer.open(sealed, 'secret/certificate/b'), null);
    assert.equal(sealerOf(new Uint8Array(32).fill(1)).open(sealed, 'secret/certificate/a'), null);
    const bytes = Buffer.from(sealed, 'base64');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      assert.equal(sealer.open(changed.toString('base64'), 'secret/certificate/a'), null);
    }
    for (const odd of [undefined, null, 7, '', 'AAAA', {}]) assert.equal(sealer.open(odd, 'p'), null);
  });

  it('refuses a file that is no key, and leaves it as it is', async () => {
    const file = join(directory, 'damaged.key');
    writeFileSync(file, 'c2hvcnQ=\n');
    await assert.rejects(openSealer(file), { code: 'ERR_STORE_CORRUPT' });
    assert.equal(readFileSync(file, 'utf8'), 'c2hvcnQ=\n');
    await assert.rejects(openSealer(join(directory, 'none', 'secrets.key')), { code: 'ERR_STORE_WRITE' });
  });
});

describe('keys of the shared state that one engine may see', () => {
  it('are its graph and its certificates, and nobody else’s', () => {
    assert.equal(soleReader('graph/e1'), 'e1');
    assert.equal(soleReader(`${tlsPrefix('e1')}certificate/shop`), 'e1');
    for (const key of [
      'graph/e1/x',
      'tls/e1',
      'tls/e1/certificate',
      'tls/e1/certificate/a/b',
      'health/p',
      '',
    ]) {
      assert.equal(soleReader(key), null, key);
    }
    assert.ok(!isCommon(`${tlsPrefix('e1')}certificate/shop`));
  });
});
