/**
 * Connections straight to a member beside this engine, not through a service: they pass untouched, but C counts them.
 * So do those of clients whose addresses a peer translates into its own. And what such a member sends in connections
 * that this engine does not know.
 */
import { PROTOCOL_TCP, TCP_ACK, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import { dropIndex } from '../drops.ts';
import { track } from '../flow/flow-life.ts';
import { FORWARD, JUDGED, REVERSE, STRIDE, TIER } from '../flow/flow-record.ts';
import type { FlowOpener } from './flow-opener.ts';
import type { FlowPath } from './flow-path.ts';
import type { Hashed } from './hashed.ts';
import type { PathState } from './path-state.ts';
import { FIRST_PORT } from './source-ports.ts';

/** How long after the start a member's unknown connections are held: clients and peers bring them back by then. */
const SETTLE_MS = 3000;
const SETTLING = dropIndex('settling');

export class Direct {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly opener: FlowOpener;
  private readonly hashed: Hashed;

  constructor(state: PathState, path: FlowPath, opener: FlowOpener, hashed: Hashed) {
    this.state = state;
    this.path = path;
    this.opener = opener;
    this.hashed = hashed;
  }

  /** Takes the packet at hand, to the own address and port of a member beside us; false where it is only to be bridged. */
  takeFromClient(member: number): boolean {
    const { packet, graph, flows, connections, now } = this.state;
    const isTcp = packet.protocol === PROTOCOL_TCP;
    const flags = isTcp ? packet.tcpFlags : TCP_SYN;
    if ((flags & TCP_RST) !== 0) return false;
    let viaPeer: string | null = null;
    const engine = graph.dataAddresses.find(packet.s0, packet.s1, packet.s2, packet.s3, 0, 0);
    if (engine >= 0) {
      // Probes of engines come from ports below: they are no connections of clients.
      if (engine === 0 || packet.sourcePort < FIRST_PORT) return false;
      // A connection that was already running here before a restart is not a choice that the peer still waits to see.
      if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN) viaPeer = graph.source.peers[engine - 1].id;
    }
    const flow = this.opener.openDirect(member, false, viaPeer);
    if (flow < 0) {
      this.hashed.noteDirect();
      return false;
    }
    track(flows, connections, flow, FORWARD, packet, now);
    this.path.forward(flow);
    return true;
  }

  /** Takes the packet at hand, sent by a member beside us from its pool port; false where it is to be bridged. */
  takeFromMember(member: number): boolean {
    const { packet, graph, flows, connections, now, loadedAt } = this.state;
    if (packet.protocol !== PROTOCOL_TCP || (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return false;
    if (graph.dataAddresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) >= 0) return false;
    if (now - loadedAt < SETTLE_MS) {
      this.state.drop(SETTLING);
      return true;
    }
    if ((packet.tcpFlags & TCP_RST) !== 0) return false;
    const flow = this.opener.openDirect(member, true);
    if (flow < 0) return false;
    // The address may be that of a service which the VM owns: then what clients send is judged.
    const at = flow * STRIDE;
    flows.words[at + TIER] = graph.tiers.find(
      packet.s0,
      packet.s1,
      packet.s2,
      packet.s3,
      packet.sourcePort,
      packet.protocol,
    );
    flows.words[at + JUDGED] = 0;
    track(flows, connections, flow, REVERSE, packet, now);
    return false;
  }
}
