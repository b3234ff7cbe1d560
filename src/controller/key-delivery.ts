/**
 * Brings certificates and keys to the engines whose graphs name them, and to no others: entries of the shared state that
 * each engine alone may see. Keys are opened for that moment; no step, plan or journal holds them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { GraphTls, TlsEntry } from '../policy/graph.ts';
import { tlsPrefix } from '../state/key-owner.ts';
import { type Sealer, secretKey } from '../state/sealer.ts';
import type { SharedHub } from '../state/shared.ts';
import type { Store } from '../state/store.ts';
import type { Log } from './log.ts';
import type { Policies } from './policies.ts';
import { tlsHash } from './tls-names.ts';

export interface KeyDeliveryOptions {
  store: Store;
  sealer: Sealer;
  hub: SharedHub;
  log: Log;
  policies(): Policies;
}

const RETRY_MS = 1000;

export class KeyDelivery {
  readonly #options: KeyDeliveryOptions;
  readonly #named = new Map<string, readonly GraphTls[]>();
  /** Certificates whose key could not be opened when it was needed last. */
  readonly #keyless = new Set<string>();

  constructor(options: KeyDeliveryOptions) {
    this.#options = options;
  }

  /** Names of certificates whose key is kept, and cannot be opened. */
  get keyless(): ReadonlySet<string> {
    return this.#keyless;
  }

  /**
   * Gives an engine what its graph is going to name, before it has the graph. What it named before stays until
   * `settle`, for the engine may not have the new graph yet.
   */
  async deliver(engine: string, named: readonly GraphTls[]): Promise<void> {
    this.#named.set(engine, named);
    const { hub } = this.#options;
    for (const one of named) {
      const key = `${tlsPrefix(engine)}${one.kind}/${one.name}`;
      const known = hub.get(key)?.value as TlsEntry | undefined;
      if (known?.hash === one.hash) continue;
      const entry = await this.#entryOf(one);
      if (entry !== null) hub.put(key, entry);
    }
  }

  /** Takes back what the graph of an engine names no more. */
  settle(engine: string): void {
    const { hub } = this.#options;
    const prefix = tlsPrefix(engine);
    const wanted = new Set(
      (this.#named.get(engine) ?? []).map(({ kind, name }) => `${prefix}${kind}/${name}`),
    );
    for (const { key, value } of hub.list(prefix)) {
      if (value !== undefined && !wanted.has(key)) hub.delete(key);
    }
  }

  forget(engine: string): void {
    this.#named.delete(engine);
    this.settle(engine);
  }

  /** Gives keys that came, or could be opened, after the graph. Runs until the signal. */
  async follow(signal: AbortSignal): Promise<void> {
    const { store, log } = this.#options;
    while (!signal.aborted) {
      try {
        for await (const _change of store.watch('secret/', store.revision, signal)) {
          for (const [engine, named] of this.#named) await this.deliver(engine, named);
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: String(error) }, 'secrets are followed anew');
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #entryOf({ kind, name, hash }: GraphTls): Promise<TlsEntry | null> {
    const { store, sealer, log, policies } = this.#options;
    if (kind === 'authority-set') {
      const spec = policies().authoritySets.get(name);
      if (spec === undefined || tlsHash(spec) !== hash) return null;
      return { hash, certificates: spec.certificates, revoked: spec.revoked };
    }
    const spec = policies().certificates.get(name);
    if (spec === undefined || tlsHash(spec) !== hash) return null;
    const place = secretKey(kind, name);
    const key = sealer.open((await store.get(place))?.value, place);
    if (key === null) {
      if (!this.#keyless.has(name))
        log.warn({ certificate: name }, 'the key of a certificate cannot be opened: give it again');
      this.#keyless.add(name);
      return null;
    }
    this.#keyless.delete(name);
    return { hash, chain: spec.chain, key, ocsp: spec.ocsp };
  }
}
