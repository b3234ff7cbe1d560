/** Certificates as threads get them: files read and judged on the main thread, so that a worker meets none that fails. */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { WeftError } from '../../policy/errors.ts';
import type { ClientTls } from '../../policy/http-tls.ts';

export interface CertificateSettings {
  /** PEM, the certificate first. */
  readonly chain: string;
  readonly key: string;
  /** DNS names in lower case; `*.` stands for one label. */
  readonly names: readonly string[];
}

export interface TlsSettings {
  /** Differs where anything does. */
  readonly id: string;
  readonly certificates: readonly CertificateSettings[];
  readonly minVersion: '1.2' | '1.3';
  /** ALPN, in the order of preference. */
  readonly protocols: readonly string[];
  /** Makes the keys of session tickets: the same for all threads, and after a reload. */
  readonly ticketSecret?: Uint8Array;
}

/** Reads and judges the files. Throws ERR_POLICY_INVALID, which names the file and never shows what is in it. */
export function loadTls(policy: ClientTls, isHttp2: boolean): TlsSettings {
  const certificates = policy.certificates.map(({ certificateFile, keyFile }) => {
    const chain = read(certificateFile);
    const key = read(keyFile);
    return { chain, key, names: judge(certificateFile, chain, keyFile, key) };
  });
  const protocols = isHttp2 ? ['h2', 'http/1.1'] : ['http/1.1'];
  const hash = createHash('sha256').update(policy.minVersion).update(protocols.join());
  for (const { chain, key } of certificates) hash.update(chain).update('\0').update(key).update('\0');
  return { id: hash.digest('hex'), certificates, minVersion: policy.minVersion, protocols };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(`${path} cannot be read (${code}): let \`tls.certificates\` name a file that can`);
  }
}

function judge(certificateFile: string, chain: string, keyFile: string, key: string): string[] {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(chain);
  } catch {
    throw invalid(`${certificateFile} holds no certificate in PEM`);
  }
  let matches: boolean;
  try {
    matches = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw invalid(`${keyFile} holds no private key in PEM that needs no passphrase`);
  }
  if (!matches) throw invalid(`${keyFile} is not the key of the certificate in ${certificateFile}`);
  if (certificate.validToDate.getTime() <= Date.now()) {
    throw invalid(`${certificateFile} has expired (${certificate.validTo}): renew it`);
  }
  try {
    createSecureContext({ cert: chain, key, minVersion: 'TLSv1.2' });
  } catch (error) {
    throw invalid(`${certificateFile} is refused by TLS: ${(error as Error).message}`);
  }
  const names = (certificate.subjectAltName ?? '').split(', ').flatMap((text) => {
    const name = /^DNS:((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)$/i.exec(text)?.[1];
    return name === undefined ? [] : [name.toLowerCase()];
  });
  return names;
}

function invalid(message: string): WeftError {
  return new WeftError('ERR_POLICY_INVALID', message);
}
