/**
 * What it takes to answer a SYN in the name of another host and to join the two connections that this makes: the answer
 * itself, and sequence and acknowledgement numbers shifted in place (RFC 9293 section 3.4), checksums kept right by
 * difference.
 */
import { adjust, delta, sumWord, transportChecksum } from './checksum.ts';
import type { Packet } from './packet.ts';
import { PROTOCOL_TCP, TCP_ACK, TCP_SYN } from './parse.ts';
import { finish, turnEthernet, turnIp } from './reply.ts';

const HEADER = 20;
const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_MSS = 2;
/** Of a SYN without the option (RFC 9293 section 3.7.1, RFC 8200 section 5). */
const DEFAULT_MSS = { 4: 536, 6: 1220 };

/** The maximum segment size that the SYN at hand offers. */
export function offeredMss(packet: Packet): number {
  const { view, l4 } = packet;
  const end = Math.min(packet.end, l4 + (view.getUint8(l4 + 12) >> 4) * 4);
  for (let at = l4 + HEADER; at < end; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOTHING) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) break;
    if (kind === OPTION_MSS && length === 4) return view.getUint16(at + 2);
    at += length;
  }
  return packet.ipVersion === 4 ? DEFAULT_MSS[4] : DEFAULT_MSS[6];
}

export function sequenceOf(packet: Packet): number {
  return packet.view.getInt32(packet.l4 + 4);
}

export function acknowledgementOf(packet: Packet): number {
  return packet.view.getInt32(packet.l4 + 8);
}

/**
 * Writes the answer to the SYN at hand, from its destination to its source, and returns the frame's length. It offers
 * no option but the segment size, and a window of nothing: who gets it sends nothing before the window opens.
 */
export function writeSynAck(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
  sequence: number,
  mss: number,
): number {
  const at = turnIp(packet, view, turnEthernet(packet, view, start), PROTOCOL_TCP, HEADER + 4);
  view.setUint16(at, packet.destinationPort);
  view.setUint16(at + 2, packet.sourcePort);
  view.setInt32(at + 4, sequence);
  view.setInt32(at + 8, (sequenceOf(packet) + 1) | 0);
  view.setUint16(at + 12, 0x6000 | TCP_SYN | TCP_ACK);
  view.setUint16(at + 14, 0);
  view.setUint32(at + 16, 0);
  view.setUint32(at + HEADER, (OPTION_MSS << 24) | (4 << 16) | mss);
  return finish(buffer, view, start, at + HEADER + 4);
}

/** A TCP segment without data that nobody sent: between which ends, and with which numbers. */
export interface SegmentSpec {
  /** Where the eight words of source and destination address stand in `words`. */
  words: Int32Array;
  at: number;
  /** Source port << 16 | destination port. */
  ports: number;
  sequence: number;
  acknowledgement: number;
  flags: number;
  window: number;
  /** The segment size to offer, 0 for none. */
  mss: number;
}

/** Writes that segment behind the two MACs, which the caller has written, and returns the frame's length. */
export function writeSegment(buffer: Uint8Array, view: DataView, start: number, spec: SegmentSpec): number {
  const { words, at: from } = spec;
  const isIpv4 = words[from] === 0 && words[from + 1] === 0 && words[from + 2] === 0xffff;
  const l3 = start + 14;
  const size = HEADER + (spec.mss > 0 ? 4 : 0);
  view.setUint16(start + 12, isIpv4 ? 0x0800 : 0x86dd);
  let at = l3 + 20;
  if (isIpv4) {
    view.setUint16(l3, 0x4500);
    view.setUint16(l3 + 2, 20 + size);
    view.setUint32(l3 + 4, 0x00004000);
    view.setUint16(l3 + 8, (64 << 8) | PROTOCOL_TCP);
    view.setUint16(l3 + 10, 0);
    view.setInt32(l3 + 12, words[from + 3]!);
    view.setInt32(l3 + 16, words[from + 7]!);
  } else {
    view.setUint32(l3, 0x60000000);
    view.setUint16(l3 + 4, size);
    view.setUint16(l3 + 6, (PROTOCOL_TCP << 8) | 64);
    for (let i = 0; i < 8; i++) view.setInt32(l3 + 8 + i * 4, words[from + i]!);
    at = l3 + 40;
  }
  view.setInt32(at, spec.ports);
  view.setInt32(at + 4, spec.sequence);
  view.setInt32(at + 8, spec.acknowledgement);
  view.setUint16(at + 12, ((size >> 2) << 12) | spec.flags);
  view.setUint16(at + 14, spec.window);
  view.setUint32(at + 16, 0);
  if (spec.mss > 0) view.setUint32(at + HEADER, (OPTION_MSS << 24) | (4 << 16) | spec.mss);
  return finish(buffer, view, start, at + size);
}

/** Adds to the sequence number of the segment at hand. */
export function shiftSequence(packet: Packet, by: number): void {
  shift(packet, packet.l4 + 4, by);
}

/** Adds to what the segment at hand acknowledges; nothing where it acknowledges nothing. */
export function shiftAcknowledgement(packet: Packet, by: number): void {
  if ((packet.tcpFlags & TCP_ACK) !== 0) shift(packet, packet.l4 + 8, by);
}

/** Makes of the SYN-ACK at hand the first ACK behind it: what it offered stays only as its window. */
export function turnToAck(packet: Packet): void {
  const { view, l4 } = packet;
  view.setInt32(l4 + 4, (view.getInt32(l4 + 4) + 1) | 0);
  view.setUint8(l4 + 13, TCP_ACK);
  packet.tcpFlags = TCP_ACK;
  const end = l4 + (view.getUint8(l4 + 12) >> 4) * 4;
  for (let at = l4 + HEADER; at < end; at++) view.setUint8(at, OPTION_NOTHING);
  if (!packet.isChecksumPartial) view.setUint16(l4 + 16, transportChecksum(packet));
}

function shift(packet: Packet, at: number, by: number): void {
  const { view, l4 } = packet;
  const before = view.getInt32(at);
  const after = (before + by) | 0;
  view.setInt32(at, after);
  if (packet.isChecksumPartial) return;
  view.setUint16(l4 + 16, adjust(view.getUint16(l4 + 16), delta(sumWord(before), sumWord(after))));
}
