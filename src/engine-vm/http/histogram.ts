/** A histogram of times, in buckets of a quarter of a power of two microseconds (policy/service-figures.ts reads it). */

/** 32 powers of two microseconds, in quarters. */
const BUCKETS = 132;

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);

  add(ms: number): void {
    const micros = Math.min(0x3fff_ffff, Math.max(1, (ms * 1000) | 0));
    const power = 31 - Math.clz32(micros);
    const quarter = power < 2 ? 0 : (micros >>> (power - 2)) & 3;
    this.#counts[power * 4 + quarter]!++;
  }

  /** The counts, without the zeros at their end. */
  list(): number[] {
    let length = BUCKETS;
    while (length > 0 && this.#counts[length - 1] === 0) length--;
    return [...this.#counts.subarray(0, length)];
  }
}
