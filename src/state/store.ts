/**
 * The store: where the truth lives (policies, PKI, placements, the operation journal).
 *
 * A flat, ordered key space with one revision counter for the whole store, as in etcd, so that a clustered
 * implementation fits. test/contract/store.ts is what every implementation must pass.
 */

export interface Entry<Value = unknown> {
  key: string;
  value: Value;
  /** Store revision of the last change of this key. */
  revision: number;
}

export interface Change {
  key: string;
  /** The new value, or undefined where the key was deleted. */
  value: unknown;
  revision: number;
}

export type Write = { key: string; value: unknown } | { key: string; delete: true };

/** Holds where the key's last-change revision is the given one; 0 means that the key must not exist. */
export interface Condition {
  key: string;
  revision: number;
}

export interface Store {
  /** The revision of the latest change. 0 for an empty store. */
  readonly revision: number;
  get<Value = unknown>(key: string): Promise<Entry<Value> | undefined>;
  /** Every entry whose key starts with `prefix`, in key order, all as of one revision. */
  list<Value = unknown>(prefix: string): Promise<Entry<Value>[]>;
  /**
   * Applies all writes at one new revision, or none. Resolves once they are durable.
   * Throws ERR_REVISION_CONFLICT where a condition does not hold, ERR_STORE_WRITE where the medium fails;
   * in both cases nothing has changed. Values are JSON; what is read back is a copy.
   */
  write(writes: readonly Write[], conditions?: readonly Condition[]): Promise<number>;
  /**
   * Changes to keys under `prefix` after `revision`, in order, without gaps or repeats, until the signal aborts
   * (then the iteration ends without an error). Throws ERR_COMPACTED where `revision` is no longer kept.
   */
  watch(prefix: string, revision: number, signal: AbortSignal): AsyncIterable<Change>;
  close(): Promise<void>;
}
