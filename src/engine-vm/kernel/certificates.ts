/** Certificates, keys and lists of revoked ones as OpenSSL takes them: out of PEM that was judged before. */
import { WeftError } from '../../policy/errors.ts';
import { lib } from './openssl.ts';

/** Commands of SSL_CTX_ctrl that both sides give. */
export const CTRL_MODE = 33;
export const CTRL_SESSION_CACHE = 44;
export const CTRL_MIN_VERSION = 123;
/** SSL_MODE_RELEASE_BUFFERS. */
export const RELEASE_BUFFERS = 0x10n;

const CTRL_EXTRA_CHAIN_CERT = 14;
/** X509_V_FLAG_CRL_CHECK and _CRL_CHECK_ALL. */
const CHECK_REVOKED = 0x4n | 0x8n;
/** X509_V_FLAG_PARTIAL_CHAIN: what is trusted need not be a root. */
const PARTIAL_CHAIN = 0x80000n;

/** Gives a context its certificate, those behind it, and its key. False where OpenSSL refuses them. */
export function useCertificate(context: bigint, chain: string, key: string): boolean {
  return useChain(context, chain) && useKey(context, key);
}

function useChain(context: bigint, pem: string): boolean {
  let isTaken = true;
  const count = eachOf(pem, lib.PEM_read_bio_X509, (certificate, index) => {
    if (index === 0) {
      isTaken &&= lib.SSL_CTX_use_certificate(context, certificate) === 1;
      lib.X509_free(certificate);
      return;
    }
    const isAdded = lib.SSL_CTX_ctrl(context, CTRL_EXTRA_CHAIN_CERT, 0n, certificate) === 1n;
    if (!isAdded) lib.X509_free(certificate);
    isTaken &&= isAdded;
  });
  return isTaken && count > 0;
}

function useKey(context: bigint, pem: string): boolean {
  const text = Buffer.from(pem);
  const bio = lib.BIO_new_mem_buf(text, text.length);
  const key = lib.PEM_read_bio_PrivateKey(bio, 0n, 0n, 0n);
  lib.BIO_free(bio);
  text.fill(0);
  if (key === 0n) return false;
  const isTaken = lib.SSL_CTX_use_PrivateKey(context, key) === 1;
  lib.EVP_PKEY_free(key);
  return isTaken;
}

/** Hands each object of the PEM on, with its index; returns how many there are. */
export function eachOf(
  pem: string,
  read: (bio: bigint, into: bigint, ask: bigint, word: bigint) => bigint,
  take: (object: bigint, index: number) => void,
): number {
  const text = Buffer.from(pem);
  const bio = lib.BIO_new_mem_buf(text, text.length);
  let count = 0;
  for (let object = read(bio, 0n, 0n, 0n); object !== 0n; object = read(bio, 0n, 0n, 0n))
    take(object, count++);
  lib.BIO_free(bio);
  // The end of the text is an error of OpenSSL's.
  lib.ERR_clear_error();
  return count;
}

/**
 * Who is trusted, as an X509_STORE: authorities, and lists of the certificates that they have revoked; with such a list
 * each authority must have one. Throws ERR_KERNEL.
 */
export function openStore(authorities: string, revoked: string): bigint {
  const store = lib.X509_STORE_new();
  let isTaken = store !== 0n;
  const count = eachOf(authorities, lib.PEM_read_bio_X509, (certificate) => {
    isTaken &&= lib.X509_STORE_add_cert(store, certificate) === 1;
    lib.X509_free(certificate);
  });
  const lists = eachOf(revoked, lib.PEM_read_bio_X509_CRL, (list) => {
    isTaken &&= lib.X509_STORE_add_crl(store, list) === 1;
    lib.X509_CRL_free(list);
  });
  if (isTaken && count > 0) {
    lib.X509_STORE_set_flags(store, PARTIAL_CHAIN | (lists > 0 ? CHECK_REVOKED : 0n));
    return store;
  }
  lib.X509_STORE_free(store);
  lib.ERR_clear_error();
  throw new WeftError('ERR_KERNEL', 'OpenSSL refuses an authority or a list of revoked certificates');
}

/** Contexts that were given it keep what they need. */
export function closeStore(store: bigint): void {
  lib.X509_STORE_free(store);
}
