/** ARP over Ethernet for IPv4 (RFC 826): reading a request in place, writing the frames that an engine sends. */

import type { Packet } from './packet.ts';
import { ETHERTYPE_ARP } from './parse.ts';

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** The operation of a well-formed Ethernet/IPv4 ARP packet, else 0. */
export function arpOperation(packet: Packet): number {
  const at = packet.l3;
  const view = packet.view;
  if (
    packet.etherType !== ETHERTYPE_ARP ||
    packet.malformed !== null ||
    at + 28 > packet.start + packet.length
  ) {
    return 0;
  }
  if (view.getUint32(at) !== 0x00010800 || view.getUint16(at + 4) !== 0x0604) return 0;
  return view.getUint16(at + 6);
}

/** Word of the sender's IPv4 address. */
export function arpSender(packet: Packet): number {
  return packet.view.getInt32(packet.l3 + 14);
}

/** Word of the IPv4 address that is asked for. */
export function arpTarget(packet: Packet): number {
  return packet.view.getInt32(packet.l3 + 24);
}

export function arpSenderMacHigh(packet: Packet): number {
  return packet.view.getUint16(packet.l3 + 8);
}

export function arpSenderMacLow(packet: Packet): number {
  return packet.view.getInt32(packet.l3 + 10);
}

/** Turns the request at hand, in place, into the reply that its target is at the given MAC. The length stays. */
export function turnIntoArpReply(packet: Packet, macHigh: number, macLow: number): void {
  const view = packet.view;
  const at = packet.l3;
  const senderHigh = arpSenderMacHigh(packet);
  const senderLow = arpSenderMacLow(packet);
  const sender = arpSender(packet);
  const target = arpTarget(packet);
  view.setUint16(packet.start, senderHigh);
  view.setInt32(packet.start + 2, senderLow);
  view.setUint16(packet.start + 6, macHigh);
  view.setInt32(packet.start + 8, macLow);
  writeBody(view, at, ARP_REPLY, macHigh, macLow, target, senderHigh, senderLow, sender);
}

/**
 * Writes an ARP request for `target` and returns the frame's length. It is a gratuitous announcement where `sender`
 * equals `target` (RFC 5227 section 3). The destination MAC is the given one; broadcast is 0xffff, -1.
 */
export function writeArpRequest(
  view: DataView,
  start: number,
  toHigh: number,
  toLow: number,
  macHigh: number,
  macLow: number,
  sender: number,
  target: number,
): number {
  view.setUint16(start, toHigh);
  view.setInt32(start + 2, toLow);
  view.setUint16(start + 6, macHigh);
  view.setInt32(start + 8, macLow);
  view.setUint16(start + 12, ETHERTYPE_ARP);
  writeBody(view, start + 14, ARP_REQUEST, macHigh, macLow, sender, 0, 0, target);
  for (let at = start + 42; at < start + 60; at++) view.setUint8(at, 0);
  return 60;
}

/** Length of the frame that {@link writeRarpRequest} writes. */
export const RARP_LENGTH = 60;
const ETHERTYPE_RARP = 0x8035;
const RARP_REQUEST = 3;

/** Writes a broadcast reverse ARP request from and for a MAC (RFC 903), by which switches learn where it is. */
export function writeRarpRequest(view: DataView, start: number, macHigh: number, macLow: number): void {
  view.setUint16(start, 0xffff);
  view.setInt32(start + 2, -1);
  view.setUint16(start + 6, macHigh);
  view.setInt32(start + 8, macLow);
  view.setUint16(start + 12, ETHERTYPE_RARP);
  writeBody(view, start + 14, RARP_REQUEST, macHigh, macLow, 0, macHigh, macLow, 0);
  for (let at = start + 42; at < start + RARP_LENGTH; at++) view.setUint8(at, 0);
}

function writeBody(
  view: DataView,
  at: number,
  operation: number,
  senderHigh: number,
  senderLow: number,
  sender: number,
  targetHigh: number,
  targetLow: number,
  target: number,
): void {
  view.setUint32(at, 0x00010800);
  view.setUint16(at + 4, 0x0604);
  view.setUint16(at + 6, operation);
  view.setUint16(at + 8, senderHigh);
  view.setInt32(at + 10, senderLow);
  view.setInt32(at + 14, sender);
  view.setUint16(at + 18, targetHigh);
  view.setInt32(at + 20, targetLow);
  view.setInt32(at + 24, target);
}
