/**
 * What a peer may make us do for nothing: frames that carry nothing, streams that are reset. It pays from a store, which
 * time refills slowly, and messages that end as they should quickly.
 */

/** At once, and in a second (nghttp2 has these numbers for resets). */
const STORE = 1000;
const A_SECOND = 33;

export class Calm {
  #left = STORE;
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** False where nothing is left. */
  spend(cost: number, nowMs: number): boolean {
    this.#left -= cost;
    if (this.#left >= 0) return true;
    this.#left = Math.min(STORE, this.#left + ((nowMs - this.#sinceMs) / 1000) * A_SECOND);
    this.#sinceMs = nowMs;
    return this.#left >= 0;
  }

  earn(worth: number): void {
    if (this.#left < STORE) this.#left += worth;
  }
}
