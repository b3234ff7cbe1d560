/** How an HTTP service speaks TLS with clients: the attribute `tls` of `http`. */
import { z } from 'zod';

const Path = z.string().min(1).max(4096);

export const ClientTls = z
  .strictObject({
    certificates: z
      .array(
        z.strictObject({
          certificateFile: Path.meta({
            description: 'PEM: the certificate, and behind it those of the authorities up to the root.',
          }),
          keyFile: Path.meta({ description: 'PEM: its private key, not encrypted.' }),
        }),
      )
      .min(1)
      .max(10_000)
      .meta({
        description:
          'Clients get the one whose DNS names (`*.example.org` stands for one label) have the name that they ask for, and the first where none has it. Files are read again at SIGHUP.',
      }),
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
