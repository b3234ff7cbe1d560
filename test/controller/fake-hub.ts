/** The hub without a network: engines are scripted (fake-engines.ts). */
import { WeftError } from '../../src/policy/errors.ts';
import type { SharedEntry, SharedHub } from '../../src/state/shared.ts';

export class FakeHub implements SharedHub {
  readonly writer = 'controller';
  readonly epoch = 1;
  readonly isConnected = true;
  /** Answers requests to engines. */
  answer: (engine: string, method: string, params: unknown) => unknown = () => {
    throw new WeftError('ERR_ENGINE_UNREACHABLE', 'no script');
  };
  readonly #entries = new Map<string, SharedEntry>();
  readonly #links = new Set<string>();
  readonly #subscribers = new Set<{ prefix: string; onEntry: (entry: SharedEntry) => void }>();
  readonly #engineCallbacks = new Set<(engine: string, isConnected: boolean) => void>();
  #seq = 0;

  get(key: string): SharedEntry | undefined {
    return this.#entries.get(key);
  }

  list(prefix: string): SharedEntry[] {
    return [...this.#entries.values()].filter((entry) => entry.key.startsWith(prefix));
  }

  put(key: string, value: unknown): void {
    this.putAs('controller', key, value);
  }

  delete(key: string): void {
    this.putAs('controller', key, undefined);
  }

  putAs(writer: string, key: string, value: unknown): void {
    const entry: SharedEntry = { key, value: structuredClone(value), writer, epoch: 1, seq: ++this.#seq };
    if (value === undefined) this.#entries.delete(key);
    else this.#entries.set(key, entry);
    for (const { prefix, onEntry } of this.#subscribers) if (key.startsWith(prefix)) onEntry(entry);
  }

  /** An engine's link comes up or goes down. */
  link(engine: string, isConnected: boolean): void {
    if (this.#links.has(engine) === isConnected) return;
    if (isConnected) this.#links.add(engine);
    else this.#links.delete(engine);
    for (const callback of this.#engineCallbacks) callback(engine, isConnected);
  }

  subscribe(prefix: string, onEntry: (entry: SharedEntry) => void): () => void {
    for (const entry of this.list(prefix)) onEntry(entry);
    const subscriber = { prefix, onEntry };
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  lease(_key: string, _ttlMs: number, onChange: (isHeld: boolean) => void): { release(): void } {
    onChange(true);
    return { release() {} };
  }

  onConnection(): () => void {
    return () => {};
  }

  onRequest(): void {}

  async request(engine: string, method: string, params: unknown): Promise<unknown> {
    if (!this.#links.has(engine)) throw new WeftError('ERR_ENGINE_UNREACHABLE', `engine ${engine} is away`);
    return this.answer(engine, method, params);
  }

  connected(): { engine: string; epoch: number }[] {
    return [...this.#links].map((engine) => ({ engine, epoch: 1 }));
  }

  onEngine(callback: (engine: string, isConnected: boolean) => void): () => void {
    this.#engineCallbacks.add(callback);
    return () => this.#engineCallbacks.delete(callback);
  }

  async close(): Promise<void> {}
}
