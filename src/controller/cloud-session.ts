/**
 * One cloud: its platform, its inventory kept current by watch and poll, and the brake on inventories that are
 * suddenly half empty.
 */
import type { Inventory, Lack, Platform } from '../hypervisor/platform.ts';
import type { CloudSpec } from '../policy/cloud.ts';
import { WeftError } from '../policy/errors.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { type Identity, Ownership } from './ownership.ts';

export interface CloudSessionOptions {
  name: string;
  spec: CloudSpec;
  openPlatform(spec: CloudSpec): Platform;
  /** Ids that must be there as far as the store knows: the brake's measure before the first listing. */
  expected: { hosts: ReadonlySet<string>; vms: ReadonlySet<string> };
  /** Dates a listing: see Scheduler.tick. */
  tick(): number;
  identity: Identity;
  /** Whether no step is under way in the cloud. */
  isIdle(): boolean;
  /** Another controller took the cloud over. */
  onOusted(reason: string): void;
  /** After each listing, accepted or not, and when the cloud came into other hands. */
  onListing(): void;
  clock: Clock;
  log: Log;
}

/** A listing is given up when nothing of it has arrived for so long, or when it does not end at all. */
const LISTING_SILENCE_MS = 30_000;
const LISTING_MOST_MS = 10 * 60_000;
const BRAKE_MS = 250;
/** How often it is looked at who drives the cloud. */
const LOOK_MS = { ours: 2000, pending: 500 };
/** What is allowed is asked before the first step, again after this, and more often while something is not. */
const ALLOWED_MS = { granted: 30_000, lacking: 1000 };
const BACK_OFF_MS = { first: 250, most: 5000 };

export class CloudSession {
  readonly spec: CloudSpec;
  readonly #options: CloudSessionOptions;
  readonly #closing = new AbortController();
  #platform: Platform | null = null;
  #inventory: Inventory | null = null;
  #listedTick = -1;
  #failure: string | null = 'it has not been listed yet';
  #failures = 0;
  /** Watches in a row that ended without a change. */
  #lostWatches = 0;
  #known: { hosts: ReadonlySet<string>; vms: ReadonlySet<string> };
  /** A listing that lost more than half: accepted once a second one says the same. */
  #suspect: string | null = null;
  readonly #ownership: Ownership;
  #cancelLook: (() => void) | null = null;
  #lacks: readonly Lack[] = [];
  #lacksAt = Number.NEGATIVE_INFINITY;
  #isRequested = false;
  #wake: (() => void) | null = null;
  #waiters: (() => void)[] = [];
  #loop: Promise<void> = Promise.resolve();

  constructor(options: CloudSessionOptions) {
    this.#options = options;
    this.spec = options.spec;
    const { name: cloud, identity, isIdle, onOusted, clock, log } = options;
    this.#ownership = new Ownership({ cloud, identity, isIdle, onOusted, clock, log });
    this.#known = options.expected;
  }

  start(): void {
    this.#loop = this.#run();
    this.#lookLater();
  }

  /** Why the cloud is not this controller's to change, or null. */
  get foreign(): string | null {
    return this.#ownership.reason;
  }

  /** Before each mutation. Throws ERR_CLOUD_OWNED. */
  requireOwned(signal: AbortSignal): Promise<void> {
    return this.#ownership.require(this.platform, signal);
  }

  /** Makes the cloud this controller's, also where another one drives it; that one lets go first. */
  async takeOver(signal: AbortSignal): Promise<void> {
    await this.#ownership.takeOver(this.platform, signal);
    this.#options.onListing();
  }

  /** The latest accepted inventory, or null before the first. Kept while the cloud does not answer. */
  get inventory(): Inventory | null {
    return this.#inventory;
  }

  /** What the cloud's user may not do, as last asked. */
  get lacks(): readonly Lack[] {
    return this.#lacks;
  }

  /** Why the inventory cannot be relied on now, or null. */
  get failure(): string | null {
    return this.#failure;
  }

  /** Throws ERR_HYPERVISOR_UNREACHABLE where the platform could not be opened. */
  get platform(): Platform {
    if (this.#platform) return this.#platform;
    throw new WeftError(
      'ERR_HYPERVISOR_UNREACHABLE',
      `cloud ${this.#options.name} does not answer: ${this.#failure ?? 'it is being opened'}`,
    );
  }

  /** As {@link platform}, or null where it could not be opened. */
  get openPlatform(): Platform | null {
    return this.#platform;
  }

  isListedAfter(tick: number): boolean {
    return this.#listedTick >= tick;
  }

  /** Asks for a new listing; resolves after the next one that began after the call. */
  refresh(): Promise<void> {
    this.#isRequested = true;
    this.#wake?.();
    return new Promise((resolve) => {
      if (this.#closing.signal.aborted) resolve();
      else this.#waiters.push(resolve);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort(new WeftError('ERR_UNREACHABLE', 'the controller is stopping'));
    this.#cancelLook?.();
    this.#ownership.close(this.#closing.signal.reason as Error);
    this.#wake?.();
    await this.#loop;
    for (const resolve of this.#waiters) resolve();
    await this.#platform?.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#isRequested = false;
      const waiters = this.#waiters;
      this.#waiters = [];
      const delayMs = await this.#list();
      for (const resolve of waiters) resolve();
      if (signal.aborted) return;
      this.#options.onListing();
      await this.#wait(delayMs);
    }
  }

  /** One listing. Returns how long to wait for the next, or null to watch. */
  async #list(): Promise<number | null> {
    const { tick, clock } = this.#options;
    const startedTick = tick();
    const timeout = new AbortController();
    const giveUp = (): void =>
      timeout.abort(new WeftError('ERR_TIMEOUT', 'its inventory did not arrive in time'));
    const cancelMost = clock.after(LISTING_MOST_MS, giveUp);
    let isOver = false;
    let cancelSilence = clock.after(LISTING_SILENCE_MS, giveUp);
    const alive = (): void => {
      cancelSilence();
      if (!isOver) cancelSilence = clock.after(LISTING_SILENCE_MS, giveUp);
    };
    try {
      this.#platform ??= this.#options.openPlatform(this.#options.spec);
      const signal = AbortSignal.any([this.#closing.signal, timeout.signal]);
      const inventory = await this.#platform.inventory(signal, alive);
      if (this.#ownership.reason !== null) await this.#ownership.check(this.#platform);
      await this.#askLacks(this.#platform, signal);
      this.#failures = 0;
      return this.#consider(inventory, startedTick);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!this.#closing.signal.aborted && this.#failure !== message) {
        this.#options.log.warn({ cloud: this.#options.name, error: message }, 'cloud does not answer');
      }
      this.#failure = message;
      this.#suspect = null;
      this.#failures++;
      return Math.min(BACK_OFF_MS.first * 2 ** (this.#failures - 1), BACK_OFF_MS.most);
    } finally {
      isOver = true;
      cancelSilence();
      cancelMost();
    }
  }

  /** No watch tells that somebody else has claimed the cloud. */
  #lookLater(): void {
    if (this.#closing.signal.aborted) return;
    this.#cancelLook = this.#options.clock.after(
      this.foreign === null ? LOOK_MS.ours : LOOK_MS.pending,
      () => void this.#look(),
    );
  }

  async #look(): Promise<void> {
    const before = this.#ownership.reason;
    try {
      if (this.#platform) await this.#ownership.check(this.#platform);
    } catch (error) {
      this.#options.log.debug(
        { cloud: this.#options.name, error: String(error) },
        'the owner could not be read',
      );
    }
    if (this.#ownership.reason !== before) this.#options.onListing();
    this.#lookLater();
  }

  async #askLacks(platform: Platform, signal: AbortSignal): Promise<void> {
    const { clock, log, name } = this.#options;
    const after = this.#lacks.length > 0 ? ALLOWED_MS.lacking : ALLOWED_MS.granted;
    if (!platform.lacks || clock.now() - this.#lacksAt < after) return;
    this.#lacksAt = clock.now();
    try {
      const lacks = await platform.lacks(signal);
      const said = lacks.map(({ privilege }) => privilege).join(', ');
      if (said !== '' && said !== this.#lacks.map(({ privilege }) => privilege).join(', ')) {
        log.warn({ cloud: name, privileges: said }, 'the user of the cloud lacks privileges');
      }
      this.#lacks = lacks;
    } catch (error) {
      // The calls themselves will tell.
      if (signal.aborted) throw error;
      log.debug({ cloud: name, error: String(error) }, 'privileges could not be read');
    }
  }

  #consider(inventory: Inventory, startedTick: number): number | null {
    const hosts = new Set(inventory.hosts.map((host) => host.id));
    const vms = new Set(inventory.vms.map((vm) => vm.id));
    const isLoss = lostHalf(this.#known.hosts, hosts) || lostHalf(this.#known.vms, vms);
    const shape = JSON.stringify([[...hosts].sort(), [...vms].sort()]);
    if (isLoss && this.#suspect !== shape) {
      this.#suspect = shape;
      this.#failure = `more than half of its hosts or VMs vanished at once (${hosts.size} hosts and ${vms.size} VMs are left): nothing is changed until a second listing says the same`;
      this.#options.log.warn({ cloud: this.#options.name }, this.#failure);
      return BRAKE_MS;
    }
    this.#suspect = null;
    this.#known = { hosts, vms };
    this.#inventory = inventory;
    this.#failure = null;
    this.#listedTick = startedTick;
    return null;
  }

  /** Waits for a change, the poll, a request, or the given time. */
  async #wait(delayMs: number | null): Promise<void> {
    const { clock, log, name } = this.#options;
    const wake = new AbortController();
    const woken = new Promise<void>((resolve) => wake.signal.addEventListener('abort', () => resolve()));
    // No watch tells that a privilege was granted.
    const pollMs = Math.min(
      this.#options.spec.pollIntervalMs,
      this.#lacks.length > 0 ? ALLOWED_MS.lacking : Number.POSITIVE_INFINITY,
    );
    const cancel = clock.after(delayMs ?? pollMs, () => wake.abort());
    // While listings fail, requests wait too: a cloud in trouble is not helped by more of them.
    this.#wake = delayMs === null || this.#closing.signal.aborted ? () => wake.abort() : null;
    const stop = (): void => wake.abort();
    this.#closing.signal.addEventListener('abort', stop);
    if (this.#closing.signal.aborted || (delayMs === null && this.#isRequested)) wake.abort();
    const waits: Promise<unknown>[] = [woken];
    const cancelRetry: (() => void)[] = [];
    if (delayMs === null && this.#platform && this.#inventory) {
      waits.push(
        this.#platform.watch(this.#inventory.cursor, wake.signal).catch((error: unknown) => {
          if (wake.signal.aborted) return;
          log.debug({ cloud: name, error: String(error) }, 'watch ended; it is listed anew in a moment');
          // What changed meanwhile was told to nobody. At once would be a tight loop where every watch ends so.
          const ms = Math.min(BACK_OFF_MS.first * 2 ** this.#lostWatches++, BACK_OFF_MS.most);
          cancelRetry.push(clock.after(ms, () => wake.abort()));
          return woken;
        }),
      );
    }
    await Promise.race(waits);
    this.#wake = null;
    cancel();
    if (cancelRetry.length === 0) this.#lostWatches = 0;
    for (const end of cancelRetry) end();
    wake.abort();
    this.#closing.signal.removeEventListener('abort', stop);
  }
}

function lostHalf(known: ReadonlySet<string>, now: ReadonlySet<string>): boolean {
  let lost = 0;
  for (const id of known) if (!now.has(id)) lost++;
  return lost * 2 > known.size;
}
