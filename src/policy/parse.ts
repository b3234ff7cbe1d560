/**
 * From text or plain values to policy documents that are known to be well-formed: the only way in for users' policy.
 *
 * A document is `{ kind, name, spec }`. What `weft get -o yaml` prints is a document too: `revision` is kept and
 * checked against the store, `status` is ignored.
 */
import { Name } from './attributes.ts';
import { type Problem, WeftError } from './errors.ts';
import { fieldOf, jsonSchemaOf } from './json-schema.ts';
import { FORBIDDEN_NAMES } from './json-text.ts';
import type { Kind } from './kind.ts';
import { nearestName } from './nearest-name.ts';
import { jsonPath, problemsOf, shown } from './problems.ts';
import { KINDS, kindNamed } from './registry.ts';
import { parseYaml } from './yaml-text.ts';

/** The largest text or request body that holds policy, in bytes. */
export const MAX_TEXT_BYTES = 8 << 20;

/** One object as a user wants it: the spec is complete, defaults filled in. */
export interface PolicyDocument {
  kind: string;
  name: string;
  spec: unknown;
  /** The revision that the user read; 0 where the object must not exist yet. Not checked where it is missing. */
  revision?: number;
  /** Where it was written: `shop.yaml:12`. */
  where?: string;
}

/** Names an object without saying what it should be: the target of a deletion. */
export interface ObjectName {
  kind: string;
  name: string;
}

const FIELDS = ['kind', 'name', 'spec', 'revision', 'status'] as const;

/**
 * Every document of a YAML or JSON text; several YAML documents, and lists of documents, are allowed.
 * `source` names the text in errors, for example its file. Throws ERR_BODY_TOO_LARGE, ERR_BODY_INVALID,
 * ERR_KIND_UNKNOWN, ERR_POLICY_INVALID.
 */
export function parseDocuments(text: string, source: string): PolicyDocument[] {
  return collect(text, source, checkDocument);
}

/** Only the kinds and names of the documents of a text: enough for a deletion, also of specs no longer valid. */
export function parseObjectNames(text: string, source: string): ObjectName[] {
  return collect(text, source, (value, at) => {
    const { kind, name } = checkObjectName(value, at);
    return { kind: kind.name, name };
  });
}

/**
 * Checks one plain value, for example a request body. `root` is the JSON path that stands for the value itself.
 * Throws ERR_KIND_UNKNOWN or ERR_POLICY_INVALID.
 */
export function checkDocument(value: unknown, at: Place = {}): PolicyDocument {
  const { kind, name } = checkObjectName(value, at);
  const problems: Problem[] = [];
  const note = (path: string, message: string): void => {
    problems.push(problem(at, [path], message, `${at.root ?? '$'}.${path}`));
  };
  for (const field of Object.keys(value as object)) {
    if ((FIELDS as readonly string[]).includes(field)) continue;
    const nearest = nearestName(field, FIELDS);
    problems.push(
      problem(
        at,
        [field],
        `is an unknown field; ${nearest === undefined ? `the fields are ${FIELDS.join(', ')}` : `did you mean ${nearest}?`}`,
        jsonPath(at.root ?? '$', [field]),
      ),
    );
  }
  const revision = fieldOf(value, 'revision');
  if (revision !== undefined && !(Number.isSafeInteger(revision) && (revision as number) >= 0)) {
    note('revision', `expected the number that was read, or none, found ${shown(revision)}`);
  }
  const spec = fieldOf(value, 'spec');
  if (spec === undefined) note('spec', `is required: expected the attributes of the ${kind.name}`);
  const checked = spec === undefined ? { spec, problems: [] } : checkSpec(kind, spec, at);
  problems.push(...checked.problems);
  if (problems.length > 0) throw invalid(`${kind.name} "${name}"`, at, problems);
  return {
    kind: kind.name,
    name,
    spec: checked.spec,
    ...(revision === undefined ? {} : { revision: revision as number }),
    ...(at.where === undefined ? {} : { where: at.where }),
  };
}

/** Checks the kind and the name of a document. Throws ERR_KIND_UNKNOWN or ERR_POLICY_INVALID. */
export function checkObjectName(value: unknown, at: Place = {}): { kind: Kind; name: string } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('the document', at, [
      problem(at, [], `expected a mapping with kind, name and spec, found ${shown(value)}`, at.root ?? '$'),
    ]);
  }
  const kindName = fieldOf(value, 'kind');
  if (typeof kindName !== 'string') {
    throw invalid('the document', at, [
      problem(
        at,
        ['kind'],
        `expected one of ${KINDS.map(({ name }) => name).join(', ')}, found ${shown(kindName)}`,
        `${at.root ?? '$'}.kind`,
      ),
    ]);
  }
  let kind: Kind;
  try {
    kind = kindNamed(kindName);
  } catch (error) {
    throw at.where === undefined || !(error instanceof WeftError)
      ? error
      : new WeftError(error.code, `${at.where}: ${error.message}`, { cause: error });
  }
  const name = fieldOf(value, 'name');
  const nameProblem = nameProblemOf(name);
  if (nameProblem !== null) {
    throw invalid(`the ${kind.name}`, at, [problem(at, ['name'], nameProblem, `${at.root ?? '$'}.name`)]);
  }
  return { kind, name: name as string };
}

/** What is wrong with an object name, or null. */
export function nameProblemOf(name: unknown): string | null {
  if (name === undefined) return 'is required: expected the name of the object';
  const result = Name.safeParse(name);
  if (result.success && !FORBIDDEN_NAMES.has(result.data)) return null;
  const why = result.success ? 'is a reserved word' : result.error.issues[0]!.message;
  return `${typeof name === 'string' ? why : 'expected text'}, found ${shown(name)}`;
}

/** Where a value stands, for error messages. */
export interface Place {
  /** The JSON path of the value; `$` where none is given. */
  root?: string;
  /** `shop.yaml:12`, for the whole document. */
  where?: string;
  /** The same for one place of it. */
  lineOf?(path: readonly PropertyKey[]): string;
}

/** Fills the defaults of a spec in, or says what is wrong with it. */
export function checkSpec(kind: Kind, spec: unknown, at: Place = {}): { spec: unknown; problems: Problem[] } {
  const root = `${at.root ?? '$'}.spec`;
  const problems = forbidden(spec, ['spec'], at, kind.texts);
  const result = kind.spec.safeParse(spec);
  if (result.success) return { spec: result.data, problems };
  const found = problemsOf(jsonSchemaOf(kind), spec, result.error.issues, root, (path) =>
    whereOf(at, ['spec', ...path]),
  );
  return { spec, problems: [...problems, ...found] };
}

function collect<Item>(text: string, source: string, check: (value: unknown, at: Place) => Item): Item[] {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_TEXT_BYTES) {
    throw new WeftError(
      'ERR_BODY_TOO_LARGE',
      `${source} has ${bytes} bytes; at most ${MAX_TEXT_BYTES} are read: split it`,
    );
  }
  const items = parseYaml(text, source).flatMap((document) => {
    const isList = Array.isArray(document.value);
    const values: unknown[] = Array.isArray(document.value) ? document.value : [document.value];
    return values.map((value, index) => {
      const prefix: PropertyKey[] = isList ? [index] : [];
      const lineOf = (path: readonly PropertyKey[]): string =>
        `${source}:${document.lineOf([...prefix, ...path])}`;
      return check(value, { root: jsonPath('$', prefix), where: lineOf([]), lineOf });
    });
  });
  if (items.length === 0) {
    throw new WeftError('ERR_BODY_INVALID', `${source} holds no policy document (kind, name, spec)`);
  }
  return items;
}

/** Control characters in text, and names that reach a prototype: refused in every kind alike. `texts` may have lines. */
function forbidden(
  value: unknown,
  path: readonly PropertyKey[],
  at: Place,
  texts: readonly string[] = [],
): Problem[] {
  if (typeof value === 'string') {
    const isText = path.length === 2 && texts.includes(path[1] as string);
    return /\p{Cc}/u.test(isText ? value.replaceAll(/[\t\r\n]/g, '') : value)
      ? [
          problem(
            at,
            path,
            `must not hold control characters, found ${shown(value)}`,
            jsonPath(at.root ?? '$', path),
          ),
        ]
      : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value))
    return value.flatMap((item, index) => forbidden(item, [...path, index], at, texts));
  return Object.entries(value).flatMap(([name, field]) =>
    FORBIDDEN_NAMES.has(name)
      ? [problem(at, path, `must not hold the name ${shown(name)}`, jsonPath(at.root ?? '$', path))]
      : forbidden(field, [...path, name], at, texts),
  );
}

function problem(at: Place, path: readonly PropertyKey[], message: string, jsonPathText: string): Problem {
  const where = whereOf(at, path);
  return { path: jsonPathText, message, ...(where === undefined ? {} : { where }) };
}

function whereOf(at: Place, path: readonly PropertyKey[]): string | undefined {
  return at.lineOf?.(path) ?? at.where;
}

function invalid(what: string, at: Place, problems: readonly Problem[]): WeftError {
  const first = problems[0]!;
  const place = first.where ?? at.where;
  const rest = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return new WeftError(
    'ERR_POLICY_INVALID',
    `${place === undefined ? '' : `${place}: `}${what} is not valid: ${first.path} ${first.message}${rest}`,
    { problems },
  );
}
