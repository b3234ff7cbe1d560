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
import type { ServiceGraph } from '../policy/graph.ts';
import type { PurgeQuestion } from '../policy/purge.ts';
import type { FiguresReport } from './http/figures.ts';
import { proxiedAddresses, proxiedSettings } from './http/graph-settings.ts';
import { ProxyWorkers } from './http/proxy-workers.ts';
import type { ServiceSettings } from './http/service.ts';
import type { ToldSession } from './http/session-sharing.ts';
import { setProxiedAddresses } from './proxied-addresses.ts';

/** A core is the data plane's. */
const WORKERS = Math.max(1, availableParallelism() - 1);
/** How long requests of a service that is proxied no more may take to end. */
const DRAIN_MS = 30_000;
/** Connections that were just being opened when their service went are accepted still. */
const LAST_ACCEPTED_MS = 1000;

export interface ProxiedServicesOptions {
  signal: AbortSignal;
  /** A service cannot be proxied, or its thread has failed: it is tried again with the next change, or a second later. */
  onTrouble: (service: string, error: Error) => void;
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
  settings: ServiceSettings;
}

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
  /** Addresses that the stack takes. */
  #taken = '';
  /** One change after the other. */
  #last: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  readonly #teller: NodeJS.Timeout;
  readonly #stop = new AbortController();
  #isStopped = false;
  #stopMs = 0;

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
    if (this.#expected === before || this.#expected === '[]') return null;
    return this.#next(async () => {
      await this.#take();
      for (const [name, settings] of proxiedSettings(graph, this.#verdicts)) {
        if (!this.#running.has(name)) await this.#start(name, settings);
      }
    });
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
    if (this.#graph === null || this.#running.size === 0) return;
    void this.#next(() => this.#follow());
  }

  /** Takes what another engine told of a client. Throws a TypeError for what is no session. */
  learn(service: string, session: ToldSession): void {
    this.#running.get(service)?.workers.sessions?.learn(session);
  }

  #tellSessions(): void {
    for (const [name, { workers }] of this.#running) {
      const { sessions } = workers;
      sessions?.tell((session) => this.#options.onSession(name, session, sessions.timeoutMs));
    }
  }

  /** The figures of each service: of all threads it has. */
  async figures(): Promise<Map<string, FiguresReport[]>> {
    const all = new Map<string, FiguresReport[]>();
    for (const [name, { workers }] of this.#running) {
      try {
        all.set(name, await workers.figures());
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
    this.#stopMs = withinMs;
    this.#stop.abort();
    clearTimeout(this.#retry);
    clearInterval(this.#teller);
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

  async #follow(): Promise<void> {
    const graph = this.#graph;
    if (graph === null) return;
    const wanted = proxiedSettings(graph, this.#verdicts);
    await this.#take();
    const coming = this.#coming === null ? null : proxiedSettings(this.#coming, this.#verdicts);
    for (const [name, running] of this.#running) {
      if (wanted.has(name) || coming?.has(name)) continue;
      this.#running.delete(name);
      this.#drain(running, DRAIN_MS, LAST_ACCEPTED_MS);
    }
    for (const [name, settings] of wanted) {
      const running = this.#running.get(name);
      if (running === undefined) await this.#start(name, settings);
      else if (!isDeepStrictEqual(running.settings, settings)) await this.#change(name, running, settings);
    }
  }

  /** Addresses of services that end stay too: their last connections need them. */
  async #take(): Promise<void> {
    const graphs = [this.#graph, this.#coming].flatMap((graph) => graph ?? []);
    const ending = [...this.#ending].flatMap(({ addresses }) => addresses);
    const wanted = [...new Set([...graphs.flatMap(proxiedAddresses), ...ending])].sort();
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
      this.#running.set(name, { workers, settings });
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

  #drain({ workers, settings }: Running, withinMs: number, afterMs = 0): void {
    const addresses = settings.listeners.map(({ address }) => address);
    const ended = delay(afterMs, undefined, { signal: this.#stop.signal })
      .catch(() => undefined)
      .then(() => workers.drain(this.#isStopped ? Math.min(withinMs, this.#stopMs) : withinMs))
      .then(() => {
        this.#ending.delete(ending);
        if (!this.#isStopped) void this.#next(() => this.#take());
      });
    const ending = { addresses, ended };
    this.#ending.add(ending);
  }
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
