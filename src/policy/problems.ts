/**
 * What is wrong with a spec, for people: turns the issues of the schema check into problems that name the JSON path,
 * what was expected, what was found, and the name that was probably meant.
 */
import type { z } from 'zod';
import type { Problem } from './errors.ts';
import { fieldOf, type JsonSchema, schemaAt, variantFor, variantsOf } from './json-schema.ts';
import { nearestName } from './nearest-name.ts';

type Issue = z.core.$ZodIssue;

/**
 * Problems of `value` against `schema`. `root` is the JSON path of `value` itself, for example `$.spec`;
 * `where` says in which line of which file a place stands.
 */
export function problemsOf(
  schema: JsonSchema,
  value: unknown,
  issues: readonly Issue[],
  root: string,
  where?: (path: readonly PropertyKey[]) => string | undefined,
): Problem[] {
  return issues.flatMap((issue) =>
    findingsOf(schema, value, issue).map(({ path, message }) => {
      const place = where?.(path);
      return { path: jsonPath(root, path), message, ...(place === undefined ? {} : { where: place }) };
    }),
  );
}

/** `$.spec` and `['tiers', 0, 'port']` give `$.spec.tiers[0].port`. */
export function jsonPath(root: string, path: readonly PropertyKey[]): string {
  let text = root;
  for (const segment of path) {
    if (typeof segment === 'number') text += `[${segment}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(String(segment))) text += `.${String(segment)}`;
    else text += `[${shown(String(segment))}]`;
  }
  return text;
}

/** A value as an error message shows it: one line, no control characters, at most some 60 characters. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'a mapping';
  // Of a key that stands in the wrong place nothing is shown.
  if (typeof value === 'string' && value.includes('PRIVATE KEY')) return 'a private key';
  const isLong = typeof value === 'string' && value.length > 60;
  return escaped(JSON.stringify(isLong ? `${(value as string).slice(0, 57)}...` : value) ?? String(value));
}

/** The message of somebody else's error: one line, no control characters, at most some 200 characters. */
export function foreignMessage(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const line = message.replace(/\s+/g, ' ').trim();
  return escaped(line.length > 200 ? `${line.slice(0, 197)}...` : line);
}

// JSON escapes the C0 controls only; C1 controls and bidirectional overrides would still reach a terminal or a log.
function escaped(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What a schema accepts, as the words after `expected`. */
export function expectation(schema: JsonSchema): string {
  const variants = variantsOf(schema);
  if (variants.length > 1) {
    const types = variants.map((variant) => String(variant.properties?.type?.const ?? variant.type));
    return `a mapping whose type is one of ${types.join(', ')}`;
  }
  if (schema.enum) return `one of ${schema.enum.map(String).join(', ')}`;
  if (schema.const !== undefined) return shown(schema.const);
  switch (schema.type) {
    case 'integer':
    case 'number':
      return `${schema.type === 'integer' ? 'a whole number' : 'a number'}${bounds(schema.minimum, schema.maximum)}${schema.unit ? ` (${schema.unit})` : ''}`;
    case 'boolean':
      return 'true or false';
    case 'string':
      if (schema.format === 'ip') return 'an IPv4 or IPv6 address';
      if (schema.format === 'cidr') return 'an address or a prefix such as 10.0.0.0/8';
      return schema.minLength ? 'text that is not empty' : 'text';
    case 'array':
      return `a list${bounds(schema.minItems, schema.maxItems, ' of')}`;
    case 'object':
      return `a mapping with the fields ${Object.keys(schema.properties ?? {}).join(', ')}`;
    default:
      return 'something else';
  }
}

interface Finding {
  path: readonly PropertyKey[];
  message: string;
}

function findingsOf(schema: JsonSchema, value: unknown, issue: Issue): Finding[] {
  const path = issue.path;
  const found = path.reduce<unknown>((at, segment) => fieldOf(at, segment), value);
  const place = schemaAt(schema, value, path);
  const seen = place?.writeOnly === true && found !== undefined ? 'something else' : shown(found);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const fields = Object.keys((place && variantFor(place, found))?.properties ?? {});
      return issue.keys.map((key) => {
        const nearest = nearestName(key, fields);
        const hint =
          nearest === undefined ? `the fields are ${fields.join(', ')}` : `did you mean ${nearest}?`;
        return { path: [...path, key], message: `is an unknown field; ${hint}` };
      });
    }
    case 'invalid_union': {
      // The discriminator is missing or none of the known ones: zod points at the discriminator itself.
      const union = schemaAt(schema, value, issue.path.slice(0, -1));
      const field = issue.path.at(-1);
      const types = (union ? variantsOf(union) : []).flatMap((variant) =>
        typeof field === 'string' ? (variant.properties?.[field]?.const ?? []) : [],
      );
      return [{ path, message: choice(types.map(String), found) }];
    }
    case 'invalid_value':
      return [{ path, message: choice(issue.values.map(String), found) }];
    case 'custom':
    case 'invalid_format':
      return [{ path, message: `${issue.message}${isScalar(found) ? `, found ${seen}` : ''}` }];
    default: {
      const expected = place ? expectation(place) : issue.message;
      if (found === undefined) return [{ path, message: `is required: expected ${expected}` }];
      const needsQuotes =
        place?.type === 'string' &&
        place.writeOnly !== true &&
        (typeof found === 'number' || typeof found === 'boolean');
      return [
        {
          path,
          message: `expected ${expected}, found ${seen}${needsQuotes ? `; write it in quotes: "${found}"` : ''}`,
        },
      ];
    }
  }
}

function choice(values: readonly string[], found: unknown): string {
  const expected = `expected one of ${values.join(', ')}`;
  if (found === undefined) return `is required: ${expected}`;
  const nearest = typeof found === 'string' ? nearestName(found, values) : undefined;
  return `${expected}, found ${shown(found)}${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
}

function bounds(from: number | undefined, to: number | undefined, word = ' from'): string {
  const low = from === undefined || from <= Number.MIN_SAFE_INTEGER ? undefined : from;
  const high = to === undefined || to >= Number.MAX_SAFE_INTEGER ? undefined : to;
  if (low !== undefined && high !== undefined) return `${word} ${low} to ${high}`;
  if (low !== undefined) return word === ' from' ? ` of at least ${low}` : ` of ${low} or more`;
  if (high !== undefined) return ` of at most ${high}`;
  return '';
}

function isScalar(value: unknown): boolean {
  return value !== undefined && (typeof value !== 'object' || value === null);
}
