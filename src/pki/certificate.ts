/**
 * Building X.509 certificates (RFC 5280): node-forge lays out what is signed, node:crypto makes keys and signatures.
 */
import { createPublicKey, generateKeyPair, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
import forge from 'node-forge';
import { CONTROLLER_URI, engineUri } from '../state/identity.ts';

const generate = promisify(generateKeyPair);

/** The types of node-forge leave this function out. */
const pki = forge.pki as typeof forge.pki & {
  getTBSCertificate(certificate: forge.pki.Certificate): forge.asn1.Asn1;
};

/** Certificates begin to be valid this long before they are made, because clocks differ. */
export const BACKDATE_MS = 5 * 60_000;

/** A new private RSA key. */
export async function generateKey(bits: number): Promise<KeyObject> {
  return (await generate('rsa', { modulusLength: bits, publicExponent: 65_537 })).privateKey;
}

/** PKCS #8 PEM of a private key. */
export function keyPem(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

export interface Issuer {
  /** PEM of the CA's certificate. */
  certificate: string;
  key: KeyObject;
}

/** PEM of a self-signed CA certificate that signs leaves only. */
export function buildAuthorityCertificate(key: KeyObject, now: number, lifeMs: number): string {
  return build({
    publicKey: createPublicKey(key),
    subject: `Weft CA ${randomBytes(4).toString('hex')}`,
    issuer: undefined,
    key,
    serial: randomSerial(0),
    now,
    lifeMs,
    extensions: [
      { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
      { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    ],
  });
}

/** PEM of the hub's certificate: `weft://controller` and the DNS names and addresses given. */
export function buildServerCertificate(
  issuer: Issuer,
  publicKey: KeyObject,
  names: readonly string[],
  now: number,
  lifeMs: number,
): string {
  const altNames = [
    { type: 6, value: CONTROLLER_URI },
    ...names.map((name) => (isIP(name) ? { type: 7, ip: name } : { type: 2, value: name })),
  ];
  return build({
    publicKey,
    subject: 'controller',
    issuer: issuer.certificate,
    key: issuer.key,
    serial: randomSerial(0),
    now,
    lifeMs,
    extensions: leafExtensions('serverAuth', altNames),
  });
}

/** PEM of a self-signed certificate for a web server with those DNS names and addresses. */
export function buildPageCertificate(
  key: KeyObject,
  names: readonly string[],
  now: number,
  lifeMs: number,
): string {
  const altNames = names.map((name) => (isIP(name) ? { type: 7, ip: name } : { type: 2, value: name }));
  return build({
    publicKey: createPublicKey(key),
    subject: names[0] ?? 'weft',
    issuer: undefined,
    key,
    serial: randomSerial(0),
    now,
    lifeMs,
    extensions: leafExtensions('serverAuth', altNames),
  });
}

/** PEM of an engine's certificate: `weft://engine/<id>`, for clients only, of a generation. */
export function buildEngineCertificate(
  issuer: Issuer,
  publicKey: KeyObject,
  engine: string,
  generation: number,
  now: number,
  lifeMs: number,
): string {
  return build({
    publicKey,
    subject: engine,
    issuer: issuer.certificate,
    key: issuer.key,
    serial: randomSerial(generation),
    now,
    lifeMs,
    extensions: leafExtensions('clientAuth', [{ type: 6, value: engineUri(engine) }]),
  });
}

/** PEM of a certificate for signing code, which can neither be an engine nor the hub. */
export function buildSignerCertificate(
  issuer: Issuer,
  publicKey: KeyObject,
  subject: string,
  now: number,
  lifeMs: number,
): string {
  return build({
    publicKey,
    subject,
    issuer: issuer.certificate,
    key: issuer.key,
    serial: randomSerial(0),
    now,
    lifeMs,
    extensions: [
      { name: 'basicConstraints', critical: true, cA: false },
      { name: 'keyUsage', critical: true, digitalSignature: true },
      { name: 'extKeyUsage', codeSigning: true },
    ],
  });
}

/**
 * A serial number: 01, the generation in 4 bytes, 11 random bytes, in hex. Revoking an engine raises its
 * generation; comparing generations needs no clock and no list of serial numbers.
 */
function randomSerial(generation: number): string {
  return `01${generation.toString(16).padStart(8, '0')}${randomBytes(11).toString('hex')}`;
}

/** The generation in a serial number as node:crypto prints it; -1 where it is not one of ours. */
export function generationOf(serialNumber: string): number {
  const serial = serialNumber.toLowerCase().padStart(32, '0');
  return /^01[0-9a-f]{30}$/.test(serial) ? Number.parseInt(serial.slice(2, 10), 16) : -1;
}

function leafExtensions(use: 'serverAuth' | 'clientAuth', altNames: object[]): object[] {
  return [
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true },
    { name: 'extKeyUsage', [use]: true },
    { name: 'subjectAltName', altNames },
  ];
}

interface Content {
  publicKey: KeyObject;
  subject: string;
  /** PEM of the issuer's certificate; undefined for a self-signed one. */
  issuer: string | undefined;
  key: KeyObject;
  serial: string;
  now: number;
  lifeMs: number;
  extensions: object[];
}

function build(content: Content): string {
  const certificate = forge.pki.createCertificate();
  const issuer = content.issuer === undefined ? undefined : forge.pki.certificateFromPem(content.issuer);
  const publicPem = content.publicKey.export({ format: 'pem', type: 'spki' }).toString();
  certificate.publicKey = forge.pki.publicKeyFromPem(publicPem);
  certificate.serialNumber = content.serial;
  certificate.validity.notBefore = new Date(content.now - BACKDATE_MS);
  certificate.validity.notAfter = new Date(content.now + content.lifeMs);
  certificate.setSubject([{ name: 'commonName', value: content.subject }]);
  certificate.setIssuer(issuer ? issuer.subject.attributes : certificate.subject.attributes);
  const issuerKeyId = (issuer ?? certificate).generateSubjectKeyIdentifier().getBytes();
  certificate.setExtensions([
    ...content.extensions,
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: issuerKeyId },
  ]);

  const oid = forge.pki.oids.sha256WithRSAEncryption!;
  certificate.signatureOid = oid;
  certificate.siginfo.algorithmOid = oid;
  const signed = pki.getTBSCertificate(certificate);
  const bytes = Buffer.from(forge.asn1.toDer(signed).getBytes(), 'binary');
  certificate.tbsCertificate = signed;
  certificate.signature = sign('sha256', bytes, content.key).toString('binary');
  return forge.pki.certificateToPem(certificate);
}
