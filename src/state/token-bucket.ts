/** A rate limit: `rate` units a second on average, bursts of `burst`. Pure: the time is passed in. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #level: number;
  #at: number;

  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#level = burst;
    this.#at = now;
  }

  /** Takes `units`; false where that is more than the rate allows. `now` in milliseconds. */
  take(units: number, now: number): boolean {
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) * this.#rate) / 1000);
    this.#at = now;
    this.#level -= units;
    return this.#level >= 0;
  }
}
