/** Whether certificates do what services and pools name them for: hosts of routes, usages, files that engines do not have. */
import type { CertificateSpec } from './certificate.ts';
import { certificatesIn, dnsNamesOf, isNameOf, mayServe } from './certificate-check.ts';
import type { Problem } from './errors.ts';
import type { PoolSpec } from './pool.ts';
import type { PolicyItem } from './refs.ts';
import type { VirtualServiceSpec } from './virtual-service.ts';

/** Problems of objects that are among `touched`, or name a certificate that is. Specs are complete and valid. */
export function certificateUseProblems(
  items: readonly PolicyItem[],
  touched: readonly { kind: string; name: string }[],
): Problem[] {
  const isTouched = (kind: string, name: string): boolean =>
    touched.some((one) => one.kind === kind && one.name === name);
  const certificates = new Map(
    items
      .filter(({ kind }) => kind === 'certificate')
      .map(({ name, spec }) => [name, spec as CertificateSpec]),
  );
  return items.flatMap((item): Problem[] => {
    const { kind, name } = item;
    const used = (names: readonly (string | undefined)[]): boolean =>
      isTouched(kind, name) || names.some((one) => one !== undefined && isTouched('certificate', one));
    if (kind === 'virtual-service') {
      const spec = item.spec as VirtualServiceSpec;
      const names = spec.http?.tls?.certificates.map(({ certificate }) => certificate) ?? [];
      return used(names) ? serviceProblems(name, spec, certificates) : [];
    }
    if (kind !== 'pool') return [];
    const certificate = (item.spec as PoolSpec).tls?.certificate;
    if (certificate === undefined || !used([certificate])) return [];
    const first = certificatesIn(certificates.get(certificate)?.chain ?? '')?.[0];
    if (first === undefined || mayServe(first, 'client')) return [];
    return [
      {
        path: '$.spec.tls.certificate',
        message: `names "${certificate}", which is not for clients (extended key usage): name one with clientAuth`,
        where: `pool "${name}"`,
      },
    ];
  });
}

function serviceProblems(
  name: string,
  { http }: VirtualServiceSpec,
  certificates: ReadonlyMap<string, CertificateSpec>,
): Problem[] {
  const where = `virtual-service "${name}"`;
  const problems: Problem[] = [];
  const known = new Set<string>();
  const shown: string[] = [];
  let isAllKnown = true;
  http?.tls?.certificates.forEach(({ certificate }, index) => {
    const first = certificatesIn(certificates.get(certificate ?? '')?.chain ?? '')?.[0];
    if (first === undefined) {
      isAllKnown = false;
      return;
    }
    const names = dnsNamesOf(first);
    for (const one of names) known.add(one);
    shown.push(`"${certificate}" has ${names.join(', ') || 'no DNS name'}`);
    if (mayServe(first, 'server')) return;
    problems.push({
      path: `$.spec.http.tls.certificates[${index}].certificate`,
      message: `names "${certificate}", which is not for servers (extended key usage): name one with serverAuth`,
      where,
    });
  });
  if (http?.tls === undefined || !isAllKnown) return problems;
  const all = [...known];
  http.routes.forEach(({ hosts }, route) => {
    hosts.forEach((host, at) => {
      if (host.startsWith('[') || isNameOf(all, host.toLowerCase())) return;
      problems.push({
        path: `$.spec.http.routes[${route}].hosts[${at}]`,
        message: `${host} is in no certificate of http.tls (${shown.join('; ')}): add one that has it, or take the host out`,
        where,
      });
    });
  });
  return problems;
}
