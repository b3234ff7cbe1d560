/**
 * Address and port translation in place, with every checksum kept right by difference. The packet's fields follow
 * its bytes. A later fragment has no transport header: only its addresses change.
 */
import { adjust, checksumOffset, delta, fold, sumWord } from './checksum.ts';
import type { Packet } from './packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from './parse.ts';

/** Replaces the source address (of the packet's own family) and, for TCP and UDP, the source port. */
export function rewriteSource(
  packet: Packet,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  port: number,
): void {
  const view = packet.view;
  if (packet.ipVersion === 4) {
    if (packet.s3 !== w3) {
      const change = delta(sumWord(packet.s3), sumWord(w3));
      view.setInt32(packet.l3 + 12, w3);
      adjustIpv4(packet, change);
      adjustTransport(packet, change, true);
      packet.s3 = w3;
    }
  } else if (packet.s3 !== w3 || packet.s2 !== w2 || packet.s1 !== w1 || packet.s0 !== w0) {
    const before = sumWord(packet.s0) + sumWord(packet.s1) + sumWord(packet.s2) + sumWord(packet.s3);
    const after = sumWord(w0) + sumWord(w1) + sumWord(w2) + sumWord(w3);
    const at = packet.l3 + 8;
    view.setInt32(at, w0);
    view.setInt32(at + 4, w1);
    view.setInt32(at + 8, w2);
    view.setInt32(at + 12, w3);
    adjustTransport(packet, delta(before, after), true);
    packet.s0 = w0;
    packet.s1 = w1;
    packet.s2 = w2;
    packet.s3 = w3;
  }
  if (packet.sourcePort !== port && hasPorts(packet)) {
    const change = delta(packet.sourcePort, port);
    view.setUint16(packet.l4, port);
    adjustTransport(packet, change, false);
    packet.sourcePort = port;
  }
}

/** Replaces the destination address (of the packet's own family) and, for TCP and UDP, the destination port. */
export function rewriteDestination(
  packet: Packet,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  port: number,
): void {
  const view = packet.view;
  if (packet.ipVersion === 4) {
    if (packet.d3 !== w3) {
      const change = delta(sumWord(packet.d3), sumWord(w3));
      view.setInt32(packet.l3 + 16, w3);
      adjustIpv4(packet, change);
      adjustTransport(packet, change, true);
      packet.d3 = w3;
    }
  } else if (packet.d3 !== w3 || packet.d2 !== w2 || packet.d1 !== w1 || packet.d0 !== w0) {
    const before = sumWord(packet.d0) + sumWord(packet.d1) + sumWord(packet.d2) + sumWord(packet.d3);
    const after = sumWord(w0) + sumWord(w1) + sumWord(w2) + sumWord(w3);
    const at = packet.l3 + 24;
    view.setInt32(at, w0);
    view.setInt32(at + 4, w1);
    view.setInt32(at + 8, w2);
    view.setInt32(at + 12, w3);
    adjustTransport(packet, delta(before, after), true);
    packet.d0 = w0;
    packet.d1 = w1;
    packet.d2 = w2;
    packet.d3 = w3;
  }
  if (packet.destinationPort !== port && hasPorts(packet)) {
    const change = delta(packet.destinationPort, port);
    view.setUint16(packet.l4 + 2, port);
    adjustTransport(packet, change, false);
    packet.destinationPort = port;
  }
}

function hasPorts(packet: Packet): boolean {
  return packet.l4 !== 0 && (packet.protocol === PROTOCOL_TCP || packet.protocol === PROTOCOL_UDP);
}

function adjustIpv4(packet: Packet, change: number): void {
  const at = packet.l3 + 10;
  packet.view.setUint16(at, adjust(packet.view.getUint16(at), change));
}

function adjustTransport(packet: Packet, change: number, isAddress: boolean): void {
  if (!hasPorts(packet)) return;
  const at = checksumOffset(packet);
  const view = packet.view;
  const field = view.getUint16(at);
  if (packet.isChecksumPartial) {
    if (isAddress) view.setUint16(at, fold(field + change));
    return;
  }
  if (packet.protocol === PROTOCOL_UDP) {
    // RFC 768: zero means that the sender computed none.
    if (field === 0) return;
    const value = adjust(field, change);
    view.setUint16(at, value === 0 ? 0xffff : value);
    return;
  }
  view.setUint16(at, adjust(field, change));
}
