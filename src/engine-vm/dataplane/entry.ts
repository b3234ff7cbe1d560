/** The entry engine: packets that clients send to a service and that no engine has seen yet. */
import { PROTOCOL_TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import { PASS, REJECT, type Verdict } from '../component/component.ts';
import { dropIndex } from '../drops.ts';
import { end, track } from '../flow/flow-life.ts';
import {
  FLAG_METERED,
  FLAGS,
  FORWARD,
  JUDGED,
  KIND,
  KIND_REMOTE,
  MEMBER,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import type { Bypasses } from './bypasses.ts';
import {
  ANNOUNCED,
  COOKIES_NEVER,
  PLACE_BESIDE_PEER,
  PLACE_HERE,
  PLACE_NO_ENGINE,
} from './compiled-graph.ts';
import { type FlowOpener, refusal } from './flow-opener.ts';
import type { FlowPath } from './flow-path.ts';
import type { Hashed } from './hashed.ts';
import type { MemberHealth } from './member-health.ts';
import type { Orphans } from './orphans.ts';
import type { PathState } from './path-state.ts';
import type { Refusals } from './refusals.ts';
import type { Replicas } from './replicas.ts';
import { newDecision, type ServiceChain } from './service-chain.ts';
import type { Splicer } from './splicer.ts';

const NO_MEMBER = dropIndex('no-member');
const NO_FLOW = dropIndex('no-flow');
const LIMITED = dropIndex('firewall-limit');

export class Entry {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly opener: FlowOpener;
  private readonly refusals: Refusals;
  private readonly orphans: Orphans;
  private readonly replicas: Replicas;
  private readonly bypasses: Bypasses;
  private readonly health: MemberHealth;
  private readonly splicer: Splicer;
  private readonly hashed: Hashed;
  private readonly decision = newDecision();

  constructor(
    state: PathState,
    path: FlowPath,
    opener: FlowOpener,
    refusals: Refusals,
    orphans: Orphans,
    replicas: Replicas,
    bypasses: Bypasses,
    health: MemberHealth,
    splicer: Splicer,
    hashed: Hashed,
  ) {
    this.state = state;
    this.path = path;
    this.opener = opener;
    this.refusals = refusals;
    this.orphans = orphans;
    this.replicas = replicas;
    this.bypasses = bypasses;
    this.splicer = splicer;
    this.health = health;
    this.hashed = hashed;
  }

  /**
   * Takes the packet at hand, to a service and of no known flow. `isRenewed`: it is known to be of a connection, whose
   * member, one that hands packets on, is no more.
   */
  begin(port: number, tier: number, isRenewed = false): void {
    const state = this.state;
    const { packet } = state;
    const chain = state.chains[state.graph.tierService[tier]];
    this.decide(tier, true);
    if (state.graph.tierIsProxied[tier] === 1) {
      this.beginProxied(port, tier, chain);
      return;
    }
    if (
      !isRenewed &&
      packet.protocol === PROTOCOL_TCP &&
      (packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) !== TCP_SYN
    ) {
      this.resume(port, tier, chain);
      return;
    }
    if (packet.protocol === PROTOCOL_TCP && this.splicer.isWanted(tier) && !this.isHashedAnyway(tier)) {
      this.answer(port, tier, chain);
      return;
    }
    const flow = this.open(port, tier, chain, false);
    if (flow >= 0) this.start(flow);
  }

  /**
   * Takes the packet at hand, of no known flow, to a tier whose connections end in this engine's own stack. Where that
   * does not know the connection, it is the stack that resets it.
   */
  private beginProxied(port: number, tier: number, chain: ServiceChain): void {
    const { state, decision } = this;
    const { packet } = state;
    if ((packet.tcpFlags & TCP_RST) !== 0) {
      state.drop(NO_FLOW);
      return;
    }
    decision.isNewFlow = (packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_FIN)) === TCP_SYN;
    const verdict = chain.judge(packet, decision);
    if (verdict !== PASS) {
      this.turnAway(port, verdict);
      return;
    }
    const flow = this.opener.openProxied(tier);
    if (flow < 0) state.drop(refusal(flow));
    else this.start(flow);
  }

  /** Whether a new flow of the tier would get no record, and needs none: what a cookie begins would. */
  private isHashedAnyway(tier: number): boolean {
    const { graph, flows } = this.state;
    return (
      graph.tierHashes[tier] === 1 && !flows.hasRoom && flows.halfOpen.evictable(graph.groupOf(tier)) < 0
    );
  }

  /**
   * Opens the flow that the packet at hand begins, to the member that the chain chooses; -1 where it is dropped, or
   * forwarded without a record, unless `needsRecord`.
   */
  private open(port: number, tier: number, chain: ServiceChain, needsRecord: boolean): number {
    const { state, decision } = this;
    const { graph, packet } = state;
    this.opener.makeRoom(tier);
    const { hasRoom } = state.flows;
    if (!hasRoom && (needsRecord || graph.tierHashes[tier] === 0)) {
      this.hashed.refuse(tier);
      return -1;
    }
    // It goes on without a record, or with one from now on: to the member that it has.
    const noted = needsRecord ? -1 : this.notedUp(tier);
    decision.member = noted;
    decision.isByHash = !hasRoom;
    // Of datagrams only the first one is a new connection.
    if (noted >= 0 && packet.protocol !== PROTOCOL_TCP) decision.isNewFlow = false;
    const verdict = noted < 0 ? chain.run(packet, decision) : chain.judge(packet, decision);
    const member = decision.member;
    if (graph.tierHandsOn[tier] === 1 && this.isToSkip(tier, verdict, member)) {
      this.begin(port, tier + 1);
      return -1;
    }
    if (verdict !== PASS) {
      this.turnAway(port, verdict);
      return -1;
    }
    if (member < 0) {
      state.drop(NO_MEMBER);
      return -1;
    }
    if (!hasRoom || (noted >= 0 && this.hashed.isTaken(tier, member))) {
      this.hashed.forward(tier, member);
      return -1;
    }
    const flow = this.opener.open(tier, member, null);
    if (flow < 0) {
      state.drop(refusal(flow));
      return -1;
    }
    if (noted < 0 && graph.memberPlace[member] === PLACE_BESIDE_PEER) state.connections.chose(member);
    return flow;
  }

  /** Answers the SYN at hand with a cookie, where the firewall passes it: the flow begins with what brings that back. */
  private answer(port: number, tier: number, chain: ServiceChain): void {
    // Limits of new flows are for what becomes one.
    this.decision.isNewFlow = false;
    const verdict = chain.judge(this.state.packet, this.decision);
    if (verdict === PASS) this.splicer.answer(port, tier);
    else this.turnAway(port, verdict);
  }

  /** Begins the flow whose client has brought back a cookie: it takes itself to be connected. */
  private redeem(port: number, tier: number, chain: ServiceChain): void {
    const { state, splicer } = this;
    const { flows, graph } = state;
    state.counts.proven.add(graph.groupOf(tier));
    const flow = this.open(port, tier, chain, true);
    if (flow < 0) {
      this.refusals.reset(port);
      return;
    }
    if (flows.words[flow * STRIDE + KIND] === KIND_REMOTE) {
      splicer.leaveToPeer(flow);
      this.start(flow);
      return;
    }
    this.keep(flow);
    track(flows, state.connections, flow, FORWARD, state.packet, state.now);
    splicer.begin(flow);
  }

  /** Whether the packet at hand of a flow that clients send may pass: asked anew after each graph. */
  judge(port: number, flow: number): boolean {
    const state = this.state;
    const words = state.flows.words;
    const at = flow * STRIDE;
    const tier = words[at + TIER];
    if (tier < 0) return true;
    this.decision.isMetered = false;
    const chain = state.chains[state.graph.tierService[tier]];
    if (chain.judgesEstablished) {
      this.decide(tier, false).member = words[at + MEMBER];
      const verdict = chain.judge(state.packet, this.decision);
      if (verdict !== PASS) {
        // Too fast is not forbidden: the flow lives on.
        if (this.decision.reason !== LIMITED) end(state.flows, state.connections, flow);
        this.turnAway(port, verdict);
        return false;
      }
    }
    this.keep(flow);
    return true;
  }

  /** A TCP segment in the middle of a connection that is not in the flow table. */
  private resume(port: number, tier: number, chain: ServiceChain): void {
    const state = this.state;
    const { packet, graph, sessions } = state;
    const noted = graph.tierHashes[tier] === 1 ? this.hashed.noted(tier) : -1;
    if ((packet.tcpFlags & TCP_RST) !== 0 && noted < 0) {
      state.drop(NO_FLOW);
      return;
    }
    if (this.splicer.check(tier)) {
      this.redeem(port, tier, chain);
      return;
    }
    this.decision.isNewFlow = false;
    this.decision.member = noted;
    const verdict = chain.judge(packet, this.decision);
    if (verdict !== PASS) {
      this.turnAway(port, verdict);
      return;
    }
    const offset = this.offsetOf(tier);
    if (offset !== state.stage && this.goOnWithout(offset)) return;
    if (noted >= 0 && this.hashed.reaches(tier, noted)) {
      this.goOn(tier, noted);
      return;
    }
    if (noted >= 0 && this.bypasses.isWorthWaiting(noted, state.now)) {
      state.drop(NO_FLOW);
      return;
    }
    if (this.takeUp(tier)) return;
    const isHandedOn = graph.tierHandsOn[tier] === 1;
    const scope = sessions.scopeOf(graph.tierService[tier], graph.tierPosition[tier]);
    const member = sessions.find(scope, packet.s0, packet.s1, packet.s2, packet.s3, state.now);
    // Where the client's source port was translated, nobody knows it any more: then a session is no help.
    const isTranslated =
      member >= 0 &&
      (graph.memberPlace[member] === PLACE_NO_ENGINE ||
        (graph.memberPlace[member] === PLACE_BESIDE_PEER && graph.tierReturns[tier] === 1));
    // Nor does a session say by how much numbers are shifted.
    const isShifted =
      member >= 0 && graph.memberPlace[member] === PLACE_HERE && graph.tierCookies[tier] !== COOKIES_NEVER;
    if (member >= 0 && !isTranslated && !isShifted && !isHandedOn && graph.isInTier(tier, member)) {
      const flow = this.opener.open(tier, member, null);
      if (flow >= 0) {
        this.start(flow);
        return;
      }
      if (this.isToBeHashed(tier, member)) {
        this.hashed.forward(tier, member);
        return;
      }
    }
    if (this.orphans.ask(offset) || this.goOnByHash(tier, chain)) return;
    // Who hands packets on keeps no end of the connection: where nobody knows it, any may take it.
    if (graph.tierHandsOn[tier] === 1) this.begin(port, tier, true);
    else this.orphans.giveUp(port);
  }

  /** Whether there is no room for a record of the packet at hand, and it can go to the member without one. */
  private isToBeHashed(tier: number, member: number): boolean {
    const { flows, graph } = this.state;
    return !flows.hasRoom && graph.tierHashes[tier] === 1 && this.hashed.reaches(tier, member);
  }

  /** The member of the flow that the packet at hand repeats or goes on with, where it is up; else -1. */
  private notedUp(tier: number): number {
    const { graph } = this.state;
    if (graph.tierHashes[tier] === 0) return -1;
    const member = this.hashed.noted(tier);
    if (member < 0 || !this.hashed.reaches(tier, member)) return -1;
    return this.health.isUp(graph.tierPool[tier], member) ? member : -1;
  }

  /** Goes on with a connection that had no record: with one, where there is room again. */
  private goOn(tier: number, member: number): void {
    this.opener.makeRoom(tier);
    if (this.state.flows.hasRoom && !this.hashed.isTaken(tier, member)) {
      const flow = this.opener.open(tier, member, null);
      if (flow >= 0) {
        this.start(flow);
        return;
      }
    }
    this.hashed.forward(tier, member);
  }

  /**
   * Goes on with a connection that nobody knows where a hash would have it: the engine that forwarded it without a
   * record may be gone. False where the service does not want that, or a VM owns the address.
   */
  private goOnByHash(tier: number, chain: ServiceChain): boolean {
    const { packet, graph } = this.state;
    if (graph.tierHashes[tier] === 0) return false;
    if (graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) < ANNOUNCED) return false;
    this.decision.isByHash = true;
    if (chain.balancer.process(packet, this.decision) !== PASS) return false;
    this.goOn(tier, this.decision.member);
    return true;
  }

  /** Whether packets pass by a tier that hands on: no member of it can be had, or the chosen one sent the packet itself. */
  private isToSkip(tier: number, verdict: Verdict, member: number): boolean {
    const { packet, graph } = this.state;
    if (verdict !== PASS)
      return graph.tierFailsOpen[tier] === 1 && this.decision.reason === NO_MEMBER && member < 0;
    return member >= 0 && graph.isAddressOf(member, packet);
  }

  /** Goes on with a connection that members handed on until now, where its next flow is known here. */
  private goOnWithout(offset: number): boolean {
    const { packet, flows, stage } = this.state;
    const found = flows.find(packet, offset);
    if (found < 0 || (found & 1) !== FORWARD) return false;
    flows.restage(found >> 1, stage);
    this.start(found >> 1);
    return true;
  }

  /** How many tiers behind the one of the service address a tier is. */
  private offsetOf(tier: number): number {
    const { packet, graph } = this.state;
    if (graph.tierIsChained[tier] === 0) return 0;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    return tier - graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
  }

  /** Goes on with the connection where its member is known from the peer that had it; false where it is not. */
  private takeUp(tier: number): boolean {
    const { packet, graph, now } = this.state;
    const member = this.replicas.find(packet, now);
    if (member < 0 || !graph.isInTier(tier, member)) return false;
    let flow = -1;
    // What peers keep are connections that the member's engine translates alone, whatever the service asks for now.
    const place = graph.memberPlace[member];
    if (place === PLACE_HERE) flow = this.opener.open(tier, member, null);
    else if (place === PLACE_BESIDE_PEER || this.bypasses.isWorthWaiting(member, now))
      flow = this.opener.openRemote(tier, member);
    if (flow < 0) {
      if (!this.isToBeHashed(tier, member)) return false;
      this.hashed.forward(tier, member);
      return true;
    }
    if (place === PLACE_HERE) this.splicer.resume(flow, this.replicas.shift);
    this.start(flow);
    return true;
  }

  private start(flow: number): void {
    const state = this.state;
    this.keep(flow);
    track(state.flows, state.connections, flow, FORWARD, state.packet, state.now);
    this.path.forward(flow);
  }

  /** Keeps the verdict with the flow: until the next graph, or for this packet only. */
  private keep(flow: number): void {
    const { flows, epoch } = this.state;
    const at = flow * STRIDE;
    flows.words[at + JUDGED] = epoch;
    if (this.decision.isMetered) flows.words[at + FLAGS] |= FLAG_METERED;
    else flows.words[at + FLAGS] &= ~FLAG_METERED;
  }

  private turnAway(port: number, verdict: Verdict): void {
    if (verdict === REJECT) this.refusals.refuse(port);
    this.state.drop(this.decision.reason);
  }

  private decide(tier: number, isNewFlow: boolean) {
    const decision = this.decision;
    decision.service = this.state.graph.tierService[tier];
    decision.tier = this.state.graph.tierPosition[tier];
    decision.isNewFlow = isNewFlow;
    decision.member = -1;
    decision.reason = NO_MEMBER;
    decision.rule = -1;
    decision.isMetered = false;
    decision.isByHash = false;
    return decision;
  }
}
