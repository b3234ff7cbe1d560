/**
 * Time of a whole process, turned by hand: timers, clocks and chance are taken over, so that code runs with the
 * intervals that it has in production and hours of it pass in seconds. Sockets stay real: before time moves on, what
 * is under way on them comes to rest.
 */
import { subscribe } from 'node:diagnostics_channel';
import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';
import { seededRandom } from '../../random.ts';

interface Timer {
  at: number;
  order: number;
  everyMs: number | null;
  call: () => void;
}

/** Turns of the event loop without a sound on any socket after which nothing is under way. */
const QUIET_TURNS = 3;
/** Turns after which a request that is neither answered nor broken off is given up as one that waits for time. */
const PATIENCE_TURNS = 400;

export class VirtualTime {
  #now = Date.UTC(2026, 0, 1);
  #order = 0;
  readonly #timers = new Map<number, Timer>();
  readonly #traffic = new Traffic();
  #random = seededRandom(1);

  /** Takes over this process for good: it is one that does nothing else. */
  constructor() {
    const start = this.#now;
    const after = (ms: unknown, everyMs: number | null, call: () => void) => this.#start(ms, everyMs, call);
    const globals = globalThis as unknown as Record<string, unknown>;
    globals.setTimeout = (call: (...args: unknown[]) => void, ms?: unknown, ...args: unknown[]) =>
      after(ms, null, () => call(...args));
    globals.setInterval = (call: (...args: unknown[]) => void, ms?: unknown, ...args: unknown[]) =>
      after(ms, Math.max(Number(ms) || 1, 1), () => call(...args));
    globals.clearTimeout = (handle?: unknown) => this.#stop(handle);
    globals.clearInterval = (handle?: unknown) => this.#stop(handle);
    Date.now = () => this.#now;
    performance.now = () => this.#now - start;
    Math.random = () => this.random();
    AbortSignal.timeout = (ms: number) => {
      const abort = new AbortController();
      after(ms, null, () => abort.abort(new DOMException('The operation timed out', 'TimeoutError')));
      return abort.signal;
    };
    const patched = timersPromises as unknown as Record<string, unknown>;
    patched.setTimeout = (ms: number, value: unknown, options: { signal?: AbortSignal } = {}) =>
      new Promise((resolve, reject) => {
        const { signal } = options;
        if (signal?.aborted) return reject(signal.reason);
        const stop = (): void => {
          this.#stop(timer);
          reject(signal?.reason);
        };
        const timer = after(ms, null, () => {
          signal?.removeEventListener('abort', stop);
          resolve(value);
        });
        signal?.addEventListener('abort', stop, { once: true });
      });
    syncBuiltinESMExports();
  }

  now(): number {
    return this.#now;
  }

  /** Chance from here on is what the seed makes of it. */
  seed(seed: number): void {
    this.#random = seededRandom(seed);
    this.#timers.clear();
  }

  /** From 0 up to 1. */
  random(): number {
    return this.#random();
  }

  /** Lets so much time pass, or less where `isOver` says so before. */
  async pass(ms: number, isOver: () => boolean = () => false): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await this.#traffic.rest();
      if (isOver()) return;
      const next = this.#next();
      if (!next || next.at > until) break;
      this.#now = Math.max(this.#now, next.at);
      for (let due: Timer | null = next; due && due.at <= this.#now; due = this.#next()) {
        if (due.everyMs === null) this.#timers.delete(due.order);
        else due.at = this.#now + due.everyMs;
        due.call();
      }
    }
    this.#now = until;
  }

  /** Lets time pass until the work is done; answers its result. Throws after `limitMs` of it. */
  async until<Result>(work: Promise<Result>, limitMs: number, what: string): Promise<Result> {
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    work.then(done, done);
    await this.pass(limitMs, () => isDone);
    if (!isDone) throw new Error(`${what} did not end within ${limitMs} ms`);
    return work;
  }

  #next(): Timer | null {
    let first: Timer | null = null;
    for (const timer of this.#timers.values()) {
      if (!first || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    return first;
  }

  #start(ms: unknown, everyMs: number | null, call: () => void): object {
    const order = ++this.#order;
    this.#timers.set(order, { at: this.#now + Math.max(Number(ms) || 0, 1), order, everyMs, call });
    const handle = {
      ref: () => handle,
      unref: () => handle,
      hasRef: () => true,
      refresh: () => {
        const timer = this.#timers.get(order);
        if (timer) timer.at = this.#now + Math.max(Number(ms) || 0, 1);
        return handle;
      },
      close: () => this.#stop(handle),
      [Symbol.toPrimitive]: () => order,
    };
    return handle;
  }

  #stop(handle: unknown): void {
    if (handle !== undefined && handle !== null) this.#timers.delete(Number(handle));
  }
}

/** What is under way on this process's own sockets, both ends of which are here. */
class Traffic {
  #events = 0;
  /** Requests that their client has sent, and that no server here has seen yet. */
  #onTheWay = 0;
  /** Answers that their server has sent, and that no client here has seen yet. */
  #onTheWayBack = 0;

  constructor() {
    const hear = (channel: string, effect: () => void) =>
      subscribe(channel, () => {
        this.#events++;
        effect();
      });
    hear('http.client.request.created', () => this.#onTheWay++);
    hear('http.server.request.start', () => this.#onTheWay--);
    hear('http.server.response.finish', () => this.#onTheWayBack++);
    hear('http.client.response.finish', () => this.#onTheWayBack--);
    hear('http.client.request.error', () => undefined);
  }

  async rest(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < QUIET_TURNS; turns++) {
      const before = this.#events;
      await new Promise((resolve) => setImmediate(resolve));
      const isWorking =
        this.#events !== before ||
        this.#onTheWay > 0 ||
        this.#onTheWayBack > 0 ||
        process.getActiveResourcesInfo().some((one) => one.startsWith('FSReq'));
      quiet = isWorking ? 0 : quiet + 1;
      if (turns < PATIENCE_TURNS || this.#events !== before) continue;
      // Broken off on the way: nobody will tell.
      this.#onTheWay = 0;
      this.#onTheWayBack = 0;
      return;
    }
  }
}
