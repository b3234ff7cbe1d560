/**
 * The proxies of an engine: threads that end clients' connections of the services whose HTTP the engine's graph says it
 * proxies (http/), one set for each service. They follow graphs and health; the data plane brings them their packets
 * (dataplane/proxied.ts).
 */
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { EnginePurge } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import type { ServiceGraph, TlsEntry } from '../policy/graph.ts';
import type { PurgeQuestion } from '../policy/purge.ts';
import { type ServiceFigures, type ServiceFiguresQuestion, sumThreads } from '../policy/service-figures.ts';
import { proxiedAddresses, proxiedSettings } from './http/graph-settings.ts';
import { ProxyWorkers } from './http/proxy-workers.ts';
import type { ServiceSettings } from './http/service.ts';
import type { ToldSession } from './http/session-sharing.ts';
import { listenerKey } from './kernel/listener-takeover.ts';
import { setProxiedAddresses } from './proxied-addresses.ts';
import { KeyRing } from './tls/key-ring.ts';

/** A core is the data plane's. */
const WORKERS = Math.max(1, availableParallelism() - 1);
/** How long connections of a service that is proxied no more may take to end. */
const DRAIN_MS = 30_000;
/** So long a listener outlives its service, or its address in it: clients whose SYN was lost send it again until then. */
const LAST_ACCEPTED_MS = 3500;

export interface ProxiedServicesOptions {
  signal: AbortSignal;
  /** A service cannot be proxied, or its thread has failed: it is tried again with the next change, or a second later. */
  onTrouble: (service: string, error: Error) => void;
  /** Somebody should look at a certificate of a service. */
  onNote: (service: string, note: string) => void;
  /** A client has a member, for so long: other engines should know. */
  onSession: (service: string, session: ToldSession, timeoutMs: number) => void;
  /** What other engines told of clients of a service. */
  knownSessions: (service: string) => Iterable<ToldSession>;
}

const RETRY_MS = 1000;
/** How soon other engines hear of a session. */
const TELL_MS = 100;

interface Running {
  workers: ProxyWorkers;
  /** What it runs with: its listeners are also those that graphs name no more, or not yet. */
  settings: ServiceSettings;
  /** Listeners that no graph names, and until when they stay. */
  late: readonly Listener[];
  lateUntilMs: number;
}

type Listener = ServiceSettings['listeners'][number];

export class ProxiedServices {
  readonly #options: ProxiedServicesOptions;
  readonly #running = new Map<string, Running>();
  readonly #ending = new Set<{ readonly addresses: readonly string[]; readonly ended: Promise<void> }>();
  readonly #verdicts = new Map<string, Record<string, boolean>>();
  /** In force. */
  #graph: ServiceGraph | null = null;
  /** On its way. */
  #coming: ServiceGraph | null = null;
  #expected = '[]';
  /** Until what is expected is ready. */
  #ready: Promise<void> | null = null;
  /** Addresses that the stack takes. */
  #taken = '';
  /** One change after the other. */
  #last: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  readonly #teller: NodeJS.Timeout;
  /** When listeners that are late go. */
  #tidy: NodeJS.Timeout | undefined;
  #isStopped = false;
  readonly #keys = new KeyRing(
    () => [this.#graph, this.#coming].flatMap((graph) => graph ?? []),
    (service, note) => this.#options.onNote(service, note),
  );
  /** Services that wait for their keys. */
  readonly #keyless = new Set<string>();

  constructor(options: ProxiedServicesOptions) {
    this.#options = options;
    this.#teller = setInterval(() => this.#tellSessions(), TELL_MS).unref();
  }

  /**
   * Makes ready for a graph that is to come into force: starts what it needs that is not running yet, and ends nothing.
   * Null where all is ready.
   */
  expect(graph: ServiceGraph): Promise<void> | null {
    const before = this.#expected;
    this.#coming = graph;
    this.#expected = endsOf(graph);
    if (this.#expected === before || this.#expected === '[]') return this.#ready;
    const ready = this.#next(() => this.#follow()).then(() => {
      if (this.#ready === ready) this.#ready = null;
    });
    this.#ready = ready;
    return ready;
  }

  /** Follows a graph that is in force: starts, changes and ends what it says. */
  load(graph: ServiceGraph): Promise<void> {
    this.#graph = graph;
    if (this.#coming === graph) this.#coming = null;
    return this.#next(() => this.#follow());
  }

  /** Takes verdicts on the members of a pool. */
  judge(pool: string, members: Record<string, boolean>): void {
    if (isDeepStrictEqual(this.#verdicts.get(pool), members)) return;
    this.#verdicts.set(pool, members);
    if (this.#running.size === 0) return;
    void this.#next(() => this.#follow());
  }

  /** Takes what another engine told of a client. Throws a TypeError for what is no session. */
  learn(service: string, session: ToldSession): void {
    this.#running.get(service)?.workers.sessions?.learn(session);
  }

  /** Takes a certificate or authorities: `certificate/<name>`, `authority-set/<name>`; taken back where it is undefined. */
  takeKeys(place: string, entry: TlsEntry | undefined): void {
    if (entry === undefined) {
      this.#keys.giveBack(place);
      return;
    }
    this.#keys.take(place, entry);
    if (this.#graph !== null) void this.#next(() => this.#follow());
  }

  #tellSessions(): void {
    for (const [name, { workers }] of this.#running) {
      const { sessions } = workers;
      sessions?.tell((session) => this.#options.onSession(name, session, sessions.timeoutMs));
    }
  }

  /** The figures of one service, or of each: of all threads it has together. */
  async figures({ service, names }: ServiceFiguresQuestion): Promise<Record<string, ServiceFigures>> {
    const all: Record<string, ServiceFigures> = {};
    for (const [name, { workers }] of this.#running) {
      if (service !== null && service !== name) continue;
      try {
        all[name] = sumThreads(await workers.figures(names));
      } catch {
        // It is just ending.
      }
    }
    return all;
  }

  /** Takes stored responses of a service out. Throws ERR_NOT_FOUND where it is not proxied here. */
  purge({ service, urls }: PurgeQuestion): EnginePurge {
    const running = this.#running.get(service);
    if (running !== undefined) return { purged: running.workers.purge(urls) };
    throw new WeftError('ERR_NOT_FOUND', `virtual-service ${service} is not proxied here: see weft status`);
  }

  /** Takes no new connections; those that are there have so long to end. */
  async stop(withinMs: number): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    clearInterval(this.#teller);
    clearTimeout(this.#tidy);
    await this.#last;
    for (const running of this.#running.values()) this.#drain(running, withinMs);
    this.#running.clear();
    const late = delay(withinMs, undefined, { ref: false });
    await Promise.race([Promise.all([...this.#ending].map(({ ended }) => ended)), late]);
  }

  #next(work: () => Promise<void>): Promise<void> {
    const next = this.#last.then(async () => {
      if (!this.#isStopped) await work();
    });
    this.#last = next.catch((error: Error) => {
      if (!this.#options.signal.aborted) this.#options.onTrouble('', error);
    });
    return this.#last;
  }

  /** Null for a service whose keys are not here, or cannot be used. */
  #settings(graph: ServiceGraph): Map<string, ServiceSettings | null> {
    const all = new Map<string, ServiceSettings | null>();
    for (const [name, settings] of proxiedSettings(graph, this.#verdicts)) {
      let filled: ServiceSettings | null = null;
      let trouble = new WeftError('ERR_NOT_FOUND', 'its certificate or key has not come: see weft status');
      try {
        filled = this.#keys.fill(graph, settings);
      } catch (error) {
        trouble = error as WeftError;
      }
      all.set(name, filled);
      if (filled !== null) this.#keyless.delete(name);
      else if (!this.#keyless.has(name)) {
        this.#keyless.add(name);
        this.#options.onTrouble(name, trouble);
      }
    }
    return all;
  }

  async #follow(): Promise<void> {
    this.#keys.forget();
    const settingsOf = (graph: ServiceGraph | null): Map<string, ServiceSettings | null> =>
      graph === null ? new Map() : this.#settings(graph);
    const [inForce, coming] = [settingsOf(this.#graph), settingsOf(this.#coming)];
    await this.#take();
    let tidyAtMs = Number.POSITIVE_INFINITY;
    const allNamed = listenersOf(...inForce.values(), ...coming.values());
    // Those that begin come first: what waits at a listener that ends goes over to one of the same address.
    for (const name of new Set([...inForce.keys(), ...coming.keys(), ...this.#running.keys()])) {
      const running = this.#running.get(name);
      const settings = inForce.get(name) ?? coming.get(name);
      // What runs goes on with what it has until the keys are here.
      if (settings === null || (settings === undefined && inForce.has(name))) continue;
      const named = listenersOf(inForce.get(name), coming.get(name));
      if (running === undefined) {
        await this.#start(name, { ...settings!, listeners: named });
        continue;
      }
      const late = lateOf(running, allNamed);
      if (late.length > 0) tidyAtMs = Math.min(tidyAtMs, running.lateUntilMs);
      if (settings !== undefined) {
        const wanted = { ...settings, listeners: [...named, ...late] };
        if (!isDeepStrictEqual(running.settings, wanted)) await this.#change(name, running, wanted);
      } else if (late.length === 0) {
        this.#running.delete(name);
        this.#drain(running, DRAIN_MS);
      }
    }
    await this.#take();
    clearTimeout(this.#tidy);
    if (tidyAtMs === Number.POSITIVE_INFINITY || this.#isStopped) return;
    this.#tidy = setTimeout(() => void this.#next(() => this.#follow()), tidyAtMs - performance.now() + 1);
  }

  /** Addresses of services that end stay too: their last connections need them. */
  async #take(): Promise<void> {
    const graphs = [this.#graph, this.#coming].flatMap((graph) => graph ?? []);
    const running = [...this.#running.values()].flatMap(({ settings }) => addressesOf(settings.listeners));
    const ending = [...this.#ending].flatMap(({ addresses }) => addresses);
    const wanted = [...new Set([...graphs.flatMap(proxiedAddresses), ...running, ...ending])].sort();
    if (wanted.join() === this.#taken) return;
    await setProxiedAddresses(wanted, this.#options.signal);
    this.#taken = wanted.join();
  }

  async #start(name: string, settings: ServiceSettings): Promise<void> {
    try {
      const workers = await ProxyWorkers.start({
        settings,
        workers: WORKERS,
        onFailure: (error) => this.#failed(name, error),
      });
      this.#running.set(name, { workers, settings, late: [], lateUntilMs: 0 });
      const known = workers.sessions === null ? [] : this.#options.knownSessions(name);
      for (const session of known) {
        try {
          workers.sessions!.learn(session);
        } catch {
          // Said when it came.
        }
      }
    } catch (error) {
      this.#failed(name, error as Error);
    }
  }

  async #change(name: string, running: Running, settings: ServiceSettings): Promise<void> {
    try {
      await running.workers.reload(settings);
      running.settings = settings;
    } catch (error) {
      this.#failed(name, error as Error);
    }
  }

  #failed(name: string, error: Error): void {
    if (this.#isStopped) return;
    this.#options.onTrouble(name, error);
    const running = this.#running.get(name);
    this.#running.delete(name);
    if (running !== undefined) this.#drain(running, DRAIN_MS);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#next(() => this.#follow()), RETRY_MS);
  }

  /** Connections without a request are kept until their next one: it may be on its way. */
  #drain({ workers, settings }: Running, withinMs: number): void {
    const ended = workers.drain(withinMs, true).then(() => {
      this.#ending.delete(ending);
      if (!this.#isStopped) void this.#next(() => this.#take());
    });
    const ending = { addresses: addressesOf(settings.listeners), ended };
    this.#ending.add(ending);
  }
}

function addressesOf(listeners: readonly Listener[]): string[] {
  return listeners.map(({ address }) => address);
}

/** Those of both, each once. */
function listenersOf(...all: readonly (ServiceSettings | null | undefined)[]): Listener[] {
  const listeners = all.flatMap((one) => one?.listeners ?? []);
  return [...new Map(listeners.map((one) => [listenerKey(one.address, one.port), one])).values()];
}

/** Listeners that it has, that no service names, and that stay still. */
function lateOf(running: Running, named: readonly Listener[]): readonly Listener[] {
  const keys = new Set(named.map(({ address, port }) => listenerKey(address, port)));
  const late = running.settings.listeners.filter(
    ({ address, port }) => !keys.has(listenerKey(address, port)),
  );
  const now = performance.now();
  if (!isDeepStrictEqual(late, running.late)) {
    running.late = late;
    running.lateUntilMs = now + LAST_ACCEPTED_MS;
  }
  return now < running.lateUntilMs ? late : [];
}

/** What has to be listened for, as a text. */
function endsOf({ services }: ServiceGraph): string {
  const proxied = services.filter(({ http }) => http !== undefined);
  return JSON.stringify(
    proxied.map(({ name, tiers }) => [
      name,
      tiers[0]!.port,
      tiers[0]!.addresses.map(({ address }) => address),
    ]),
  );
}
