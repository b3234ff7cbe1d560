/**
 * Collapsed forwarding: of requests for the same response that a thread has at a time, one goes to a member and the others
 * wait for what it brings. They wait no longer than `LONGEST_WAIT_MS`: a client that reads slowly holds nobody up.
 */

/** A request that waits. */
export interface Waiter {
  /** What was waited for may be stored now: look again, and else go to a member. */
  wake(): void;
  /** Fetch it for those that still wait. */
  lead(): void;
}

const LONGEST_WAIT_MS = 2000;
/** More go to members themselves. */
const MOST_WAITERS = 4096;

export class Collapse {
  readonly key: string;
  /** Since when those wait. */
  readonly sinceMs: number;
  readonly #waiters = new Set<Waiter>();

  constructor(key: string, sinceMs: number) {
    this.key = key;
    this.sinceMs = sinceMs;
  }

  get isFull(): boolean {
    return this.#waiters.size >= MOST_WAITERS;
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }

  delete(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  wakeAll(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.wake();
  }

  /** The next one fetches. False where nobody waits. */
  leadNext(): boolean {
    const [waiter] = this.#waiters;
    if (waiter === undefined) return false;
    this.#waiters.delete(waiter);
    waiter.lead();
    return true;
  }
}

export class Collapses {
  readonly #byKey = new Map<string, Collapse>();

  find(key: string): Collapse | undefined {
    return this.#byKey.get(key);
  }

  begin(key: string, nowMs: number): Collapse {
    const collapse = new Collapse(key, nowMs);
    this.#byKey.set(key, collapse);
    return collapse;
  }

  /** Nobody joins it any more; those that wait look again. */
  end(collapse: Collapse): void {
    if (this.#byKey.get(collapse.key) === collapse) this.#byKey.delete(collapse.key);
    collapse.wakeAll();
  }

  tick(nowMs: number): void {
    if (this.#byKey.size === 0) return;
    for (const collapse of this.#byKey.values()) {
      if (nowMs - collapse.sinceMs > LONGEST_WAIT_MS) this.end(collapse);
    }
  }
}
