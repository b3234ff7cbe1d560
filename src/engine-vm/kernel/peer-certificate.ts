/** The certificate that the other side of a handshake has shown, and what OpenSSL thinks of it. */
import ffi from 'node:ffi';
import { lib } from './openssl.ts';

/** RFC 2253, all but visible ASCII escaped: no character of a name can end a line or a field. */
const NAME_FLAGS = 0x1_110_317n;
const BIO_PENDING = 10;

export interface PeerCertificate {
  readonly der: Buffer;
  /** As RFC 2253 writes names. */
  readonly subject: string;
  readonly issuer: string;
}

/** An X509_V_ERR of the certificate, 0 where it is good or none was shown. */
export function verdictOf(ssl: bigint): number {
  return Number(lib.SSL_get_verify_result(ssl));
}

/** Null where it has shown none. */
export function peerCertificate(ssl: bigint): PeerCertificate | null {
  const certificate = lib.SSL_get0_peer_certificate(ssl);
  if (certificate === 0n) return null;
  const der = Buffer.alloc(Math.max(0, lib.i2d_X509(certificate, 0n)));
  // i2d_X509 moves the pointer that it is given.
  const pointer = new BigUint64Array([ffi.getRawPointer(der)]);
  lib.i2d_X509(certificate, ffi.getRawPointer(pointer));
  return {
    der,
    subject: textOf(lib.X509_get_subject_name(certificate)),
    issuer: textOf(lib.X509_get_issuer_name(certificate)),
  };
}

function textOf(name: bigint): string {
  const bio = lib.BIO_new(lib.BIO_s_mem());
  lib.X509_NAME_print_ex(bio, name, 0, NAME_FLAGS);
  const text = Buffer.alloc(Number(lib.BIO_ctrl(bio, BIO_PENDING, 0n, 0n)));
  const length = text.length === 0 ? 0 : lib.BIO_read(bio, text, text.length);
  lib.BIO_free(bio);
  return text.toString('latin1', 0, Math.max(0, length));
}
