/**
 * ICMP errors about service flows (unreachable, packet too big): they quote the packet that failed, so both the outer
 * and the quoted addresses are translated (RFC 5508 section 4), or the error follows its flow to the member's engine.
 * Without this, path-MTU discovery breaks behind a translated address.
 */

import { fold, sumBytes, transportChecksum } from '../../packet/checksum.ts';
import { destinationHigh, destinationLow, writeDestination, writeSource } from '../../packet/ethernet.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../../packet/parse.ts';
import { rewriteDestination, rewriteSource } from '../../packet/rewrite.ts';
import {
  CLIENT,
  CLIENT_MAC_HIGH,
  CLIENT_MAC_LOW,
  CLIENT_SEEN,
  FLAG_SPLICED,
  FLAGS,
  KIND,
  KIND_DIRECT,
  KIND_FAR,
  KIND_PROXIED,
  KIND_REMOTE,
  KIND_THROUGH,
  MEMBER,
  MEMBER_PORTS,
  MEMBER_SIDE,
  MOST_STAGES,
  PORTS,
  SERVICE,
  SPLICE_DELTA,
  SPLICE_STRIDE,
  STRIDE,
} from '../flow/flow-record.ts';
import type { Bridge } from './bridge.ts';
import { PLACE_HERE } from './compiled-graph.ts';
import type { FlowPath } from './flow-path.ts';
import type { Gateways } from './gateways.ts';
import { type PathState, PORT_IN, PORT_OUT } from './path-state.ts';

export class IcmpErrors {
  private readonly state: PathState;
  private readonly bridge: Bridge;
  private readonly path: FlowPath;
  private readonly gateways: Gateways;
  /** Protocol, the four words of source and destination, and the ports of the quoted packet. */
  private readonly quoted = new Int32Array(9);
  private protocol = 0;
  /** Offset of the quoted transport header. */
  private quotedL4 = 0;

  constructor(state: PathState, bridge: Bridge, path: FlowPath, gateways: Gateways) {
    this.state = state;
    this.bridge = bridge;
    this.path = path;
    this.gateways = gateways;
  }

  /**
   * Takes the packet at hand where it is an error about a flow that we translate or send on; else false. What a peer
   * sent on is not sent on again.
   */
  take(port: number, isFromPeer: boolean): boolean {
    const { packet, flows, graph } = this.state;
    if (!this.isError() || !this.readQuoted()) return false;
    const q = this.quoted;
    // The quoted packet went the other way.
    const ports = (q[8] << 16) | (q[8] >>> 16);
    let found = -1;
    // Past the tiers that hand on: the error is for the end of the connection.
    for (let stage = graph.hasHandsOn ? MOST_STAGES - 1 : 0; stage >= 0 && found < 0; stage--) {
      found = flows.findKey(this.protocol, q[4], q[5], q[6], q[7], q[0], q[1], q[2], q[3], ports, stage);
    }
    if (found < 0) return false;
    const words = flows.words;
    const flow = found >> 1;
    const at = flow * STRIDE;
    const kind = words[at + KIND];
    if (kind === KIND_DIRECT) return false;
    if (kind === KIND_PROXIED) {
      if ((found & 1) !== 0) return false;
      this.path.giveToStack();
      return true;
    }
    if (kind === KIND_REMOTE || kind === KIND_THROUGH) {
      if (isFromPeer) return false;
      this.path.forward(flow);
      return true;
    }
    if ((found & 1) === 0) {
      const member = words[at + MEMBER];
      const m = at + MEMBER_SIDE;
      const seen = words[at + MEMBER_PORTS];
      this.shiftQuoted(flow, -1);
      this.writeQuoted(m, seen >>> 16, at + CLIENT_SEEN, seen & 0xffff);
      rewriteDestination(packet, words[m], words[m + 1], words[m + 2], words[m + 3], 0);
      if (kind === KIND_FAR) writeSource(packet, graph.macHigh, graph.macLow);
      if (!this.gateways.addressTo(member)) return true;
      this.finish(graph.memberPlace[member] === PLACE_HERE ? PORT_IN : PORT_OUT);
      return true;
    }
    if (kind !== KIND_FAR && port !== PORT_IN) return false;
    const s = at + SERVICE;
    const c = at + CLIENT;
    const own = words[at + PORTS];
    this.writeQuoted(c, own >>> 16, s, own & 0xffff);
    const m = at + MEMBER_SIDE;
    if (
      packet.s3 === words[m + 3] &&
      packet.s2 === words[m + 2] &&
      packet.s1 === words[m + 1] &&
      packet.s0 === words[m]
    ) {
      rewriteSource(packet, words[s], words[s + 1], words[s + 2], words[s + 3], 0);
    }
    rewriteDestination(packet, words[c], words[c + 1], words[c + 2], words[c + 3], 0);
    if (kind === KIND_FAR) {
      writeDestination(packet, words[at + CLIENT_MAC_HIGH], words[at + CLIENT_MAC_LOW]);
      writeSource(packet, graph.macHigh, graph.macLow);
    }
    this.finish(this.bridge.portOf(destinationHigh(packet), destinationLow(packet)));
    return true;
  }

  private isError(): boolean {
    const { packet } = this.state;
    if (packet.l4 === 0 || packet.isFragment || packet.isChecksumPartial) return false;
    const type = packet.icmpType;
    if (packet.protocol === PROTOCOL_ICMP) return type === 3 || type === 11 || type === 12;
    return packet.protocol === PROTOCOL_ICMPV6 && type >= 1 && type <= 4;
  }

  private readQuoted(): boolean {
    const { packet } = this.state;
    const { view, l4, end } = packet;
    const q = this.quoted;
    const at = l4 + 8;
    if (packet.ipVersion === 4) {
      if (at + 20 > end || view.getUint8(at) >> 4 !== 4) return false;
      const header = (view.getUint8(at) & 15) * 4;
      // A quoted later fragment names no ports.
      if (header < 20 || at + header + 8 > end || (view.getUint16(at + 6) & 0x1fff) !== 0) return false;
      this.protocol = view.getUint8(at + 9);
      q.fill(0);
      q[2] = 0xffff;
      q[3] = view.getInt32(at + 12);
      q[6] = 0xffff;
      q[7] = view.getInt32(at + 16);
      this.quotedL4 = at + header;
    } else {
      if (at + 48 > end || view.getUint8(at) >> 4 !== 6) return false;
      this.protocol = view.getUint8(at + 6);
      for (let i = 0; i < 8; i++) q[i] = view.getInt32(at + 8 + 4 * i);
      this.quotedL4 = at + 40;
    }
    if (this.protocol !== PROTOCOL_TCP && this.protocol !== PROTOCOL_UDP) return false;
    q[8] = view.getInt32(this.quotedL4);
    return true;
  }

  /** Writes the ends of the quoted packet; `source` and `destination` are offsets into the flow's words. */
  private writeQuoted(
    source: number,
    sourcePort: number,
    destination: number,
    destinationPort: number,
  ): void {
    const { packet, flows } = this.state;
    const view = packet.view;
    const words = flows.words;
    const at = packet.l4 + 8;
    if (packet.ipVersion === 4) {
      view.setInt32(at + 12, words[source + 3]);
      view.setInt32(at + 16, words[destination + 3]);
      view.setUint16(at + 10, 0);
      view.setUint16(at + 10, ~fold(sumBytes(view, at, (view.getUint8(at) & 15) * 4)) & 0xffff);
    } else {
      for (let i = 0; i < 4; i++) {
        view.setInt32(at + 8 + 4 * i, words[source + i]);
        view.setInt32(at + 24 + 4 * i, words[destination + i]);
      }
    }
    view.setUint16(this.quotedL4, sourcePort);
    view.setUint16(this.quotedL4 + 2, destinationPort);
  }

  /** The quoted segment of the member shows its sequence number as the client saw it. */
  private shiftQuoted(flow: number, sign: number): void {
    const { packet, flows } = this.state;
    if ((flows.words[flow * STRIDE + FLAGS] & FLAG_SPLICED) === 0) return;
    const by = flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA] * sign;
    packet.view.setInt32(this.quotedL4 + 4, (packet.view.getInt32(this.quotedL4 + 4) + by) | 0);
  }

  private finish(port: number): void {
    const { packet } = this.state;
    packet.view.setUint16(packet.l4 + 2, transportChecksum(packet));
    this.state.send(port);
  }
}
