/**
 * The hub's TLS listener: `POST /enrol`, `POST /renew`, and the WebSocket upgrade of `GET /shared`.
 *
 * TLS 1.3 only. A client certificate is asked for and not demanded, because an engine that enrols has none yet; the
 * other two demand one that is valid, not revoked, and names an engine.
 */
import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { ERROR_CODES, type ErrorCode, WeftError } from '../policy/errors.ts';
import type { EnginePeer } from './engine-link.ts';
import type { HubAuthority } from './hub-authority.ts';
import { engineOfCertificate } from './identity.ts';
import type { StateLog } from './log.ts';
import { MAX_ENGINE_MESSAGE_BYTES, MAX_EPOCH } from './wire.ts';

export interface HubListenerOptions {
  authority: HubAuthority;
  /** Default: every address. */
  host: string | undefined;
  port: number;
  log: StateLog;
  /** Why the peer may not come in now, or undefined. */
  admit(peer: EnginePeer): Refusal | undefined;
  /** The peer came in. */
  onSocket(socket: WebSocket, peer: EnginePeer): void;
}

export interface Refusal {
  code: ErrorCode;
  message: string;
  /** With ERR_EPOCH_STALE: the epoch that was seen. */
  epoch?: number;
}

export interface HubListener {
  address(): { host: string; port: number };
  /** Takes up a new certificate where it is due; connections that are up stay up. */
  renewCredentials(wallClock: number): Promise<void>;
  close(): Promise<void>;
}

/** Resolves once it listens. Rejects with ERR_UNREACHABLE where the address cannot be had. */
export async function listenHub(options: HubListenerOptions): Promise<HubListener> {
  const { authority, log } = options;
  let credentials = await authority.serverCredentials();
  const tls = () => ({
    cert: credentials.certificate,
    key: credentials.key,
    ca: credentials.ca,
    minVersion: 'TLSv1.3' as const,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const server = createServer({
    ...tls(),
    handshakeTimeout: 10_000,
    headersTimeout: 10_000,
    requestTimeout: 15_000,
    keepAliveTimeout: 1000,
    connectionsCheckingInterval: 2000,
    maxHeaderSize: 8192,
  });
  server.maxRequestsPerSocket = 10;
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_ENGINE_MESSAGE_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
  });
  const open = new Set<Duplex>();
  let enrolling = 0;

  server.on('secureConnection', (socket: TLSSocket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    // Resets before or after a request are the peer's affair.
    socket.on('error', (error) => log.debug({ err: error }, 'a connection to the hub broke'));
  });
  server.on('tlsClientError', (error) => log.debug({ err: error }, 'a TLS handshake with the hub failed'));
  server.on('clientError', (_error, socket) => socket.destroy());
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void answer(request, response);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const peer = peerOfUpgrade(request);
    const refusal = 'code' in peer ? peer : options.admit(peer);
    if (refusal !== undefined) {
      log.warn({ ...describe(request), code: refusal.code }, `an engine was not let in: ${refusal.message}`);
      refuseUpgrade(socket, refusal);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (accepted) =>
      options.onSocket(accepted, peer as EnginePeer),
    );
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await route(request);
      reply(response, 200, body);
    } catch (error) {
      const known = error instanceof WeftError ? error : undefined;
      if (known === undefined) log.error({ err: error }, 'the hub could not answer');
      else log.warn({ ...describe(request), code: known.code }, known.message);
      const code = known?.code ?? 'ERR_INTERNAL';
      const message = known?.message ?? ERROR_CODES.ERR_INTERNAL.meaning;
      reply(response, ERROR_CODES[code].status, { error: { code, message } });
    }
  }

  async function route(request: IncomingMessage): Promise<object> {
    const path = request.url;
    if (request.method !== 'POST' || (path !== '/enrol' && path !== '/renew')) {
      throw new WeftError('ERR_NOT_FOUND', 'the hub answers POST /enrol, POST /renew and GET /shared');
    }
    const peer = path === '/renew' ? authenticated(request) : undefined;
    if (peer !== undefined && 'code' in peer) throw new WeftError(peer.code, peer.message);
    if (enrolling >= MAX_ENROLLING) {
      throw new WeftError('ERR_UNREACHABLE', 'too many engines enrol at once: repeat in a moment');
    }
    enrolling++;
    try {
      const body = await readBody(request);
      if (peer === undefined) {
        const { token, engine, csr } = parseBody(enrolBody, body);
        return await authority.enrol({ token, engine, csrPem: csr });
      }
      return await authority.renew(peer.certificate, parseBody(renewBody, body).csr);
    } finally {
      enrolling--;
    }
  }

  function peerOfUpgrade(request: IncomingMessage): EnginePeer | Refusal {
    const url = URL.parse(request.url ?? '', 'https://hub');
    if (request.method !== 'GET' || url?.pathname !== '/shared') {
      return { code: 'ERR_NOT_FOUND', message: 'the WebSocket is GET /shared' };
    }
    const proven = authenticated(request);
    if ('code' in proven) return proven;
    const epoch = Number(url.searchParams.get('epoch') ?? Number.NaN);
    const boot = url.searchParams.get('boot') ?? '';
    if (!Number.isInteger(epoch) || epoch < 0 || epoch > MAX_EPOCH || !/^[A-Za-z0-9-]{1,64}$/.test(boot)) {
      return { code: 'ERR_BODY_INVALID', message: `${proven.engine} names no epoch and boot of its own` };
    }
    return { ...proven, epoch, boot };
  }

  function authenticated(
    request: IncomingMessage,
  ): { engine: string; certificate: X509Certificate } | Refusal {
    const socket = request.socket as TLSSocket;
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined || !socket.authorized) {
      return {
        code: 'ERR_UNAUTHENTICATED',
        message: `a valid engine certificate is needed (${String(socket.authorizationError ?? 'none was shown')}): enrol`,
      };
    }
    const engine = engineOfCertificate(certificate);
    if (engine === undefined) {
      return { code: 'ERR_UNAUTHENTICATED', message: 'the certificate does not name an engine: enrol' };
    }
    // A resumed TLS session was verified when it began, which may be long ago.
    if (certificate.validToDate.getTime() < Date.now()) {
      return {
        code: 'ERR_UNAUTHENTICATED',
        message: `the certificate of ${engine} has expired: enrol it anew`,
      };
    }
    if (authority.isRevoked(engine, certificate)) {
      return { code: 'ERR_FORBIDDEN', message: `the certificate of ${engine} was revoked: enrol it anew` };
    }
    return { engine, certificate };
  }

  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error) =>
      reject(
        new WeftError(
          'ERR_UNREACHABLE',
          `the hub cannot listen at ${options.host ?? 'any address,'} port ${options.port} (${cause.message}): choose another address or stop who has it`,
          { cause },
        ),
      );
    server.once('error', fail);
    const host = options.host === undefined ? {} : { host: options.host };
    server.listen({ ...host, port: options.port, backlog: 2048 }, () => {
      server.off('error', fail);
      server.on('error', (error) => log.error({ err: error }, 'the listener of the hub failed'));
      resolve();
    });
  });

  return {
    address: () => addressOf(server),
    async renewCredentials(wallClock) {
      if (wallClock < credentials.renewAt) return;
      credentials = await authority.serverCredentials();
      server.setSecureContext(tls());
      log.info(
        { expiresAt: new Date(credentials.expiresAt).toISOString() },
        'the hub took up a new certificate',
      );
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

const MAX_BODY_BYTES = 16 * 1024;
const MAX_ENROLLING = 64;
const MAX_CONNECTIONS = 8192;

const enrolBody = z.strictObject({
  token: z.string().max(256),
  engine: z.string().max(127),
  csr: z.string().max(8192),
});
const renewBody = z.strictObject({ csr: z.string().max(8192) });

function parseBody<Body>(schema: z.ZodType<Body>, text: string): Body {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw new WeftError('ERR_BODY_INVALID', 'the body is not JSON', { cause });
  }
  const result = schema.safeParse(body);
  // What was sent is not repeated: it may hold a token.
  if (!result.success)
    throw new WeftError('ERR_BODY_INVALID', 'the body is not a request to enrol or to renew');
  return result.data;
}

function readBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    request.on('data', (part: Buffer) => {
      length += part.length;
      if (length <= MAX_BODY_BYTES) parts.push(part);
      else {
        // No more is read; the connection ends with the answer.
        request.pause().removeAllListeners('data');
        reject(new WeftError('ERR_BODY_TOO_LARGE', `the body is larger than ${MAX_BODY_BYTES} bytes`));
      }
    });
    request.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
    const brokenOff = (cause?: Error) =>
      reject(new WeftError('ERR_BODY_INVALID', 'the body did not arrive whole', { cause }));
    request.on('error', brokenOff);
    request.on('close', () => brokenOff());
  });
}

function reply(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(status !== 200 && { connection: 'close' }),
  });
  response.end(text, () => {
    if (status !== 200) response.socket?.destroySoon();
  });
}

function refuseUpgrade(socket: Duplex, refusal: Refusal): void {
  const { code, message, epoch } = refusal;
  const body = JSON.stringify({ error: { code, message }, ...(epoch !== undefined && { epoch }) });
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${ERROR_CODES[code].status} Refused\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

function describe(request: IncomingMessage): { remote: string | undefined; path: string } {
  return { remote: request.socket.remoteAddress, path: (request.url ?? '').slice(0, 64).split('?')[0]! };
}

function addressOf(server: Server): { host: string; port: number } {
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new WeftError('ERR_UNREACHABLE', 'the hub does not listen any more');
  }
  return { host: address.address, port: address.port };
}
