/**
 * Files of captured frames, as Wireshark reads them: blocks of the pcapng format, written little-endian.
 * Source: draft-ietf-opsawg-pcapng (sections 4.1 section header, 4.2 interface description, 4.3 enhanced packet,
 * 4.6 interface statistics).
 */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;

const OPTION_END = 0;
const OPTION_COMMENT = 1;
const SECTION_APPLICATION = 4;
const INTERFACE_NAME = 2;
const INTERFACE_ABOUT = 3;
const INTERFACE_RESOLUTION = 9;
const PACKET_FLAGS = 2;
const STATISTICS_RECEIVED = 4;
const STATISTICS_DROPPED = 5;
/** Bits of the packet's flags. */
const INBOUND = 1;
const OUTBOUND = 2;
/** The longest text of an option, in bytes; what is longer is cut. */
const MAX_TEXT_BYTES = 4096;

const encoder = new TextEncoder();

type Option = readonly [code: number, value: string | Uint8Array];

/** The block that a file begins with. */
export function sectionHeader(application: string, comment: string): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true);
  // The section's length is not known.
  view.setBigInt64(8, -1n, true);
  return block(SECTION_HEADER, body, new Uint8Array(0), [
    [OPTION_COMMENT, comment],
    [SECTION_APPLICATION, application],
  ]);
}

/** An Ethernet interface; those of a file are numbered from 0 in their order. Times are in microseconds. */
export function interfaceDescription(name: string, about: string, snapBytes: number): Uint8Array {
  const body = new Uint8Array(8);
  const view = new DataView(body.buffer);
  view.setUint16(0, LINKTYPE_ETHERNET, true);
  view.setUint32(4, snapBytes, true);
  return block(INTERFACE_DESCRIPTION, body, new Uint8Array(0), [
    [INTERFACE_NAME, name],
    [INTERFACE_ABOUT, about],
    [INTERFACE_RESOLUTION, Uint8Array.of(6)],
  ]);
}

/** A frame, or its beginning. */
export interface CapturedFrame {
  /** Number of the interface. */
  port: number;
  /** Microseconds since 1970. */
  micros: number;
  bytes: Uint8Array;
  /** The frame's whole length. */
  length: number;
  /** Whether it was sent there; else it came in. */
  isSent: boolean;
  comment: string;
}

/** A frame with its comment. */
export function enhancedPacket({ port, micros, bytes, length, isSent, comment }: CapturedFrame): Uint8Array {
  const head = new Uint8Array(20);
  const view = new DataView(head.buffer);
  view.setUint32(0, port, true);
  view.setUint32(4, Math.floor(micros / 0x1_0000_0000), true);
  view.setUint32(8, micros % 0x1_0000_0000, true);
  view.setUint32(12, bytes.length, true);
  view.setUint32(16, length, true);
  const flags = Uint8Array.of(isSent ? OUTBOUND : INBOUND, 0, 0, 0);
  return block(ENHANCED_PACKET, head, bytes, [
    [OPTION_COMMENT, comment],
    [PACKET_FLAGS, flags],
  ]);
}

/** What became of an interface's frames: how many there were, and how many of them are missing in the file. */
export function interfaceStatistics(
  port: number,
  micros: number,
  frames: number,
  lost: number,
  comment: string,
): Uint8Array {
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint32(0, port, true);
  view.setUint32(4, Math.floor(micros / 0x1_0000_0000), true);
  view.setUint32(8, micros % 0x1_0000_0000, true);
  return block(INTERFACE_STATISTICS, body, new Uint8Array(0), [
    [OPTION_COMMENT, comment],
    [STATISTICS_RECEIVED, word64(frames)],
    [STATISTICS_DROPPED, word64(lost)],
  ]);
}

function word64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** Type, length, head, data, options, length again; data and option values padded to words. */
function block(type: number, head: Uint8Array, data: Uint8Array, options: readonly Option[]): Uint8Array {
  const values = options.flatMap(([code, value]): [number, Uint8Array][] => {
    const bytes = typeof value === 'string' ? textBytes(value) : value;
    return bytes.length === 0 ? [] : [[code, bytes]];
  });
  const optionBytes = values.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4);
  const total = 12 + head.length + padded(data.length) + optionBytes;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  bytes.set(head, 8);
  let at = 8 + head.length;
  bytes.set(data, at);
  at += padded(data.length);
  for (const [code, value] of values) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint16(at, OPTION_END, true);
  view.setUint32(total - 4, total, true);
  return bytes;
}

/** UTF-8 without control characters, cut at a whole character where it is too long. */
function textBytes(text: string): Uint8Array {
  const clean = text.replace(/\p{Cc}/gu, '\ufffd');
  const bytes = new Uint8Array(MAX_TEXT_BYTES);
  return bytes.subarray(0, encoder.encodeInto(clean, bytes).written);
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
