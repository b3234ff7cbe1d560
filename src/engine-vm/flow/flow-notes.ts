/**
 * Notes about flows that have no record: one number for each key, in twelve bytes. A set of four ways where the one
 * used longest ago makes room, so it is bounded, and what it says may be forgotten: whoever asks needs an answer for
 * that. A key stands as 32 bits of a seeded hash, beside the place it is filed in.
 */
import type { Packet } from '../../packet/packet.ts';
import { hashFlow } from './flow-hash.ts';

const WAYS = 4;
/** Words of a note: hash, value + 1 (0 where free), when it was last used. */
const STRIDE = 3;
const FEWEST = 4096;

export class FlowNotes {
  /** A note that was still good has made room for another: what is not here may have been. */
  hasForgotten = false;

  private readonly notes: Int32Array;
  private readonly mask: number;
  private readonly seed: number;

  /** Room for `flows` keys at least. `seed`: any 32-bit number that others cannot guess. */
  constructor(flows: number, seed: number) {
    let sets = FEWEST / WAYS;
    while (sets * WAYS < flows) sets *= 2;
    this.mask = sets - 1;
    this.notes = new Int32Array(sets * WAYS * STRIDE);
    this.seed = seed | 0;
  }

  /** How many keys it has room for. */
  get capacity(): number {
    return (this.mask + 1) * WAYS;
  }

  /** As `findKey`, by the packet's own key. */
  find(packet: Packet, nowMs: number, lifetimeMs: number): number {
    const { protocol, s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort } = packet;
    const ports = (sourcePort << 16) | destinationPort;
    return this.findKey(protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports, nowMs, lifetimeMs);
  }

  /** As `setKey`, by the packet's own key. */
  set(packet: Packet, value: number, nowMs: number, lifetimeMs: number): void {
    const { protocol, s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort } = packet;
    const ports = (sourcePort << 16) | destinationPort;
    this.setKey(protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports, value, nowMs, lifetimeMs);
  }

  /**
   * The value noted for a key, -1 where there is none that was used within `lifetimeMs`. It counts as used now, where
   * `isUse` says so.
   */
  findKey(
    protocol: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    ports: number,
    nowMs: number,
    lifetimeMs: number,
    isUse = true,
  ): number {
    const hash = hashFlow(this.seed, protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports);
    const { notes } = this;
    const base = this.setOf(hash, s3, d3, ports);
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (notes[at + 1] === 0 || notes[at] !== hash) continue;
      if ((((nowMs | 0) - notes[at + 2]) | 0) >= lifetimeMs) return -1;
      if (isUse) notes[at + 2] = nowMs | 0;
      return notes[at + 1] - 1;
    }
    return -1;
  }

  /** Notes a value of 0 or more for a key, in the place of what was noted for it. */
  setKey(
    protocol: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    ports: number,
    value: number,
    nowMs: number,
    lifetimeMs: number,
  ): void {
    const hash = hashFlow(this.seed, protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports);
    const { notes } = this;
    const base = this.setOf(hash, s3, d3, ports);
    let place = -1;
    for (let at = base; at < base + WAYS * STRIDE && place < 0; at += STRIDE) {
      if (notes[at + 1] !== 0 && notes[at] === hash) place = at;
    }
    if (place < 0) place = this.roomIn(base, nowMs, lifetimeMs);
    notes[place] = hash;
    notes[place + 1] = value + 1;
    notes[place + 2] = nowMs | 0;
  }

  /** Gives every note the value that `next` says, and forgets those for which it is negative. */
  remap(next: (value: number) => number): void {
    const { notes } = this;
    for (let at = 0; at < notes.length; at += STRIDE) {
      if (notes[at + 1] !== 0) notes[at + 1] = Math.max(0, next(notes[at + 1] - 1) + 1);
    }
  }

  private roomIn(base: number, nowMs: number, lifetimeMs: number): number {
    const { notes } = this;
    let oldest = base;
    let age = -1;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (notes[at + 1] === 0) return at;
      const silentMs = ((nowMs | 0) - notes[at + 2]) | 0;
      if (silentMs > age) {
        age = silentMs;
        oldest = at;
      }
    }
    if (age < lifetimeMs) this.hasForgotten = true;
    return oldest;
  }

  /** Where the set begins: by other bits than those that tell its notes apart. */
  private setOf(hash: number, s3: number, d3: number, ports: number): number {
    let mixed = Math.imul(hash ^ Math.imul(s3 ^ ports, 0x9e3779b1) ^ d3 ^ this.seed, 0x85ebca6b);
    mixed ^= mixed >>> 15;
    return (mixed & this.mask) * WAYS * STRIDE;
  }
}
