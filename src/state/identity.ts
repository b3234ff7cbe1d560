/**
 * Names in certificates: how the controller and the engines know each other on the wire.
 *
 * A participant is named by the one URI in its certificate's subject alternative name, never by its address:
 * `weft://controller`, or `weft://engine/<id>`. Both ends speak TLS 1.3 only and trust one CA.
 */
import type { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';

export const CONTROLLER_URI = 'weft://controller';

/** What a participant proves itself with: PEM texts. `ca` is what it trusts. */
export interface Identity {
  certificate: string;
  key: string;
  ca: string;
}

const ENGINE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$/;

/** True where `id` may name an engine: letters, digits, dot, underscore, hyphen; at most 127. */
export function isEngineId(id: string): boolean {
  return ENGINE_ID.test(id);
}

/** The URI that stands in an engine's certificate. */
export function engineUri(engine: string): string {
  return `weft://engine/${engine}`;
}

/**
 * The engine a certificate names, or undefined where it names none, or anything besides. Says nothing of whether
 * the certificate is to be trusted.
 */
export function engineOfCertificate(certificate: X509Certificate): string | undefined {
  // Node quotes names that contain commas or control characters, so that a trick name cannot match here.
  const match = /^URI:weft:\/\/engine\/([^,"\s]+)$/.exec(certificate.subjectAltName ?? '');
  const id = match?.[1];
  return id !== undefined && isEngineId(id) ? id : undefined;
}

/** For `tls.connect`: accepts the certificate of the controller at whatever address it answers. */
export function checkControllerIdentity(_host: string, certificate: PeerCertificate): Error | undefined {
  const names = (certificate.subjectaltname ?? '').split(', ');
  return names.includes(`URI:${CONTROLLER_URI}`)
    ? undefined
    : new Error(
        `the certificate does not name ${CONTROLLER_URI}: this is not the controller, check its address`,
      );
}
