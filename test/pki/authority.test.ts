import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import forge from 'node-forge';
import { type Authority, openAuthority } from '../../src/pki/authority.ts';
import { generateKey } from '../../src/pki/certificate.ts';
import { createRequest, readRequest } from '../../src/pki/certificate-request.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import { CONTROLLER_URI, engineOfCertificate } from '../../src/state/identity.ts';
import type { Store } from '../../src/state/store.ts';

const isRefused = (error: unknown) => isWeftError(error, 'ERR_ENROLMENT_REFUSED');

describe('the certificate authority', () => {
  let directory: string;
  let store: Store;
  let authority: Authority;
  let key: KeyObject;
  let otherKey: KeyObject;
  let nowMs: number;
  const now = () => nowMs;

  before(async () => {
    key = await generateKey(2048);
    otherKey = await generateKey(2048);
  });
  beforeEach(async () => {
    nowMs = Date.now();
    directory = await mkdtemp(join(tmpdir(), 'weft-pki-'));
    store = await openEmbeddedStore(join(directory, 'store'));
    authority = await openAuthority(store, { now, serverNames: ['weft.example', '192.0.2.1'] });
  });
  afterEach(async () => {
    await authority.close();
    await store.close();
    await rm(directory, { recursive: true, force: true });
  });

  const enrol = (token: string, engine = 'e1', csrPem = createRequest(engine, key)) =>
    authority.enrol({ token, engine, csrPem });

  it('issues a certificate that names the engine, for clients only, for a day', async () => {
    const issued = await enrol(await authority.createToken('e1', 60_000));
    const certificate = new X509Certificate(issued.certificate);
    const ca = new X509Certificate(authority.ca);
    assert.equal(issued.ca, authority.ca);
    assert.equal(engineOfCertificate(certificate), 'e1');
    assert.equal(certificate.subjectAltName, 'URI:weft://engine/e1');
    assert.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
    assert.ok(certificate.publicKey.equals(createPublicKey(key)));
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    assert.equal(certificate.ca, false);
    assert.ok(
      Math.abs(certificate.validFromDate.getTime() - (nowMs - 300_000)) < 1001,
      'backdated 5 minutes',
    );
    assert.ok(Math.abs(certificate.validToDate.getTime() - (nowMs + 86_400_000)) < 1001);
    assert.ok(ca.ca && ca.verify(ca.publicKey));
  });

  it('issues a certificate for the hub that names the controller', async () => {
    const credentials = await authority.serverCredentials();
    const certificate = new X509Certificate(credentials.certificate);
    assert.equal(certificate.subjectAltName, `URI:${CONTROLLER_URI}, DNS:weft.example, IP Address:192.0.2.1`);
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.ok(credentials.renewAt < credentials.expiresAt && credentials.renewAt > nowMs);
    assert.equal(engineOfCertificate(certificate), undefined);
  });

  it('keeps no token in the store, only its hash', async () => {
    const token = await authority.createToken('e1', 60_000);
    const text = await readFile(join(directory, 'store'), 'utf8');
    assert.ok(text.includes('pki/token/') && !text.includes(token));
  });

  it('keeps the CA, the tokens and what is revoked over a restart', async () => {
    const first = await enrol(await authority.createToken('e1', 60_000));
    await authority.revoke('e1');
    const token = await authority.createToken('e2', 60_000);
    const { ca } = authority;
    await authority.close();
    await store.close();
    store = await openEmbeddedStore(join(directory, 'store'));
    authority = await openAuthority(store, { now });
    assert.equal(authority.ca, ca);
    assert.ok(authority.isRevoked('e1', new X509Certificate(first.certificate)));
    await enrol(token, 'e2');
  });

  it('makes one CA even when two controllers begin at once', async () => {
    const file = join(directory, 'second');
    const shared = await openEmbeddedStore(file);
    const [a, b] = await Promise.all([openAuthority(shared), openAuthority(shared)]);
    assert.equal(a!.ca, b!.ca);
    await Promise.all([a!.close(), b!.close()]);
    await shared.close();
  });

  it('accepts a token once; the same key may repeat, because a reply may be lost', async () => {
    const token = await authority.createToken('e1', 60_000);
    const first = await enrol(token);
    const again = await enrol(token);
    const [one, two] = [new X509Certificate(first.certificate), new X509Certificate(again.certificate)];
    assert.ok(one.publicKey.equals(two.publicKey));
    assert.notEqual(one.serialNumber, two.serialNumber);
    await assert.rejects(enrol(token, 'e1', createRequest('e1', otherKey)), isRefused);
    nowMs += 60_001;
    await assert.rejects(enrol(token), isRefused);
  });

  it('lets one key win when several race for a token', async () => {
    const token = await authority.createToken('e1', 60_000);
    const keys = [key, otherKey, key, otherKey];
    const results = await Promise.allSettled(keys.map((one) => enrol(token, 'e1', createRequest('e1', one))));
    const won = results.flatMap((result, index) => (result.status === 'fulfilled' ? [keys[index]] : []));
    assert.equal(new Set(won).size, 1);
    assert.equal(won.length, 2, 'the winner may repeat');
  });

  it('uses up no token when the store cannot be written', async () => {
    const token = await authority.createToken('e1', 60_000);
    const write = store.write.bind(store);
    store.write = () => Promise.reject(new Error('disk full'));
    await assert.rejects(enrol(token), /disk full/);
    store.write = write;
    await enrol(token, 'e1', createRequest('e1', otherKey));
  });

  it('refuses tokens that are unknown, expired, or for another engine', async () => {
    const token = await authority.createToken('e1', 60_000);
    await assert.rejects(enrol('nonsense'), isRefused);
    await assert.rejects(enrol(''), isRefused);
    await assert.rejects(enrol('x'.repeat(100_000)), isRefused);
    await assert.rejects(enrol(token, 'e2'), isRefused);
    await assert.rejects(enrol(token, '../e1'), isRefused);
    nowMs += 60_001;
    await assert.rejects(
      enrol(token),
      (error) => isRefused(error) && !(error as Error).message.includes(token),
    );
    await assert.rejects(authority.createToken('e/1', 1), /cannot name an engine/);
  });

  it('forgets expired tokens', async () => {
    for (let n = 0; n < 5; n++) await authority.createToken(`e${n}`, 1000);
    nowMs += 2000;
    await authority.createToken('e9', 1000);
    assert.equal((await store.list('pki/token/')).length, 1);
  });

  it('refuses requests for another identity, of weak keys, or not signed by their key', async () => {
    const token = await authority.createToken('e1', 60_000);
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
    for (const csrPem of [
      createRequest('e2', key),
      createRequest('controller', key),
      createRequest('e1', weak),
      forged(createRequest('e1', key), createRequest('e1', otherKey)),
      withAlternativeName('e1', 'weft://engine/e2'),
      'garbage',
      '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----',
    ]) {
      await assert.rejects(enrol(token, 'e1', csrPem), isRefused);
    }
    await enrol(token);
  });

  it('never crashes on a damaged request, and never accepts one whose signed part was changed', () => {
    const der = Buffer.from(createRequest('e1', key).replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
    const pem = (bytes: Buffer) =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
    assert.equal(readRequest(pem(der)).commonName, 'e1');
    fc.assert(
      fc.property(
        fc.nat(der.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (at, mask, isCut) => {
          const bytes = Buffer.from(isCut ? der.subarray(0, at) : der);
          if (!isCut) bytes[at]! ^= mask;
          assert.throws(() => readRequest(pem(bytes)), Error);
        },
      ),
      { numRuns: 400 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.throws(() => readRequest(pem(Buffer.from(bytes))), Error);
      }),
    );
  });

  it('renews a valid certificate of its own, for the same engine only', async () => {
    const { certificate } = await enrol(await authority.createToken('e1', 60_000));
    const peer = new X509Certificate(certificate);
    const renewed = await authority.renew(peer, createRequest('e1', otherKey));
    assert.equal(engineOfCertificate(new X509Certificate(renewed.certificate)), 'e1');
    await assert.rejects(authority.renew(peer, createRequest('e2', otherKey)), isRefused);
    const server = new X509Certificate((await authority.serverCredentials()).certificate);
    await assert.rejects(authority.renew(server, createRequest('e1', otherKey)), isRefused);
    nowMs += 25 * 3600_000;
    await assert.rejects(authority.renew(peer, createRequest('e1', otherKey)), isRefused);
  });

  it('renews no certificate of another CA', async () => {
    const rogueStore = await openEmbeddedStore(join(directory, 'rogue'));
    const rogue = await openAuthority(rogueStore, { now });
    const { certificate } = await rogue.enrol({
      token: await rogue.createToken('e1', 60_000),
      engine: 'e1',
      csrPem: createRequest('e1', key),
    });
    await assert.rejects(
      authority.renew(new X509Certificate(certificate), createRequest('e1', key)),
      isRefused,
    );
    await rogue.close();
    await rogueStore.close();
  });

  it('revokes every certificate and token of an engine, and lets a new token begin again', async () => {
    const revoked: string[] = [];
    authority.onRevoked((engine) => revoked.push(engine));
    const token = await authority.createToken('e1', 60_000);
    const unused = await authority.createToken('e1', 60_000);
    const peer = new X509Certificate((await enrol(token)).certificate);
    const other = new X509Certificate(
      (await enrol(await authority.createToken('e2', 1000), 'e2')).certificate,
    );
    assert.ok(!authority.isRevoked('e1', peer));
    await authority.revoke('e1');
    assert.ok(authority.isRevoked('e1', peer));
    assert.ok(!authority.isRevoked('e2', other));
    assert.deepEqual(revoked, ['e1']);
    await assert.rejects(authority.renew(peer, createRequest('e1', key)), isRefused);
    await assert.rejects(enrol(token), isRefused);
    await assert.rejects(enrol(unused), isRefused);
    const again = new X509Certificate((await enrol(await authority.createToken('e1', 60_000))).certificate);
    assert.ok(!authority.isRevoked('e1', again));
    assert.ok(authority.isRevoked('e1', peer));
  });

  it('learns what another controller on the same store revokes', async () => {
    const other = await openAuthority(store, { now });
    const peer = new X509Certificate((await enrol(await authority.createToken('e1', 60_000))).certificate);
    await authority.revoke('e1');
    for (let n = 0; n < 100 && !other.isRevoked('e1', peer); n++) await delay(5);
    assert.ok(other.isRevoked('e1', peer));
    await other.close();
  });

  /** The signed part of one request with the signature of another. */
  function forged(body: string, signature: string): string {
    const parse = (pem: string) => forge.asn1.fromDer(forge.pem.decode(pem)[0]!.body);
    const [one, two] = [parse(body), parse(signature)];
    (one.value as forge.asn1.Asn1[])[2] = (two.value as forge.asn1.Asn1[])[2]!;
    return forge.pem.encode({ type: 'CERTIFICATE REQUEST', body: forge.asn1.toDer(one).getBytes() });
  }

  /** A well-signed request that asks for an alternative name. */
  function withAlternativeName(commonName: string, uri: string): string {
    const request = forge.pki.createCertificationRequest();
    const keyText = key.export({ format: 'pem', type: 'pkcs1' }).toString();
    const publicText = createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
    request.publicKey = forge.pki.publicKeyFromPem(publicText);
    request.setSubject([{ name: 'commonName', value: commonName }]);
    request.setAttributes([
      {
        name: 'extensionRequest',
        extensions: [{ name: 'subjectAltName', altNames: [{ type: 6, value: uri }] }],
      },
    ]);
    request.sign(forge.pki.privateKeyFromPem(keyText), forge.md.sha256.create());
    return forge.pki.certificationRequestToPem(request);
  }
});
