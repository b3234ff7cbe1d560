/**
 * A property filter: remembers what it has told, and tells what is different now. An update is held until the next
 * one is asked for, so that a client whose answer got lost asks again with the version that it has.
 */
import { createHash } from 'node:crypto';
import type { MoRef, Struct } from '../wire/values.ts';
import { type Lookup, readProperties, type Selected, select } from './select.ts';

interface Told {
  ref: MoRef;
  /** Digest of the value at each path. */
  values: Map<string, string>;
}

export class PropertyFilter {
  readonly ref: MoRef;
  readonly spec: Struct;
  readonly isPartial: boolean;
  /** What the client has been told, and what it will have been told once it asks with the version of the update. */
  #told = new Map<string, Told>();

  constructor(ref: MoRef, spec: Struct, isPartial: boolean) {
    this.ref = ref;
    this.spec = spec;
    this.isPartial = isPartial;
  }

  /** Forgets what was told: a client that begins again hears everything. */
  reset(): void {
    this.#told = new Map();
  }

  /**
   * Object updates since what was told, at most `most` of them; `isTruncated` where there are more. What is returned
   * counts as told.
   */
  update(lookup: Lookup, most: number): { objects: RawUpdate[]; isTruncated: boolean } {
    const now = select({ ...this.spec, reportMissingObjectsInResults: true }, lookup);
    const present = new Set(now.map(({ object }) => object.ref.id));
    const objects: RawUpdate[] = [];
    for (const [id, told] of this.#told) {
      if (present.has(id)) continue;
      if (objects.length >= most) return { objects, isTruncated: true };
      objects.push({ kind: 'leave', ref: told.ref, changes: [] });
      this.#told.delete(id);
    }
    for (const selected of now) {
      const update = this.#compare(selected);
      if (!update) continue;
      if (objects.length >= most) return { objects, isTruncated: true };
      objects.push(update.raw);
      this.#told.set(selected.object.ref.id, update.told);
    }
    return { objects, isTruncated: false };
  }

  #compare(selected: Selected): { raw: RawUpdate; told: Told } | null {
    const { ref } = selected.object;
    const before = this.#told.get(ref.id);
    const { values } = readProperties(selected);
    const told: Told = { ref, values: new Map() };
    const changes: RawUpdate['changes'] = [];
    for (const path of selected.paths) {
      const value = values.get(path);
      const print = value === undefined ? '' : digest(value);
      told.values.set(path, print);
      if (before ? before.values.get(path) !== print : value !== undefined) {
        changes.push({ path, value: value ?? null });
      }
    }
    if (before && changes.length === 0) return null;
    return { raw: { kind: before ? 'modify' : 'enter', ref, changes }, told };
  }
}

/** An update with values that are text of the wire already. */
export interface RawUpdate {
  kind: 'enter' | 'modify' | 'leave';
  ref: MoRef;
  changes: { path: string; value: string | null }[];
}

function digest(text: string): string {
  return text.length <= 64 ? text : createHash('sha256').update(text).digest('base64');
}
