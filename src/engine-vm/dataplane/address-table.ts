/**
 * A map from address (with port and protocol, or without) to a small number, built when a graph is loaded and only
 * read afterwards. Open addressing, at most half full.
 */
import { hashFlow } from '../flow/flow-hash.ts';

const STRIDE = 6;

export class AddressTable {
  private readonly mask: number;
  /** Four words, port << 8 | protocol, value + 1 per slot (0 where free). */
  private readonly slots: Int32Array;

  constructor(entries: number) {
    let size = 8;
    while (size < entries * 2) size *= 2;
    this.mask = size - 1;
    this.slots = new Int32Array(size * STRIDE);
  }

  /** The value of an address with its port and protocol (0 and 0 where the table is about addresses alone), or -1. */
  find(w0: number, w1: number, w2: number, w3: number, port: number, protocol: number): number {
    const slots = this.slots;
    const service = (port << 8) | protocol;
    for (let slot = this.home(w0, w1, w2, w3, service); ; slot = (slot + 1) & this.mask) {
      const at = slot * STRIDE;
      const value = slots[at + 5];
      if (value === 0) return -1;
      if (
        slots[at + 3] === w3 &&
        slots[at + 4] === service &&
        slots[at + 2] === w2 &&
        slots[at + 1] === w1 &&
        slots[at] === w0
      ) {
        return value - 1;
      }
    }
  }

  /** Adds a key with a value of 0 or more; false where it is there already. */
  add(words: Int32Array, from: number, port: number, protocol: number, value: number): boolean {
    if (this.find(words[from], words[from + 1], words[from + 2], words[from + 3], port, protocol) >= 0)
      return false;
    const service = (port << 8) | protocol;
    let slot = this.home(words[from], words[from + 1], words[from + 2], words[from + 3], service);
    while (this.slots[slot * STRIDE + 5] !== 0) slot = (slot + 1) & this.mask;
    const at = slot * STRIDE;
    for (let i = 0; i < 4; i++) this.slots[at + i] = words[from + i];
    this.slots[at + 4] = service;
    this.slots[at + 5] = value + 1;
    return true;
  }

  private home(w0: number, w1: number, w2: number, w3: number, service: number): number {
    return hashFlow(0, service & 255, w0, w1, w2, w3, 0, 0, 0, 0, service) & this.mask;
  }
}
