/** Methods of the property collector and of views. */
import { randomUUID } from 'node:crypto';
import { PropertyFilter, type RawUpdate } from '../collector/filter.ts';
import { type Lookup, readProperties, type Selected, select } from '../collector/select.ts';
import { isOf, type ManagedObject, valueAt } from '../inventory/object.ts';
import { requireRoom, sessionGone } from '../sessions.ts';
import { RAW } from '../wire/codec.ts';
import { VimFault } from '../wire/fault.ts';
import { isMoRef, type MoRef, moRef, type Struct, type Value } from '../wire/values.ts';
import type { Call, Methods } from './method.ts';

const MAX_OBJECTS = 1000;
const MAX_OBJECTS_PER_UPDATE = 100;
const MAX_HELD = 64 << 20;
const DEFAULT_COLLECTOR = 'propertyCollector';

export const collectorMethods: Methods = {
  Fetch: (call) => {
    const object = lookupOf(call)(call.self.id);
    if (!object) throw call.vcenter.object(call.self);
    return valueAt(object, String(call.args.prop))?.value;
  },

  RetrieveProperties: (call) =>
    retrieve(call, call.args.specSet as Struct[]).map((one) => objectContent(one)),

  RetrievePropertiesEx: (call) => {
    const limit = Number((call.args.options as Struct).maxObjects ?? MAX_OBJECTS) || MAX_OBJECTS;
    if (limit < 1)
      throw new VimFault('InvalidArgument', 'maxObjects must be positive', {
        invalidProperty: 'options.maxObjects',
      });
    const contents = retrieve(call, call.args.specSet as Struct[]).map((one) => objectContent(one));
    return contents.length === 0 ? undefined : page(call, contents, Math.min(limit, MAX_OBJECTS));
  },

  ContinueRetrievePropertiesEx: (call) => {
    const token = String(call.args.token);
    const rest = call.session.remainders.get(token);
    if (!rest) {
      throw new VimFault(
        'InvalidProperty',
        `token ${token} is not known: it was used, or the session is another`,
        {
          name: 'token',
        },
      );
    }
    call.session.remainders.delete(token);
    return page(call, rest.contents, rest.size);
  },

  CancelRetrievePropertiesEx: (call) => {
    call.session.remainders.delete(String(call.args.token));
    return undefined;
  },

  CreateFilter: (call) => {
    requireRoom(call.session.filters, 'property filters');
    requireCollector(call);
    const ref = moRef('PropertyFilter', `session[${call.session.key}]${randomUUID()}`);
    const filter = new PropertyFilter(ref, call.args.spec as Struct, call.args.partialUpdates === true);
    select(filter.spec, lookupOf(call)); // So that a filter that cannot be is refused now.
    call.session.filters.set(`${call.self.id} ${ref.id}`, filter);
    call.vcenter.wake();
    return ref;
  },

  DestroyPropertyFilter: (call) => {
    for (const [key, filter] of call.session.filters) {
      if (filter.ref.id === call.self.id) {
        call.session.filters.delete(key);
        return undefined;
      }
    }
    throw call.vcenter.object(call.self);
  },

  CreatePropertyCollector: (call) => {
    requireRoom(call.session.collectors, 'property collectors');
    const id = `session[${call.session.key}]${randomUUID()}`;
    call.session.collectors.add(id);
    return moRef('PropertyCollector', id);
  },

  DestroyPropertyCollector: (call) => {
    requireCollector(call);
    if (call.self.id === DEFAULT_COLLECTOR) throw new VimFault('NotSupported', 'the default collector stays');
    cancelWait(call);
    call.session.collectors.delete(call.self.id);
    for (const key of [...call.session.filters.keys()]) {
      if (key.startsWith(`${call.self.id} `)) call.session.filters.delete(key);
    }
    return undefined;
  },

  WaitForUpdatesEx: (call) => {
    const options = (call.args.options ?? {}) as Struct;
    return wait(
      call,
      options.maxWaitSeconds as number | undefined,
      Number(options.maxObjectUpdates ?? MAX_OBJECTS_PER_UPDATE),
    );
  },
  WaitForUpdates: (call) => wait(call, undefined, MAX_OBJECTS_PER_UPDATE),
  CancelWaitForUpdates: (call) => {
    cancelWait(call);
    return undefined;
  },

  CreateContainerView: (call) => {
    const container = call.args.container as MoRef;
    const types = (call.args.type ?? []) as string[];
    const isRecursive = call.args.recursive === true;
    call.vcenter.object(container);
    return keepView(call, 'ContainerView', {
      container: () => container,
      type: () => types,
      recursive: () => isRecursive,
      view: () => contained(call, container, types, isRecursive),
    });
  },
  CreateListView: (call) => {
    const objects = (call.args.obj ?? []) as MoRef[];
    return keepView(call, 'ListView', { view: () => objects });
  },
  DestroyView: (call) => {
    if (!call.session.views.delete(call.self.id)) throw call.vcenter.object(call.self);
    return undefined;
  },
};

/** Objects of the inventory and of the session. */
export function lookupOf(call: Pick<Call, 'vcenter' | 'session'>): Lookup {
  const objects = call.vcenter.objects();
  return (id) => objects.get(id) ?? call.session.views.get(id);
}

function retrieve(call: Call, specs: Struct[]): Selected[] {
  const lookup = lookupOf(call);
  return specs.flatMap((spec) => select(spec, lookup));
}

function objectContent(selected: Selected): Struct {
  const { values, missing } = readProperties(selected);
  return {
    $type: 'ObjectContent',
    obj: selected.object.ref,
    propSet: [...values].map(([path, text]) => ({
      $type: 'DynamicProperty',
      name: path,
      val: { $type: RAW, text },
    })),
    ...(missing.length > 0 ? { missingSet: missing } : {}),
  };
}

function page(call: Call, contents: Struct[], size: number): Struct {
  const rest = contents.slice(size);
  if (rest.length === 0) return { $type: 'RetrieveResult', objects: contents };
  requireRoom(call.session.remainders, 'continued retrievals');
  const token = String(call.session.nextToken++);
  call.session.remainders.set(token, { contents: rest, size });
  return { $type: 'RetrieveResult', token, objects: contents.slice(0, size) };
}

async function wait(
  call: Call,
  maxWaitSeconds: number | undefined,
  maxUpdates: number,
): Promise<Value | undefined> {
  requireCollector(call);
  const { session, vcenter, self } = call;
  const asked = String(call.args.version ?? '');
  cancelWait(call); // A collector waits once: the client that asks again has lost the answer of the first.
  const stop = new AbortController();
  session.waits.set(self.id, stop);
  const signal = AbortSignal.any([call.signal, stop.signal, vcenter.ended]);
  const deadline =
    maxWaitSeconds === undefined ? Number.POSITIVE_INFINITY : Date.now() + maxWaitSeconds * 1000;
  const state = versionsOf(session, self.id);
  if (asked === '') for (const filter of filtersOf(call)) filter.reset();
  else if (asked === state.previous && state.held && asked !== state.current) return finish(state.held);
  else if (asked !== state.current) {
    session.waits.delete(self.id);
    throw new VimFault(
      'InvalidCollectorVersion',
      `version ${asked} is not known; begin again with an empty one`,
    );
  }
  try {
    for (;;) {
      const change = vcenter.nextChange(signal);
      change.catch(() => {});
      const held = updateSet(call, Math.max(1, maxUpdates));
      if (held) {
        state.previous = asked;
        state.current = String(++state.number);
        state.held = { ...held, version: state.current };
        return state.held;
      }
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([
        change,
        new Promise((resolve) => {
          if (Number.isFinite(left)) timer = setTimeout(resolve, left);
        }),
      ]).finally(() => clearTimeout(timer));
    }
  } catch (error) {
    if (vcenter.ended.aborted) throw sessionGone();
    throw error;
  } finally {
    if (session.waits.get(self.id) === stop) session.waits.delete(self.id);
  }

  function finish(held: Struct): Struct {
    session.waits.delete(self.id);
    return held;
  }
}

interface Versions {
  number: number;
  previous: string;
  current: string;
  /** The update that led to `current`, until the next one. */
  held: Struct | null;
}

const versions = new WeakMap<object, Map<string, Versions>>();

function versionsOf(session: Call['session'], collector: string): Versions {
  let ofSession = versions.get(session);
  if (!ofSession) {
    ofSession = new Map();
    versions.set(session, ofSession);
  }
  let found = ofSession.get(collector);
  if (!found) {
    found = { number: 0, previous: '', current: '', held: null };
    ofSession.set(collector, found);
  }
  return found;
}

function updateSet(call: Call, most: number): Struct | null {
  const lookup = lookupOf(call);
  const filterSet: Struct[] = [];
  let left = most;
  let size = 0;
  let isTruncated = false;
  for (const filter of filtersOf(call)) {
    if (left <= 0) {
      isTruncated = true;
      break;
    }
    const update = filter.update(lookup, Math.min(left, MAX_OBJECTS_PER_UPDATE));
    isTruncated ||= update.isTruncated;
    left -= update.objects.length;
    if (update.objects.length === 0) continue;
    size += update.objects.reduce((sum, one) => sum + one.changes.length * 64, 0);
    filterSet.push({
      $type: 'PropertyFilterUpdate',
      filter: filter.ref,
      objectSet: update.objects.map(objectUpdate),
    });
    if (size > MAX_HELD) {
      isTruncated = true;
      break;
    }
  }
  if (filterSet.length === 0) return null;
  return { $type: 'UpdateSet', version: '', filterSet, ...(isTruncated ? { truncated: true } : {}) };
}

function objectUpdate(update: RawUpdate): Struct {
  return {
    $type: 'ObjectUpdate',
    kind: update.kind,
    obj: update.ref,
    changeSet: update.changes.map(({ path, value }) => ({
      $type: 'PropertyChange',
      name: path,
      op: value === null ? 'indirectRemove' : 'assign',
      ...(value === null ? {} : { val: { $type: RAW, text: value } }),
    })),
  };
}

function filtersOf(call: Call): PropertyFilter[] {
  return [...call.session.filters]
    .filter(([key]) => key.startsWith(`${call.self.id} `))
    .map(([, filter]) => filter);
}

function requireCollector(call: Call): void {
  if (call.self.id === DEFAULT_COLLECTOR || call.session.collectors.has(call.self.id)) return;
  throw call.vcenter.object(call.self);
}

function cancelWait(call: Call): void {
  call.session.waits
    .get(call.self.id)
    ?.abort(
      new VimFault('RequestCanceled', 'The request was canceled: another wait, or CancelWaitForUpdates.'),
    );
  call.session.waits.delete(call.self.id);
}

function keepView(call: Call, type: string, properties: ManagedObject['properties']): MoRef {
  requireRoom(call.session.views, 'views');
  const ref = moRef(type, `session[${call.session.key}]${randomUUID()}`);
  call.session.views.set(ref.id, { ref, properties });
  return ref;
}

/** Everything below a container, of the wanted types. */
function contained(call: Call, container: MoRef, types: readonly string[], isRecursive: boolean): MoRef[] {
  const objects = call.vcenter.objects();
  const found = new Map<string, MoRef>();
  const visit = (ref: MoRef) => {
    const object = objects.get(ref.id);
    if (!object) return;
    for (const name of CHILDREN[object.ref.$ref] ?? []) {
      const value = object.properties[name]?.();
      for (const child of (Array.isArray(value) ? value : [value]).filter(isMoRef)) {
        const target = objects.get(child.id);
        if (!target || found.has(child.id)) continue;
        found.set(child.id, target.ref);
        if (isRecursive) visit(child);
      }
    }
  };
  visit(container);
  return [...found.values()].filter(
    (ref) => types.length === 0 || types.some((type) => isOf(objects.get(ref.id)!, type)),
  );
}

const CHILDREN: Record<string, readonly string[]> = {
  Folder: ['childEntity'],
  Datacenter: ['vmFolder', 'hostFolder', 'datastoreFolder', 'networkFolder'],
  ClusterComputeResource: ['host', 'resourcePool'],
  ResourcePool: ['resourcePool', 'vm'],
  HostSystem: ['vm'],
};
