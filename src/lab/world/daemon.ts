/**
 * The lab's daemon: the hypervisor's API over HTTP on a unix socket that only root can open. It can be killed at any
 * time; the VMs go on, and the next daemon takes them over.
 *
 *   GET    /inventory                      PUT    /hosts/:host/segments/:name   { shadows }
 *   GET    /watch?cursor=                  DELETE /hosts/:host/segments/:name
 *   POST   /engines                        PUT    /vms/:vm/nics/:nic/segment    { segment }
 *   POST   /vms/:vm/clone                  DELETE /vms/:vm
 *   POST   /vms/:vm/power   { action }     POST   /vms/:vm/migrate              { host }
 *   PUT    /engines/:engine/mirror { nics }
 *   GET    /stats?vms=a,b
 * and, for the lab itself and not subject to faults:
 *   POST /hosts/:host/maintenance { action }, which begins it and does not wait
 *   GET, PUT /owner { owner, before }: which controller drives the lab
 *   PUT /vms/:vm/label { engine }: which engine a VM has to do with, for people
 *   GET, PUT /policy-copy { text }: what that controller keeps of its policy
 *   GET /status · PUT /gateway { host, port } · POST /faults · DELETE /faults[/:id] · POST /vms/:vm/kill
 */
import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ERROR_CODES, isWeftError, WeftError } from '../../policy/errors.ts';
import { MOST_COPY_CHARACTERS } from '../policy-copy.ts';
import { LIFE_HEADER } from '../session.ts';
import {
  hasMethod,
  hasVcenter,
  type SwitchKind,
  startVcenter,
  type VcenterAddress,
} from '../vcenter/index.ts';
import { Datacenter, type DatacenterOptions } from './datacenter.ts';
import { FaultSpec, fateOf, type PlatformMethod } from './faults.ts';
import { Gateway } from './gateway.ts';
import { labPaths } from './names.ts';
import { refOf, writePidFile } from './process.ts';
import { labStatus } from './status.ts';

/** A watch is answered after this time even if nothing changed; the client asks again. */
const WATCH_LIMIT_MS = 25_000;

const Text = z.string().min(1).max(4096);
const SegmentBody = z.strictObject({ shadows: Text });
const EngineBody = z.strictObject({
  engine: Text,
  host: Text,
  segments: z.strictObject({ mgmt: Text, out: Text, in: Text }),
  properties: z.strictObject({ engine: Text, controller: Text, ca: z.string().max(1 << 16), token: Text }),
});
const CloneBody = z.strictObject({ name: Text, host: Text });
const NoteBody = z.strictObject({
  id: z.string().max(300),
  kind: z.string().max(100),
  state: z.enum(['running', 'success', 'error']),
  progress: z.number().min(0).max(1).optional(),
  vm: z.string().max(200).nullable(),
  host: z.string().max(200).nullable(),
  engine: z.string().max(200).nullable(),
  message: z.string().max(2000),
});
const PowerBody = z.strictObject({ action: z.enum(['on', 'off', 'reset']) });
const MigrateBody = z.strictObject({ host: Text });
const MirrorBody = z.strictObject({ nics: z.array(z.strictObject({ vm: Text, nic: Text })).max(10_000) });
const AttachBody = z.strictObject({ segment: Text });
const OwnerRecord = z.strictObject({
  instance: Text,
  life: Text,
  name: Text,
  beatAt: Text,
  ousted: Text.nullable(),
});
const OwnerBody = z.strictObject({ owner: OwnerRecord, before: OwnerRecord.nullable() });
const LabelBody = z.strictObject({ engine: Text.nullable() });
const PolicyCopyBody = z.strictObject({ text: z.string().max(MOST_COPY_CHARACTERS) });
const MaintenanceBody = z.strictObject({ action: z.enum(['enter', 'exit']) });
const GatewayBody = z.strictObject({ host: Text, port: z.int().min(1).max(65535) }).nullable();

export interface DaemonOptions extends DatacenterOptions {
  /** `vcenter`: a simulated vCenter stands in front of the lab; a lab that had one has it again anyway. */
  cloud?: 'lab' | 'vcenter';
  /** Which switches a new vCenter has; one that was there before keeps its own. */
  switches?: SwitchKind;
}

export interface LabDaemon {
  readonly datacenter: Datacenter;
  /** Stops the daemon, not the lab. */
  close(): Promise<void>;
}

/**
 * Builds or takes over a lab and serves it. Throws ERR_LAB where another daemon serves it already, ERR_KERNEL where
 * its networks cannot be made.
 */
export async function serveLab(options: DaemonOptions): Promise<LabDaemon> {
  const paths = labPaths(options.lab);
  mkdirSync(paths.vms, { recursive: true, mode: 0o700 });
  chmodSync(paths.runDir, 0o700);
  if (await answers(paths.socket)) {
    throw new WeftError('ERR_LAB', `lab ${options.lab} is up already; \`weft lab down\` ends it`);
  }
  rmSync(paths.socket, { force: true });
  writePidFile(paths.daemonPid, refOf(process.pid));

  const datacenter = await Datacenter.open(options);
  const gateway = new Gateway(options.lab, () => datacenter.record.gateway);
  await gateway.start();
  const wantsVcenter = options.cloud === 'vcenter' || hasVcenter(options.lab);
  const vcenter = wantsVcenter ? await startVcenter(datacenter, undefined, options.switches) : null;
  datacenter.maintenance.resume();
  datacenter.availability.resume();
  const ended = new AbortController();
  const server = routes(datacenter, gateway, vcenter?.address ?? null, ended.signal);
  await server.listen({ path: paths.socket });
  chmodSync(paths.socket, 0o600);
  return {
    datacenter,
    async close() {
      ended.abort(new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the daemon of the lab is stopping'));
      await vcenter?.close();
      datacenter.close();
      gateway.stop();
      server.server.closeAllConnections();
      await server.close();
    },
  };
}

function routes(
  datacenter: Datacenter,
  gateway: Gateway,
  vcenter: VcenterAddress | null,
  ended: AbortSignal,
): FastifyInstance {
  const server = fastify({ forceCloseConnections: true, bodyLimit: 1 << 20 });
  server.setErrorHandler((error, request, reply) => {
    if (request.raw.socket.destroyed) return; // Whoever asked has hung up; nobody is told.
    const { code, message } = asWeftError(error);
    if (code === 'ERR_INTERNAL') console.error(error);
    void reply.code(ERROR_CODES[code].status).send({ code, message });
  });
  server.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send({ code: 'ERR_NOT_FOUND', message: `${request.method} ${request.url} is not served` }),
  );

  /** A call of the platform contract: it waits, fails or loses its reply as the faults say. */
  const call =
    (method: PlatformMethod, work: (request: FastifyRequest, signal: AbortSignal) => unknown) =>
    async (request: FastifyRequest, reply: FastifyReply) => {
      const gone = new AbortController();
      request.raw.socket.once('close', () => gone.abort());
      const signal = AbortSignal.any([gone.signal, ended]);
      requireOwner(method, request);
      const fate = fateOf(method, datacenter.record.faults);
      if (fate.delayMs > 0) await sleep(fate.delayMs, undefined, { signal });
      if (fate.failure === 'refused') {
        throw new WeftError('ERR_HYPERVISOR_REFUSED', `${method} was refused, because a fault was injected`);
      }
      const result = await work(request, signal);
      if (fate.failure === 'reply-lost') {
        reply.hijack();
        request.raw.socket.destroy();
        return;
      }
      return result ?? {};
    };
  /** A controller that does not drive the lab any more is refused, however late it asks; people are not. */
  const requireOwner = (method: string, request: FastifyRequest): void => {
    const life = request.headers[LIFE_HEADER];
    const { owner } = datacenter.record;
    if (life === undefined || !owner || owner.life === life) return;
    throw new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `${method} was refused: the lab is driven by controller ${owner.instance} on ${owner.name}`,
    );
  };
  const at = (request: FastifyRequest, name: string) =>
    (request.params as Record<string, string>)[name] ?? '';
  const query = (request: FastifyRequest, name: string) =>
    String((request.query as Record<string, unknown>)[name] ?? '');

  server.get(
    '/inventory',
    call('inventory', () => datacenter.inventory.view()),
  );
  server.get(
    '/watch',
    call('watch', async (request, signal) => {
      const cursor = query(request, 'cursor');
      const limit = AbortSignal.timeout(WATCH_LIMIT_MS);
      try {
        return { cursor: await datacenter.inventory.watch(cursor, AbortSignal.any([signal, limit])) };
      } catch (error) {
        if (limit.aborted && !signal.aborted) return { cursor };
        throw error;
      }
    }),
  );
  server.put(
    '/hosts/:host/segments/:name',
    call('ensureSegment', (request) =>
      datacenter.segments.ensure({
        host: at(request, 'host'),
        name: at(request, 'name'),
        role: 'shadow',
        shadows: read(SegmentBody, request).shadows,
      }),
    ),
  );
  server.delete(
    '/hosts/:host/segments/:name',
    call('removeSegment', (request) => datacenter.segments.remove(at(request, 'host'), at(request, 'name'))),
  );
  server.post(
    '/engines',
    call('deployEngine', (request) => datacenter.vms.deployEngine(read(EngineBody, request))),
  );
  server.delete(
    '/vms/:vm',
    call('removeVm', (request) => datacenter.vms.remove(at(request, 'vm'))),
  );
  server.post(
    '/vms/:vm/clone',
    call('cloneVm', (request) => datacenter.vms.clone(at(request, 'vm'), read(CloneBody, request))),
  );
  server.post(
    '/vms/:vm/power',
    call('power', (request) => datacenter.vms.power(at(request, 'vm'), read(PowerBody, request).action)),
  );
  server.post('/vms/:vm/upgrade', async (request) => {
    await datacenter.vms.upgrade(at(request, 'vm'));
    return {};
  });
  server.post(
    '/vms/:vm/migrate',
    call('migrate', (request) => datacenter.vms.migrate(at(request, 'vm'), read(MigrateBody, request).host)),
  );
  server.get(
    '/stats',
    call('stats', (request) => datacenter.stats(query(request, 'vms').split(','))),
  );
  server.put(
    '/vms/:vm/nics/:nic/segment',
    call('attach', (request) =>
      datacenter.segments.attach(at(request, 'vm'), at(request, 'nic'), read(AttachBody, request).segment),
    ),
  );

  server.put(
    '/engines/:engine/mirror',
    call('mirror', (request) =>
      datacenter.segments.mirror(at(request, 'engine'), read(MirrorBody, request).nics),
    ),
  );

  server.get('/owner', async () => ({ owner: datacenter.record.owner ?? null }));
  server.put('/owner', async (request) => {
    const { owner, before } = read(OwnerBody, request);
    return { isWritten: datacenter.setOwner(owner, before) };
  });
  server.get('/policy-copy', async () => ({ text: datacenter.record.policyCopy ?? null }));
  server.put('/policy-copy', async (request) => {
    requireOwner('keeping a copy of the policy', request);
    datacenter.keepPolicyCopy(read(PolicyCopyBody, request).text);
    return {};
  });
  server.put('/vms/:vm/label', async (request) => {
    requireOwner('a label', request);
    datacenter.vms.label(at(request, 'vm'), read(LabelBody, request).engine);
    return {};
  });
  // What a controller says it does: in the log of the lab, `daemon.log` of its run directory.
  server.post('/notes', async (request) => {
    process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), ...read(NoteBody, request) })}\n`);
    return {};
  });
  server.get('/status', async () => labStatus(datacenter, vcenter));
  server.put('/gateway', async (request) => {
    datacenter.setGateway(read(GatewayBody, request));
    gateway.reset();
    return {};
  });
  server.post('/hosts/:host/maintenance', async (request) => {
    const { maintenance } = datacenter;
    const host = datacenter.inventory.host(at(request, 'host')).id;
    if (read(MaintenanceBody, request).action === 'exit') await maintenance.exit(host);
    // It may take as long as whoever made an engine leaves it on.
    else maintenance.request(host);
    return {};
  });
  server.post('/vms/:vm/kill', async (request) => {
    await datacenter.vms.power(at(request, 'vm'), 'off');
    return {};
  });
  server.post('/faults', async (request) => {
    const spec = read(FaultSpec, request);
    if (spec.kind === 'vcenter' || spec.kind === 'privilege') requireVcenter(datacenter, vcenter);
    if (spec.kind === 'vcenter' && spec.call !== '*' && !hasMethod(spec.call)) {
      throw new WeftError('ERR_LAB', `vCenter has no method ${spec.call}; tasks are begun by ..._Task`);
    }
    return datacenter.faults.inject(spec);
  });
  server.get('/faults', async () => datacenter.record.faults);
  server.delete('/faults', async () => datacenter.faults.heal(null));
  server.delete('/faults/:id', async (request) => datacenter.faults.heal(at(request, 'id')));
  return server;
}

/** A fault that cannot strike is refused. Throws ERR_LAB. */
function requireVcenter({ lab }: Datacenter, vcenter: VcenterAddress | null): void {
  if (vcenter) return;
  throw new WeftError(
    'ERR_LAB',
    `lab ${lab} has no vCenter: bring one up that has, \`weft lab up --cloud vcenter\``,
  );
}

function asWeftError(error: unknown): WeftError {
  if (isWeftError(error)) return error;
  const { message, statusCode } = error as Error & { statusCode?: number };
  const isCallersFault = statusCode !== undefined && statusCode < 500;
  return new WeftError(isCallersFault ? 'ERR_BODY_INVALID' : 'ERR_INTERNAL', message, { cause: error });
}

/** The request's body in the shape wanted. Throws ERR_HYPERVISOR_REFUSED, which says what is wrong. */
function read<Schema extends z.ZodType>(schema: Schema, request: FastifyRequest): z.output<Schema> {
  const result = schema.safeParse(request.body ?? null);
  if (result.success) return result.data;
  throw new WeftError('ERR_HYPERVISOR_REFUSED', z.prettifyError(result.error));
}

/** True when somebody accepts connections on the socket. */
function answers(path: string): Promise<boolean> {
  if (!existsSync(path)) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
