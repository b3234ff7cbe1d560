/**
 * Which MACs live on the protected side although no graph names them: learned from what they send. Bounded: 1024 sets
 * of four, the one unheard longest makes room. A MAC that is heard on the production side has moved and is forgotten.
 */
import { hashMac } from './mac-table.ts';

const SETS = 1024;
const WAYS = 4;
const STRIDE = 4;
/** A MAC that has been silent for this long is forgotten (the usual age of a bridge's entries). */
const AGE_MS = 300_000;

export class LearnedMacs {
  /** High + 1 (0 where free), low, last heard, unused. */
  private readonly slots = new Int32Array(SETS * WAYS * STRIDE);
  /** True once anything was learned: spares the look-up on engines that see only members. */
  private isUsed = false;

  learn(high: number, low: number, nowMs: number): void {
    this.isUsed = true;
    const slots = this.slots;
    const base = (hashMac(high, low) & (SETS - 1)) * WAYS * STRIDE;
    let victim = base;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (slots[at] === high + 1 && slots[at + 1] === low) {
        slots[at + 2] = nowMs | 0;
        return;
      }
      if (slots[victim] !== 0 && (slots[at] === 0 || ((slots[victim + 2] - slots[at + 2]) | 0) > 0))
        victim = at;
    }
    slots[victim] = high + 1;
    slots[victim + 1] = low;
    slots[victim + 2] = nowMs | 0;
  }

  has(high: number, low: number, nowMs: number): boolean {
    const at = this.slotOf(high, low);
    return at >= 0 && (((nowMs | 0) - this.slots[at + 2]) | 0) < AGE_MS;
  }

  forget(high: number, low: number): void {
    const at = this.slotOf(high, low);
    if (at >= 0) this.slots[at] = 0;
  }

  /** Calls back with every MAC that is known now. */
  each(nowMs: number, visit: (high: number, low: number) => void): void {
    if (!this.isUsed) return;
    for (let at = 0; at < this.slots.length; at += STRIDE) {
      if (this.slots[at] !== 0 && (((nowMs | 0) - this.slots[at + 2]) | 0) < AGE_MS) {
        visit(this.slots[at] - 1, this.slots[at + 1]);
      }
    }
  }

  private slotOf(high: number, low: number): number {
    if (!this.isUsed) return -1;
    const base = (hashMac(high, low) & (SETS - 1)) * WAYS * STRIDE;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (this.slots[at] === high + 1 && this.slots[at + 1] === low) return at;
    }
    return -1;
  }
}
