/**
 * What every answer has in common: the link and network headers of the packet at hand, turned round, VLAN tags kept.
 * Answers are written to a scratch buffer and the length of the frame is returned; checksums are complete.
 */
import { writeChecksums } from './checksum.ts';
import { Packet } from './packet.ts';
import { parse } from './parse.ts';

/** Longest frame that is made here; scratch buffers hold at least this after `start`. */
export const LONGEST_REPLY = 1514;

/** Scratch for the checksums of the frame under construction: every front of this folder runs on one thread. */
const made = new Packet();

/** Copies the Ethernet header with its tags, addresses swapped; returns the offset of the network header. */
export function turnEthernet(packet: Packet, view: DataView, start: number): number {
  const size = packet.l3 - packet.start;
  for (let i = 12; i < size; i++) view.setUint8(start + i, packet.view.getUint8(packet.start + i));
  view.setUint16(start, packet.view.getUint16(packet.start + 6));
  view.setInt32(start + 2, packet.view.getInt32(packet.start + 8));
  view.setUint16(start + 6, packet.view.getUint16(packet.start));
  view.setInt32(start + 8, packet.view.getInt32(packet.start + 2));
  return start + size;
}

/** Writes an IP header of the packet's family from its destination to its source; returns the transport offset. */
export function turnIp(
  packet: Packet,
  view: DataView,
  l3: number,
  protocol: number,
  payload: number,
): number {
  if (packet.ipVersion === 4) {
    view.setUint16(l3, 0x4500);
    view.setUint16(l3 + 2, 20 + payload);
    view.setUint32(l3 + 4, 0x00004000);
    view.setUint8(l3 + 8, 64);
    view.setUint8(l3 + 9, protocol);
    view.setUint16(l3 + 10, 0);
    view.setInt32(l3 + 12, packet.d3);
    view.setInt32(l3 + 16, packet.s3);
    return l3 + 20;
  }
  view.setUint32(l3, 0x60000000);
  view.setUint16(l3 + 4, payload);
  view.setUint8(l3 + 6, protocol);
  view.setUint8(l3 + 7, 255);
  view.setInt32(l3 + 8, packet.d0);
  view.setInt32(l3 + 12, packet.d1);
  view.setInt32(l3 + 16, packet.d2);
  view.setInt32(l3 + 20, packet.d3);
  view.setInt32(l3 + 24, packet.s0);
  view.setInt32(l3 + 28, packet.s1);
  view.setInt32(l3 + 32, packet.s2);
  view.setInt32(l3 + 36, packet.s3);
  return l3 + 40;
}

/** Fills in the checksums of the frame from `start` to `end`, pads it, and returns its length. */
export function finish(buffer: Uint8Array, view: DataView, start: number, end: number): number {
  let length = end - start;
  for (; length < 60; length++) view.setUint8(start + length, 0);
  parse(made, buffer, start, length);
  writeChecksums(made);
  return length;
}
