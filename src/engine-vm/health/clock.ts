/** Time and chance as health monitoring uses them, passed in so that tests can turn the clock by hand. */

export interface HealthClock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, callback: () => void): () => void;
  /** From 0 up to, not including, 1. */
  random(): number;
}

/** The real one. */
export const systemHealthClock: HealthClock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
