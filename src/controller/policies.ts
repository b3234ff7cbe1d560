/** The policies as the controller reads them from the store: parsed by kind, with defaults filled in. */
import { AddressSetSpec } from '../policy/address-set.ts';
import { AuthoritySetSpec } from '../policy/authority-set.ts';
import { CertificateSpec } from '../policy/certificate.ts';
import { CloudSpec } from '../policy/cloud.ts';
import { EngineGroupSpec } from '../policy/engine-group.ts';
import { FirewallPolicySpec } from '../policy/firewall-policy.ts';
import { PoolSpec } from '../policy/pool.ts';
import type { PolicyItem } from '../policy/refs.ts';
import { KINDS } from '../policy/registry.ts';
import { VirtualServiceSpec } from '../policy/virtual-service.ts';
import type { Entry } from '../state/store.ts';

export interface Policies {
  clouds: ReadonlyMap<string, CloudSpec>;
  groups: ReadonlyMap<string, EngineGroupSpec>;
  pools: ReadonlyMap<string, PoolSpec>;
  addressSets: ReadonlyMap<string, AddressSetSpec>;
  certificates: ReadonlyMap<string, CertificateSpec>;
  authoritySets: ReadonlyMap<string, AuthoritySetSpec>;
  firewalls: ReadonlyMap<string, FirewallPolicySpec>;
  services: ReadonlyMap<string, VirtualServiceSpec>;
  /** Objects that are stored but cannot be used, with the reason. */
  unreadable: readonly { kind: string; name: string; message: string }[];
}

/** The store prefix under which the API keeps specs: `policy/<kind>/<name>`. */
export const POLICY_PREFIX = 'policy/';

/** Parses stored specs. One that does not parse is left out and named in `unreadable`; it never stops the others. */
export function parsePolicies(entries: readonly Entry[]): Policies {
  const clouds = new Map<string, CloudSpec>();
  const groups = new Map<string, EngineGroupSpec>();
  const pools = new Map<string, PoolSpec>();
  const addressSets = new Map<string, AddressSetSpec>();
  const certificates = new Map<string, CertificateSpec>();
  const authoritySets = new Map<string, AuthoritySetSpec>();
  const firewalls = new Map<string, FirewallPolicySpec>();
  const services = new Map<string, VirtualServiceSpec>();
  const unreadable: { kind: string; name: string; message: string }[] = [];
  for (const { key, value } of entries) {
    const [kind, name] = split(key);
    if (kind === undefined || name === undefined || !KINDS.some((known) => known.name === kind)) continue;
    const keep = <Spec>(
      schema: {
        safeParse(
          value: unknown,
        ): { success: true; data: Spec } | { success: false; error: { message: string } };
      },
      into: Map<string, Spec>,
    ): void => {
      const parsed = schema.safeParse(value);
      if (parsed.success) into.set(name, parsed.data);
      else
        unreadable.push({ kind, name, message: `${kind} ${name} cannot be read: ${parsed.error.message}` });
    };
    if (kind === 'cloud') keep(CloudSpec, clouds);
    else if (kind === 'engine-group') keep(EngineGroupSpec, groups);
    else if (kind === 'pool') keep(PoolSpec, pools);
    else if (kind === 'address-set') keep(AddressSetSpec, addressSets);
    else if (kind === 'certificate') keep(CertificateSpec, certificates);
    else if (kind === 'authority-set') keep(AuthoritySetSpec, authoritySets);
    else if (kind === 'firewall-policy') keep(FirewallPolicySpec, firewalls);
    else if (kind === 'virtual-service') keep(VirtualServiceSpec, services);
  }
  return { clouds, groups, pools, addressSets, certificates, authoritySets, firewalls, services, unreadable };
}

/** Stored objects as they are referred to, those that cannot be read left out. */
export function itemsOf(entries: readonly Entry[], { unreadable }: Policies): PolicyItem[] {
  return entries.flatMap(({ key, value }): PolicyItem[] => {
    const [kind, name] = split(key);
    if (kind === undefined || name === undefined || !KINDS.some((known) => known.name === kind)) return [];
    if (unreadable.some((one) => one.kind === kind && one.name === name)) return [];
    return [{ kind, name, spec: value }];
  });
}

function split(key: string): [string | undefined, string | undefined] {
  const [, kind, name] = key.split('/');
  return [kind, name];
}
