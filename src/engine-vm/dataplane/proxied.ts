/**
 * Connections that end in this engine's own stack, where a proxy speaks HTTP with their clients. Packets of clients go
 * there by MAC alone; what the stack answers bears a MAC that leads nowhere, for the way back is that of the flow: the
 * stack needs neither routes nor neighbours for clients. See docs/design/l7-in-line.md.
 */
import { destinationHigh, destinationLow } from '../../packet/ethernet.ts';
import { PROTOCOL_TCP, TCP_ACK, TCP_SYN } from '../../packet/parse.ts';
import { PASS } from '../component/component.ts';
import { dropIndex } from '../drops.ts';
import { track } from '../flow/flow-life.ts';
import { KIND, KIND_PROXIED, REVERSE, STRIDE } from '../flow/flow-record.ts';
import { STACK_GATEWAY_MAC_HIGH, STACK_GATEWAY_MAC_LOW } from '../stack-gateway.ts';
import { MAC_PEER, OWNED_BY_VM } from './compiled-graph.ts';
import type { FlowPath } from './flow-path.ts';
import type { PathState } from './path-state.ts';
import { newDecision } from './service-chain.ts';

const NO_FLOW = dropIndex('no-flow');

export class Proxied {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly decision = newDecision();

  constructor(state: PathState, path: FlowPath) {
    this.state = state;
    this.path = path;
  }

  /**
   * Whether the packet at hand, to a proxied tier and of no known flow, is one for the proxy; else it is bridged. What
   * peers send are connections of their proxies to the VM that owns the address. And in the middle of a connection that
   * nobody knows here, one to such a VM is its own, from before there was a proxy, and one to a peer is that peer's.
   */
  isTaken(isFromPeer: boolean, destinationKind: number): boolean {
    if (isFromPeer) return false;
    const { packet, graph } = this.state;
    if ((packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return true;
    if (destinationKind === MAC_PEER) return false;
    return graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) !== OWNED_BY_VM;
  }

  /** Drops what is not taken where the service's firewall forbids it; false where it may pass to the address's owner. */
  isStopped(isFromPeer: boolean, tier: number): boolean {
    if (isFromPeer) return false;
    const { state, decision } = this;
    const { graph, packet } = state;
    decision.service = graph.tierService[tier];
    decision.tier = graph.tierPosition[tier];
    decision.member = -1;
    decision.isNewFlow = false;
    if (state.chains[decision.service].judge(packet, decision) === PASS) return false;
    state.drop(decision.reason);
    return true;
  }

  /** Takes the packet at hand, which the stack sent, where it is of a proxied flow; false where it is to be bridged. */
  takeFromStack(): boolean {
    const { state } = this;
    const { packet, flows } = state;
    if (packet.malformed !== null || packet.protocol !== PROTOCOL_TCP) return false;
    const found = flows.find(packet);
    if (found >= 0 && (found & 1) === REVERSE && flows.words[(found >> 1) * STRIDE + KIND] === KIND_PROXIED) {
      track(flows, state.connections, found >> 1, REVERSE, packet, state.now);
      this.path.leaveStack(found >> 1);
      return true;
    }
    const isLost =
      destinationHigh(packet) === STACK_GATEWAY_MAC_HIGH && destinationLow(packet) === STACK_GATEWAY_MAC_LOW;
    if (isLost) state.drop(NO_FLOW);
    return isLost;
  }
}
