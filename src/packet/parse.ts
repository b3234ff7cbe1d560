/**
 * The parser: points a Packet at one Ethernet frame. It reads bytes from a network and never throws, whatever they are.
 * Sources: IEEE 802.1Q, RFC 791, RFC 8200 (extension headers), RFC 9293 (TCP), RFC 768, RFC 792, RFC 4443.
 */
import { IPV4_MARK, isIpv4 } from './address.ts';
import { HEADROOM, type Packet } from './packet.ts';

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
export const TCP_FIN = 1;
export const TCP_SYN = 2;
export const TCP_RST = 4;
export const TCP_ACK = 16;

const MAX_TAGS = 4;
/** More extension headers than any sender has reason for: beyond that the frame is refused as malformed. */
const MAX_EXTENSIONS = 8;
const VIRTIO_NEEDS_CHECKSUM = 1;

/** Parses the frame at `buffer[start..start+length-1]`; HEADROOM bytes of virtio_net_hdr are expected before it. */
export function parse(packet: Packet, buffer: Uint8Array, start: number, length: number): void {
  if (packet.buffer !== buffer) {
    packet.buffer = buffer;
    packet.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }
  packet.start = start;
  packet.length = length;
  packet.isChecksumPartial =
    start >= HEADROOM && (buffer[start - HEADROOM]! & VIRTIO_NEEDS_CHECKSUM) === VIRTIO_NEEDS_CHECKSUM;
  packet.etherType = 0;
  packet.l3 = 0;
  packet.ipVersion = 0;
  packet.l4 = 0;
  packet.protocol = 0;
  packet.end = start + length;
  packet.sourcePort = 0;
  packet.destinationPort = 0;
  packet.tcpFlags = 0;
  packet.icmpType = 0;
  packet.isFragment = false;
  packet.fragmentOffset = 0;
  packet.fragmentId = 0;
  packet.malformed = null;
  if (length < 14 || start < 0 || start + length > buffer.length) {
    packet.malformed = 'shorter than an Ethernet header';
    return;
  }
  const view = packet.view;
  let at = start + 12;
  let etherType = view.getUint16(at);
  let tags = 0;
  while (etherType === 0x8100 || etherType === 0x88a8) {
    at += 4;
    tags++;
    if (tags > MAX_TAGS || at + 2 > start + length) {
      packet.malformed = 'VLAN tags do not end';
      return;
    }
    etherType = view.getUint16(at);
  }
  packet.etherType = etherType;
  packet.l3 = at + 2;
  if (etherType === ETHERTYPE_IPV4) parseIpv4(packet, view);
  else if (etherType === ETHERTYPE_IPV6) parseIpv6(packet, view);
}

function parseIpv4(packet: Packet, view: DataView): void {
  const l3 = packet.l3;
  const limit = packet.start + packet.length;
  if (l3 + 20 > limit) {
    packet.malformed = 'IPv4 header truncated';
    return;
  }
  const first = view.getUint8(l3);
  const header = (first & 15) * 4;
  const total = view.getUint16(l3 + 2);
  if (first >> 4 !== 4 || header < 20 || total < header || l3 + total > limit) {
    packet.malformed = 'IPv4 lengths contradict each other';
    return;
  }
  packet.ipVersion = 4;
  packet.end = l3 + total;
  packet.protocol = view.getUint8(l3 + 9);
  packet.s0 = 0;
  packet.s1 = 0;
  packet.s2 = IPV4_MARK;
  packet.s3 = view.getInt32(l3 + 12);
  packet.d0 = 0;
  packet.d1 = 0;
  packet.d2 = IPV4_MARK;
  packet.d3 = view.getInt32(l3 + 16);
  const fragment = view.getUint16(l3 + 6);
  if ((fragment & 0x3fff) !== 0) {
    packet.isFragment = true;
    packet.fragmentOffset = (fragment & 0x1fff) * 8;
    packet.fragmentId = view.getUint16(l3 + 4);
    if (packet.fragmentOffset !== 0) {
      refuseOverlap(packet);
      return;
    }
  }
  parseTransport(packet, view, l3 + header);
}

function parseIpv6(packet: Packet, view: DataView): void {
  const l3 = packet.l3;
  const limit = packet.start + packet.length;
  if (l3 + 40 > limit) {
    packet.malformed = 'IPv6 header truncated';
    return;
  }
  const end = l3 + 40 + view.getUint16(l3 + 4);
  if (view.getUint8(l3) >> 4 !== 6 || end > limit) {
    packet.malformed = 'IPv6 lengths contradict each other';
    return;
  }
  packet.ipVersion = 6;
  packet.end = end;
  packet.s0 = view.getInt32(l3 + 8);
  packet.s1 = view.getInt32(l3 + 12);
  packet.s2 = view.getInt32(l3 + 16);
  packet.s3 = view.getInt32(l3 + 20);
  packet.d0 = view.getInt32(l3 + 24);
  packet.d1 = view.getInt32(l3 + 28);
  packet.d2 = view.getInt32(l3 + 32);
  packet.d3 = view.getInt32(l3 + 36);
  if (isIpv4(packet.s0, packet.s1, packet.s2) || isIpv4(packet.d0, packet.d1, packet.d2)) {
    // RFC 4942 section 2.2: such addresses never belong on a wire; here they would pass for IPv4 flows.
    packet.malformed = 'IPv4-mapped address in an IPv6 header';
    return;
  }
  let next = view.getUint8(l3 + 6);
  let at = l3 + 40;
  for (let count = 0; ; count++) {
    const isOptions = next === 0 || next === 43 || next === 60 || next === 135;
    if (!isOptions && next !== 44 && next !== 51) break;
    if (count === MAX_EXTENSIONS || at + 8 > end) {
      packet.malformed = 'IPv6 extension headers do not end';
      return;
    }
    const following = view.getUint8(at);
    if (next === 44) {
      const word = view.getUint16(at + 2);
      // An atomic fragment (offset 0, nothing more to come) is a whole datagram.
      if ((word & 0xfff9) !== 0) {
        packet.isFragment = true;
        packet.fragmentOffset = word & 0xfff8;
        packet.fragmentId = view.getInt32(at + 4);
      }
      next = following;
      at += 8;
      if (packet.fragmentOffset !== 0) {
        packet.protocol = next;
        refuseOverlap(packet);
        return;
      }
    } else {
      const size = next === 51 ? (view.getUint8(at + 1) + 2) * 4 : (view.getUint8(at + 1) + 1) * 8;
      next = following;
      at += size;
    }
    if (at > end) {
      packet.malformed = 'IPv6 extension header longer than the packet';
      return;
    }
  }
  packet.protocol = next;
  parseTransport(packet, view, at);
}

/** RFC 1858: a second TCP fragment that begins inside the header could overwrite what was judged. */
function refuseOverlap(packet: Packet): void {
  if (packet.protocol === PROTOCOL_TCP && packet.fragmentOffset < 20) {
    packet.malformed = 'fragment begins inside the TCP header';
  }
}

function parseTransport(packet: Packet, view: DataView, l4: number): void {
  const protocol = packet.protocol;
  const room = packet.end - l4;
  if (protocol === PROTOCOL_TCP) {
    if (room < 20) {
      packet.malformed = 'TCP header truncated';
      return;
    }
    const header = (view.getUint8(l4 + 12) >> 4) * 4;
    if (header < 20 || header > room) {
      packet.malformed = 'TCP header length contradicts the packet';
      return;
    }
    packet.tcpFlags = view.getUint8(l4 + 13);
  } else if (protocol === PROTOCOL_UDP) {
    if (room < 8) {
      packet.malformed = 'UDP header truncated';
      return;
    }
    const length = view.getUint16(l4 + 4);
    if (length < 8 || (length > room && !packet.isFragment)) {
      packet.malformed = 'UDP length contradicts the packet';
      return;
    }
  } else if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    if ((protocol === PROTOCOL_ICMP) !== (packet.ipVersion === 4)) {
      packet.l4 = l4;
      return;
    }
    if (room < 8) {
      packet.malformed = 'ICMP header truncated';
      return;
    }
    const type = view.getUint8(l4);
    packet.icmpType = type;
    packet.l4 = l4;
    const isEcho = protocol === PROTOCOL_ICMP ? type === 8 || type === 0 : type === 128 || type === 129;
    if (isEcho) {
      packet.sourcePort = view.getUint16(l4 + 4);
      packet.destinationPort = packet.sourcePort;
    }
    return;
  } else {
    if (room > 0) packet.l4 = l4;
    return;
  }
  packet.l4 = l4;
  packet.sourcePort = view.getUint16(l4);
  packet.destinationPort = view.getUint16(l4 + 2);
}
