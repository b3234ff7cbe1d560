/** Arbitrary valid specs of every kind, made from the kinds' own schemas. */
import fc from 'fast-check';
import { fieldOf, type JsonSchema, jsonSchemaOf } from '../../src/policy/json-schema.ts';
import type { Kind } from '../../src/policy/kind.ts';

/** Specs that the kind accepts, with optional attributes and defaults present and missing. */
export function specsOf(kind: Kind): fc.Arbitrary<unknown> {
  return valuesOf(jsonSchemaOf(kind))
    .map((spec) => consistent(kind.name, spec))
    .filter((spec) => kind.spec.safeParse(spec).success);
}

export const names: fc.Arbitrary<string> = fc
  .stringMatching(/^[a-z][a-z0-9]{0,8}$/)
  .filter((name) => name !== 'constructor' && name !== 'prototype');

function valuesOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants) return fc.oneof(...variants.map(valuesOf));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'integer':
      return fc.integer({
        min: Math.max(schema.minimum ?? 0, 0),
        max: Math.min(schema.maximum ?? 1e9, 1e9),
      });
    case 'boolean':
      return fc.boolean();
    case 'string':
      return stringsOf(schema);
    case 'array':
      return fc.array(valuesOf(schema.items!), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 4, 4),
      });
    case 'object': {
      const properties = Object.entries(schema.properties ?? {});
      return fc.record(Object.fromEntries(properties.map(([name, field]) => [name, valuesOf(field)])), {
        requiredKeys: schema.required ?? [],
      });
    }
    default:
      throw new Error(`no values for ${JSON.stringify(schema)}`);
  }
}

function stringsOf(schema: JsonSchema): fc.Arbitrary<string> {
  switch (schema.format) {
    case 'ip':
      return fc.oneof(fc.ipV4(), fc.ipV6());
    case 'cidr':
      return fc
        .tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }))
        .map(([address, bits]) => `${address}/${bits}`);
    case 'port-range':
      return fc.integer({ min: 1, max: 65535 }).map(String);
    case 'name':
      return names;
  }
  if (schema.pattern) return fc.stringMatching(new RegExp(schema.pattern));
  return fc
    .string({ minLength: schema.minLength ?? 0, maxLength: 20 })
    .filter((text) => !/\p{Cc}/u.test(text));
}

/** What a JSON Schema cannot say: names that differ, one balancer, ranges inside their prefix. */
function consistent(kind: string, spec: unknown): unknown {
  const value = spec as Record<string, unknown>;
  if (kind === 'virtual-service') {
    number(value.tiers);
    handOn(value.tiers as SomeTier[]);
    const components = value.components as { type: string }[] | undefined;
    if (components) {
      const balancer = components.find(({ type }) => type === 'load-balancer') ?? { type: 'load-balancer' };
      value.components = [...components.filter(({ type }) => type !== 'load-balancer'), balancer];
    }
  }
  if (kind === 'firewall-policy') number(value.rules);
  if (kind === 'pool' && Object.keys(value.members as object).length === 0) value.members = { names: ['*'] };
  if (kind === 'pool' && value.autoscale !== undefined) bounded(value.autoscale as Record<string, unknown>);
  if (kind === 'engine-group') {
    value.dataAddresses = [{ prefix: '10.77.0.0/24', first: '10.77.0.201', last: '10.77.0.230' }];
    if (fieldOf(value, 'deadAfterMs') !== undefined) value.deadAfterMs = 86_400_000;
    if (fieldOf(value, 'probeIntervalMs') !== undefined) value.probeIntervalMs = 50;
  }
  return value;
}

/** A pool that scales has bounds in order, a size between them, and a target. */
function bounded(autoscale: Record<string, unknown>): void {
  const { min = 1, max } = autoscale as { min?: number; max: number };
  autoscale.max = Math.max(min, max);
  if (autoscale.size !== undefined) autoscale.size = autoscale.max;
  autoscale.targets = { ...(autoscale.targets as object | undefined), cpuPercent: 50 };
}

interface SomeTier {
  addresses?: string[];
  port: number;
  pool: string;
  handsOn?: unknown;
}

/** Tiers that hand on have one behind them, of the same port and another pool; the others have addresses. */
function handOn(tiers: SomeTier[] | undefined): void {
  tiers?.forEach((tier, index) => {
    tier.pool = `p${index}`;
    if (index === tiers.length - 1) delete tier.handsOn;
    const before = tiers[index - 1];
    if (before?.handsOn !== undefined) tier.port = before.port;
    else if (!tier.addresses?.length) tier.addresses = [`10.0.0.${index + 1}`];
  });
}

function number(items: unknown): void {
  (items as { name: string }[] | undefined)?.forEach((item, index) => {
    item.name = `n${index}`;
  });
}
