/**
 * The manifest of an OVA and its signature (DSP0243 section 5.1): `.mf` names the SHA-256 of every file, `.cert` holds
 * the RSA signature of the `.mf` and the certificates that vouch for it, the signer's first.
 */
import { createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { WeftError } from '../../policy/errors.ts';

export interface ImageSigner {
  /** PEM, the signer's own certificate first, then those that issued it. */
  certificates: string;
  /** PEM of its private RSA key. */
  key: string;
}

/** The text of the manifest, in the order given. */
export function manifestText(files: readonly { name: string; sha256: string }[]): string {
  return files.map(({ name, sha256 }) => `SHA256(${name})= ${sha256}\n`).join('');
}

/** The text of the certificate file. Throws ERR_USAGE where key and certificate do not belong together. */
export function signatureText(manifestName: string, manifest: Buffer, signer: ImageSigner): string {
  const key = readKey(signer);
  const signature = sign('sha256', manifest, key).toString('hex');
  return `SHA256(${manifestName})= ${signature}\n${signer.certificates.trimEnd()}\n`;
}

function readKey(signer: ImageSigner): ReturnType<typeof createPrivateKey> {
  let isPair: boolean;
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(signer.key);
    isPair = new X509Certificate(signer.certificates).checkPrivateKey(key);
  } catch (cause) {
    throw new WeftError('ERR_USAGE', 'the signing key or certificate is not PEM that can be read', { cause });
  }
  if (key.asymmetricKeyType !== 'rsa') {
    throw new WeftError('ERR_USAGE', 'OVA signatures are RSA: give an RSA key');
  }
  if (!isPair) {
    throw new WeftError('ERR_USAGE', 'the signing key is not that of the certificate: give the pair');
  }
  return key;
}
