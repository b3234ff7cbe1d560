/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3), with the partial checksums that
 * virtual NICs hand over: with `Packet.isChecksumPartial` the transport field holds the folded pseudo-header sum, not
 * inverted, so that a changed address is added and a changed port, which is no part of it, is not.
 */

import type { Packet } from './packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './parse.ts';

/** Folds a sum of 16-bit words, of 32 bits at the most (64 KiB of them), to 16 bits. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** Sum of the 16-bit words of `length` bytes; an odd last byte counts as the upper half of a word. Not folded. */
export function sumBytes(view: DataView, offset: number, length: number): number {
  let sum = 0;
  const even = offset + (length & ~1);
  for (let at = offset; at < even; at += 2) sum += view.getUint16(at);
  if ((length & 1) === 1) sum += view.getUint8(even) << 8;
  return sum;
}

/** Sum of the two halves of a 32-bit word. */
export function sumWord(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/**
 * What to add to a checksum field's complement when `before` becomes `after`, both being sums of 16-bit words:
 * ~before + after in ones' complement.
 */
export function delta(before: number, after: number): number {
  return (~fold(before) & 0xffff) + fold(after);
}

/** The field's new value after `change` (from `delta`), for an ordinary, inverted checksum. */
export function adjust(field: number, change: number): number {
  return ~fold((~field & 0xffff) + change) & 0xffff;
}

/** Offset of the transport checksum field, or -1 where the packet has none that we know. */
export function checksumOffset(packet: Packet): number {
  if (packet.l4 === 0) return -1;
  if (packet.protocol === PROTOCOL_TCP) return packet.l4 + 16;
  if (packet.protocol === PROTOCOL_UDP) return packet.l4 + 6;
  if (packet.protocol === PROTOCOL_ICMP || packet.protocol === PROTOCOL_ICMPV6) return packet.l4 + 2;
  return -1;
}

/** Sum of the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1). Not folded. */
export function pseudoHeaderSum(packet: Packet): number {
  const length = packet.end - packet.l4;
  let sum = packet.protocol + sumWord(length);
  if (packet.ipVersion === 4) return sum + sumWord(packet.s3) + sumWord(packet.d3);
  sum += sumWord(packet.s0) + sumWord(packet.s1) + sumWord(packet.s2) + sumWord(packet.s3);
  return sum + sumWord(packet.d0) + sumWord(packet.d1) + sumWord(packet.d2) + sumWord(packet.d3);
}

/** The IPv4 header checksum, computed from scratch. */
export function ipv4HeaderChecksum(packet: Packet): number {
  const view = packet.view;
  const header = (view.getUint8(packet.l3) & 15) * 4;
  return ~fold(sumBytes(view, packet.l3, header) - view.getUint16(packet.l3 + 10)) & 0xffff;
}

/** The transport checksum of a whole datagram, computed from scratch; 0 stands as 0xffff in UDP. */
export function transportChecksum(packet: Packet): number {
  const at = checksumOffset(packet);
  const view = packet.view;
  const base = packet.protocol === PROTOCOL_ICMP ? 0 : pseudoHeaderSum(packet);
  const sum = base + sumBytes(view, packet.l4, packet.end - packet.l4) - view.getUint16(at);
  const value = ~fold(sum) & 0xffff;
  return value === 0 && packet.protocol === PROTOCOL_UDP ? 0xffff : value;
}

/** Writes the IPv4 header checksum and the transport checksum of a whole datagram that we made. */
export function writeChecksums(packet: Packet): void {
  const view = packet.view;
  if (packet.ipVersion === 4) view.setUint16(packet.l3 + 10, ipv4HeaderChecksum(packet));
  const at = checksumOffset(packet);
  if (at >= 0) view.setUint16(at, transportChecksum(packet));
}
