/** Every error as the API answers it: `{ code, message, problems }` with the code's HTTP status, and nothing inside. */
import type { IncomingMessage } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_CODES, isWeftError, type Problem, WeftError } from '../policy/errors.ts';
import { shown } from '../policy/problems.ts';

/** The body of every answer that is not a success. */
export interface Failure {
  code: string;
  message: string;
  problems: readonly Problem[];
}

/** How long the rest of a body that was refused is still taken. */
const LINGER_MS = 2000;
/** How many single problems an answer names. */
const MAX_PROBLEMS = 100;

/** Makes `app` answer errors, and unknown routes, in one form. */
export function addFailureHandlers(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => answerFailure(error, request, reply));
  app.setNotFoundHandler((request) => {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `there is no route ${request.method} ${shown(request.url)}; /api/openapi.json lists the routes`,
    );
  });
}

/** Answers one error. Anything that is not a WeftError and not the client's fault is logged, and not shown. */
export function answerFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const known = translate(error);
  if (known.code === 'ERR_INTERNAL') request.log.error({ err: error, url: request.url }, 'a request failed');
  if (known.code === 'ERR_BODY_TOO_LARGE') {
    // fastify's own, which would end the connection with the answer.
    reply.removeHeader('connection');
    endUnlessRead(request.raw);
  }
  reply.code(ERROR_CODES[known.code].status).type('application/json').send(failureOf(known));
}

/**
 * The rest of a body that was refused half-way is thrown away for a moment, then the connection ends. To end it with
 * the answer would reset it, and a client that is still sending would never see why.
 */
function endUnlessRead(request: IncomingMessage): void {
  const timer = setTimeout(() => {
    if (!request.complete) request.destroy();
  }, LINGER_MS);
  timer.unref();
  request.once('end', () => clearTimeout(timer));
  request.once('close', () => {
    if (request.complete) clearTimeout(timer);
  });
}

/** The body for an error. */
export function failureOf(error: WeftError): Failure {
  const problems = error.problems.slice(0, MAX_PROBLEMS);
  return { code: error.code, message: error.message, problems };
}

/** Any error as one of ours. */
export function translate(error: unknown): WeftError {
  if (isWeftError(error)) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE' || statusCode === 413) {
    return new WeftError(
      'ERR_BODY_TOO_LARGE',
      'the request body is larger than 1 MB: send fewer objects at once',
    );
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new WeftError(
      'ERR_BODY_INVALID',
      'the request body must be JSON: send "Content-Type: application/json"',
    );
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new WeftError('ERR_BODY_INVALID', `the request is malformed (${code ?? statusCode})`);
  }
  return new WeftError('ERR_INTERNAL', 'the request failed for a reason inside Weft; the log has it', {
    cause: error,
  });
}
