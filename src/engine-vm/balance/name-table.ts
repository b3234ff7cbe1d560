/**
 * Names as small numbers, for records in typed arrays. A name lives while the graph pins it or a record holds it;
 * `sweep` gives the numbers of the others free. Bounded, because names also come from other engines.
 */
export class NameTable {
  private readonly limit: number;
  private readonly numbers = new Map<string, number>();
  private readonly names: string[] = [];
  private readonly isPinned: boolean[] = [];
  private readonly holds: number[] = [];
  private readonly unused: number[] = [];

  /** `limit`: most names that are not pinned. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** One more than the greatest number ever given. */
  get length(): number {
    return this.names.length;
  }

  name(number: number): string {
    return this.names[number];
  }

  /** The number of a name, or -1. */
  find(name: string): number {
    return this.numbers.get(name) ?? -1;
  }

  /** The number of a name, given now if need be; -1 where the table is full. */
  intern(name: string): number {
    const known = this.numbers.get(name);
    if (known !== undefined) return known;
    if (this.numbers.size >= this.limit) {
      this.sweep();
      if (this.numbers.size >= this.limit) return -1;
    }
    return this.give(name);
  }

  /** As `intern`, but always succeeds, and the name stays until `unpinAll`. */
  pin(name: string): number {
    const number = this.numbers.get(name) ?? this.give(name);
    this.isPinned[number] = true;
    return number;
  }

  unpinAll(): void {
    this.isPinned.fill(false);
  }

  hold(number: number): void {
    this.holds[number]++;
  }

  release(number: number): void {
    this.holds[number]--;
  }

  /** Frees the numbers of names that nobody pins or holds. */
  sweep(): void {
    for (const [name, number] of this.numbers) {
      if (this.isPinned[number] || this.holds[number] > 0) continue;
      this.numbers.delete(name);
      this.unused.push(number);
    }
  }

  private give(name: string): number {
    const number = this.unused.pop() ?? this.names.length;
    this.numbers.set(name, number);
    this.names[number] = name;
    this.isPinned[number] = false;
    this.holds[number] = 0;
    return number;
  }
}
