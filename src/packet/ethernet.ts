/** The Ethernet header in place: reading and writing MACs as upper 16 and lower 32 bits. */
import type { Packet } from './packet.ts';

export function destinationHigh(packet: Packet): number {
  return packet.view.getUint16(packet.start);
}

export function destinationLow(packet: Packet): number {
  return packet.view.getInt32(packet.start + 2);
}

export function sourceHigh(packet: Packet): number {
  return packet.view.getUint16(packet.start + 6);
}

export function sourceLow(packet: Packet): number {
  return packet.view.getInt32(packet.start + 8);
}

export function writeDestination(packet: Packet, high: number, low: number): void {
  packet.view.setUint16(packet.start, high);
  packet.view.setInt32(packet.start + 2, low);
}

export function writeSource(packet: Packet, high: number, low: number): void {
  packet.view.setUint16(packet.start + 6, high);
  packet.view.setInt32(packet.start + 8, low);
}

/** True for group addresses, broadcast included. `high` holds the upper 16 bits. */
export function isGroup(high: number): boolean {
  return (high & 0x0100) !== 0;
}
