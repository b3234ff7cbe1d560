/**
 * Tags of hosts and VMs, from vCenter's tagging service. It speaks REST, knows no watch, and has a session of its own;
 * older vCenters have it below `/rest/com/vmware/cis`, newer ones below `/api/cis`.
 */
import { WeftError } from '../policy/errors.ts';
import type { AttachedTag, TagTable } from './inventory-listing.ts';
import { listOf } from './inventory-objects.ts';
import type { VcenterSession } from './session.ts';

interface Dialect {
  session: string;
  tagging: string;
  /** How an action is named in the query. */
  action: string;
}

const DIALECTS: readonly Dialect[] = [
  { session: '/api/session', tagging: '/api/cis/tagging', action: 'action' },
  { session: '/rest/com/vmware/cis/session', tagging: '/rest/com/vmware/cis/tagging', action: '~action' },
];
/** Beyond it a listing of tags is refused rather than asked for one by one. */
const MAX_TAGS = 20_000;

export class TagReader {
  readonly #session: VcenterSession;
  #dialect: Dialect | null = null;
  #token = '';
  /** Names by tag id: a tag's name is asked for once. */
  #names = new Map<string, AttachedTag>();
  #categories = new Map<string, string>();

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  /** Every tag that hangs on a host or VM now. */
  async read(signal: AbortSignal): Promise<TagTable> {
    const ids = listOf<string>(await this.#get('/tag', signal)).map(String);
    if (ids.length > MAX_TAGS) {
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `vCenter has ${ids.length} tags; at most ${MAX_TAGS} are read`,
      );
    }
    for (const id of this.#names.keys()) if (!ids.includes(id)) this.#names.delete(id);
    for (const id of ids) if (!this.#names.has(id)) this.#names.set(id, await this.#name(id, signal));
    const table = new Map<string, AttachedTag[]>();
    if (ids.length === 0) return table;
    const list = {
      path: '/tag-association',
      action: 'list-attached-objects-on-tags',
      body: { tag_ids: ids },
    };
    const attached = await this.#act(list, signal);
    for (const one of listOf<{ tag_id?: string; object_ids?: { id?: string; type?: string }[] }>(attached)) {
      const tag = this.#names.get(one.tag_id ?? '');
      if (!tag) continue;
      for (const { id, type } of listOf<{ id?: string; type?: string }>(one.object_ids)) {
        if (typeof id !== 'string' || (type !== 'VirtualMachine' && type !== 'HostSystem')) continue;
        const tags = table.get(id);
        if (tags) tags.push(tag);
        else table.set(id, [tag]);
      }
    }
    return table;
  }

  /** Hangs every tag of one VM on another, which may have some of them already. */
  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    const object = (id: string) => ({ object_id: { id, type: 'VirtualMachine' } });
    const list = { path: '/tag-association', action: 'list-attached-tags', body: object(from) };
    for (const id of listOf<unknown>(await this.#act(list, signal))) {
      const path = `/tag-association/id:${encodeURIComponent(String(id))}`;
      await this.#act({ path, action: 'attach', body: object(to) }, signal);
    }
  }

  /**
   * Hangs tags on a VM, which may have some of them already: each by its name, or as `category=name`. Throws
   * ERR_NOT_FOUND for one that is not there, and where a name is that of several.
   */
  async attach(texts: readonly string[], vm: string, signal: AbortSignal): Promise<void> {
    if (texts.length === 0) return;
    await this.read(signal);
    const ids = texts.map((text) => {
      const found = [...this.#names].filter(
        ([, { category, name }]) => name === text || `${category}=${name}` === text,
      );
      if (found.length === 1) return found[0]![0];
      throw new WeftError(
        found.length === 0 ? 'ERR_NOT_FOUND' : 'ERR_HYPERVISOR_REFUSED',
        found.length === 0
          ? `there is no tag ${text} in vCenter: make it, or name another`
          : `${text} is the tag of several categories: name it as ${found.map(([, { category, name }]) => `${category}=${name}`).join(' or ')}`,
      );
    });
    for (const id of ids) {
      const path = `/tag-association/id:${encodeURIComponent(id)}`;
      await this.#act(
        { path, action: 'attach', body: { object_id: { id: vm, type: 'VirtualMachine' } } },
        signal,
      );
    }
  }

  async #act(
    { path, action, body }: { path: string; action: string; body: object },
    signal: AbortSignal,
  ): Promise<unknown> {
    this.#dialect ??= await this.#logIn(signal);
    return this.#call('POST', `${path}?${this.#dialect.action}=${action}`, signal, body);
  }

  async #name(id: string, signal: AbortSignal): Promise<AttachedTag> {
    const tag = (await this.#get(`/tag/id:${encodeURIComponent(id)}`, signal)) as {
      name?: string;
      category_id?: string;
    };
    const categoryId = String(tag.category_id ?? '');
    let category = this.#categories.get(categoryId);
    if (category === undefined) {
      const read = (await this.#get(`/category/id:${encodeURIComponent(categoryId)}`, signal)) as {
        name?: string;
      };
      category = String(read.name ?? '');
      this.#categories.set(categoryId, category);
    }
    return { category, name: String(tag.name ?? '') };
  }

  #get(path: string, signal: AbortSignal): Promise<unknown> {
    return this.#call('GET', path, signal);
  }

  async #call(method: string, path: string, signal: AbortSignal, body?: object): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      const dialect = this.#dialect ?? (await this.#logIn(signal));
      this.#dialect = dialect;
      const { tagging } = dialect;
      // `id:` is how the older dialect marks an id in a path.
      const place = tagging.startsWith('/api/') ? path.replace('/id:', '/') : path;
      const reply = await this.#session.rest(
        {
          method,
          path: tagging + place,
          headers: {
            'vmware-api-session-id': this.#token,
            Accept: 'application/json',
            ...(body ? { 'Content-Type': 'application/json' } : {}),
          },
          ...(body ? { body: JSON.stringify(body) } : {}),
        },
        signal,
      );
      if (reply.status === 401 && attempt === 0) this.#dialect = null;
      else if (reply.status !== 200 && reply.status !== 204) {
        throw new WeftError(
          reply.status === 404 ? 'ERR_NOT_FOUND' : 'ERR_HYPERVISOR_REFUSED',
          `vCenter's tagging service answered ${method} ${path} with HTTP status ${reply.status}`,
        );
      } else return unwrap(reply.text);
    }
  }

  async #logIn(signal: AbortSignal): Promise<Dialect> {
    const { user, password } = await this.#session.credentials();
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    for (const dialect of DIALECTS) {
      const reply = await this.#session.rest(
        { method: 'POST', path: dialect.session, headers: { Authorization: authorization } },
        signal,
      );
      if (reply.status === 404) continue;
      const token = reply.status < 300 ? unwrap(reply.text) : null;
      if (typeof token !== 'string') {
        throw new WeftError(
          'ERR_HYPERVISOR_REFUSED',
          `vCenter's tagging service refused the login (HTTP status ${reply.status})`,
        );
      }
      this.#token = token;
      return dialect;
    }
    throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter has no tagging service');
  }
}

/** The older dialect wraps every answer in `value`; actions answer with nothing. */
function unwrap(text: string): unknown {
  if (text === '') return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new WeftError('ERR_HYPERVISOR_REFUSED', "vCenter's tagging service answered with what is no JSON", {
      cause: error,
    });
  }
  const isWrapped = typeof parsed === 'object' && parsed !== null && 'value' in parsed;
  return isWrapped ? (parsed as { value: unknown }).value : parsed;
}
