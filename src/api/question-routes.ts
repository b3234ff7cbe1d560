/** What can be asked: plan, explain, trace, flows, status, and the attributes of each kind. Nothing here changes anything but an adoption and a take-over. */
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { FLOW_SORTS, FLOW_STATES, MOST_FLOWS } from '../policy/answers.ts';
import { Address, Name, Port, Prefix } from '../policy/attributes.ts';
import { attributesOf } from '../policy/describe.ts';
import { WeftError } from '../policy/errors.ts';
import { fieldOf, type JsonSchema, jsonSchemaOf } from '../policy/json-schema.ts';
import { withoutSecret } from '../policy/kind.ts';
import { problemsOf, shown } from '../policy/problems.ts';
import { KINDS, kindNamed } from '../policy/registry.ts';
import type { Backend } from './backend.ts';
import { changesOf, parameter } from './object-routes.ts';
import type { PolicyStore } from './policy-store.ts';

/** How long the controller and its engines may take to answer one question. */
const ANSWER_MS = 30_000;
/** The most entries of a firewall's log. */
const MOST_LOG = 1000;
/** The longest name of a VM that is looked for. */
const MOST_NAME = 300;

export const TraceBody = z.strictObject({
  service: Name.meta({ description: 'The virtual service.' }),
  from: Address.meta({ description: 'The client address.' }),
  fromPort: Port.optional().meta({ description: 'Source port; an unused one is taken where none is named.' }),
  to: Address.optional().meta({ description: 'Service address; the first one where none is named.' }),
  port: Port.optional().meta({ description: 'Service port.' }),
  engine: z.string().min(1).max(128).optional().meta({
    description: 'The engine the packet enters by; the one the address leads to where none is named.',
  }),
});

/** The parts of queries, whose values are text. */
export const EngineId = z.string().min(1).max(128);
export const OrNull = <Schema extends z.ZodType>(schema: Schema) =>
  schema.optional().transform((value) => value ?? null);
export const countIn = (min: number, max: number, fallback: number, description: string) =>
  z.coerce.number().int().min(min).max(max).default(fallback).meta({ description });

/** As the query of a URL has them: every value is text. */
export const FlowsQuery = z.strictObject({
  engine: OrNull(EngineId.meta({ description: 'Of this engine only.' })),
  service: OrNull(Name.meta({ description: 'Of this virtual service only.' })),
  client: OrNull(Prefix.meta({ description: "An address or prefix that the client's address lies in." })),
  member: OrNull(z.string().min(1).max(MOST_NAME).meta({ description: "The member's VM, or its id." })),
  state: OrNull(z.enum(FLOW_STATES)),
  protocol: OrNull(z.enum(['tcp', 'udp'])),
  sort: z.enum(FLOW_SORTS).default('bytes').meta({ description: 'The largest first, or the longest.' }),
  limit: countIn(1, MOST_FLOWS, 100, 'How many are listed; all are counted.'),
});

/** A query against its schema. Throws ERR_BODY_INVALID that names each parameter that is wrong. */
export function questionOf<Schema extends z.ZodType>(
  schema: Schema,
  query: unknown,
  what: string,
): z.output<Schema> {
  const parsed = schema.safeParse(query);
  if (parsed.success) return parsed.data;
  const problems = problemsOf(
    z.toJSONSchema(schema, { io: 'input' }) as JsonSchema,
    query,
    parsed.error.issues,
    '$',
  );
  throw new WeftError(
    'ERR_BODY_INVALID',
    `the question for ${what} is not valid: ${problems[0]?.path} ${problems[0]?.message}`,
    { problems },
  );
}

/** Adds the routes. */
export function addQuestionRoutes(app: FastifyInstance, objects: PolicyStore, backend: Backend): void {
  const traceSchema = z.toJSONSchema(TraceBody, { io: 'input' }) as JsonSchema;

  app.post('/api/v1/plan', async (request, reply) => {
    const changes = request.body === undefined || request.body === null ? [] : changesOf(request.body);
    // The same checks as a real change, so that a plan is never of something that would be refused.
    await objects.change(changes, true);
    const proposed = changes.map((change) => {
      const { kind, name } = change;
      return 'delete' in change
        ? { kind, name, delete: true as const }
        : { kind, name, spec: withoutSecret(kindNamed(kind), change.spec) };
    });
    return { steps: await backend.plan(proposed, deadline(request, reply)) };
  });

  app.get('/api/v1/explain/:service', async (request, reply) => {
    const service = parameter(request, 'service');
    const from = fieldOf(request.query, 'from');
    if (from !== undefined && (typeof from !== 'string' || isIP(from) === 0)) {
      throw new WeftError('ERR_BODY_INVALID', `from must be an IPv4 or IPv6 address, found ${shown(from)}`);
    }
    await objects.get(kindNamed('virtual-service'), service);
    return backend.explain(service, from ?? null, deadline(request, reply));
  });

  app.get('/api/v1/explain/pool/:name', async (request, reply) => {
    const name = parameter(request, 'name');
    const vm = fieldOf(request.query, 'vm');
    if (vm !== undefined && (typeof vm !== 'string' || vm === '' || vm.length > MOST_NAME)) {
      throw new WeftError('ERR_BODY_INVALID', `vm must be the name or id of one VM, found ${shown(vm)}`);
    }
    await objects.get(kindNamed('pool'), name);
    return backend.explainPool(name, vm ?? null, deadline(request, reply));
  });

  app.get('/api/v1/explain/host/:name', async (request, reply) =>
    backend.explainHost(parameter(request, 'name'), deadline(request, reply)),
  );

  app.get('/api/v1/firewall/:policy', async (request, reply) => {
    const policy = parameter(request, 'policy');
    const log = fieldOf(request.query, 'log') ?? '20';
    if (typeof log !== 'string' || !/^\d{1,4}$/.test(log) || Number(log) > MOST_LOG) {
      throw new WeftError(
        'ERR_BODY_INVALID',
        `log must be a number from 0 to ${MOST_LOG}, found ${shown(log)}`,
      );
    }
    await objects.get(kindNamed('firewall-policy'), policy);
    return backend.firewall(policy, Number(log), deadline(request, reply));
  });

  app.post('/api/v1/trace', async (request, reply) => {
    const body = TraceBody.safeParse(request.body);
    if (!body.success) {
      const problems = problemsOf(traceSchema, request.body, body.error.issues, '$');
      throw new WeftError(
        'ERR_BODY_INVALID',
        `the trace request is not valid: ${problems[0]?.path} ${problems[0]?.message}`,
        { problems },
      );
    }
    await objects.get(kindNamed('virtual-service'), body.data.service);
    return backend.trace(body.data, deadline(request, reply));
  });

  app.get('/api/v1/vm/:cloud/:id', async (request, reply) =>
    backend.vm(parameter(request, 'cloud'), parameter(request, 'id'), deadline(request, reply)),
  );

  app.get('/api/v1/host/:cloud/:id', async (request, reply) =>
    backend.host(parameter(request, 'cloud'), parameter(request, 'id'), deadline(request, reply)),
  );

  app.get('/api/v1/adoption/:cloud', async (request, reply) =>
    backend.adoption(parameter(request, 'cloud'), deadline(request, reply)),
  );

  app.post('/api/v1/adoption/:cloud', async (request, reply) => {
    const cloud = parameter(request, 'cloud');
    const fingerprint = fieldOf(request.body, 'fingerprint');
    if (typeof fingerprint !== 'string') {
      throw new WeftError(
        'ERR_BODY_INVALID',
        'send the fingerprint of what was shown: GET /api/v1/adoption/{cloud}',
      );
    }
    const adoption = await backend.adopt(cloud, fingerprint, deadline(request, reply));
    request.log.info({ cloud, address: request.ip }, 'what an earlier controller left in a cloud is adopted');
    return adoption;
  });

  app.post('/api/v1/ownership/:cloud', async (request, reply) => {
    const cloud = parameter(request, 'cloud');
    const taken = await backend.takeOver(cloud, deadline(request, reply));
    request.log.info({ cloud, address: request.ip }, 'a cloud is taken over from another controller');
    return taken;
  });

  app.get('/api/v1/flows', async (request, reply) => {
    const question = questionOf(FlowsQuery, request.query, 'flows');
    if (question.service !== null) await objects.get(kindNamed('virtual-service'), question.service);
    return backend.flows(question, deadline(request, reply));
  });

  app.get('/api/v1/status', async () => backend.status());

  app.get('/api/v1/spec', async () => ({ kinds: KINDS.map(({ name, summary }) => ({ name, summary })) }));

  app.get('/api/v1/spec/:kind', async (request) => {
    const kind = kindNamed(parameter(request, 'kind'));
    const { name, summary } = kind;
    return { name, summary, attributes: attributesOf(kind), schema: jsonSchemaOf(kind) };
  });
}

/** Aborts when the client is gone, or after the time that an answer may take. */
export function deadline(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const aborting = new AbortController();
  const timer = setTimeout(() => {
    const what = `${request.method} ${shown(request.url)}`;
    aborting.abort(new WeftError('ERR_TIMEOUT', `no answer to ${what} within ${ANSWER_MS / 1000} s`));
  }, ANSWER_MS);
  reply.raw.once('close', () => {
    clearTimeout(timer);
    if (!reply.raw.writableFinished) aborting.abort(new WeftError('ERR_TIMEOUT', 'the client is gone'));
  });
  return aborting.signal;
}
