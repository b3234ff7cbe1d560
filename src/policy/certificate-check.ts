/** What is wrong with a certificate and its key, before anything uses them. Never shows what a key holds. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { CertificateSpec } from './certificate.ts';
import type { SpecProblem } from './kind.ts';

const LEAST_RSA_BITS = 2048;
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
/** Extended key usage, RFC 5280 section 4.2.1.12. */
const USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2', any: '2.5.29.37.0' } as const;

/** Every certificate of a text in PEM, in its order; null where one cannot be read or there is none. */
export function certificatesIn(pem: string): X509Certificate[] | null {
  try {
    const all = (pem.match(PEM_CERTIFICATE) ?? []).map((block) => new X509Certificate(block));
    return all.length === pem.split('-----BEGIN').length - 1 && all.length > 0 ? all : null;
  } catch {
    return null;
  }
}

/** DNS names of a certificate in lower case; `*.` stands for one label. */
export function dnsNamesOf(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '').split(', ').flatMap((text) => {
    const name = /^DNS:((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)$/i.exec(text)?.[1];
    return name === undefined ? [] : [name.toLowerCase()];
  });
}

/** Is one of the names, which may begin with `*.`, a name of that host (lower case)? */
export function isNameOf(names: readonly string[], host: string): boolean {
  const dot = host.indexOf('.');
  return names.includes(host) || (dot >= 0 && names.includes(`*${host.slice(dot)}`));
}

/** May the certificate be shown by servers, or by clients? Those that name no usage may be by both. */
export function mayServe({ keyUsage }: X509Certificate, as: 'server' | 'client'): boolean {
  // Node calls the extended key usage so.
  const usages = keyUsage as string[] | undefined;
  if (usages === undefined || usages.length === 0) return true;
  return usages.includes(USAGES[as]) || usages.includes(USAGES.any);
}

/** The common name, or the whole subject on one line. */
export function subjectOf({ subject }: X509Certificate): string {
  const text = subject ?? '';
  return /(?:^|\n)CN=([^\n]+)/.exec(text)?.[1] ?? (text.replaceAll('\n', ', ') || 'without a name');
}

/** A name that may stand in a command. */
export function nameOf(name: string): string {
  return /^[a-z0-9-]+$/.test(name) ? name : 'NAME';
}

/** Problems of a certificate that is new or changed; `key` is the one that was given or is kept. */
export function checkCertificate(spec: CertificateSpec, nowMs: number): SpecProblem[] {
  const chain = certificatesIn(spec.chain);
  if (chain === null) {
    return [
      {
        path: ['chain'],
        message: 'holds no certificates in PEM, or something besides: give the chain alone',
      },
    ];
  }
  return [...chainProblems(chain, nowMs), ...keyProblems(spec, chain)];
}

function chainProblems(chain: readonly X509Certificate[], nowMs: number): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const say = (message: string): void => void problems.push({ path: ['chain'], message });
  chain.forEach((one, at) => {
    const who = `certificate ${at + 1} (${subjectOf(one)})`;
    if (one.validToDate.getTime() <= nowMs) say(`${who} has expired (${one.validTo}): renew it`);
    if (one.validFromDate.getTime() > nowMs)
      say(`${who} is not valid before ${one.validFrom}: give it then, or mend the clock of this machine`);
    const weak = weaknessOf(one.publicKey);
    if (weak !== null) say(`${who} has ${weak}: ask for one with RSA 2048 or more, or ECDSA P-256`);
    // Whoever is believed is believed for itself, not for the signature of its own.
    const isRoot = one.checkIssued(one);
    if (!isRoot && /md5|sha1\b|sha1With|-SHA1$/i.test(one.signatureAlgorithm ?? ''))
      say(`${who} is signed with ${one.signatureAlgorithm}, which clients refuse: have it issued anew`);
    const next = chain[at + 1];
    if (next !== undefined && !(one.checkIssued(next) && one.verify(next.publicKey)))
      say(
        `${who} was not issued by the next one (${subjectOf(next)}): put the certificate first, and behind each the one of its issuer`,
      );
  });
  return problems;
}

function weaknessOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | null {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails ?? {};
  switch (asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      return modulusLength < LEAST_RSA_BITS ? `a weak key (RSA of ${modulusLength} bits)` : null;
    case 'ec':
      return CURVES.includes(namedCurve) ? null : `a key of a curve that clients do not take (${namedCurve})`;
    case 'ed25519':
      return null;
    default:
      return `a key of a kind that clients do not take (${asymmetricKeyType})`;
  }
}

function keyProblems({ chain, key }: CertificateSpec, [first]: readonly X509Certificate[]): SpecProblem[] {
  if (key === undefined) return [];
  const problem = (message: string): SpecProblem[] => [{ path: ['key'], message }];
  let parsed: KeyObject;
  try {
    parsed = createPrivateKey(key);
  } catch {
    return problem(
      /ENCRYPTED/.test(key)
        ? 'is encrypted: take the passphrase off (openssl pkey -in FILE -out FILE), it is kept sealed'
        : 'is no private key in PEM',
    );
  }
  if (!first!.checkPrivateKey(parsed)) {
    return problem(
      `is not the key of the certificate (${subjectOf(first!)}): give the one that belongs to it`,
    );
  }
  try {
    createSecureContext({ cert: chain, key, minVersion: 'TLSv1.2' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return [{ path: ['chain'], message: `is refused by TLS (${code}): have it issued anew` }];
  }
  return [];
}
