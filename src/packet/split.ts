/**
 * One packet as several smaller ones: segments of TCP, datagrams of a UDP super-frame, fragments of IPv4 (RFC 791).
 * Each is written whole, with its link header and with complete checksums; the packet itself is only read.
 */
import { fold, sumBytes, writeChecksums } from './checksum.ts';
import { HEADROOM, Packet } from './packet.ts';
import { PROTOCOL_TCP, parse, TCP_FIN } from './parse.ts';

const TCP_PSH = 8;
const TCP_CWR = 128;
const MORE_FRAGMENTS = 0x2000;
/** Of the virtio_net_hdr before a frame: the kind of super-frame, and how much payload each part of it shall bear. */
const GSO_TYPE = 1;
const GSO_SIZE = 4;
const GSO_ECN = 0x80;
export const GSO_UDP_DATAGRAMS = 5;

const made = new Packet();

/** The kind of super-frame that the packet at hand is (virtio_net_hdr), 0 for an ordinary one. */
export function gsoType(packet: Packet): number {
  return packet.start < HEADROOM ? 0 : packet.buffer[packet.start - HEADROOM + GSO_TYPE]! & ~GSO_ECN;
}

/** Payload of each part of a super-frame. */
export function gsoSize(packet: Packet): number {
  return packet.view.getUint16(packet.start - HEADROOM + GSO_SIZE, true);
}

/** Where the payload of the TCP or UDP packet at hand begins. */
export function payloadAt(packet: Packet): number {
  return packet.l4 + (packet.protocol === PROTOCOL_TCP ? (packet.view.getUint8(packet.l4 + 12) >> 4) * 4 : 8);
}

/**
 * Writes `size` bytes of the payload of the TCP or UDP packet at hand, from `offset` on, as a packet of their own at
 * `start` of the buffer, whose HEADROOM bytes before that are zero; returns the frame's length.
 */
export function writePart(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
  offset: number,
  size: number,
  index: number,
): number {
  const from = payloadAt(packet);
  const headers = from - packet.start;
  const isLast = from + offset + size >= packet.end;
  buffer.set(packet.buffer.subarray(packet.start, from), start);
  buffer.set(packet.buffer.subarray(from + offset, from + offset + size), start + headers);
  const l3 = start + packet.l3 - packet.start;
  const l4 = start + packet.l4 - packet.start;
  const length = headers + size;
  if (packet.ipVersion === 4) {
    view.setUint16(l3 + 2, start + length - l3);
    view.setUint16(l3 + 4, (view.getUint16(l3 + 4) + index) & 0xffff);
  } else view.setUint16(l3 + 4, start + length - l3 - 40);
  if (packet.protocol === PROTOCOL_TCP) {
    view.setUint32(l4 + 4, (view.getUint32(l4 + 4) + offset) >>> 0);
    let flags = view.getUint8(l4 + 13);
    if (!isLast) flags &= ~(TCP_FIN | TCP_PSH);
    if (offset > 0) flags &= ~TCP_CWR;
    view.setUint8(l4 + 13, flags);
  } else view.setUint16(l4 + 4, 8 + size);
  parse(made, buffer, start, length);
  writeChecksums(made);
  return length;
}

/**
 * Writes a fragment of the IPv4 packet at hand, which may be one itself: `size` bytes (a multiple of 8, except at the
 * end) of what follows its header, from `offset` on. Its transport checksum must be complete. As `writePart` else.
 */
export function writeFragment(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
  offset: number,
  size: number,
): number {
  const header = (packet.view.getUint8(packet.l3) & 15) * 4;
  const from = packet.l3 + header;
  buffer.set(packet.buffer.subarray(packet.start, from), start);
  const at = start + from - packet.start;
  buffer.set(packet.buffer.subarray(from + offset, from + offset + size), at);
  const l3 = start + packet.l3 - packet.start;
  const isLast = from + offset + size >= packet.end;
  const before = view.getUint16(l3 + 6);
  const more = isLast ? before & MORE_FRAGMENTS : MORE_FRAGMENTS;
  view.setUint16(l3 + 2, header + size);
  view.setUint16(l3 + 6, (before & ~0x1fff & ~MORE_FRAGMENTS) | more | ((before & 0x1fff) + (offset >> 3)));
  view.setUint16(l3 + 10, 0);
  view.setUint16(l3 + 10, ~fold(sumBytes(view, l3, header)) & 0xffff);
  return at + size - start;
}
