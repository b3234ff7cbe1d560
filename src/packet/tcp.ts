/** TCP: the reset that answers a segment (RFC 9293 section 3.10.7.1). */

import type { Packet } from './packet.ts';
import { PROTOCOL_TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from './parse.ts';
import { finish, turnEthernet, turnIp } from './reply.ts';

/**
 * Writes the reset that refuses the segment at hand, from its destination to its source; returns the frame's length,
 * or 0 where no reset may be sent: about a reset, or a fragment.
 */
export function writeTcpReset(packet: Packet, buffer: Uint8Array, view: DataView, start: number): number {
  if (packet.protocol !== PROTOCOL_TCP || packet.l4 === 0 || (packet.tcpFlags & TCP_RST) !== 0) return 0;
  const from = packet.view;
  const l4 = packet.l4;
  const at = turnIp(packet, view, turnEthernet(packet, view, start), PROTOCOL_TCP, 20);
  view.setUint16(at, packet.destinationPort);
  view.setUint16(at + 2, packet.sourcePort);
  if ((packet.tcpFlags & TCP_ACK) !== 0) {
    view.setUint32(at + 4, from.getUint32(l4 + 8));
    view.setUint32(at + 8, 0);
    view.setUint16(at + 12, 0x5000 | TCP_RST);
  } else {
    let length = packet.end - l4 - (from.getUint8(l4 + 12) >> 4) * 4;
    if ((packet.tcpFlags & TCP_SYN) !== 0) length++;
    if ((packet.tcpFlags & TCP_FIN) !== 0) length++;
    view.setUint32(at + 4, 0);
    view.setUint32(at + 8, (from.getUint32(l4 + 4) + length) >>> 0);
    view.setUint16(at + 12, 0x5000 | TCP_RST | TCP_ACK);
  }
  view.setUint16(at + 14, 0);
  view.setUint32(at + 16, 0);
  return finish(buffer, view, start, at + 20);
}
