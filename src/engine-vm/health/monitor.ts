/**
 * What a health monitor is: one way to ask a member whether it serves. One file per type, one line in registry.ts.
 */

export interface CheckResult {
  isUp: boolean;
  /** For people, with the measured fact: `connected in 2 ms`, `status 503, expected 200`. */
  reason: string;
  /** Set where the check failed on this engine's side (no socket, no route): it says nothing about the member. */
  isInconclusive?: true;
}

export interface Monitor {
  /** For people, without the port: `http GET /health`. */
  readonly label: string;
  /**
   * Asks once. `address` is an IPv4 or IPv6 address, `port` the port to ask. Never rejects: whatever goes wrong,
   * `signal` included, is a result that is not up; the reason of an aborted `signal` becomes the result's.
   */
  check(address: string, port: number, signal: AbortSignal): Promise<CheckResult>;
}

/** Errors of sockets that lie with this engine, not with the member. */
const OWN_FAULTS = new Set([
  'EACCES',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'EMFILE',
  'ENETDOWN',
  'ENETUNREACH',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EPERM',
]);

const MEANINGS: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the member, or it does not answer ARP or ND',
  ETIMEDOUT: 'connection timed out',
};

/** The result of a check that ended with an error. */
export function failure(error: unknown): CheckResult {
  const { code, message } = error as { code?: string; message?: string };
  const text = MEANINGS[code ?? ''] ?? message ?? String(error);
  if (code !== undefined && OWN_FAULTS.has(code)) {
    return { isUp: false, reason: `this engine could not ask: ${text}`, isInconclusive: true };
  }
  return { isUp: false, reason: text };
}

/** The result of a check that was told to end: by its deadline, or because nobody wants it any more. */
export function aborted(signal: AbortSignal): CheckResult {
  const { reason } = signal;
  return { isUp: false, reason: reason instanceof Error ? reason.message : String(reason) };
}
