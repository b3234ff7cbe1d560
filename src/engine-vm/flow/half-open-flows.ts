/**
 * Flows that are half open (nothing proves yet that the client exists), in lists by age: one for each service, and
 * group 0 for what is of none. When a quarter of the table is half open for one group, its oldest flow makes room; when
 * half of the table is half open, the oldest one of the group that has most. The links are words of the records.
 */
import { NEXT, PREVIOUS, STRIDE } from './flow-record.ts';

export class HalfOpenFlows {
  /** Flows in all lists. */
  count = 0;
  /** Flows that one group may have. */
  readonly most: number;
  /** The records: those of the table, which says so where it moves them. */
  words: Int32Array;

  private readonly mostOfAll: number;
  /** The list that each flow is in. */
  private readonly groups: Uint16Array;
  /** By group. */
  private oldest = new Int32Array(1).fill(-1);
  private newest = new Int32Array(1).fill(-1);
  private counts = new Int32Array(1);

  /** Of a table of so many flows, whose records are `words`. */
  constructor(capacity: number, words: Int32Array) {
    this.most = Math.max(capacity >> 2, 1);
    this.mostOfAll = capacity >> 1;
    this.words = words;
    this.groups = new Uint16Array(capacity);
  }

  /** The group of a flow that is half open. */
  groupOf(flow: number): number {
    return this.groups[flow];
  }

  /** The flow to remove before another one of the group begins, or -1 while there are few enough. */
  evictable(group: number): number {
    if (this.counts[group] >= this.most) return this.oldest[group];
    if (this.count < this.mostOfAll) return -1;
    let largest = 0;
    for (let one = 1; one < this.counts.length; one++) {
      if (this.counts[one] > this.counts[largest]) largest = one;
    }
    return this.oldest[largest];
  }

  /** Adds a flow as the newest one of its group. */
  add(flow: number, group: number): void {
    const { words, newest } = this;
    const at = flow * STRIDE;
    const before = newest[group];
    words[at + NEXT] = -1;
    words[at + PREVIOUS] = before;
    if (before >= 0) words[before * STRIDE + NEXT] = flow;
    else this.oldest[group] = flow;
    newest[group] = flow;
    this.groups[flow] = group;
    this.counts[group]++;
    this.count++;
  }

  /** Takes a flow out of its list. */
  remove(flow: number): void {
    const { words } = this;
    const next = words[flow * STRIDE + NEXT];
    const previous = words[flow * STRIDE + PREVIOUS];
    const group = this.groups[flow];
    if (previous >= 0) words[previous * STRIDE + NEXT] = next;
    else this.oldest[group] = next;
    if (next >= 0) words[next * STRIDE + PREVIOUS] = previous;
    else this.newest[group] = previous;
    this.counts[group]--;
    this.count--;
  }

  /** Sets the number of groups, and puts every flow into the one that `groupOf` says. */
  regroup(count: number, groupOf: (flow: number) => number): void {
    const heads = this.oldest;
    this.oldest = new Int32Array(count).fill(-1);
    this.newest = new Int32Array(count).fill(-1);
    this.counts = new Int32Array(count);
    this.count = 0;
    for (const head of heads) {
      for (let flow = head; flow >= 0; ) {
        const next = this.words[flow * STRIDE + NEXT];
        this.add(flow, groupOf(flow));
        flow = next;
      }
    }
  }
}
