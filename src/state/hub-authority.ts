/**
 * What the hub needs of a certificate authority; `pki/authority.ts` fulfils it. It stands here because `pki` knows
 * `state` and not the other way round.
 */
import type { X509Certificate } from 'node:crypto';

/** PEM texts for the hub's end of TLS. */
export interface ServerCredentials {
  certificate: string;
  key: string;
  /** Who signs engines' certificates. */
  ca: string;
  /** Wall clock, milliseconds, after which the certificate is refused. */
  expiresAt: number;
  /** Wall clock, milliseconds, at which to fetch a new one. */
  renewAt: number;
}

export interface EnrolRequest {
  token: string;
  engine: string;
  /** PKCS #10 in PEM. */
  csrPem: string;
}

/** PEM texts of what an engine was given. */
export interface IssuedCertificate {
  certificate: string;
  ca: string;
}

export interface HubAuthority {
  /** Current credentials for the hub's listener; a fresh certificate at each call. */
  serverCredentials(): Promise<ServerCredentials>;
  /** Rejects with ERR_ENROLMENT_REFUSED. */
  enrol(request: EnrolRequest): Promise<IssuedCertificate>;
  /** Rejects with ERR_ENROLMENT_REFUSED. */
  renew(peerCertificate: X509Certificate, csrPem: string): Promise<IssuedCertificate>;
  /** True where a certificate that is otherwise valid must not be accepted any more. */
  isRevoked(engine: string, certificate: X509Certificate): boolean;
  /** Called when certificates of an engine are revoked. Returns the way to stop. */
  onRevoked(callback: (engine: string) => void): () => void;
}
