/**
 * HTTPS in front of the simulated vCenter: `/sdk` speaks SOAP, `/rest` and `/api` tags and sessions, `/nfc` takes
 * disks, `/ui` is a stand-in for the vSphere Client. Bodies, headers, time and connections are bounded.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { collectorMethods } from './method/collect.ts';
import { eventMethods } from './method/events.ts';
import { fabricMethods } from './method/fabric.ts';
import { hostMethods } from './method/hosts.ts';
import { importMethods } from './method/import.ts';
import { machineMethods } from './method/machines.ts';
import type { Methods } from './method/method.ts';
import { provisioningMethods } from './method/provisioning.ts';
import { login, serviceMethods } from './method/service.ts';
import { standardSwitchMethods } from './method/standard-switch.ts';
import { switchMethods } from './method/switch.ts';
import { requirePrivileges } from './privileges.ts';
import { answerRest } from './rest/rest.ts';
import { RestError } from './rest/rest-error.ts';
import { type Session, sessionGone, viewOfSession } from './sessions.ts';
import { answerClient, isClientPath } from './ui/client.ts';
import { type Vcenter, VERSION } from './vcenter.ts';
import { asVimFault, invalidRequest, VimFault } from './wire/fault.ts';
import { readCall, type SoapCall, writeAnswer, writeFault } from './wire/soap.ts';
import type { Value } from './wire/values.ts';

const MAX_BODY = 8 << 20;
const MAX_CONNECTIONS = 500;
const COOKIE = 'vmware_soap_session';
const METHODS: Methods = {
  ...serviceMethods,
  ...collectorMethods,
  ...machineMethods,
  ...fabricMethods,
  ...hostMethods,
  ...importMethods,
  ...eventMethods,
  ...provisioningMethods,
  ...standardSwitchMethods,
  ...switchMethods,
};
/** What anybody may ask. */
const OPEN_METHODS = new Set(['RetrieveServiceContent', 'CurrentTime', 'Login', 'CloneSession']);

export interface VcenterServer {
  /** `https://address:port`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Listens on loopback, on the port of the last time where it is free. */
export async function serveVcenter(vcenter: Vcenter): Promise<VcenterServer> {
  const server = createServer(
    {
      key: vcenter.state.key,
      cert: vcenter.state.certificate,
      minVersion: 'TLSv1.2',
      maxHeaderSize: 32 << 10,
      requestTimeout: 600_000,
      headersTimeout: 20_000,
      keepAliveTimeout: 30_000,
    },
    (request, response) => {
      answer(vcenter, request, response).catch((error: unknown) => {
        if (!response.headersSent && !response.destroyed) send(response, 500, writeFault(asVimFault(error)));
        else response.destroy();
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('clientError', (_error, socket) => socket.destroy());
  await listen(server, vcenter.state.port).catch(() => listen(server, 0));
  const { port } = server.address() as AddressInfo;
  vcenter.state.port = port;
  vcenter.url = `https://127.0.0.1:${port}`;
  vcenter.onRestart = () => server.closeAllConnections();
  vcenter.changed();
  return {
    url: vcenter.url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function answer(vcenter: Vcenter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // As the reverse proxy of a vCenter says while what is behind it starts.
  if (Date.now() < vcenter.downUntilMs) return send(response, 503, 'no healthy upstream', 'text/plain');
  const path = (request.url ?? '/').split('?')[0]!;
  if (path === '/sdk' || path === '/sdk/') {
    if (request.method !== 'POST') return send(response, 405, 'SOAP needs POST', 'text/plain');
    const body = await readBody(request);
    if (body === null) {
      response.setHeader('Connection', 'close');
      return send(response, 413, writeFault(invalidRequest(`the request is larger than ${MAX_BODY} bytes`)));
    }
    return answerSoap(vcenter, request, response, body);
  }
  if (path === '/sdk/vimServiceVersions.xml') return send(response, 200, versionsDocument());
  const disk = /^\/nfc\/([\w-]{1,64})\/disk-(\d{1,2})\.vmdk$/.exec(path);
  if (disk) return receiveDisk(vcenter, request, response, disk[1]!, Number(disk[2]));
  const file = /^\/cls\/data\/([\w-]{1,64})\/[^/]{1,300}$/.exec(path);
  if (file) return receiveFile(vcenter, request, response, file[1]!);
  if (isClientPath(path)) {
    const body = await readBody(request);
    if (body === null) return send(response, 413, '{}', 'application/json');
    return answerClient(vcenter, request, response, body);
  }
  if (path.startsWith('/rest/') || path.startsWith('/api/')) {
    const body = await readBody(request);
    if (body === null) return send(response, 413, '{}', 'application/json');
    return answerRest(vcenter, request, response, body);
  }
  send(response, 404, 'nothing is served here; SOAP is at /sdk', 'text/plain');
}

async function answerSoap(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new VimFault('RequestCanceled', 'the client has gone')));
  let fate: ReturnType<Vcenter['fate']> | undefined;
  try {
    requireVersion(request);
    const call = readCall(body);
    fate = vcenter.fate(call.method.name, call.self.id);
    if (fate.delayMs > 0) await sleep(fate.delayMs, undefined, { signal: gone.signal });
    if (fate.isSessionLost) vcenter.sessions.endAll();
    if (fate.isRestart && !fate.isReplyLost) return vcenter.restart();
    const result = await perform(vcenter, request, response, call, gone.signal, fate);
    if (fate.isRestart) return vcenter.restart();
    if (fate.isReplyLost) return void request.socket.destroy();
    send(response, 200, writeAnswer(call, result));
  } catch (error) {
    if (gone.signal.aborted || fate?.isReplyLost) return void request.socket.destroy();
    if (!(error instanceof VimFault)) console.error(error);
    send(response, 500, writeFault(asVimFault(error)));
  }
}

async function perform(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  call: SoapCall,
  signal: AbortSignal,
  fate: ReturnType<Vcenter['fate']>,
): Promise<Value | undefined> {
  const { name } = call.method;
  const session = vcenter.sessions.find(cookieOf(request));
  if (!session && !OPEN_METHODS.has(name) && !isAboutItself(call)) throw sessionGone();
  if (fate.fault) throw fate.fault;
  requirePrivileges(vcenter.datacenter.record.faults, name, call.self, call.args);
  if (name === 'Login' || name === 'CloneSession')
    return openSession(vcenter, request, response, call, session);
  const method = METHODS[name];
  if (!method) throw new VimFault('NotSupported', `the simulated vCenter does not carry out ${name}`);
  if (call.self.$ref === 'ServiceInstance') vcenter.object(call.self);
  return method({
    vcenter,
    session: session ?? anonymous(),
    self: call.self,
    args: call.args,
    method: name,
    signal,
    isStuck: fate.isStuck,
    taskFault: fate.taskFault,
  });
}

function openSession(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  call: SoapCall,
  present: Session | undefined,
): Value {
  if (present) throw new VimFault('InvalidLogin', 'the session is logged in already');
  let user: string;
  if (call.method.name === 'Login') {
    user = login.check({ vcenter }, String(call.args.userName), String(call.args.password));
  } else {
    const origin = vcenter.sessions.redeem(String(call.args.cloneTicket));
    if (!origin) throw new VimFault('InvalidLogin', 'the ticket is unknown, used or expired');
    user = origin.user;
  }
  const session = vcenter.sessions.open(user, {
    userAgent: String(request.headers['user-agent'] ?? '').slice(0, 200),
    address: request.socket.remoteAddress ?? '',
  });
  response.setHeader('Set-Cookie', `${COOKIE}="${session.token}"; Path=/; HttpOnly; Secure`);
  return viewOfSession(session);
}

/** What a client reads before it logs in: the service instance's own content. */
function isAboutItself(call: SoapCall): boolean {
  if (call.method.name === 'Fetch') return call.self.$ref === 'ServiceInstance';
  if (!/^RetrieveProperties(Ex)?$/.test(call.method.name)) return false;
  return (
    JSON.stringify(call.args)
      .match(/"\$ref":"(\w+)"/g)
      ?.every((ref) => ref === '"$ref":"ServiceInstance"') === true
  );
}

/** A session that owns nothing and is kept nowhere. */
function anonymous(): Session {
  return {
    token: '',
    key: '',
    user: '',
    userAgent: '',
    address: '',
    loginMs: 0,
    activeMs: 0,
    calls: 0,
    filters: new Map(),
    collectors: new Set(),
    views: new Map(),
    events: new Map(),
    remainders: new Map(),
    waits: new Map(),
    nextToken: 1,
  };
}

/** The secret of a session that a request carries, in the cookie or in a header of REST. */
export function cookieOf(request: IncomingMessage): string | undefined {
  const cookie = /(?:^|;\s*)vmware_soap_session="?([0-9a-f]{40})"?/.exec(request.headers.cookie ?? '')?.[1];
  if (cookie) return cookie;
  const header = request.headers['vmware-api-session-id'];
  return typeof header === 'string' ? header : undefined;
}

/** Throws where the request is for a version of the API that is not spoken here. */
function requireVersion(request: IncomingMessage): void {
  const action = String(request.headers.soapaction ?? '').replaceAll('"', '');
  if (action === '' || /^urn:vim25(\/|$)/.test(action)) return;
  throw invalidRequest(`Unsupported version URI "${action}"`);
}

async function receiveDisk(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  secret: string,
  index: number,
): Promise<void> {
  if (request.method !== 'POST' && request.method !== 'PUT')
    return send(response, 405, 'a disk is uploaded by POST or PUT', 'text/plain');
  const fate = vcenter.fate('NfcUpload', `disk-${index}`);
  if (fate.delayMs > 0) await sleep(fate.delayMs);
  if (fate.fault) {
    response.setHeader('Connection', 'close');
    return send(response, 503, fate.fault.message, 'text/plain');
  }
  try {
    await vcenter.leases.receive(secret, index, request);
    if (fate.isReplyLost) return void request.socket.destroy();
    send(response, request.method === 'PUT' ? 201 : 200, '', 'text/plain');
  } catch (error) {
    const fault = asVimFault(error);
    response.setHeader('Connection', 'close');
    send(response, fault.type === 'NotFound' ? 404 : 500, fault.message, 'text/plain');
  }
}

/** A file of a library item. */
async function receiveFile(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  secret: string,
): Promise<void> {
  if (request.method !== 'PUT') return send(response, 405, 'a file is uploaded by PUT', 'text/plain');
  if (!vcenter.sessions.find(cookieOf(request)))
    return send(response, 401, 'authentication is required', 'text/plain');
  const fate = vcenter.fate('LibraryUpload', secret);
  if (fate.delayMs > 0) await sleep(fate.delayMs);
  response.setHeader('Connection', 'close');
  if (fate.fault) return send(response, 503, fate.fault.message, 'text/plain');
  try {
    await vcenter.uploads.receive(secret, request);
    if (fate.isReplyLost) return void request.socket.destroy();
    send(response, 200, '', 'text/plain');
  } catch (error) {
    send(response, error instanceof RestError ? error.status : 500, (error as Error).message, 'text/plain');
  }
}

/** The body, or null where it is too large. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) return null;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/xml; charset=utf-8',
): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

/** Which versions of the API are spoken, newest first. */
function versionsDocument(): string {
  const prior = [
    '8.0.1.0',
    '8.0.0.1',
    '7.0.3.0',
    '7.0',
    '6.7.3',
    '6.7',
    '6.5',
    '6.0',
    '5.5',
    '5.0',
    '4.1',
    '4.0',
    '2.5u2',
    '2.5',
    '2.0',
  ];
  return `<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0"><namespace><name>urn:vim25</name><version>${VERSION.api}</version><priorVersions>${prior
    .map((one) => `<version>${one}</version>`)
    .join('')}</priorVersions></namespace></namespaces>`;
}
