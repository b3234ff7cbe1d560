/**
 * What one engine knows of the shared state: its own entries, which it alone changes and sends again after each
 * reconnection, and the others', as the hub last told them.
 *
 * Pure but for the clock that is passed in. While the hub is away everything stays as last known. A hub that comes
 * back empty does not void what was known: others' entries get a time to be put again, and graphs simply stay.
 */
import type { SharedEntry } from './shared.ts';
import { MAX_TTL_MS, type PutEntry, type WireEntry } from './wire.ts';

interface Own {
  /** Undefined where it was deleted. */
  value: unknown;
  /** The value as sent. */
  json: string | undefined;
  seq: number;
  /** When it lapses, or when a deletion that was sent may be forgotten. */
  expiresAt: number;
  /** True while another's entry stands in its place (health, after the lease went over). */
  isShadowed: boolean;
}

interface Known {
  entry: SharedEntry;
  /** The hub's run and its version of this entry. */
  hub: string;
  version: number;
  /** When it is given up unless the hub mentions it again; or, once removed, forgotten. */
  expiresAt: number;
}

interface Snapshot {
  prefix: string;
  version: number;
  keys: Set<string>;
  parts: Set<number>;
  /** Number of parts, once the last one is here. */
  partsInAll: number | undefined;
}

/** After a new run of the hub, how long others may take to connect to it. */
const REAPPEAR_MS = 10_000;
const REMOVED_KEPT_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;

export class ClientEntries {
  readonly #writer: string;
  readonly #onChange: (entry: SharedEntry) => void;
  readonly #own = new Map<string, Own>();
  readonly #known = new Map<string, Known>();
  readonly #snapshots = new Map<number, Snapshot>();
  /** Own keys that are still to be sent. */
  readonly #unsent = new Set<string>();
  #seq = 0;
  #epoch: number;
  #hub = '';

  constructor(writer: string, epoch: number, onChange: (entry: SharedEntry) => void) {
    this.#writer = writer;
    this.#epoch = epoch;
    this.#onChange = onChange;
  }

  set epoch(epoch: number) {
    this.#epoch = epoch;
  }

  get hasUnsent(): boolean {
    return this.#unsent.size > 0;
  }

  get(key: string): SharedEntry | undefined {
    const own = this.#visibleOwn(key);
    if (own !== undefined) return own.value === undefined ? undefined : this.#ownEntry(key, own);
    const known = this.#known.get(key);
    return known?.entry.value === undefined ? undefined : known.entry;
  }

  *list(prefix: string): Generator<SharedEntry> {
    for (const [key, own] of this.#own) {
      if (own.value !== undefined && !own.isShadowed && key.startsWith(prefix))
        yield this.#ownEntry(key, own);
    }
    for (const [key, { entry }] of this.#known) {
      if (entry.value === undefined || !key.startsWith(prefix)) continue;
      if (this.#visibleOwn(key) === undefined) yield entry;
    }
  }

  /** Undefined deletes. `json` is the value as text. */
  put(key: string, value: unknown, json: string | undefined, ttlMs: number | undefined, now: number): void {
    const expiresAt = ttlMs === undefined ? NEVER : now + ttlMs;
    const own: Own = { value, json, seq: ++this.#seq, expiresAt, isShadowed: false };
    this.#own.set(key, own);
    this.#unsent.add(key);
    this.#onChange(this.#ownEntry(key, own));
  }

  /** Takes unsent entries of about `characters` in all; each counts as sent from now on. */
  takeUnsent(characters: number, now: number): PutEntry[] {
    const taken: PutEntry[] = [];
    let length = 0;
    for (const key of this.#unsent) {
      if (length >= characters) break;
      this.#unsent.delete(key);
      const own = this.#own.get(key);
      if (own === undefined) continue;
      if (own.value === undefined) own.expiresAt = now + REMOVED_KEPT_MS;
      const ttlMs =
        own.expiresAt === NEVER
          ? undefined
          : Math.min(MAX_TTL_MS, Math.max(1, Math.round(own.expiresAt - now)));
      taken.push({
        key,
        seq: own.seq,
        ...(own.value !== undefined && { value: own.value, ...(ttlMs !== undefined && { ttlMs }) }),
      });
      length += key.length + (own.json?.length ?? 0) + 64;
    }
    return taken;
  }

  /** A link is up: everything own is to be sent again, under the numbers it has. */
  connected(hub: string, now: number): void {
    this.#snapshots.clear();
    for (const [key, own] of this.#own) if (!own.isShadowed) this.#unsent.add(key);
    if (hub === this.#hub) return;
    this.#hub = hub;
    for (const [key, known] of this.#known) {
      // An engine goes on with the graph it has until it gets another.
      if (known.entry.value !== undefined && !key.startsWith('graph/')) known.expiresAt = now + REAPPEAR_MS;
    }
  }

  /** The hub is about to answer a subscription with a snapshot. */
  expectSnapshot(id: number, prefix: string): void {
    this.#snapshots.set(id, { prefix, version: 0, keys: new Set(), parts: new Set(), partsInAll: undefined });
  }

  /** Takes one part; when all are here, what the hub does not have any more is removed. */
  takeSnapshot(
    part: { id: number; part: number; isLast: boolean; version: number; entries: readonly WireEntry[] },
    now: number,
  ): void {
    const snapshot = this.#snapshots.get(part.id);
    this.take(part.entries, now);
    if (snapshot === undefined) return;
    for (const { key } of part.entries) snapshot.keys.add(key);
    snapshot.version = part.version;
    snapshot.parts.add(part.part);
    if (part.isLast) snapshot.partsInAll = part.part + 1;
    if (snapshot.partsInAll === undefined || snapshot.parts.size < snapshot.partsInAll) return;
    this.#snapshots.delete(part.id);
    for (const [key, known] of this.#known) {
      const isGone =
        known.entry.value !== undefined &&
        key.startsWith(snapshot.prefix) &&
        known.hub === this.#hub &&
        known.version <= snapshot.version &&
        !snapshot.keys.has(key);
      if (isGone) this.#remove(key, known, now);
    }
  }

  /** Takes what the hub tells. What is not newer than known changes nothing. */
  take(entries: readonly WireEntry[], now: number): void {
    for (const { version, ...rest } of entries) {
      const entry: SharedEntry = { ...rest, value: rest.value };
      const known = this.#known.get(entry.key);
      if (known !== undefined && known.hub === this.#hub && known.version >= version) continue;
      const expiresAt = entry.value === undefined ? now + REMOVED_KEPT_MS : NEVER;
      this.#known.set(entry.key, { entry, hub: this.#hub, version, expiresAt });
      const own = this.#own.get(entry.key);
      if (own !== undefined && entry.writer === this.#writer) {
        // The hub echoes what this engine put.
        if (entry.epoch === this.#epoch && entry.seq === own.seq) own.isShadowed = false;
        if (!own.isShadowed) continue;
      } else if (own !== undefined) {
        own.isShadowed = true;
      }
      this.#onChange(entry);
    }
  }

  /** The hub did not take an own entry: forget it, and fall back on what the hub has. */
  refused(key: string, seq: number): void {
    const own = this.#own.get(key);
    if (own?.seq !== seq) return;
    this.#own.delete(key);
    this.#unsent.delete(key);
    if (own.value === undefined || own.isShadowed) return;
    this.#onChange(this.get(key) ?? { ...this.#ownEntry(key, own), value: undefined });
  }

  /** Nobody here wants keys any more for which `isWanted` is false. */
  forget(isWanted: (key: string) => boolean): void {
    for (const key of this.#known.keys()) if (!isWanted(key)) this.#known.delete(key);
  }

  /** Removes what has expired. */
  sweep(now: number): void {
    for (const [key, own] of this.#own) {
      if (own.expiresAt > now) continue;
      this.#own.delete(key);
      this.#unsent.delete(key);
      if (own.value === undefined || own.isShadowed) continue;
      this.#onChange({ ...this.#ownEntry(key, own), value: undefined });
    }
    for (const [key, known] of this.#known) {
      if (known.expiresAt > now) continue;
      if (known.entry.value === undefined) this.#known.delete(key);
      else this.#remove(key, known, now);
    }
  }

  #remove(key: string, known: Known, now: number): void {
    known.entry = { ...known.entry, value: undefined };
    known.expiresAt = now + REMOVED_KEPT_MS;
    if (this.#visibleOwn(key) === undefined) this.#onChange(known.entry);
  }

  #visibleOwn(key: string): Own | undefined {
    const own = this.#own.get(key);
    return own?.isShadowed ? undefined : own;
  }

  #ownEntry(key: string, own: Own): SharedEntry {
    return { key, value: own.value, writer: this.#writer, epoch: this.#epoch, seq: own.seq };
  }
}
