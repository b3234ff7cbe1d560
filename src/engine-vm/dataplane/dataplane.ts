/**
 * The forwarding core of an engine: frames in, frames out, in place. It knows no sockets and no clock of its own; the
 * worker (../worker.ts) brings the frames and the time. This file says which station takes a packet; the stations are
 * its neighbours in this folder. docs/path-of-a-packet.md tells the whole way.
 */
import { formatAddress, parseAddress } from '../../packet/address.ts';
import { destinationHigh, destinationLow, sourceHigh, sourceLow } from '../../packet/ethernet.ts';
import { isEchoRequest, writeEchoReply } from '../../packet/icmp.ts';
import { HEADROOM } from '../../packet/packet.ts';
import {
  ETHERTYPE_ARP,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  parse,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
} from '../../packet/parse.ts';
import { innerLength, innerStart, VXLAN_PORT } from '../../packet/vxlan.ts';
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
import { AddressClasses, keyOf } from '../component/address-classes.ts';
import { PASS, REJECT } from '../component/component.ts';
import { Firewall } from '../component/firewall.ts';
import { FirewallLog, LOG_ENTRIES } from '../component/firewall-log.ts';
import { PreparedRules } from '../component/prepared-rules.ts';
import { createComponent } from '../component/registry.ts';
import { DROPS, dropIndex } from '../drops.ts';
import type { FlowSlots } from '../fastpath/flow-slots.ts';
import { end, sweep, track } from '../flow/flow-life.ts';
import {
  FLAG_METERED,
  FLAGS,
  FORWARD,
  JUDGED,
  KIND,
  KIND_DIRECT,
  KIND_FAR,
  KIND_LOCAL,
  KIND_REMOTE,
  LAST_SEEN,
  MEMBER,
  PORTS,
  RELAY,
  REVERSE,
  STATE,
  STATE_CLOSING,
  STATE_HALF_OPEN,
  STRIDE,
  TIER,
} from '../flow/flow-table.ts';
import { Announcer } from './announcer.ts';
import { Bridge } from './bridge.ts';
import { Bypasses } from './bypasses.ts';
import { Capture, type CaptureNews, type CaptureOrder } from './capture.ts';
import {
  ANNOUNCED,
  CompiledGraph,
  MAC_LOCAL_MEMBER,
  MAC_PEER,
  MAC_SELF,
  macIndex,
  macKind,
  PLACE_HERE,
  PLACE_NO_ENGINE,
  peerMac,
} from './compiled-graph.ts';
import {
  CONTROL_ANSWER,
  CONTROL_CLAIM,
  CONTROL_FLOWS,
  CONTROL_ORPHAN,
  CONTROL_PROBE,
  ControlCodec,
  controlType,
  ETHERTYPE_CONTROL,
} from './control.ts';
import { Direct } from './direct.ts';
import { Entry } from './entry.ts';
import { FlowLister, type FlowSlice, type FlowSliceQuestion } from './flow-listing.ts';
import { FlowPath } from './flow-path.ts';
import { adaptFlows, endLostFlows, recount, relate, resize } from './flow-remap.ts';
import { Fragments } from './fragments.ts';
import { Gateways } from './gateways.ts';
import { IcmpErrors } from './icmp-errors.ts';
import { Inside } from './inside.ts';
import { MemberAnnouncer } from './member-announcer.ts';
import { MemberHealth } from './member-health.ts';
import { MemberSide } from './member-side.ts';
import { Observer } from './observer.ts';
import { Orphans } from './orphans.ts';
import { PathState, PORT_IN, PORT_OUT, PORT_SELF, SCRATCH_START, type Wire } from './path-state.ts';
import { Peers } from './peers.ts';
import { Refusals } from './refusals.ts';
import { Replicas } from './replicas.ts';
import { Replicator } from './replicator.ts';
import { newDecision, ServiceChain } from './service-chain.ts';
import { Tracer } from './trace.ts';
import { Tunnel } from './tunnel.ts';

export { PORT_IN, PORT_OUT, PORT_SELF, type Wire } from './path-state.ts';

/** What the data plane needs of its surroundings. */
export interface DataplaneOptions {
  wire: Wire;
  /** Monotonic milliseconds. Read once per packet: may be cached for a batch of packets. */
  nowMs: () => number;
  /** Wall clock, milliseconds. */
  wallMs: () => number;
  /** As `nowMs`, but read at each call: the times of captured frames. */
  stampMs?: () => number;
  /**
   * A session of a client address was made, moved or used, and other engines should know. `service` is the session's
   * scope: the service, with `.<tier>` behind it for every tier but the first.
   */
  onSession: (service: string, client: string, member: string, time: number, timeoutMs: number) => void;
  /** Room for so many slots in the kernel's flow table, in the place of the former; null where there is none. */
  openSlots?: (capacity: number, seed: number) => FlowSlots | null;
  /** As Math.random; for source ports, nonces and the hash seed. */
  random?: () => number;
}

/** Most sessions that an engine remembers, at about 60 bytes each. */
const SESSIONS = 65_536;
/** Of the upper half of a MAC: it is that of a group, or of all. */
const GROUP_BIT = 0x0100;
/** After this much silence nobody repeats data of a connection that both sides have closed. */
const LAST_WORDS_MS = 1000;
/** Flows looked at for silence per tick: a quarter of a millisecond's worth. */
const SWEPT_PER_TICK = 4096;
/** Sessions looked at for expiry per tick. */
const SESSIONS_PER_TICK = 128;

const MALFORMED = dropIndex('malformed');
const SPOOFED_PEER = dropIndex('spoofed-peer');
const CONTROL_INVALID = dropIndex('control-invalid');
const FRAGMENT = dropIndex('fragment');
const NOT_A_SERVICE = dropIndex('not-a-service');
const NOT_LOCAL = dropIndex('not-local');
const NO_FLOW = dropIndex('no-flow');
const HELD = dropIndex('held');
const OBSERVING = dropIndex('observing');
const GROUP_MAC = dropIndex('group-mac');
const TUNNEL_INVALID = dropIndex('tunnel-invalid');

export class Dataplane {
  private readonly options: DataplaneOptions;
  private readonly state: PathState;
  private readonly bridge: Bridge;
  private readonly fragments: Fragments;
  private readonly path: FlowPath;
  private readonly refusals: Refusals;
  private readonly gateways: Gateways;
  private readonly tunnel: Tunnel;
  private readonly inside: Inside;
  private readonly peerTable: Peers;
  private readonly announcer: Announcer;
  private readonly memberAnnouncer: MemberAnnouncer;
  private readonly replicator: Replicator;
  private readonly orphans: Orphans;
  private readonly entry: Entry;
  private readonly memberSide: MemberSide;
  private readonly direct: Direct;
  private readonly icmpErrors: IcmpErrors;
  private readonly observer: Observer;
  private readonly health = new MemberHealth();
  private readonly bypasses = new Bypasses();
  private readonly lister: FlowLister;
  private readonly tracer: Tracer;
  private readonly echoDecision = newDecision();
  private readonly log = new FirewallLog();
  private addressSets = new AddressClasses();
  private prepared: PreparedRules | null = null;
  private codec: ControlCodec | null = null;
  /** Reports and sessions that came before the first graph. */
  private readonly earlyReports = new Map<string, ConnectionReport>();
  private earlySessions: Parameters<Dataplane['applySession']>[] = [];
  private capture: Capture | null = null;
  private tickedAt = 0;
  /** Of no meaning: what `foresee` has read. */
  private foreseen = 0;

  constructor(options: DataplaneOptions) {
    this.options = options;
    this.state = new PathState(options.wire, options.random ?? Math.random);
    this.bridge = new Bridge(this.state);
    this.fragments = new Fragments(this.state);
    this.refusals = new Refusals(this.state);
    this.gateways = new Gateways(this.state);
    this.tunnel = new Tunnel(this.state, this.gateways, this.refusals);
    this.path = new FlowPath(this.state, this.bridge, this.fragments, this.gateways, this.tunnel);
    this.inside = new Inside(this.state);
    this.peerTable = new Peers(this.state, this.inside, this.tunnel);
    this.announcer = new Announcer(this.state, this.peerTable);
    this.memberAnnouncer = new MemberAnnouncer(this.state);
    const replicas = new Replicas(this.state.random32());
    this.replicator = new Replicator(this.state, this.peerTable, replicas);
    this.orphans = new Orphans(
      this.state,
      this.peerTable,
      this.path,
      this.bridge,
      this.refusals,
      replicas,
      this.bypasses,
    );
    this.entry = new Entry(this.state, this.path, this.refusals, this.orphans, replicas, this.bypasses);
    this.direct = new Direct(this.state, this.path);
    this.memberSide = new MemberSide(this.state, this.path, this.direct);
    this.icmpErrors = new IcmpErrors(this.state, this.bridge, this.path, this.gateways);
    this.lister = new FlowLister(this.state);
    this.tracer = new Tracer(this.state, this.lister, this.gateways);
    this.observer = new Observer(this.state, this.path);
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
    const chains = this.buildChains(next);
    const before = state.graph;
    state.flows.memory?.unseal();
    let remap = isFirst ? null : relate(before, next);
    if (remap !== null) endLostFlows(state, next, remap);
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
    if (remap !== null) adaptFlows(state, remap);
    if (isTakenOver) recount(state);
    this.regroup(before);
    state.flows.memory?.seal(graph.members, graph.peers);
    state.flows.slots?.invalidate();
    this.fragments.clear();
    this.codec = new ControlCodec(next.groupKey, graph.engine.id);
    this.inside.load();
    this.gateways.load();
    this.peerTable.load(this.codec);
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

  /** Services have other indexes now: so have the lists of their half-open flows, and what was counted of them. */
  private regroup(before: CompiledGraph | undefined): void {
    const { flows, graph, evictedOf } = this.state;
    const { services } = graph.source;
    flows.regroup(services.length + 1, (flow) => this.path.groupOf(flows.words[flow * STRIDE + TIER]));
    const counted = new Map(
      before?.source.services.map(({ name }, index) => [name, evictedOf[index + 1]]) ?? [],
    );
    this.state.evictedOf = Float64Array.from([
      evictedOf[0],
      ...services.map(({ name }) => counted.get(name) ?? 0),
    ]);
  }

  /**
   * Does what takes longest of loading a graph, with pauses in which frames can be moved; `load` with the same object
   * then has the rest. Throws as `load` does.
   */
  *prepare(graph: ServiceGraph): Generator<void, void> {
    this.prepared = null;
    const prepared = new PreparedRules(graph, this.addressSets, this.options.wallMs);
    yield* prepared.steps();
    this.prepared = prepared;
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
    const { capture } = this;
    if (capture === null || !capture.isRunning || !capture.begin(port, buffer, start, length)) {
      this.take(port, buffer, start, length);
      return;
    }
    const { state } = this;
    const chains = state.chains;
    state.tap = capture;
    for (let i = 0; i < chains.length; i++) chains[i].witness = capture;
    try {
      this.take(port, buffer, start, length);
    } finally {
      state.tap = null;
      for (let i = 0; i < chains.length; i++) chains[i].witness = null;
    }
    capture.finish();
  }

  private take(port: number, buffer: Uint8Array, start: number, length: number): void {
    const state = this.state;
    const packet = state.packet;
    state.now = this.options.nowMs();
    parse(packet, buffer, start, length);
    if (length < 14) {
      state.drop(MALFORMED);
      return;
    }
    if (!state.isLoaded) {
      if (port === PORT_SELF) {
        state.drop(HELD);
        return;
      }
      this.bridge.learn(port, -1);
      this.bridge.forward(port);
      return;
    }
    if (this.isObserving) {
      this.observe(port);
      return;
    }
    state.ingress = port;
    state.isTunnelled = false;
    for (let i = 0; i < 3; i++) state.macs[i] = packet.view.getInt32(start + i * 4, true);
    const source = state.graph.macs.find(sourceHigh(packet), sourceLow(packet));
    const kind = macKind(source);
    if (port === PORT_SELF) {
      this.bridge.forward(port);
      return;
    }
    if (kind === MAC_SELF || (port === PORT_IN && kind === MAC_PEER)) {
      state.drop(SPOOFED_PEER);
      return;
    }
    if (port === PORT_IN && kind === MAC_LOCAL_MEMBER) this.inside.hear();
    this.bridge.learn(port, source);
    if (packet.etherType === ETHERTYPE_CONTROL && this.takeControl(port, source)) return;
    if (packet.etherType === ETHERTYPE_ARP && port === PORT_OUT) this.gateways.hearArp();
    if (packet.etherType === ETHERTYPE_ARP && this.announcer.takeArp(port, source)) return;
    if (packet.ipVersion !== 0 && this.takeIp(port, source)) return;
    if (packet.malformed !== null && packet.ipVersion === 0 && this.isForSelf()) {
      state.drop(MALFORMED);
      return;
    }
    this.bridge.forward(port);
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
    sweep(state.flows, state.connections, now, records, timeouts);
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

  /** Totals since boot; `flows` is the present number. Components as `<service>/<component>/<rule>`. */
  counters(): {
    drops: Record<string, number>;
    flows: number;
    newFlows: number;
    evictedFlows: number;
    halfOpenMost: number;
    evictedOf: ReadonlyMap<string, number>;
    components: Record<string, number>;
  } {
    const { state } = this;
    const drops: Record<string, number> = {};
    DROPS.forEach(([name], index) => {
      if (state.drops[index] > 0) drops[name] = state.drops[index];
    });
    const evictedOf = new Map<string, number>();
    for (const [index, { service }] of state.chains.entries()) {
      const evicted = state.evictedOf[index + 1] ?? 0;
      if (evicted > 0) evictedOf.set(service, evicted);
    }
    const components: Record<string, number> = {};
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
      halfOpenMost: state.flows.mostHalfOpen,
      evictedOf,
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

  /** Takes the IP packet at hand; false where it is only to be bridged. */
  private takeIp(port: number, source: number): boolean {
    const state = this.state;
    const { packet, graph } = state;
    if (packet.malformed !== null) {
      if (!this.isForSelf() && graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) < 0)
        return false;
      state.drop(MALFORMED);
      return true;
    }
    const isFromPeer = macKind(source) === MAC_PEER;
    const high = destinationHigh(packet);
    const low = destinationLow(packet);
    // Bridged, it would come past the firewall: members take datagrams from such frames (RFC 1122 section 3.3.6).
    if (
      (high & GROUP_BIT) !== 0 &&
      graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) >= 0
    ) {
      state.drop(GROUP_MAC);
      return true;
    }
    const destination = graph.macs.find(high, low);
    const destinationKind = macKind(destination);
    // A frame that a switch only flooded here is another engine's.
    const isHere =
      port === PORT_IN ||
      destinationKind === MAC_SELF ||
      destinationKind === MAC_LOCAL_MEMBER ||
      (destinationKind === 0 && this.bridge.portOf(high, low) === PORT_IN);
    const protocol = packet.protocol;
    if (packet.fragmentOffset !== 0) return this.takeLaterFragment(port, isFromPeer, isHere);
    if (
      graph.hasTunnels &&
      packet.destinationPort === VXLAN_PORT &&
      protocol === PROTOCOL_UDP &&
      this.takeTunnel(destinationKind)
    ) {
      return true;
    }
    if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
      const found = state.flows.find(packet);
      if (found >= 0) {
        const flow = found >> 1;
        const isTaken =
          (found & 1) === FORWARD
            ? this.takeForward(port, flow, isFromPeer, isHere, destination)
            : this.takeReverse(port, flow, destinationKind);
        if (isTaken) return true;
      }
      const tier = graph.tiers.find(
        packet.d0,
        packet.d1,
        packet.d2,
        packet.d3,
        packet.destinationPort,
        protocol,
      );
      if (tier >= 0) {
        if (isFromPeer) this.memberSide.receive(-1);
        else if (isHere && this.isTranslatedAfar(destination))
          return this.direct.takeFromClient(macIndex(destination));
        else if (isHere) this.entry.begin(port, tier);
        else return false;
        return true;
      }
    } else if (protocol === PROTOCOL_ICMPV6 || protocol === PROTOCOL_ICMP) {
      if (port === PORT_OUT) this.gateways.hearNeighbour();
      if (this.announcer.takeNeighbour(port, source)) return true;
      if ((isHere || isFromPeer) && this.icmpErrors.take(port, isFromPeer)) return true;
    }
    if (graph.announcedCount > 0 && isHere) {
      const address = graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) - ANNOUNCED;
      if (address >= 0) {
        this.takeAnnounced(port, address, isFromPeer, destinationKind);
        return true;
      }
    }
    if (packet.l4 === 0 || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)) return false;
    if (destinationKind === MAC_LOCAL_MEMBER) {
      const member = graph.memberPorts.find(
        packet.d0,
        packet.d1,
        packet.d2,
        packet.d3,
        packet.destinationPort,
        protocol,
      );
      if (member >= 0 && member === macIndex(destination)) return this.direct.takeFromClient(member);
    }
    if (port === PORT_IN && macKind(source) === MAC_LOCAL_MEMBER) {
      const member = graph.memberPorts.find(
        packet.s0,
        packet.s1,
        packet.s2,
        packet.s3,
        packet.sourcePort,
        protocol,
      );
      if (member >= 0 && member === macIndex(source)) return this.direct.takeFromMember(member);
    }
    return false;
  }

  /** Takes the frame inside the VXLAN datagram at hand; false where that is not for this engine. */
  private takeTunnel(destinationKind: number): boolean {
    const { state, tunnel } = this;
    const { packet, graph } = state;
    if (state.isTunnelled || destinationKind !== MAC_SELF) return false;
    if (graph.dataAddresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) !== 0) return false;
    const peer = tunnel.peerOf();
    if (peer < 0) {
      state.drop(TUNNEL_INVALID);
      return true;
    }
    const start = innerStart(packet);
    const length = innerLength(packet);
    // The outer headers are read: the frame needs its own virtio_net_hdr before it.
    packet.buffer.fill(0, start - HEADROOM, start);
    parse(packet, packet.buffer, start, length);
    const source = graph.macs.find(sourceHigh(packet), sourceLow(packet));
    // No slot of the kernel's fits what came in a datagram.
    state.ingress = PORT_SELF;
    state.isTunnelled = true;
    if (source !== peerMac(peer) || !this.takeInner(source)) state.drop(TUNNEL_INVALID);
    state.isTunnelled = false;
    return true;
  }

  /** Takes the frame of a peer that came out of a tunnel; false where no peer sends such a one. */
  private takeInner(source: number): boolean {
    const { packet, graph } = this.state;
    if (this.isObserving) {
      if (packet.etherType !== ETHERTYPE_CONTROL) this.state.drop(OBSERVING);
      else this.observeControl(source);
      return true;
    }
    if (packet.etherType === ETHERTYPE_CONTROL) return this.takeControl(PORT_OUT, source);
    const kind = macKind(graph.macs.find(destinationHigh(packet), destinationLow(packet)));
    if (kind !== MAC_LOCAL_MEMBER && kind !== MAC_SELF) {
      this.state.drop(NOT_LOCAL);
      return true;
    }
    return packet.ipVersion !== 0 && this.takeIp(PORT_OUT, source);
  }

  /**
   * Whether the packet at hand, to the own address of a member beside us, is of a connection that an engine across a
   * router translates, or a probe of its: it came by the router, and not with that engine's MAC.
   */
  private isTranslatedAfar(destination: number): boolean {
    const { packet, graph } = this.state;
    if (!graph.hasTunnels || macKind(destination) !== MAC_LOCAL_MEMBER) return false;
    const peer = graph.dataAddresses.find(packet.s0, packet.s1, packet.s2, packet.s3, 0, 0) - 1;
    if (peer < 0 || graph.peerTunnel[peer] === 0) return false;
    const at = graph.memberAddressAt(macIndex(destination), packet.ipVersion);
    const own = graph.memberAddresses(packet.ipVersion);
    return (
      at >= 0 &&
      own[at + 3] === packet.d3 &&
      own[at + 2] === packet.d2 &&
      own[at + 1] === packet.d1 &&
      own[at] === packet.d0
    );
  }

  /** A packet from the client's side of a known flow; false where the flow does not apply (any more). */
  private takeForward(
    port: number,
    flow: number,
    isFromPeer: boolean,
    isHere: boolean,
    destination: number,
  ): boolean {
    const state = this.state;
    const { packet, flows, connections } = state;
    const words = flows.words;
    const at = flow * STRIDE;
    if (isFromPeer && (words[at + KIND] !== KIND_DIRECT || words[at + TIER] >= 0)) {
      this.memberSide.receive(flow);
      return true;
    }
    if (!isHere) return false;
    const isDirect = words[at + KIND] === KIND_DIRECT;
    if (isDirect && destination !== (MAC_LOCAL_MEMBER << 24) + words[at + MEMBER]) return false;
    if (this.isToBeginAnew(at)) {
      end(flows, connections, flow);
      return false;
    }
    const isJudged = words[at + JUDGED] === state.epoch && (words[at + FLAGS] & FLAG_METERED) === 0;
    if (!isJudged && !this.entry.judge(port, flow)) return true;
    if (words[at + KIND] === KIND_REMOTE && this.isGivenUp(at)) {
      end(flows, connections, flow);
      this.refusals.reset(port);
      state.drop(NO_FLOW);
      return true;
    }
    track(flows, connections, flow, FORWARD, packet, state.now);
    this.path.forward(flow);
    return true;
  }

  /** Whether the packet at hand is of another connection than the flow, or of one that needs a new choice: its member died. */
  private isToBeginAnew(at: number): boolean {
    const { packet, flows, graph } = this.state;
    const words = flows.words;
    const state = words[at + STATE];
    if (packet.protocol === PROTOCOL_TCP) {
      if ((packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST)) !== TCP_SYN)
        return state === STATE_CLOSING && this.isOfLaterConnection(at);
      if (state === STATE_CLOSING) return true;
      if (state !== STATE_HALF_OPEN) return false;
    }
    const tier = words[at + TIER];
    if (tier < 0 || words[at + KIND] === KIND_DIRECT) return false;
    return !this.health.isUp(graph.tierPool[tier], words[at + MEMBER]);
  }

  /**
   * Whether data comes long after a connection was closed. The client port was used again through another engine, which
   * has died: the flow's member would reset the later connection.
   */
  private isOfLaterConnection(at: number): boolean {
    const { packet, flows, now } = this.state;
    if (packet.l4 === 0 || (((now | 0) - flows.words[at + LAST_SEEN]) | 0) < LAST_WORDS_MS) return false;
    return packet.end - packet.l4 > (packet.view.getUint8(packet.l4 + 12) >> 4) * 4;
  }

  /** Whether a flow waits for its bypassed member's engine in vain: its client shall not hang for ever. */
  private isGivenUp(at: number): boolean {
    const { flows, graph, now } = this.state;
    const member = flows.words[at + MEMBER];
    if (graph.memberPlace[member] !== PLACE_NO_ENGINE || flows.words[at + RELAY] >= 0) return false;
    const tier = flows.words[at + TIER];
    // What needs no translation needs no engine.
    if (tier >= 0 && graph.tierIsDsr[tier] === 1) return false;
    return !this.bypasses.isWorthWaiting(member, now);
  }

  /** A packet from the member's side of a known flow; false where it cannot be the member's. */
  private takeReverse(port: number, flow: number, destinationKind: number): boolean {
    const state = this.state;
    const { flows, connections, graph } = state;
    const at = flow * STRIDE;
    const isInside = graph.memberPlace[flows.words[at + MEMBER]] === PLACE_HERE;
    if (isInside && port !== PORT_IN) return false;
    if (flows.words[at + KIND] === KIND_FAR && destinationKind !== MAC_SELF) return false;
    track(flows, connections, flow, REVERSE, state.packet, state.now);
    this.path.reverse(flow);
    return true;
  }

  private takeLaterFragment(port: number, isFromPeer: boolean, isHere: boolean): boolean {
    const state = this.state;
    const { packet, graph, flows, connections } = state;
    const found = this.fragments.find();
    if (found >= 0) {
      const flow = found >> 1;
      const direction = found & 1;
      const kind = flows.words[flow * STRIDE + KIND];
      if (
        direction === FORWARD
          ? isHere && (!isFromPeer || kind === KIND_LOCAL)
          : port === PORT_IN || kind === KIND_FAR
      ) {
        const isMetered = (flows.words[flow * STRIDE + FLAGS] & FLAG_METERED) !== 0;
        if (isMetered && direction === FORWARD && !this.judgeFragment(port, flow)) return true;
        track(flows, connections, flow, direction, packet, state.now);
        if (direction === FORWARD) this.path.forward(flow);
        else this.path.reverse(flow);
        return true;
      }
    }
    const address = graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0);
    // A VM that owns its address also gets fragments that concern no service.
    if (address < ANNOUNCED || !isHere) return false;
    state.drop(FRAGMENT);
    return true;
  }

  /** Judges a later fragment as what it is part of: it bears no ports of its own. */
  private judgeFragment(port: number, flow: number): boolean {
    const { packet, flows } = this.state;
    const ports = flows.words[flow * STRIDE + PORTS];
    packet.sourcePort = ports >>> 16;
    packet.destinationPort = ports & 0xffff;
    const isAllowed = this.entry.judge(port, flow);
    packet.sourcePort = 0;
    packet.destinationPort = 0;
    return isAllowed;
  }

  /** A packet to an announced address that no tier takes. */
  private takeAnnounced(port: number, address: number, isFromPeer: boolean, destinationKind: number): void {
    const state = this.state;
    const { packet, scratch, scratchView } = state;
    if (isFromPeer && destinationKind === MAC_LOCAL_MEMBER) {
      state.drop(NOT_LOCAL);
      return;
    }
    if (isEchoRequest(packet)) {
      if (this.isEchoAllowed(port, address)) {
        state.sendScratch(port, writeEchoReply(packet, scratch, scratchView, SCRATCH_START));
      }
      return;
    }
    this.refusals.reset(port);
    state.drop(NOT_A_SERVICE);
  }

  /** An echo is answered where the firewall of any service at the address passes it. */
  private isEchoAllowed(port: number, address: number): boolean {
    const state = this.state;
    const services = state.graph.announcedServices[address];
    const decision = this.echoDecision;
    let verdict: number = PASS;
    for (let i = 0; i < services.length; i++) {
      decision.service = services[i];
      decision.tier = 0;
      decision.isNewFlow = false;
      decision.member = -1;
      verdict = state.chains[services[i]].judge(state.packet, decision);
      if (verdict === PASS) return true;
    }
    if (verdict === REJECT) this.refusals.refuse(port);
    state.drop(decision.reason);
    return false;
  }

  private get isObserving(): boolean {
    return this.state.graph.source.engine.mode === 'mirror';
  }

  /** A frame in mode `mirror`: by `in` come copies, by `out` only what peers ask and answer concerns us. */
  private observe(port: number): void {
    const state = this.state;
    const { packet, graph } = state;
    const source = graph.macs.find(sourceHigh(packet), sourceLow(packet));
    if (port === PORT_SELF) state.drop(OBSERVING);
    else if (port === PORT_IN) {
      if (macKind(source) === MAC_LOCAL_MEMBER) this.inside.hear();
      this.observer.observe();
    } else if (packet.etherType === ETHERTYPE_CONTROL && this.isForSelf()) this.observeControl(source);
    else if (packet.etherType === ETHERTYPE_ARP) this.gateways.hearArp();
    else if (packet.protocol === PROTOCOL_ICMPV6 && packet.malformed === null) this.gateways.hearNeighbour();
    else if (graph.hasTunnels && packet.destinationPort === VXLAN_PORT && packet.protocol === PROTOCOL_UDP) {
      state.isTunnelled = false;
      this.takeTunnel(this.isForSelf() ? MAC_SELF : 0);
    }
  }

  /** What peers ask and answer is all that an engine in mode `mirror` takes of them. */
  private observeControl(source: number): void {
    const { state } = this;
    const { packet } = state;
    const peer = macIndex(source);
    const isOfPeer =
      macKind(source) === MAC_PEER && this.codec?.isAuthentic(packet, this.peerTable.hash(peer)) === true;
    const type = isOfPeer ? controlType(packet) : 0;
    if (type === CONTROL_PROBE) this.peerTable.answer(peer);
    else if (type === CONTROL_ANSWER) this.peerTable.receiveAnswer(peer);
    else if (!isOfPeer) state.drop(CONTROL_INVALID);
  }

  /** Takes the control frame at hand; false where it is none of ours and to be bridged. */
  private takeControl(port: number, source: number): boolean {
    const state = this.state;
    const { packet, graph } = state;
    const destination = macKind(graph.macs.find(destinationHigh(packet), destinationLow(packet)));
    if (destination !== MAC_SELF && destination !== MAC_PEER) return false;
    if (destination === MAC_PEER && port === PORT_OUT) return false;
    const peer = macIndex(source);
    const isTaken =
      port === PORT_OUT &&
      macKind(source) === MAC_PEER &&
      this.codec?.isAuthentic(packet, this.peerTable.hash(peer)) === true &&
      this.takeAuthentic(peer);
    if (!isTaken) state.drop(CONTROL_INVALID);
    return true;
  }

  private takeAuthentic(peer: number): boolean {
    switch (controlType(this.state.packet)) {
      case CONTROL_PROBE:
        this.peerTable.answer(peer);
        return true;
      case CONTROL_ANSWER:
        return this.peerTable.receiveAnswer(peer);
      case CONTROL_ORPHAN:
        this.orphans.receiveOrphan(peer);
        return true;
      case CONTROL_CLAIM:
        return this.orphans.receiveClaim(peer);
      case CONTROL_FLOWS:
        return this.replicator.receive();
      default:
        return false;
    }
  }

  private isForSelf(): boolean {
    const { packet, graph } = this.state;
    return macKind(graph.macs.find(destinationHigh(packet), destinationLow(packet))) === MAC_SELF;
  }

  /** The chains of a graph that is not in force yet. Where one cannot be built, those in force are built again. */
  private buildChains(next: CompiledGraph): ServiceChain[] {
    const state = this.state;
    try {
      return this.chainsOf(next);
    } catch (error) {
      if (state.isLoaded) state.chains = this.chainsOf(state.graph);
      throw error;
    }
  }

  private chainsOf(compiled: CompiledGraph): ServiceChain[] {
    const { options, health } = this;
    const { sessions, connections, chains: before } = this.state;
    const graph = compiled.source;
    sessions.load(graph);
    // Sets that did not change are not laid over each other again.
    const sets = graph.addressSets ?? [];
    const prepared = this.prepared?.graph === graph ? this.prepared : null;
    this.prepared = null;
    const addressSets =
      prepared?.addressSets ??
      (keyOf(sets) === this.addressSets.key ? this.addressSets : new AddressClasses(sets));
    this.addressSets = addressSets;
    const previous = new Map(before.map((chain) => [chain.service, chain.components]));
    return graph.services.map((service, serviceIndex) => {
      const context = {
        graph,
        serviceIndex,
        connections,
        sessions,
        addressSets,
        firewallLog: this.log,
        preparedRules: prepared,
        isMemberUp: (pool: number, member: number) => health.isUp(pool, member),
        nowMs: options.nowMs,
        wallMs: options.wallMs,
        onSession: (
          scope: string,
          w0: number,
          w1: number,
          w2: number,
          w3: number,
          member: number,
          time: number,
          timeoutMs: number,
        ) =>
          options.onSession(scope, formatAddress(w0, w1, w2, w3), graph.members[member].id, time, timeoutMs),
      };
      const components = service.components.map((component, index) =>
        createComponent(component, context, previous.get(service.name)?.[index]),
      );
      return new ServiceChain(service.name, components);
    });
  }
}

/** A word of the wire as a number of this machine. */
function swapWord(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
