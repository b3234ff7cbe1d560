/**
 * Who may come in: a bearer token on everything but /healthz, no requests from other sites' pages, and a limit on
 * wrong tokens per address.
 *
 * The limit never refuses the right token: a stranger behind the same address cannot lock an operator out, and
 * guessing a random token is hopeless with or without a limit; what the limit saves is work and log lines.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { WeftError } from '../policy/errors.ts';

/** Wrong tokens from one address within a window that are answered one by one. */
const FAILURES = 10;
const WINDOW_MS = 60_000;
/** Addresses remembered; beyond that the one remembered longest is forgotten. */
const ADDRESSES = 1000;

export interface GuardOptions {
  token: string;
  /** Milliseconds of a clock that only goes forward. */
  now(): number;
}

/** Puts the guard before every route of `app`, unknown ones included. Call it before routes are added. */
export function addGuard(app: FastifyInstance, { token, now }: GuardOptions): void {
  if (token.length < 16) {
    throw new WeftError('ERR_USAGE', 'the API token has fewer than 16 characters: give a random one');
  }
  const wanted = digest(token);
  const failures = new Map<string, { count: number; since: number }>();

  app.addHook('onRequest', async (request, reply) => {
    refuseForeignOrigin(request);
    if (request.routeOptions.url === '/healthz') return;
    const given = bearerToken(request.headers.authorization);
    // Digests have one length, so that neither length nor content shows in the time that the comparison takes.
    if (given !== null && timingSafeEqual(digest(given), wanted)) return;

    const before = failures.get(request.ip);
    const failure = before && now() - before.since < WINDOW_MS ? before : { count: 0, since: now() };
    failure.count++;
    failures.delete(request.ip);
    failures.set(request.ip, failure);
    if (failures.size > ADDRESSES) failures.delete(failures.keys().next().value!);
    if (failure.count > FAILURES) {
      const seconds = Math.max(1, Math.ceil((failure.since + WINDOW_MS - now()) / 1000));
      reply.header('retry-after', seconds);
      throw new WeftError('ERR_THROTTLED', `too many refused tokens from this address: wait ${seconds} s`);
    }
    reply.header('www-authenticate', 'Bearer');
    request.log.warn(
      { address: request.ip, count: failure.count },
      'a request without a valid token was refused',
    );
    throw new WeftError(
      'ERR_UNAUTHENTICATED',
      given === null
        ? 'the request carries no token: send "Authorization: Bearer <token>"'
        : 'the token is not the one of this controller: set WEFT_TOKEN or --token',
    );
  });
}

function bearerToken(header: string | undefined): string | null {
  const match = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(header ?? '');
  return match ? match[1]! : null;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Browsers name the page a request comes from; pages of other sites are refused before the token is looked at. */
function refuseForeignOrigin(request: FastifyRequest): void {
  const origin = request.headers.origin;
  if (origin === undefined) return;
  let host: string | null = null;
  try {
    host = new URL(origin).host;
  } catch {
    // `null` and malformed origins are nobody's own.
  }
  if (host === null || host !== request.headers.host?.toLowerCase()) {
    throw new WeftError('ERR_FORBIDDEN', 'requests from pages of another origin are refused');
  }
}
