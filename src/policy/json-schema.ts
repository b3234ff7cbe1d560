/**
 * The JSON Schema of a kind's spec, derived from its zod schema: what describe.ts, problems.ts and the OpenAPI
 * document read, so that none of them depends on how zod keeps a schema.
 */
import { z } from 'zod';
import type { Kind } from './kind.ts';

/** The part of JSON Schema 2020-12 that the kinds use. */
export interface JsonSchema {
  type?: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object' | 'null';
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  format?: string;
  pattern?: string;
  /** Ours: the unit of a number. */
  unit?: string;
  /** A secret: it is taken, and never shown. */
  writeOnly?: boolean;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean;
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
}

const schemas = new WeakMap<Kind, JsonSchema>();

/** The schema of what a user may write as the spec of that kind (defaults may be left out). */
export function jsonSchemaOf(kind: Kind): JsonSchema {
  let schema = schemas.get(kind);
  if (!schema) {
    schema = z.toJSONSchema(kind.spec, { io: 'input' }) as JsonSchema;
    schemas.set(kind, schema);
  }
  return schema;
}

/** The alternatives of a union, or the schema itself where it is none. */
export function variantsOf(schema: JsonSchema): JsonSchema[] {
  return schema.oneOf ?? schema.anyOf ?? [schema];
}

/** The alternative whose constant fields (`type: tcp`) are those of `value`; undefined where none is. */
export function variantFor(schema: JsonSchema, value: unknown): JsonSchema | undefined {
  const variants = variantsOf(schema);
  if (variants.length === 1) return variants[0];
  return variants.find((variant) =>
    Object.entries(variant.properties ?? {}).every(
      ([name, field]) => field.const === undefined || fieldOf(value, name) === field.const,
    ),
  );
}

/** The schema at a path of `value`, or undefined where the schema has no such place. */
export function schemaAt(
  root: JsonSchema,
  value: unknown,
  path: readonly PropertyKey[],
): JsonSchema | undefined {
  let schema: JsonSchema | undefined = root;
  let at = value;
  for (const segment of path) {
    const variant: JsonSchema | undefined = variantFor(schema, at) ?? variantsOf(schema)[0];
    if (typeof segment === 'number') schema = variant?.items;
    else schema = ownField(variant?.properties, String(segment));
    if (!schema) return undefined;
    at = fieldOf(at, segment);
  }
  return schema;
}

/** An own field of an object or list; never one of its prototype. */
export function fieldOf(value: unknown, name: PropertyKey): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<PropertyKey, unknown>)[name]
    : undefined;
}

function ownField(fields: Record<string, JsonSchema> | undefined, name: string): JsonSchema | undefined {
  return fields && Object.hasOwn(fields, name) ? fields[name] : undefined;
}
