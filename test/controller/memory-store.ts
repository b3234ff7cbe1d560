/** A store in memory, for tests of the controller that do not wait for a disk. */
import { WeftError } from '../../src/policy/errors.ts';
import type { Change, Condition, Entry, Store, Write } from '../../src/state/store.ts';

export class MemoryStore implements Store {
  revision = 0;
  /** While set, writes fail with it. */
  failure: Error | null = null;
  /** Called around every write; may throw. */
  onWrite: (phase: 'before' | 'after', writes: readonly Write[]) => void = () => {};
  readonly #entries = new Map<string, { json: string; revision: number }>();
  readonly #changes: { key: string; json: string | undefined; revision: number }[] = [];
  readonly #wakers = new Set<() => void>();

  async get<Value = unknown>(key: string): Promise<Entry<Value> | undefined> {
    const entry = this.#entries.get(key);
    return entry && { key, value: JSON.parse(entry.json) as Value, revision: entry.revision };
  }

  async list<Value = unknown>(prefix: string): Promise<Entry<Value>[]> {
    return [...this.#entries]
      .filter(([key]) => key.startsWith(prefix))
      .sort((a, b) => (a[0] < b[0] ? -1 : 1))
      .map(([key, { json, revision }]) => ({ key, value: JSON.parse(json) as Value, revision }));
  }

  async write(writes: readonly Write[], conditions: readonly Condition[] = []): Promise<number> {
    await Promise.resolve();
    if (this.failure) throw this.failure;
    this.onWrite('before', writes);
    for (const { key, revision } of conditions) {
      if ((this.#entries.get(key)?.revision ?? 0) !== revision)
        throw new WeftError('ERR_REVISION_CONFLICT', key);
    }
    this.revision++;
    for (const write of writes) {
      if ('delete' in write) this.#entries.delete(write.key);
      else this.#entries.set(write.key, { json: JSON.stringify(write.value), revision: this.revision });
      const json = 'delete' in write ? undefined : JSON.stringify(write.value);
      this.#changes.push({ key: write.key, json, revision: this.revision });
    }
    for (const wake of [...this.#wakers]) wake();
    this.onWrite('after', writes);
    return this.revision;
  }

  async *watch(prefix: string, revision: number, signal: AbortSignal): AsyncIterable<Change> {
    let at = this.#changes.findIndex((change) => change.revision > revision);
    if (at < 0) at = this.#changes.length;
    while (!signal.aborted) {
      const change = this.#changes[at];
      if (!change) {
        await new Promise<void>((resolve) => {
          const end = (): void => {
            this.#wakers.delete(end);
            signal.removeEventListener('abort', end);
            resolve();
          };
          this.#wakers.add(end);
          signal.addEventListener('abort', end);
        });
        continue;
      }
      at++;
      if (!change.key.startsWith(prefix)) continue;
      const value: unknown = change.json === undefined ? undefined : JSON.parse(change.json);
      yield { key: change.key, value, revision: change.revision };
    }
  }

  async close(): Promise<void> {}
}
