/** Builds frames for tests, independently of the builders in src/packet, from text. */
import { parseAddress } from '../../src/packet/address.ts';
import { HEADROOM } from '../../src/packet/packet.ts';

export interface FrameSpec {
  from: string;
  to: string;
  fromMac?: string;
  toMac?: string;
  protocol?: 'tcp' | 'udp' | 'icmp';
  sport?: number;
  dport?: number;
  /** Letters of S A F R P. */
  flags?: string;
  seq?: number;
  ack?: number;
  window?: number;
  /** TCP options, a multiple of 4 bytes. */
  tcpOptions?: readonly number[];
  payload?: Uint8Array | string;
  /** 802.1Q VLAN ids, outermost first. */
  vlans?: number[];
  /** Leaves the transport checksum partial, as a virtual NIC does, and says so in the virtio_net_hdr. */
  isPartial?: boolean;
  /** UDP over IPv4 without a checksum. */
  hasNoChecksum?: boolean;
  icmpType?: number;
  /** IPv4 options, a multiple of 4 bytes. */
  options?: Uint8Array;
  /** IPv6 hop-by-hop header in front of the transport header. */
  hasHopByHop?: boolean;
  fragment?: { id: number; offset: number; hasMore: boolean };
  ttl?: number;
}

/** A frame with its headroom: the frame itself begins at HEADROOM. */
export function frame(spec: FrameSpec): Uint8Array {
  const isV4 = !spec.from.includes(':');
  const payload =
    typeof spec.payload === 'string' ? Buffer.from(spec.payload) : (spec.payload ?? new Uint8Array(0));
  const l4 = spec.fragment && spec.fragment.offset > 0 ? payload : transport(spec, payload, isV4);
  const l3 = isV4 ? ipv4(spec, l4) : ipv6(spec, l4);
  const tags = (spec.vlans ?? []).flatMap((id) => [0x81, 0x00, id >> 8, id & 255]);
  const ethernet = [
    ...mac(spec.toMac ?? '02:00:00:00:00:02'),
    ...mac(spec.fromMac ?? '02:00:00:00:00:01'),
    ...tags,
    ...(isV4 ? [0x08, 0x00] : [0x86, 0xdd]),
  ];
  const virtio = new Uint8Array(HEADROOM);
  if (spec.isPartial) virtio[0] = 1;
  return Uint8Array.from([...virtio, ...ethernet, ...l3]);
}

export function mac(text: string): number[] {
  return text.split(':').map((part) => Number.parseInt(part, 16));
}

export function addressBytes(text: string): Uint8Array {
  const words = new Int32Array(4);
  if (!parseAddress(text, words)) throw new Error(`${text} is no address`);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  words.forEach((word, index) => {
    view.setInt32(4 * index, word);
  });
  return text.includes(':') ? bytes : bytes.subarray(12);
}

/** Plain RFC 1071, one's complement of the one's complement sum. */
export function checksum(...parts: Uint8Array[]): number {
  const all = Buffer.concat(
    parts.map((part) => (part.length % 2 === 0 ? part : Buffer.concat([part, Buffer.alloc(1)]))),
  );
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) sum += all.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function transport(spec: FrameSpec, payload: Uint8Array, isV4: boolean): Uint8Array {
  const protocol = spec.protocol ?? 'tcp';
  let bytes: Buffer;
  let at: number;
  if (protocol === 'tcp') {
    const options = spec.tcpOptions ?? [];
    const header = 20 + options.length;
    bytes = Buffer.alloc(header + payload.length);
    bytes.writeUInt16BE(spec.sport ?? 1024, 0);
    bytes.writeUInt16BE(spec.dport ?? 80, 2);
    bytes.writeUInt32BE(spec.seq ?? 1000, 4);
    bytes.writeUInt32BE(spec.ack ?? 0, 8);
    bytes[12] = (header / 4) << 4;
    const letters: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16 };
    bytes[13] = [...(spec.flags ?? 'S')].reduce((sum, letter) => sum | letters[letter]!, 0);
    bytes.writeUInt16BE(spec.window ?? 0, 14);
    bytes.set(options, 20);
    bytes.set(payload, header);
    at = 16;
  } else if (protocol === 'udp') {
    bytes = Buffer.alloc(8 + payload.length);
    bytes.writeUInt16BE(spec.sport ?? 1024, 0);
    bytes.writeUInt16BE(spec.dport ?? 53, 2);
    bytes.writeUInt16BE(8 + payload.length, 4);
    bytes.set(payload, 8);
    at = 6;
  } else {
    bytes = Buffer.alloc(8 + payload.length);
    bytes[0] = spec.icmpType ?? (isV4 ? 8 : 128);
    bytes.writeUInt16BE(spec.sport ?? 7, 4);
    bytes.set(payload, 8);
    at = 2;
  }
  const pseudo = pseudoHeader(spec, bytes.length, isV4);
  if (spec.isPartial) bytes.writeUInt16BE(~checksum(pseudo) & 0xffff, at);
  else if (!spec.hasNoChecksum) {
    const value = protocol === 'icmp' && isV4 ? checksum(bytes) : checksum(pseudo, bytes);
    bytes.writeUInt16BE(value === 0 && protocol === 'udp' ? 0xffff : value, at);
  }
  return bytes;
}

function protocolNumber(spec: FrameSpec, isV4: boolean): number {
  const protocol = spec.protocol ?? 'tcp';
  return protocol === 'tcp' ? 6 : protocol === 'udp' ? 17 : isV4 ? 1 : 58;
}

function pseudoHeader(spec: FrameSpec, length: number, isV4: boolean): Uint8Array {
  const tail = isV4
    ? Uint8Array.of(0, protocolNumber(spec, isV4), length >> 8, length & 255)
    : Uint8Array.of(0, 0, length >> 8, length & 255, 0, 0, 0, protocolNumber(spec, isV4));
  return Buffer.concat([addressBytes(spec.from), addressBytes(spec.to), tail]);
}

function ipv4(spec: FrameSpec, l4: Uint8Array): Uint8Array {
  const options = spec.options ?? new Uint8Array(0);
  const header = Buffer.alloc(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + l4.length, 2);
  if (spec.fragment) {
    header.writeUInt16BE(spec.fragment.id, 4);
    header.writeUInt16BE((spec.fragment.hasMore ? 0x2000 : 0) | (spec.fragment.offset / 8), 6);
  }
  header[8] = spec.ttl ?? 64;
  header[9] = protocolNumber(spec, true);
  header.set(addressBytes(spec.from), 12);
  header.set(addressBytes(spec.to), 16);
  header.set(options, 20);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, l4]);
}

function ipv6(spec: FrameSpec, l4: Uint8Array): Uint8Array {
  const protocol = protocolNumber(spec, false);
  const extensions: Buffer[] = [];
  let first = protocol;
  if (spec.fragment) {
    const header = Buffer.alloc(8);
    header[0] = first;
    header.writeUInt16BE(spec.fragment.offset | (spec.fragment.hasMore ? 1 : 0), 2);
    header.writeUInt32BE(spec.fragment.id, 4);
    extensions.unshift(header);
    first = 44;
  }
  if (spec.hasHopByHop) {
    extensions.unshift(Buffer.from([first, 0, 1, 4, 0, 0, 0, 0]));
    first = 0;
  }
  const rest = Buffer.concat([...extensions, l4]);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(rest.length, 4);
  header[6] = first;
  header[7] = spec.ttl ?? 64;
  header.set(addressBytes(spec.from), 8);
  header.set(addressBytes(spec.to), 24);
  return Buffer.concat([header, rest]);
}

/** An ARP frame with its headroom. */
export function arp(spec: {
  operation: 1 | 2;
  fromMac: string;
  toMac?: string;
  sender: string;
  target: string;
}): Uint8Array {
  return Uint8Array.from([
    ...new Uint8Array(HEADROOM),
    ...mac(spec.toMac ?? 'ff:ff:ff:ff:ff:ff'),
    ...mac(spec.fromMac),
    0x08,
    0x06,
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    spec.operation,
    ...mac(spec.fromMac),
    ...addressBytes(spec.sender),
    ...(spec.operation === 2 && spec.toMac ? mac(spec.toMac) : [0, 0, 0, 0, 0, 0]),
    ...addressBytes(spec.target),
  ]);
}

/** A neighbour solicitation or advertisement with its headroom. */
export function neighbour(spec: {
  isAdvertisement?: boolean;
  fromMac: string;
  toMac: string;
  from: string;
  to: string;
  target: string;
}): Uint8Array {
  const body = Buffer.concat([
    Buffer.from(addressBytes(spec.target)),
    Buffer.from([spec.isAdvertisement ? 2 : 1, 1, ...mac(spec.fromMac)]),
  ]);
  return frame({
    from: spec.from,
    to: spec.to,
    fromMac: spec.fromMac,
    toMac: spec.toMac,
    protocol: 'icmp',
    icmpType: spec.isAdvertisement ? 136 : 135,
    sport: 0,
    ttl: 255,
    payload: body,
  });
}
