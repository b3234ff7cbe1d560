/** ICMP and ICMPv6 (RFC 792, RFC 4443): what refuses a datagram, and the answer to an echo request. */

import type { Packet } from './packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from './parse.ts';
import { finish, LONGEST_REPLY, turnEthernet, turnIp } from './reply.ts';

/** RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4(c): how long an error may be, IP header included. */
const LONGEST_ERROR = { ipv4: 576, ipv6: 1280 };

/** True for an ICMP message that is not an error: no error may be sent about an error (RFC 1122 section 3.2.2). */
function isIcmpError(packet: Packet): boolean {
  if (packet.protocol === PROTOCOL_ICMP) {
    return packet.icmpType !== 8 && packet.icmpType !== 0 && packet.icmpType < 13;
  }
  return packet.protocol === PROTOCOL_ICMPV6 && packet.icmpType < 128;
}

/**
 * Writes "administratively prohibited" about the datagram at hand, from its destination to its source; returns the
 * frame's length, or 0 where no error may be sent (later fragments, errors, group addresses).
 */
export function writeIcmpProhibited(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
): number {
  return writeError(packet, buffer, view, start, 0x030d, 0x0101, 0);
}

/** As `writeIcmpProhibited`: the datagram at hand is too big, and `mtu` bytes are the most (RFC 1191, RFC 8201). */
export function writeIcmpTooBig(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
  mtu: number,
): number {
  return writeError(packet, buffer, view, start, 0x0304, 0x0200, mtu);
}

/** `typeAndCode` of either family; `word` is what follows the checksum. */
function writeError(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
  typeAndCode4: number,
  typeAndCode6: number,
  word: number,
): number {
  if (packet.ipVersion === 0 || packet.fragmentOffset !== 0 || isIcmpError(packet)) return 0;
  const isV4 = packet.ipVersion === 4;
  if ((packet.view.getUint8(packet.start) & 1) !== 0) return 0;
  const l3 = turnEthernet(packet, view, start);
  const room = isV4 ? LONGEST_ERROR.ipv4 - 28 : LONGEST_ERROR.ipv6 - 48;
  const quoted = Math.min(packet.end - packet.l3, room);
  const at = turnIp(packet, view, l3, isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, 8 + quoted);
  view.setUint16(at, isV4 ? typeAndCode4 : typeAndCode6);
  view.setUint16(at + 2, 0);
  view.setUint32(at + 4, word);
  buffer.set(packet.buffer.subarray(packet.l3, packet.l3 + quoted), at + 8);
  return finish(buffer, view, start, at + 8 + quoted);
}

/** True for an echo request that a host answers. */
export function isEchoRequest(packet: Packet): boolean {
  if (packet.l4 === 0 || packet.isFragment) return false;
  return packet.protocol === PROTOCOL_ICMP
    ? packet.icmpType === 8
    : packet.protocol === PROTOCOL_ICMPV6 && packet.icmpType === 128;
}

/** Writes the echo reply to the request at hand; returns the frame's length, or 0 where it would be too long. */
export function writeEchoReply(packet: Packet, buffer: Uint8Array, view: DataView, start: number): number {
  const isV4 = packet.ipVersion === 4;
  const size = packet.end - packet.l4;
  if (packet.l3 - packet.start + (isV4 ? 20 : 40) + size > LONGEST_REPLY) return 0;
  const l3 = turnEthernet(packet, view, start);
  const at = turnIp(packet, view, l3, packet.protocol, size);
  buffer.set(packet.buffer.subarray(packet.l4, packet.l4 + size), at);
  view.setUint16(at, isV4 ? 0 : 0x8100);
  return finish(buffer, view, start, at + size);
}
