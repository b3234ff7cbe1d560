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
} from '../flow/flow-table.ts';
import type { Bypasses } from './bypasses.ts';
import { PLACE_BESIDE_PEER, PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import { type FlowPath, refusal } from './flow-path.ts';
import type { Orphans } from './orphans.ts';
import type { PathState } from './path-state.ts';
import type { Refusals } from './refusals.ts';
import type { Replicas } from './replicas.ts';
import { newDecision, type ServiceChain } from './service-chain.ts';
import type { Splicer } from './splicer.ts';

const NO_MEMBER = dropIndex('no-member');
const NO_FLOW = dropIndex('no-flow');
const FULL = dropIndex('flow-table-full');
const LIMITED = dropIndex('firewall-limit');

export class Entry {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly refusals: Refusals;
  private readonly orphans: Orphans;
  private readonly replicas: Replicas;
  private readonly bypasses: Bypasses;
  private readonly splicer: Splicer;
  private readonly decision = newDecision();

  constructor(
    state: PathState,
    path: FlowPath,
    refusals: Refusals,
    orphans: Orphans,
    replicas: Replicas,
    bypasses: Bypasses,
    splicer: Splicer,
  ) {
    this.state = state;
    this.path = path;
    this.refusals = refusals;
    this.orphans = orphans;
    this.replicas = replicas;
    this.bypasses = bypasses;
    this.splicer = splicer;
  }

  /** Takes the packet at hand, to a service and of no known flow. */
  begin(port: number, tier: number): void {
    const state = this.state;
    const { packet } = state;
    const chain = state.chains[state.graph.tierService[tier]];
    this.decide(tier, true);
    if (
      packet.protocol === PROTOCOL_TCP &&
      (packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) !== TCP_SYN
    ) {
      this.resume(port, tier, chain);
      return;
    }
    if (packet.protocol === PROTOCOL_TCP && this.splicer.isWanted(tier)) {
      this.answer(port, tier, chain);
      return;
    }
    const flow = this.open(port, tier, chain);
    if (flow >= 0) this.start(flow);
  }

  /** Opens the flow that the packet at hand begins, to the member that the chain chooses; -1 where it is dropped. */
  private open(port: number, tier: number, chain: ServiceChain): number {
    const { state, decision } = this;
    const { graph, packet } = state;
    this.path.makeRoom(tier);
    if (!state.flows.hasRoom) {
      state.drop(FULL);
      return -1;
    }
    const verdict = chain.run(packet, decision);
    if (verdict !== PASS) {
      this.turnAway(port, verdict);
      return -1;
    }
    const member = decision.member;
    if (member < 0) {
      state.drop(NO_MEMBER);
      return -1;
    }
    const flow = this.path.open(tier, member, null);
    if (flow < 0) {
      state.drop(refusal(flow));
      return -1;
    }
    if (graph.memberPlace[member] === PLACE_BESIDE_PEER) state.connections.chose(member);
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
    state.provenOf[graph.tierService[tier] + 1]++;
    const flow = this.open(port, tier, chain);
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
    if ((packet.tcpFlags & TCP_RST) !== 0) {
      state.drop(NO_FLOW);
      return;
    }
    if (this.splicer.check(tier)) {
      this.redeem(port, tier, chain);
      return;
    }
    this.decision.isNewFlow = false;
    const verdict = chain.judge(packet, this.decision);
    if (verdict !== PASS) {
      this.turnAway(port, verdict);
      return;
    }
    if (this.takeUp(tier)) return;
    const scope = sessions.scopeOf(graph.tierService[tier], graph.tierPosition[tier]);
    const member = sessions.find(scope, packet.s0, packet.s1, packet.s2, packet.s3, state.now);
    // Where the client's source port was translated, nobody knows it any more: then a session is no help.
    const isTranslated =
      member >= 0 &&
      (graph.memberPlace[member] === PLACE_NO_ENGINE ||
        (graph.memberPlace[member] === PLACE_BESIDE_PEER && graph.tierReturns[tier] === 1));
    if (member >= 0 && !isTranslated && graph.isInTier(tier, member)) {
      const flow = this.path.open(tier, member, null);
      if (flow >= 0) {
        this.start(flow);
        return;
      }
    }
    this.orphans.ask(port);
  }

  /** Goes on with the connection where its member is known from the peer that had it; false where it is not. */
  private takeUp(tier: number): boolean {
    const { packet, graph, now } = this.state;
    const member = this.replicas.find(packet, now);
    if (member < 0 || !graph.isInTier(tier, member)) return false;
    let flow = -1;
    // What peers keep are connections that the member's engine translates alone, whatever the service asks for now.
    const place = graph.memberPlace[member];
    if (place === PLACE_HERE) flow = this.path.open(tier, member, null);
    else if (place === PLACE_BESIDE_PEER || this.bypasses.isWorthWaiting(member, now))
      flow = this.path.openRemote(tier, member);
    if (flow < 0) return false;
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
    return decision;
  }
}
