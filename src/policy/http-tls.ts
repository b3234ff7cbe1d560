/** How an HTTP service speaks TLS with clients: the attribute `tls` of `http`. */
import { z } from 'zod';

export const CLIENT_CERTIFICATE_FIELDS = [
  'Client-Cert',
  'X-Client-Cert-Subject',
  'X-Client-Cert-Issuer',
  'X-Client-Cert-Serial',
  'X-Client-Cert-Sha256',
] as const;

/** Of a file on the machine that proxies. */
export const Path = z.string().min(1).max(4096);

export const ClientCertificates = z
  .strictObject({
    mode: z.enum(['required', 'optional']).default('required').meta({
      description:
        'Refuse requests of clients that show no certificate, or only those of clients that show a bad one.',
    }),
    authoritiesFile: Path.meta({
      description: 'PEM: the authorities whose certificates are believed.',
    }),
    revokedFile: Path.optional().meta({
      description:
        'PEM: lists of revoked certificates (CRLs), one of each authority on the way to the root. One that is out of date refuses everybody.',
    }),
    fields: z
      .array(z.enum(CLIENT_CERTIFICATE_FIELDS))
      .max(CLIENT_CERTIFICATE_FIELDS.length)
      .default(['Client-Cert'])
      .meta({
        description:
          'Header fields that tell members of the certificate: Client-Cert is the whole (RFC 9440), Subject and Issuer are names as RFC 2253 writes them, Serial and Sha256 hexadecimal. All of these, and Client-Cert-Chain, are taken out of what clients send.',
      }),
  })
  .meta({ description: 'Ask clients for certificates. Not together with `cache`.' });

export type ClientCertificates = z.output<typeof ClientCertificates>;

export const ClientTls = z
  .strictObject({
    certificates: z
      .array(
        z.strictObject({
          certificateFile: Path.meta({
            description: 'PEM: the certificate, and behind it those of the authorities up to the root.',
          }),
          keyFile: Path.meta({ description: 'PEM: its private key, not encrypted.' }),
          ocspFile: Path.optional().meta({
            description:
              'DER: the response of the authority that the certificate is not revoked, for clients that ask (OCSP stapling). Put a new one there before the old one is out of date: it is noticed within a minute.',
          }),
        }),
      )
      .min(1)
      .max(10_000)
      .meta({
        description:
          'Clients get the one whose DNS names (`*.example.org` stands for one label) have the name that they ask for, and the first where none has it. Files are read again at SIGHUP.',
      }),
    clientCertificates: ClientCertificates.optional(),
    minVersion: z
      .enum(['1.2', '1.3'])
      .default('1.2')
      .meta({ description: 'The oldest version of TLS. 1.2 is spoken with ECDHE and AEAD ciphers only.' }),
  })
  .meta({
    description:
      'Speak TLS with clients, HTTP/2 (with `http2`) and HTTP/1.1 by ALPN. The policy names files: keys stay where they are used.',
  });

export type ClientTls = z.output<typeof ClientTls>;
