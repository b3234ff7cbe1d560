/** POST /api/v1/purge/{service}: takes stored responses out of the caches of all engines that carry a service. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { WeftError } from '../policy/errors.ts';
import type { JsonSchema } from '../policy/json-schema.ts';
import { problemsOf } from '../policy/problems.ts';
import { PurgeBody } from '../policy/purge.ts';
import { kindNamed } from '../policy/registry.ts';
import type { VirtualServiceSpec } from '../policy/virtual-service.ts';
import type { Backend } from './backend.ts';
import { parameter } from './object-routes.ts';
import type { PolicyStore } from './policy-store.ts';
import { deadline } from './question-routes.ts';

/** Adds the route. */
export function addPurge(app: FastifyInstance, objects: PolicyStore, backend: Backend): void {
  const schema = z.toJSONSchema(PurgeBody, { io: 'input' }) as JsonSchema;

  app.post('/api/v1/purge/:service', async (request, reply) => {
    const service = parameter(request, 'service');
    const body = PurgeBody.safeParse(request.body);
    if (!body.success) {
      const problems = problemsOf(schema, request.body, body.error.issues, '$');
      throw new WeftError(
        'ERR_BODY_INVALID',
        `what is to be purged is not valid: ${problems[0]?.path} ${problems[0]?.message}`,
        { problems },
      );
    }
    const { spec } = await objects.get(kindNamed('virtual-service'), service);
    if ((spec as VirtualServiceSpec).http?.cache === undefined) {
      throw new WeftError(
        'ERR_BODY_INVALID',
        `virtual-service "${service}" stores no responses: it has no http.cache`,
      );
    }
    const answer = await backend.purge({ service, urls: body.data.urls }, deadline(request, reply));
    request.log.info(
      { service, address: request.ip, purged: answer.purged },
      'stored responses are taken out',
    );
    return answer;
  });
}
