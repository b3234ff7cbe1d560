/** What is seen of certificates: their status, and what `weft status` warns of before clients notice. Pure. */
import type { CertificateSpec, CertificateStatus } from '../policy/certificate.ts';
import { certificatesIn, dnsNamesOf, subjectOf } from '../policy/certificate-check.ts';
import { clientTlsReferences } from '../policy/http-tls.ts';
import { memberTlsReferences } from '../policy/pool-tls.ts';
import type { Policies } from './policies.ts';

const DAY_MS = 86_400_000;
/** Authorities that issue for 90 days have renewed long before; those that issue for a year need so long. */
const SOON_MS = 21 * DAY_MS;

/** By name. */
export function certificateStatuses(
  policies: Policies,
  keyless: ReadonlySet<string>,
  nowMs: number,
): Map<string, CertificateStatus> {
  const users = usersOf(policies);
  return new Map(
    [...policies.certificates].flatMap(([name, spec]): [string, CertificateStatus][] => {
      const status = statusOf(name, spec, keyless.has(name), users.get(name) ?? [], nowMs);
      return status === null ? [] : [[name, status]];
    }),
  );
}

/** Of those that are used. */
export function certificateWarnings(
  policies: Policies,
  keyless: ReadonlySet<string>,
  nowMs: number,
): string[] {
  return [...certificateStatuses(policies, keyless, nowMs).values()].flatMap(({ usedBy, state, message }) =>
    usedBy.length === 0 || state === 'valid' ? [] : [message],
  );
}

function statusOf(
  name: string,
  { chain }: CertificateSpec,
  isKeyless: boolean,
  usedBy: string[],
  nowMs: number,
): CertificateStatus | null {
  const all = certificatesIn(chain);
  const first = all?.[0];
  if (!all || first === undefined) return null;
  // A chain is good for as long as its shortest link.
  const until = Math.min(...all.map(({ validToDate }) => validToDate.getTime()));
  const days = Math.floor((until - nowMs) / DAY_MS);
  const renew = `renew it: weft certificate ${name} --chain FILE --key FILE`;
  const used = usedBy.length > 0 ? ` (used by ${usedBy.join(', ')})` : '';
  const [state, message]: [CertificateStatus['state'], string] = isKeyless
    ? ['key-missing', `the key of certificate ${name}${used} cannot be opened: give it again`]
    : until <= nowMs
      ? ['expired', `certificate ${name}${used} has expired: ${renew}`]
      : until - nowMs < SOON_MS
        ? ['expires-soon', `certificate ${name}${used} expires in ${days} days: ${renew}`]
        : ['valid', ''];
  return {
    state,
    subject: subjectOf(first),
    issuer: first.issuer?.replaceAll('\n', ', ') ?? '',
    names: dnsNamesOf(first),
    validUntil: new Date(until).toISOString(),
    fingerprint: first.fingerprint256,
    usedBy,
    message,
  };
}

function usersOf({ services, pools }: Policies): Map<string, string[]> {
  const users = new Map<string, string[]>();
  const add = (user: string, references: readonly { kind: string; name: string }[]): void => {
    for (const { kind, name } of references) {
      if (kind !== 'certificate') continue;
      const known = users.get(name) ?? [];
      if (!known.includes(user)) known.push(user);
      users.set(name, known);
    }
  };
  for (const [name, { http }] of services) add(`virtual-service ${name}`, clientTlsReferences(http?.tls, ''));
  for (const [name, { tls }] of pools) add(`pool ${name}`, memberTlsReferences(tls, ''));
  return users;
}
