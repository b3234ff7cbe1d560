/** The filters that the body of one response passes, from the member to the client; empty for most. */
import type { BodyFilter } from './component.ts';

export class FilterChain {
  #first: BodyFilter | null = null;

  /** Null where bodies go on as they come. */
  get first(): BodyFilter | null {
    return this.#first;
  }

  /** Puts one behind the others, nearer to the client. */
  add(filter: BodyFilter): void {
    if (this.#first === null) {
      this.#first = filter;
      return;
    }
    let last = this.#first;
    while (last.next !== null) last = last.next;
    last.next = filter;
  }

  /** The exchange is over, or its body is another one: frees what they hold. */
  close(): void {
    for (let filter = this.#first; filter !== null; filter = filter.next) filter.close();
    this.#first = null;
  }
}
