/**
 * VXLAN (RFC 7348): an Ethernet frame in a UDP datagram. Here are the outer headers, over IPv4 and IPv6; the frame
 * inside is already in its place when they are written before it.
 *
 *   Ethernet 14 │ IPv4 20 or IPv6 40 │ UDP 8 │ VXLAN 8: flags 0x08, reserved, VNI, reserved │ frame
 */
import { fold, sumBytes, sumWord } from './checksum.ts';
import { HEADROOM, type Packet } from './packet.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTOCOL_UDP } from './parse.ts';

/** The port that IANA has given it. */
export const VXLAN_PORT = 4789;
/** Bytes of the outer headers: what lies between the first byte of the datagram's frame and that of the frame inside. */
export const VXLAN_HEADERS = { ipv4: 50, ipv6: 70 } as const;
/** By how much the outer IP packet is longer than the one inside a frame without VLAN tags. */
export const VXLAN_OVERHEAD = VXLAN_HEADERS;

const IS_VNI_VALID = 0x08;
const UDP_HEADER = 8;
const VXLAN_HEADER = 8;
const HOP_LIMIT = 64;
/** Of a virtio_net_hdr. */
const NEEDS_CHECKSUM = 1;
const CHECKSUM_START = 6;
const CHECKSUM_OFFSET = 8;

/** Between whom a datagram goes: MACs of the link, addresses as words. */
export interface VxlanEnds {
  isIpv4: boolean;
  fromHigh: number;
  fromLow: number;
  /** The next hop's. */
  toHigh: number;
  toLow: number;
  /** Four words each, at an offset. */
  addresses: Int32Array;
  sourceAt: number;
  destinationAt: number;
  vni: number;
}

/**
 * Writes the outer headers so that they end where the frame of `length` bytes begins, at `inner`; returns where the
 * datagram's frame begins. The UDP checksum is left out over IPv4 and complete over IPv6 (RFC 7348, RFC 6936).
 */
export function writeVxlan(
  view: DataView,
  inner: number,
  length: number,
  ends: VxlanEnds,
  sourcePort: number,
): number {
  const start = inner - (ends.isIpv4 ? VXLAN_HEADERS.ipv4 : VXLAN_HEADERS.ipv6);
  const l3 = start + 14;
  const l4 = inner - UDP_HEADER - VXLAN_HEADER;
  const size = UDP_HEADER + VXLAN_HEADER + length;
  view.setUint16(start, ends.toHigh);
  view.setInt32(start + 2, ends.toLow);
  view.setUint16(start + 6, ends.fromHigh);
  view.setInt32(start + 8, ends.fromLow);
  view.setUint16(start + 12, ends.isIpv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
  const { addresses, sourceAt, destinationAt } = ends;
  if (ends.isIpv4) {
    view.setUint16(l3, 0x4500);
    view.setUint16(l3 + 2, 20 + size);
    // Never fragmented on the way: what does not fit is refused or split before.
    view.setUint32(l3 + 4, 0x00004000);
    view.setUint16(l3 + 8, (HOP_LIMIT << 8) | PROTOCOL_UDP);
    view.setUint16(l3 + 10, 0);
    view.setInt32(l3 + 12, addresses[sourceAt + 3]!);
    view.setInt32(l3 + 16, addresses[destinationAt + 3]!);
    view.setUint16(l3 + 10, ~fold(sumBytes(view, l3, 20)) & 0xffff);
  } else {
    view.setUint32(l3, 0x60000000);
    view.setUint16(l3 + 4, size);
    view.setUint16(l3 + 6, (PROTOCOL_UDP << 8) | HOP_LIMIT);
    for (let i = 0; i < 4; i++) {
      view.setInt32(l3 + 8 + 4 * i, addresses[sourceAt + i]!);
      view.setInt32(l3 + 24 + 4 * i, addresses[destinationAt + i]!);
    }
  }
  view.setUint16(l4, sourcePort);
  view.setUint16(l4 + 2, VXLAN_PORT);
  view.setUint16(l4 + 4, size);
  view.setUint16(l4 + 6, 0);
  view.setUint32(l4 + 8, IS_VNI_VALID << 24);
  view.setUint32(l4 + 12, (ends.vni << 8) >>> 0);
  if (!ends.isIpv4) {
    const sum = sumBytes(view, l3 + 8, 32) + PROTOCOL_UDP + sumWord(size) + sumBytes(view, l4, size);
    view.setUint16(l4 + 6, ~fold(sum) & 0xffff || 0xffff);
  }
  return start;
}

/** The VNI of the UDP datagram at hand, or -1 where it is no VXLAN; the frame inside begins at `l4` + 16. */
export function vniOf(packet: Packet): number {
  const { view, l4 } = packet;
  if (packet.protocol !== PROTOCOL_UDP || l4 === 0 || packet.isFragment) return -1;
  if (view.getUint16(l4 + 4) < UDP_HEADER + VXLAN_HEADER || (view.getUint8(l4 + 8) & IS_VNI_VALID) === 0)
    return -1;
  return view.getUint32(l4 + 12) >>> 8;
}

/** Where the frame inside the VXLAN datagram at hand begins, and how long it is. */
export function innerStart(packet: Packet): number {
  return packet.l4 + UDP_HEADER + VXLAN_HEADER;
}

/**
 * Writes the virtio_net_hdr of the frame inside, which begins at `start`, over the end of the outer headers. On virtual
 * links the kernel may have left that frame's checksum to be finished, and says where it is in the whole datagram.
 */
export function writeInnerHead(packet: Packet, start: number): void {
  const { view, buffer } = packet;
  const outer = packet.start - HEADROOM;
  const from = packet.isChecksumPartial ? view.getUint16(outer + CHECKSUM_START, true) : 0;
  const offset = packet.isChecksumPartial ? view.getUint16(outer + CHECKSUM_OFFSET, true) : 0;
  const before = start - packet.start;
  const head = start - HEADROOM;
  buffer.fill(0, head, start);
  if (from <= before) return;
  view.setUint8(head, NEEDS_CHECKSUM);
  view.setUint16(head + CHECKSUM_START, from - before, true);
  view.setUint16(head + CHECKSUM_OFFSET, offset, true);
}

export function innerLength(packet: Packet): number {
  return packet.view.getUint16(packet.l4 + 4) - UDP_HEADER - VXLAN_HEADER;
}
