/**
 * What is done with a packet whose flow is known: translation in place, MACs, and the port to leave by; and how a
 * flow is opened once its member is chosen. See docs/path-of-a-packet.md for the four kinds of flow.
 */
import {
  destinationHigh,
  destinationLow,
  sourceHigh,
  sourceLow,
  writeDestination,
  writeSource,
} from '../../packet/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, TCP_FIN, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import { rewriteDestination, rewriteSource } from '../../packet/rewrite.ts';
import { lowerMss } from '../../packet/tcp.ts';
import { shiftAcknowledgement, shiftSequence } from '../../packet/tcp-splice.ts';
import { VXLAN_OVERHEAD } from '../../packet/vxlan.ts';
import { dropIndex } from '../drops.ts';
import { end } from '../flow/flow-life.ts';
import {
  CLIENT,
  CLIENT_MAC_HIGH,
  CLIENT_MAC_LOW,
  CLIENT_SEEN,
  FLAG_COUNTED_LOCAL,
  FLAG_COUNTED_SENT,
  FLAG_METERED,
  FLAG_SEEN_FORWARD,
  FLAG_SPLICED,
  FLAG_SPLICING,
  FLAG_VIA_PEER,
  FLAG_VIA_TUNNEL,
  FLAGS,
  FORWARD,
  KIND,
  KIND_DIRECT,
  KIND_FAR,
  KIND_LOCAL,
  KIND_REMOTE,
  KIND_THROUGH,
  MEMBER,
  MEMBER_PORTS,
  MEMBER_SIDE,
  PORTS,
  RELAY,
  REVERSE,
  SERVICE,
  SPLICE_DELTA,
  SPLICE_STRIDE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import type { Bridge } from './bridge.ts';
import { PLACE_BESIDE_PEER, PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import type { Fragments } from './fragments.ts';
import type { Gateways } from './gateways.ts';
import { ANSWERS_DIRECT, type PathState, PORT_IN, PORT_OUT, PORT_SELF } from './path-state.ts';
import { FIRST_PORT, LAST_PORT, PORT_TRIES } from './source-ports.ts';
import type { Tunnel } from './tunnel.ts';

/** Outer headers of a tunnel at their longest, and those of IPv4 or IPv6 and TCP inside. */
export const TUNNEL_AND_HEADERS = [VXLAN_OVERHEAD.ipv6 + 40, VXLAN_OVERHEAD.ipv6 + 60];

/** How long another flow without a record keeps a client port to itself after its last packet. */
const NOTED_MS = 60_000;

const NO_MEMBER = dropIndex('no-member');
const FULL = dropIndex('flow-table-full');
const PENDING = dropIndex('cookie-pending');
const NO_PORTS = dropIndex('translate-ports');

export class FlowPath {
  private readonly state: PathState;
  private readonly bridge: Bridge;
  private readonly fragments: Fragments;
  private readonly gateways: Gateways;
  private readonly tunnel: Tunnel;

  constructor(state: PathState, bridge: Bridge, fragments: Fragments, gateways: Gateways, tunnel: Tunnel) {
    this.state = state;
    this.bridge = bridge;
    this.fragments = fragments;
    this.gateways = gateways;
    this.tunnel = tunnel;
  }

  /** Sends the packet at hand, which its client sent, on to the flow's member. */
  forward(flow: number): void {
    const state = this.state;
    const { packet, graph } = state;
    const words = state.flows.words;
    const at = flow * STRIDE;
    const kind = words[at + KIND];
    const member = words[at + MEMBER];
    if (packet.isFragment) this.fragments.remember(flow * 2);
    if (kind !== KIND_REMOTE && (words[at + FLAGS] & (FLAG_SPLICED | FLAG_SPLICING)) !== 0) {
      if ((words[at + FLAGS] & FLAG_SPLICING) !== 0) {
        state.drop(PENDING);
        return;
      }
      if (packet.l4 !== 0) shiftAcknowledgement(packet, -this.shiftOf(flow));
    }
    if (kind === KIND_THROUGH && graph.memberPlace[member] === PLACE_HERE) {
      writeDestination(packet, graph.memberMacHigh[member], graph.memberMacLow[member]);
      state.send(PORT_IN);
      this.entrust(flow, FORWARD, PORT_IN);
      return;
    }
    if (kind === KIND_REMOTE || kind === KIND_THROUGH) {
      const relay = words[at + RELAY];
      const isWhole =
        relay >= 0
          ? this.handOver(relay, graph.peerMacHigh[relay], graph.peerMacLow[relay])
          : this.handOver(graph.memberPeer[member], graph.memberMacHigh[member], graph.memberMacLow[member]);
      // What waits for its engine, goes by way of a peer or had to be split is looked at each time.
      if (relay < 0 && isWhole && graph.memberPlace[member] !== PLACE_NO_ENGINE)
        this.entrust(flow, FORWARD, PORT_OUT, graph.memberPeer[member]);
      return;
    }
    this.translate(flow);
  }

  /** Sends the packet at hand, as its client sends it to the service, to the member of a flow that is translated here. */
  translate(flow: number): void {
    const state = this.state;
    const { packet, graph } = state;
    const words = state.flows.words;
    const at = flow * STRIDE;
    const kind = words[at + KIND];
    const member = words[at + MEMBER];
    if (kind === KIND_FAR) {
      // A relaying peer's MAC is not the client's, and neither is that of a packet that we made in the client's name.
      if ((words[at + FLAGS] & FLAG_VIA_PEER) === 0 && state.ingress !== PORT_SELF) {
        words[at + CLIENT_MAC_HIGH] = sourceHigh(packet);
        words[at + CLIENT_MAC_LOW] = sourceLow(packet);
      }
      writeSource(packet, graph.macHigh, graph.macLow);
    }
    const m = at + MEMBER_SIDE;
    const ports = words[at + MEMBER_PORTS];
    rewriteDestination(packet, words[m], words[m + 1], words[m + 2], words[m + 3], ports >>> 16);
    const c = at + CLIENT_SEEN;
    rewriteSource(packet, words[c], words[c + 1], words[c + 2], words[c + 3], ports & 0xffff);
    if (!this.gateways.addressTo(member)) return;
    const egress = graph.memberPlace[member] === PLACE_HERE ? PORT_IN : PORT_OUT;
    state.send(egress);
    if ((words[at + FLAGS] & FLAG_VIA_PEER) === 0 || kind === KIND_LOCAL) this.entrust(flow, FORWARD, egress);
  }

  private shiftOf(flow: number): number {
    return this.state.flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA];
  }

  /**
   * Sends the packet at hand, as it is, to an engine by MAC: `peer` (-1 where the link leads there) is the engine, the
   * MAC its own or that of a member beside it. True where it left as it was, and others like it will.
   */
  handOver(peer: number, high: number, low: number): boolean {
    const { packet, graph } = this.state;
    if (peer >= 0 && graph.peerTunnel[peer] !== 0) {
      return this.tunnel.carry(peer, high, low);
    }
    writeDestination(packet, high, low);
    writeSource(packet, graph.macHigh, graph.macLow);
    this.state.send(PORT_OUT);
    return true;
  }

  /** Sends the packet at hand, which the flow's member sent, back to the client. */
  reverse(flow: number): void {
    const state = this.state;
    const { packet, graph } = state;
    const words = state.flows.words;
    const at = flow * STRIDE;
    if (packet.isFragment) this.fragments.remember(flow * 2 + 1);
    if ((words[at + FLAGS] & FLAG_SPLICED) !== 0 && packet.l4 !== 0)
      shiftSequence(packet, this.shiftOf(flow));
    const s = at + SERVICE;
    const ports = words[at + PORTS];
    rewriteSource(packet, words[s], words[s + 1], words[s + 2], words[s + 3], ports & 0xffff);
    const c = at + CLIENT;
    rewriteDestination(packet, words[c], words[c + 1], words[c + 2], words[c + 3], ports >>> 16);
    if (words[at + KIND] === KIND_FAR) {
      writeDestination(packet, words[at + CLIENT_MAC_HIGH], words[at + CLIENT_MAC_LOW]);
      writeSource(packet, graph.macHigh, graph.macLow);
    }
    // What the client sends will have to fit into the tunnel.
    if ((words[at + FLAGS] & FLAG_VIA_TUNNEL) !== 0 && (packet.tcpFlags & TCP_SYN) !== 0)
      lowerMss(packet, graph.siteMtu - TUNNEL_AND_HEADERS[packet.ipVersion === 4 ? 0 : 1]);
    const egress = this.bridge.portOf(destinationHigh(packet), destinationLow(packet));
    state.send(egress);
    this.entrust(flow, REVERSE, egress);
  }

  /**
   * Leaves the direction to the kernel, where the packet at hand, which has just been sent, stands for those that
   * follow: no fragment, no options, nothing that moves the connection on. `peer`: to whom it went, -1 where to nobody.
   */
  private entrust(flow: number, direction: number, egress: number, peer = -1): void {
    const { flows, graph, packet, ingress, macs, tap, tunnelPeer } = this.state;
    if (flows.slots === null || tap !== null || ingress > PORT_IN || egress > PORT_IN) return;
    const isTcp = packet.protocol === PROTOCOL_TCP;
    if (!isTcp && packet.protocol !== PROTOCOL_UDP) return;
    const at = flow * STRIDE;
    // A slot has no room for what numbers are shifted by.
    if (
      (flows.words[at + FLAGS] & (FLAG_SPLICED | FLAG_SPLICING)) !== 0 &&
      flows.words[at + KIND] !== KIND_REMOTE
    )
      return;
    // A datagram from the other side proves that somebody is there; of a flow to a peer only a second one does.
    // A limit of packets or bytes holds for each one that clients send.
    if (direction === FORWARD && (flows.words[at + FLAGS] & FLAG_METERED) !== 0) return;
    const kind = flows.words[at + KIND];
    const needsProof = isTcp || kind === KIND_REMOTE || kind === KIND_THROUGH;
    if (needsProof && flows.words[at + STATE] !== STATE_ESTABLISHED) return;
    if (isTcp && (packet.tcpFlags & (TCP_SYN | TCP_FIN | TCP_RST)) !== 0) return;
    const header = packet.ipVersion === 4 ? 20 : 40;
    if (packet.isFragment || packet.l3 !== packet.start + 14 || packet.l4 !== packet.l3 + header) return;
    const tier = flows.words[at + TIER];
    const isChained = tier >= 0 && graph.tierIsChained[tier] === 1;
    if (isChained && direction === FORWARD && flows.isTwinEntrusted(flow)) return;
    const isInto = peer >= 0 && graph.peerTunnel[peer] !== 0;
    if (!isInto && tunnelPeer < 0) {
      flows.entrust(flow, direction, macs, packet, ingress, egress);
      return;
    }
    // Which tiers have seen a packet out of a tunnel is not for the program to say.
    if (isChained || (isInto && tunnelPeer >= 0)) return;
    const tunnel = this.tunnel.forSlot(isInto ? peer : tunnelPeer, isInto);
    if (tunnel !== null) flows.entrust(flow, direction, macs, packet, ingress, egress, tunnel);
  }

  /**
   * Opens the flow that the packet at hand begins, to a member of a tier, and counts it. `viaPeer`: the engine that
   * chose the member, null where this one did. Returns the flow, or -1 - the drop - 1 where it cannot be: a
   * reason of drops.ts, for the caller to count.
   */
  open(tier: number, member: number, viaPeer: string | null): number {
    const state = this.state;
    const { packet, graph, flows, connections } = state;
    const place = graph.memberPlace[member];
    if (graph.tierHandsOn[tier] === 1) return this.openThrough(tier, member, viaPeer);
    const isDsr = graph.tierIsDsr[tier] === 1;
    if (isDsr && place === PLACE_NO_ENGINE) return this.openToMac(tier, member);
    const memberAt = isDsr ? 0 : graph.memberAddressAt(member, packet.ipVersion);
    if (memberAt < 0) return refused(NO_MEMBER);
    if (isDsr) this.keepDestination();
    const addresses = isDsr ? this.destination : graph.memberAddresses(packet.ipVersion);
    const port = isDsr ? packet.destinationPort : graph.tierMemberPort[tier];
    if (place === PLACE_BESIDE_PEER && viaPeer === null && graph.tierReturns[tier] === 0) {
      const flow = this.add(KIND_REMOTE, member, tier);
      return flow < 0 ? refused(FULL) : flow;
    }
    const isItself =
      packet.s3 === addresses[memberAt + 3] &&
      packet.s2 === addresses[memberAt + 2] &&
      packet.s1 === addresses[memberAt + 1] &&
      packet.s0 === addresses[memberAt];
    // Nobody else bears the service address.
    if (isDsr && isItself) return refused(NO_MEMBER);
    // Where answers return, they return to the member that handed the packet on: its MAC is the client's for us.
    const isReturned = state.stage > 0 && state.ingress === PORT_IN && graph.tierReturns[tier] === 1;
    const isFar = place !== PLACE_HERE || isItself || isReturned;
    // A port is found before the flow is made: a failed choice leaves nothing behind.
    const clientPort = isFar
      ? this.findFarPort(addresses, memberAt, port)
      : this.findClientPort(addresses, memberAt, port);
    if (clientPort < 0) return refused(NO_PORTS);
    const flow = this.add(isFar ? KIND_FAR : KIND_LOCAL, member, tier);
    if (flow < 0) return refused(FULL);
    const words = flows.words;
    const at = flow * STRIDE;
    for (let i = 0; i < 4; i++) words[at + MEMBER_SIDE + i] = addresses[memberAt + i];
    if (isFar) {
      for (let i = 0; i < 4; i++) words[at + CLIENT_SEEN + i] = graph.ownAddresses[this.farAddress * 4 + i];
      words[at + CLIENT_MAC_HIGH] = sourceHigh(packet);
      words[at + CLIENT_MAC_LOW] = sourceLow(packet);
    } else {
      for (let i = 0; i < 4; i++) words[at + CLIENT_SEEN + i] = words[at + CLIENT + i];
    }
    words[at + MEMBER_PORTS] = (port << 16) | clientPort;
    flows.fileReverse(flow);
    // A member beside a peer is counted there.
    if (place === PLACE_HERE) {
      connections.opened(member, viaPeer);
      words[at + FLAGS] |= FLAG_COUNTED_LOCAL;
    } else if (place === PLACE_NO_ENGINE) {
      connections.openedSent(member);
      words[at + FLAGS] |= FLAG_COUNTED_SENT;
    }
    return flow;
  }

  /** Opens a flow to a member that needs no translation and has no engine beside it: told apart by MAC alone. */
  private openToMac(tier: number, member: number): number {
    const { flows, connections, graph, packet } = this.state;
    // A MAC leads nowhere across a router.
    if (graph.isRouted(member, packet.ipVersion)) return refused(NO_MEMBER);
    const flow = this.add(KIND_REMOTE, member, tier);
    if (flow < 0) return refused(FULL);
    connections.openedSent(member);
    flows.words[flow * STRIDE + FLAGS] |= FLAG_COUNTED_SENT;
    return flow;
  }

  /** Opens a flow to a member that hands on what it gets. It needs an engine beside it, which knows what that is. */
  private openThrough(tier: number, member: number, viaPeer: string | null): number {
    const { flows, connections, graph } = this.state;
    const place = graph.memberPlace[member];
    if (place === PLACE_NO_ENGINE) return refused(NO_MEMBER);
    const flow = this.add(KIND_THROUGH, member, tier);
    if (flow < 0) return refused(FULL);
    if (place === PLACE_HERE) {
      connections.opened(member, viaPeer);
      flows.words[flow * STRIDE + FLAGS] |= FLAG_COUNTED_LOCAL;
    }
    return flow;
  }

  /** The service address of the packet at hand, in place of a member's. */
  private keepDestination(): void {
    const { packet } = this.state;
    this.destination[0] = packet.d0;
    this.destination[1] = packet.d1;
    this.destination[2] = packet.d2;
    this.destination[3] = packet.d3;
  }

  /**
   * Takes up the connection that the packet at hand goes on with, whose member's engine knows it already, or waits for
   * it where that engine is bypassed: it is sent on to the member's MAC. Returns the flow, or -1 where there is no room.
   */
  openRemote(tier: number, member: number): number {
    return this.add(KIND_REMOTE, member, tier);
  }

  /**
   * Begins to watch a connection straight to a member beside this engine. `isFromMember`: the packet at hand is the
   * member's. `viaPeer`: the engine that chose the member and translates the client's address, null where none does.
   * Returns the flow, or -1 where there is no room: the packet passes all the same.
   */
  openDirect(member: number, isFromMember: boolean, viaPeer: string | null = null): number {
    const state = this.state;
    const { packet, flows } = state;
    const port = isFromMember ? packet.sourcePort : packet.destinationPort;
    const addresses = state.graph.memberAddresses(packet.ipVersion);
    const memberAt = state.graph.memberAddressAt(member, packet.ipVersion);
    let clientPort = isFromMember ? packet.destinationPort : packet.sourcePort;
    if (!isFromMember) {
      clientPort = this.findClientPort(addresses, memberAt, port);
      if (clientPort < 0) return -1;
    }
    this.makeRoom(-1);
    if (!flows.hasRoom) return -1;
    if (isFromMember) turn(state);
    // What the member sends may belong to a client whose packets we balance to another one: that flow stays.
    const flow = isFromMember && flows.find(packet) >= 0 ? -1 : flows.add(packet, KIND_DIRECT, state.now);
    if (isFromMember) turn(state);
    if (flow < 0) return -1;
    const words = flows.words;
    const at = flow * STRIDE;
    for (let i = 0; i < 4; i++) {
      words[at + MEMBER_SIDE + i] = words[at + SERVICE + i];
      words[at + CLIENT_SEEN + i] = words[at + CLIENT + i];
    }
    words[at + MEMBER_PORTS] = (port << 16) | clientPort;
    words[at + MEMBER] = member;
    words[at + FLAGS] |= FLAG_COUNTED_LOCAL;
    flows.fileReverse(flow);
    state.connections.opened(member, viaPeer);
    return flow;
  }

  /** Before a flow to a tier (-1: past the services) begins: evicts an old half-open one where they are too many. */
  makeRoom(tier: number): void {
    const { flows, connections } = this.state;
    const victim = flows.evictable(this.groupOf(tier));
    if (victim < 0) return;
    this.state.evictedFlows++;
    this.state.evictedOf[flows.groupOf(victim)]++;
    end(flows, connections, victim);
  }

  /** What half-open flows to a tier are counted as: 0 is of no service. */
  groupOf(tier: number): number {
    return tier < 0 ? 0 : this.state.graph.tierService[tier] + 1;
  }

  private farAddress = 0;
  private readonly destination = new Int32Array(4);

  private add(kind: number, member: number, tier: number): number {
    const state = this.state;
    const { packet, graph } = state;
    this.makeRoom(tier);
    const flow = state.flows.add(state.packet, kind, state.now, this.groupOf(tier));
    if (flow < 0) return -1;
    const at = flow * STRIDE;
    state.flows.words[at + MEMBER] = member;
    state.flows.words[at + TIER] = tier;
    if (graph.tierIsChained[tier] === 1) {
      const { d0, d1, d2, d3, destinationPort, protocol } = packet;
      const head = graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
      state.flows.setStage(flow, state.stage, tier - head);
    }
    state.newFlows++;
    return flow;
  }

  /**
   * The client port that a member shall see: the client's own, or another where the member already speaks with that
   * one in a live flow (the same client port through two addresses). -1 where none is free.
   */
  private findClientPort(addresses: Int32Array, memberAt: number, port: number): number {
    const { packet, flows, connections } = this.state;
    const { s0, s1, s2, s3 } = packet;
    const found = this.findReverse(addresses, memberAt, port, s0, s1, s2, s3, packet.sourcePort);
    if (found < 0 && !this.isNoted(addresses, memberAt, port, packet.sourcePort)) return packet.sourcePort;
    const at = (found >> 1) * STRIDE;
    const isGuess =
      found >= 0 &&
      flows.words[at + KIND] === KIND_DIRECT &&
      (flows.words[at + FLAGS] & FLAG_SEEN_FORWARD) === 0;
    if (found >= 0 && (flows.words[at + STATE] === STATE_CLOSING || isGuess)) {
      end(flows, connections, found >> 1);
      return packet.sourcePort;
    }
    let candidate = this.randomPort();
    for (let tries = 0; tries < PORT_TRIES; tries++) {
      const isFree =
        this.findReverse(addresses, memberAt, port, s0, s1, s2, s3, candidate) < 0 &&
        !this.isNoted(addresses, memberAt, port, candidate);
      if (isFree) return candidate;
      candidate = candidate < LAST_PORT ? candidate + 1 : FIRST_PORT;
    }
    return -1;
  }

  /** Whether the member's answers to the client of the packet at hand are those of another flow, recorded or noted. */
  isAnswered(addresses: Int32Array, memberAt: number, port: number): boolean {
    const { s0, s1, s2, s3, sourcePort } = this.state.packet;
    const found = this.findReverse(addresses, memberAt, port, s0, s1, s2, s3, sourcePort);
    return found >= 0 || this.isNoted(addresses, memberAt, port, sourcePort);
  }

  /** Whether a flow without a record, another than that of the packet at hand, has the answers of the member. */
  private isNoted(addresses: Int32Array, memberAt: number, port: number, clientPort: number): boolean {
    const { answers, packet, graph, now } = this.state;
    if (answers === null) return false;
    const ports = (port << 16) | clientPort;
    const value = answers.atAnswer(packet, addresses, memberAt, ports).get(now, NOTED_MS, false);
    if (value < 0) return false;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    const own = graph.hashed.indexOf(d0, d1, d2, d3, destinationPort, protocol);
    return value === ANSWERS_DIRECT
      ? own >= 0
      : own < 0 || (value - 1) >> 1 !== own || clientPort !== packet.sourcePort;
  }

  /** A free port of an own address of the packet's family, which `farAddress` then names; -1 where there is none. */
  private findFarPort(addresses: Int32Array, memberAt: number, port: number): number {
    const { graph, packet } = this.state;
    const own = graph.ownAddresses;
    for (let address = 0; address < graph.ownAddressCount; address++) {
      const o = address * 4;
      const isIpv4 = own[o] === 0 && own[o + 1] === 0 && own[o + 2] === 0xffff;
      if (isIpv4 !== (packet.ipVersion === 4)) continue;
      let candidate = this.randomPort();
      for (let tries = 0; tries < PORT_TRIES; tries++) {
        const found = this.findReverse(
          addresses,
          memberAt,
          port,
          own[o],
          own[o + 1],
          own[o + 2],
          own[o + 3],
          candidate,
        );
        if (found < 0) {
          this.farAddress = address;
          return candidate;
        }
        candidate = candidate < LAST_PORT ? candidate + 1 : FIRST_PORT;
      }
    }
    return -1;
  }

  private findReverse(
    addresses: Int32Array,
    memberAt: number,
    port: number,
    c0: number,
    c1: number,
    c2: number,
    c3: number,
    clientPort: number,
  ): number {
    return this.state.flows.findKey(
      this.state.packet.protocol,
      addresses[memberAt],
      addresses[memberAt + 1],
      addresses[memberAt + 2],
      addresses[memberAt + 3],
      c0,
      c1,
      c2,
      c3,
      (port << 16) | clientPort,
    );
  }

  private randomPort(): number {
    return FIRST_PORT + Math.floor(this.state.random() * (LAST_PORT - FIRST_PORT + 1));
  }
}

/** The drop reason behind a refusal of `open`. */
export function refusal(result: number): number {
  return -result - 1;
}

function refused(reason: number): number {
  return -reason - 1;
}

/** Swaps the two ends of the packet at hand in its fields (not in its bytes): the key of the other direction. */
function turn(state: PathState): void {
  const packet = state.packet;
  const { s0, s1, s2, s3, sourcePort } = packet;
  packet.s0 = packet.d0;
  packet.s1 = packet.d1;
  packet.s2 = packet.d2;
  packet.s3 = packet.d3;
  packet.sourcePort = packet.destinationPort;
  packet.d0 = s0;
  packet.d1 = s1;
  packet.d2 = s2;
  packet.d3 = s3;
  packet.destinationPort = sourcePort;
}
