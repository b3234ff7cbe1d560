/**
 * GET /api/v1/capture/{service}: what the engines see of a service, as a pcapng file that grows while it is read; DELETE
 * with the id of its header ends it in good order. It also ends when its reader is gone, or takes nothing for a while.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { Prefix } from '../policy/attributes.ts';
import { WeftError } from '../policy/errors.ts';
import { shown } from '../policy/problems.ts';
import { kindNamed } from '../policy/registry.ts';
import type { Backend } from './backend.ts';
import { parameter } from './object-routes.ts';
import type { PolicyStore } from './policy-store.ts';
import { countIn, EngineId, OrNull, questionOf } from './question-routes.ts';

/** Captures at a time, over all clients; an engine takes part in one. */
const MAX_CAPTURES = 8;
/** How long a reader may take nothing. */
const PATIENCE_MS = 10_000;

/** As the query of a URL has them. */
export const CaptureQuery = z.strictObject({
  engine: OrNull(EngineId.meta({ description: 'At this engine only.' })),
  client: OrNull(Prefix.meta({ description: "An address or prefix that the client's address lies in." })),
  seconds: countIn(1, 3600, 60, 'How long, at most.'),
  packets: countIn(1, 1_000_000, 10_000, 'How many frames, at most.'),
  snap: countIn(64, 65_550, 1600, 'Bytes of each frame, at most.'),
});

/** The header that names a capture, for whoever wants to end it. */
export const CAPTURE_HEADER = 'weft-capture';

/** Adds the routes. */
export function addCapture(app: FastifyInstance, objects: PolicyStore, backend: Backend): void {
  const running = new Map<string, AbortController>();
  const stopping = new AbortController();
  app.addHook('preClose', async () => stopping.abort());

  app.get('/api/v1/capture/:service', { exposeHeadRoute: false }, async (request, reply) => {
    const service = parameter(request, 'service');
    const question = questionOf(CaptureQuery, request.query, 'a capture');
    await objects.get(kindNamed('virtual-service'), service);
    if (running.size >= MAX_CAPTURES) {
      throw new WeftError('ERR_THROTTLED', `${MAX_CAPTURES} captures run already: end one`);
    }
    const id = randomUUID();
    const ending = new AbortController();
    running.set(id, ending);
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort(new WeftError('ERR_TIMEOUT', 'the client is gone')));
    const signal = AbortSignal.any([gone.signal, stopping.signal]);
    const chunks = backend.capture({ ...question, service }, ending.signal, signal)[Symbol.asyncIterator]();
    try {
      const first = await chunks.next();
      request.log.info({ service, ...question, address: request.ip }, 'a capture of packets begins');
      reply.hijack();
      reply.raw.writeHead(200, {
        'content-type': 'application/x-pcapng',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        [CAPTURE_HEADER]: id,
      });
      try {
        for (let next = first; !next.done; next = await chunks.next()) {
          if (!reply.raw.write(next.value)) await drained(reply.raw, signal);
        }
        reply.raw.end();
      } catch (error) {
        if (!signal.aborted) request.log.error({ err: error }, 'a capture failed');
        // Not `end`: the reader shall see that the file is not whole.
        reply.raw.destroy();
      }
    } finally {
      running.delete(id);
      await chunks.return?.(undefined);
    }
  });

  app.delete('/api/v1/capture/:service/:id', async (request, reply) => {
    const ending = running.get(parameter(request, 'id'));
    if (!ending) {
      throw new WeftError('ERR_NOT_FOUND', `no capture ${shown(parameter(request, 'id'))} runs: it is over`);
    }
    ending.abort();
    return reply.code(204).send();
  });
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  await once(response, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) });
}
