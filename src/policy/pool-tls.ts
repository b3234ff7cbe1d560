/** How members are spoken TLS with: the attribute `tls` of the kind `pool`. */
import { z } from 'zod';
import { Path } from './http-tls.ts';

export const MemberTls = z
  .strictObject({
    authoritiesFile: Path.meta({
      description:
        "PEM: the authorities whose certificates are believed, or the members' own certificates where they are signed by themselves.",
    }),
    revokedFile: Path.optional().meta({
      description: 'PEM: lists of revoked certificates (CRLs), one of each authority on the way to the root.',
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
    certificateFile: Path.optional().meta({
      description: 'PEM: the certificate that members get where they ask for one, and those behind it.',
    }),
    keyFile: Path.optional().meta({ description: 'PEM: its private key, not encrypted.' }),
    minVersion: z
      .enum(['1.2', '1.3'])
      .default('1.2')
      .meta({ description: 'The oldest version of TLS that is spoken.' }),
  })
  .superRefine(({ certificateFile, keyFile }, context) => {
    if ((certificateFile === undefined) === (keyFile === undefined)) return;
    context.addIssue({
      code: 'custom',
      path: [certificateFile === undefined ? 'certificateFile' : 'keyFile'],
      message: 'is missing: a certificate and its key go together',
    });
  })
  .meta({
    description:
      'Services with `http` speak TLS with the members, and with none whose certificate is not good. Files are read again at SIGHUP. Balancing by flow leaves packets as they are.',
  });

export type MemberTls = z.output<typeof MemberTls>;
