/**
 * The certificate of the console: signed by itself and kept in the controller's directory. vCenter pins it when the
 * plug-in is registered, so it stays the same for as long as it is valid.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '../policy/errors.ts';
import { buildPageCertificate, generateKey, keyPem } from './certificate.ts';

export interface PageCertificate {
  /** PEM. */
  key: string;
  certificate: string;
}

const LIFE_MS = 5 * 365 * 86_400_000;
const RENEW_MS = 30 * 86_400_000;

/** The one of the directory, made anew where it is missing, about to expire, or not for all of the names. */
export async function openPageCertificate(
  directory: string,
  names: readonly string[],
  now: number,
): Promise<PageCertificate> {
  const file = join(directory, 'console.pem');
  const kept = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const found = split(kept);
  if (found && isFit(found, names, now)) return found;
  const key = await generateKey(2048);
  const made = { key: keyPem(key), certificate: buildPageCertificate(key, names, now, LIFE_MS) };
  await writeFile(`${file}.new`, made.key + made.certificate, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return made;
}

/** The certificate and key of two files. Throws ERR_USAGE where they are none, or do not belong together. */
export async function readPageCertificate(
  certificateFile: string,
  keyFile: string,
): Promise<PageCertificate> {
  try {
    const [certificate, key] = await Promise.all([
      readFile(certificateFile, 'utf8'),
      readFile(keyFile, 'utf8'),
    ]);
    if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) return { certificate, key };
  } catch (cause) {
    throw new WeftError(
      'ERR_USAGE',
      `${certificateFile} and ${keyFile} must be a certificate and its key, as PEM (${(cause as Error).message})`,
      { cause },
    );
  }
  throw new WeftError(
    'ERR_USAGE',
    `the key in ${keyFile} is not that of the certificate in ${certificateFile}`,
  );
}

function split(text: string): PageCertificate | null {
  const at = text.indexOf('-----BEGIN CERTIFICATE-----');
  return at > 0 ? { key: text.slice(0, at), certificate: text.slice(at) } : null;
}

function isFit({ certificate }: PageCertificate, names: readonly string[], now: number): boolean {
  try {
    const parsed = new X509Certificate(certificate);
    const isLong = parsed.validToDate.getTime() - now > RENEW_MS;
    return isLong && names.every((name) => parsed.checkHost(name) ?? parsed.checkIP(name));
  } catch {
    return false;
  }
}
