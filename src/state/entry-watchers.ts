/** Who in this process wants to hear of which keys of the shared state. */
import type { StateLog } from './log.ts';
import type { SharedEntry } from './shared.ts';

export class EntryWatchers {
  readonly #watchers = new Set<{ prefix: string; onEntry: (entry: SharedEntry) => void }>();
  readonly #log: StateLog;

  constructor(log: StateLog) {
    this.#log = log;
  }

  /** Calls back with the present entries at once, then with each `dispatch`, until the returned function is called. */
  add(prefix: string, present: Iterable<SharedEntry>, onEntry: (entry: SharedEntry) => void): () => void {
    const watcher = { prefix, onEntry };
    this.#watchers.add(watcher);
    for (const entry of present) this.#call(watcher.onEntry, entry);
    return () => this.#watchers.delete(watcher);
  }

  dispatch(entry: SharedEntry): void {
    for (const { prefix, onEntry } of this.#watchers) {
      if (entry.key.startsWith(prefix)) this.#call(onEntry, entry);
    }
  }

  /** A subscriber that throws must not cut off the others, nor the link that brought the entry. */
  #call(onEntry: (entry: SharedEntry) => void, entry: SharedEntry): void {
    try {
      onEntry(entry);
    } catch (error) {
      this.#log.error({ err: error, key: entry.key }, 'a subscriber to shared state failed');
    }
  }
}
