/**
 * A lease as an engine sees it. Its time runs from when the engine asked, with a margin, and the hub's from when it
 * was asked: so the engine gives it up before the hub can give it to another.
 */
export interface LeaseEvents {
  /** Sends the question; false while there is no link. */
  ask(attempt: number): boolean;
  onChange(isHeld: boolean): void;
}

const MARGIN = 0.1;

export class ClientLease {
  readonly ttlMs: number;
  readonly #now: () => number;
  readonly #events: LeaseEvents;
  /** Attempt to the time it was sent. */
  readonly #sentAt = new Map<number, number>();
  #attempt = 0;
  #isHeld = false;
  #heldUntil = 0;
  #renewTimer: NodeJS.Timeout | undefined;
  #endTimer: NodeJS.Timeout | undefined;

  constructor(ttlMs: number, now: () => number, events: LeaseEvents) {
    this.ttlMs = ttlMs;
    this.#now = now;
    this.#events = events;
  }

  /** Asks now, and again and again until `stop`. Also called when a link comes up or the lease became free. */
  ask(): void {
    clearTimeout(this.#renewTimer);
    this.#renewTimer = setTimeout(() => this.ask(), this.ttlMs / 3);
    const attempt = ++this.#attempt;
    const at = this.#now();
    if (!this.#events.ask(attempt)) return;
    this.#sentAt.set(attempt, at);
    for (const [old, sentAt] of this.#sentAt) if (sentAt + this.ttlMs < at) this.#sentAt.delete(old);
  }

  /** The hub's answer to an attempt. */
  answered(attempt: number, isHeld: boolean): void {
    const sentAt = this.#sentAt.get(attempt);
    this.#sentAt.delete(attempt);
    // Answers may come late or twice; only an answer to the latest question may say no.
    if (sentAt === undefined) return;
    if (!isHeld) {
      if (attempt === this.#attempt) this.#end();
      return;
    }
    const until = sentAt + this.ttlMs * (1 - MARGIN);
    if (until <= this.#heldUntil || until <= this.#now()) return;
    this.#heldUntil = until;
    clearTimeout(this.#endTimer);
    this.#endTimer = setTimeout(() => this.#end(), until - this.#now());
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#events.onChange(true);
  }

  stop(): void {
    clearTimeout(this.#renewTimer);
    clearTimeout(this.#endTimer);
    this.#isHeld = false;
  }

  #end(): void {
    clearTimeout(this.#endTimer);
    this.#heldUntil = 0;
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#events.onChange(false);
  }
}
