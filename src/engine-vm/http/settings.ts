/** From policy documents to what a proxy runs: the settings of one virtual service and the pool behind it. Pure. */
import { isIP } from 'node:net';
import { packPrefixes } from '../../packet/packed-prefixes.ts';
import type { AddressSetSpec } from '../../policy/address-set.ts';
import type { AuthoritySetSpec } from '../../policy/authority-set.ts';
import type { CertificateSpec } from '../../policy/certificate.ts';
import { WeftError } from '../../policy/errors.ts';
import type { HttpService } from '../../policy/http-service.ts';
import type { PolicyDocument } from '../../policy/parse.ts';
import type { HealthMonitor, PoolSpec } from '../../policy/pool.ts';
import type { VirtualServiceSpec } from '../../policy/virtual-service.ts';
import type { TlsSources } from '../tls/settings.ts';
import type { MemberSettings, ServiceSettings } from './service.ts';

/** An address and port in the place of what the policy says. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface SettingsOptions {
  /** The service; may be left out where there is one only. */
  readonly service?: string;
  /** In the place of the addresses and port of the tier. */
  readonly listen?: readonly Endpoint[];
  /** In the place of the members of the pool. */
  readonly members?: readonly Endpoint[];
}

export interface ProxyPlan {
  readonly settings: ServiceSettings;
  readonly healthMonitors: readonly HealthMonitor[];
  /** By the name of the pool, for those of routes. */
  readonly poolMonitors: ReadonlyMap<string, readonly HealthMonitor[]>;
  /** Certificates and authority sets of the files. */
  readonly sources: TlsSources;
  /** What the policy says and a proxy by itself does not do. */
  readonly notes: readonly string[];
}

/**
 * Members are the pool's `members.addresses`, each a single address: in an inventory they choose the VMs that have
 * them, so the same document serves both. Throws ERR_POLICY_INVALID, ERR_NOT_FOUND.
 */
export function planProxy(documents: readonly PolicyDocument[], options: SettingsOptions): ProxyPlan {
  const service = chooseService(documents, options.service);
  const spec = service.spec as VirtualServiceSpec;
  const name = `virtual-service "${service.name}"`;
  if (spec.http === undefined) {
    throw invalid(
      `${name}: $.spec.http is required: without it the service is balanced by flow; \`http: {}\` will do`,
    );
  }
  if (!spec.isEnabled) throw invalid(`${name} is disabled (isEnabled: false): enable it to run it`);
  const tier = spec.tiers[0]!;
  const poolSpec = poolOf(documents, name, tier.pool);
  const further = [...new Set(spec.http.routes.map(({ pool }) => pool))]
    .filter((pool) => pool !== tier.pool)
    .map((pool) => ({ name: pool, spec: poolOf(documents, name, pool) }));
  const balancer = spec.components.find((component) => component.type === 'load-balancer')!;
  const notes: string[] = [];
  const persistence = balancer.type === 'load-balancer' ? balancer.persistence : undefined;
  for (const component of spec.components) {
    if (component.type === 'firewall') {
      throw invalid(
        `${name}: firewall policy "${component.policy}" is not judged by \`weft proxy\`: take it out`,
      );
    }
  }
  if (spec.tiers.length > 1)
    notes.push(`only tier "${tier.name}" is run; members reach the other tiers themselves`);
  return {
    settings: {
      name: service.name,
      tier: tier.name,
      listeners: options.listen?.length
        ? options.listen
        : tier.addresses.map((address) => ({ address, port: tier.port })),
      method: balancer.type === 'load-balancer' ? balancer.method : 'topological',
      members: options.members?.length
        ? options.members.map(({ address, port }) => member(address, port, 1, false))
        : membersOf(tier.pool, poolSpec),
      pools: further.map(({ name: poolName, spec: { tls }, spec: own }) => ({
        name: poolName,
        members: membersOf(poolName, own),
        ...(tls === undefined ? {} : { poolTls: tls }),
      })),
      ...(poolSpec.tls === undefined ? {} : { poolTls: poolSpec.tls }),
      http: spec.http,
      ...(persistence === undefined || persistence.type === 'none' ? {} : { persistence }),
      addressSets: addressSetsOf(documents, name, spec.http),
    },
    healthMonitors: poolSpec.healthMonitors,
    poolMonitors: new Map(further.map((pool) => [pool.name, pool.spec.healthMonitors])),
    sources: sourcesOf(documents),
    notes,
  };
}

function sourcesOf(documents: readonly PolicyDocument[]): TlsSources {
  const find = (kind: string, name: string) =>
    documents.find((one) => one.kind === kind && one.name === name)?.spec;
  return {
    certificate: (name) => {
      const spec = find('certificate', name) as CertificateSpec | undefined;
      return spec?.key === undefined ? undefined : { chain: spec.chain, key: spec.key, ocsp: spec.ocsp };
    },
    authorities: (name) => find('authority-set', name) as AuthoritySetSpec | undefined,
  };
}

function poolOf(documents: readonly PolicyDocument[], service: string, name: string): PoolSpec {
  const pool = documents.find((one) => one.kind === 'pool' && one.name === name);
  if (pool !== undefined) return pool.spec as PoolSpec;
  throw new WeftError(
    'ERR_NOT_FOUND',
    `${service} needs pool "${name}", which the files do not hold: add it`,
  );
}

/** The address sets that access rules name. */
function addressSetsOf(
  documents: readonly PolicyDocument[],
  service: string,
  { accessRules }: HttpService,
): Record<string, string> {
  const names = new Set((accessRules?.rules ?? []).flatMap(({ fromSets }) => fromSets));
  const entries = [...names].map((name): [string, string] => {
    const set = documents.find((one) => one.kind === 'address-set' && one.name === name);
    if (set !== undefined) return [name, packPrefixes((set.spec as AddressSetSpec).prefixes)];
    throw new WeftError(
      'ERR_NOT_FOUND',
      `${service} needs address-set "${name}", which the files do not hold: add it`,
    );
  });
  return Object.fromEntries(entries);
}

function chooseService(documents: readonly PolicyDocument[], name: string | undefined): PolicyDocument {
  const services = documents.filter(({ kind }) => kind === 'virtual-service');
  const names = services.map((one) => one.name).join(', ');
  if (name !== undefined) {
    const found = services.find((one) => one.name === name);
    if (found !== undefined) return found;
    throw new WeftError(
      'ERR_NOT_FOUND',
      `the files hold no virtual-service "${name}"; they hold ${names || 'none'}`,
    );
  }
  if (services.length === 1) return services[0]!;
  if (services.length === 0)
    throw new WeftError('ERR_NOT_FOUND', 'the files hold no virtual-service: add one');
  throw invalid(`the files hold several virtual services (${names}): say which by --service`);
}

function membersOf(name: string, spec: PoolSpec): MemberSettings[] {
  const addresses = spec.members.addresses ?? [];
  const prefix = addresses.find((address) => isIP(address) === 0);
  if (addresses.length === 0 || prefix !== undefined) {
    const why = prefix === undefined ? 'names no address' : `${prefix} is no single address`;
    throw invalid(
      `pool "${name}": $.spec.members.addresses: ${why}; without an inventory the members are the addresses listed there, or those of --member`,
    );
  }
  return addresses.map((address) => {
    const weight = spec.weights.find(({ names }) => fits(names, address))?.weight ?? 1;
    return member(
      address,
      spec.port,
      weight,
      spec.drain.some((names) => fits(names, address)),
    );
  });
}

function member(address: string, port: number, weight: number, isDraining: boolean): MemberSettings {
  const name = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return { name, address, port, weight, isDraining };
}

/** Patterns are over names of VMs; here the address stands for the name. */
function fits(pattern: string, address: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 'i').test(address);
}

function invalid(message: string): WeftError {
  return new WeftError('ERR_POLICY_INVALID', message);
}
