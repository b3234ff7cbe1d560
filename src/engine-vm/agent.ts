/**
 * The engine's main thread: keeps the data-plane thread running with the right graph, reports to the controller,
 * answers its questions, probes members.
 *
 * Headless by construction: links, data plane and the last good graph come first and need nobody; enrolment and the
 * controller's link come after, in the background, and their loss changes nothing in the data plane.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { destination, type Logger, pino } from 'pino';
import { WeftError } from '../policy/errors.ts';
import type { ServiceGraph } from '../policy/graph.ts';
import type { EngineReport, SharedState } from '../state/shared.ts';
import { type DataplaneMethod, DataplaneThread } from './dataplane-thread.ts';
import { Exchange } from './exchange.ts';
import { PORT_NAMES, prepareLinks, setDataAddresses } from './link.ts';
import { joinSystem, readProperties } from './membership.ts';
import type { FromDataplane } from './messages.ts';
import { keepGraph, keptGraph, makeStateDirectory, nextEpoch } from './state-file.ts';

export interface EngineOptions {
  /** JSON of the engine's properties (hypervisor/platform.ts, EngineProperties). */
  configPath: string;
  /** Where identity, epoch and the last good graph are kept. */
  stateDir: string;
  /** Ends the engine. */
  signal: AbortSignal;
  /** Default: JSON lines on standard error. */
  log?: Logger;
}

const REPORT_MS = 500;
/** Changes that come together make one report. */
const REPORT_SOON_MS = 20;
const LINK_RETRY_MS = 1000;
const METHODS: readonly string[] = ['explain', 'trace', 'flows'] satisfies DataplaneMethod[];

/**
 * Runs an engine in this network namespace, which has the interfaces `out` and `in`, until the signal. Resolves when
 * all is closed. Rejects where it cannot begin: ERR_NOT_FOUND or ERR_BODY_INVALID for the properties, ERR_PRIVILEGE,
 * ERR_STORE_WRITE for the state directory.
 */
export async function runEngine(options: EngineOptions): Promise<void> {
  const { configPath, stateDir, signal } = options;
  if (process.getuid?.() !== 0) {
    throw new WeftError(
      'ERR_PRIVILEGE',
      'an engine opens packet sockets and makes interfaces: run it as root',
    );
  }
  const { engine } = await readProperties(configPath);
  const log = (options.log ?? pino(destination({ fd: 2, sync: true }))).child({ engine });
  await makeStateDirectory(stateDir);
  const epoch = await nextEpoch(stateDir, Date.now());
  log.info({ epoch }, 'engine starts');
  try {
    await linksUp(log, signal);
    const agent = new Agent(stateDir, log, signal);
    agent.start(await keptGraph(stateDir, engine));
    try {
      await agent.join(await joinSystem({ configPath, stateDir, epoch, log, signal }), engine);
    } finally {
      await agent.stop();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  log.info('engine stopped');
}

/** NICs may come late: a VM's last one is plugged in while the system boots. */
async function linksUp(log: Logger, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await prepareLinks(signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error }, 'the interfaces are not ready');
      await delay(LINK_RETRY_MS, undefined, { signal });
    }
  }
}

class Agent {
  readonly #stateDir: string;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #thread: DataplaneThread;
  #shared: SharedState | null = null;
  #exchange: Exchange | null = null;
  #engine = '';
  /** The graph in force. */
  #graph: ServiceGraph | null = null;
  #graphError: string | null = null;
  /** Text of the latest graph that was handed on, good or bad. */
  #latestText = '';
  /** Handed to the data plane and not answered yet, in order. */
  #pending: ServiceGraph[] = [];
  #isReady = false;
  #notReadyBecause = 'the data plane is starting';
  #counters: Extract<FromDataplane, { type: 'counters' }> | null = null;
  #peers: EngineReport['peers'] = {};
  #datapath = '';
  #disk: Promise<void> = Promise.resolve();
  #reportSoon: NodeJS.Timeout | undefined;
  #reportOften: NodeJS.Timeout | undefined;

  constructor(stateDir: string, log: Logger, signal: AbortSignal) {
    this.#stateDir = stateDir;
    this.#log = log;
    this.#signal = signal;
    this.#thread = new DataplaneThread({
      ports: PORT_NAMES,
      onStart: () => this.#tellFreshThread(),
      onMessage: (message) => this.#take(message),
      onFailure: (error) => this.#threadFailed(error),
    });
  }

  /** Starts the data plane with the graph of the last boot, or with none. */
  start(kept: ServiceGraph | null): void {
    this.#graph = kept;
    if (kept !== null) {
      this.#latestText = JSON.stringify(kept);
      this.#log.info({ revision: kept.revision }, 'begins with the last good graph');
    }
    this.#thread.start();
  }

  /** Takes part in the shared state until the signal. */
  async join(shared: SharedState, engine: string): Promise<void> {
    this.#shared = shared;
    this.#engine = engine;
    this.#exchange = new Exchange(
      shared,
      (message) => this.#thread.post(message),
      (key, error) => this.#log.error({ key, err: error }, 'an entry of the shared state was passed over'),
    );
    this.#exchange.start();
    shared.subscribe(`graph/${engine}`, ({ key, value }) => {
      // A controller that is gone takes its graphs along: the engine keeps the last one.
      if (key === `graph/${engine}` && value !== undefined) this.#adopt(value as ServiceGraph);
    });
    shared.onConnection((isConnected) => {
      this.#log.info(
        { isConnected },
        isConnected ? 'controller connected' : 'controller lost: goes on alone',
      );
      if (isConnected) this.#report();
    });
    shared.onRequest(async (method, params) => {
      if (!METHODS.includes(method)) {
        throw new WeftError('ERR_NOT_FOUND', `engine ${engine} answers no ${method}: ${METHODS.join(', ')}`);
      }
      return this.#thread.request(method as DataplaneMethod, params);
    });
    this.#reportOften = setInterval(() => this.#report(), REPORT_MS);
    this.#report();
    await new Promise<void>((resolve) => {
      if (this.#signal.aborted) resolve();
      else this.#signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async stop(): Promise<void> {
    clearInterval(this.#reportOften);
    clearTimeout(this.#reportSoon);
    this.#exchange?.stop();
    await this.#thread.stop();
    await this.#shared?.close();
    await this.#disk;
  }

  #adopt(graph: ServiceGraph): void {
    const text = JSON.stringify(graph);
    if (text === this.#latestText) return;
    this.#latestText = text;
    this.#hand(graph);
  }

  #hand(graph: ServiceGraph): void {
    this.#pending.push(graph);
    this.#thread.post({ type: 'graph', graph });
  }

  #tellFreshThread(): void {
    this.#pending = [];
    if (this.#graph !== null) this.#hand(this.#graph);
    this.#exchange?.replay();
  }

  #threadFailed(error: Error): void {
    this.#log.error({ err: error }, 'the data plane failed and is started again');
    const suspect = this.#pending.find((graph) => graph !== this.#graph);
    if (suspect !== undefined) {
      // It is not handed to the next thread: that would fail too, for ever. The old graph is.
      this.#graphError = `the data plane failed with revision ${suspect.revision}: ${error.message}`;
    }
    this.#setReady(false, error.message);
  }

  #take(message: FromDataplane): void {
    switch (message.type) {
      case 'ready':
        this.#datapath = message.datapath;
        this.#setReady(true, '');
        break;
      case 'unready':
        this.#setReady(false, message.message);
        break;
      case 'graph-applied':
        this.#graphApplied(message.error);
        break;
      case 'connections':
        this.#exchange?.putConnections(message.report);
        break;
      case 'session':
        this.#exchange?.putSession(message);
        break;
      case 'peers':
        this.#takePeers(message.peers);
        break;
      case 'counters':
        this.#counters = message;
        break;
      case 'fault':
        this.#log.error({ count: message.count, stack: message.message }, 'a defect in the data plane');
        break;
      case 'failed':
        this.#log.error({ reason: message.message }, 'the data plane gives up');
        break;
    }
  }

  #setReady(isReady: boolean, because: string): void {
    if (isReady === this.#isReady && because === this.#notReadyBecause) return;
    this.#isReady = isReady;
    this.#notReadyBecause = because;
    this.#log.info({ isReady, because }, isReady ? 'the data plane is ready' : 'the data plane is not ready');
    this.#changed();
  }

  #graphApplied(error: string | null): void {
    const graph = this.#pending.shift();
    if (graph === undefined) return;
    this.#graphError = error;
    if (error !== null) {
      this.#log.error(
        { revision: graph.revision, reason: error },
        'the graph was refused; the last one holds',
      );
      this.#changed();
      return;
    }
    this.#log.info({ revision: graph.revision }, 'graph in force');
    this.#graph = graph;
    this.#changed();
    // One after the other, and never in the way of frames.
    this.#disk = this.#disk
      .then(() => this.#settle(graph))
      .catch((cause) => {
        if (!this.#signal.aborted) this.#log.error({ err: cause }, 'the graph is in force, but not settled');
      });
  }

  /** What follows a graph outside the data plane: addresses of the stack, the copy on disk. */
  async #settle(graph: ServiceGraph): Promise<void> {
    if (graph !== this.#graph) return;
    await setDataAddresses(graph.engine.dataAddresses, this.#signal);
    await keepGraph(this.#stateDir, graph);
  }

  #takePeers(peers: EngineReport['peers']): void {
    const opinion = (all: EngineReport['peers']): string =>
      JSON.stringify(
        Object.entries(all).map(([id, { isAlive, isInsideAlive }]) => [id, isAlive, isInsideAlive]),
      );
    const isNews = opinion(peers) !== opinion(this.#peers);
    this.#peers = peers;
    if (isNews) this.#changed();
  }

  #changed(): void {
    this.#reportSoon ??= setTimeout(() => this.#report(), REPORT_SOON_MS);
  }

  #report(): void {
    clearTimeout(this.#reportSoon);
    this.#reportSoon = undefined;
    if (this.#shared === null) return;
    const report: EngineReport = {
      host: this.#graph?.engine.host ?? '',
      graphRevision: this.#pending.includes(this.#graph!) ? 0 : (this.#graph?.revision ?? 0),
      graphError: this.#graphError,
      isReady: this.#isReady,
      heartbeat: this.#counters?.heartbeat ?? 0,
      datapath: this.#isReady ? this.#datapath : this.#notReadyBecause,
      peers: this.#peers,
      ports: this.#counters?.ports ?? {},
      drops: this.#counters?.drops ?? {},
      flows: this.#counters?.flows ?? 0,
      newFlows: this.#counters?.newFlows ?? 0,
      components: this.#counters?.components ?? {},
    };
    this.#shared.put(`engine/${this.#engine}`, report);
  }
}
