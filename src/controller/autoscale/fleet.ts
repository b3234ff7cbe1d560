/**
 * What the controller remembers of clones and sizes: `autoscale/<pool>` and `autoscale/<pool>/<clone>` in the store.
 * Kept in memory, written through; what stands here has been made durable.
 *
 * A clone is on record before it is made, and until it is gone: a controller that was killed in between finds what it
 * has to go on with. Nothing that is not on record is ever removed.
 */
import type { CloneSpec } from '../../hypervisor/platform.ts';
import type { ScaleDecision } from '../../policy/autoscale.ts';
import type { Store, Write } from '../../state/store.ts';

export interface CloneRecord {
  pool: string;
  cloud: string;
  /** Id of the VM that it is like; null where none was left. */
  model: string | null;
  /** As it was asked for when it was planned: repeating it asks for the same. */
  clone: CloneSpec;
  hostName: string;
  /** VM id, once it is known. */
  vm: string | null;
  phase: 'cloning' | 'starting' | 'ready' | 'draining' | 'removing';
  /** Since when, clock milliseconds. */
  since: number;
  message: string;
  readyTimeoutMs: number;
  drainTimeoutMs: number;
  /** While `vm` is null: the platform may still be at it, unheard. */
  isUncertain: boolean;
  /** The platform's answer was one that another attempt would get as well. */
  isHopeless: boolean;
}

export interface ScaleState {
  /** Clock milliseconds of the last growth and removal; null where there was none. */
  lastOutAt: number | null;
  lastInAt: number | null;
  /** Number of the next clone; numbers are not used twice. */
  nextNumber: number;
  /** Clones in a row that came to nothing: each makes the next one wait longer. */
  failures: number;
  failedAt: number;
  failure: string;
  /** Hosts on which they failed, which are tried last. */
  failedHosts: string[];
  /** What was wrong may have been mended with it: the text of the policy that failed. */
  failedPolicy: string;
  /** Newest first. */
  decisions: ScaleDecision[];
}

export const NEW_STATE: ScaleState = {
  lastOutAt: null,
  lastInAt: null,
  nextNumber: 1,
  failures: 0,
  failedAt: 0,
  failure: '',
  failedHosts: [],
  failedPolicy: '',
  decisions: [],
};

const PREFIX = 'autoscale/';
const KEPT_DECISIONS = 10;

/** The key of a clone in `Fleet.clones`. */
export function cloneKey(pool: string, name: string): string {
  return `${pool}/${name}`;
}

export class Fleet {
  readonly #store: Store;
  readonly #clones = new Map<string, CloneRecord>();
  readonly #states = new Map<string, ScaleState>();

  /** Grows with every change. */
  version = 0;

  private constructor(store: Store) {
    this.#store = store;
  }

  /** Reads everything. Times that lie in the future (the wall clock was set back) are taken for now. */
  static async load(store: Store, now: number): Promise<Fleet> {
    const fleet = new Fleet(store);
    const past = (time: number | null): number | null => (time === null ? null : Math.min(time, now));
    for (const { key, value } of await store.list(PREFIX)) {
      const [, pool = '', name] = key.split('/');
      if (name === undefined) {
        const state = { ...NEW_STATE, ...(value as Partial<ScaleState>) };
        fleet.#states.set(pool, {
          ...state,
          lastOutAt: past(state.lastOutAt),
          lastInAt: past(state.lastInAt),
          failedAt: Math.min(state.failedAt, now),
        });
      } else {
        const record = value as CloneRecord;
        fleet.#clones.set(cloneKey(pool, name), { ...record, since: Math.min(record.since, now) });
      }
    }
    return fleet;
  }

  /** By `<pool>/<name>`. */
  get clones(): ReadonlyMap<string, CloneRecord> {
    return this.#clones;
  }

  /** By pool. */
  get states(): ReadonlyMap<string, ScaleState> {
    return this.#states;
  }

  /** Notes a decision with everything that follows from it, in one write: new clones, and clones in another phase. */
  async change(
    pool: string,
    state: Partial<ScaleState>,
    records: readonly CloneRecord[],
    decision: ScaleDecision | null = null,
  ): Promise<void> {
    const before = this.#states.get(pool) ?? NEW_STATE;
    const next: ScaleState = {
      ...before,
      ...state,
      decisions: decision ? [decision, ...before.decisions].slice(0, KEPT_DECISIONS) : before.decisions,
    };
    const writes: Write[] = [{ key: `${PREFIX}${pool}`, value: next }];
    for (const record of records) {
      writes.push({ key: PREFIX + cloneKey(record.pool, record.clone.name), value: record });
    }
    await this.#store.write(writes);
    this.version++;
    this.#states.set(pool, next);
    for (const record of records) this.#clones.set(cloneKey(record.pool, record.clone.name), record);
  }

  /** Writes one clone's record. */
  async keep(record: CloneRecord): Promise<void> {
    const key = cloneKey(record.pool, record.clone.name);
    await this.#store.write([{ key: PREFIX + key, value: record }]);
    this.version++;
    this.#clones.set(key, record);
  }

  /** Forgets a clone that is gone. */
  async forget(key: string): Promise<void> {
    await this.#store.write([{ key: PREFIX + key, delete: true }]);
    this.version++;
    this.#clones.delete(key);
  }

  /** Forgets the state of a pool that does not scale any more. */
  async forgetPool(pool: string): Promise<void> {
    await this.#store.write([{ key: PREFIX + pool, delete: true }]);
    this.#states.delete(pool);
  }
}
