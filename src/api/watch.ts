/**
 * GET /api/v1/watch: changes of objects and of their status as Server-Sent Events, without gaps, from a revision on.
 *
 * A reader that is slow is waited for, not buffered for: it gets ERR_COMPACTED as a `failure` event once the store
 * has forgotten the changes it has not read, and is to list again.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { WatchEvent } from '../policy/answers.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { fieldOf } from '../policy/json-schema.ts';
import { KINDS } from '../policy/registry.ts';
import type { Change, Store } from '../state/store.ts';
import { failureOf, translate } from './failure.ts';

/** Watches at a time, over all clients. */
const MAX_WATCHES = 100;
/** A comment is sent so often, so that a dead connection is noticed at both ends. */
const HEARTBEAT_MS = 15_000;
/** How long a reader may take nothing before it counts as gone. */
const PATIENCE_MS = 60_000;

/** Adds the watch route. */
export function addWatch(app: FastifyInstance, store: Store): void {
  const stopping = new AbortController();
  let watches = 0;
  app.addHook('preClose', async () => stopping.abort());

  app.get('/api/v1/watch', { exposeHeadRoute: false }, async (request, reply) => {
    const after = startOf(
      fieldOf(request.query, 'revision'),
      request.headers['last-event-id'],
      store.revision,
    );
    if (watches >= MAX_WATCHES) {
      throw new WeftError('ERR_THROTTLED', `there are ${MAX_WATCHES} watches open already: close one`);
    }
    watches++;
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, stopping.signal]);
    reply.hijack();
    reply.raw.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    reply.raw.write(': watching\n\n');
    const heartbeat = setInterval(() => {
      if (reply.raw.writableLength === 0) reply.raw.write(': alive\n\n');
    }, HEARTBEAT_MS);
    try {
      await send(reply.raw, store.watch('', after, signal), signal);
    } catch (error) {
      if (!signal.aborted) {
        const failure = translate(error);
        if (!isWeftError(error)) request.log.error({ err: error }, 'a watch failed');
        reply.raw.write(`event: failure\ndata: ${JSON.stringify(failureOf(failure))}\n\n`);
      }
    } finally {
      clearInterval(heartbeat);
      watches--;
      reply.raw.end();
    }
  });
}

async function send(
  response: ServerResponse,
  changes: AsyncIterable<Change>,
  signal: AbortSignal,
): Promise<void> {
  for await (const change of changes) {
    const event = eventOf(change);
    if (!event) continue;
    const isRoomLeft = response.write(
      `id: ${event.revision}\nevent: change\ndata: ${JSON.stringify(event)}\n\n`,
    );
    if (!isRoomLeft) await drained(response, signal);
  }
}

/** Waits until the reader has taken what was sent. Throws ERR_TIMEOUT where it takes nothing. */
async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  const late = AbortSignal.timeout(PATIENCE_MS);
  try {
    await once(response, 'drain', { signal: AbortSignal.any([signal, late]) });
  } catch (cause) {
    if (!late.aborted) throw cause;
    response.destroy();
    throw new WeftError('ERR_TIMEOUT', `the reader of a watch took nothing for ${PATIENCE_MS / 1000} s`, {
      cause,
    });
  }
}

/** The event for a change of the store, or null where it is none of the clients' business (keys, journal). */
export function eventOf(change: Change): WatchEvent | null {
  const match = /^(policy|status)\/([^/]+)\/([^/]+)$/.exec(change.key);
  if (!match || !KINDS.some((kind) => kind.name === match[2])) return null;
  const event = {
    kind: match[2]!,
    name: match[3]!,
    part: match[1] === 'policy' ? ('spec' as const) : ('status' as const),
    revision: change.revision,
  };
  return change.value === undefined
    ? { ...event, type: 'deleted' }
    : { ...event, type: 'changed', value: change.value };
}

function startOf(query: unknown, lastEventId: unknown, current: number): number {
  const text = lastEventId ?? query;
  if (text === undefined) return current;
  const revision = typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(revision)) {
    throw new WeftError('ERR_BODY_INVALID', 'revision must be a whole number: the one that a listing gave');
  }
  if (revision > current) {
    throw new WeftError(
      'ERR_COMPACTED',
      `revision ${revision} is not one of this store, which is at ${current}: list again, then watch`,
    );
  }
  return revision;
}
