/**
 * One Ethernet frame, parsed in place. A Packet is made once and pointed at frame after frame: the hot path
 * allocates nothing. Fields hold host-order numbers; the 32-bit words of addresses are signed (as in an Int32Array),
 * so that they stay small integers for the engine: compare them with words from address.ts, or mask with `>>> 0`.
 *
 * Buffer convention, from the NIC to the wire: the ten bytes before `start` hold the frame's virtio_net_hdr
 * (linux/virtio_net.h): it says whether the L4 checksum is still partial and how the kernel shall segment the frame.
 * It travels with the frame unchanged. Frames that we make ourselves carry ten zero bytes there.
 */

/** Bytes of virtio_net_hdr before each frame. */
export const HEADROOM = 10;

export class Packet {
  buffer: Uint8Array = new Uint8Array(0);
  /** Big-endian access to the same bytes. */
  view: DataView = new DataView(new ArrayBuffer(0));
  /** Offset of the first byte of the Ethernet header. */
  start = 0;
  /** Bytes of the frame. */
  length = 0;
  /** VIRTIO_NET_HDR_F_NEEDS_CSUM: the L4 checksum field holds only the pseudo-header sum, not inverted. */
  isChecksumPartial = false;

  /** EtherType behind any 802.1Q/802.1ad tags. */
  etherType = 0;
  /** Offset of the network header; `start` + 14 + 4 per tag. */
  l3 = 0;
  /** 4, 6, or 0 where the frame is not IP (or is not parsable as IP: then `malformed` says why). */
  ipVersion = 0;
  /** Offset of the transport header, or 0 where there is none (not IP, or a later fragment). */
  l4 = 0;
  /** IP protocol number behind IPv6 extension headers. */
  protocol = 0;
  /** Offset behind the last byte of the IP datagram; what follows up to `start` + `length` is padding. */
  end = 0;
  /** Source address, 4 signed words; IPv4 as ::ffff:a.b.c.d. */
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;
  /** Destination address. */
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  /** Ports of TCP and UDP; identifier of ICMP echo in both; else 0. */
  sourcePort = 0;
  destinationPort = 0;
  /** Low byte of the TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16. */
  tcpFlags = 0;
  /** Type of ICMP or ICMPv6, else 0. */
  icmpType = 0;
  isFragment = false;
  /** Fragment offset in bytes; 0 for the first. */
  fragmentOffset = 0;
  fragmentId = 0;
  /** Why the frame cannot be trusted, or null. */
  malformed: string | null = null;
}
