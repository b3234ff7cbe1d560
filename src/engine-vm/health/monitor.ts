/**
 * What a health monitor is: one way to ask a member whether it serves. One file per type, one line in registry.ts.
 */

export interface CheckResult {
  isUp: boolean;
  /** For people, with the measured fact: `connected in 2 ms`, `status 503, expected 200`. */
  reason: string;
}

export interface Monitor {
  /** For people: `GET http port 8080 /health`. */
  readonly label: string;
  /**
   * Asks once. `address` is an IPv4 or IPv6 address, `port` the port to ask. Never rejects: whatever goes wrong,
   * `signal` included, is a result that is not up.
   */
  check(address: string, port: number, signal: AbortSignal): Promise<CheckResult>;
}
