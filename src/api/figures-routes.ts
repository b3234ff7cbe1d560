/** What proxied services do, in numbers: by engine for `weft top`, and all of them for Prometheus. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { kindNamed } from '../policy/registry.ts';
import { METRICS_TYPE } from '../policy/service-metrics.ts';
import type { Backend } from './backend.ts';
import { parameter } from './object-routes.ts';
import type { PolicyStore } from './policy-store.ts';
import { deadline, questionOf } from './question-routes.ts';

/** As the query of a URL has it. */
export const FiguresQuery = z.strictObject({
  names: z.enum(['true', 'false']).default('false').meta({
    description: 'Also the paths and clients with the most requests, counted while somebody asks for them.',
  }),
});

/** Adds the routes. */
export function addFiguresRoutes(app: FastifyInstance, objects: PolicyStore, backend: Backend): void {
  app.get('/api/v1/figures/:service', async (request, reply) => {
    const service = parameter(request, 'service');
    const { names } = questionOf(FiguresQuery, request.query, 'figures');
    await objects.get(kindNamed('virtual-service'), service);
    return backend.serviceFigures(service, names === 'true', deadline(request, reply));
  });

  app.get('/api/v1/metrics', async (request, reply) => {
    const text = await backend.metrics(deadline(request, reply));
    return reply.type(METRICS_TYPE).send(text);
  });
}
