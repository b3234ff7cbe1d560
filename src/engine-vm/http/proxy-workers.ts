/** The threads of a proxy, from the main thread: starts one for each core, tells them of new settings, ends them. */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { WeftError } from '../../policy/errors.ts';
import { EventFd } from '../kernel/event-fd.ts';
import { closeListeners, listenerKey } from '../kernel/listener-takeover.ts';
import type { LoopKind } from '../kernel/socket-loop.ts';
import { SESSION_ENTRIES } from './client-sessions.ts';
import { CacheStore } from './component/cache/cache-store.ts';
import { purgeUrls } from './component/cache/purge.ts';
import { RateTable } from './component/rate-limits/rate-table.ts';
import type { FiguresReport } from './figures.ts';
import { KeyFile, type Legacy } from './hand-over.ts';
import type { ProxyAnswer, ProxyCommand, ProxyThreadData } from './proxy-thread.ts';
import type { ServiceSettings } from './service.ts';
import { SessionSharing } from './session-sharing.ts';
import { SessionTable } from './session-table.ts';

export interface ProxyWorkersOptions {
  readonly settings: ServiceSettings;
  readonly workers: number;
  readonly loop?: LoopKind;
  /** Takes lines of the access log; or the file that workers write them to themselves. */
  readonly log?: number | ((lines: Uint8Array) => void);
  readonly logEvery?: number;
  /** Of the process whose place this one takes; its listeners are this one's then. */
  readonly legacy?: Legacy;
  /** A worker ended that was not told to. */
  readonly onFailure: (error: Error) => void;
}

type Command = ProxyCommand extends infer C ? (C extends { id: number } ? Omit<C, 'id'> : never) : never;

class ProxyWorker {
  readonly ready: Promise<LoopKind>;
  readonly ended: Promise<FiguresReport | null>;
  readonly #port: MessagePort;
  readonly #wake = new EventFd();
  readonly #waiting = new Map<number, { resolve(figures: unknown): void; reject(error: Error): void }>();
  #nextId = 1;
  #last: FiguresReport | null = null;

  constructor(
    { settings, loop, log, logEvery, onFailure }: ProxyWorkersOptions,
    listeners: ReadonlyMap<string, readonly number[]>,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const data: ProxyThreadData = {
      settings,
      port: port2,
      wakeFd: this.#wake.fd,
      ...(loop === undefined ? {} : { loop }),
      ...(log === undefined ? {} : { log: typeof log === 'number' ? log : 'message' }),
      ...(logEvery === undefined ? {} : { logEvery }),
      listeners,
    };
    const worker = new Worker(new URL('./proxy-thread.ts', import.meta.url), {
      workerData: data,
      transferList: [port2],
    });
    const ready = Promise.withResolvers<LoopKind>();
    this.ready = ready.promise;
    let isOver = false;
    port1.on('message', (message: ProxyAnswer) => {
      if ('log' in message) {
        if (typeof log === 'function') log(message.log);
        return;
      }
      const { id, error } = message;
      if (id === -1) {
        isOver = true;
        this.#last = message.figures as FiguresReport;
        return;
      }
      if (id === 0) {
        if (error === undefined) ready.resolve(message.loop!);
        else {
          isOver = true;
          ready.reject(new WeftError('ERR_KERNEL', error));
        }
        return;
      }
      const asked = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) asked?.resolve(message.figures);
      else asked?.reject(new WeftError('ERR_KERNEL', error));
    });
    worker.on('error', (error) => {
      ready.reject(error as Error);
      onFailure(error as Error);
      isOver = true;
    });
    // The port closes once its last message has come; that may be after the thread's end.
    const closed = new Promise<void>((resolve) => port1.once('close', resolve));
    const exited = new Promise<number>((resolve) => worker.once('exit', resolve));
    this.ended = Promise.all([exited, closed]).then(([code]) => {
      if (!isOver) onFailure(new WeftError('ERR_INTERNAL', `a proxy thread ended with code ${code}`));
      for (const { reject } of this.#waiting.values()) reject(new Error('the proxy thread has ended'));
      this.#wake.close();
      return this.#last;
    });
  }

  ask(command: Command): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#port.postMessage({ ...command, id });
      this.#wake.signal();
    });
  }
}

export class ProxyWorkers {
  readonly #workers: ProxyWorker[];
  readonly #keys = new KeyFile();
  #settings: ServiceSettings;
  /** Null where no clients are remembered. */
  sessions: SessionSharing | null;

  private constructor(workers: ProxyWorker[], settings: ServiceSettings) {
    this.#workers = workers;
    this.#settings = settings;
    this.sessions = SessionSharing.of(settings);
    this.#keepKeys();
  }

  /** Starts them; resolves when all accept connections. Throws ERR_KERNEL where one cannot. */
  static async start(options: ProxyWorkersOptions): Promise<ProxyWorkers> {
    const { legacy } = options;
    const settings = withShared(options.settings, null, legacy);
    const shares = sharesOf(legacy, settings, options.workers);
    const all = shares.map((listeners) => new ProxyWorker({ ...options, settings }, listeners));
    const workers = new ProxyWorkers(all, settings);
    const started = await Promise.allSettled(workers.#workers.map(({ ready }) => ready));
    const failed = started.find((one) => one.status === 'rejected');
    if (failed !== undefined) {
      started.forEach((one, n) => {
        if (one.status === 'fulfilled') void workers.#workers[n]!.ask(AT_ONCE);
      });
      workers.#keys.close();
      throw failed.reason;
    }
    return workers;
  }

  /** By which kernel interface they run. */
  async loopKind(): Promise<LoopKind> {
    return await this.#workers[0]!.ready;
  }

  /** New settings for requests that begin from now on. Throws ERR_KERNEL; workers that could go on with the new ones. */
  async reload(settings: ServiceSettings): Promise<void> {
    const shared = withShared(settings, this.#settings);
    this.#settings = shared;
    this.sessions = SessionSharing.of(shared, this.sessions);
    this.#keepKeys();
    await Promise.all(this.#workers.map((worker) => worker.ask({ type: 'reload', settings: shared })));
  }

  /** Of each thread. `names`: paths and clients too, which are counted from then on, for ten seconds. */
  async figures(names = false): Promise<FiguresReport[]> {
    return (await Promise.all(
      this.#workers.map((worker) => worker.ask({ type: 'figures', names })),
    )) as FiguresReport[];
  }

  /** Takes stored responses out of the cache, which all threads share. Returns how many. */
  purge(urls: readonly string[]): number {
    const { cacheMemory } = this.#settings;
    return cacheMemory === undefined ? 0 : purgeUrls(new CacheStore(cacheMemory), urls);
  }

  /**
   * Lets requests that have begun be answered, for so long; returns the last figures. `waitsForIdle`: connections
   * without a request are kept until their next one, which is their last, since another process has taken over.
   */
  async drain(withinMs: number, waitsForIdle = false): Promise<FiguresReport[]> {
    for (const worker of this.#workers) {
      worker.ask({ type: 'drain', withinMs, waitsForIdle }).catch(() => undefined);
    }
    const reports = await Promise.all(this.#workers.map(({ ended }) => ended));
    this.#keys.close();
    return reports.filter((report) => report !== null);
  }

  #keepKeys(): void {
    const { name, cookieKey, tls } = this.#settings;
    const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('base64');
    this.#keys.write({ [name]: { cookieKey: text(cookieKey), ticketSecret: text(tls?.ticketSecret) } });
  }
}

const AT_ONCE = { type: 'drain', withinMs: 0, waitsForIdle: false } as const;

/** Deals the sockets that were taken over out to the workers, and closes those that nobody wants. */
function sharesOf(
  legacy: Legacy | undefined,
  { listeners }: ServiceSettings,
  workers: number,
): Map<string, number[]>[] {
  const shares = Array.from({ length: workers }, () => new Map<string, number[]>());
  if (legacy === undefined) return shares;
  for (const { address, port } of listeners) {
    const key = listenerKey(address, port);
    const fds = legacy.listeners.get(key) ?? [];
    legacy.listeners.delete(key);
    for (const [n, fd] of fds.entries()) {
      const share = shares[n % workers]!;
      share.set(key, [...(share.get(key) ?? []), fd]);
    }
  }
  closeListeners(legacy.listeners);
  return shares;
}

/** Adds what the workers share: the key of session cookies, that of TLS tickets, and the memory of their caches. */
function withShared(
  settings: ServiceSettings,
  before: ServiceSettings | null,
  legacy?: Legacy,
): ServiceSettings {
  const left = legacy?.keys.get(settings.name);
  const cookieKey = settings.cookieKey ?? before?.cookieKey ?? keyOf(left?.cookieKey);
  const secret = settings.tls?.ticketSecret ?? before?.tls?.ticketSecret ?? keyOf(left?.ticketSecret);
  const tls = settings.tls === undefined ? {} : { tls: { ...settings.tls, ticketSecret: secret } };
  return withSessions(
    withRateMemory(withCacheMemory({ ...settings, cookieKey, ...tls }, before), before),
    before,
  );
}

/** Adds the memory of sessions, where clients are told by address or field; it stays over reloads. */
function withSessions(settings: ServiceSettings, before: ServiceSettings | null): ServiceSettings {
  if (settings.persistence === undefined) return settings;
  const isSame = isDeepStrictEqual(settings.persistence, before?.persistence);
  const known = isSame ? before?.sessionMemory : undefined;
  return { ...settings, sessionMemory: known ?? SessionTable.allocate(SESSION_ENTRIES, settings.sessionKey) };
}

/** Adds the memory in which the workers count for rate limits: what they have had, where it is as large as it shall be. */
function withRateMemory(settings: ServiceSettings, before: ServiceSettings | null): ServiceSettings {
  const { rateLimits } = settings.http;
  if (rateLimits === undefined) return settings;
  const isSame = before?.http.rateLimits?.entries === rateLimits.entries;
  return {
    ...settings,
    rateMemory: (isSame ? before.rateMemory : undefined) ?? RateTable.allocate(rateLimits.entries),
  };
}

/** A key that was left, else a new one. */
function keyOf(left: string | undefined): Uint8Array {
  return left ? new Uint8Array(Buffer.from(left, 'base64')) : randomBytes(32);
}

/** Adds the memory that the workers' caches share: what they have had, where it is as large as it shall be. */
function withCacheMemory(settings: ServiceSettings, before: ServiceSettings | null): ServiceSettings {
  const { cache } = settings.http;
  if (cache === undefined) return settings;
  const isSame = before?.http.cache?.maxBytes === cache.maxBytes;
  return {
    ...settings,
    cacheMemory: (isSame ? before.cacheMemory : undefined) ?? CacheStore.allocate(cache.maxBytes),
  };
}
