/** The clock that the controller's logic is given, so that tests can turn it by hand. */

export interface Clock {
  /** Milliseconds since 1970; never steps backwards within one process, whatever is done to the wall clock. */
  now(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, callback: () => void): () => void;
}

/** The real one. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
