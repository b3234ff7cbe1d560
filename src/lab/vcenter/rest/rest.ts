/**
 * The part of vCenter's REST that platforms use: sessions and tagging, under `/rest/com/vmware/cis` (answers wrapped
 * in `value`) and under `/api` (plain), with one set of functions behind both.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { login } from '../method/service.ts';
import { cookieOf } from '../server.ts';
import { viewOfSession } from '../sessions.ts';
import type { VcenterState } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { isFault } from '../wire/fault.ts';
import { answerLibrary } from './library.ts';
import { alreadyExists, notFound, RestError } from './rest-error.ts';
import { requireRestPrivileges } from './rest-privileges.ts';
import { newTagId } from './tag-store.ts';

const MAX_TAGS = 10_000;
const Name = z.string().min(1).max(256);
const ObjectId = z.object({ type: Name, id: Name });
const Category = z.object({
  name: Name,
  description: z.string().max(4096).default(''),
  cardinality: z.enum(['SINGLE', 'MULTIPLE']),
  associable_types: z.array(Name).max(100).default([]),
});
const Tag = z.object({ name: Name, description: z.string().max(4096).default(''), category_id: Name });

/** Answers one request below `/rest` or `/api`. */
export async function answerRest(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://vcenter');
  const isOld = url.pathname.startsWith('/rest/');
  try {
    const path = url.pathname
      .replace(/^\/rest\/com\/vmware\/cis\//, '/')
      .replace(/^\/api\/(cis\/)?/, '/')
      .replace(/\/$/, '')
      .replace(/\/id:([^/]+)/, '/$1');
    const input = body === '' ? {} : (JSON.parse(body) as Record<string, unknown>);
    const library = /^\/(?:rest(?:\/com\/vmware)?|api)\/((?:content|vcenter)\/.*)$/.exec(url.pathname)?.[1];
    const isDeployment = library !== undefined && /[?&]~?action=deploy\b/.test(url.search);
    const fate = isDeployment ? vcenter.fate('DeployLibraryItem', library) : null;
    if (fate?.delayMs) await sleep(fate.delayMs);
    if (fate?.fault) throw new RestError(400, 'ERROR', fate.fault.message);
    const libraryPath = library
      ?.replace(/\/$/, '')
      .split('/')
      .map((part) => decodeURIComponent(part).replace(/^id:/, ''));
    const method = request.method ?? 'GET';
    const action = url.searchParams.get('~action') ?? url.searchParams.get('action');
    if (vcenter.sessions.find(cookieOf(request))) {
      requireRestPrivileges(vcenter, method, libraryPath ?? path.split('/').slice(1), action);
    }
    const result = libraryPath
      ? await answerLibrary({
          vcenter: authorised(vcenter, request),
          method,
          path: libraryPath,
          action,
          query: url.searchParams,
          input,
          isOld,
        })
      : route(vcenter, request, response, path, url.searchParams, input);
    if (fate?.isReplyLost) return void request.socket.destroy();
    const value = isOld ? { value: result } : result;
    const isCreated = !isOld && request.method === 'POST' && typeof result === 'string';
    send(
      response,
      isCreated ? 201 : 200,
      value === undefined || (isOld && result === undefined) ? '' : JSON.stringify(value),
    );
  } catch (error) {
    const known =
      error instanceof RestError
        ? error
        : error instanceof z.ZodError || error instanceof SyntaxError
          ? new RestError(400, 'INVALID_ARGUMENT', error.message)
          : isFault(error, 'InvalidLogin')
            ? new RestError(401, 'UNAUTHENTICATED', error.message)
            : new RestError(500, 'ERROR', (error as Error).message);
    const messages = [{ id: 'weft.lab.vcenter', default_message: known.message, args: [] }];
    send(
      response,
      known.status,
      JSON.stringify(
        isOld
          ? { type: `com.vmware.vapi.std.errors.${known.type.toLowerCase()}`, value: { messages } }
          : { error_type: known.type, messages },
      ),
    );
  }
}

function route(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  query: URLSearchParams,
  input: Record<string, unknown>,
): unknown {
  const { state } = vcenter;
  const method = request.method ?? 'GET';
  if (path === '/session' && method === 'POST' && !query.has('~action')) {
    const [user, password] = basic(request);
    const session = vcenter.sessions.open(login.check({ vcenter }, user, password), {
      userAgent: String(request.headers['user-agent'] ?? '').slice(0, 200),
      address: request.socket.remoteAddress ?? '',
    });
    response.setHeader('vmware-api-session-id', session.token);
    return session.token;
  }
  const session = vcenter.sessions.find(cookieOf(request));
  if (!session) throw new RestError(401, 'UNAUTHENTICATED', 'This method requires authentication.');
  if (path === '/session') {
    if (method === 'DELETE') return void vcenter.sessions.end(session);
    const view = viewOfSession(session);
    return { user: session.user, created_time: view.loginTime, last_accessed_time: view.lastActiveTime };
  }
  const action = query.get('~action') ?? query.get('action');
  const [, tagging, kind, id] = path.split('/').map(decodeURIComponent);
  if (tagging !== 'tagging') throw new RestError(404, 'NOT_FOUND', `${path} is not served`);
  const result = tagRoute(state, method, kind ?? '', id, action, input);
  if (method !== 'GET') vcenter.changed();
  return result;
}

function authorised(vcenter: Vcenter, request: IncomingMessage): Vcenter {
  if (vcenter.sessions.find(cookieOf(request))) return vcenter;
  throw new RestError(401, 'UNAUTHENTICATED', 'This method requires authentication.');
}

function tagRoute(
  state: VcenterState,
  method: string,
  kind: string,
  id: string | undefined,
  action: string | null,
  input: Record<string, unknown>,
): unknown {
  if (kind === 'category') {
    if (id === undefined && method === 'GET') return state.categories.map((one) => one.id);
    if (id === undefined && method === 'POST') {
      const spec = Category.parse(input.create_spec ?? input);
      if (state.categories.some((one) => one.name === spec.name))
        throw alreadyExists(`category ${spec.name}`);
      if (state.categories.length >= MAX_TAGS)
        throw new RestError(400, 'RESOURCE_BUSY', 'too many categories');
      const made = {
        id: newTagId('Category'),
        name: spec.name,
        description: spec.description,
        cardinality: spec.cardinality,
        associableTypes: spec.associable_types,
      };
      state.categories.push(made);
      return made.id;
    }
    const category = state.categories.find((one) => one.id === id);
    if (!category) throw notFound(`category ${id}`);
    if (method === 'GET') {
      const { associableTypes, ...rest } = category;
      return { ...rest, associable_types: associableTypes, used_by: [] };
    }
    if (method === 'DELETE') {
      const gone = new Set(state.tags.filter((one) => one.categoryId === id).map((one) => one.id));
      state.categories = state.categories.filter((one) => one !== category);
      state.tags = state.tags.filter((one) => !gone.has(one.id));
      state.attachments = state.attachments.filter((one) => !gone.has(one.tag));
      return undefined;
    }
  }
  if (kind === 'tag') {
    if (id === undefined && method === 'GET') return state.tags.map((one) => one.id);
    if (id === undefined && method === 'POST' && action === null) {
      const spec = Tag.parse(input.create_spec ?? input);
      if (!state.categories.some((one) => one.id === spec.category_id))
        throw notFound(`category ${spec.category_id}`);
      if (state.tags.some((one) => one.categoryId === spec.category_id && one.name === spec.name))
        throw alreadyExists(`tag ${spec.name}`);
      if (state.tags.length >= MAX_TAGS) throw new RestError(400, 'RESOURCE_BUSY', 'too many tags');
      const made = {
        id: newTagId('Tag'),
        categoryId: spec.category_id,
        name: spec.name,
        description: spec.description,
      };
      state.tags.push(made);
      return made.id;
    }
    if (action === 'list-tags-for-category') {
      const category = id ?? String(input.category_id);
      return state.tags.filter((one) => one.categoryId === category).map((one) => one.id);
    }
    const tag = state.tags.find((one) => one.id === id);
    if (!tag) throw notFound(`tag ${id}`);
    if (method === 'GET') {
      return {
        id: tag.id,
        category_id: tag.categoryId,
        name: tag.name,
        description: tag.description,
        used_by: [],
      };
    }
    if (method === 'DELETE') {
      state.tags = state.tags.filter((one) => one !== tag);
      state.attachments = state.attachments.filter((one) => one.tag !== id);
      return undefined;
    }
  }
  if (kind === 'tag-association' && method === 'POST') return associate(state, id, action ?? '', input);
  throw new RestError(404, 'NOT_FOUND', `${method} of tagging/${kind} is not served`);
}

function associate(
  state: VcenterState,
  id: string | undefined,
  action: string,
  input: Record<string, unknown>,
): unknown {
  const isOf = (attachment: VcenterState['attachments'][number], object: z.output<typeof ObjectId>) =>
    attachment.object.id === object.id && attachment.object.type === object.type;
  const objectsOf = () => z.array(ObjectId).max(10_000).parse(input.object_ids);
  const tagsOf = () => z.array(Name).max(10_000).parse(input.tag_ids);
  switch (action) {
    case 'attach':
    case 'detach': {
      const tag = id ?? String(input.tag_id);
      if (!state.tags.some((one) => one.id === tag)) throw notFound(`tag ${tag}`);
      const object = ObjectId.parse(input.object_id);
      state.attachments = state.attachments.filter((one) => !(one.tag === tag && isOf(one, object)));
      if (action === 'attach') state.attachments.push({ tag, object });
      return undefined;
    }
    case 'list-attached-tags': {
      const object = ObjectId.parse(input.object_id);
      return state.attachments.filter((one) => isOf(one, object)).map((one) => one.tag);
    }
    case 'list-attached-objects': {
      const tag = id ?? String(input.tag_id);
      return state.attachments.filter((one) => one.tag === tag).map((one) => one.object);
    }
    case 'list-attached-tags-on-objects':
      return objectsOf().map((object) => ({
        object_id: object,
        tag_ids: state.attachments.filter((one) => isOf(one, object)).map((one) => one.tag),
      }));
    case 'list-attached-objects-on-tags':
      return tagsOf().map((tag) => ({
        tag_id: tag,
        object_ids: state.attachments.filter((one) => one.tag === tag).map((one) => one.object),
      }));
    default:
      throw new RestError(404, 'NOT_FOUND', `action ${action} is not served`);
  }
}

function basic(request: IncomingMessage): [string, string] {
  const encoded = /^Basic\s+([\w+/=]+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const text = Buffer.from(encoded ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) throw new RestError(401, 'UNAUTHENTICATED', 'Unable to authenticate user');
  return [text.slice(0, colon), text.slice(colon + 1)];
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
  });
  response.end(body);
}
