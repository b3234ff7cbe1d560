/** The manifest of an OVA and the signature over it (DSP0243 section 5.1). */
import { verify, X509Certificate } from 'node:crypto';
import type { Refuse } from './ova-tar.ts';

/**
 * The SHA-256 of each file, lower-case hex. Refuses a manifest that leaves one of `names` out, names anything else,
 * or uses another digest.
 */
export function checkManifest(
  manifest: Buffer,
  names: readonly string[],
  refuse: Refuse,
): Map<string, string> {
  const hashes = new Map<string, string>();
  for (const line of manifest.toString('latin1').split(/\r?\n/)) {
    if (line === '') continue;
    const match = /^(SHA\d+)\s?\(([^()]+|.+\.[a-z0-9]+)\)\s*=\s*([0-9a-f]+)\s*$/i.exec(line);
    if (!match) return refuse('its manifest has a line that cannot be read');
    const [, digest, name, hash] = match as unknown as [string, string, string, string];
    if (digest.toUpperCase() !== 'SHA256') refuse(`its manifest uses ${digest}, and SHA256 is asked for`);
    if (hash.length !== 64) refuse(`its manifest has no SHA256 for ${name}`);
    if (!names.includes(name)) refuse(`its manifest names ${name}, which is not in it`);
    if (hashes.has(name)) refuse(`its manifest names ${name} twice`);
    hashes.set(name, hash.toLowerCase());
  }
  const missing = names.find((name) => !hashes.has(name));
  if (missing !== undefined) refuse(`its manifest does not name ${missing}`);
  return hashes;
}

/**
 * Checks the signature over the manifest, and, where signers are demanded, that one of them vouches for it. Returns
 * the subject of the signer's certificate.
 */
export function checkSignature(
  certificateFile: Buffer,
  manifest: { name: string; content: Buffer },
  demands: { signedBy: readonly string[] | null; now: number },
  refuse: Refuse,
): string {
  const text = certificateFile.toString('latin1');
  const match = /^SHA256\s?\((.+?)\)\s*=\s*([0-9a-f]+)\s*\r?\n/i.exec(text);
  if (!match) return refuse('its certificate file does not begin with a SHA256 signature');
  const [, name, signature] = match;
  if (name !== manifest.name) refuse(`its signature is that of ${name}, not of ${manifest.name}`);
  const blocks = [...text.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)];
  if (blocks.length === 0 || blocks.length > MAX_CHAIN)
    refuse('its certificate file holds no certificates, or too many');
  const chain = blocks.map(([pem]) => readCertificate(pem, refuse));
  const [signer] = chain as [X509Certificate];
  if (signer.publicKey.asymmetricKeyType !== 'rsa') refuse('its signature is not RSA');
  if (!isSignedBy(signer, manifest.content, Buffer.from(signature!, 'hex'))) {
    refuse('its signature does not fit its manifest: it was changed after it was signed');
  }
  if (demands.signedBy !== null) requireTrust(chain, demands.signedBy, demands.now, refuse);
  return signer.subject;
}

const MAX_CHAIN = 8;
/** Code signing, RFC 5280 section 4.2.1.12: a certificate of an engine or of the hub must not vouch for an image. */
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';

function requireTrust(
  chain: readonly X509Certificate[],
  signedBy: readonly string[],
  now: number,
  refuse: Refuse,
): void {
  const trusted = signedBy.map((pem) => readCertificate(pem, refuse));
  const [signer] = chain as [X509Certificate];
  if (!signer.keyUsage?.includes(CODE_SIGNING)) {
    refuse('the certificate of its signer is not one for signing code');
  }
  let certificate = signer;
  for (let depth = 0; depth < MAX_CHAIN; depth++) {
    if (!isValid(certificate, now)) {
      refuse(`the certificate of ${certificate.subject} is not valid now`);
    }
    const current = certificate;
    if (trusted.some((one) => one.fingerprint256 === current.fingerprint256)) return;
    const issued = (one: X509Certificate): boolean =>
      one.ca && current.checkIssued(one) && current.verify(one.publicKey);
    const anchor = trusted.find(issued);
    if (anchor) {
      if (!isValid(anchor, now)) refuse(`the certificate of ${anchor.subject} is not valid now`);
      return;
    }
    const next = chain.find((one) => one !== current && issued(one));
    if (!next) break;
    certificate = next;
  }
  refuse('nobody whom this cloud trusts vouches for its signer');
}

/** Not by a key that no signature can be checked with, either. */
function isSignedBy({ publicKey }: X509Certificate, content: Buffer, signature: Buffer): boolean {
  try {
    return verify('sha256', content, publicKey, signature);
  } catch {
    return false;
  }
}

/** Not where a date cannot be read, either. */
function isValid({ validFromDate, validToDate }: X509Certificate, now: number): boolean {
  return now >= validFromDate.getTime() && now <= validToDate.getTime();
}

function readCertificate(pem: string, refuse: Refuse): X509Certificate {
  try {
    const certificate = new X509Certificate(pem);
    // A key is decoded only when it is asked for: one that cannot be is refused here as well.
    certificate.publicKey;
    return certificate;
  } catch {
    return refuse('a certificate cannot be read');
  }
}
