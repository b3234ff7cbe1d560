/**
 * The main thread's end of the data-plane thread: starts it, speaks with it, starts it again when it fails or hangs.
 *
 * A fresh thread knows nothing: `onStart` is called for each, and whoever owns this object tells it everything again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { WeftError } from '../policy/errors.ts';
import { EventFd } from './kernel/event-fd.ts';
import { closeSocket } from './kernel/libc.ts';
import type { FastPathPlan } from './link.ts';
import type { FromDataplane, ToDataplane } from './messages.ts';
import type { WorkerSettings } from './worker.ts';

/** What a request to the data plane may be. */
export type DataplaneMethod = Extract<ToDataplane, { type: 'request' }>['method'];

export interface DataplaneThreadOptions {
  /** Interface names in the order of the data plane's port numbers: out, in, self. */
  ports: string[];
  /** How the kernel's program is to be attached; asked at each start. Default: not at all. */
  fastPath?: () => FastPathPlan | null;
  /** A new thread runs and knows nothing yet. Called synchronously from `start`, and again after each failure. */
  onStart: () => void;
  onMessage: (message: FromDataplane) => void;
  /** The thread ended or hangs, for the log; another is started after a second. */
  onFailure: (error: Error) => void;
  /** Default: worker.ts. */
  entry?: URL;
  /** How often the thread is looked at; after five looks without a word from it, it is taken to hang. Default 1000. */
  watchMs?: number;
}

const RESTART_MS = 1000;
/** The thread reports every 250 ms. */
const WATCH_MS = 1000;
const MAX_SILENT_LOOKS = 5;
/** A question that the data plane does not answer by then never will be. */
const REQUEST_MS = 3000;
const STOP_MS = 2000;
/** A thread that has not loaded its code by then is started without further waiting. */
const LOAD_MS = 5000;

interface Waiting {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export class DataplaneThread {
  readonly #options: DataplaneThreadOptions;
  readonly #wake = new EventFd();
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | null = null;
  /** Loaded by `prepare`, and waiting at its gate. */
  #prepared: { worker: Worker; gate: Int32Array } | null = null;
  #fds: number[] = [];
  #silentLooks = 0;
  #nextId = 1;
  #isStopped = false;
  #watch: NodeJS.Timeout | undefined;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: DataplaneThreadOptions) {
    this.#options = options;
  }

  /** Loads the thread's code, so that `start` costs no time; it touches nothing before. */
  async prepare(signal: AbortSignal): Promise<void> {
    const gate = new Int32Array(new SharedArrayBuffer(8));
    this.#prepared = { worker: this.#makeWorker(gate), gate };
    const deadline = performance.now() + LOAD_MS;
    while (Atomics.load(gate, 0) === 0 && performance.now() < deadline) await delay(5, undefined, { signal });
  }

  #makeWorker(gate: Int32Array | null): Worker {
    const { ports, entry, fastPath } = this.#options;
    return new Worker(entry ?? new URL('worker.ts', import.meta.url), {
      workerData: {
        ports,
        wakeFd: this.#wake.fd,
        fastPath: fastPath?.() ?? null,
        gate,
      } satisfies WorkerSettings,
      name: 'weft-dataplane',
    });
  }

  /** Starts the thread and watches over it until `stop`. */
  start(): void {
    this.#watch = setInterval(() => this.#look(), this.#options.watchMs ?? WATCH_MS);
    this.#spawn();
  }

  #spawn(): void {
    this.#silentLooks = 0;
    const prepared = this.#prepared;
    this.#prepared = null;
    const worker = prepared?.worker ?? this.#makeWorker(null);
    this.#worker = worker;
    let error: Error | null = null;
    worker.on('message', (message: FromDataplane) => this.#take(message));
    worker.on('error', (cause: Error) => {
      error = cause;
    });
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#fail(
        error ?? new WeftError('ERR_INTERNAL', 'the data-plane thread ended: see the log before this'),
      );
    });
    this.#options.onStart();
    if (prepared !== null) {
      Atomics.store(prepared.gate, 1, 1);
      Atomics.notify(prepared.gate, 1);
    }
  }

  #take(message: FromDataplane): void {
    this.#silentLooks = 0;
    if (message.type === 'ready') this.#fds = message.fds;
    if (message.type === 'reply') {
      const waiting = this.#waiting.get(message.id);
      if (waiting === undefined) return;
      this.#waiting.delete(message.id);
      clearTimeout(waiting.timer);
      if (message.error === undefined) waiting.resolve(message.result);
      else waiting.reject(new WeftError(message.error.code, message.error.message));
      return;
    }
    this.#options.onMessage(message);
  }

  /** Counted in looks, not in time: a process that was stopped for a minute has not been silent for it. */
  #look(): void {
    if (this.#worker === null || ++this.#silentLooks <= MAX_SILENT_LOOKS) return;
    const hung = this.#worker;
    this.#fail(
      new WeftError(
        'ERR_INTERNAL',
        `the data-plane thread hangs: nothing heard in ${MAX_SILENT_LOOKS} looks`,
      ),
    );
    const fds = this.#fds;
    this.#fds = [];
    // Its sockets would stay open and its rings fill up: nobody else closes them.
    void hung.terminate().then(() => {
      for (const fd of fds) closeSocket(fd);
    });
  }

  #fail(error: Error): void {
    this.#worker = null;
    this.#rejectWaiting(error);
    if (this.#isStopped) return;
    this.#options.onFailure(error);
    this.#restart = setTimeout(() => this.#spawn(), RESTART_MS);
  }

  #rejectWaiting(error: Error): void {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
  }

  /** False before `start`, and between a failure and the next thread. */
  get isRunning(): boolean {
    return this.#worker !== null;
  }

  /** Tells the thread something. Lost where none runs: `onStart` tells the next one. */
  post(message: ToDataplane): void {
    if (this.#worker === null) return;
    this.#worker.postMessage(message);
    this.#wake.signal();
  }

  /** Asks the data plane. Rejects with its error, or with ERR_TIMEOUT. */
  request(method: DataplaneMethod, params: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#worker === null) {
        reject(
          new WeftError('ERR_INTERNAL', 'the data-plane thread is being restarted: ask again in a second'),
        );
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(
          new WeftError('ERR_TIMEOUT', `the data plane did not answer ${method} within ${REQUEST_MS} ms`),
        );
      }, REQUEST_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.post({ type: 'request', id, method, params });
    });
  }

  /** Ends the thread; its sockets are closed when this resolves. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearInterval(this.#watch);
    clearTimeout(this.#restart);
    await this.#prepared?.worker.terminate();
    this.#rejectWaiting(new WeftError('ERR_INTERNAL', 'the engine stops'));
    const worker = this.#worker;
    if (worker !== null) {
      this.post({ type: 'stop' });
      this.#worker = null;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), STOP_MS);
      });
      const ended = new Promise<boolean>((resolve) => worker.once('exit', () => resolve(true)));
      if (!(await Promise.race([ended, late]))) await worker.terminate();
      clearTimeout(timer);
    }
    this.#wake.close();
  }
}
