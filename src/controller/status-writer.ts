/** Writes `status/<kind>/<name>` where it changed, a few times a second at most. */
import type { Store, Write } from '../state/store.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

const PREFIX = 'status/';
const INTERVAL_MS = 200;

export class StatusWriter {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  /** JSON by key, as in the store. */
  readonly #written = new Map<string, string>();
  #wanted: ReadonlyMap<string, unknown> | null = null;
  #cancel: (() => void) | null = null;
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Learns what the store says already. */
  async start(): Promise<void> {
    for (const { key, value } of await this.#store.list(PREFIX))
      this.#written.set(key, JSON.stringify(value));
  }

  /** Statuses as they are now; those that are not named are removed. */
  put(statuses: ReadonlyMap<string, unknown>): void {
    this.#wanted = statuses;
    if (this.#cancel || this.#isClosed) return;
    this.#flush();
    this.#cancel = this.#clock.after(INTERVAL_MS, () => {
      this.#cancel = null;
      this.#flush();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel?.();
    this.#flush();
    await this.#writing;
  }

  #flush(): void {
    const statuses = this.#wanted;
    this.#wanted = null;
    if (!statuses) return;
    const writes: Write[] = [];
    const texts = new Map<string, string | undefined>();
    for (const [key, value] of statuses) {
      const text = JSON.stringify(value);
      if (this.#written.get(key) === text) continue;
      writes.push({ key, value });
      texts.set(key, text);
    }
    for (const key of this.#written.keys()) {
      if (statuses.has(key)) continue;
      writes.push({ key, delete: true });
      texts.set(key, undefined);
    }
    if (writes.length === 0) return;
    for (const [key, text] of texts) {
      if (text === undefined) this.#written.delete(key);
      else this.#written.set(key, text);
    }
    const write = async (): Promise<void> => {
      try {
        await this.#store.write(writes);
      } catch (error) {
        // Unknown again, so that the next status is written whatever it says.
        for (const key of texts.keys()) this.#written.set(key, '');
        this.#log.warn({ error: String(error) }, 'status could not be written');
      }
    };
    this.#writing = this.#writing.then(write);
  }
}
