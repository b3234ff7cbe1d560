/**
 * How objects hang together: references that lead nowhere, who refers to an object, and addresses claimed twice.
 * Pure; the API calls it with the objects as they would be after a change.
 */
import { isIPv6 } from 'node:net';
import type { Problem } from './errors.ts';
import type { Reference } from './kind.ts';
import { nearestName } from './nearest-name.ts';
import type { PoolSpec } from './pool.ts';
import { kindNamed } from './registry.ts';
import { poolsOf, type VirtualServiceSpec } from './virtual-service.ts';

/** What these functions need of an object. Specs are complete and valid. */
export interface PolicyItem {
  kind: string;
  name: string;
  spec: unknown;
}

export interface Referrer {
  kind: string;
  name: string;
  /** JSON path of the reference inside the referrer. */
  path: string;
}

/** Every reference that an object holds. */
export function referencesOf(item: PolicyItem): Reference[] {
  return kindNamed(item.kind).references(item.spec);
}

/** References of `items` to objects that are not there; `namesOf` lists those of a kind that are. */
export function missingReferences(
  items: readonly PolicyItem[],
  exists: (kind: string, name: string) => boolean,
  namesOf: (kind: string) => readonly string[] = () => [],
): Problem[] {
  return items.flatMap((item) =>
    referencesOf(item)
      .filter((reference) => !exists(reference.kind, reference.name))
      .map((reference) => ({
        path: reference.path,
        message: `refers to ${reference.kind} "${reference.name}", which does not exist: ${remedy(reference, namesOf)}`,
        where: `${item.kind} "${item.name}"`,
      })),
  );
}

function remedy({ kind, name }: Reference, namesOf: (kind: string) => readonly string[]): string {
  const nearest = nearestName(name, namesOf(kind));
  const create = 'create it first, or apply both together';
  return nearest === undefined ? create : `did you mean ${nearest}? Else ${create}`;
}

/** Which of `items` refer to that object. */
export function referrersOf(kind: string, name: string, items: readonly PolicyItem[]): Referrer[] {
  return items.flatMap((item) =>
    referencesOf(item)
      .filter((reference) => reference.kind === kind && reference.name === name)
      .map((reference) => ({ kind: item.kind, name: item.name, path: reference.path })),
  );
}

/** Tiers that claim an address, port and protocol which another tier has, in the same service or another. */
export function addressConflicts(services: readonly PolicyItem[]): Problem[] {
  const owners = new Map<string, string>();
  const problems: Problem[] = [];
  for (const service of services) {
    const spec = service.spec as VirtualServiceSpec;
    spec.tiers.forEach((tier, tierIndex) => {
      tier.addresses.forEach((address, index) => {
        const claim = `${spec.protocol} ${canonicalAddress(address)} ${tier.port}`;
        const owner = owners.get(claim);
        if (owner === undefined) {
          owners.set(claim, `tier "${tier.name}" of virtual-service "${service.name}"`);
          return;
        }
        problems.push({
          path: `$.spec.tiers[${tierIndex}].addresses[${index}]`,
          message: `${address} port ${tier.port}/${spec.protocol} belongs to ${owner}: choose another address or port`,
          where: `virtual-service "${service.name}"`,
        });
      });
    });
  }
  return problems;
}

/** What engines do not do for services with `http`, which `weft proxy` does: files of its machine, sets in its rules. */
export function uncarriedServices(items: readonly PolicyItem[]): Problem[] {
  const filed = new Set(
    items
      .filter(({ kind, spec }) => {
        const { authoritiesFile, certificateFile } = (kind === 'pool' && (spec as PoolSpec).tls) || {};
        return (authoritiesFile ?? certificateFile) !== undefined;
      })
      .map(({ name }) => name),
  );
  return items.flatMap((item): Problem[] => {
    if (item.kind !== 'virtual-service') return [];
    const spec = item.spec as VirtualServiceSpec;
    const { http } = spec;
    if (http === undefined) return [];
    const where = `virtual-service "${item.name}"`;
    const problems: Problem[] = [];
    const refuse = (path: string, why: string): void => {
      problems.push({
        path: `$.spec.${path}`,
        message: `is not carried by engines: ${why}; or run the service with \`weft proxy\``,
        where,
      });
    };
    http.tls?.certificates.forEach(({ certificate }, index) => {
      if (certificate === undefined)
        refuse(
          `http.tls.certificates[${index}].certificateFile`,
          'they have no files; give it by `weft certificate NAME --chain FILE --key FILE` and name it as certificate',
        );
    });
    if (http.tls?.clientCertificates?.authoritiesFile !== undefined)
      refuse(
        'http.tls.clientCertificates.authoritiesFile',
        'they have no files; name an authority-set as authorities',
      );
    if (http.sessionCookie?.keyFile !== undefined)
      refuse('http.sessionCookie.keyFile', 'the engines of a group have a key for cookies anyway');
    for (const pool of poolsOf(spec)) {
      if (filed.has(pool))
        refuse(
          'http',
          `the tls of pool "${pool}" names files, which they do not have; let it name an authority-set and a certificate`,
        );
    }
    return problems;
  });
}

/** One text per address, however it is written; an IPv4-mapped IPv6 address is the IPv4 address it maps. */
export function canonicalAddress(address: string): string {
  if (!isIPv6(address)) return address.toLowerCase();
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical);
  if (!mapped) return canonical;
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
