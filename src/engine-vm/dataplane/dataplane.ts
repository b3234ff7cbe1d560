/**
 * The forwarding core of an engine: frames in, frames out, in place. It knows no sockets and no clock of its own; the
 * worker (../worker.ts) brings the frames and the time. This file is what others see of it: graphs, ticks, questions.
 * dispatch.ts says which station takes a packet. docs/path-of-a-packet.md tells the whole way.
 */
import { parseAddress } from '../../packet/address.ts';
import type {
  EngineFirewall,
  Explanation,
  FirewallLogEntry,
  TraceAnswer,
  TraceQuestion,
} from '../../policy/answers.ts';
import { WeftError } from '../../policy/errors.ts';
import type { ServiceGraph } from '../../policy/graph.ts';
import type { ConnectionReport, PeerObservation } from '../../state/shared.ts';
import { ConnectionTable } from '../balance/connection-table.ts';
import { SessionMap } from '../balance/session-map.ts';
import { Firewall } from '../component/firewall.ts';
import { FirewallLog, LOG_ENTRIES } from '../component/firewall-log.ts';
import { DROPS } from '../drops.ts';
import type { FlowSlots } from '../fastpath/flow-slots.ts';
import { sweep } from '../flow/flow-life.ts';
import { STRIDE, TIER } from '../flow/flow-record.ts';
import { Announcer } from './announcer.ts';
import { Bridge } from './bridge.ts';
import { Bypasses } from './bypasses.ts';
import { Capture, type CaptureNews, type CaptureOrder } from './capture.ts';
import { ChainBuilder, type ChainOptions } from './chain-builder.ts';
import { CompiledGraph } from './compiled-graph.ts';
import { ControlCodec } from './control.ts';
import { ControlFrames } from './control-frames.ts';
import { Direct } from './direct.ts';
import { Dispatch } from './dispatch.ts';
import { Entry } from './entry.ts';
import { FlowLister, type FlowSlice, type FlowSliceQuestion } from './flow-listing.ts';
import { FlowOpener } from './flow-opener.ts';
import { FlowPath } from './flow-path.ts';
import { adaptFlows, endLostFlows, recount, relate, resize, suitsAsIs } from './flow-remap.ts';
import { Fragments } from './fragments.ts';
import { Gateways } from './gateways.ts';
import { HandOn } from './hand-on.ts';
import { Hashed } from './hashed.ts';
import { IcmpErrors } from './icmp-errors.ts';
import { Inside } from './inside.ts';
import { KnownFlows } from './known-flows.ts';
import { MemberAnnouncer } from './member-announcer.ts';
import { MemberHealth } from './member-health.ts';
import { MemberSide } from './member-side.ts';
import { Observer } from './observer.ts';
import { Orphans } from './orphans.ts';
import { PathState, type Wire } from './path-state.ts';
import { Peers } from './peers.ts';
import { Proxied } from './proxied.ts';
import { Refusals } from './refusals.ts';
import { Replicas } from './replicas.ts';
import { Replicator } from './replicator.ts';
import { SourcePorts } from './source-ports.ts';
import { Splicer } from './splicer.ts';
import { Tracer } from './trace.ts';
import { Tunnel } from './tunnel.ts';
import { Unserved } from './unserved.ts';

export { PORT_IN, PORT_OUT, PORT_SELF, type Wire } from './path-state.ts';

/** What the data plane needs of its surroundings. */
export interface DataplaneOptions extends ChainOptions {
  wire: Wire;
  /** As `nowMs`, but read at each call: the times of captured frames. */
  stampMs?: () => number;
  /** Room for so many slots in the kernel's flow table, in the place of the former; null where there is none. */
  openSlots?: (capacity: number, seed: number) => FlowSlots | null;
  /** As Math.random; for source ports, nonces and the hash seed. */
  random?: () => number;
}

/** What the data plane counts, since boot. */
export interface DataplaneCounters {
  /** By reason of drops.ts. */
  drops: Record<string, number>;
  /** The present number. */
  flows: number;
  newFlows: number;
  evictedFlows: number;
  /** Half-open flows that one service may have. */
  halfOpenMost: number;
  /** Those of `evictedFlows` by service, since its first one. */
  evictedOf: ReadonlyMap<string, number>;
  /** SYNs answered with cookies by service, where that is done only in floods. */
  answeredOf: ReadonlyMap<string, number>;
  /** Packets that found no room in the flow table, by service. */
  fullOf: ReadonlyMap<string, { hashed: number; refused: number }>;
  /** As `<service>/<component>/<rule>`. */
  components: Record<string, number>;
}

/** Most sessions that an engine remembers, at about 60 bytes each. */
const SESSIONS = 65_536;
/** Flows looked at for silence per tick: a quarter of a millisecond's worth. */
const SWEPT_PER_TICK = 4096;
/** Sessions looked at for expiry per tick. */
const SESSIONS_PER_TICK = 128;

export class Dataplane {
  private readonly options: DataplaneOptions;
  private readonly state: PathState;
  private readonly fragments: Fragments;
  private readonly splicer: Splicer;
  private readonly gateways: Gateways;
  private readonly hashed: Hashed;
  private readonly inside: Inside;
  private readonly peerTable: Peers;
  private readonly announcer: Announcer;
  private readonly memberAnnouncer: MemberAnnouncer;
  private readonly replicator: Replicator;
  private readonly observer: Observer;
  private readonly controlFrames: ControlFrames;
  private readonly dispatch: Dispatch;
  private readonly health = new MemberHealth();
  private readonly bypasses = new Bypasses();
  private readonly lister: FlowLister;
  private readonly tracer: Tracer;
  private readonly log = new FirewallLog();
  private readonly chainBuilder: ChainBuilder;
  /** Reports and sessions that came before the first graph. */
  private readonly earlyReports = new Map<string, ConnectionReport>();
  private earlySessions: Parameters<Dataplane['applySession']>[] = [];
  private capture: Capture | null = null;
  private tickedAt = 0;
  private readonly askAgain = (flow: number): void => this.splicer.askAgain(flow);
  /** Of no meaning: what `foresee` has read. */
  private foreseen = 0;

  constructor(options: DataplaneOptions) {
    this.options = options;
    this.state = new PathState(options.wire, options.random ?? Math.random);
    this.chainBuilder = new ChainBuilder(this.state, this.health, this.log, options);
    const bridge = new Bridge(this.state);
    this.fragments = new Fragments(this.state);
    const refusals = new Refusals(this.state);
    this.gateways = new Gateways(this.state);
    const tunnel = new Tunnel(this.state, this.gateways, refusals);
    const path = new FlowPath(this.state, bridge, this.fragments, this.gateways, tunnel);
    const ports = new SourcePorts(this.state);
    const opener = new FlowOpener(this.state, ports);
    this.inside = new Inside(this.state);
    this.peerTable = new Peers(this.state, this.inside, tunnel);
    this.announcer = new Announcer(this.state, this.peerTable);
    this.memberAnnouncer = new MemberAnnouncer(this.state);
    const replicas = new Replicas(this.state.random32());
    this.replicator = new Replicator(this.state, this.peerTable, replicas);
    this.hashed = new Hashed(this.state, path, ports, bridge, this.gateways);
    const { hashed } = this;
    const orphans = new Orphans(
      this.state,
      this.peerTable,
      path,
      opener,
      bridge,
      refusals,
      replicas,
      this.bypasses,
      hashed,
    );
    this.splicer = new Splicer(this.state, path, bridge, this.peerTable, options.wallMs);
    const entry = new Entry(
      this.state,
      path,
      opener,
      refusals,
      orphans,
      replicas,
      this.bypasses,
      this.health,
      this.splicer,
      hashed,
    );
    const direct = new Direct(this.state, path, opener, hashed);
    const memberSide = new MemberSide(
      this.state,
      path,
      opener,
      direct,
      this.splicer,
      hashed,
      replicas,
      orphans,
    );
    const icmpErrors = new IcmpErrors(this.state, bridge, path, this.gateways);
    this.lister = new FlowLister(this.state);
    this.tracer = new Tracer(this.state, this.lister, this.gateways, this.splicer);
    this.observer = new Observer(this.state, opener);
    this.controlFrames = new ControlFrames(
      this.state,
      this.peerTable,
      orphans,
      this.replicator,
      this.splicer,
    );
    const knownFlows = new KnownFlows(
      this.state,
      path,
      this.fragments,
      entry,
      memberSide,
      this.splicer,
      refusals,
      this.health,
      this.bypasses,
    );
    this.dispatch = new Dispatch({
      state: this.state,
      bridge,
      gateways: this.gateways,
      tunnel,
      inside: this.inside,
      announcer: this.announcer,
      knownFlows,
      entry,
      memberSide,
      direct,
      hashed,
      handOn: new HandOn(this.state, this.fragments),
      icmpErrors,
      proxied: new Proxied(this.state, path),
      unserved: new Unserved(this.state, refusals),
      observer: this.observer,
      controlFrames: this.controlFrames,
    });
  }

  /**
   * Puts a graph in force, whole or not at all: throws an Error that names what is wrong, and the graph before stays.
   * Established flows go on, except those of members and services that are gone.
   */
  load(graph: ServiceGraph): void {
    const state = this.state;
    const next = new CompiledGraph(graph);
    state.now = this.options.nowMs();
    const isFirst = !state.isLoaded;
    if (isFirst) {
      state.sessions = new SessionMap(SESSIONS, graph.engine.id);
      state.connections = new ConnectionTable(graph.engine.id, this.options.nowMs);
      for (const [engine, report] of this.earlyReports) state.connections.applyReport(engine, report);
      this.earlyReports.clear();
    } else if (graph.engine.id !== state.graph.source.engine.id) {
      throw new Error(
        `service graph refused: it is for engine ${graph.engine.id}, this is ${state.graph.source.engine.id}`,
      );
    }
    const chains = this.chainBuilder.build(next);
    const before: CompiledGraph | undefined = state.graph;
    const related = isFirst ? null : relate(state.graph, next);
    state.flows.memory?.unseal();
    let remap = related;
    // Where only rules, weights or timeouts change, no record does, however many there are.
    const isSuited = !isFirst && suitsAsIs(state.graph, next);
    if (remap !== null && !isSuited) endLostFlows(state, next, remap);
    const isTakenOver = resize(state, graph.engine.maxFlows, this.options.openSlots ?? (() => null));
    if (isTakenOver && state.flows.memory !== null) {
      remap = state.flows.memory.relate(graph.members, graph.peers);
      state.flows.memory.unseal();
      endLostFlows(state, next, remap);
    }
    state.connections.load(graph.members, graph.engine.id);
    state.graph = next;
    state.chains = chains;
    state.isLoaded = true;
    state.epoch++;
    this.health.load(graph);
    this.bypasses.load(next, state.now);
    // Whoever took the flows over knows all connections: it need not wait for them to show.
    if (isFirst) state.loadedAt = isTakenOver ? Number.NEGATIVE_INFINITY : state.now;
    if (remap !== null && (!isSuited || isTakenOver)) adaptFlows(state, remap);
    if (isTakenOver) recount(state);
    const { flows } = state;
    flows.halfOpen.regroup(graph.services.length + 1, (flow) =>
      next.groupOf(flows.words[flow * STRIDE + TIER]),
    );
    state.counts.load(graph.services);
    this.hashed.load(before, related);
    state.flows.memory?.seal(graph.members, graph.peers);
    state.flows.slots?.invalidate();
    this.fragments.clear();
    this.splicer.load(next);
    const codec = new ControlCodec(next.groupKey, graph.engine.id);
    this.controlFrames.load(codec);
    this.inside.load();
    this.gateways.load();
    this.peerTable.load(codec);
    this.replicator.load();
    const awayMs = isTakenOver ? (state.flows.slots?.awayMs ?? Infinity) : Infinity;
    this.announcer.load(isFirst, awayMs < graph.engine.deadAfterMs / 2);
    this.memberAnnouncer.load();
    if (this.isObserving) {
      this.observer.load();
      // Back in line, it begins with announcing as after its start.
      this.announcer.restart();
    }
    this.capture?.load();
    if (isFirst) {
      this.tickedAt = state.now;
      for (const early of this.earlySessions) this.applySession(...early);
      this.earlySessions = [];
    }
  }

  /** Takes which services are under a flood now. */
  setFloods(services: ReadonlySet<string>): void {
    this.state.counts.setFloods(services);
  }

  /**
   * Does what takes longest of loading a graph, with pauses in which frames can be moved; `load` with the same object
   * then has the rest. Throws as `load` does.
   */
  prepare(graph: ServiceGraph): Generator<void, void> {
    return this.chainBuilder.prepare(graph);
  }

  /** Entrusts flows to the kernel from now on, where it has room for them. */
  openSlots(): void {
    const { flows } = this.state;
    if (flows.slots !== null) return;
    flows.slots = this.options.openSlots?.(flows.capacity * 2, this.state.random32()) ?? null;
    if (flows.slots === null || !this.state.isLoaded) return;
    const { members, peers } = this.state.graph.source;
    flows.moveTo(flows.slots.memory);
    flows.slots.memory.seal(members, peers);
  }

  /** Takes every flow back from the kernel. */
  closeSlots(): void {
    const { flows } = this.state;
    for (let flow = 0; flow < flows.highWater; flow++) flows.recallBoth(flow);
    flows.slots = null;
    flows.moveTo(null);
  }

  /**
   * Looks ahead at a frame of a batch: memory that the look-ups of its flow begin with is read now, for all frames of
   * the batch at once, instead of waited for by each. `words` are the buffer's; the IP header stands on a word.
   */
  foresee(buffer: Uint8Array, words: Uint32Array, start: number, length: number): void {
    if (length < 38 || buffer[start + 12] !== 8 || buffer[start + 14] !== 0x45) return;
    const l3 = (start + 14) >> 2;
    const source = swapWord(words[l3 + 3]);
    const destination = swapWord(words[l3 + 4]);
    const { flows } = this.state;
    this.foreseen ^= flows.foresee(buffer[start + 23], source, destination, swapWord(words[l3 + 5]));
  }

  /** Takes a frame that came in by a port. The buffer is the caller's again when this returns. */
  receive(port: number, buffer: Uint8Array, start: number, length: number): void {
    this.state.now = this.options.nowMs();
    const { capture } = this;
    if (capture === null || !capture.isRunning || !capture.begin(port, buffer, start, length)) {
      this.dispatch.take(port, buffer, start, length);
      return;
    }
    const { state } = this;
    const chains = state.chains;
    state.tap = capture;
    for (let i = 0; i < chains.length; i++) chains[i].witness = capture;
    try {
      this.dispatch.take(port, buffer, start, length);
    } finally {
      state.tap = null;
      for (let i = 0; i < chains.length; i++) chains[i].witness = null;
    }
    capture.finish();
  }

  /** To be called at least every 10 ms: ageing, probes, announcements. */
  tick(): void {
    const state = this.state;
    const now = this.options.nowMs();
    state.now = now;
    if (!state.isLoaded) return;
    const passedMs = Math.max(0, now - this.tickedAt);
    this.tickedAt = now;
    const { deadAfterMs } = state.graph.source.engine;
    if (passedMs > deadAfterMs / 2) {
      // We stood still ourselves: that proves nothing about peers, but they may have taken our addresses meanwhile.
      this.peerTable.excuse(passedMs);
      if (passedMs >= deadAfterMs) this.announcer.restart();
    }
    // Every record that was ever used once a second, or as often as can be.
    const due = Math.ceil((state.flows.highWater * Math.min(passedMs, 1000)) / 1000) + 16;
    const records = Math.min(due, SWEPT_PER_TICK);
    const { timeouts } = state.graph.source.engine;
    sweep(state.flows, state.connections, now, records, timeouts, this.askAgain);
    this.advanceChains();
    state.sessions.expire(now, SESSIONS_PER_TICK);
    this.gateways.tick();
    this.peerTable.tick();
    if (this.capture?.tick() === false) this.capture = null;
    if (this.isObserving) return;
    this.replicator.tick(passedMs);
    this.announcer.tick();
    this.memberAnnouncer.tick();
    this.inside.tick();
  }

  /** Rules with windows of time: where one begins or ends, every flow is judged again. */
  private advanceChains(): void {
    const { state } = this;
    let isChanged = false;
    for (const { components } of state.chains) {
      for (const component of components) if (component.advance?.()) isChanged = true;
    }
    if (!isChanged) return;
    state.epoch++;
    state.flows.slots?.invalidate();
  }

  /** Another engine's counts, or null when that engine is gone. */
  applyConnections(engine: string, report: ConnectionReport | null): void {
    if (this.state.isLoaded) this.state.connections.applyReport(engine, report);
    else if (report === null) this.earlyReports.delete(engine);
    else this.earlyReports.set(engine, report);
  }

  /** Verdicts of the pool's monitor, by member id; a member that is not named counts as up. */
  applyHealth(pool: string, members: Record<string, boolean>): void {
    // Datagrams of a flow whose member is down find another one.
    if (this.health.apply(pool, members)) this.state.flows.slots?.invalidate();
  }

  /** A session that `engine` wrote, or null where it ended. */
  applySession(
    service: string,
    client: string,
    session: { member: string; time: number; engine: string } | null,
  ): void {
    if (!this.state.isLoaded) {
      if (this.earlySessions.length < SESSIONS) this.earlySessions.push([service, client, session]);
      return;
    }
    const words = new Int32Array(4);
    if (!parseAddress(client, words)) return;
    const [w0, w1, w2, w3] = words;
    const now = this.options.nowMs();
    const { sessions } = this.state;
    if (session === null) sessions.removeRemote(service, w0, w1, w2, w3);
    else {
      const { member, time, engine } = session;
      sessions.applyRemote(service, w0, w1, w2, w3, member, time, engine, now);
    }
  }

  /** What this engine publishes about connections. */
  connectionReport(): ConnectionReport {
    return this.state.isLoaded ? this.state.connections.report() : { local: {}, sent: {}, received: {} };
  }

  /** Whether the report has changed since the last call. */
  connectionsChanged(): boolean {
    return this.state.isLoaded && this.state.connections.takeChanged();
  }

  /** What this engine's probes say of its peers. */
  peers(): Record<string, PeerObservation> {
    this.state.now = this.options.nowMs();
    return this.peerTable.observations();
  }

  /** Addresses that this engine announces now. */
  ownedAddresses(): string[] {
    return this.announcer.owned();
  }

  /** Totals since boot. */
  counters(): DataplaneCounters {
    const { state } = this;
    const drops: Record<string, number> = {};
    DROPS.forEach(([name], index) => {
      if (state.drops[index] > 0) drops[name] = state.drops[index];
    });
    const components = state.counts.counters();
    for (const chain of state.chains) {
      for (const component of chain.components) {
        for (const [rule, packets] of Object.entries(component.counters())) {
          const key = `${chain.service}/${component.type}/${rule}`;
          components[key] = (components[key] ?? 0) + packets;
        }
      }
    }
    return {
      drops,
      flows: state.flows.size,
      newFlows: state.newFlows,
      evictedFlows: state.evictedFlows,
      halfOpenMost: state.flows.halfOpen.most,
      evictedOf: state.counts.evictedOf(),
      answeredOf: state.counts.answeredOf(),
      fullOf: state.counts.fullOf(),
      components,
    };
  }

  /** Why new flows of a service would go where they go now, one answer per tier. Throws where it is not known. */
  explain(params: { service: string; from: string | null }): Explanation[] {
    return this.tracer.explain(params.service, params.from);
  }

  /** The way of a packet through the live graph; changes nothing. Throws where the question makes no sense. */
  trace(question: TraceQuestion): TraceAnswer {
    return this.tracer.trace(question);
  }

  /** What the rules of a firewall policy did, in all services together, and what they logged lately. */
  firewall(params: { policy: string; limit: number }): EngineFirewall {
    const answer: EngineFirewall = {
      packets: {},
      limited: {},
      log: this.log.list(Math.min(Math.max(0, params.limit), LOG_ENTRIES), params.policy),
    };
    for (const { components } of this.state.chains) {
      for (const component of components) {
        if (component instanceof Firewall && component.policy === params.policy) component.tally(answer);
      }
    }
    return answer;
  }

  /** What firewall rules logged since the last call, oldest first. */
  takeFirewallLog(): FirewallLogEntry[] {
    return this.log.take();
  }

  /** A slice of the flow table: those that fit, the greatest first. Throws where the question makes no sense. */
  flows(question: FlowSliceQuestion): FlowSlice {
    this.state.now = this.options.nowMs();
    return this.lister.slice(question);
  }

  /** Begins to note the frames of a service. Throws ERR_THROTTLED while another capture runs, ERR_NOT_FOUND. */
  captureStart(order: CaptureOrder): null {
    const { state, options, capture } = this;
    state.now = options.nowMs();
    if (!state.isLoaded) throw new WeftError('ERR_NOT_FOUND', 'no service graph has been applied yet');
    if (capture?.isRunning) {
      throw new WeftError(
        'ERR_THROTTLED',
        `engine ${state.graph.source.engine.id} captures service ${capture.order.service} already: end that first`,
      );
    }
    this.capture = new Capture(order, state, this.lister, options.stampMs ?? options.nowMs, options.wallMs);
    return null;
  }

  /** What the capture has noted since the last call. Throws ERR_NOT_FOUND where there is none of that id. */
  captureFetch({ id }: { id: string }): CaptureNews {
    this.state.now = this.options.nowMs();
    if (this.capture?.order.id !== id) throw new WeftError('ERR_NOT_FOUND', 'that capture is over');
    return this.capture.fetch();
  }

  /** Ends the capture; what it has noted can still be fetched. */
  captureStop({ id }: { id: string }): null {
    if (this.capture?.order.id === id) this.capture.end('it was ended by whoever began it');
    return null;
  }

  private get isObserving(): boolean {
    return this.state.graph.source.engine.mode === 'mirror';
  }
}

/** A word of the wire as a number of this machine. */
function swapWord(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
