/** How many requests of a pool may be sent to members again: a share of all requests of the last seconds, and some more. */

/** Requests are counted in two halves of the time that the budget is of. */
const HALF_MS = 5000;

export class RetryBudget {
  readonly #percent: number;
  readonly #fixed: number;
  #endsMs = 0;
  #requests = 0;
  #retries = 0;
  #requestsBefore = 0;
  #retriesBefore = 0;

  constructor({ percent, perSecond }: { readonly percent: number; readonly perSecond: number }) {
    this.#percent = percent;
    this.#fixed = (perSecond * 2 * HALF_MS) / 1000;
  }

  /** A request goes to a member, for the first time. */
  began(nowMs: number): void {
    if (nowMs >= this.#endsMs) this.#turn(nowMs);
    this.#requests++;
  }

  /** Whether one may go to a member again, which counts then. */
  take(nowMs: number): boolean {
    if (nowMs >= this.#endsMs) this.#turn(nowMs);
    const most = ((this.#requests + this.#requestsBefore) * this.#percent) / 100 + this.#fixed;
    if (this.#retries + this.#retriesBefore + 1 > most) return false;
    this.#retries++;
    return true;
  }

  #turn(nowMs: number): void {
    const isNext = nowMs < this.#endsMs + HALF_MS;
    this.#requestsBefore = isNext ? this.#requests : 0;
    this.#retriesBefore = isNext ? this.#retries : 0;
    this.#requests = 0;
    this.#retries = 0;
    this.#endsMs = (isNext ? this.#endsMs : nowMs) + HALF_MS;
  }
}
