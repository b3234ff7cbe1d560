/** TCP: the reset that answers a segment (RFC 9293 section 3.10.7.1), and the size of segments that a SYN offers. */
import { adjust, delta } from './checksum.ts';
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

const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_MSS = 2;

/**
 * Lowers the maximum segment size that the SYN at hand offers to `most`, in place, its checksum kept right by
 * difference (RFC 9293 section 3.7.1). Without the option, or where it is lower already, nothing changes.
 */
export function lowerMss(packet: Packet, most: number): void {
  if (packet.protocol !== PROTOCOL_TCP || packet.l4 === 0 || packet.isFragment) return;
  const { view, l4 } = packet;
  const end = Math.min(packet.end, l4 + (view.getUint8(l4 + 12) >> 4) * 4);
  for (let at = l4 + 20; at < end; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOTHING) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) return;
    if (kind === OPTION_MSS && length === 4) {
      const before = view.getUint16(at + 2);
      if (before <= most) return;
      view.setUint16(at + 2, most);
      if (packet.isChecksumPartial) return;
      // The sum is over words that begin at even places: at an odd one, the halves of the value lie in two of them.
      const isOdd = ((at + 2 - l4) & 1) === 1;
      const change = isOdd ? delta(swapped(before), swapped(most)) : delta(before, most);
      view.setUint16(l4 + 16, adjust(view.getUint16(l4 + 16), change));
      return;
    }
    at += length;
  }
}

function swapped(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}
