/** Tags of hosts and VMs, from vCenter's tagging service. It speaks REST and knows no watch. */
import { WeftError } from '../policy/errors.ts';
import type { AttachedTag, TagTable } from './inventory-listing.ts';
import { listOf } from './inventory-objects.ts';
import type { RestClient } from './rest.ts';
import type { Log } from './session.ts';

const TAGGING = '/cis/tagging';
/** Beyond it a listing of tags is refused rather than asked for one by one. */
const MAX_TAGS = 20_000;

/** Tags as they were last read: those that cannot be read stay as they were. */
export class KeptTags {
  readonly #reader: TagReader;
  readonly #log: Log | undefined;
  #table: TagTable = new Map();
  #areKnown = false;
  #failure: string | null = null;

  constructor(reader: TagReader, log?: Log) {
    this.#reader = reader;
    this.#log = log;
  }

  get table(): TagTable {
    return this.#table;
  }

  /** Why they could not be read when that was last tried, or null. */
  get failure(): string | null {
    return this.#failure;
  }

  /**
   * Reads them anew; true where `failure` is another one now. Throws where they were never read: a listing without tags
   * would make members of pools that choose by tag vanish. A vCenter without a tagging service has none.
   */
  async read(signal: AbortSignal): Promise<boolean> {
    const before = this.#failure;
    try {
      this.#table = await this.#reader.read(signal);
      this.#areKnown = true;
      this.#failure = null;
    } catch (error) {
      const isUnsupported = error instanceof WeftError && error.code === 'ERR_HYPERVISOR_UNSUPPORTED';
      if (signal.aborted || (!this.#areKnown && !isUnsupported)) throw error;
      if (before === null) {
        this.#log?.warn({ error: String(error) }, 'the tags could not be read; they stay as they were');
      }
      this.#failure = error instanceof Error ? error.message : String(error);
    }
    return this.#failure !== before;
  }
}

export class TagReader {
  readonly #rest: RestClient;
  /** Names by tag id: a tag's name is asked for once. */
  #names = new Map<string, AttachedTag>();
  #categories = new Map<string, string>();

  constructor(rest: RestClient) {
    this.#rest = rest;
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
    const attached = await this.#act(
      '/tag-association',
      'list-attached-objects-on-tags',
      { tag_ids: ids },
      signal,
    );
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
    const attached = await this.#act('/tag-association', 'list-attached-tags', object(from), signal);
    for (const id of listOf<unknown>(attached)) {
      await this.#act('/tag-association', 'attach', object(to), signal, String(id));
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
    const object = { object_id: { id: vm, type: 'VirtualMachine' } };
    for (const id of ids) await this.#act('/tag-association', 'attach', object, signal, id);
  }

  #act(service: string, action: string, body: object, signal: AbortSignal, id?: string): Promise<unknown> {
    const at = { method: 'POST', service: TAGGING + service, action, body } as const;
    return this.#rest.call(id === undefined ? at : { ...at, id }, signal);
  }

  #get(service: string, signal: AbortSignal, id?: string): Promise<unknown> {
    const at = { method: 'GET', service: TAGGING + service } as const;
    return this.#rest.call(id === undefined ? at : { ...at, id }, signal);
  }

  async #name(id: string, signal: AbortSignal): Promise<AttachedTag> {
    const tag = (await this.#get('/tag', signal, id)) as {
      name?: string;
      category_id?: string;
    };
    const categoryId = String(tag.category_id ?? '');
    let category = this.#categories.get(categoryId);
    if (category === undefined) {
      const read = (await this.#get('/category', signal, categoryId)) as {
        name?: string;
      };
      category = String(read.name ?? '');
      this.#categories.set(categoryId, category);
    }
    return { category, name: String(tag.name ?? '') };
  }
}
