/** Certificates as threads get them: files read and judged on the main thread, so that a worker meets none that fails. */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { dnsNamesOf } from '../../policy/certificate-check.ts';
import { WeftError } from '../../policy/errors.ts';
import type { ClientCertificates, ClientTls } from '../../policy/http-tls.ts';
import type { MemberTls } from '../../policy/pool-tls.ts';
import { judgeOcsp, type OcspVerdict } from '../kernel/ocsp.ts';
import type { CertificateField } from './shown-certificate.ts';

/** An OCSP response in DER; no longer after that time, in milliseconds since 1970. */
export interface Staple {
  readonly response: Uint8Array;
  readonly untilMs: number;
}

export interface CertificateSettings {
  /** PEM, the certificate first. */
  readonly chain: string;
  readonly key: string;
  /** DNS names in lower case; `*.` stands for one label. */
  readonly names: readonly string[];
  readonly certificateFile: string;
  readonly ocspFile?: string;
  readonly ocsp?: Staple;
}

/** Whose certificates of clients are believed. */
export interface ClientSettings {
  /** SHA-256 of all that decides whether one is good, in hexadecimal: tickets of another are not taken. */
  readonly id: string;
  /** PEM. */
  readonly authorities: string;
  /** PEM; empty where nothing is looked up. */
  readonly revoked: string;
  readonly fields: readonly CertificateField[];
}

export interface TlsSettings {
  /** Differs where anything does. */
  readonly id: string;
  /** The first is for names that none has. */
  readonly certificates: readonly CertificateSettings[];
  /** Where clients are asked for a certificate. */
  readonly clients?: ClientSettings;
  readonly minVersion: '1.2' | '1.3';
  /** ALPN, in the order of preference. */
  readonly protocols: readonly string[];
  /** Makes the keys of session tickets: the same for all threads, and after a reload. */
  readonly ticketSecret?: Uint8Array;
}

/** A `certificate` of the policy, with its key. */
export interface CertificateSource {
  readonly chain: string;
  readonly key: string;
  /** Base64 of DER. */
  readonly ocsp?: string | undefined;
}

/** An `authority-set` of the policy. */
export interface AuthoritySource {
  readonly certificates: string;
  readonly revoked?: string | undefined;
}

/** Where objects that the policy names are; undefined for those that are not there. */
export interface TlsSources {
  certificate(name: string): CertificateSource | undefined;
  authorities(name: string): AuthoritySource | undefined;
}

/** For settings that name files alone. */
export const NO_OBJECTS: TlsSources = { certificate: () => undefined, authorities: () => undefined };

/** Whose certificates of members are believed, and what we show ourselves. */
export interface MemberTlsSettings {
  /** Differs where anything does. */
  readonly id: string;
  /** PEM, as for clients. */
  readonly authorities: string;
  readonly revoked: string;
  readonly chain?: string;
  readonly key?: string;
  readonly serverName?: string;
  readonly minVersion: '1.2' | '1.3';
}

/**
 * Reads and judges the files. What somebody should look at, and does not forbid to run, goes to `notes`. Throws
 * ERR_POLICY_INVALID, which names the file and never shows what is in it.
 */
export function loadTls(
  policy: ClientTls,
  isHttp2: boolean,
  notes: string[] = [],
  sources: TlsSources = NO_OBJECTS,
): TlsSettings {
  const judged = policy.certificates.map(({ certificate, certificateFile = '', keyFile = '', ocspFile }) => {
    if (certificate !== undefined) return ofObject(certificate, sources, notes);
    const chain = readPem(certificateFile);
    const key = readPem(keyFile);
    const ocsp = ocspFile === undefined ? null : readOcsp(ocspFile, certificateFile, chain, notes);
    return {
      chain,
      key,
      certificateFile,
      ...(ocspFile === undefined ? {} : { ocspFile }),
      ...(ocsp === null ? {} : { ocsp }),
      ...judge(certificateFile, chain, keyFile, key),
    };
  });
  const [first] = judged;
  if (judged.every(({ hasExpired }) => hasExpired)) {
    throw invalid(
      `${first!.certificateFile} has expired (${first!.validTo}), and there is no other: renew it`,
    );
  }
  for (const { certificateFile, validTo, hasExpired } of judged) {
    if (hasExpired)
      notes.push(`${certificateFile} has expired (${validTo}): clients will refuse it; renew it`);
  }
  // Those that have expired come last: another that has the name, or is for names that none has, goes before them.
  const certificates = [
    ...judged.filter(({ hasExpired }) => !hasExpired),
    ...judged.filter(({ hasExpired }) => hasExpired),
  ].map(({ hasExpired: _known, validTo: _until, ...one }) => one);
  const clients =
    policy.clientCertificates === undefined
      ? undefined
      : loadClients(policy.clientCertificates, notes, sources);
  const protocols = isHttp2 ? ['h2', 'http/1.1'] : ['http/1.1'];
  const hash = createHash('sha256').update(policy.minVersion).update(protocols.join());
  for (const { chain, key, ocsp } of certificates) {
    hash.update(chain).update('\0').update(key).update('\0');
    if (ocsp !== undefined) hash.update(ocsp.response).update('\0');
  }
  if (clients !== undefined) hash.update(clients.id).update(clients.fields.join());
  return {
    id: hash.digest('hex'),
    certificates,
    ...(clients === undefined ? {} : { clients }),
    minVersion: policy.minVersion,
    protocols,
  };
}

/**
 * The same with the OCSP responses that lie there by now; null where nothing has changed. One that has gone out of date
 * is left out. Notes as for `loadTls`.
 */
export function withFreshStaples(tls: TlsSettings, notes: string[]): TlsSettings | null {
  const hash = createHash('sha256').update(tls.id);
  let isChanged = false;
  const certificates = tls.certificates.map((one) => {
    const { ocspFile, certificateFile, chain, ocsp, ...rest } = one;
    if (ocspFile === undefined) return one;
    const found: string[] = [];
    const fresh = readOcsp(ocspFile, certificateFile, chain, found);
    const isSame =
      fresh === null || ocsp === undefined
        ? fresh === null && ocsp === undefined
        : Buffer.compare(fresh.response, ocsp.response) === 0;
    if (isSame) return one;
    isChanged = true;
    notes.push(...found);
    hash.update(certificateFile).update(fresh?.response ?? '');
    return { ...rest, ocspFile, certificateFile, chain, ...(fresh === null ? {} : { ocsp: fresh }) };
  });
  return isChanged ? { ...tls, id: hash.digest('hex'), certificates } : null;
}

const judgedSources = new WeakMap<CertificateSource, ReturnType<typeof judge>>();

/** A certificate of the policy: judged once. Throws ERR_POLICY_INVALID. */
function ofObject(
  name: string,
  sources: TlsSources,
  notes: string[],
): CertificateSettings & ReturnType<typeof judge> {
  const source = sources.certificate(name);
  const certificateFile = `certificate "${name}"`;
  if (source === undefined)
    throw invalid(`${certificateFile} is not here, or its key is not: put both into the files`);
  let judged = judgedSources.get(source);
  if (judged === undefined) {
    judged = judge(certificateFile, source.chain, `the key of ${certificateFile}`, source.key);
    judgedSources.set(source, judged);
  }
  const response = source.ocsp === undefined ? null : Buffer.from(source.ocsp, 'base64');
  const ocsp = response && stapleOf(response, 'its OCSP response', certificateFile, source.chain, notes);
  return {
    chain: source.chain,
    key: source.key,
    certificateFile,
    ...(ocsp === null ? {} : { ocsp }),
    ...judged,
  };
}

/** PEM of authorities and lists, of an object or of files. Throws ERR_POLICY_INVALID. */
function believed(
  policy: Pick<ClientCertificates, 'authorities' | 'authoritiesFile' | 'revokedFile'>,
  notes: string[],
  sources: TlsSources,
): { authorities: string; revoked: string } {
  const { authorities: name, authoritiesFile = '', revokedFile } = policy;
  if (name === undefined)
    return {
      authorities: readAuthorities(authoritiesFile, notes),
      revoked: revokedFile === undefined ? '' : readRevoked(revokedFile),
    };
  const source = sources.authorities(name);
  if (source === undefined) throw invalid(`authority-set "${name}" is not here: put it into the files`);
  return {
    authorities: authoritiesOf(`authority-set "${name}"`, source.certificates, notes),
    revoked: source.revoked ?? '',
  };
}

/** Null where it cannot be stapled, which is noted: a certificate without is better than none. */
function readOcsp(path: string, certificateFile: string, chain: string, notes: string[]): Staple | null {
  let response: Uint8Array;
  try {
    response = readFileSync(path);
  } catch (error) {
    notes.push(
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code}): nothing is stapled for ${certificateFile}`,
    );
    return null;
  }
  return stapleOf(response, path, certificateFile, chain, notes);
}

function stapleOf(
  response: Uint8Array,
  path: string,
  certificateFile: string,
  chain: string,
  notes: string[],
): Staple | null {
  const verdict = judgeOcsp(response, chain);
  const wrong =
    typeof verdict === 'string'
      ? verdict
      : verdict.status !== 'good'
        ? `it says that the certificate is ${verdict.status}`
        : verdict.endsInMs !== null && verdict.endsInMs <= 0
          ? 'it is out of date: fetch a new one'
          : null;
  if (wrong !== null) {
    notes.push(`${path} is not stapled to ${certificateFile}: ${wrong}`);
    return null;
  }
  const { endsInMs } = verdict as OcspVerdict;
  return { response, untilMs: endsInMs === null ? Number.POSITIVE_INFINITY : Date.now() + endsInMs };
}

/** The same for TLS with members; what somebody should look at goes to `notes`. Throws ERR_POLICY_INVALID. */
export function loadMemberTls(policy: MemberTls, notes: string[], sources: TlsSources): MemberTlsSettings {
  const { certificate, certificateFile, keyFile, serverName, minVersion } = policy;
  const { authorities, revoked } = believed(policy, notes, sources);
  let own: { chain?: string; key?: string } = {};
  if (certificate !== undefined) {
    const { chain, key, hasExpired, validTo } = ofObject(certificate, sources, notes);
    if (hasExpired) notes.push(`certificate "${certificate}" has expired (${validTo}): renew it`);
    own = { chain, key };
  } else if (certificateFile !== undefined && keyFile !== undefined) {
    const chain = readPem(certificateFile);
    const key = readPem(keyFile);
    const { hasExpired, validTo } = judge(certificateFile, chain, keyFile, key);
    if (hasExpired)
      notes.push(`${certificateFile} has expired (${validTo}): members will refuse it; renew it`);
    own = { chain, key };
  }
  const all = {
    authorities,
    revoked,
    ...own,
    ...(serverName === undefined ? {} : { serverName }),
    minVersion,
  };
  return { id: createHash('sha256').update(JSON.stringify(all)).digest('hex'), ...all };
}

function loadClients(policy: ClientCertificates, notes: string[], sources: TlsSources): ClientSettings {
  const { mode, fields } = policy;
  const { authorities, revoked } = believed(policy, notes, sources);
  const hash = createHash('sha256')
    .update(mode)
    .update('\0')
    .update(authorities)
    .update('\0')
    .update(revoked);
  return { id: hash.digest('hex'), authorities, revoked, fields };
}

/** PEM of authorities that are believed. Throws ERR_POLICY_INVALID; those that have expired are noted. */
export function readAuthorities(path: string, notes: string[]): string {
  return authoritiesOf(path, readPem(path), notes);
}

function authoritiesOf(path: string, text: string, notes: string[]): string {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw invalid(`${path} holds no certificate in PEM`);
  for (const block of blocks) {
    const certificate = parse(path, block);
    if (certificate.validToDate.getTime() > Date.now()) continue;
    const [name] = certificate.subject.split('\n').slice(-1);
    notes.push(
      `${path}: the authority ${name} has expired (${certificate.validTo}): nothing of it is believed`,
    );
  }
  return blocks.join('\n');
}

/** PEM of lists of revoked certificates. Throws ERR_POLICY_INVALID. */
export function readRevoked(path: string): string {
  const text = readPem(path);
  const isThere = text.includes('-----BEGIN X509 CRL-----');
  try {
    if (isThere) createSecureContext({ crl: text });
  } catch {
    throw invalid(`${path} holds a list of revoked certificates that cannot be read`);
  }
  if (!isThere) throw invalid(`${path} holds no list of revoked certificates (X509 CRL) in PEM`);
  return text;
}

/** The text of a file. Throws ERR_POLICY_INVALID. */
export function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(`${path} cannot be read (${code}): let \`tls\` name a file that can`);
  }
}

function parse(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw invalid(`${path} holds no certificate in PEM`);
  }
}

/** A certificate and its key. Throws ERR_POLICY_INVALID where they cannot be used. */
export function judge(
  certificateFile: string,
  chain: string,
  keyFile: string,
  key: string,
): { names: string[]; hasExpired: boolean; validTo: string } {
  const certificate = parse(certificateFile, chain);
  let matches: boolean;
  try {
    matches = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw invalid(`${keyFile} holds no private key in PEM that needs no passphrase`);
  }
  if (!matches) throw invalid(`${keyFile} is not the key of the certificate in ${certificateFile}`);
  try {
    createSecureContext({ cert: chain, key, minVersion: 'TLSv1.2' });
  } catch (error) {
    throw invalid(`${certificateFile} is refused by TLS: ${(error as Error).message}`);
  }
  const names = dnsNamesOf(certificate);
  return { names, hasExpired: certificate.validToDate.getTime() <= Date.now(), validTo: certificate.validTo };
}

function invalid(message: string): WeftError {
  return new WeftError('ERR_POLICY_INVALID', message);
}
