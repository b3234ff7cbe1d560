/** What a graph names of certificates and authority sets. Pure: keys are not among it, they go their own way (key-delivery.ts). */
import { createHash } from 'node:crypto';
import type { AuthoritySetSpec } from '../policy/authority-set.ts';
import type { CertificateSpec } from '../policy/certificate.ts';
import type { GraphTls } from '../policy/graph.ts';
import { clientTlsReferences } from '../policy/http-tls.ts';
import { memberTlsReferences } from '../policy/pool-tls.ts';
import type { VirtualServiceSpec } from '../policy/virtual-service.ts';
import type { Policies } from './policies.ts';

const hashes = new WeakMap<object, string>();

/** Equal for equal content. A key belongs to one certificate, so the chain stands for it, too. */
export function tlsHash(spec: CertificateSpec | AuthoritySetSpec): string {
  let hash = hashes.get(spec);
  if (hash === undefined) {
    const { description: _text, ...content } = spec;
    hash = createHash('sha256').update(JSON.stringify(content)).digest('base64');
    hashes.set(spec, hash);
  }
  return hash;
}

/** What proxied services of a graph and their pools name, each once, in order. */
export function tlsOf(
  services: readonly { spec: VirtualServiceSpec }[],
  pools: readonly string[],
  policies: Policies,
): { tls?: GraphTls[] } {
  const proxied = services.filter(({ spec }) => spec.http !== undefined);
  if (proxied.length === 0) return {};
  const references = [
    ...proxied.flatMap(({ spec }) => clientTlsReferences(spec.http?.tls, '')),
    ...pools.flatMap((name) => memberTlsReferences(policies.pools.get(name)?.tls, '')),
  ];
  const named = new Map(references.map((one) => [`${one.kind}/${one.name}`, one]));
  const tls = [...named.keys()].sort().flatMap((key): GraphTls[] => {
    const { kind, name } = named.get(key)!;
    const isCertificate = kind === 'certificate';
    const spec = isCertificate ? policies.certificates.get(name) : policies.authoritySets.get(name);
    if (spec === undefined) return [];
    return [{ kind: isCertificate ? 'certificate' : 'authority-set', name, hash: tlsHash(spec) }];
  });
  return tls.length > 0 ? { tls } : {};
}
