/** The errors of one member as one thread sees them, and whether they are so many that it has to be left out. */
import type { HttpService } from '../../policy/http-service.ts';

export type EjectionPolicy = NonNullable<HttpService['ejection']>;

export class ErrorRecord {
  /** Errors since the last good response. */
  #inARow = 0;
  /** Of the window that ends then. */
  #endsMs = 0;
  #requests = 0;
  #errors = 0;

  /** A request was answered well. */
  good(nowMs: number, policy: EjectionPolicy): void {
    this.#inARow = 0;
    this.#count(nowMs, policy);
  }

  /** A request was answered with an error, or not. Returns whether these are too many now. */
  bad(nowMs: number, policy: EjectionPolicy): boolean {
    this.#inARow++;
    this.#count(nowMs, policy);
    this.#errors++;
    const { errorPercent, minRequests } = policy;
    if (this.#inARow >= policy.consecutiveErrors) return true;
    return (
      errorPercent !== undefined &&
      this.#requests >= minRequests &&
      this.#errors * 100 >= errorPercent * this.#requests
    );
  }

  #count(nowMs: number, { windowMs }: EjectionPolicy): void {
    if (nowMs >= this.#endsMs) {
      this.#endsMs = nowMs + windowMs;
      this.#requests = 0;
      this.#errors = 0;
    }
    this.#requests++;
  }

  /** Begins anew. */
  clear(): void {
    this.#inARow = 0;
    this.#endsMs = 0;
  }
}
