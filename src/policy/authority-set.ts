/** The kind `authority-set`: authorities whose certificates are believed, and lists of what they have revoked. */
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { certificatesIn } from './certificate-check.ts';
import { defineKind, type SpecProblem } from './kind.ts';

export const AuthoritySetSpec = z
  .strictObject({
    description: z.string().max(300).default('').meta({ description: 'What the set is for.' }),
    certificates: z.string().min(1).max(1_048_576).meta({
      description:
        'PEM: the authorities whose certificates are believed, or certificates that are signed by themselves.',
    }),
    revoked: z.string().max(4_194_304).optional().meta({
      description:
        'PEM: lists of revoked certificates (CRLs), one of each authority on the way to the root. One that is out of date refuses everybody.',
    }),
  })
  .meta({
    description: 'Whose certificates are believed, of clients of a service or of members of a pool.',
  });

export type AuthoritySetSpec = z.output<typeof AuthoritySetSpec>;

export const authoritySet = defineKind({
  name: 'authority-set',
  summary: 'authorities whose certificates services and pools believe, with lists of revoked ones',
  spec: AuthoritySetSpec,
  references: () => [],
  texts: ['certificates', 'revoked'],
  check: checkAuthorities,
});

function checkAuthorities({ certificates, revoked }: AuthoritySetSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  if (/PRIVATE KEY/.test(certificates))
    problems.push({ path: ['certificates'], message: 'holds a private key: give certificates alone' });
  else if (certificatesIn(certificates) === null)
    problems.push({ path: ['certificates'], message: 'holds no certificates in PEM, or something besides' });
  if (revoked !== undefined && !isList(revoked))
    problems.push({ path: ['revoked'], message: 'holds no lists of revoked certificates (X509 CRL) in PEM' });
  return problems;
}

function isList(text: string): boolean {
  if (!text.includes('-----BEGIN X509 CRL-----') || /PRIVATE KEY/.test(text)) return false;
  try {
    createSecureContext({ crl: text });
    return true;
  } catch {
    return false;
  }
}
