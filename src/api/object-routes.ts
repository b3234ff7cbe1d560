/** Reading and changing objects: GET, PUT, DELETE of each kind, and POST /api/v1/apply for several at once. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Problem, WeftError } from '../policy/errors.ts';
import { fieldOf } from '../policy/json-schema.ts';
import type { Kind } from '../policy/kind.ts';
import { checkDocument, checkObjectName, nameProblemOf } from '../policy/parse.ts';
import { shown } from '../policy/problems.ts';
import { kindNamed } from '../policy/registry.ts';
import type { PolicyChange, PolicyStore, Precondition } from './policy-store.ts';

/** The most objects that one request may change. */
const MAX_CHANGES = 1000;

/** Adds the routes. They match any kind, so add routes with fixed names as well; those win. */
export function addObjectRoutes(app: FastifyInstance, objects: PolicyStore): void {
  app.get('/api/v1/:kind', async (request) => {
    const kind = kindNamed(parameter(request, 'kind'));
    const revision = objects.revision;
    return { kind: kind.name, revision, items: await objects.list(kind) };
  });

  app.get('/api/v1/:kind/:name', async (request, reply) => {
    const { kind, name } = target(request);
    const object = await objects.get(kind, name);
    reply.header('etag', `"${object.revision}"`);
    return object;
  });

  app.put('/api/v1/:kind/:name', async (request, reply) => {
    const { kind, name } = target(request);
    const document = checkDocument(bodyFor(request.body, kind, name));
    const { kind: kindName, spec, revision } = document;
    const [result] = await objects.change([
      { kind: kindName, name, spec, revision: precondition(request, revision) },
    ]);
    if (result!.result !== 'unchanged') audit(request, [result!]);
    const object = await objects.get(kind, name);
    reply.code(result!.result === 'created' ? 201 : 200).header('etag', `"${object.revision}"`);
    return object;
  });

  app.delete('/api/v1/:kind/:name', async (request, reply) => {
    const { kind, name } = target(request);
    const results = await objects.change([
      { kind: kind.name, name, delete: true, revision: precondition(request, undefined) },
    ]);
    audit(request, results);
    reply.code(204);
  });

  app.post('/api/v1/apply', async (request) => {
    const isDryRun = isTrue(fieldOf(request.query, 'dryRun'));
    const results = await objects.change(changesOf(request.body), isDryRun);
    const changed = results.filter(({ result }) => result !== 'unchanged');
    if (!isDryRun && changed.length > 0) audit(request, changed);
    return { revision: objects.revision, isDryRun, results };
  });
}

/**
 * The changes that a request body asks for: a list (or `{ documents: list }`) of documents `{ kind, name, spec }` and
 * of deletions `{ kind, name, delete: true }`. Throws ERR_BODY_INVALID, or ERR_POLICY_INVALID with every problem of every document.
 */
export function changesOf(requestBody: unknown): PolicyChange[] {
  const body = fieldOf(requestBody, 'documents') ?? requestBody;
  if (!Array.isArray(body)) {
    throw new WeftError('ERR_BODY_INVALID', `expected a list of documents in the body, found ${shown(body)}`);
  }
  if (body.length > MAX_CHANGES) {
    throw new WeftError(
      'ERR_BODY_TOO_LARGE',
      `at most ${MAX_CHANGES} objects change at once, found ${body.length}`,
    );
  }
  const problems: Problem[] = [];
  let firstError: WeftError | undefined;
  const changes = body.flatMap((value: unknown, index): PolicyChange[] => {
    try {
      const root = `$[${index}]`;
      if (fieldOf(value, 'delete') === true) {
        const { kind, name } = checkObjectName(value, { root });
        return [{ kind: kind.name, name, delete: true }];
      }
      const { kind, name, spec, revision } = checkDocument(value, { root });
      return [{ kind, name, spec, revision }];
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      firstError ??= error;
      problems.push(...error.problems);
      return [];
    }
  });
  if (firstError) throw new WeftError(firstError.code, firstError.message, { cause: firstError, problems });
  return changes;
}

/** A parameter of the path or query that was decoded by the router. */
export function parameter(request: FastifyRequest, name: string): string {
  return String(fieldOf(request.params, name) ?? '');
}

function target(request: FastifyRequest): { kind: Kind; name: string } {
  const kind = kindNamed(parameter(request, 'kind'));
  const name = parameter(request, 'name');
  const problem = nameProblemOf(name);
  if (problem !== null) {
    throw new WeftError('ERR_POLICY_INVALID', `the name in the path ${problem}`, {
      problems: [{ path: '$.name', message: problem }],
    });
  }
  return { kind, name };
}

/** The body of a PUT with the kind and name of its path, which it need not repeat but must not contradict. */
function bodyFor(body: unknown, kind: Kind, name: string): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new WeftError('ERR_BODY_INVALID', `expected { "spec": ... } in the body, found ${shown(body)}`);
  }
  for (const [field, wanted] of [
    ['kind', kind.name],
    ['name', name],
  ] as const) {
    const given = fieldOf(body, field);
    if (given !== undefined && given !== wanted) {
      const message = `is ${shown(given)}, but the path says ${shown(wanted)}`;
      throw new WeftError('ERR_POLICY_INVALID', `the ${field} in the body ${message}`, {
        problems: [{ path: `$.${field}`, message }],
      });
    }
  }
  return { ...body, kind: kind.name, name };
}

/** If-Match, If-None-Match: * and the revision in the body, which must not contradict each other. */
function precondition(request: FastifyRequest, bodyRevision: number | undefined): Precondition {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  let wanted: Precondition;
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() !== '*' || ifMatch !== undefined) {
      throw new WeftError('ERR_BODY_INVALID', 'If-None-Match takes * only, and not together with If-Match');
    }
    wanted = 0;
  } else if (ifMatch !== undefined) {
    const match = /^\s*(?:\*|"?(\d{1,15})"?)\s*$/.exec(ifMatch);
    if (!match) throw new WeftError('ERR_BODY_INVALID', 'If-Match takes * or one revision, as in the ETag');
    wanted = match[1] === undefined ? 'any' : Number(match[1]);
  }
  if (bodyRevision === undefined) return wanted;
  if (wanted === 'any' ? bodyRevision === 0 : wanted !== undefined && wanted !== bodyRevision) {
    throw new WeftError(
      'ERR_REVISION_CONFLICT',
      `the headers ask for revision ${wanted} and the body for ${bodyRevision}: send only one of the two`,
    );
  }
  return bodyRevision;
}

function isTrue(value: unknown): boolean {
  if (value === undefined || value === 'false' || value === '0') return false;
  // A bare `?dryRun` is meant as yes; anything unclear must not end in a write.
  if (value === '' || value === 'true' || value === '1') return true;
  throw new WeftError('ERR_BODY_INVALID', `dryRun must be true or false, found ${shown(value)}`);
}

function audit(
  request: FastifyRequest,
  changes: readonly { kind: string; name: string; result: string }[],
): void {
  request.log.info(
    { address: request.ip, changes: changes.map(({ kind, name, result }) => `${result} ${kind}/${name}`) },
    'policy changed',
  );
}
