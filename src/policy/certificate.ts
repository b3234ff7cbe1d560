/** The kind `certificate`: a chain of certificates under one name, and its private key, which nobody gets back. */
import { z } from 'zod';
import { checkCertificate, nameOf } from './certificate-check.ts';
import { defineKind } from './kind.ts';

export const CertificateSpec = z
  .strictObject({
    description: z.string().max(300).default('').meta({ description: 'What the certificate is for.' }),
    chain: z.string().min(1).max(65_536).meta({
      description:
        'PEM: the certificate, and behind it those of the authorities up to the root, each issued by the next.',
    }),
    key: z.string().min(1).max(16_384).optional().meta({
      writeOnly: true,
      description:
        'PEM: its private key, not encrypted. It is kept apart and sealed, and no answer holds it. Leave it out where the chain is renewed for the key that is there.',
    }),
    ocsp: z
      .string()
      .max(32_768)
      .regex(/^[A-Za-z0-9+/ \t\r\n]+={0,2}[ \t\r\n]*$/, 'must be base64')
      .optional()
      .meta({
        description:
          'Base64 of DER: the response of the authority that the certificate is not revoked, for clients that ask (OCSP stapling).',
      }),
  })
  .meta({
    description:
      'A certificate with its private key, for services that speak TLS with clients and pools that speak it with members.',
  });

export type CertificateSpec = z.output<typeof CertificateSpec>;

export interface CertificateStatus {
  /** `key-missing`: what is kept cannot be opened (the store was restored without its key). */
  state: 'valid' | 'expires-soon' | 'expired' | 'key-missing';
  /** Of the certificate, as RFC 2253 writes it. */
  subject: string;
  issuer: string;
  /** DNS names, in lower case. */
  names: string[];
  /** ISO 8601. */
  validUntil: string;
  /** SHA-256 of the certificate, hexadecimal with colons. */
  fingerprint: string;
  /** `virtual-service shop`, `pool web`. */
  usedBy: string[];
  message: string;
}

export const certificate = defineKind({
  name: 'certificate',
  summary: 'a certificate with its private key, which services and pools use by name',
  spec: CertificateSpec,
  references: () => [],
  texts: ['chain', 'key', 'ocsp'],
  check: checkCertificate,
  secret: {
    attribute: 'key',
    take: ({ key, ...spec }) => ({ spec, secret: key ?? null }),
    with: (spec, key) => ({ ...spec, key }),
    remedy: (name) =>
      `give it: \`weft certificate ${nameOf(name)} --chain FILE --key FILE\`, or \`key\` in the document`,
  },
});
