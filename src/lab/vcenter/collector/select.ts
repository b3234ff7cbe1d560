/** Which objects a PropertyFilterSpec selects, and which of their properties: object sets, traversals, property sets. */
import { isOf, type ManagedObject, valueAt } from '../inventory/object.ts';
import { isKindOf, isManagedType, properties, property } from '../schema/notation.ts';
import { writeAny } from '../wire/codec.ts';
import { asVimFault, invalidArgument, VimFault } from '../wire/fault.ts';
import { isMoRef, type MoRef, type Struct, type Value } from '../wire/values.ts';

const MAX_STEPS = 100_000;

export type Lookup = (id: string) => ManagedObject | undefined;

/** A selected object with the paths that are asked of it. */
export interface Selected {
  object: ManagedObject;
  paths: string[];
}

/** Objects that a filter selects, each once, in the order in which they are met. Throws InvalidArgument, InvalidProperty. */
export function select(spec: Struct, lookup: Lookup): Selected[] {
  const propSets = (spec.propSet ?? []) as Struct[];
  for (const set of propSets) {
    const type = String(set.type);
    if (!isManagedType(type) && type !== 'ManagedObject') {
      throw invalidArgument('propSet.type', `${type} is no managed object that is known here`);
    }
    for (const path of (set.pathSet ?? []) as string[]) {
      if (!property(type, path.split('.')[0]!)) {
        throw new VimFault('InvalidProperty', `The property ${path} does not exist`, { name: path });
      }
    }
  }
  const chosen = new Map<string, Selected>();
  for (const objectSpec of (spec.objectSet ?? []) as Struct[]) {
    for (const object of walk(objectSpec, lookup, spec.reportMissingObjectsInResults === true)) {
      if (chosen.has(object.ref.id)) continue;
      const sets = propSets.filter((set) => isOf(object, String(set.type)));
      if (sets.length > 0) chosen.set(object.ref.id, { object, paths: pathsOf(object, sets) });
    }
  }
  return [...chosen.values()];
}

/** The properties of an object: each as it is on the wire, by path; `missing` are those that cannot be had. */
export function readProperties({ object, paths }: Selected): {
  values: Map<string, string>;
  missing: Struct[];
} {
  const values = new Map<string, string>();
  const missing: Struct[] = [];
  for (const path of paths) {
    try {
      const found = valueAt(object, path);
      if (found) values.set(path, writeAny('val', found.value, found.member));
    } catch (error) {
      if (!(error instanceof VimFault)) throw error;
      missing.push({ path, fault: asVimFault(error).localized() });
    }
  }
  return { values, missing };
}

function walk(spec: Struct, lookup: Lookup, mayMiss: boolean): ManagedObject[] {
  const start = spec.obj as MoRef;
  const first = lookup(start.id);
  if (!first || first.ref.$ref !== start.$ref) {
    if (mayMiss) return [];
    throw new VimFault(
      'ManagedObjectNotFound',
      `The object 'vim.${start.$ref}:${start.id}' has already been deleted or has not been completely created`,
      { obj: start },
    );
  }
  const named = new Map<string, Struct>();
  const collect = (selections: Struct[]) => {
    for (const selection of selections) {
      if (selection.$type !== 'TraversalSpec') continue;
      if (selection.name) named.set(String(selection.name), selection);
      collect((selection.selectSet ?? []) as Struct[]);
    }
  };
  const selectSet = (spec.selectSet ?? []) as Struct[];
  collect(selectSet);

  const result: ManagedObject[] = spec.skip === true ? [] : [first];
  const seen = new Set<string>();
  const pending: { object: ManagedObject; selections: Struct[] }[] = [
    { object: first, selections: selectSet },
  ];
  for (let steps = 0; pending.length > 0; steps++) {
    if (steps > MAX_STEPS) throw invalidArgument('objectSet.selectSet', 'the traversal does not end');
    const { object, selections } = pending.pop()!;
    for (const selection of selections) {
      const traversal = resolve(selection, named);
      if (!isKindOf(object.ref.$ref, String(traversal.type))) continue;
      const key = `${object.ref.id} ${[...named.values()].indexOf(traversal)} ${traversal.path} ${traversal.type}`;
      if (traversal.name && seen.has(key)) continue;
      seen.add(key);
      const next = (traversal.selectSet ?? []) as Struct[];
      for (const ref of refsAt(object, String(traversal.path))) {
        const target = lookup(ref.id);
        if (!target) continue;
        if (traversal.skip !== true) result.push(target);
        if (next.length > 0) pending.push({ object: target, selections: next });
      }
    }
  }
  return result;
}

function resolve(selection: Struct, named: Map<string, Struct>): Struct {
  if (selection.$type === 'TraversalSpec') return selection;
  const found = named.get(String(selection.name));
  if (!found)
    throw invalidArgument('objectSet.selectSet.name', `there is no traversal named ${selection.name}`);
  return found;
}

function refsAt(object: ManagedObject, path: string): MoRef[] {
  const value: Value | undefined = valueAt(object, path)?.value;
  if (Array.isArray(value)) return value.filter(isMoRef);
  return isMoRef(value) ? [value] : [];
}

function pathsOf(object: ManagedObject, sets: Struct[]): string[] {
  const paths = sets.flatMap((set) =>
    set.all === true ? properties(object.ref.$ref).map((one) => one.name) : ((set.pathSet ?? []) as string[]),
  );
  return [...new Set(paths)];
}
