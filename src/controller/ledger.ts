/**
 * The controller's own truth: placements, keys, pre-images, revisions. Kept in memory, written through to the store;
 * what stands here has been made durable.
 *
 * Keys: `placement/<engine>`, `placement/group/<group>` (key of its control frames), `placement/cloud/<cloud>` (how
 * a cloud is reached as long as anything of ours is there), `interception/<cloud>/<vm>/<nic>`, `revision/graph` (the
 * counter) and `revision/graph/<engine>` (the latest of that engine, with the hash of its content), and
 * `adoption/<cloud>` (its address: what an earlier controller left there was nothing, or is ours by an operator's word).
 */
import { randomBytes } from 'node:crypto';
import { CloudSpec } from '../policy/cloud.ts';
import type { Store, Write } from '../state/store.ts';
import type { Placement, PreImage } from './actual.ts';

interface GraphRevision {
  revision: number;
  hash: string;
}

export class Ledger {
  readonly #store: Store;
  readonly #placements = new Map<string, Placement>();
  readonly #groupKeys = new Map<string, string>();
  readonly #clouds = new Map<string, CloudSpec>();
  readonly #preImages = new Map<string, PreImage>();
  readonly #graphs = new Map<string, GraphRevision>();
  readonly #adopted = new Map<string, string>();
  #counter = 0;

  private constructor(store: Store) {
    this.#store = store;
  }

  /** Reads everything. Times that lie in the future (the wall clock was set back) are taken for now. */
  static async load(store: Store, now: number): Promise<Ledger> {
    const ledger = new Ledger(store);
    for (const { key, value } of await store.list('placement/')) {
      const [, first = '', second] = key.split('/');
      if (second === undefined) ledger.#placements.set(first, notAfter(value as Placement, now));
      else if (first === 'group') ledger.#groupKeys.set(second, (value as { key: string }).key);
      else if (first === 'cloud') {
        const spec = CloudSpec.safeParse(value);
        if (spec.success) ledger.#clouds.set(second, spec.data);
      }
    }
    for (const { key, value } of await store.list('interception/')) {
      ledger.#preImages.set(key.slice('interception/'.length), value as PreImage);
    }
    for (const { key, value } of await store.list('revision/graph')) {
      if (key === 'revision/graph') ledger.#counter = value as number;
      else ledger.#graphs.set(key.slice('revision/graph/'.length), value as GraphRevision);
    }
    for (const { key, value } of await store.list('adoption/')) {
      ledger.#adopted.set(key.slice('adoption/'.length), (value as { address: string }).address);
    }
    return ledger;
  }

  get placements(): ReadonlyMap<string, Placement> {
    return this.#placements;
  }

  /** Base64 of 32 bytes per engine group. */
  get groupKeys(): ReadonlyMap<string, string> {
    return this.#groupKeys;
  }

  /** Clouds in which something of ours is or was, with how they were last reached. */
  get clouds(): ReadonlyMap<string, CloudSpec> {
    return this.#clouds;
  }

  get preImages(): ReadonlyMap<string, PreImage> {
    return this.#preImages;
  }

  /** Writes a placement, and makes the group's key where it is the first of its group. */
  async place(placement: Placement): Promise<void> {
    const writes: Write[] = [{ key: `placement/${placement.engine}`, value: placement }];
    const isFirst = !this.#groupKeys.has(placement.group);
    const key = this.#groupKeys.get(placement.group) ?? randomBytes(32).toString('base64');
    if (isFirst) {
      this.#groupKeys.set(placement.group, key);
      writes.push({ key: `placement/group/${placement.group}`, value: { key } });
    }
    try {
      await this.#store.write(writes);
    } catch (error) {
      if (isFirst) this.#groupKeys.delete(placement.group);
      throw error;
    }
    this.#placements.set(placement.engine, placement);
  }

  /** Forgets an engine: its addresses are free. The key of its group goes with the last engine of it. */
  async forget(engine: string): Promise<void> {
    const placement = this.#placements.get(engine);
    const graph = this.#graphs.get(engine);
    // Before the write, so that of two engines that go at once one sees that it is the last.
    this.#placements.delete(engine);
    this.#graphs.delete(engine);
    const writes: Write[] = [
      { key: `placement/${engine}`, delete: true },
      { key: `revision/graph/${engine}`, delete: true },
    ];
    const group = placement?.group ?? '';
    const key = this.#groupKeys.get(group);
    if (key !== undefined && ![...this.#placements.values()].some((other) => other.group === group)) {
      this.#groupKeys.delete(group);
      writes.push({ key: `placement/group/${group}`, delete: true });
    }
    try {
      await this.#store.write(writes);
    } catch (error) {
      if (placement) this.#placements.set(engine, placement);
      if (graph) this.#graphs.set(engine, graph);
      if (key !== undefined) this.#groupKeys.set(group, key);
      throw error;
    }
  }

  /** Remembers how a cloud is reached. */
  async keepCloud(name: string, spec: CloudSpec): Promise<void> {
    await this.#store.write([{ key: `placement/cloud/${name}`, value: spec }]);
    this.#clouds.set(name, spec);
  }

  /**
   * How it is reached is nobody's business any more. That it was adopted is not forgotten: what a step under way has
   * still left there would look like an earlier controller's, were the cloud named again.
   */
  async forgetCloud(name: string): Promise<void> {
    await this.#store.write([{ key: `placement/cloud/${name}`, delete: true }]);
    this.#clouds.delete(name);
  }

  /** Whether what stands in the cloud at that address is known to be ours, as far as this store goes. */
  isOurs(cloud: string, address: string): boolean {
    if (this.#adopted.get(cloud) === address) return true;
    for (const placement of this.#placements.values()) if (placement.cloud === cloud) return true;
    for (const nic of this.#preImages.keys()) if (nic.startsWith(`${cloud}/`)) return true;
    return false;
  }

  /** Whether the cloud at that address was adopted, or found empty. */
  isAdopted(cloud: string, address: string): boolean {
    return this.#adopted.get(cloud) === address;
  }

  /** From now on everything of Weft's in the cloud is this controller's. */
  async adopt(cloud: string, address: string): Promise<void> {
    await this.#store.write([{ key: `adoption/${cloud}`, value: { address } }]);
    this.#adopted.set(cloud, address);
  }

  /** Durably remembers what undoes an interception; before it is made. */
  async intercept(nic: string, preImage: PreImage): Promise<void> {
    await this.#store.write([{ key: `interception/${nic}`, value: preImage }]);
    this.#preImages.set(nic, preImage);
  }

  async release(nic: string): Promise<void> {
    await this.#store.write([{ key: `interception/${nic}`, delete: true }]);
    this.#preImages.delete(nic);
  }

  /**
   * The revision for a graph: the same as before for the same content, else the next number. `floor` is the highest
   * that any engine has reported, for a store that was restored from an older copy.
   */
  async graphRevision(engine: string, hash: string, floor: number): Promise<number> {
    const before = this.#graphs.get(engine);
    if (before?.hash === hash) return before.revision;
    this.#counter = Math.max(this.#counter, floor) + 1;
    const next = { revision: this.#counter, hash };
    this.#graphs.set(engine, next);
    try {
      await this.#store.write([
        { key: 'revision/graph', value: this.#counter },
        { key: `revision/graph/${engine}`, value: next },
      ]);
    } catch (error) {
      // Later pushes continue from the higher number; this content is written again when it is pushed again.
      if (this.#graphs.get(engine) === next) this.#graphs.delete(engine);
      throw new GraphNotDurable(next.revision, error);
    }
    return next.revision;
  }
}

function notAfter(placement: Placement, now: number): Placement {
  const { recovery, rest } = placement;
  return {
    ...placement,
    recovery: recovery && { ...recovery, lastAt: Math.min(recovery.lastAt, now) },
    ...(typeof rest?.endedAt === 'number' ? { rest: { endedAt: Math.min(rest.endedAt, now) } } : {}),
  };
}

/** The medium failed; the revision may be used all the same, since engines' reports keep the counter growing. */
export class GraphNotDurable extends Error {
  readonly revision: number;
  constructor(revision: number, cause: unknown) {
    super('the revision of a graph could not be stored', { cause });
    this.revision = revision;
  }
}
