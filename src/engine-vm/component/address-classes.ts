/**
 * In which address sets an address lies. All sets of a graph are laid over each other once: their borders cut the
 * address space into intervals, and each interval belongs to a class, the list of the sets that hold it. A look-up is
 * one binary search, whatever the number of sets; a prefix takes at most 16 bytes (IPv4) or 40 (IPv6).
 */
import { type AddressRanges, compareWords, unpackPrefixes } from '../../packet/packed-prefixes.ts';
import type { GraphAddressSet } from '../../policy/graph.ts';

const NONE = new Int32Array(0);
/** IPv4 intervals are found by the upper 16 bits first. */
const BLOCKS = 65_536;

export class AddressClasses {
  /** Equal for equal sets in the same order. */
  readonly key: string;
  /** Bytes of the tables. */
  readonly bytes: number;
  /** By class, the sets, ascending; class 0 is in none. */
  private readonly lists: Int32Array[] = [NONE];
  private readonly starts4: Uint32Array;
  private readonly classes4: Int32Array;
  /** By upper half of the address, the last interval that begins at or before its first address. */
  private readonly blocks = new Int32Array(BLOCKS + 1);
  private readonly starts6: Uint32Array;
  private readonly classes6: Int32Array;
  /** Class and set to the class with the set put in or taken out. */
  private readonly steps = new Map<number, number>();
  private readonly known = new Map<string, number>([['', 0]]);
  private readonly setCount: number;

  /** Throws an Error that names the set which cannot be read. */
  constructor(sets: readonly GraphAddressSet[] = []) {
    this.key = keyOf(sets);
    this.setCount = Math.max(1, sets.length);
    const ranges = sets.map(({ name, prefixes }): AddressRanges => {
      if (prefixes === undefined) throw new Error(`service graph refused: address set ${name} is not here`);
      try {
        return unpackPrefixes(prefixes);
      } catch (cause) {
        throw new Error(`service graph refused: address set ${name}: ${(cause as Error).message}`, { cause });
      }
    });
    const four = this.overlay4(ranges);
    this.starts4 = four.starts;
    this.classes4 = four.classes;
    for (let block = 0, at = 0; block <= BLOCKS; block++) {
      const first = Math.min(block * 65_536, 0xffff_ffff);
      while (at + 1 < this.starts4.length && this.starts4[at + 1] <= first) at++;
      this.blocks[block] = at;
    }
    const six = this.overlay6(ranges);
    this.starts6 = six.starts;
    this.classes6 = six.classes;
    this.steps.clear();
    this.known.clear();
    this.bytes =
      this.blocks.byteLength +
      this.starts4.byteLength +
      this.classes4.byteLength +
      this.starts6.byteLength +
      this.classes6.byteLength;
  }

  /** The sets that hold the address, ascending; the words are a Packet's. */
  find(ipVersion: number, w0: number, w1: number, w2: number, w3: number): Int32Array {
    if (ipVersion === 4) {
      const address = w3 >>> 0;
      let low = this.blocks[address >>> 16];
      let high = this.blocks[(address >>> 16) + 1];
      const starts = this.starts4;
      while (low < high) {
        const middle = (low + high + 1) >>> 1;
        if (starts[middle] <= address) low = middle;
        else high = middle - 1;
      }
      return this.lists[this.classes4[low]];
    }
    const starts = this.starts6;
    let low = 0;
    let high = this.classes6.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (isAtOrBefore(starts, middle * 4, w0 >>> 0, w1 >>> 0, w2 >>> 0, w3 >>> 0)) low = middle;
      else high = middle - 1;
    }
    return this.lists[this.classes6[low]];
  }

  private overlay4(ranges: readonly AddressRanges[]): { starts: Uint32Array; classes: Int32Array } {
    let count = 0;
    for (const { ipv4 } of ranges) count += ipv4.length;
    // Borders as one number each, place then set: in place order, and sorted without a comparison function.
    const borders = new Float64Array(count);
    let filled = 0;
    ranges.forEach(({ ipv4 }, set) => {
      for (let i = 0; i < ipv4.length; i++) {
        borders[filled++] = (ipv4[i] + (i & 1)) * this.setCount + set;
      }
    });
    borders.sort();
    const starts = new Uint32Array(count + 1);
    const classes = new Int32Array(count + 1);
    let size = 1;
    let current = 0;
    for (const border of borders) {
      const place = Math.floor(border / this.setCount);
      if (place > 0xffff_ffff) break;
      current = this.toggle(current, border % this.setCount);
      if (starts[size - 1] !== place) starts[size++] = place;
      classes[size - 1] = current;
    }
    return { starts: starts.slice(0, size), classes: classes.slice(0, size) };
  }

  private overlay6(ranges: readonly AddressRanges[]): { starts: Uint32Array; classes: Int32Array } {
    let count = 0;
    for (const { ipv6 } of ranges) count += ipv6.length / 4;
    const places = new Uint32Array(count * 4);
    const sets = new Int32Array(count);
    let filled = 0;
    ranges.forEach(({ ipv6 }, set) => {
      for (let i = 0; i < ipv6.length; i += 8) {
        places.set(ipv6.subarray(i, i + 4), filled * 4);
        sets[filled++] = set;
        places.set(ipv6.subarray(i + 4, i + 8), filled * 4);
        // The range ends before the next address; behind the last address of all nothing ends.
        if (increment(places, filled * 4)) sets[filled++] = set;
      }
    });
    const order = new Uint32Array(filled);
    for (let i = 0; i < filled; i++) order[i] = i;
    order.sort((a, b) => compareWords(places, a * 4, places, b * 4));
    const starts = new Uint32Array((filled + 1) * 4);
    const classes = new Int32Array(filled + 1);
    let size = 1;
    let current = 0;
    for (const border of order) {
      current = this.toggle(current, sets[border]);
      if (compareWords(starts, (size - 1) * 4, places, border * 4) !== 0) {
        starts.set(places.subarray(border * 4, border * 4 + 4), size * 4);
        size++;
      }
      classes[size - 1] = current;
    }
    return { starts: starts.slice(0, size * 4), classes: classes.slice(0, size) };
  }

  private toggle(from: number, set: number): number {
    const step = from * this.setCount + set;
    let next = this.steps.get(step);
    if (next === undefined) {
      const list = this.lists[from];
      const changed = Int32Array.from(
        list.includes(set) ? list.filter((one) => one !== set) : [...list, set],
      ).sort();
      const text = changed.join();
      next = this.known.get(text) ?? this.lists.push(changed) - 1;
      this.known.set(text, next);
      this.steps.set(step, next);
    }
    return next;
  }
}

/** The `key` of the classes of these sets. */
export function keyOf(sets: readonly GraphAddressSet[]): string {
  return sets.map(({ name, hash }) => `${name} ${hash}`).join();
}

function isAtOrBefore(
  starts: Uint32Array,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): boolean {
  if (starts[at] !== w0) return starts[at] < w0;
  if (starts[at + 1] !== w1) return starts[at + 1] < w1;
  if (starts[at + 2] !== w2) return starts[at + 2] < w2;
  return starts[at + 3] <= w3;
}

/** Adds one to an address; false where it was the last one. */
function increment(words: Uint32Array, at: number): boolean {
  for (let word = 3; word >= 0; word--) {
    words[at + word] = (words[at + word] + 1) >>> 0;
    if (words[at + word] !== 0) return true;
  }
  return false;
}
