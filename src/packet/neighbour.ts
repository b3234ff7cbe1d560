/** Neighbour discovery for IPv6 (RFC 4861): reading a solicitation, writing solicitations and advertisements. */

import type { Packet } from './packet.ts';
import { PROTOCOL_ICMPV6 } from './parse.ts';
import { finish } from './reply.ts';

export const ND_SOLICITATION = 135;
export const ND_ADVERTISEMENT = 136;

const SOLICITED = 0x40000000;
const OVERRIDE = 0x20000000;

/** True for a well-formed solicitation (hop limit 255, so that no router passed it on); its target is at `l4` + 8. */
export function isNeighbourSolicitation(packet: Packet): boolean {
  return isNeighbourMessage(packet, ND_SOLICITATION);
}

/** True for a well-formed advertisement; its target is at `l4` + 8. */
export function isNeighbourAdvertisement(packet: Packet): boolean {
  return isNeighbourMessage(packet, ND_ADVERTISEMENT);
}

function isNeighbourMessage(packet: Packet, type: number): boolean {
  return (
    packet.icmpType === type &&
    packet.protocol === PROTOCOL_ICMPV6 &&
    packet.malformed === null &&
    packet.end - packet.l4 >= 24 &&
    packet.view.getUint8(packet.l3 + 7) === 255
  );
}

/**
 * Writes the advertisement that answers the solicitation at hand: its target is at the given MAC. To a sender that
 * has no address yet it goes to all nodes (RFC 4861 section 7.2.4). Returns the frame's length.
 */
export function writeNeighbourAnswer(
  packet: Packet,
  buffer: Uint8Array,
  view: DataView,
  start: number,
  macHigh: number,
  macLow: number,
): number {
  const tags = packet.l3 - packet.start;
  for (let i = 12; i < tags; i++) view.setUint8(start + i, packet.view.getUint8(packet.start + i));
  const target = packet.l4 + 8;
  const isAnonymous = packet.s0 === 0 && packet.s1 === 0 && packet.s2 === 0 && packet.s3 === 0;
  const l3 = start + tags;
  if (isAnonymous) {
    view.setUint16(start, 0x3333);
    view.setInt32(start + 2, 1);
    writeAllNodes(view, l3 + 24);
  } else {
    view.setUint16(start, packet.view.getUint16(packet.start + 6));
    view.setInt32(start + 2, packet.view.getInt32(packet.start + 8));
    for (let i = 0; i < 16; i++) view.setUint8(l3 + 24 + i, packet.view.getUint8(packet.l3 + 8 + i));
  }
  for (let i = 0; i < 16; i++) view.setUint8(l3 + 48 + i, packet.view.getUint8(target + i));
  view.setUint32(l3 + 44, isAnonymous ? OVERRIDE : OVERRIDE | SOLICITED);
  return writeAdvertisement(buffer, view, start, l3, macHigh, macLow);
}

/** Writes an unsolicited advertisement to all nodes that the address is at the given MAC; returns its length. */
export function writeUnsolicitedAdvertisement(
  buffer: Uint8Array,
  view: DataView,
  start: number,
  macHigh: number,
  macLow: number,
  words: Int32Array,
  index: number,
): number {
  view.setUint16(start, 0x3333);
  view.setInt32(start + 2, 1);
  view.setUint16(start + 12, 0x86dd);
  const l3 = start + 14;
  writeAllNodes(view, l3 + 24);
  view.setUint32(l3 + 44, OVERRIDE);
  for (let i = 0; i < 4; i++) view.setInt32(l3 + 48 + 4 * i, words[index + i]!);
  return writeAdvertisement(buffer, view, start, l3, macHigh, macLow);
}

/**
 * Writes a solicitation for the address at `target[at..at+3]`, addressed to the given MAC, of a host or of the
 * target's solicited-node group; the sender is the address
 * at `source[from..from+3]`. Returns the frame's length.
 */
export function writeSolicitation(
  buffer: Uint8Array,
  view: DataView,
  start: number,
  toHigh: number,
  toLow: number,
  macHigh: number,
  macLow: number,
  source: Int32Array,
  from: number,
  target: Int32Array,
  at: number,
): number {
  view.setUint16(start, toHigh);
  view.setInt32(start + 2, toLow);
  view.setUint16(start + 12, 0x86dd);
  const l3 = start + 14;
  writeHeader(view, start, l3, macHigh, macLow);
  for (let i = 0; i < 4; i++) {
    view.setInt32(l3 + 8 + 4 * i, source[from + i]!);
    view.setInt32(l3 + 24 + 4 * i, target[at + i]!);
    view.setInt32(l3 + 48 + 4 * i, target[at + i]!);
  }
  if ((toHigh & 0x0100) !== 0) {
    // To a group: the solicited-node address (RFC 4291 section 2.7.1).
    view.setInt32(l3 + 24, 0xff020000 | 0);
    view.setInt32(l3 + 28, 0);
    view.setInt32(l3 + 32, 1);
    view.setInt32(l3 + 36, 0xff000000 | (target[at + 3]! & 0xffffff));
  }
  view.setUint32(l3 + 40, ND_SOLICITATION << 24);
  view.setUint32(l3 + 44, 0);
  writeLinkOption(view, l3 + 64, 1, macHigh, macLow);
  return finish(buffer, view, start, l3 + 72);
}

function writeAdvertisement(
  buffer: Uint8Array,
  view: DataView,
  start: number,
  l3: number,
  macHigh: number,
  macLow: number,
): number {
  writeHeader(view, start, l3, macHigh, macLow);
  // The source is the target itself: the address that is being announced.
  for (let i = 0; i < 16; i++) view.setUint8(l3 + 8 + i, view.getUint8(l3 + 48 + i));
  view.setUint32(l3 + 40, (ND_ADVERTISEMENT << 24) >>> 0);
  writeLinkOption(view, l3 + 64, 2, macHigh, macLow);
  return finish(buffer, view, start, l3 + 72);
}

function writeHeader(view: DataView, start: number, l3: number, macHigh: number, macLow: number): void {
  view.setUint16(start + 6, macHigh);
  view.setInt32(start + 8, macLow);
  view.setUint32(l3, 0x60000000);
  view.setUint16(l3 + 4, 32);
  view.setUint8(l3 + 6, PROTOCOL_ICMPV6);
  view.setUint8(l3 + 7, 255);
}

function writeLinkOption(view: DataView, at: number, type: number, macHigh: number, macLow: number): void {
  view.setUint8(at, type);
  view.setUint8(at + 1, 1);
  view.setUint16(at + 2, macHigh);
  view.setInt32(at + 4, macLow);
}

function writeAllNodes(view: DataView, at: number): void {
  view.setInt32(at, 0xff020000 | 0);
  view.setInt32(at + 4, 0);
  view.setInt32(at + 8, 0);
  view.setInt32(at + 12, 1);
}
