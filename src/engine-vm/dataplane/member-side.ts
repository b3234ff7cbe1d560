/**
 * The member's engine: packets to a service that a peer has balanced already (its MAC is the source), addressed by
 * MAC to a member beside this engine. They are never balanced again, so nothing can go in circles.
 */
import { destinationHigh, destinationLow, sourceHigh, sourceLow } from '../../packet/ethernet.ts';
import { PROTOCOL_TCP, TCP_ACK, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import { rewriteDestination } from '../../packet/rewrite.ts';
import { dropIndex } from '../drops.ts';
import { end, track } from '../flow/flow-life.ts';
import {
  FLAG_VIA_TUNNEL,
  FLAGS,
  FORWARD,
  KIND,
  KIND_FAR,
  KIND_LOCAL,
  KIND_THROUGH,
  MEMBER,
  STATE,
  STATE_CLOSING,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import { COOKIES_NEVER, MAC_LOCAL_MEMBER, MAC_SELF, macIndex, macKind } from './compiled-graph.ts';
import type { Direct } from './direct.ts';
import { type FlowOpener, refusal } from './flow-opener.ts';
import type { FlowPath } from './flow-path.ts';
import type { Hashed } from './hashed.ts';
import type { Orphans } from './orphans.ts';
import { type PathState, PORT_IN } from './path-state.ts';
import type { Replicas } from './replicas.ts';
import type { Splicer } from './splicer.ts';

const NOT_LOCAL = dropIndex('not-local');
const NOT_A_SERVICE = dropIndex('not-a-service');
const NO_MEMBER = dropIndex('no-member');
const PENDING = dropIndex('cookie-pending');

export class MemberSide {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly opener: FlowOpener;
  private readonly direct: Direct;
  private readonly splicer: Splicer;
  private readonly hashed: Hashed;
  private readonly replicas: Replicas;
  private readonly orphans: Orphans;

  constructor(
    state: PathState,
    path: FlowPath,
    opener: FlowOpener,
    direct: Direct,
    splicer: Splicer,
    hashed: Hashed,
    replicas: Replicas,
    orphans: Orphans,
  ) {
    this.state = state;
    this.path = path;
    this.opener = opener;
    this.direct = direct;
    this.splicer = splicer;
    this.hashed = hashed;
    this.replicas = replicas;
    this.orphans = orphans;
  }

  /** Takes the packet at hand, from a peer and to a service address; `found` is its flow, or -1. */
  receive(found: number): void {
    const state = this.state;
    const { packet, graph, flows, connections } = state;
    const words = flows.words;
    const destination = graph.macs.find(destinationHigh(packet), destinationLow(packet));
    const kind = macKind(destination);
    if (kind !== MAC_LOCAL_MEMBER) {
      // Only connections that we translate both ways are relayed to us by MAC.
      if (kind === MAC_SELF && found >= 0 && words[found * STRIDE + KIND] === KIND_FAR) {
        track(flows, connections, found, FORWARD, packet, state.now);
        this.path.forward(found);
      } else state.drop(NOT_LOCAL);
      return;
    }
    const member = macIndex(destination);
    const isTcp = packet.protocol === PROTOCOL_TCP;
    const isSyn = isTcp && (packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN;
    if (found >= 0) {
      const at = found * STRIDE;
      const isReused =
        words[at + STATE] === STATE_CLOSING && (isSyn || (isTcp && this.splicer.check(words[at + TIER])));
      const isHere = words[at + KIND] === KIND_LOCAL || words[at + KIND] === KIND_THROUGH;
      if (isHere && words[at + MEMBER] === member && !isReused) {
        if (state.isTunnelled) words[at + FLAGS] |= FLAG_VIA_TUNNEL;
        track(flows, connections, found, FORWARD, packet, state.now);
        this.path.forward(found);
        return;
      }
      // The MAC names the member: what we remember is of an earlier connection.
      end(flows, connections, found);
    }
    if (this.isOfPeerItself(member)) {
      if (!this.direct.takeFromClient(member)) state.send(PORT_IN);
      return;
    }
    const head = graph.tiers.find(
      packet.d0,
      packet.d1,
      packet.d2,
      packet.d3,
      packet.destinationPort,
      packet.protocol,
    );
    const tier = head + state.stage;
    if (head < 0) {
      state.drop(NOT_A_SERVICE);
      return;
    }
    if (isTcp && (packet.tcpFlags & TCP_RST) !== 0) {
      this.deliver(tier, member);
      return;
    }
    // A connection that was already running here before a restart is not a choice that the peer still waits to see.
    const peer = graph.macs.find(sourceHigh(packet), sourceLow(packet));
    const isProven = isTcp && this.splicer.check(tier);
    let shift = 0;
    // What goes on without a record was never begun by a cookie.
    const isHashed = graph.tierHashes[tier] === 1 && !flows.hasRoom;
    if (isTcp && !isSyn && !isProven && !isHashed && graph.tierCookies[tier] !== COOKIES_NEVER) {
      if (this.replicas.find(packet, state.now) === member) shift = this.replicas.shift;
      else if (!this.orphans.isUnknown()) {
        state.drop(PENDING);
        return;
      }
    }
    const viaPeer = isSyn || isProven || !isTcp ? graph.source.peers[macIndex(peer)].id : null;
    const flow = this.opener.open(tier, member, viaPeer);
    if (flow < 0) {
      if (!flows.hasRoom && !isProven && graph.tierHashes[tier] === 1) this.hashed.deliver(tier, member);
      else state.drop(refusal(flow));
      return;
    }
    if (state.isTunnelled) flows.words[flow * STRIDE + FLAGS] |= FLAG_VIA_TUNNEL;
    track(flows, connections, flow, FORWARD, packet, state.now);
    this.splicer.resume(flow, shift);
    if (isProven) this.splicer.begin(flow);
    else this.path.forward(flow);
  }

  /** A peer's health probe, or its own translated connection, to the member's own address. */
  private isOfPeerItself(member: number): boolean {
    const { packet, graph } = this.state;
    if (graph.dataAddresses.find(packet.s0, packet.s1, packet.s2, packet.s3, 0, 0) < 0) return false;
    const at = graph.memberAddressAt(member, packet.ipVersion);
    const own = graph.memberAddresses(packet.ipVersion);
    return (
      at >= 0 &&
      own[at] === packet.d0 &&
      own[at + 1] === packet.d1 &&
      own[at + 2] === packet.d2 &&
      own[at + 3] === packet.d3
    );
  }

  /** Translates and delivers without making a flow: the end of a connection that we do not know. */
  private deliver(tier: number, member: number): void {
    const { packet, graph } = this.state;
    if (graph.tierIsDsr[tier] === 1 || graph.tierHandsOn[tier] === 1) {
      this.state.send(PORT_IN);
      return;
    }
    const at = graph.memberAddressAt(member, packet.ipVersion);
    if (at < 0) {
      this.state.drop(NO_MEMBER);
      return;
    }
    const own = graph.memberAddresses(packet.ipVersion);
    rewriteDestination(packet, own[at], own[at + 1], own[at + 2], own[at + 3], graph.tierMemberPort[tier]);
    this.state.send(PORT_IN);
  }
}
