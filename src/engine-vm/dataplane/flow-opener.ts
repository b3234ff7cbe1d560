/**
 * How a flow begins once its member is chosen: its record, what its member is to see, and the count. Then flow-path.ts
 * sends its packets. See docs/path-of-a-packet.md for the four kinds of flow.
 */
import { sourceHigh, sourceLow } from '../../packet/ethernet.ts';
import { dropIndex } from '../drops.ts';
import { end } from '../flow/flow-life.ts';
import {
  CLIENT,
  CLIENT_MAC_HIGH,
  CLIENT_MAC_LOW,
  CLIENT_SEEN,
  FLAG_COUNTED_LOCAL,
  FLAG_COUNTED_SENT,
  FLAGS,
  KIND_DIRECT,
  KIND_FAR,
  KIND_LOCAL,
  KIND_PROXIED,
  KIND_REMOTE,
  KIND_THROUGH,
  MEMBER,
  MEMBER_PORTS,
  MEMBER_SIDE,
  PORTS,
  SERVICE,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import { PLACE_BESIDE_PEER, PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import { type PathState, PORT_IN } from './path-state.ts';
import type { SourcePorts } from './source-ports.ts';

const NO_MEMBER = dropIndex('no-member');
const FULL = dropIndex('flow-table-full');
const NO_PORTS = dropIndex('translate-ports');

/** Opens flows, to members of tiers and past the services. */
export class FlowOpener {
  private readonly state: PathState;
  private readonly ports: SourcePorts;
  /** The service address of the packet at hand, in place of a member's. */
  private readonly destination = new Int32Array(4);

  constructor(state: PathState, ports: SourcePorts) {
    this.state = state;
    this.ports = ports;
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
      ? this.ports.findFar(addresses, memberAt, port)
      : this.ports.findClient(addresses, memberAt, port);
    if (clientPort < 0) return refused(NO_PORTS);
    const flow = this.add(isFar ? KIND_FAR : KIND_LOCAL, member, tier);
    if (flow < 0) return refused(FULL);
    const words = flows.words;
    const at = flow * STRIDE;
    for (let i = 0; i < 4; i++) words[at + MEMBER_SIDE + i] = addresses[memberAt + i];
    if (isFar) {
      for (let i = 0; i < 4; i++)
        words[at + CLIENT_SEEN + i] = graph.ownAddresses[this.ports.farAddress * 4 + i];
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

  /** Opens the flow that the packet at hand begins or goes on with, to the engine's own stack; as `open`. */
  openProxied(tier: number): number {
    const { flows } = this.state;
    const flow = this.add(KIND_PROXIED, -1, tier);
    if (flow < 0) return refused(FULL);
    const { words } = flows;
    const at = flow * STRIDE;
    for (let i = 0; i < 4; i++) {
      words[at + MEMBER_SIDE + i] = words[at + SERVICE + i];
      words[at + CLIENT_SEEN + i] = words[at + CLIENT + i];
    }
    const ports = words[at + PORTS];
    words[at + MEMBER_PORTS] = (ports << 16) | (ports >>> 16);
    flows.fileReverse(flow);
    return flow;
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
      clientPort = this.ports.findClient(addresses, memberAt, port);
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
    const victim = flows.halfOpen.evictable(this.state.graph.groupOf(tier));
    if (victim < 0) return;
    this.state.evictedFlows++;
    this.state.counts.evicted.add(flows.halfOpen.groupOf(victim));
    end(flows, connections, victim);
  }

  private add(kind: number, member: number, tier: number): number {
    const state = this.state;
    const { packet, graph } = state;
    this.makeRoom(tier);
    const flow = state.flows.add(packet, kind, state.now, graph.groupOf(tier));
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
