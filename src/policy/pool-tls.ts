/** How members are spoken TLS with: the attribute `tls` of the kind `pool`. */
import { z } from 'zod';
import { Name } from './attributes.ts';
import { eitherAuthorities, eitherCertificate, Path } from './http-tls.ts';
import type { Reference } from './kind.ts';

export const MemberTls = z
  .strictObject({
    authorities: Name.optional().meta({
      description:
        "The `authority-set` whose certificates are believed; it may hold the members' own where they are signed by themselves.",
    }),
    authoritiesFile: Path.optional().meta({
      description:
        "PEM: the authorities whose certificates are believed, or the members' own certificates where they are signed by themselves. For `weft proxy` alone.",
    }),
    revokedFile: Path.optional().meta({
      description:
        'Beside `authoritiesFile`, PEM: lists of revoked certificates (CRLs), one of each authority on the way to the root.',
    }),
    serverName: z
      .string()
      .regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i, 'must be a DNS name')
      .max(253)
      .optional()
      .meta({
        description:
          'The name that members are asked for (SNI) and that their certificate must have; without it the certificate must have the address of the member.',
      }),
    certificate: Name.optional().meta({
      description: 'The `certificate` that members get where they ask for one.',
    }),
    certificateFile: Path.optional().meta({
      description:
        'PEM: the certificate that members get where they ask for one, and those behind it. For `weft proxy` alone.',
    }),
    keyFile: Path.optional().meta({ description: 'PEM: its private key, not encrypted.' }),
    minVersion: z
      .enum(['1.2', '1.3'])
      .default('1.2')
      .meta({ description: 'The oldest version of TLS that is spoken.' }),
  })
  .superRefine(eitherAuthorities)
  .superRefine((tls, context) => {
    const { certificate, certificateFile, keyFile } = tls;
    if ((certificate ?? certificateFile ?? keyFile) !== undefined) eitherCertificate(tls, context);
  })
  .meta({
    description:
      'Services with `http` speak TLS with the members, and with none whose certificate is not good. Files are read again at SIGHUP. Balancing by flow leaves packets as they are.',
  });

export type MemberTls = z.output<typeof MemberTls>;

/** What the attribute refers to; `path` is its own. */
export function memberTlsReferences(tls: MemberTls | undefined, path: string): Reference[] {
  const { certificate, authorities } = tls ?? {};
  return [
    ...(certificate === undefined
      ? []
      : [{ path: `${path}.certificate`, kind: 'certificate', name: certificate }]),
    ...(authorities === undefined
      ? []
      : [{ path: `${path}.authorities`, kind: 'authority-set', name: authorities }]),
  ];
}
