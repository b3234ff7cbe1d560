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
  /** Of the key turned to: its hash, and where its set begins. */
  private hash = 0;
  private base = 0;

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

  /** Turns to a key, whose note the next `get` or `put` is for. */
  at(
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
  ): this {
    const hash = hashFlow(this.seed, protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports);
    // The set is chosen by other bits than those that tell its notes apart.
    let mixed = Math.imul(hash ^ Math.imul(s3 ^ ports, 0x9e3779b1) ^ d3 ^ this.seed, 0x85ebca6b);
    mixed ^= mixed >>> 15;
    this.hash = hash;
    this.base = (mixed & this.mask) * WAYS * STRIDE;
    return this;
  }

  /** Turns to the packet's own key. */
  atPacket(packet: Packet): this {
    const { protocol, s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort } = packet;
    return this.at(protocol, s0, s1, s2, s3, d0, d1, d2, d3, (sourcePort << 16) | destinationPort);
  }

  /** Turns to the key of what the member at `addresses[memberAt]` answers the packet's client; `ports` are the answer's. */
  atAnswer(packet: Packet, addresses: Int32Array, memberAt: number, ports: number): this {
    return this.at(
      packet.protocol,
      addresses[memberAt],
      addresses[memberAt + 1],
      addresses[memberAt + 2],
      addresses[memberAt + 3],
      packet.s0,
      packet.s1,
      packet.s2,
      packet.s3,
      ports,
    );
  }

  /** The value noted, -1 where there is none that was used within `lifetimeMs`. Counts as used now, where `isUse` says so. */
  get(nowMs: number, lifetimeMs: number, isUse = true): number {
    const { notes } = this;
    const at = this.find();
    if (at < 0 || (((nowMs | 0) - notes[at + 2]) | 0) >= lifetimeMs) return -1;
    if (isUse) notes[at + 2] = nowMs | 0;
    return notes[at + 1] - 1;
  }

  /** Notes a value of 0 or more, in the place of what was noted. */
  put(value: number, nowMs: number, lifetimeMs: number): void {
    const { notes } = this;
    let at = this.find();
    if (at < 0) at = this.roomFor(nowMs, lifetimeMs);
    notes[at] = this.hash;
    notes[at + 1] = value + 1;
    notes[at + 2] = nowMs | 0;
  }

  /** Gives every note the value that `next` says, and forgets those for which it is negative. */
  remap(next: (value: number) => number): void {
    const { notes } = this;
    for (let at = 0; at < notes.length; at += STRIDE) {
      if (notes[at + 1] !== 0) notes[at + 1] = Math.max(0, next(notes[at + 1] - 1) + 1);
    }
  }

  private find(): number {
    const { notes, base, hash } = this;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (notes[at + 1] !== 0 && notes[at] === hash) return at;
    }
    return -1;
  }

  private roomFor(nowMs: number, lifetimeMs: number): number {
    const { notes, base } = this;
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
}
