/** What is known of the certificate that a client has shown, as requests need it. */
import { X509Certificate } from 'node:crypto';
import type { CLIENT_CERTIFICATE_FIELDS } from '../../policy/http-tls.ts';
import { line } from '../http/head-writer.ts';
import { refusal } from '../http/refusals.ts';
import { peerCertificate, verdictOf } from '../kernel/peer-certificate.ts';

export interface ShownCertificate {
  /** Why requests are refused; 0 where they are not. */
  readonly refusal: number;
  /** Monotonic milliseconds from which on it is out of date. */
  readonly endsMs: number;
  /** Field lines for members. */
  readonly lines: readonly Uint8Array[];
}

export type CertificateField = (typeof CLIENT_CERTIFICATE_FIELDS)[number];

/** Longer ones would fill the head of a request. */
const MOST_BYTES = 4096;
const UNTRUSTED = refusal('client-certificate-untrusted');
const LIST = refusal('revocation-list-invalid');
/** By X509_V_ERR. */
const REFUSALS: Readonly<Record<number, number>> = {
  0: 0,
  3: LIST,
  8: LIST,
  9: refusal('client-certificate-not-yet-valid'),
  10: refusal('client-certificate-expired'),
  11: LIST,
  12: LIST,
  15: LIST,
  16: LIST,
  23: refusal('client-certificate-revoked'),
  26: refusal('client-certificate-purpose'),
  33: LIST,
  35: LIST,
};

/** Of a handshake that is done; null where none was shown. */
export function shownCertificate(
  ssl: bigint,
  fields: readonly CertificateField[],
  nowMs: number,
): ShownCertificate | null {
  const peer = peerCertificate(ssl);
  if (peer === null) return null;
  const { der, subject, issuer } = peer;
  const verdict = verdictOf(ssl);
  const why = der.length > MOST_BYTES ? UNTRUSTED : (REFUSALS[verdict] ?? UNTRUSTED);
  if (why !== 0) return { refusal: why, endsMs: Number.POSITIVE_INFINITY, lines: [] };
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch {
    return { refusal: UNTRUSTED, endsMs: Number.POSITIVE_INFINITY, lines: [] };
  }
  const values: Record<CertificateField, () => string> = {
    'Client-Cert': () => `:${der.toString('base64')}:`,
    'X-Client-Cert-Subject': () => subject,
    'X-Client-Cert-Issuer': () => issuer,
    'X-Client-Cert-Serial': () => certificate.serialNumber,
    'X-Client-Cert-Sha256': () => certificate.fingerprint256.replaceAll(':', ''),
  };
  return {
    refusal: 0,
    endsMs: nowMs + certificate.validToDate.getTime() - Date.now(),
    lines: fields.map((name) => line(`${name}: ${values[name]()}\r\n`)),
  };
}
