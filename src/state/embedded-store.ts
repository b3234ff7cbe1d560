/**
 * The store in one file, for one controller: lowdb over a durable file (store-file.ts), a lock (store-lock.ts) and
 * the changes that watchers read (change-history.ts).
 *
 * Every commit rewrites the file; writes that arrive while one is under way are committed together by the next.
 */
import { mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Low } from 'lowdb';
import { WeftError } from '../policy/errors.ts';
import { ChangeHistory, type RecordedChange } from './change-history.ts';
import type { Change, Condition, Entry, Store, Write } from './store.ts';
import {
  entryLine,
  entryValue,
  type FileCalls,
  type StoredEntry,
  StoreFile,
  type StoreState,
} from './store-file.ts';
import { lockStore, type StoreLock } from './store-lock.ts';

export interface EmbeddedStoreOptions {
  /** Changes kept for watchers. Default 10,000. They are kept in memory: a watch cannot reach before the opening. */
  historyLimit?: number;
  /** The calls that touch the medium; default those of node:fs. */
  files?: FileCalls;
}

/**
 * Opens the store in `file` (mode 0600; its directory is made 0700 where it is missing), empty where there is none.
 * Rejects with ERR_STORE_CORRUPT, ERR_STORE_IN_USE, or ERR_STORE_WRITE where the directory cannot be used.
 */
export async function openEmbeddedStore(file: string, options: EmbeddedStoreOptions = {}): Promise<Store> {
  const path = resolve(file);
  let lock: StoreLock;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    lock = await lockStore(path);
  } catch (cause) {
    throw asWriteError(path, cause);
  }
  try {
    const low = new Low<StoreState>(new StoreFile(path, options.files), { revision: 0, entries: new Map() });
    await low.read();
    return new EmbeddedStore(path, low, lock, options.historyLimit ?? 10_000);
  } catch (cause) {
    await lock.release();
    throw asWriteError(path, cause);
  }
}

interface Pending {
  writes: readonly { key: string; json: string | undefined }[];
  conditions: readonly Condition[];
  resolve(revision: number): void;
  reject(error: unknown): void;
}

class EmbeddedStore implements Store {
  readonly #path: string;
  /** `data` is what is being written; readers see #state, which follows once it is durable. */
  readonly #low: Low<StoreState>;
  readonly #lock: StoreLock;
  readonly #history: ChangeHistory;
  readonly #closing = new AbortController();
  #state: StoreState;
  /** Keys of #state in order, made when first asked for and kept while the set of keys stays the same. */
  #sortedKeys: string[] | undefined;
  #pending: Pending[] = [];
  #committing: Promise<void> | undefined;

  constructor(path: string, low: Low<StoreState>, lock: StoreLock, historyLimit: number) {
    this.#path = path;
    this.#low = low;
    this.#lock = lock;
    this.#state = low.data;
    this.#history = new ChangeHistory(low.data.revision, historyLimit);
  }

  get revision(): number {
    return this.#state.revision;
  }

  async get<Value = unknown>(key: string): Promise<Entry<Value> | undefined> {
    const entry = this.#state.entries.get(key);
    return entry && toEntry<Value>(key, entry);
  }

  async list<Value = unknown>(prefix: string): Promise<Entry<Value>[]> {
    this.#sortedKeys ??= [...this.#state.entries.keys()].sort();
    const keys = this.#sortedKeys;
    const found: Entry<Value>[] = [];
    for (let at = firstAtLeast(keys, prefix); at < keys.length && keys[at]!.startsWith(prefix); at++) {
      found.push(toEntry<Value>(keys[at]!, this.#state.entries.get(keys[at]!)!));
    }
    return found;
  }

  async write(writes: readonly Write[], conditions: readonly Condition[] = []): Promise<number> {
    if (this.#closing.signal.aborted) {
      throw new WeftError('ERR_STORE_WRITE', `the store ${this.#path} is closed`);
    }
    // Values are taken as they are now: what the caller changes afterwards is not written.
    const taken = writes.map((write) => ({
      key: write.key,
      json: 'delete' in write ? undefined : jsonOf(write.key, write.value),
    }));
    return new Promise((resolve, reject) => {
      this.#pending.push({ writes: taken, conditions: [...conditions], resolve, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  async *watch(prefix: string, revision: number, signal: AbortSignal): AsyncIterable<Change> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    let seen = revision;
    while (!ended.aborted) {
      const changes = this.#history.after(seen);
      for (const { key, line, revision } of changes) {
        if (key.startsWith(prefix)) {
          yield { key, value: line === undefined ? undefined : entryValue(line), revision };
          if (ended.aborted) return;
        }
        seen = revision;
      }
      if (changes.length === 0) await this.#history.changed(ended);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#committing;
    await this.#lock.release();
  }

  async #commitAll(): Promise<void> {
    // Lets everything that is written in this turn of the event loop join the first commit.
    await setImmediate();
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      await this.#commit(batch);
    }
    this.#committing = undefined;
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    const next: StoreState = { revision: this.#state.revision, entries: new Map(this.#state.entries) };
    const recorded: { revision: number; changes: RecordedChange[] }[] = [];
    const outcomes = batch.map((pending) => {
      const conflict = firstConflict(next, pending.conditions);
      if (conflict !== undefined) return () => pending.reject(conflict);
      const changes = apply(next, pending.writes);
      if (changes.length > 0) recorded.push({ revision: next.revision, changes });
      const revision = next.revision;
      return () => pending.resolve(revision);
    });

    if (recorded.length > 0) {
      try {
        await this.#lock.check();
        this.#low.data = next;
        await this.#low.write();
      } catch (cause) {
        this.#low.data = this.#state;
        // The medium may hold the new state already (only the last sync failed): put the old one back if it lets us.
        await this.#lock
          .check()
          .then(() => this.#low.write())
          .catch(() => {});
        for (const pending of batch) pending.reject(asWriteError(this.#path, cause));
        return;
      }
      const isSameKeys =
        next.entries.size === this.#state.entries.size &&
        recorded.every(({ changes }) =>
          changes.every(({ key, line }) => line !== undefined && this.#state.entries.has(key)),
        );
      if (!isSameKeys) this.#sortedKeys = undefined;
      this.#state = next;
      for (const { revision, changes } of recorded) this.#history.push(revision, changes);
    }
    for (const settle of outcomes) settle();
    this.#history.notify();
  }
}

/** Applies the writes to `state` at its next revision. Where nothing changes, the revision stays. */
function apply(state: StoreState, writes: Pending['writes']): RecordedChange[] {
  const revision = state.revision + 1;
  // Where a key is written twice, the last one counts.
  const last = new Map(writes.map(({ key, json }) => [key, json]));
  const changes: RecordedChange[] = [];
  for (const [key, json] of last) {
    if (json === undefined) {
      if (state.entries.delete(key)) changes.push({ key, line: undefined, revision });
      continue;
    }
    const line = entryLine(key, revision, json);
    state.entries.set(key, { revision, line });
    changes.push({ key, line, revision });
  }
  if (changes.length > 0) state.revision = revision;
  return changes;
}

function firstConflict(state: StoreState, conditions: readonly Condition[]): WeftError | undefined {
  for (const { key, revision } of conditions) {
    const actual = state.entries.get(key)?.revision ?? 0;
    if (actual !== revision) {
      return new WeftError(
        'ERR_REVISION_CONFLICT',
        `${key} is at revision ${actual}, not ${revision}: read it again and repeat the change`,
      );
    }
  }
  return undefined;
}

function jsonOf(key: string, value: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new WeftError('ERR_INTERNAL', `the value of ${key} cannot be kept: it is not JSON`, { cause });
  }
  if (json === undefined) {
    throw new WeftError('ERR_INTERNAL', `the value of ${key} cannot be kept: ${typeof value} is not JSON`);
  }
  return json;
}

function toEntry<Value>(key: string, entry: StoredEntry): Entry<Value> {
  return { key, value: entryValue(entry.line) as Value, revision: entry.revision };
}

function firstAtLeast(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function asWriteError(path: string, cause: unknown): WeftError {
  if (cause instanceof WeftError) return cause;
  return new WeftError(
    'ERR_STORE_WRITE',
    `the store ${path} could not be written (${(cause as Error).message}): free space or repair the disk; nothing was changed`,
    { cause },
  );
}
