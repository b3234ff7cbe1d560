/**
 * The attributes of a kind as a flat table, read from its schema: what `weft spec`, docs/policy.md and the console
 * show. There is no second list of attributes anywhere.
 */
import { type JsonSchema, jsonSchemaOf, variantsOf } from './json-schema.ts';
import type { Kind } from './kind.ts';

export interface Attribute {
  /** Path inside `spec`: `tiers[].port`. */
  path: string;
  /** Last part of the path: `port`. */
  name: string;
  /** For people: `text`, `whole number`, `one of tcp, udp`, `list of text`. */
  type: string;
  /** Bounds of a number, length of a text or list: `1 to 65535`; empty where there are none. */
  range: string;
  /** `ms`, or empty. */
  unit: string;
  isRequired: boolean;
  /** JSON text of the default, or null where there is none. */
  default: string | null;
  meaning: string;
  /** The variants that have it, for example `type tcp or http`; empty where all have it. */
  when: string;
}

/** Every attribute of the kind's spec, parents before children, in the order of the schema. */
export function attributesOf(kind: Kind): Attribute[] {
  return fields(jsonSchemaOf(kind), '');
}

/** What a schema holds, in the words of {@link Attribute.type}. */
export function typeName(schema: JsonSchema): string {
  if (schema.enum) return `one of ${schema.enum.map(String).join(', ')}`;
  if (schema.const !== undefined) return String(schema.const);
  if (variantsOf(schema).length > 1) return 'mapping';
  switch (schema.type) {
    case 'array': {
      const item = schema.items ? typeName(schema.items) : 'values';
      return `list of ${item === 'mapping' ? 'mappings' : item}`;
    }
    case 'object':
      return 'mapping';
    case 'integer':
      return 'whole number';
    case 'number':
      return 'number';
    case 'boolean':
      return 'true or false';
    default:
      if (schema.format === 'ip') return 'IP address';
      if (schema.format === 'cidr') return 'address or prefix';
      if (schema.format === 'name') return 'name';
      if (schema.format === 'port-range') return 'port or port range';
      return 'text';
  }
}

function fields(schema: JsonSchema, prefix: string): Attribute[] {
  const variants = variantsOf(schema);
  const names = [...new Set(variants.flatMap((variant) => Object.keys(variant.properties ?? {})))];
  return names.flatMap((name) => {
    const having = variants.filter((variant) => variant.properties?.[name] !== undefined);
    const declared = having.map((variant) => variant.properties![name]!);
    const when = having.length < variants.length ? conditionOf(having) : '';
    const isRequired = having.every((variant) => variant.required?.includes(name) ?? false);
    const isDiscriminator = variants.length > 1 && declared.every((field) => field.const !== undefined);
    const first = declared[0]!;
    const path = `${prefix}${name}`;
    if (isDiscriminator) {
      const meaning = declared
        .map((field) => `\`${String(field.const)}\`: ${field.description ?? ''}`)
        .join(' ');
      const type = `one of ${declared.map((field) => String(field.const)).join(', ')}`;
      return [{ path, name, type, range: '', unit: '', isRequired, default: null, meaning, when }];
    }
    const attribute: Attribute = {
      path,
      name,
      type: typeName(first),
      range: rangeOf(first),
      unit: first.unit ?? '',
      isRequired,
      default: first.default === undefined ? null : JSON.stringify(first.default),
      meaning: first.description ?? first.items?.description ?? '',
      when,
    };
    return [attribute, ...childrenOf(first, path)];
  });
}

function childrenOf(schema: JsonSchema, path: string): Attribute[] {
  if (schema.type === 'array' && schema.items) return childrenOf(schema.items, `${path}[]`);
  return variantsOf(schema).some((variant) => variant.properties) ? fields(schema, `${path}.`) : [];
}

/** `type tcp or http`: the attribute that tells variants apart is the one with a single value in each. */
function conditionOf(variants: readonly JsonSchema[]): string {
  const [name = '', first] =
    Object.entries(variants[0]?.properties ?? {}).find(([, field]) => field.const !== undefined) ?? [];
  if (first === undefined) return '';
  const values = variants.map((variant) => String(variant.properties?.[name]?.const ?? ''));
  return `${name} ${values.join(' or ')}`;
}

function rangeOf(schema: JsonSchema): string {
  if (schema.format) return '';
  const [low, high] =
    schema.type === 'array'
      ? [schema.minItems, schema.maxItems]
      : schema.type === 'string'
        ? [schema.minLength, schema.maxLength]
        : [schema.minimum, schema.maximum];
  const word = schema.type === 'array' ? ' entries' : schema.type === 'string' ? ' characters' : '';
  const from = low === undefined || low === Number.MIN_SAFE_INTEGER ? undefined : low;
  const to = high === undefined || high === Number.MAX_SAFE_INTEGER ? undefined : high;
  if (from !== undefined && to !== undefined)
    return from === to ? `${from}${word}` : `${from} to ${to}${word}`;
  if (from !== undefined) return `at least ${from}${word}`;
  return to === undefined ? '' : `at most ${to}${word}`;
}
