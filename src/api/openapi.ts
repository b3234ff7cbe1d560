/** The OpenAPI 3.1 document of the API, made from the registry of kinds. */
import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../policy/errors.ts';
import { jsonSchemaOf } from '../policy/json-schema.ts';
import { PurgeBody } from '../policy/purge.ts';
import { KINDS } from '../policy/registry.ts';
import { CAPTURE_HEADER, CaptureQuery } from './capture-route.ts';
import { FlowsQuery, TraceBody } from './question-routes.ts';

type Json = Record<string, unknown>;

/** What every operation but /healthz may answer. */
const COMMON_FAILURES: readonly ErrorCode[] = [
  'ERR_UNAUTHENTICATED',
  'ERR_FORBIDDEN',
  'ERR_THROTTLED',
  'ERR_INTERNAL',
];

/** What every operation that changes objects, or plans to, may answer. */
const CHANGE_FAILURES: readonly ErrorCode[] = [
  'ERR_POLICY_INVALID',
  'ERR_BODY_INVALID',
  'ERR_BODY_TOO_LARGE',
  'ERR_REFERENCE_MISSING',
  'ERR_ADDRESS_IN_USE',
  'ERR_REVISION_CONFLICT',
  'ERR_STORE_WRITE',
];

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const json = (schema: Json): Json => ({ content: { 'application/json': { schema } } });
const ok = (description: string, schema: Json): Json => ({ description, ...json(schema) });
const path = (name: string, description: string): Json => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: ref('name'),
});
const objectId = (what: string): Json => ({
  name: 'id',
  in: 'path',
  required: true,
  description: `The id of the ${what} in its cloud, for example vm-42`,
  schema: { type: 'string' },
});
const query = (name: string, description: string, schema: Json): Json => ({
  name,
  in: 'query',
  description,
  schema,
});

/** The whole document, as JSON. */
export function openApiDocument(): Json {
  const paths: Record<string, Json> = {
    '/healthz': {
      get: {
        summary: 'Whether the API answers',
        security: [],
        responses: { 200: ok('It does', object({ ok: { const: true } })) },
      },
    },
    '/api/openapi.json': {
      get: {
        summary: 'This document',
        responses: { 200: ok('OpenAPI 3.1', { type: 'object' }), ...failures() },
      },
    },
    '/api/v1/apply': {
      post: {
        summary: 'Create, change and delete several objects in one step, or none of them',
        parameters: [
          query('dryRun', 'Check everything, change nothing', { type: 'boolean', default: false }),
        ],
        requestBody: { required: true, ...json(ref('changes')) },
        responses: {
          200: ok('What happened to each object', ref('apply-answer')),
          ...failures(...CHANGE_FAILURES, 'ERR_KIND_UNKNOWN', 'ERR_NOT_FOUND', 'ERR_REFERENCED'),
        },
      },
    },
    '/api/v1/plan': {
      post: {
        summary: 'The steps that changes would cause; without changes, the steps still to be done',
        requestBody: { required: false, ...json(ref('changes')) },
        responses: {
          200: ok('The steps; none is performed', object({ steps: list(ref('step')) })),
          ...failures(
            ...CHANGE_FAILURES,
            'ERR_KIND_UNKNOWN',
            'ERR_NOT_FOUND',
            'ERR_REFERENCED',
            'ERR_TIMEOUT',
          ),
        },
      },
    },
    '/api/v1/explain/{service}': {
      get: {
        summary: "Every concerned engine's candidates with C, H and L, and its choice",
        parameters: [
          path('service', 'The virtual service'),
          query('from', 'Client address', { type: 'string' }),
        ],
        responses: {
          200: ok('One entry per engine and tier', list({ type: 'object' })),
          ...failures('ERR_BODY_INVALID', 'ERR_NOT_FOUND', 'ERR_ENGINE_UNREACHABLE', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/explain/pool/{name}': {
      get: {
        summary: 'Why VMs are members of a pool or are not, criterion by criterion',
        parameters: [
          path('name', 'The pool'),
          query('vm', 'Name or id of one VM; else the members and those that nearly fit', { type: 'string' }),
        ],
        responses: {
          200: ok('The VMs with what each criterion found', { type: 'object' }),
          ...failures('ERR_BODY_INVALID', 'ERR_NOT_FOUND', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/explain/host/{name}': {
      get: {
        summary: "A host's place in the physical network, where that is known from, and its hops to others",
        parameters: [path('name', 'Name or id of the host')],
        responses: {
          200: ok('One entry per host of that name', list({ type: 'object' })),
          ...failures('ERR_NOT_FOUND', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/firewall/{policy}': {
      get: {
        summary: 'What the rules of a firewall policy do on all engines, and what they logged lately',
        parameters: [
          path('policy', 'The firewall policy'),
          query('log', 'The most entries of the log', {
            type: 'integer',
            minimum: 0,
            maximum: 1000,
            default: 20,
          }),
        ],
        responses: {
          200: ok('Rules with counters, and the log, newest first', { type: 'object' }),
          ...failures('ERR_BODY_INVALID', 'ERR_NOT_FOUND', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/trace': {
      post: {
        summary: 'The way of one packet through the live graph; nothing is sent',
        requestBody: { required: true, ...json(z.toJSONSchema(TraceBody, { io: 'input' }) as Json) },
        responses: {
          200: ok('Hop by hop', { type: 'object' }),
          ...failures(
            'ERR_BODY_INVALID',
            'ERR_BODY_TOO_LARGE',
            'ERR_NOT_FOUND',
            'ERR_ENGINE_UNREACHABLE',
            'ERR_TIMEOUT',
          ),
        },
      },
    },
    '/api/v1/flows': {
      get: {
        summary: 'The flow tables of the engines, filtered there: those that fit, the largest first',
        parameters: queryOf(FlowsQuery),
        responses: {
          200: ok('The flows, how many fit and how many there are', { type: 'object' }),
          ...failures('ERR_BODY_INVALID', 'ERR_NOT_FOUND', 'ERR_ENGINE_UNREACHABLE', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/figures/{service}': {
      get: {
        summary: 'What the engines that proxy a service have done for it: counters, histograms, members',
        parameters: [
          path('service', 'The virtual service'),
          query('names', 'Also paths and clients with the most requests', {
            type: 'string',
            enum: ['true', 'false'],
            default: 'false',
          }),
        ],
        responses: {
          200: ok('Figures by engine, and the engines that did not answer', { type: 'object' }),
          ...failures('ERR_BODY_INVALID', 'ERR_NOT_FOUND', 'ERR_ENGINE_UNREACHABLE', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/metrics': {
      get: {
        summary: 'Figures of all services that engines proxy, as Prometheus reads them',
        responses: {
          200: {
            description: 'Text of the exposition format 0.0.4',
            content: { 'text/plain': { schema: { type: 'string' } } },
          },
          ...failures('ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/purge/{service}': {
      post: {
        summary: 'Take stored responses out of the caches of all engines that carry a service',
        parameters: [path('service', 'The virtual service')],
        requestBody: { required: true, ...json(z.toJSONSchema(PurgeBody, { io: 'input' }) as Json) },
        responses: {
          200: ok('How many, by engine, and the engines that did not answer', { type: 'object' }),
          ...failures(
            'ERR_BODY_INVALID',
            'ERR_BODY_TOO_LARGE',
            'ERR_NOT_FOUND',
            'ERR_ENGINE_UNREACHABLE',
            'ERR_TIMEOUT',
          ),
        },
      },
    },
    '/api/v1/capture/{service}': {
      get: {
        summary: 'What the engines see of a service, as a pcapng file that grows while it is read',
        parameters: [path('service', 'The virtual service'), ...queryOf(CaptureQuery)],
        responses: {
          200: {
            description: `The file; the header ${CAPTURE_HEADER} names the capture`,
            content: { 'application/x-pcapng': { schema: { type: 'string', format: 'binary' } } },
          },
          ...failures(
            'ERR_BODY_INVALID',
            'ERR_NOT_FOUND',
            'ERR_ENGINE_UNREACHABLE',
            'ERR_THROTTLED',
            'ERR_TIMEOUT',
          ),
        },
      },
    },
    '/api/v1/capture/{service}/{id}': {
      parameters: [path('service', 'The virtual service'), path('id', 'The capture')],
      delete: {
        summary: 'End a capture in good order: its file becomes whole',
        responses: { 204: { description: 'It ends' }, ...failures('ERR_NOT_FOUND') },
      },
    },
    '/api/v1/status': {
      get: {
        summary: 'The whole system at a glance',
        responses: { 200: ok('Status', { type: 'object' }), ...failures() },
      },
    },
    '/api/v1/ownership/{cloud}': {
      parameters: [path('cloud', 'The cloud')],
      post: {
        summary: "Make a cloud this controller's that another controller drives; that one lets go first",
        responses: {
          200: ok(
            'What it still waits for, or null',
            object({ cloud: { type: 'string' }, waitsFor: { type: ['string', 'null'] } }),
          ),
          ...failures(
            'ERR_NOT_FOUND',
            'ERR_REVISION_CONFLICT',
            'ERR_HYPERVISOR_UNREACHABLE',
            'ERR_HYPERVISOR_REFUSED',
            'ERR_TIMEOUT',
          ),
        },
      },
    },
    '/api/v1/vm/{cloud}/{id}': {
      get: {
        summary: 'What Weft is to one VM: its services, its engine, and why or why not',
        parameters: [path('cloud', 'The cloud'), objectId('VM')],
        responses: {
          200: ok('The VM', { type: 'object' }),
          ...failures('ERR_NOT_FOUND', 'ERR_HYPERVISOR_UNREACHABLE', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/host/{cloud}/{id}': {
      get: {
        summary: 'What Weft is to one host: its engine, what stands behind it, or why it has none',
        parameters: [path('cloud', 'The cloud'), objectId('host')],
        responses: {
          200: ok('The host', { type: 'object' }),
          ...failures('ERR_NOT_FOUND', 'ERR_HYPERVISOR_UNREACHABLE', 'ERR_TIMEOUT'),
        },
      },
    },
    '/api/v1/adoption/{cloud}': {
      parameters: [path('cloud', 'The cloud')],
      get: {
        summary: 'What an earlier controller left in a cloud, and what adopting it would do',
        responses: {
          200: ok('What was found; nothing is touched', { type: 'object' }),
          ...failures('ERR_NOT_FOUND', 'ERR_HYPERVISOR_UNREACHABLE', 'ERR_TIMEOUT'),
        },
      },
      post: {
        summary: 'Adopt it, where it is still what was shown',
        requestBody: { required: true, ...json(object({ fingerprint: { type: 'string' } })) },
        responses: {
          200: ok('What was adopted', { type: 'object' }),
          ...failures(
            'ERR_BODY_INVALID',
            'ERR_NOT_FOUND',
            'ERR_REVISION_CONFLICT',
            'ERR_HYPERVISOR_UNREACHABLE',
            'ERR_TIMEOUT',
            'ERR_STORE_WRITE',
          ),
        },
      },
    },
    '/api/v1/console': {
      get: {
        summary: 'Where the web console is, and its certificate',
        responses: { 200: ok('The console', { type: 'object' }), ...failures('ERR_NOT_FOUND') },
      },
    },
    '/api/v1/backup': {
      get: {
        summary: 'Everything that the store holds, with the private key of the certificate authority',
        responses: { 200: ok('The backup, for `weft restore`', { type: 'object' }), ...failures() },
      },
    },
    '/api/v1/spec': {
      get: {
        summary: 'The kinds there are',
        responses: { 200: ok('Kinds', object({ kinds: list({ type: 'object' }) })), ...failures() },
      },
    },
    '/api/v1/spec/{kind}': {
      get: {
        summary: 'Attributes and schema of a kind',
        parameters: [path('kind', 'The kind')],
        responses: { 200: ok('Attributes', { type: 'object' }), ...failures('ERR_KIND_UNKNOWN') },
      },
    },
    '/api/v1/watch': {
      get: {
        summary: 'Changes of objects and their status as Server-Sent Events',
        parameters: [
          query('revision', 'Changes after this one; after now where none is given', { type: 'integer' }),
        ],
        responses: {
          200: {
            description: '`change` events with a revision as id; a `failure` event ends the stream',
            content: { 'text/event-stream': { schema: { type: 'string' } } },
          },
          ...failures('ERR_BODY_INVALID', 'ERR_COMPACTED'),
        },
      },
    },
  };
  for (const kind of KINDS) {
    paths[`/api/v1/${kind.name}`] = {
      get: {
        summary: `List: ${kind.summary}`,
        tags: [kind.name],
        responses: {
          200: ok(
            'Every object of the kind, and the revision to watch from',
            object({
              kind: { const: kind.name },
              revision: { type: 'integer' },
              items: list(ref(kind.name)),
            }),
          ),
          ...failures(),
        },
      },
    };
    paths[`/api/v1/${kind.name}/{name}`] = {
      parameters: [path('name', `The ${kind.name}`)],
      get: {
        summary: `Read one ${kind.name}`,
        tags: [kind.name],
        responses: {
          200: ok('The object; ETag is its revision', ref(kind.name)),
          ...failures('ERR_POLICY_INVALID', 'ERR_NOT_FOUND'),
        },
      },
      put: {
        summary: `Create or change one ${kind.name}; putting back what was read changes nothing`,
        tags: [kind.name],
        parameters: [preconditionHeader()],
        requestBody: { required: true, ...json(ref(kind.name)) },
        responses: {
          200: ok('Changed, or as it was', ref(kind.name)),
          201: ok('Created', ref(kind.name)),
          ...failures(...CHANGE_FAILURES),
        },
      },
      delete: {
        summary: `Delete one ${kind.name}`,
        tags: [kind.name],
        parameters: [preconditionHeader()],
        responses: {
          204: { description: 'Deleted' },
          ...failures(
            'ERR_POLICY_INVALID',
            'ERR_NOT_FOUND',
            'ERR_REFERENCED',
            'ERR_REVISION_CONFLICT',
            'ERR_STORE_WRITE',
          ),
        },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Weft',
      version: 'v1',
      description: 'Intent (`spec`) is written here; observation (`status`) is written by the controller.',
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: schemas(),
    },
  };
}

function schemas(): Record<string, Json> {
  const all: Record<string, Json> = {
    name: { type: 'string', maxLength: 63, pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' },
    failure: object({
      code: { enum: Object.keys(ERROR_CODES) },
      message: { type: 'string' },
      problems: list(
        object({ path: { type: 'string' }, message: { type: 'string' }, where: { type: 'string' } }, [
          'path',
          'message',
        ]),
      ),
    }),
    deletion: object({ kind: kindSchema(), name: ref('name'), delete: { const: true } }),
    documents: {
      type: 'array',
      maxItems: 1000,
      items: { anyOf: [...KINDS.map((kind) => ref(kind.name)), ref('deletion')] },
    },
    changes: { anyOf: [ref('documents'), object({ documents: ref('documents') })] },
    'apply-answer': object({
      revision: { type: 'integer' },
      isDryRun: { type: 'boolean' },
      results: list(
        object({
          kind: kindSchema(),
          name: ref('name'),
          result: { enum: ['created', 'changed', 'unchanged', 'deleted'] },
          revision: { type: 'integer' },
        }),
      ),
    }),
    step: object(
      {
        step: { type: 'string' },
        object: { type: 'string' },
        reason: { type: 'string' },
        undo: { type: ['string', 'null'] },
        changes: { type: 'array', items: { type: 'string' } },
        missing: { type: 'array', items: { type: 'string' } },
      },
      ['step', 'object', 'reason', 'undo'],
    ),
  };
  for (const kind of KINDS) {
    const { $schema: _, ...spec } = jsonSchemaOf(kind) as Json;
    all[`${kind.name}-spec`] = spec;
    all[kind.name] = object(
      {
        kind: { const: kind.name },
        name: ref('name'),
        revision: { type: 'integer', description: 'Checked where it is sent; 0 means: must not exist.' },
        spec: ref(`${kind.name}-spec`),
        status: { type: 'object', description: 'Written by the controller; ignored in requests.' },
      },
      ['kind', 'name', 'spec'],
    );
  }
  return all;
}

/** Responses for what an operation may fail with, and for what any may. */
function failures(...codes: ErrorCode[]): Record<string, Json> {
  const byStatus = new Map<number, string[]>();
  for (const code of new Set([...codes, ...COMMON_FAILURES])) {
    const { status } = ERROR_CODES[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), `${code}: ${ERROR_CODES[code].meaning}`]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, meanings]) => [status, ok(meanings.join(' '), ref('failure'))]),
  );
}

function preconditionHeader(): Json {
  return {
    name: 'If-Match',
    in: 'header',
    description: 'The revision (ETag) that the object must still have; * for any',
    schema: { type: 'string' },
  };
}

/** The parameters that a query's schema names. */
function queryOf(schema: z.ZodType): Json[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' }) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

function kindSchema(): Json {
  return { enum: KINDS.map((kind) => kind.name) };
}

function object(properties: Json, required: string[] = Object.keys(properties)): Json {
  return { type: 'object', properties, required };
}

function list(items: Json): Json {
  return { type: 'array', items };
}
