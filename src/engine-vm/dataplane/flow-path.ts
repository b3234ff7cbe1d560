/**
 * What is done with a packet of a flow: translation in place, MACs, the port to leave by; and what follows is left to
 * the kernel where it can be. flow-opener.ts begins flows. See docs/path-of-a-packet.md for the four kinds of flow.
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
import {
  CLIENT,
  CLIENT_MAC_HIGH,
  CLIENT_MAC_LOW,
  CLIENT_SEEN,
  FLAG_METERED,
  FLAG_SPLICED,
  FLAG_SPLICING,
  FLAG_VIA_PEER,
  FLAG_VIA_TUNNEL,
  FLAGS,
  FORWARD,
  KIND,
  KIND_FAR,
  KIND_LOCAL,
  KIND_PROXIED,
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
  STATE_ESTABLISHED,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import type { Bridge } from './bridge.ts';
import { PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import type { Fragments } from './fragments.ts';
import type { Gateways } from './gateways.ts';
import { type PathState, PORT_IN, PORT_OUT, PORT_SELF } from './path-state.ts';
import type { Tunnel } from './tunnel.ts';

/** Outer headers of a tunnel at their longest, and those of IPv4 or IPv6 and TCP inside. */
export const TUNNEL_AND_HEADERS = [VXLAN_OVERHEAD.ipv6 + 40, VXLAN_OVERHEAD.ipv6 + 60];

const PENDING = dropIndex('cookie-pending');

/** Sends packets along their flows, either way. */
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
    if (kind === KIND_PROXIED) {
      this.noteClient(flow);
      this.giveToStack();
      this.entrust(flow, FORWARD, PORT_SELF);
      return;
    }
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
          : this.sendOn(member);
      // What waits for its engine, goes by way of a peer or had to be split is looked at each time.
      if (relay < 0 && isWhole && graph.memberPlace[member] !== PLACE_NO_ENGINE)
        this.entrust(flow, FORWARD, PORT_OUT, graph.memberPeer[member]);
      return;
    }
    this.translate(flow);
  }

  /** Gives the packet at hand, as it is, to the engine's own stack, whose MAC is that of `out`. */
  giveToStack(): void {
    const { packet, graph } = this.state;
    writeDestination(packet, graph.macHigh, graph.macLow);
    this.state.send(PORT_SELF);
  }

  /** Sends the packet at hand, which the engine's own stack sent for a proxied flow, to the MAC of its client. */
  leaveStack(flow: number): void {
    const { packet, flows } = this.state;
    const at = flow * STRIDE;
    writeDestination(packet, flows.words[at + CLIENT_MAC_HIGH], flows.words[at + CLIENT_MAC_LOW]);
    const egress = this.bridge.portOf(destinationHigh(packet), destinationLow(packet));
    this.state.send(egress);
    this.entrust(flow, REVERSE, egress);
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
      if ((words[at + FLAGS] & FLAG_VIA_PEER) === 0 && state.ingress !== PORT_SELF) this.noteClient(flow);
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

  /** Notes the MAC that the packet at hand came from, to which its answers go: the kernel has to hear of another one. */
  private noteClient(flow: number): void {
    const { packet, flows } = this.state;
    const { words } = flows;
    const at = flow * STRIDE;
    const high = sourceHigh(packet);
    const low = sourceLow(packet);
    if (words[at + CLIENT_MAC_LOW] === low && words[at + CLIENT_MAC_HIGH] === high) return;
    words[at + CLIENT_MAC_HIGH] = high;
    words[at + CLIENT_MAC_LOW] = low;
    flows.recall(flow, REVERSE);
  }

  private shiftOf(flow: number): number {
    return this.state.flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA];
  }

  /** Sends the packet at hand, as it is, to the MAC of a member elsewhere. True as `handOver`. */
  sendOn(member: number): boolean {
    const { graph } = this.state;
    return this.handOver(graph.memberPeer[member], graph.memberMacHigh[member], graph.memberMacLow[member]);
  }

  /**
   * Sends the packet at hand, as it is, to an engine by MAC: `peer` (-1 where the link leads there) is the engine, the
   * MAC its own or that of a member beside it. True where it left as it was, and others like it will.
   */
  private handOver(peer: number, high: number, low: number): boolean {
    const { packet, graph } = this.state;
    if (peer >= 0 && graph.peerTunnel[peer] !== 0) return this.tunnel.carry(peer, high, low);
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
    if (flows.slots === null || tap !== null) return;
    const isTcp = packet.protocol === PROTOCOL_TCP;
    if (!isTcp && packet.protocol !== PROTOCOL_UDP) return;
    const at = flow * STRIDE;
    const kind = flows.words[at + KIND];
    // Between the stack and a client; what else the stack sends or gets is seldom.
    if (
      kind === KIND_PROXIED
        ? ingress === egress && ingress === PORT_SELF
        : ingress > PORT_IN || egress > PORT_IN
    )
      return;
    // A slot has no room for what numbers are shifted by.
    if ((flows.words[at + FLAGS] & (FLAG_SPLICED | FLAG_SPLICING)) !== 0 && kind !== KIND_REMOTE) return;
    // A datagram from the other side proves that somebody is there; of a flow to a peer only a second one does.
    // A limit of packets or bytes holds for each one that clients send.
    if (direction === FORWARD && (flows.words[at + FLAGS] & FLAG_METERED) !== 0) return;
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
}
