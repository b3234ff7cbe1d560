/**
 * The engine's main thread: keeps the data-plane thread running with the right graph, reports to the controller,
 * answers its questions, probes members.
 *
 * Headless by construction: links, data plane and the last good graph come first and need nobody; enrolment and the
 * controller's link come after, in the background, and their loss changes nothing in the data plane.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { destination, type Logger, pino } from 'pino';
import { announceTakeover, BgpSpeaker, endTakeover } from '../attract/speaker.ts';
import { speechOf } from '../attract/speech.ts';
import type { FlowQuestion } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import type { AddressSetEntry, ServiceGraph, TlsEntry } from '../policy/graph.ts';
import type { PurgeQuestion } from '../policy/purge.ts';
import type { ServiceFiguresQuestion } from '../policy/service-figures.ts';
import { tlsPrefix } from '../state/key-owner.ts';
import type { FloodReport, FullTableReport, SharedState } from '../state/shared.ts';
import { graphText, SETS_PREFIX, withSets } from './address-sets.ts';
import type { CaptureNews } from './dataplane/capture.ts';
import type { FlowSlice, FlowSliceQuestion } from './dataplane/flow-listing.ts';
import { routesOf } from './dataplane/reach.ts';
import { type DataplaneMethod, DataplaneThread } from './dataplane-thread.ts';
import { Exchange } from './exchange.ts';
import { announceSuccessor } from './fastpath/fast-path.ts';
import { collectFlows } from './flow-answers.ts';
import { HealthElection } from './health/election.ts';
import { type FastPathPlan, PORT_NAMES, prepareLinks, setDataAddresses, setRoutes } from './link.ts';
import { joinSystem, readProperties } from './membership.ts';
import { type FromDataplane, REQUEST_METHODS, type ToDataplane } from './messages.ts';
import { endPredecessor } from './predecessor.ts';
import { ProxiedServices } from './proxied-services.ts';
import { Reporter } from './reporter.ts';
import { keepGraph, keptGraph, makeStateDirectory, nextEpoch } from './state-file.ts';

export interface EngineOptions {
  /** JSON of the engine's properties (hypervisor/platform.ts, EngineProperties). */
  configPath: string;
  /** Where identity, epoch and the last good graph are kept. */
  stateDir: string;
  /** Where the kernel's part of the data plane is kept from process to process. Default: it ends with the process. */
  pins?: string;
  /** The process whose place this one takes: it is ended as soon as all is ready here. */
  replaces?: number;
  /** Ends the engine. */
  signal: AbortSignal;
  /** Default: JSON lines on standard error. */
  log?: Logger;
}

const LINK_RETRY_MS = 1000;
/** From the end of the process that is replaced until this one is at work, at the longest. */
const HAND_OVER_MS = 5000;
/** What requests that are proxied have to end in, when the engine ends: a successor waits no longer (predecessor.ts). */
const DRAIN_MS = 1200;
const METHODS: readonly string[] = [...REQUEST_METHODS, 'purge', 'serviceFigures'];

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
    const agent = new Agent(stateDir, options.pins, log, signal);
    const kept = await keptGraph(stateDir, engine);
    if (options.replaces !== undefined) {
      await agent.prepare(kept);
      announceTakeover(bgpDirectory(stateDir));
      awaitSuccessor(options.pins, log);
      await endPredecessor(options.replaces, signal);
      endTakeover(bgpDirectory(stateDir));
    }
    agent.start(kept);
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

/** New flows wait for this process, however long a loaded host takes to start it. Without that they may pass untranslated. */
function awaitSuccessor(pins: string | undefined, log: Logger): void {
  if (pins === undefined) return;
  try {
    announceSuccessor(pins, HAND_OVER_MS);
  } catch (error) {
    log.warn({ reason: String(error) }, 'the fail mode may begin before this process has taken over');
  }
}

function bgpDirectory(stateDir: string): string {
  return join(stateDir, 'bgp');
}

type Counters = Extract<FromDataplane, { type: 'counters' }>;

class Agent {
  readonly #stateDir: string;
  readonly #pins: string | undefined;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #thread: DataplaneThread;
  #fastPath: FastPathPlan | null = null;
  #shared: SharedState | null = null;
  #exchange: Exchange | null = null;
  #engine = '';
  /** The graph in force. */
  #graph: ServiceGraph | null = null;
  /** The latest graph, where the data plane has not answered for it yet. */
  #wanted: ServiceGraph | null = null;
  /** The latest graph, where address sets that it names have not come yet. */
  #incoming: ServiceGraph | null = null;
  /** Text of the latest graph that was handed on, good or bad. */
  #latestText = '';
  /** Handed to the data plane and not answered yet, in order. */
  #pending: ServiceGraph[] = [];
  /** The graph whose addresses the stack has: probes can leave from them. */
  #settled: ServiceGraph | null = null;
  #election: HealthElection | null = null;
  readonly #reporter = new Reporter();
  readonly #speaker: BgpSpeaker;
  readonly #proxied: ProxiedServices;
  #disk: Promise<void> = Promise.resolve();

  constructor(stateDir: string, pins: string | undefined, log: Logger, signal: AbortSignal) {
    this.#stateDir = stateDir;
    this.#pins = pins;
    this.#log = log;
    this.#signal = signal;
    this.#speaker = new BgpSpeaker({
      directory: bgpDirectory(stateDir),
      onReport: (report) => this.#reporter.bgp(report),
      onLine: (line) => log.warn({ bird: line }, 'BIRD says'),
    });
    this.#proxied = new ProxiedServices({
      signal,
      onTrouble: (service, error) =>
        log.error({ service, err: error }, 'a service is not proxied as it should be'),
      onNote: (service, note) => log.warn({ service }, note),
      onSession: (service, session, timeoutMs) => this.#exchange?.putHttpSession(service, session, timeoutMs),
      knownSessions: (service) => this.#exchange?.httpSessions(service) ?? [],
    });
    this.#thread = new DataplaneThread({
      ports: PORT_NAMES,
      fastPath: () => this.#fastPath,
      onStart: () => this.#tellFreshThread(),
      onMessage: (message) => this.#take(message),
      onFailure: (error) => this.#threadFailed(error),
    });
  }

  /** Does what takes time and can be done while another process of this engine is still at work. */
  async prepare(kept: ServiceGraph | null): Promise<void> {
    this.#fastPath = await this.#prepareLinks();
    if (kept !== null) await this.#proxied.expect(kept);
    await this.#thread.prepare(this.#signal);
  }

  async #prepareLinks(): Promise<FastPathPlan> {
    const { fastPath } = await prepareLinks(this.#signal);
    return this.#pins === undefined ? fastPath : { ...fastPath, pins: this.#pins };
  }

  /** Starts the data plane with the graph of the last boot, or with none. */
  start(kept: ServiceGraph | null): void {
    this.#graph = kept;
    if (kept !== null) {
      this.#latestText = graphText(kept);
      this.#log.info({ revision: kept.revision }, 'begins with the last good graph');
    }
    this.#links().catch((error: unknown) => {
      if (!this.#signal.aborted) this.#log.error({ err: error }, 'the data plane could not be started');
    });
  }

  /** NICs may come late: a VM's last one is plugged in while the system boots. */
  async #links(): Promise<void> {
    for (;;) {
      try {
        this.#fastPath ??= await this.#prepareLinks();
        break;
      } catch (error) {
        this.#signal.throwIfAborted();
        this.#setReady(false, (error as Error).message);
        await delay(LINK_RETRY_MS, undefined, { signal: this.#signal });
      }
    }
    this.#thread.start();
  }

  /** Takes part in the shared state until the signal. */
  async join(shared: SharedState, engine: string): Promise<void> {
    this.#shared = shared;
    this.#engine = engine;
    this.#exchange = new Exchange(
      shared,
      (message) => this.#tell(message),
      (service, session) => this.#proxied.learn(service, session),
      (key, error) => this.#log.error({ key, err: error }, 'an entry of the shared state was passed over'),
    );
    this.#exchange.start();
    // Before the graph that names them.
    const keys = tlsPrefix(engine);
    shared.subscribe(keys, ({ key, value }) => {
      this.#proxied.takeKeys(key.slice(keys.length), value as TlsEntry | undefined);
    });
    shared.subscribe(`graph/${engine}`, ({ key, value }) => {
      // A controller that is gone takes its graphs along: the engine keeps the last one.
      if (key === `graph/${engine}` && value !== undefined) this.#adopt(value as ServiceGraph);
    });
    shared.subscribe(SETS_PREFIX, () => {
      if (this.#incoming !== null) this.#adopt(this.#incoming);
    });
    shared.onConnection((isConnected) => {
      this.#log.info(
        { isConnected },
        isConnected ? 'controller connected' : 'controller lost: goes on alone',
      );
      if (isConnected) this.#reporter.say();
    });
    shared.onRequest(async (method, params) => {
      if (!METHODS.includes(method)) {
        throw new WeftError('ERR_NOT_FOUND', `engine ${engine} answers no ${method}: ${METHODS.join(', ')}`);
      }
      if (method === 'purge') return this.#proxied.purge(params as PurgeQuestion);
      if (method === 'serviceFigures') return this.#proxied.figures(params as ServiceFiguresQuestion);
      if (method === 'flows') {
        const ask = async (slice: FlowSliceQuestion): Promise<FlowSlice> =>
          (await this.#thread.request('flows', slice)) as FlowSlice;
        return collectFlows(params as FlowQuestion, ask, this.#signal);
      }
      const answer = await this.#thread.request(method as DataplaneMethod, params);
      if (method !== 'captureFetch') return answer;
      // The link speaks JSON.
      const { records, ...news } = answer as CaptureNews;
      return { ...news, records: Buffer.from(records).toString('base64') };
    });
    this.#judge();
    this.#reporter.start((report) => shared.put(`engine/${engine}`, report));
    await new Promise<void>((resolve) => {
      if (this.#signal.aborted) resolve();
      else this.#signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async stop(): Promise<void> {
    this.#speaker.stop();
    this.#reporter.stop();
    this.#exchange?.stop();
    this.#election?.stop();
    this.#exchange = null;
    await this.#shared?.close();
    await this.#disk;
    // The data plane still moves what ends meanwhile.
    await this.#proxied.stop(DRAIN_MS);
    // Last: whoever takes this process's place begins when it has ended.
    await this.#thread.stop();
  }

  #adopt(graph: ServiceGraph): void {
    this.#incoming = null;
    const text = graphText(graph);
    if (text === this.#latestText) return;
    const latest = (name: string) =>
      this.#shared?.get(`${SETS_PREFIX}${name}`)?.value as AddressSetEntry | undefined;
    const { graph: whole, missing } = withSets(graph, latest, this.#wanted ?? this.#graph);
    if (missing.length > 0) {
      this.#incoming = graph;
      const graphError = `revision ${graph.revision} waits for address set ${missing.join(', ')}`;
      if (this.#reporter.report.graphError !== graphError) this.#reporter.announce({ graphError });
      return;
    }
    this.#latestText = text;
    this.#wanted = whole;
    const ready = this.#proxied.expect(whole);
    if (ready === null) {
      if (this.#thread.isRunning) this.#hand(whole);
      return;
    }
    // Nobody is to be brought to a proxy that does not listen yet.
    void ready.then(() => {
      if (this.#wanted === whole && this.#thread.isRunning && !this.#pending.includes(whole))
        this.#hand(whole);
    });
  }

  #tell(message: ToDataplane): void {
    this.#thread.post(message);
    if (message.type === 'health') this.#proxied.judge(message.pool, message.members);
  }

  #hand(graph: ServiceGraph): void {
    this.#pending.push(graph);
    this.#thread.post({ type: 'graph', graph });
  }

  #tellFreshThread(): void {
    this.#pending = [];
    this.#reporter.note({ graphRevision: 0 });
    if (this.#graph !== null) this.#hand(this.#graph);
    if (this.#wanted !== null) this.#hand(this.#wanted);
    this.#exchange?.replay();
  }

  #threadFailed(error: Error): void {
    this.#log.error({ err: error }, 'the data plane failed and is started again');
    const suspect = this.#wanted;
    if (suspect !== null && this.#pending.includes(suspect)) {
      // It is not handed to the next thread: that would fail too, for ever. The old graph is.
      this.#wanted = null;
      this.#reporter.note({
        graphError: `the data plane failed with revision ${suspect.revision}: ${error.message}`,
      });
    }
    this.#setReady(false, error.message);
  }

  #take(message: FromDataplane): void {
    switch (message.type) {
      case 'ready':
        this.#setReady(true, message.datapath);
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
        this.#reporter.peers(message.peers);
        break;
      case 'counters':
        this.#takeCounters(message);
        break;
      case 'fault':
        this.#log.error({ count: message.count, stack: message.message }, 'a defect in the data plane');
        break;
      case 'failed':
        this.#log.error({ reason: message.message }, 'the data plane gives up');
        break;
    }
  }

  #takeCounters(message: Counters): void {
    const { heartbeat, ports, path, drops, flows, newFlows, evictedFlows, components } = message;
    this.#reporter.note({ heartbeat, ports, path, drops, flows, newFlows, evictedFlows, components });
    this.#tellFloods(message.floods);
    this.#tellFullTables(message.fullTables);
    for (const entry of message.firewallLog) this.#log.info({ firewall: entry }, 'a firewall rule logs');
  }

  #tellFloods(floods: Record<string, FloodReport>): void {
    const before = this.#reporter.report.floods ?? {};
    const begun = Object.keys(floods).filter((service) => before[service] === undefined);
    const over = Object.keys(before).filter((service) => floods[service] === undefined);
    for (const service of begun)
      this.#log.warn({ service }, 'a flood of new connections to a service is limited');
    for (const service of over) this.#log.info({ service, ...before[service] }, 'the flood is over');
    if (begun.length + over.length > 0) this.#reporter.announce({ floods });
    else this.#reporter.note({ floods });
  }

  #tellFullTables(fullTables: Record<string, FullTableReport>): void {
    const before = this.#reporter.report.fullTables ?? {};
    const begun = Object.keys(fullTables).filter((service) => before[service] === undefined);
    const over = Object.keys(before).filter((service) => fullTables[service] === undefined);
    for (const service of begun)
      this.#log.warn({ service }, 'the flow table has no room for new flows of a service: raise maxFlows');
    for (const service of over)
      this.#log.info({ service, ...before[service] }, 'the flow table has room again');
    if (begun.length + over.length > 0) this.#reporter.announce({ fullTables });
    else this.#reporter.note({ fullTables });
  }

  /** `datapath`: which path moves packets, or why none does. */
  #setReady(isReady: boolean, datapath: string): void {
    const { report } = this.#reporter;
    if (isReady === report.isReady && datapath === report.datapath) return;
    this.#log.info(
      { isReady, datapath },
      isReady ? 'the data plane is ready' : 'the data plane is not ready',
    );
    this.#reporter.announce({ isReady, datapath });
    this.#judge();
  }

  #graphApplied(graphError: string | null): void {
    const graph = this.#pending.shift();
    if (graph === undefined) return;
    if (graph === this.#wanted) this.#wanted = null;
    if (graphError !== null) {
      this.#log.error({ revision: graph.revision, reason: graphError }, 'graph refused; the last one holds');
      this.#reporter.announce({ graphError });
      return;
    }
    this.#log.info({ revision: graph.revision }, 'graph in force');
    this.#graph = graph;
    const { host, dataAddresses } = graph.engine;
    this.#reporter.announce({ graphRevision: graph.revision, host, dataAddresses, graphError });
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
    await setRoutes(routesOf(graph.engine, graph.peers, graph.members), this.#signal);
    // From the addresses that the stack has now, and about services that are in force.
    this.#speaker.say(speechOf(graph));
    await this.#proxied.load(graph);
    this.#settled = graph;
    this.#judge();
    await keepGraph(this.#stateDir, graph);
  }

  /** An engine whose data plane does not work cannot say of a member that it is down: it leaves that to others. */
  #judge(): void {
    if (
      this.#shared === null ||
      this.#settled === null ||
      !this.#reporter.report.isReady ||
      this.#signal.aborted
    ) {
      this.#election?.stop();
      return;
    }
    this.#election ??= new HealthElection({
      shared: this.#shared,
      engine: this.#engine,
      onOwnReport: (pool, report) => this.#exchange?.judgePool(pool, report),
      onTrouble: (pool, reason) => this.#log.warn({ pool, reason }, 'health checks fail on this side'),
    });
    this.#election.load(this.#settled);
  }
}
