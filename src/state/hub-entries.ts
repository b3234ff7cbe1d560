/**
 * The hub's table of shared state: merges what writers put, lets entries lapse, and numbers every change.
 *
 * Pure but for the clock that is passed in. For each key the greatest (epoch, seq) of a writer counts; a removed
 * entry is remembered for a while, so that a late duplicate does not bring it back.
 */
import type { SharedEntry } from './shared.ts';

export interface HubEntry extends SharedEntry {
  /** The hub's counter at the last change of this key. */
  version: number;
  /** The entry as it is sent to engines. */
  json: string;
}

export interface PutRequest {
  key: string;
  /** Undefined deletes. */
  value: unknown;
  writer: string;
  epoch: number;
  seq: number;
  ttlMs?: number | undefined;
}

/** How long a removed entry is remembered, and how many at most. */
const REMOVED_KEPT_MS = 60_000;
const MAX_REMOVED = 200_000;

interface Row extends HubEntry {
  expiresAt: number;
  /** True where the entry was not deleted by its writer, but its time or its writer was gone: it may come back. */
  isLapsed: boolean;
  /** The second in whose list of expiring keys this one stands. */
  bucket: number | undefined;
}

export class HubEntries {
  /** First part of the key to key to row: prefixes nearly always begin with a whole first part. */
  readonly #kinds = new Map<string, Map<string, Row>>();
  readonly #presentOf = new Map<string, number>();
  /** Second of expiry to keys that may expire then. */
  readonly #expiring = new Map<number, Set<string>>();
  #sweptSecond: number | undefined;
  /** Removed rows in the order of their removal. */
  #removed: { key: string; version: number; at: number }[] = [];
  readonly #maxPerWriter: number;
  #version = 0;

  constructor(maxPerWriter: number) {
    this.#maxPerWriter = maxPerWriter;
  }

  get version(): number {
    return this.#version;
  }

  get(key: string): HubEntry | undefined {
    const row = this.#rows(key).get(key);
    return row?.value === undefined ? undefined : row;
  }

  /** Present entries under the prefix. */
  *list(prefix: string): Generator<HubEntry> {
    const slash = prefix.indexOf('/');
    const kinds = slash < 0 ? this.#kinds.values() : [this.#kinds.get(prefix.slice(0, slash)) ?? new Map()];
    for (const rows of kinds as Iterable<Map<string, Row>>) {
      for (const row of rows.values()) if (row.value !== undefined && row.key.startsWith(prefix)) yield row;
    }
  }

  /**
   * Applies a put or deletion. `entry`: what changed; `known`: older than or the same as what is known; `full`: the
   * writer has as many entries as one may have.
   */
  put(request: PutRequest, now: number): { entry: HubEntry } | 'known' | 'full' {
    const { key, value, writer, epoch, seq } = request;
    const rows = this.#rows(key);
    const row = rows.get(key);
    if (row !== undefined && row.writer === writer) {
      const isLater = epoch > row.epoch || (epoch === row.epoch && seq > row.seq);
      const isBack = row.isLapsed && epoch === row.epoch && seq === row.seq;
      if (!isLater && !isBack) return 'known';
    }
    const isNew = value !== undefined && (row?.value === undefined || row.writer !== writer);
    if (isNew && (this.#presentOf.get(writer) ?? 0) >= this.#maxPerWriter) return 'full';
    if (value === undefined && row?.value === undefined) {
      // There is nothing to remove, but the order is remembered: what was deleted may yet arrive.
      if (row?.writer === writer) Object.assign(row, { epoch, seq, isLapsed: false });
      else this.#set({ key, value, writer, epoch, seq }, Number.POSITIVE_INFINITY, false, now);
      return 'known';
    }
    const expiresAt = request.ttlMs === undefined ? Number.POSITIVE_INFINITY : now + request.ttlMs;
    return { entry: this.#set({ key, value, writer, epoch, seq }, expiresAt, false, now) };
  }

  /** Removes an entry whose writer is gone. Undefined where there is none, or it is of a later epoch. */
  lapse(key: string, epoch: number, now: number): HubEntry | undefined {
    const row = this.#rows(key).get(key);
    if (row?.value === undefined || row.epoch > epoch) return undefined;
    const { writer, epoch: ofEpoch, seq } = row;
    return this.#set(
      { key, value: undefined, writer, epoch: ofEpoch, seq },
      Number.POSITIVE_INFINITY,
      true,
      now,
    );
  }

  /** Removes what has expired by `now`, and forgets removals long ago. Returns what changed. */
  sweep(now: number): HubEntry[] {
    const changed: HubEntry[] = [];
    const second = Math.floor(now / 1000);
    for (let at = this.#sweptSecond ?? second; at <= second; at++) {
      for (const key of this.#expiring.get(at) ?? []) {
        const row = this.#rows(key).get(key);
        if (row?.bucket !== at || row.value === undefined) continue;
        if (row.expiresAt <= now) {
          const entry = this.lapse(key, row.epoch, now);
          if (entry) changed.push(entry);
        } else if (at < second) row.bucket = this.#expireAt(key, row.expiresAt);
      }
      if (at < second) this.#expiring.delete(at);
    }
    this.#sweptSecond = second;

    let forgotten = 0;
    for (; forgotten < this.#removed.length; forgotten++) {
      const { key, version, at } = this.#removed[forgotten]!;
      if (at + REMOVED_KEPT_MS > now && this.#removed.length - forgotten <= MAX_REMOVED) break;
      const rows = this.#rows(key);
      if (rows.get(key)?.version === version) rows.delete(key);
    }
    if (forgotten > 0) this.#removed = this.#removed.slice(forgotten);
    return changed;
  }

  #set(entry: SharedEntry, expiresAt: number, isLapsed: boolean, now: number): Row {
    const rows = this.#rows(entry.key);
    const before = rows.get(entry.key);
    if (before?.value !== undefined) this.#count(before.writer, -1);
    if (entry.value !== undefined) this.#count(entry.writer, 1);
    const version = ++this.#version;
    // An entry that is put again and again stays in its list, and moves on when that list is due.
    const second = Math.floor(expiresAt / 1000);
    const isListed = before?.bucket !== undefined && before.bucket <= second;
    const bucket = isListed ? before.bucket : this.#expireAt(entry.key, expiresAt);
    const json = JSON.stringify({ ...entry, version });
    const row: Row = { ...entry, version, json, expiresAt, isLapsed, bucket };
    rows.set(entry.key, row);
    if (entry.value === undefined) this.#removed.push({ key: entry.key, version, at: now });
    return row;
  }

  #expireAt(key: string, expiresAt: number): number | undefined {
    if (expiresAt === Number.POSITIVE_INFINITY) return undefined;
    const second = Math.floor(expiresAt / 1000);
    const keys = this.#expiring.get(second);
    if (keys) keys.add(key);
    else this.#expiring.set(second, new Set([key]));
    return second;
  }

  #count(writer: string, by: number): void {
    const count = (this.#presentOf.get(writer) ?? 0) + by;
    if (count === 0) this.#presentOf.delete(writer);
    else this.#presentOf.set(writer, count);
  }

  #rows(key: string): Map<string, Row> {
    const slash = key.indexOf('/');
    const kind = slash < 0 ? key : key.slice(0, slash);
    let rows = this.#kinds.get(kind);
    if (rows === undefined) {
      rows = new Map();
      this.#kinds.set(kind, rows);
    }
    return rows;
  }
}
