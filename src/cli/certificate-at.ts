/** Whose certificate is at an address: read, and drawn for people to compare. */
import { WeftError } from '../policy/errors.ts';

const TIMEOUT_MS = 10_000;

/** Who is at an address, as far as a certificate says. */
export interface Certificate {
  thumbprint: string;
  subject: string;
  issuer: string;
  validTo: string;
}

/** Throws ERR_HYPERVISOR_UNREACHABLE, and ERR_TIMEOUT after ten seconds. */
export async function readCertificate(address: string): Promise<Certificate> {
  const { readThumbprint } = await import('../vcenter/transport.ts');
  const timeout = new AbortController();
  const timer = setTimeout(
    () => timeout.abort(new WeftError('ERR_TIMEOUT', `${address} shows no certificate in 10 s`)),
    TIMEOUT_MS,
  );
  try {
    return await readThumbprint(address, timeout.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** A certificate for people to compare. */
export function drawCertificate(address: string, certificate: Certificate): string {
  const { subject, issuer, validTo, thumbprint } = certificate;
  return [
    `The certificate at ${address}:`,
    `  subject     ${oneLine(subject)}`,
    `  issuer      ${oneLine(issuer)}${subject === issuer ? ' (self-signed)' : ''}`,
    `  valid to    ${oneLine(validTo)}`,
    `  thumbprint  ${thumbprint}`,
  ].join('\n');
}

/** `vc.example.org` is `https://vc.example.org`. Throws ERR_USAGE. */
export function httpsOrigin(text: string): string {
  const whole = text.includes('://') ? text : `https://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : null;
  if (url?.protocol === 'https:' && url.hostname !== '') return url.origin;
  throw new WeftError('ERR_USAGE', `"${text}" is no address: write for example https://vcenter.example.org`);
}

/** A certificate's names are its own: several lines of them, and whatever characters. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]+/gu, ', ').slice(0, 300);
}
