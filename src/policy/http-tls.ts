/** How an HTTP service speaks TLS with clients: the attribute `tls` of `http`. */
import { z } from 'zod';
import { Name } from './attributes.ts';
import type { Reference } from './kind.ts';

export const CLIENT_CERTIFICATE_FIELDS = [
  'Client-Cert',
  'X-Client-Cert-Subject',
  'X-Client-Cert-Issuer',
  'X-Client-Cert-Serial',
  'X-Client-Cert-Sha256',
] as const;

/** Of a file on the machine that proxies. */
export const Path = z.string().min(1).max(4096);

type Context = z.core.$RefinementCtx;

/** A certificate is an object, or two files. */
export function eitherCertificate(
  {
    certificate,
    certificateFile,
    keyFile,
    ocspFile,
  }: {
    certificate?: string | undefined;
    certificateFile?: string | undefined;
    keyFile?: string | undefined;
    ocspFile?: string | undefined;
  },
  context: Context,
): void {
  const refuse = (path: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [path], message });
  if (certificate !== undefined) {
    const file = Object.entries({ certificateFile, keyFile, ocspFile }).find(
      ([, name]) => name !== undefined,
    );
    if (file !== undefined) refuse(file[0], 'must not stand beside certificate, which has all of it');
  } else if (certificateFile === undefined && keyFile === undefined) {
    refuse('certificate', 'is missing: name a certificate, or certificateFile and keyFile');
  } else if (certificateFile === undefined || keyFile === undefined) {
    refuse(
      certificateFile === undefined ? 'certificateFile' : 'keyFile',
      'is missing: a certificate and its key go together',
    );
  }
}

/** Authorities are an object, or files. */
export function eitherAuthorities(
  {
    authorities,
    authoritiesFile,
    revokedFile,
  }: {
    authorities?: string | undefined;
    authoritiesFile?: string | undefined;
    revokedFile?: string | undefined;
  },
  context: Context,
): void {
  const refuse = (path: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [path], message });
  if (authorities === undefined && authoritiesFile === undefined)
    refuse('authorities', 'is missing: name an authority-set, or authoritiesFile');
  if (authorities !== undefined && authoritiesFile !== undefined)
    refuse('authoritiesFile', 'must not stand beside authorities');
  if (authorities !== undefined && revokedFile !== undefined)
    refuse('revokedFile', 'must not stand beside authorities, which has its own lists');
}

export const ClientCertificates = z
  .strictObject({
    mode: z.enum(['required', 'optional']).default('required').meta({
      description:
        'Refuse requests of clients that show no certificate, or only those of clients that show a bad one.',
    }),
    authorities: Name.optional().meta({
      description: 'The `authority-set` whose certificates are believed.',
    }),
    authoritiesFile: Path.optional().meta({
      description: 'PEM: the authorities whose certificates are believed. For `weft proxy` alone.',
    }),
    revokedFile: Path.optional().meta({
      description:
        'Beside `authoritiesFile`, PEM: lists of revoked certificates (CRLs), one of each authority on the way to the root. One that is out of date refuses everybody.',
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
  .superRefine(eitherAuthorities)
  .meta({ description: 'Ask clients for certificates. Not together with `cache`.' });

export type ClientCertificates = z.output<typeof ClientCertificates>;

export const ClientTls = z
  .strictObject({
    certificates: z
      .array(
        z
          .strictObject({
            certificate: Name.optional().meta({
              description: 'The `certificate` of that name, with its key.',
            }),
            certificateFile: Path.optional().meta({
              description:
                'PEM: the certificate, and behind it those of the authorities up to the root. For `weft proxy` alone.',
            }),
            keyFile: Path.optional().meta({ description: 'PEM: its private key, not encrypted.' }),
            ocspFile: Path.optional().meta({
              description:
                'DER: the response of the authority that the certificate is not revoked, for clients that ask (OCSP stapling). Put a new one there before the old one is out of date: it is noticed within a minute.',
            }),
          })
          .superRefine(eitherCertificate),
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
      'Speak TLS with clients, HTTP/2 (with `http2`) and HTTP/1.1 by ALPN. It names `certificate` and `authority-set` objects, which `weft proxy` reads from its policy files; it takes files of certificates, too.',
  });

export type ClientTls = z.output<typeof ClientTls>;

/** What the attribute refers to; `path` is its own. */
export function clientTlsReferences(tls: ClientTls | undefined, path: string): Reference[] {
  const authorities = tls?.clientCertificates?.authorities;
  return [
    ...(tls?.certificates ?? []).flatMap(({ certificate }, index) =>
      certificate === undefined
        ? []
        : [{ path: `${path}.certificates[${index}].certificate`, kind: 'certificate', name: certificate }],
    ),
    ...(authorities === undefined
      ? []
      : [{ path: `${path}.clientCertificates.authorities`, kind: 'authority-set', name: authorities }]),
  ];
}
