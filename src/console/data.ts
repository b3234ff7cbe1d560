/** The answers behind the pages: REST of the controller, as far as the caller may see it, and the one change he may make. */
import { WeftError } from '../policy/errors.ts';
import type { Caller, ObjectName } from './caller.ts';

/** One call of the controller's REST API. Throws the API's error. */
export type Rest = (
  method: 'GET' | 'PUT',
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<unknown>;

/** What a page asks for: a path below `data/`, with its query. */
export interface Question {
  method: string;
  path: string;
  query: URLSearchParams;
  body: unknown;
}

/** Answers a page. Throws ERR_FORBIDDEN where the caller may not see it, ERR_NOT_FOUND, ERR_BODY_INVALID. */
export async function answer(
  question: Question,
  caller: Caller,
  rest: Rest,
  signal: AbortSignal,
): Promise<unknown> {
  const { method, path, query, body } = question;
  const is = (wanted: string, route: string): boolean => method === wanted && path === route;
  if (is('GET', 'vm') || is('GET', 'host')) {
    const type = path === 'vm' ? 'VirtualMachine' : 'HostSystem';
    const id = required(query, 'id');
    const cloud = caller.cloud ?? required(query, 'cloud');
    await demand(caller, 'read', { type, id }, signal);
    const object = await rest('GET', `/api/v1/${path}/${segment(cloud)}/${segment(id)}`);
    return { caller: await describe(caller, { type, id }, signal), [path]: object };
  }
  if (is('GET', 'overview')) {
    await demand(caller, 'read', null, signal);
    const status = await rest('GET', '/api/v1/status');
    return { caller: await describe(caller, null, signal), status: ofCloud(status, caller.cloud) };
  }
  if (is('POST', 'service')) {
    await demand(caller, 'operate', null, signal);
    const { name, isEnabled } = (body ?? {}) as { name?: unknown; isEnabled?: unknown };
    if (typeof name !== 'string' || typeof isEnabled !== 'boolean') {
      throw new WeftError('ERR_BODY_INVALID', 'name a service and whether it shall be enabled');
    }
    return setEnabled(name, isEnabled, caller, rest);
  }
  throw new WeftError('ERR_NOT_FOUND', `there is nothing at ${method} data/${path.slice(0, 100)}`);
}

/** The specification is put back with the revision that it was read at: a change meanwhile is not overwritten. */
async function setEnabled(name: string, isEnabled: boolean, caller: Caller, rest: Rest): Promise<unknown> {
  const path = `/api/v1/virtual-service/${segment(name)}`;
  const object = (await rest('GET', path)) as { spec: { engineGroup: string }; revision: number };
  if (caller.cloud !== null) {
    const group = (await rest('GET', `/api/v1/engine-group/${segment(object.spec.engineGroup)}`)) as {
      spec: { cloud: string };
    };
    if (group.spec.cloud !== caller.cloud) {
      throw new WeftError('ERR_FORBIDDEN', `virtual service ${name} is not in cloud ${caller.cloud}`);
    }
  }
  const spec = { ...object.spec, isEnabled };
  return rest('PUT', path, { spec }, { 'if-match': `"${object.revision}"` });
}

async function demand(
  caller: Caller,
  what: 'read' | 'operate',
  object: ObjectName | null,
  signal: AbortSignal,
): Promise<void> {
  if (await caller.may(what, object, signal)) return;
  const where = object ? ` on ${object.id}` : '';
  throw new WeftError(
    'ERR_FORBIDDEN',
    what === 'read'
      ? `${caller.name} may not read${where}: it needs the privilege System.Read there`
      : `${caller.name} may not change virtual services: it needs the privilege Weft.Operate on the root folder`,
  );
}

async function describe(caller: Caller, object: ObjectName | null, signal: AbortSignal) {
  return { name: caller.name, mayOperate: await caller.may('operate', object && null, signal) };
}

/** A user of one cloud's client sees what is in that cloud. */
function ofCloud(status: unknown, cloud: string | null): unknown {
  if (cloud === null) return status;
  const all = status as {
    clouds: { name: string }[];
    hosts: { name: string; cloud: string }[];
    engines: { host: string; id: string }[];
    members: { member: string; pool: string }[];
  };
  const hosts = all.hosts.filter((one) => one.cloud === cloud);
  const names = new Set(hosts.map(({ name }) => name));
  return {
    ...all,
    clouds: all.clouds.filter(({ name }) => name === cloud),
    hosts,
    engines: all.engines.filter(({ host }) => names.has(host)),
    members: all.members.filter(({ member }) => member.startsWith(`${cloud}/`)),
  };
}

function required(query: URLSearchParams, name: string): string {
  const value = query.get(name);
  if (value !== null && /^[\w.-]{1,100}$/.test(value)) return value;
  throw new WeftError('ERR_BODY_INVALID', `the request names no ${name}`);
}

function segment(text: string): string {
  if (text === '' || /^\.+$/.test(text)) throw new WeftError('ERR_BODY_INVALID', 'a name is missing');
  return encodeURIComponent(text);
}
