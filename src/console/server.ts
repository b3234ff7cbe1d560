/**
 * The console's web server, over TLS: manifest and pages for everybody, answers for callers who say who they are. The
 * vSphere Client reaches it through vCenter's reverse proxy, people reach it directly.
 */
import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { ERROR_CODES, isWeftError, WeftError } from '../policy/errors.ts';
import { Callers, type OpenCloudUser } from './caller.ts';
import { answer, type Rest } from './data.ts';
import { readConsoleFiles } from './files.ts';

export interface ConsoleOptions {
  /** PEM. */
  key: string;
  certificate: string;
  host: string;
  port: number;
  /** The operator's token. */
  token: string;
  rest: Rest;
  openCloudUser: OpenCloudUser;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export interface RunningConsole {
  /** Where it listens. */
  host: string;
  port: number;
  /** SHA-256 of its certificate, upper-case pairs with colons. */
  thumbprint: string;
  /** Of what it serves. */
  build: string;
  close(): Promise<void>;
}

const MAX_BODY = 64 << 10;
const MAX_CONNECTIONS = 500;
const ANSWER_MS = 20_000;
const HEADERS = {
  // `self` is the vSphere Client where the page came through its reverse proxy.
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

/** Listens. Rejects where the address is taken or the certificate is none. */
export async function serveConsole(options: ConsoleOptions): Promise<RunningConsole> {
  const { files, build } = readConsoleFiles();
  const callers = new Callers({
    token: options.token,
    open: options.openCloudUser,
    now: () => performance.now(),
  });
  const server = createServer(
    {
      key: options.key,
      cert: options.certificate,
      minVersion: 'TLSv1.2',
      maxHeaderSize: 32 << 10,
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 10_000,
    },
    (request, response) => {
      respond(request, response).catch((error: unknown) => fail(response, error, options.log));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('clientError', (_error, socket) => socket.destroy());

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://console');
    const { path, guid } = scoped(url.pathname.slice(1));
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    if (path === '') {
      response.writeHead(302, { location: 'pages/overview.html' }).end();
      return;
    }
    if (path.startsWith('data/')) {
      response.setHeader('cache-control', 'no-store');
      const gone = new AbortController();
      response.once('close', () => gone.abort(new WeftError('ERR_TIMEOUT', 'the page has gone')));
      const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(ANSWER_MS)]);
      const { 'weft-vcenter-guid': named } = request.headers;
      const headers =
        guid !== null && named === 'only'
          ? { ...request.headers, 'weft-vcenter-guid': guid }
          : request.headers;
      const caller = await callers.identify(headers, signal);
      const body = await readBody(request);
      const question = { method: request.method ?? '', path: path.slice(5), query: url.searchParams, body };
      const result = await answer(question, caller, options.rest, signal);
      if (request.method !== 'GET') {
        options.log.info({ user: caller.name, path: question.path, body }, 'changed from the console');
      }
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
      response.end(JSON.stringify(result));
      return;
    }
    const file = files.get(path);
    if (!file) throw new WeftError('ERR_NOT_FOUND', 'there is no such page');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    response.setHeader('etag', file.etag);
    response.setHeader('cache-control', 'no-cache');
    if (request.headers['if-none-match'] === file.etag) {
      response.writeHead(304).end();
      return;
    }
    response.writeHead(200, { 'content-type': file.type, 'content-length': file.body.length });
    response.end(request.method === 'HEAD' ? undefined : file.body);
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new WeftError(
          'ERR_USAGE',
          `the console cannot listen on ${options.host}:${options.port} (${cause.message}): give another address with --plugin-listen`,
          { cause },
        ),
      ),
    );
    server.listen(options.port, options.host, () => resolve());
  });
  const { address, port } = server.address() as AddressInfo;
  return {
    host: address,
    port,
    thumbprint: new X509Certificate(options.certificate).fingerprint256,
    build,
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      await callers.close();
    },
  };
}

/**
 * The plug-in is registered under `vc/<GUID>/`, which its pages have in their own addresses: so one that stands beside
 * no object still says which vCenter it stands in.
 */
function scoped(path: string): { path: string; guid: string | null } {
  const [, guid = null, rest = path] = /^vc\/([0-9a-f-]{36})\/(.*)$/s.exec(path) ?? [];
  return { path: rest, guid };
}

/** The body as JSON; undefined where there is none. Throws ERR_BODY_INVALID, ERR_BODY_TOO_LARGE. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  if (request.method === 'GET' || request.method === 'HEAD') return undefined;
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY) throw new WeftError('ERR_BODY_TOO_LARGE', 'the request body is too large');
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    throw new WeftError('ERR_BODY_INVALID', 'the request body is not JSON');
  }
}

function fail(response: ServerResponse, error: unknown, log: ConsoleOptions['log']): void {
  const known = isWeftError(error)
    ? error
    : (error as Error)?.name === 'TimeoutError'
      ? new WeftError('ERR_TIMEOUT', 'the controller or the cloud did not answer in time')
      : new WeftError('ERR_INTERNAL', 'the request failed for a reason inside Weft; the log has it');
  if (known.code === 'ERR_INTERNAL') log.warn({ error: String(error) }, 'a page could not be answered');
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  response.writeHead(ERROR_CODES[known.code].status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(JSON.stringify({ code: known.code, message: known.message }));
}
