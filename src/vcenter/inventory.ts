/**
 * The inventory of one vCenter, kept by one property filter over a view of everything: the whole once, then changes
 * only. Tags and overridden ports, which no filter tells of, are read beside it at a rate that follows their cost.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Inventory, Mirror, NicRef } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { Evacuations } from './evacuations.ts';
import { type HintOptions, HintRounds } from './hint-rounds.ts';
import { InventoryListing, type ListingOptions, type PortTable } from './inventory-listing.ts';
import { listOf, type MirroredObject, ObjectMirror, WATCHED } from './inventory-objects.ts';
import { LARGE, readLarge } from './large-listing.ts';
import { mirrorNics, readMirrors } from './mirror.ts';
import { readPorts } from './ports.ts';
import { RestClient } from './rest.ts';
import { abortable, type VcenterSession } from './session.ts';
import { KeptTags, TagReader } from './tags.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export interface InventoryOptions extends ListingOptions, HintOptions {
  /** With more objects than this, the first listing is read in parts before the watch is set up. */
  largeFrom?: number;
}

/** How long one long poll waits in vCenter. */
const WAIT_SECONDS = 20;
/** Objects in one update set: a page of some megabytes. */
const PAGE_OBJECTS = 100;
/** What is polled (tags, ports) is read again after this, or ten times as long as it took. */
const SIDE_READ_MS = 1000;
const SIDE_READ_REST = 10;
const CANCEL_AGAIN_MS = 250;
/** How vCenter says that a view, collector or filter is gone. */
const LOST_WITH_SESSION: readonly string[] = ['ManagedObjectNotFound', 'InvalidCollectorVersion'];
const LISTING_ATTEMPTS = 3;

/** What belongs to a vCenter session: view, collector, filter. */
interface Feed {
  collector: MoRef;
  view: MoRef;
  version: string;
}

interface Watcher {
  cursor: string;
  resolve(cursor: string): void;
  reject(error: unknown): void;
}

export class VcenterInventory {
  readonly #session: VcenterSession;
  readonly #options: InventoryOptions;
  readonly #tags: KeptTags;
  readonly #hints: HintRounds;
  readonly #listing: InventoryListing;
  readonly #closed = new AbortController();
  /** Cursors of an earlier life of this process are told from ours. */
  readonly #life = randomUUID().slice(0, 8);
  #revision = 0;
  #feed: Feed | null = null;
  #mirror: ObjectMirror | null = null;
  /** Whether the mirror was read ahead of the feed, which is set up when the mirror is next needed. */
  #isAhead = false;
  #ports: PortTable = new Map();
  #mirrors: Mirror[] = [];
  readonly #evacuations = new Evacuations();
  /** When tags and ports are due again, by performance.now(). */
  #sideDue = 0;
  /** Who lists now, and wants to hear that it gets on. */
  readonly #listeners = new Set<() => void>();
  /** Calls on the collector come one after the other: vCenter allows no two waits. */
  #turn: Promise<unknown> = Promise.resolve();
  #isWaiting = false;
  #nextSync: Promise<void> | null = null;
  readonly #watchers = new Set<Watcher>();
  #pump: Promise<void> | null = null;

  constructor(session: VcenterSession, options: InventoryOptions) {
    this.#session = session;
    this.#options = options;
    this.#tags = new KeptTags(new TagReader(new RestClient(session)), options.log);
    this.#hints = new HintRounds(session, options);
    this.#listing = new InventoryListing(options);
  }

  /** As of a moment after the call. Throws, and shows nothing, when vCenter did not answer or answered with no hosts. */
  async list(signal: AbortSignal, alive: () => void = () => undefined): Promise<Inventory> {
    this.#listeners.add(alive);
    try {
      await abortable(this.#sync(), signal);
    } finally {
      this.#listeners.delete(alive);
    }
    const { hosts, vms, unfinished } = this.#listing;
    const warnings =
      this.#tags.failure === null
        ? []
        : [
            `its tags stay as they were, for they cannot be read: ${this.#tags.failure}; see that its tagging service runs and its user may see tags`,
          ];
    return {
      cursor: this.#cursor,
      hosts,
      vms,
      unfinished,
      mirrors: this.#mirrors,
      ...(warnings.length > 0 ? { warnings } : {}),
    };
  }

  /** Resolves when the inventory differs from what it was at the cursor; rejects where it cannot be followed. */
  async watch(cursor: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    if (!this.#mirror) await abortable(this.#sync(), signal);
    if (cursor !== this.#cursor) return this.#cursor;
    let watcher: Watcher | null = null;
    const changed = new Promise<string>((resolve, reject) => {
      watcher = { cursor, resolve, reject };
      this.#watchers.add(watcher);
    });
    // A rejection after the signal has ended the watch is nobody's.
    changed.catch(() => undefined);
    this.#pump ??= this.#follow();
    try {
      return await abortable(changed, signal);
    } finally {
      if (watcher) this.#watchers.delete(watcher);
    }
  }

  /** An object as of the last listing, by its id; its properties are those of `WATCHED`, reduced. */
  object(id: string): MirroredObject | undefined {
    return this.#mirror?.get(id);
  }

  /** Every object of a type as of the last listing. */
  objects(type: string): MirroredObject[] {
    return [...(this.#mirror?.all() ?? [])].filter((object) => object.ref.type === type);
  }

  /** Ids of the VMs that bear a tag, as of the last listing. */
  taggedVms(): string[] {
    return this.objects('VirtualMachine').flatMap(({ ref }) =>
      this.#tags.table.has(ref.value) ? [ref.value] : [],
    );
  }

  /** To be called when tags or a port's setting were changed: the next listing reads them again, due or not. */
  changedBeside(): void {
    this.#sideDue = 0;
  }

  /** Mirrors ports to an engine, by what was listed last. */
  async mirrorTo(engine: string, nics: readonly NicRef[], signal: AbortSignal): Promise<void> {
    await this.list(signal);
    try {
      if (this.#mirror) await mirrorNics(this.#session, this.#mirror, engine, nics, signal);
    } finally {
      this.changedBeside();
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the session with vCenter is closed'));
    for (const watcher of this.#watchers) watcher.reject(this.#closed.signal.reason);
    await this.#pump;
  }

  #alive(): void {
    for (const alive of this.#listeners) alive();
  }

  get #cursor(): string {
    return `${this.#life}:${this.#revision}`;
  }

  /** One that begins after the call; calls that wait for the same beginning share it. */
  #sync(): Promise<void> {
    if (this.#nextSync) return this.#nextSync;
    // Again and again: a cancellation that overtakes the wait does nothing.
    const cancelling = setInterval(() => this.#cancelWait(), CANCEL_AGAIN_MS);
    this.#nextSync = this.#inTurn(async () => {
      clearInterval(cancelling);
      this.#nextSync = null;
      await this.#pull(0);
      await this.#readBeside();
    });
    this.#cancelWait();
    return this.#nextSync;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const mine = before.catch(() => undefined).then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  /** A wait under way would hold its turn for seconds. */
  #cancelWait(): void {
    const collector = this.#feed?.collector;
    if (!this.#isWaiting || !collector) return;
    this.#session.call(collector, 'CancelWaitForUpdates', {}, this.#closed.signal).catch(() => undefined);
  }

  /** Long polls as long as somebody watches. */
  async #follow(): Promise<void> {
    try {
      while (this.#watchers.size > 0 && !this.#closed.signal.aborted) {
        // Whoever wants a listing comes first; else the two would take turns at cancelling each other.
        if (this.#nextSync) await this.#nextSync.catch(() => undefined);
        const untilSideMs = Math.max(this.#sideDue - performance.now(), 0);
        const wake = setTimeout(() => this.#cancelWait(), untilSideMs);
        await this.#inTurn(() => this.#pull(WAIT_SECONDS)).finally(() => clearTimeout(wake));
        if (performance.now() >= this.#sideDue) await this.#inTurn(() => this.#readBeside());
      }
    } catch (error) {
      for (const watcher of this.#watchers) watcher.reject(error);
      this.#watchers.clear();
    } finally {
      // In the turn in which nobody was found to watch: whoever comes in the next one begins anew.
      this.#pump = null;
    }
  }

  /** Applies what changed: at once with 0, else after waiting for a change. */
  async #pull(waitSeconds: number): Promise<void> {
    const { signal } = this.#closed;
    signal.throwIfAborted();
    if (!this.#feed) return this.#listWhole();
    const feed = this.#feed;
    try {
      const touched: MoRef[] = [];
      let isTruncated = true;
      for (let wait = waitSeconds; isTruncated; wait = 0) {
        const update = await this.#update(feed, wait);
        if (!update) break;
        feed.version = update.version;
        touched.push(...this.#mirror!.apply(update));
        // The rest of a truncated set belongs to it: they are shown together.
        isTruncated = update.truncated ?? false;
      }
      // A host that is being emptied is heard of at once: its VMs leave in seconds.
      if (touched.some((ref) => this.#hasTasks(ref))) await this.#readEvacuations();
      this.#followMirror(touched);
    } catch (error) {
      // The reply may be the one that held changes: only a listing of the whole tells what they were.
      const fault = faultName(error);
      if (fault === 'RequestCanceled') {
        // A cancellation that came too late for the wait it was meant for.
        return waitSeconds === 0 ? this.#pull(0) : undefined;
      }
      this.#discard(feed);
      this.#feed = null;
      if (signal.aborted || !LOST_WITH_SESSION.includes(fault ?? '')) throw error;
      this.#options.log?.warn({ fault }, 'vCenter forgot our watch; listing again');
      return this.#listWhole();
    }
  }

  async #update(feed: Feed, waitSeconds: number): Promise<Vim<'UpdateSet'> | undefined> {
    this.#isWaiting = waitSeconds > 0;
    try {
      return await this.#session.call(
        feed.collector,
        'WaitForUpdatesEx',
        { version: feed.version, options: { maxWaitSeconds: waitSeconds, maxObjectUpdates: PAGE_OBJECTS } },
        this.#closed.signal,
      );
    } finally {
      this.#isWaiting = false;
      this.#alive();
    }
  }

  /** Once more where the session ended in the middle: view, collector and filter went with it. */
  async #listWhole(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const { generation } = this.#session;
      try {
        return await this.#listOnce();
      } catch (error) {
        const isGone = LOST_WITH_SESSION.includes(faultName(error) ?? '');
        if (!isGone || this.#session.generation === generation || attempt >= LISTING_ATTEMPTS) throw error;
      }
    }
  }

  /** A new filter and a new mirror, which takes the place of the old one only when it is whole. */
  async #listOnce(): Promise<void> {
    const { signal } = this.#closed;
    const content = await this.#session.connect(signal);
    const { viewManager, customFieldsManager, propertyCollector, rootFolder } = content;
    if (!viewManager)
      throw new WeftError(
        'ERR_HYPERVISOR_UNSUPPORTED',
        `${this.#session.address} has no views: is it a vCenter?`,
      );
    const view = await this.#session.call(
      viewManager,
      'CreateContainerView',
      {
        container: rootFolder,
        type: ['Folder', 'Datacenter', 'ComputeResource', 'HostSystem', 'VirtualMachine', 'Network'],
        recursive: true,
      },
      signal,
    );
    const fields = customFieldsManager ? [customFieldsManager] : [];
    if (!this.#isAhead) {
      const largeFrom = this.#options.largeFrom ?? LARGE;
      const leaveView = (): void =>
        void this.#session.call(view, 'DestroyView', {}, signal).catch(() => undefined);
      const mirror = await readLarge(this.#session, view, fields, largeFrom, signal, () =>
        this.#alive(),
      ).catch((error) => {
        leaveView();
        throw error;
      });
      if (mirror) {
        leaveView();
        this.#refuseEmpty(mirror);
        this.#mirror = mirror;
        this.#isAhead = true;
        return this.#followMirror(null);
      }
    }
    this.#isAhead = false;
    const collector = await this.#session.call(propertyCollector, 'CreatePropertyCollector', {}, signal);
    const feed: Feed = { collector, view, version: '' };
    try {
      const traversal: Vim<'SelectionSpec'> = {
        $type: 'TraversalSpec',
        name: 'view',
        type: 'ContainerView',
        path: 'view',
        skip: false,
      };
      const spec: Vim<'PropertyFilterSpec'> = {
        propSet: Object.entries(WATCHED).map(([type, pathSet]) => ({
          type,
          all: false,
          pathSet: [...pathSet],
        })),
        objectSet: [
          { obj: view, skip: true, selectSet: [traversal] },
          ...fields.map((obj) => ({ obj, skip: false })),
        ],
      };
      // Whole values rather than parts of them: what is kept of a value is a reduction.
      await this.#session.call(collector, 'CreateFilter', { spec, partialUpdates: false }, signal);
      const mirror = new ObjectMirror(this.#mirror);
      for (let isWhole = false; !isWhole; ) {
        const update = await this.#update(feed, 0);
        if (update) {
          mirror.apply(update);
          feed.version = update.version;
        }
        isWhole = !update?.truncated;
      }
      this.#refuseEmpty(mirror);
      mirror.settle();
      this.#mirror = mirror;
      this.#feed = feed;
      this.#followMirror(null);
    } catch (error) {
      this.#discard(feed);
      throw error;
    }
  }

  #hasTasks(ref: MoRef): boolean {
    const tasks = ref.type === 'HostSystem' ? this.#mirror?.get(ref.value)?.properties.recentTask : null;
    return listOf(tasks).length > 0;
  }

  async #readEvacuations(): Promise<void> {
    const { signal } = this.#closed;
    try {
      this.#listing.evacuating = await this.#evacuations.read(this.#session, this.#mirror!, signal);
    } catch (error) {
      // Somebody else's tasks may not be for us to see: hosts are listed all the same.
      if (!isWeftError(error, 'ERR_HYPERVISOR_REFUSED')) throw error;
      this.#options.log?.debug({ error: error.message }, 'tasks of hosts could not be read');
    }
  }

  #discard({ collector, view }: Feed): void {
    const { signal } = this.#closed;
    this.#session.call(collector, 'DestroyPropertyCollector', {}, signal).catch(() => undefined);
    this.#session.call(view, 'DestroyView', {}, signal).catch(() => undefined);
  }

  /** No hosts where there were some is what lost permissions look like: nothing may be removed for it. */
  #refuseEmpty(mirror: ObjectMirror): void {
    for (const { ref } of mirror.all()) if (ref.type === 'HostSystem') return;
    throw new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `${this.#session.address} lists no hosts; may the user see them (role with System.View, propagating from the root)?`,
    );
  }

  #followMirror(touched: readonly MoRef[] | null): void {
    if (touched?.length === 0) return;
    if (touched?.some((ref) => ref.type === 'HostSystem')) this.#refuseEmptyNow();
    const beside = {
      tags: this.#tags.table,
      ports: this.#ports,
      hints: this.#hints.table,
      hintSilence: this.#hints.silence,
    };
    if (!this.#listing.follow(this.#mirror!, beside, touched)) return;
    this.#tellWatchers();
  }

  #tellWatchers(): void {
    this.#revision++;
    for (const watcher of this.#watchers) watcher.resolve(this.#cursor);
    this.#watchers.clear();
  }

  /** As {@link #refuseEmpty}; the next listing then begins anew. */
  #refuseEmptyNow(): void {
    try {
      this.#refuseEmpty(this.#mirror!);
    } catch (error) {
      if (this.#feed) this.#discard(this.#feed);
      this.#feed = null;
      throw error;
    }
  }

  /** Tags and overridden ports. Tags that cannot be read stay as they were; ports that cannot be are an error. */
  async #readBeside(): Promise<void> {
    const started = performance.now();
    if (started < this.#sideDue) return;
    const { signal } = this.#closed;
    // Set first: whoever changes something meanwhile has it read once more.
    this.#sideDue = Number.POSITIVE_INFINITY;
    let restMs = 0;
    try {
      // Whoever watches hears of it: what is listed bears a warning, or no longer.
      if (await this.#tags.read(signal)) this.#tellWatchers();
      this.#alive();
      this.#ports = await readPorts(this.#session, this.#mirror!, signal);
      this.#alive();
      const mirrors = await readMirrors(this.#session, this.#mirror!, signal);
      if (!isDeepStrictEqual(mirrors, this.#mirrors)) {
        this.#mirrors = mirrors;
        this.#tellWatchers();
      }
      await this.#readEvacuations();
      restMs = Math.max(SIDE_READ_MS, (performance.now() - started) * SIDE_READ_REST);
    } finally {
      if (this.#sideDue !== 0) this.#sideDue = performance.now() + restMs;
    }
    await this.#hints.begin(this.objects('HostSystem'), signal, () => {
      // The listing follows in its turn, which a wait under way would hold.
      this.#sideDue = 0;
      this.#cancelWait();
    });
    this.#followMirror(null);
  }
}
