/**
 * What an engine of mode `mirror` does with a frame that comes in by `in`: it is a copy of what a member of this host
 * received or sent. Connections are counted in the flow table as of those that pass a member directly, and each one is
 * shown to the firewall of the service that it belongs to, or would belong to if clients came by the service's address.
 * Nothing is ever sent from here.
 */
import { destinationHigh, destinationLow, sourceHigh, sourceLow } from '../../packet/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import { dropIndex } from '../drops.ts';
import { end, track } from '../flow/flow-life.ts';
import {
  FORWARD,
  KIND,
  KIND_DIRECT,
  REVERSE,
  STATE,
  STATE_CLOSING,
  STATE_FREE,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import { MAC_LOCAL_MEMBER, macIndex, macKind } from './compiled-graph.ts';
import type { FlowOpener } from './flow-opener.ts';
import type { PathState } from './path-state.ts';
import { newDecision } from './service-chain.ts';

const FULL = dropIndex('flow-table-full');

export class Observer {
  private readonly state: PathState;
  private readonly opener: FlowOpener;
  private readonly decision = newDecision();

  constructor(state: PathState, opener: FlowOpener) {
    this.state = state;
    this.opener = opener;
  }

  /** Flows that this engine balanced before it came to observe: their packets do not pass it any more. */
  load(): void {
    const { flows, connections } = this.state;
    for (let flow = 0; flow < flows.highWater; flow++) {
      const at = flow * STRIDE;
      if (flows.words[at + STATE] !== STATE_FREE && flows.words[at + KIND] !== KIND_DIRECT) {
        end(flows, connections, flow);
      }
    }
  }

  /** Takes the packet at hand. */
  observe(): void {
    const { packet, graph } = this.state;
    const { protocol } = packet;
    if (packet.ipVersion === 0 || packet.malformed !== null || packet.l4 === 0) return;
    if (packet.fragmentOffset !== 0 || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)) return;
    const to = graph.macs.find(destinationHigh(packet), destinationLow(packet));
    const from = graph.macs.find(sourceHigh(packet), sourceLow(packet));
    // What one member sends to another is copied twice: it is the receiver's connection, and counted once.
    if (macKind(to) === MAC_LOCAL_MEMBER && this.track(macIndex(to), false)) return;
    if (macKind(from) === MAC_LOCAL_MEMBER) this.track(macIndex(from), true);
  }

  /** Whether the packet at hand belongs to a connection that clients make to the member. */
  private track(member: number, isFromMember: boolean): boolean {
    const state = this.state;
    const { packet, flows, connections, now } = state;
    const found = flows.find(packet);
    if (found >= 0) {
      const at = (found >> 1) * STRIDE;
      const isForward = (found & 1) === FORWARD;
      if (isForward === isFromMember) return false;
      const isAnew =
        isForward &&
        packet.protocol === PROTOCOL_TCP &&
        flows.words[at + STATE] === STATE_CLOSING &&
        (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
      if (!isAnew) {
        track(flows, connections, found >> 1, isForward ? FORWARD : REVERSE, packet, now);
        return true;
      }
      end(flows, connections, found >> 1);
    }
    const tier = this.tierOf(member, isFromMember);
    if (tier < 0) return false;
    if (packet.protocol === PROTOCOL_TCP) {
      if ((packet.tcpFlags & TCP_RST) !== 0) return true;
      // The last words of a connection that nobody saw are no connection: one in its middle shows by data.
      if ((packet.tcpFlags & TCP_SYN) === 0 && !this.carriesData()) return true;
      // A member that opens a connection from the port it serves on is a client there.
      if (isFromMember && (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return false;
    }
    const flow = this.opener.openDirect(member, isFromMember);
    if (flow < 0) {
      state.drop(FULL);
      return true;
    }
    state.newFlows++;
    flows.words[flow * STRIDE + TIER] = tier;
    // Only what the client sends can be shown to a firewall; of an answer that came first, what it answers is not known.
    if (!isFromMember) this.judge(tier, member);
    track(flows, connections, flow, isFromMember ? REVERSE : FORWARD, packet, now);
    return true;
  }

  private carriesData(): boolean {
    const { packet } = this.state;
    if ((packet.tcpFlags & TCP_FIN) !== 0) return false;
    return packet.end - packet.l4 > (packet.view.getUint8(packet.l4 + 12) >> 4) * 4;
  }

  /** The tier that the packet at hand belongs to, by the service's address or by the member's own and its pool's port; or -1. */
  private tierOf(member: number, isFromMember: boolean): number {
    const { packet, graph } = this.state;
    const { s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort, protocol } = packet;
    // Probes of engines that are in line are no connections of clients.
    const client = isFromMember
      ? graph.dataAddresses.find(d0, d1, d2, d3, 0, 0)
      : graph.dataAddresses.find(s0, s1, s2, s3, 0, 0);
    if (client >= 0) return -1;
    const tier = isFromMember
      ? graph.tiers.find(s0, s1, s2, s3, sourcePort, protocol)
      : graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
    if (tier >= 0) return graph.isInTier(tier, member) ? tier : -1;
    const own = isFromMember
      ? graph.memberPorts.find(s0, s1, s2, s3, sourcePort, protocol)
      : graph.memberPorts.find(d0, d1, d2, d3, destinationPort, protocol);
    if (own !== member) return -1;
    const port = isFromMember ? sourcePort : destinationPort;
    for (let one = 0; one < graph.tierMemberPort.length; one++) {
      if (graph.tierMemberPort[one] === port && graph.isInTier(one, member)) return one;
    }
    return -1;
  }

  /** Which verdict the firewall would have given: its rules count. */
  private judge(tier: number, member: number): void {
    const { packet, graph, chains } = this.state;
    const decision = this.decision;
    decision.service = graph.tierService[tier];
    decision.tier = graph.tierPosition[tier];
    decision.isNewFlow = true;
    decision.member = member;
    chains[graph.tierService[tier]].judge(packet, decision);
  }
}
