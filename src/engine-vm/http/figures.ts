/** What a thread has done, in numbers: plain counters, and histograms whose buckets are a quarter of a power of two. */
import type { Exchange } from './exchange.ts';
import type { CookieFigures } from './members.ts';
import { REFUSALS } from './refusals.ts';

/** 32 powers of two microseconds, in quarters. */
const BUCKETS = 132;

export class Histogram {
  readonly counts = new Float64Array(BUCKETS);

  add(ms: number): void {
    const micros = Math.min(0x3fff_ffff, Math.max(1, (ms * 1000) | 0));
    const power = 31 - Math.clz32(micros);
    const quarter = power < 2 ? 0 : (micros >>> (power - 2)) & 3;
    this.counts[power * 4 + quarter]!++;
  }
}

/** The upper bound, in milliseconds, of the bucket in which that share of all values lies; 0 where there are none. */
export function quantile(counts: ArrayLike<number>, share: number): number {
  let total = 0;
  for (let n = 0; n < counts.length; n++) total += counts[n]!;
  let left = total * share;
  for (let n = 0; n < counts.length; n++) {
    left -= counts[n]!;
    if (total > 0 && left <= 0) return (2 ** (n >> 2) * (1 + ((n & 3) + 1) / 4)) / 1000;
  }
  return 0;
}

/** Plain data: what the main thread asks workers for. */
export interface FiguresReport {
  connections: number;
  open: number;
  requests: number;
  /** By hundreds of the status: index 2 is 2xx. */
  statuses: number[];
  refusals: Record<string, number>;
  receivedBytes: number;
  sentBytes: number;
  /** Buckets of histograms: the whole request, and the part of the member. */
  totalMs: number[];
  memberMs: number[];
  logBytesLost: number;
  /** Members that were left out for their errors. */
  ejections: number;
  /** Requests that have waited for a member. */
  waited: number;
  /** Requests that went to a member again, and those that `retryBudget` kept from it. */
  retries: { done: number; refused: number };
  /** Requests of sessions by address or field: by the member that the client had, by another, by the first. */
  sessions: { kept: number; moved: number; begun: number };
  /** Session cookies: those of members that could be had, could not, are not known; those that were given. */
  cookies: CookieFigures;
  /** Counters of the service's components, by type. */
  components: Record<string, Record<string, number>>;
}

export class Figures {
  connections = 0;
  open = 0;
  requests = 0;
  logBytesLost = 0;
  readonly #statuses = new Float64Array(6);
  readonly #refusals = new Float64Array(REFUSALS.length);
  #receivedBytes = 0;
  #sentBytes = 0;
  readonly #total = new Histogram();
  readonly #member = new Histogram();

  ended(exchange: Exchange, nowMs: number): void {
    this.requests++;
    this.#statuses[Math.floor(exchange.status / 100)]!++;
    if (exchange.refusal !== 0) this.#refusals[exchange.refusal]!++;
    this.#receivedBytes += exchange.requestBytes;
    this.#sentBytes += exchange.responseBytes;
    this.#total.add(nowMs - exchange.startedMs);
    if (exchange.member !== null && exchange.answeredMs > 0) {
      this.#member.add(exchange.answeredMs - exchange.startedMs);
    }
  }

  report(): Omit<FiguresReport, 'cookies' | 'ejections' | 'waited' | 'retries' | 'sessions' | 'components'> {
    const refusals: Record<string, number> = {};
    for (const [id, { name }] of REFUSALS.entries()) {
      if (this.#refusals[id]! > 0) refusals[name] = this.#refusals[id]!;
    }
    return {
      connections: this.connections,
      open: this.open,
      requests: this.requests,
      statuses: [...this.#statuses],
      refusals,
      receivedBytes: this.#receivedBytes,
      sentBytes: this.#sentBytes,
      totalMs: [...this.#total.counts],
      memberMs: [...this.#member.counts],
      logBytesLost: this.logBytesLost,
    };
  }
}
