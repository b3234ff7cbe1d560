/**
 * The controller: observes, plans, performs, publishes, and does so again whenever something changes. One round is
 * synchronous; what takes time (listings, steps) runs beside it and wakes the next round when it ends.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Backend } from '../api/backend.ts';
import type { Platform } from '../hypervisor/platform.ts';
import type { PathFigures } from '../policy/answers.ts';
import type { AutoscaleStatus } from '../policy/autoscale.ts';
import type { CloudSpec } from '../policy/cloud.ts';
import { WeftError } from '../policy/errors.ts';
import type { PolicyItem } from '../policy/refs.ts';
import type { Sealer } from '../state/sealer.ts';
import type { HealthReport, SharedHub } from '../state/shared.ts';
import type { Entry, Store } from '../state/store.ts';
import { type Actual, TIMING, type Timing } from './actual.ts';
import { Fleet } from './autoscale/fleet.ts';
import { scaleStatuses } from './autoscale/scale-status.ts';
import { ScaleWatch } from './autoscale/scale-watch.ts';
import { createBackend, type View } from './backend.ts';
import { certificateStatuses, certificateWarnings } from './certificate-status.ts';
import { type Clock, systemClock } from './clock.ts';
import { CloudSession } from './cloud-session.ts';
import { Departures } from './departures.ts';
import type { Desired } from './desired.ts';
import { EngineReports } from './engine-reports.ts';
import { FloodWatch } from './flood-watch.ts';
import { GraphBook } from './graph-book.ts';
import { Journal } from './journal.ts';
import { KeyDelivery } from './key-delivery.ts';
import { Labels } from './labels.ts';
import { Ledger } from './ledger.ts';
import { LoadReader, READ_EVERY_MS } from './load-reader.ts';
import type { Log } from './log.ts';
import { type PoolFigures, poolFigures } from './member-figures.ts';
import { Notes } from './notes.ts';
import { Observer } from './observer.ts';
import { type Identity, loadIdentity } from './ownership.ts';
import { groupPaths, pathOf } from './path-figures.ts';
import { type Enrolment, perform } from './perform.ts';
import { plan } from './plan.ts';
import { itemsOf, POLICY_PREFIX, type Policies, parsePolicies } from './policies.ts';
import { PolicyCopies, readCopy } from './policy-copies.ts';
import { objectsFor } from './policy-copy.ts';
import { Scheduler } from './scheduler.ts';
import { StatusWriter } from './status-writer.ts';
import { compileStatuses } from './statuses.ts';
import { isJournalled, type Step } from './step.ts';
import { compileSystemStatus } from './system-status.ts';

export interface ControllerOptions {
  store: Store;
  hub: SharedHub;
  authority: Enrolment;
  /** Of the keys of certificates. */
  sealer: Sealer;
  /** Opens the platform of a cloud; it may throw, and is tried again. */
  openPlatform(spec: CloudSpec): Platform;
  log: Log;
  /** `https://address:port` of the hub, as engines reach it. */
  hubAdvertise: string;
  clock?: Clock;
  timing?: Partial<Timing>;
}

export interface Controller {
  readonly backend: Backend;
  /** Lists every cloud and plans again; resolves when the steps that are due have been started. */
  reconcileNow(): Promise<void>;
  /** Stops planning, aborts what runs, closes platforms. The store and the hub stay open: they are the caller's. */
  close(): Promise<void>;
}

const TICK_MS = 100;
const RETRY_MS = 1000;
/** How often the load of pools that scale is looked at. */
const WATCH_MS = 1000;

/** Starts reconciling. Rejects where the store cannot be read. */
export async function startController(options: ControllerOptions): Promise<Controller> {
  const clock = options.clock ?? systemClock;
  const ledger = await Ledger.load(options.store, clock.now());
  const journal = await Journal.load(options.store, clock.now());
  const fleet = await Fleet.load(options.store, clock.now());
  const identity = await loadIdentity(options.store);
  const reconciler = new Reconciler(options, clock, identity, ledger, journal, fleet);
  await reconciler.start();
  return reconciler;
}

class Reconciler implements Controller {
  readonly backend: Backend;
  readonly #options: ControllerOptions;
  readonly #clock: Clock;
  readonly #identity: Identity;
  readonly #ledger: Ledger;
  readonly #journal: Journal;
  readonly #fleet: Fleet;
  readonly #scaleWatch = new ScaleWatch();
  readonly #departures = new Departures();
  readonly #graphs = new GraphBook();
  readonly #keys: KeyDelivery;
  readonly #reports: EngineReports;
  readonly #loads: LoadReader;
  readonly #observer: Observer;
  readonly #scheduler: Scheduler;
  readonly #notes: Notes;
  readonly #floodWatch: FloodWatch;
  readonly #copies: PolicyCopies;
  readonly #labels: Labels;
  /** What each cloud is to keep, as of the policies now. */
  #copyObjects = new Map<string, PolicyItem[]>();
  readonly #statusWriter: StatusWriter;
  readonly #sessions = new Map<string, CloudSession>();
  readonly #closing = new AbortController();
  readonly #background = new Set<Promise<unknown>>();
  readonly #underWay = new Set<string>();
  readonly #startedAt: number;
  /** Raw policies by store key; parsed at the next round after a change. */
  #entries = new Map<string, Entry>();
  #policies: Policies = parsePolicies([]);
  #isPolicyKnown = false;
  #isPolicyStale = true;
  #steps: readonly Step[] = [];
  #desired: Desired | null = null;
  #actual: Actual | null = null;
  /** What statuses say of load. */
  #figures: PoolFigures = new Map();
  #paths: ReadonlyMap<string, PathFigures> = new Map();
  #figuresAt = Number.NEGATIVE_INFINITY;
  #scaling: ReadonlyMap<string, AutoscaleStatus> = new Map();
  #fleetVersion = -1;
  #isScaling = false;
  #isRescaled = false;
  #roundAt = Number.NEGATIVE_INFINITY;
  #isWoken = false;
  #cancelTick: (() => void) | null = null;
  #retryAt: number | null = null;
  #lastError: string | null = null;

  constructor(
    options: ControllerOptions,
    clock: Clock,
    identity: Identity,
    ledger: Ledger,
    journal: Journal,
    fleet: Fleet,
  ) {
    this.#options = options;
    this.#identity = identity;
    this.#clock = clock;
    this.#ledger = ledger;
    this.#journal = journal;
    this.#fleet = fleet;
    this.#startedAt = clock.now();
    const { hub, log } = options;
    const timing = { ...TIMING, ...options.timing };
    const { store, sealer } = options;
    this.#keys = new KeyDelivery({ store, sealer, hub, log, policies: () => this.#policies });
    this.#reports = new EngineReports(hub, clock, () => this.#wake());
    this.#loads = new LoadReader({
      platform: (cloud) => this.#answering(cloud),
      onRead: () => this.#wake(),
      clock,
      log,
    });
    this.#observer = new Observer({
      ledger,
      journal,
      graphs: this.#graphs,
      reports: this.#reports,
      fleet,
      loads: () => this.#loads.all(),
      health: () => this.#healthReports(),
      timing,
      startedAt: this.#startedAt,
    });
    this.#floodWatch = new FloodWatch(log);
    this.#notes = new Notes({ platform: (cloud) => this.#platform(cloud), clock, log });
    this.#labels = new Labels({
      platform: (cloud) => this.#sessions.get(cloud)?.openPlatform ?? null,
      clock,
      log,
    });
    this.#copies = new PolicyCopies({
      instance: identity.instance,
      platform: (cloud) => this.#sessions.get(cloud)?.openPlatform ?? null,
      requireOwned: async (cloud, signal) => this.#sessions.get(cloud)?.requireOwned(signal),
      clock,
      log,
    });
    this.#scheduler = new Scheduler({
      journal,
      clock,
      log,
      perform: async (step, progress, signal) => {
        // The last moment in which it can be seen that another controller drives the cloud.
        if (step.cloud !== null && isJournalled(step)) {
          await this.#sessions.get(step.cloud)?.requireOwned(signal);
        }
        return perform(
          step,
          {
            platform: (cloud) => this.#platform(cloud),
            ledger,
            fleet,
            graphs: this.#graphs,
            hub,
            keys: this.#keys,
            enrolment: options.authority,
            hubAdvertise: options.hubAdvertise,
            reportedRevision: () => this.#reports.highestRevision(),
            onDeployed: (engine, vm) => this.#observer.onDeployed(engine, vm),
            onTold: (engine, vm, isDone) => this.#observer.onTold(engine, vm, isDone, clock.now()),
            progress,
            clock,
            log,
          },
          signal,
        );
      },
      tell: (step, state, message, progress) => this.#notes.tell(step, state, message, progress),
      isListedAfter: (cloud, tick) => this.#sessions.get(cloud)?.isListedAfter(tick) ?? true,
      onSettled: (step) => this.#onSettled(step),
    });
    this.#statusWriter = new StatusWriter(options.store, clock, log);
    this.backend = createBackend({
      view: () => this.#view(),
      entries: () => [...this.#entries.values()],
      openPlatform: options.openPlatform,
      platform: (cloud) => this.#sessions.get(cloud)?.openPlatform ?? null,
      ready: (signal) => this.#ready(signal),
      ask: (engine, method, params) => hub.request(engine, method, params, 3000),
      status: () => this.#status(),
      adopt: (cloud, signal) => this.#adopt(cloud, signal),
      takeOver: (cloud, signal) => this.#takeOver(cloud, signal),
      keptPolicy: (cloud, signal) => readCopy(this.#sessions.get(cloud)?.openPlatform ?? null, signal),
      isConnected: (engine) => this.#reports.connected.has(engine),
    });
  }

  async start(): Promise<void> {
    await this.#statusWriter.start();
    this.#run(this.#followPolicies());
    this.#run(this.#keys.follow(this.#closing.signal));
    this.#tick();
  }

  async reconcileNow(): Promise<void> {
    this.#round();
    await Promise.all([...this.#sessions.values()].map((session) => session.refresh()));
    this.#round();
  }

  async close(): Promise<void> {
    this.#closing.abort(new WeftError('ERR_UNREACHABLE', 'the controller is stopping'));
    this.#cancelTick?.();
    this.#notes.close();
    this.#labels.close();
    this.#reports.close();
    await this.#loads.close();
    await this.#copies.close();
    await this.#scheduler.close();
    await Promise.all([...this.#sessions.values()].map((session) => session.close()));
    await Promise.all(this.#background);
    await this.#statusWriter.close();
  }

  /** Soon, once, however often it is called. */
  #wake(): void {
    if (this.#isWoken || this.#closing.signal.aborted) return;
    this.#isWoken = true;
    setImmediate(() => {
      this.#isWoken = false;
      this.#round();
    });
  }

  /** Verdicts depend on time, and so do steps that wait: looked at several times a second. */
  #tick(): void {
    if (this.#closing.signal.aborted) return;
    this.#cancelTick = this.#clock.after(TICK_MS, () => this.#tick());
    const now = this.#clock.now();
    const isDue = this.#retryAt !== null && now >= this.#retryAt;
    const isWatchDue = this.#isScaling && now - this.#roundAt >= WATCH_MS;
    const isPending = this.#steps.length > 0 || this.#departures.isPending;
    if (isDue || isWatchDue || isPending || this.#observer.judge(this.#policies, now)) this.#round();
  }

  #round(): void {
    if (this.#closing.signal.aborted || !this.#isPolicyKnown) return;
    try {
      if (this.#isPolicyStale) {
        this.#policies = parsePolicies([...this.#entries.values()]);
        this.#isPolicyStale = false;
        this.#isScaling = [...this.#policies.pools.values()].some((pool) => pool.autoscale !== undefined);
        this.#isRescaled = true;
        this.#copyObjects = new Map();
      }
      this.#syncSessions();
      const now = this.#clock.now();
      const observed = this.#observer.observe(this.#sessions, this.#policies, now);
      const desired = this.#departures.desire(this.#policies, observed, now);
      const watched = this.#scaleWatch.observe(desired, observed);
      const actual: Actual = { ...observed, fleet: { ...observed.fleet, ...watched } };
      this.#roundAt = now;
      this.#actual = actual;
      this.#floodWatch.look(actual.floods ?? new Map());
      this.#adoptEmpty(actual);
      this.#desired = desired;
      this.#loads.want(vmsOfPools(desired));
      const isSnapshotDue = now - this.#figuresAt >= READ_EVERY_MS;
      if (isSnapshotDue) {
        this.#figures = poolFigures(desired, actual);
        this.#paths = groupPaths(desired, (engine) => pathOf(this.#reports.get(engine)?.report));
        this.#figuresAt = now;
      }
      if (isSnapshotDue || this.#fleetVersion !== this.#fleet.version || this.#isRescaled) {
        this.#scaling = scaleStatuses(desired, actual);
        this.#fleetVersion = this.#fleet.version;
        this.#isRescaled = false;
      }
      this.#steps = plan(desired, actual);
      this.#retryAt = this.#scheduler.start(this.#steps);
      this.#forgetClouds();
      this.#prune(actual);
      this.#keepCopies(actual);
      const statuses = compileStatuses(desired, actual, (pool) => this.#health(pool), {
        figures: this.#figures,
        scaling: this.#scaling,
        paths: this.#paths,
      });
      for (const [name, status] of certificateStatuses(this.#policies, this.#keys.keyless, Date.now()))
        statuses.set(`status/certificate/${name}`, status);
      this.#statusWriter.put(statuses);
      this.#lastError = null;
    } catch (error) {
      // A defect in one round must not end the loop; the next change starts another.
      this.#lastError = error instanceof Error ? error.message : String(error);
      this.#options.log.error(
        { error: error instanceof Error ? error.stack : this.#lastError },
        'round failed',
      );
    }
  }

  /** A cloud in which nothing of an earlier controller stands is ours from the first listing on. */
  #adoptEmpty(actual: Actual): void {
    for (const [name, { spec }] of this.#sessions) {
      if (!actual.world.clouds.has(name) || actual.held.has(name) || actual.foreign.has(name)) continue;
      if (this.#ledger.isAdopted(name, spec.address)) continue;
      this.#once(`adoption ${name}`, () => this.#ledger.adopt(name, spec.address));
    }
  }

  /** Every cloud that this controller drives keeps a copy of the policy, and shows what Weft has to do with. */
  #keepCopies(actual: Actual): void {
    for (const [name, spec] of this.#policies.clouds) {
      const isOurs =
        actual.world.clouds.has(name) &&
        !actual.held.has(name) &&
        !actual.foreign.has(name) &&
        this.#ledger.isAdopted(name, spec.address);
      if (!isOurs) {
        this.#copies.forget(name);
        this.#labels.forget(name);
        continue;
      }
      let objects = this.#copyObjects.get(name);
      if (!objects) {
        objects = objectsFor(name, itemsOf([...this.#entries.values()], this.#policies));
        this.#copyObjects.set(name, objects);
      }
      this.#copies.offer(name, objects);
      if (!actual.unreachable.has(name)) this.#labels.look(name, actual.world);
    }
  }

  /** What stands in a held cloud is this controller's from now on; the next round begins with it. */
  async #adopt(cloud: string, signal: AbortSignal): Promise<void> {
    const spec = this.#policies.clouds.get(cloud);
    if (!spec) throw new WeftError('ERR_NOT_FOUND', `there is no cloud ${cloud}`);
    await this.#sessions.get(cloud)?.takeOver(signal);
    await this.#ledger.adopt(cloud, spec.address);
    this.#options.log.info({ cloud }, 'what an earlier controller left was adopted');
    this.#wake();
  }

  /** Makes a cloud this controller's that another one drives. */
  async #takeOver(cloud: string, signal: AbortSignal): Promise<string | null> {
    const session = this.#sessions.get(cloud);
    if (!session) throw new WeftError('ERR_NOT_FOUND', `there is no cloud ${cloud}: apply its policy first`);
    await session.takeOver(signal);
    return session.foreign;
  }

  #onSettled(step: Step): void {
    if (step.cloud !== null) void this.#sessions.get(step.cloud)?.refresh();
    this.#wake();
  }

  /** What failed and is not planned any more has gone away. Only said of clouds that answer. */
  #prune(actual: Actual): void {
    if (actual.unreachable.size > 0) return;
    const planned = new Set([...this.#steps, ...this.#scheduler.running()].map((step) => step.id));
    this.#run(this.#journal.prune(planned));
  }

  /** One session per cloud that policy names, or where something of ours still is. */
  #syncSessions(): void {
    const { clouds } = this.#policies;
    for (const [name, spec] of clouds) {
      if (JSON.stringify(this.#ledger.clouds.get(name)) !== JSON.stringify(spec)) {
        this.#once(`cloud ${name}`, () => this.#ledger.keepCloud(name, spec));
      }
    }
    const wanted = new Map([...this.#ledger.clouds, ...clouds]);
    for (const [name, spec] of wanted) {
      const session = this.#sessions.get(name);
      if (session && JSON.stringify(session.spec) === JSON.stringify(spec)) continue;
      if (session) this.#closeSession(name, session);
      this.#openSession(name, spec);
    }
  }

  /** Clouds that policy has given up and where nothing is left; to be asked after planning, for the plan says what is. */
  #forgetClouds(): void {
    for (const name of this.#ledger.clouds.keys()) {
      if (this.#policies.clouds.has(name) || this.#isInUse(name)) continue;
      const session = this.#sessions.get(name);
      if (session) this.#closeSession(name, session);
      this.#once(`cloud ${name}`, () => this.#ledger.forgetCloud(name));
    }
  }

  #isInUse(cloud: string): boolean {
    const session = this.#sessions.get(cloud);
    // Until it has been listed, nobody knows what is left there; one that never answers keeps what it has.
    if (!session?.inventory || session.failure !== null) return true;
    const isPlanned = [...this.#steps, ...this.#scheduler.running()].some((step) => step.cloud === cloud);
    return (
      isPlanned ||
      [...this.#ledger.placements.values()].some((placement) => placement.cloud === cloud) ||
      [...this.#ledger.preImages.keys()].some((nic) => nic.startsWith(`${cloud}/`)) ||
      [...this.#fleet.clones.values()].some((record) => record.cloud === cloud)
    );
  }

  #openSession(name: string, spec: CloudSpec): void {
    const placements = [...this.#ledger.placements.values()].filter((p) => p.cloud === name);
    const nics = [...this.#ledger.preImages.keys()].filter((nic) => nic.startsWith(`${name}/`));
    const session = new CloudSession({
      name,
      spec,
      openPlatform: this.#options.openPlatform,
      expected: {
        hosts: new Set(placements.map((placement) => placement.host)),
        vms: new Set([
          ...placements.flatMap((placement) => placement.vm ?? []),
          ...nics.map((nic) => nic.slice(name.length + 1, nic.lastIndexOf('/'))),
        ]),
      },
      identity: this.#identity,
      isIdle: () => this.#scheduler.running().every((step) => step.cloud !== name),
      onOusted: (reason) => {
        this.#options.log.warn({ cloud: name }, reason);
        this.#scheduler.abandon(name, reason);
      },
      tick: () => this.#scheduler.tick(),
      onListing: () => this.#wake(),
      clock: this.#clock,
      log: this.#options.log,
    });
    this.#sessions.set(name, session);
    session.start();
  }

  #closeSession(name: string, session: CloudSession): void {
    this.#sessions.delete(name);
    this.#run(session.close());
  }

  /** The platform of a cloud whose listing works, else null. */
  #answering(cloud: string): Platform | null {
    const session = this.#sessions.get(cloud);
    return session && session.failure === null ? session.platform : null;
  }

  #platform(cloud: string): Platform {
    const session = this.#sessions.get(cloud);
    if (!session) throw new WeftError('ERR_HYPERVISOR_UNREACHABLE', `cloud ${cloud} has no session`);
    return session.platform;
  }

  async #followPolicies(): Promise<void> {
    const { store, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        // Read before the list: a change between the two is seen twice rather than not at all.
        const { revision } = store;
        const entries = await store.list(POLICY_PREFIX);
        this.#entries = new Map(entries.map((entry) => [entry.key, entry]));
        this.#isPolicyKnown = true;
        this.#isPolicyStale = true;
        this.#wake();
        for await (const { key, value, revision: at } of store.watch(POLICY_PREFIX, revision, signal)) {
          if (value === undefined) this.#entries.delete(key);
          else this.#entries.set(key, { key, value, revision: at });
          this.#isPolicyStale = true;
          this.#wake();
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: String(error) }, 'policies are read again');
        await new Promise<void>((resolve) => {
          const cancel = this.#clock.after(RETRY_MS, resolve);
          signal.addEventListener('abort', () => {
            cancel();
            resolve();
          });
        });
      }
    }
  }

  #view(): View {
    if (!this.#desired || !this.#actual) {
      throw new WeftError('ERR_UNREACHABLE', 'the controller has just started: ask again in a moment');
    }
    return { desired: this.#desired, actual: this.#actual, steps: this.#steps };
  }

  /** Waits until every cloud has been listed or has failed to, so that answers rest on something. */
  async #ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#round();
    const unlisted = [...this.#sessions.values()].filter((session) => !session.inventory);
    if (unlisted.length > 0) {
      const aborted = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
      await Promise.race([Promise.all(unlisted.map((session) => session.refresh())), aborted]);
    }
    this.#round();
  }

  #health(pool: string): HealthReport | null {
    return healthOf(this.#options.hub.get(`health/${pool}`)?.value);
  }

  #healthReports(): Map<string, HealthReport> {
    const reports = new Map<string, HealthReport>();
    for (const { key, value } of this.#options.hub.list('health/')) {
      const report = healthOf(value);
      if (report) reports.set(key.slice('health/'.length), report);
    }
    return reports;
  }

  #status(): ReturnType<typeof compileSystemStatus> {
    const { desired, actual: observed } = this.#view();
    // Rounds follow what plans depend on; who asks wants the counts of now.
    const actual = { ...observed, connections: this.#reports.connections(), loads: this.#loads.all() };
    const [current] = this.#scheduler.running();
    return compileSystemStatus({
      controller: {
        version: VERSION,
        uptimeMs: Math.round(this.#clock.now() - this.#startedAt),
        revision: this.#options.store.revision,
        reconciling: current ? `${current.step} ${current.object}` : null,
        lastError: this.#lastError,
        warnings: [
          ...expiryWarnings(this.#options.authority.ca, this.#clock.now()),
          ...this.#copies.problems,
          ...certificateWarnings(this.#policies, this.#keys.keyless, Date.now()),
        ],
      },
      desired,
      actual,
      operations: this.#journal.list(),
      running: this.#scheduler.running(),
      planned: this.#steps,
      report: (engine) => this.#reports.get(engine)?.report ?? null,
      wantedRevision: (engine) => this.#graphs.latest(engine)?.revision ?? 0,
      health: (pool) => this.#health(pool),
    });
  }

  /** Not again while the same is under way. */
  #once(subject: string, start: () => Promise<void>): void {
    if (this.#underWay.has(subject)) return;
    this.#underWay.add(subject);
    this.#run(start().finally(() => this.#underWay.delete(subject)));
  }

  /** Keeps a promise in view until it ends, so that `close` waits for it; a failure is logged and planned again. */
  #run(promise: Promise<unknown>): void {
    const kept = promise
      .catch((error: unknown) => this.#options.log.warn({ error: String(error) }, 'a background task failed'))
      .finally(() => this.#background.delete(kept));
    this.#background.add(kept);
  }
}

function healthOf(value: unknown): HealthReport | null {
  const report = value as Partial<HealthReport> | undefined;
  return report?.members ? { monitor: '', version: 0, ...report, members: report.members } : null;
}

/** Of which VMs users are shown the load, by cloud: those that serve a pool. */
function vmsOfPools(desired: Desired): Map<string, Set<string>> {
  const vms = new Map<string, Set<string>>();
  for (const { cloud, vm } of desired.members.values()) {
    const ids = vms.get(cloud);
    if (ids) ids.add(vm.id);
    else vms.set(cloud, new Set([vm.id]));
  }
  return vms;
}

const WARN_BEFORE_MS = 90 * 24 * 3600_000;

/** Engines' and the hub's certificates are renewed without anybody's doing; the authority's own is not. */
function expiryWarnings(ca: string, now: number): string[] {
  let expiresAt: number;
  try {
    expiresAt = new X509Certificate(ca).validToDate.getTime();
  } catch {
    return [];
  }
  if (expiresAt - now > WARN_BEFORE_MS) return [];
  const day = new Date(expiresAt).toISOString().slice(0, 10);
  return [
    `the controller's certificate authority expires on ${day}: plan a new state directory, into which engines are enrolled anew`,
  ];
}

const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
