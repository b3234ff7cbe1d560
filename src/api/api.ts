/**
 * The REST API: every route, over the store (policy) and the backend (what the controller knows and would do).
 *
 * Everything about kinds comes from policy/registry.ts; a new kind needs no line here.
 */
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { ConsoleAddress } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { parseJson } from '../policy/json-text.ts';
import { MAX_TEXT_BYTES } from '../policy/parse.ts';
import { takeBackup } from '../state/backup.ts';
import type { Sealer } from '../state/sealer.ts';
import type { Store } from '../state/store.ts';
import type { Backend } from './backend.ts';
import { addCapture } from './capture-route.ts';
import { addFailureHandlers, answerFailure } from './failure.ts';
import { addFiguresRoutes } from './figures-routes.ts';
import { addGuard } from './guard.ts';
import { addObjectRoutes } from './object-routes.ts';
import { openApiDocument } from './openapi.ts';
import { PolicyStore } from './policy-store.ts';
import { addPurge } from './purge-route.ts';
import { addQuestionRoutes } from './question-routes.ts';
import { addWatch } from './watch.ts';

export interface ApiOptions {
  store: Store;
  /** Of the secrets that objects come with. */
  sealer: Sealer;
  backend: Backend;
  /** The bearer token of the operator; at least 16 characters. */
  token: string;
  log: FastifyBaseLogger;
  /** Where the web console is; null while there is none. */
  console?: () => ConsoleAddress | null;
  /** Milliseconds of a clock that only goes forward; performance.now where none is given. */
  now?: () => number;
}

/** Makes the API. Nothing listens yet: call `listen`, and `close` at the end (it ends open watches too). */
export function createApi({
  store,
  sealer,
  backend,
  token,
  log,
  console: consoleAddress = () => null,
  now = () => performance.now(),
}: ApiOptions): FastifyInstance {
  const app: FastifyInstance = fastify({
    loggerInstance: log,
    // A line per request would be noise; what changes policy and what is refused is logged where it happens.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_TEXT_BYTES,
    requestTimeout: 30_000,
    keepAliveTimeout: 10_000,
    // Connections that say nothing are not to keep others out for long.
    http: { headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: (error, request, reply) => answerFailure(error, request, reply),
    clientErrorHandler: (_error, socket) => {
      if (!socket.writable) return socket.destroy();
      const body = '{"code":"ERR_BODY_INVALID","message":"the request is not HTTP/1.1","problems":[]}';
      socket.end(
        `HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
      // Who neither reads nor closes is not to keep the connection.
      setTimeout(() => socket.destroy(), 1_000).unref();
    },
  });
  app.server.maxConnections = 1024;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    async (_request: unknown, body: string) => parseJson(body, 'the request body'),
  );
  addFailureHandlers(app);
  addGuard(app, { token, now });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
  });

  app.get('/healthz', async () => ({ ok: true }));
  app.get('/api/openapi.json', async () => openApiDocument());
  app.get('/api/v1/backup', async (request) => {
    request.log.info({ address: request.ip }, 'a backup of the store was taken');
    return takeBackup(store, new Date());
  });
  app.get('/api/v1/console', async () => {
    const address = consoleAddress();
    if (address) return address;
    throw new WeftError(
      'ERR_NOT_FOUND',
      'this controller serves no console: start it with --plugin-listen ADDRESS:PORT',
    );
  });
  const objects = new PolicyStore(store, sealer);
  addQuestionRoutes(app, objects, backend);
  addCapture(app, objects, backend);
  addPurge(app, objects, backend);
  addFiguresRoutes(app, objects, backend);
  addWatch(app, store);
  addObjectRoutes(app, objects);
  return app;
}
