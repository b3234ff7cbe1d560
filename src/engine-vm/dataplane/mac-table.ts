/** A map from MAC to a small number, built when a graph is loaded and only read afterwards. Open addressing, at most half full. */
export class MacTable {
  private readonly mask: number;
  /** High, low, value + 1 per slot (0 where free). */
  private readonly slots: Int32Array;

  constructor(entries: number) {
    let size = 8;
    while (size < entries * 2) size *= 2;
    this.mask = size - 1;
    this.slots = new Int32Array(size * 3);
  }

  /** The value of a MAC, or -1. */
  find(high: number, low: number): number {
    const slots = this.slots;
    for (let slot = hashMac(high, low) & this.mask; ; slot = (slot + 1) & this.mask) {
      const value = slots[slot * 3 + 2];
      if (value === 0) return -1;
      if (slots[slot * 3 + 1] === low && slots[slot * 3] === high) return value - 1;
    }
  }

  /** Adds a MAC with a value of 0 or more; false where it is there already. */
  add(high: number, low: number, value: number): boolean {
    let slot = hashMac(high, low) & this.mask;
    while (this.slots[slot * 3 + 2] !== 0) {
      if (this.slots[slot * 3 + 1] === low && this.slots[slot * 3] === high) return false;
      slot = (slot + 1) & this.mask;
    }
    this.slots[slot * 3] = high;
    this.slots[slot * 3 + 1] = low;
    this.slots[slot * 3 + 2] = value + 1;
    return true;
  }
}

/** Spreads a MAC over 32 bits. */
export function hashMac(high: number, low: number): number {
  let h = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
