/** A rate limit: so many a second, a second's worth at once. */
export class TokenBucket {
  private readonly ratePerSecond: number;
  private tokens: number;
  private filledAt = 0;

  constructor(ratePerSecond: number) {
    this.ratePerSecond = ratePerSecond;
    this.tokens = ratePerSecond;
  }

  /** Takes tokens; false, and takes none, where too few are left. `nowMs` is monotonic. */
  take(nowMs: number, count = 1): boolean {
    const gained = ((nowMs - this.filledAt) * this.ratePerSecond) / 1000;
    if (gained > 0) {
      this.tokens = Math.min(this.ratePerSecond, this.tokens + gained);
      this.filledAt = nowMs;
    }
    if (this.tokens < count) return false;
    this.tokens -= count;
    return true;
  }
}
