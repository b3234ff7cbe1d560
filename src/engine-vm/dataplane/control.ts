/**
 * Control frames: what engines of a group say to each other through their data path. EtherType 0x88B5 (IEEE 802 local
 * experimental), a header of 24 bytes, a body, and 16 bytes of HMAC-SHA256 under the group's key over both.
 *
 *    0  2  version, 0x5701
 *    2  1  type        3  1  flags
 *    4  4  hash of the sender's id       8  4  hash of the receiver's id
 *   12  8  nonce: an answer repeats that of the question, so that no recorded answer is worth anything
 *   20  2  length of the body           22  2  zero
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Packet } from '../../packet/packet.ts';

export const ETHERTYPE_CONTROL = 0x88b5;
/** "Are you there?", asked of each peer. */
export const CONTROL_PROBE = 1;
/** The answer, with the flags below. */
export const CONTROL_ANSWER = 2;
/** A packet in the middle of a connection that the sender does not know; the body is the frame, or its beginning. */
export const CONTROL_ORPHAN = 3;
/** "That connection is mine"; the body is the member's id, or a shift of sequence numbers and the id. */
export const CONTROL_CLAIM = 4;

/** "Keep these connections for me"; the body is a list (replicator.ts). */
export const CONTROL_FLOWS = 5;

/** "The member of a connection that you handed on does not answer"; the body names the connection (splicer.ts). */
export const CONTROL_REFUSED = 6;

/** Flags of an answer: there are members beside the engine; one of them was heard in the last second. */
export const ANSWER_HAS_MEMBERS = 1;
export const ANSWER_INSIDE_ALIVE = 2;
/** Flag of an orphan: the body is only the frame's beginning, not fit to be delivered. */
export const ORPHAN_IS_CUT = 1;
/** In the bits above: how many tiers behind that of the service address the member in question is. */
export const ORPHAN_OFFSET_SHIFT = 4;
/** Flags of a claim: send the packets to the claiming engine, not to the member; the body begins with a shift (splicer.ts). */
export const CLAIM_RELAY = 1;
export const CLAIM_IS_SHIFTED = 2;

const VERSION = 0x5701;
const HEADER = 24;
const MAC_LENGTH = 16;
const ETHERNET = 14;
/** What a control frame has beside its body, without its Ethernet header. */
export const CONTROL_OVERHEAD = HEADER + MAC_LENGTH;
/** Longest body: header, body and HMAC fit into the smallest usual MTU. */
export const LONGEST_BODY = 1500 - HEADER - MAC_LENGTH;

/** The 32-bit name of an engine or a member in control frames (FNV-1a over UTF-8). */
export function nameHash(id: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(id)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash | 0;
}

export class ControlCodec {
  private readonly key: Buffer;
  private readonly self: number;

  constructor(key: Buffer, selfId: string) {
    this.key = key;
    this.self = nameHash(selfId);
  }

  /** Writes a control frame and returns its length. `body` is at most LONGEST_BODY bytes. */
  write(
    buffer: Uint8Array,
    view: DataView,
    start: number,
    toHigh: number,
    toLow: number,
    fromHigh: number,
    fromLow: number,
    type: number,
    flags: number,
    receiver: number,
    nonceHigh: number,
    nonceLow: number,
    body: Uint8Array | null,
  ): number {
    const size = body === null ? 0 : body.length;
    view.setUint16(start, toHigh);
    view.setInt32(start + 2, toLow);
    view.setUint16(start + 6, fromHigh);
    view.setInt32(start + 8, fromLow);
    view.setUint16(start + 12, ETHERTYPE_CONTROL);
    const at = start + ETHERNET;
    view.setUint16(at, VERSION);
    view.setUint8(at + 2, type);
    view.setUint8(at + 3, flags);
    view.setInt32(at + 4, this.self);
    view.setInt32(at + 8, receiver);
    view.setInt32(at + 12, nonceHigh);
    view.setInt32(at + 16, nonceLow);
    view.setUint16(at + 20, size);
    view.setUint16(at + 22, 0);
    if (body !== null) buffer.set(body, at + HEADER);
    const end = at + HEADER + size;
    buffer.set(this.sign(buffer.subarray(at, end)), end);
    let length = end + MAC_LENGTH - start;
    for (; length < 60; length++) view.setUint8(start + length, 0);
    return length;
  }

  /** Whether the frame at hand is well formed, for this engine, from the engine of that hash, and signed with our key. */
  isAuthentic(packet: Packet, sender: number): boolean {
    const at = packet.l3;
    const view = packet.view;
    const limit = packet.start + packet.length;
    if (at + HEADER + MAC_LENGTH > limit || view.getUint16(at) !== VERSION) return false;
    const end = at + HEADER + view.getUint16(at + 20);
    if (end + MAC_LENGTH > limit) return false;
    if (view.getInt32(at + 4) !== sender || view.getInt32(at + 8) !== this.self) return false;
    const signature = packet.buffer.subarray(end, end + MAC_LENGTH);
    return timingSafeEqual(signature, this.sign(packet.buffer.subarray(at, end)));
  }

  private sign(bytes: Uint8Array): Uint8Array {
    return createHmac('sha256', this.key).update(bytes).digest().subarray(0, MAC_LENGTH);
  }
}

/** Fields of an authentic frame. */
export function controlType(packet: Packet): number {
  return packet.view.getUint8(packet.l3 + 2);
}

export function controlFlags(packet: Packet): number {
  return packet.view.getUint8(packet.l3 + 3);
}

export function controlNonceHigh(packet: Packet): number {
  return packet.view.getInt32(packet.l3 + 12);
}

export function controlNonceLow(packet: Packet): number {
  return packet.view.getInt32(packet.l3 + 16);
}

/** Offset and length of the body in the packet's buffer. */
export function controlBodyAt(packet: Packet): number {
  return packet.l3 + HEADER;
}

export function controlBodyLength(packet: Packet): number {
  return packet.view.getUint16(packet.l3 + 20);
}
