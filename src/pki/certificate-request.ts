/**
 * Reading and making certificate requests (PKCS #10, RFC 2986).
 *
 * A request arrives from whoever reaches the hub, so it is read by a small strict DER walk (X.690) that knows only
 * the one shape engines send, and its signature is verified by node:crypto. node-forge only builds.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import forge from 'node-forge';

/** A request whose signature proves possession of its key. */
export interface CertificateRequest {
  /** The one common name of the subject. */
  commonName: string;
  publicKey: KeyObject;
  /** SHA-256 of the public key's SPKI, hex. */
  fingerprint: string;
}

/** The types of node-forge leave this function out. */
const pki = forge.pki as typeof forge.pki & {
  getCertificationRequestInfo(request: object): forge.asn1.Asn1;
};

const RSA_SHA256 = '06092a864886f70d01010b';
const COMMON_NAME = '0603550403';
const MAX_PEM_CHARACTERS = 8192;

/** PEM of a request for `commonName`, signed with SHA-256 by the private RSA key. */
export function createRequest(commonName: string, privateKey: KeyObject): string {
  const request = forge.pki.createCertificationRequest();
  const publicPem = createPublicKey(privateKey).export({ format: 'pem', type: 'spki' }).toString();
  request.publicKey = forge.pki.publicKeyFromPem(publicPem);
  request.setSubject([{ name: 'commonName', value: commonName }]);
  const info = pki.getCertificationRequestInfo(request);
  const bytes = Buffer.from(forge.asn1.toDer(info).getBytes(), 'binary');
  const { SEQUENCE, OID, NULL, BITSTRING } = forge.asn1.Type;
  const { create, Class } = forge.asn1;
  const whole = create(Class.UNIVERSAL, SEQUENCE, true, [
    info,
    create(Class.UNIVERSAL, SEQUENCE, true, [
      create(
        Class.UNIVERSAL,
        OID,
        false,
        forge.asn1.oidToDer(forge.pki.oids.sha256WithRSAEncryption!).getBytes(),
      ),
      create(Class.UNIVERSAL, NULL, false, ''),
    ]),
    create(Class.UNIVERSAL, BITSTRING, false, `\0${sign('sha256', bytes, privateKey).toString('binary')}`),
  ]);
  return forge.pem.encode({
    type: 'CERTIFICATE REQUEST',
    body: forge.asn1.toDer(whole).getBytes(),
  });
}

/**
 * Reads and verifies a request. Throws an Error that says what is not acceptable: anything but an RSA key of 2048
 * to 4096 bits with exponent 65537, signed with SHA-256 by that key, a subject of one common name, no attributes.
 */
export function readRequest(pem: string): CertificateRequest {
  if (pem.length > MAX_PEM_CHARACTERS) throw new Error('the certificate request is too long');
  const match =
    /^\s*-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*$/.exec(
      pem,
    );
  if (match === null) throw new Error('this is not a PEM certificate request');
  const whole = parseOne(Buffer.from(match[1]!, 'base64'));
  const [info, algorithm, signature] = children(whole, 0x30, 3);
  const [version, subject, spki, attributes] = children(info!, 0x30, 4);
  if (version!.raw.toString('hex') !== '020100') throw new Error('its version is unknown');
  if (attributes!.tag !== 0xa0 || attributes!.body.length !== 0) {
    throw new Error('it asks for attributes or extensions; names and uses come from the token');
  }
  const [oid, parameters] = children(algorithm!, 0x30, 2);
  if (oid!.raw.toString('hex') !== RSA_SHA256) throw new Error('it is not signed with RSA and SHA-256');
  // Not covered by the signature: nothing else may stand there.
  if (parameters!.raw.toString('hex') !== '0500') throw new Error('its signature algorithm has parameters');
  if (signature!.tag !== 0x03 || signature!.body[0] !== 0) throw new Error('its signature cannot be read');

  const publicKey = createPublicKey({ key: spki!.raw, format: 'der', type: 'spki' });
  const details = publicKey.asymmetricKeyDetails;
  const bits = details?.modulusLength ?? 0;
  if (publicKey.asymmetricKeyType !== 'rsa') throw new Error('its key is not RSA');
  if (bits < 2048) throw new Error(`its RSA key of ${bits} bits is too weak, 2048 are needed`);
  if (bits > 4096 || details?.publicExponent !== 65_537n) throw new Error('its RSA key is unusual');
  if (!verify('sha256', info!.raw, publicKey, signature!.body.subarray(1))) {
    throw new Error('its signature does not match its key');
  }
  return {
    commonName: commonNameOf(subject!),
    publicKey,
    fingerprint: createHash('sha256').update(spki!.raw).digest('hex'),
  };
}

interface Element {
  tag: number;
  body: Buffer;
  raw: Buffer;
}

function commonNameOf(subject: Element): string {
  const [set] = children(subject, 0x30, 1);
  const [pair] = children(set!, 0x31, 1);
  const [type, value] = children(pair!, 0x30, 2);
  // UTF8String or PrintableString.
  if (type!.raw.toString('hex') !== COMMON_NAME || (value!.tag !== 0x0c && value!.tag !== 0x13)) {
    throw new Error('its subject is not one common name');
  }
  return value!.body.toString('utf8');
}

function children(parent: Element, tag: number, count: number): Element[] {
  if (parent.tag !== tag) throw new Error('it is not built as a certificate request');
  const found: Element[] = [];
  for (let at = 0; at < parent.body.length && found.length <= count; ) {
    const element = parseAt(parent.body, at);
    found.push(element);
    at += element.raw.length;
  }
  if (found.length !== count) throw new Error('it is not built as a certificate request');
  return found;
}

function parseOne(bytes: Buffer): Element {
  const element = parseAt(bytes, 0);
  if (element.raw.length !== bytes.length) throw new Error('there is something behind its end');
  return element;
}

/** One DER element with a low tag number and a definite, minimal length. */
function parseAt(bytes: Buffer, at: number): Element {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw new Error('it is not DER');
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 2 || start + octets > bytes.length) throw new Error('it is not DER');
    length = bytes.readUIntBE(start, octets);
    if (length < 0x80 || (octets === 2 && length < 0x100)) throw new Error('it is not DER');
    start += octets;
  }
  if (start + length > bytes.length) throw new Error('it is cut short');
  return { tag, body: bytes.subarray(start, start + length), raw: bytes.subarray(at, start + length) };
}
