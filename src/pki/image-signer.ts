/** Certificates of the controller's CA for signing appliance images: a new pair for each image, its key kept nowhere. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { WeftError } from '../policy/errors.ts';
import type { Store } from '../state/store.ts';
import { AUTHORITY_KEY, type AuthorityRecord } from './authority.ts';
import { buildSignerCertificate, generateKey, keyPem } from './certificate.ts';

export interface SigningPair {
  /** PEM, the signer's certificate and that of the CA. */
  certificates: string;
  /** PKCS #8 PEM. */
  key: string;
}

/**
 * Issues a signing pair from the CA in the controller's store. An image must be installable for as long as the CA
 * lives, so the certificate lives as long. Throws ERR_NOT_FOUND where the store holds no CA.
 */
export async function issueImageSigner(store: Store, now: number): Promise<SigningPair> {
  const authority = (await store.get<AuthorityRecord>(AUTHORITY_KEY))?.value;
  if (!authority) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      'the store holds no CA yet: start the controller once with that state directory',
    );
  }
  const key = await generateKey(3072);
  const certificate = buildSignerCertificate(
    { certificate: authority.certificate, key: createPrivateKey(authority.key) },
    createPublicKey(key),
    'Weft appliance image',
    now,
    SIGNER_LIFE_MS,
  );
  return { certificates: `${certificate.trimEnd()}\n${authority.certificate.trimEnd()}\n`, key: keyPem(key) };
}

const SIGNER_LIFE_MS = 3650 * 24 * 3600_000;
