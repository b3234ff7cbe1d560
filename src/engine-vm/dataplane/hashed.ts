/**
 * Flows of services with `whenTableFull: hash` that found no record: their packets go to the member that a hash of the
 * flow chooses, and answers get their service address back, by notes of twelve bytes (../flow/flow-notes.ts). Such
 * flows are not counted as connections, and the kernel's program never has them. docs/design/flow-table.md.
 */
import { destinationHigh, destinationLow } from '../../packet/ethernet.ts';
import type { Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, TCP_SYN } from '../../packet/parse.ts';
import { rewriteDestination, rewriteSource } from '../../packet/rewrite.ts';
import { lowerMss } from '../../packet/tcp.ts';
import { dropIndex } from '../drops.ts';
import { TIMEOUTS } from '../flow/flow-life.ts';
import { FlowNotes } from '../flow/flow-notes.ts';
import type { Bridge } from './bridge.ts';
import { type CompiledGraph, PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import { type FlowPath, TUNNEL_AND_HEADERS } from './flow-path.ts';
import type { Remap } from './flow-remap.ts';
import type { Gateways } from './gateways.ts';
import { ANSWERS_DIRECT, type PathState, PORT_IN } from './path-state.ts';
import type { SourcePorts } from './source-ports.ts';

const FULL = dropIndex('flow-table-full');
const FRAGMENT = dropIndex('fragment');

export class Hashed {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly ports: SourcePorts;
  private readonly bridge: Bridge;
  private readonly gateways: Gateways;

  constructor(state: PathState, path: FlowPath, ports: SourcePorts, bridge: Bridge, gateways: Gateways) {
    this.state = state;
    this.path = path;
    this.ports = ports;
    this.bridge = bridge;
    this.gateways = gateways;
  }

  /** A new graph is in force: notes go on for members and service addresses that it still has. */
  load(before: CompiledGraph | undefined, remap: Remap | null): void {
    const { state } = this;
    const { graph, flows } = state;
    if (!graph.tierHashes.includes(1)) {
      state.choices = null;
      state.answers = null;
      return;
    }
    const isFitting = (notes: FlowNotes | null) => notes !== null && notes.capacity >= flows.capacity;
    if (!isFitting(state.choices) || before === undefined || remap === null) {
      state.choices = new FlowNotes(flows.capacity, state.random32());
      state.answers = new FlowNotes(flows.capacity, state.random32());
      return;
    }
    const { members } = remap;
    if (members.length !== graph.memberCount || members.some((member, index) => member !== index))
      state.choices?.remap((member) => members[member] ?? -1);
    const names = before.hashed.names;
    const places = new Map(graph.hashed.names.map((name, index) => [name, index]));
    if (names.join() !== graph.hashed.names.join()) {
      state.answers?.remap((value) => {
        if (value === ANSWERS_DIRECT) return value;
        const place = places.get(names[(value - 1) >> 1] ?? '');
        return place === undefined ? -1 : answersFor(place, ((value - 1) & 1) === 1);
      });
    }
  }

  /** The member that the flow of the packet at hand was forwarded to without a record; -1 where that is not known. */
  noted(tier: number): number {
    const { choices, packet, graph, now } = this.state;
    if (choices === null) return -1;
    const member = choices.atPacket(packet).get(now, this.lifetimeMs(packet.protocol));
    return member >= 0 && graph.isInTier(tier, member) ? member : -1;
  }

  /** Notes the member of the flow that a packet of its client belongs to. */
  note(packet: Packet, member: number): void {
    this.state.choices?.atPacket(packet).put(member, this.state.now, this.lifetimeMs(packet.protocol));
  }

  /** Whether a member of the tier can be reached without a record: an engine stands beside it, or it needs none. */
  reaches(tier: number, member: number): boolean {
    const { graph, packet } = this.state;
    if (graph.memberPlace[member] !== PLACE_NO_ENGINE) return true;
    return graph.tierIsDsr[tier] === 1 && !graph.isRouted(member, packet.ipVersion);
  }

  /** Whether a record or note of another flow has the answers of the one that the packet at hand belongs to. */
  isTaken(tier: number, member: number): boolean {
    const { state } = this;
    const { packet, graph } = state;
    if (graph.memberPlace[member] !== PLACE_HERE || graph.tierIsDsr[tier] === 1) return false;
    const at = graph.memberAddressAt(member, packet.ipVersion);
    return (
      at < 0 || this.ports.isAnswered(graph.memberAddresses(packet.ipVersion), at, graph.tierMemberPort[tier])
    );
  }

  /** Forwards the packet at hand, which its client sent and the chain has passed, to the member. */
  forward(tier: number, member: number): void {
    const { packet, graph } = this.state;
    // What follows of a datagram in fragments could not be told.
    if (packet.isFragment || !this.reaches(tier, member)) {
      this.refuse(tier);
      return;
    }
    this.note(packet, member);
    if (graph.memberPlace[member] === PLACE_HERE) {
      this.deliver(tier, member);
      return;
    }
    this.state.counts.hashed.add(graph.groupOf(tier));
    this.path.sendOn(member);
  }

  /**
   * Sends the packet at hand to a member beside this engine, and notes what its answers are to be translated to.
   * Refuses it where they could not be told from those of another flow, or the client is the member itself.
   */
  deliver(tier: number, member: number): void {
    const { state } = this;
    const { packet, graph } = state;
    const isTranslated = graph.tierIsDsr[tier] === 0;
    if (packet.isFragment || (isTranslated && !this.translate(tier, member))) {
      this.refuse(tier);
      return;
    }
    state.counts.hashed.add(graph.groupOf(tier));
    if (this.gateways.addressTo(member)) state.send(PORT_IN);
  }

  /** Counts and drops the packet at hand, of a service. */
  refuse(tier: number): void {
    const { state } = this;
    state.counts.refused.add(state.graph.groupOf(tier));
    state.drop(FULL);
  }

  /** A connection past the services has found no record: its answers are nobody else's. */
  noteDirect(): void {
    const { packet, answers, now } = this.state;
    const { protocol, s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort } = packet;
    answers
      ?.at(protocol, d0, d1, d2, d3, s0, s1, s2, s3, (destinationPort << 16) | sourcePort)
      .put(ANSWERS_DIRECT, now, this.lifetimeMs(protocol));
  }

  /** Takes the packet at hand, which a member beside this engine sent in no flow that has a record; false: not so. */
  answer(): boolean {
    const { state } = this;
    const { packet, graph, answers } = state;
    if (answers === null) return false;
    if (graph.dataAddresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) >= 0) return false;
    let value = answers.atPacket(packet).get(state.now, this.lifetimeMs(packet.protocol));
    if (value < 0) value = this.guess(answers);
    if (value <= ANSWERS_DIRECT) return false;
    if (packet.isFragment) {
      state.drop(FRAGMENT);
      return true;
    }
    const { addresses, ports } = graph.hashed;
    const index = (value - 1) >> 1;
    const at = index * 4;
    rewriteSource(
      packet,
      addresses[at],
      addresses[at + 1],
      addresses[at + 2],
      addresses[at + 3],
      ports[index],
    );
    // What the client sends will have to fit into the tunnel.
    if (((value - 1) & 1) === 1 && (packet.tcpFlags & TCP_SYN) !== 0)
      lowerMss(packet, graph.siteMtu - TUNNEL_AND_HEADERS[packet.ipVersion === 4 ? 0 : 1]);
    state.send(this.bridge.portOf(destinationHigh(packet), destinationLow(packet)));
    return true;
  }

  /** What is not noted may be forgotten: then the member's end says it, where it answers for one address only. */
  private guess(answers: FlowNotes): number {
    const { packet, graph } = this.state;
    if (!answers.hasForgotten || packet.protocol !== PROTOCOL_TCP || (packet.tcpFlags & TCP_SYN) !== 0)
      return -1;
    const { s0, s1, s2, s3, sourcePort, protocol } = packet;
    const index = graph.hashed.onlyOneOf(s0, s1, s2, s3, sourcePort, protocol);
    return index < 0 ? -1 : answersFor(index, false);
  }

  /** Translates the packet at hand to the member's address; false where that may not be. */
  private translate(tier: number, member: number): boolean {
    const { state } = this;
    const { packet, graph } = state;
    const at = graph.memberAddressAt(member, packet.ipVersion);
    if (at < 0) return false;
    const own = graph.memberAddresses(packet.ipVersion);
    const isItself =
      packet.s3 === own[at + 3] &&
      packet.s2 === own[at + 2] &&
      packet.s1 === own[at + 1] &&
      packet.s0 === own[at];
    const port = graph.tierMemberPort[tier];
    if (isItself || this.ports.isAnswered(own, at, port)) return false;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    const index = graph.hashed.indexOf(d0, d1, d2, d3, destinationPort, protocol);
    if (index < 0) return false;
    state.answers
      ?.atAnswer(packet, own, at, (port << 16) | packet.sourcePort)
      .put(answersFor(index, state.isTunnelled), state.now, this.lifetimeMs(protocol));
    rewriteDestination(packet, own[at], own[at + 1], own[at + 2], own[at + 3], port);
    return true;
  }

  private lifetimeMs(protocol: number): number {
    const timeouts = this.state.graph.source.engine.timeouts ?? TIMEOUTS;
    return protocol === PROTOCOL_TCP ? timeouts.tcpEstablishedMs : timeouts.udpMs;
  }
}

/** What is noted for answers of a service address; `isTunnelled`: its packets come by a tunnel. */
function answersFor(index: number, isTunnelled: boolean): number {
  return 1 + index * 2 + (isTunnelled ? 1 : 0);
}
