/**
 * One member under one monitor: asks on schedule and counts successes and failures in a row. The first check decides
 * at once; after that `rise` and `fall` do.
 */
import type { HealthMonitor as Spec } from '../../policy/pool.ts';
import type { HealthClock } from './clock.ts';
import { type CheckResult, failure, type Monitor } from './monitor.ts';

/** Intervals vary by this part up and down, so that the checks of many members do not fall into step. */
const JITTER = 0.1;
/** A check that outlasts its interval is followed by the next after this. */
const MIN_PAUSE_MS = 10;

export interface ProbeOptions {
  spec: Spec;
  monitor: Monitor;
  address: string;
  port: number;
  clock: HealthClock;
  /** What is known from before: true, false, or null for nothing. */
  isUp: boolean | null;
  /** `isUp` or `reason` has changed. */
  onChange(): void;
  /** Before a member is taken down: whether it is to be asked once more, at once. */
  needsSecondOpinion(): boolean;
  /** A check failed on this engine's side. */
  onTrouble(reason: string): void;
}

export class Probe {
  /** Null before the first check. */
  isUp: boolean | null;
  /** Why, as of the change of `isUp`, or of the latest kind of failure. */
  reason = '';
  /** When a check last failed. */
  failedAt = Number.NEGATIVE_INFINITY;
  /** When it last went down. */
  downAt = Number.NEGATIVE_INFINITY;

  private readonly options: ProbeOptions;
  private successes = 0;
  private failures = 0;
  private latestFailure = '';
  private isStopped = false;
  private cancelNext: (() => void) | null = null;
  private running: AbortController | null = null;

  constructor(options: ProbeOptions) {
    this.options = options;
    this.isUp = options.isUp;
  }

  /** The longest time in which every probe of this kind has been asked once. */
  get periodMs(): number {
    const { intervalMs, timeoutMs } = this.options.spec;
    return intervalMs * (1 + JITTER) + timeoutMs;
  }

  /** True where the two would ask the same question of the same place. */
  isSame(spec: Spec, address: string, port: number): boolean {
    const own = this.options;
    return own.address === address && own.port === port && JSON.stringify(own.spec) === JSON.stringify(spec);
  }

  /** Begins after `delayMs`. */
  start(delayMs: number): void {
    this.cancelNext = this.options.clock.after(delayMs, () => void this.round());
  }

  /** Ends for good, the check under way too. */
  stop(): void {
    this.isStopped = true;
    this.cancelNext?.();
    this.running?.abort(new Error('no longer wanted'));
  }

  private async round(): Promise<void> {
    const { clock, spec } = this.options;
    const startedAt = clock.nowMs();
    await this.take(await this.ask());
    if (this.isStopped) return;
    const interval = spec.intervalMs * (1 - JITTER + 2 * JITTER * clock.random());
    this.start(Math.max(MIN_PAUSE_MS, interval - (clock.nowMs() - startedAt)));
  }

  private async ask(): Promise<CheckResult> {
    const { monitor, address, port, clock, spec } = this.options;
    const running = new AbortController();
    this.running = running;
    const cancel = clock.after(spec.timeoutMs, () => {
      running.abort(new Error(`no answer in ${spec.timeoutMs} ms`));
    });
    try {
      return await monitor.check(address, port, running.signal);
    } catch (error) {
      // A monitor does not reject; if one does, that is our defect and not the member's.
      return { ...failure(error), isInconclusive: true };
    } finally {
      cancel();
      this.running = null;
    }
  }

  private async take(result: CheckResult): Promise<void> {
    if (this.isStopped) return;
    if (result.isInconclusive) {
      this.options.onTrouble(`${this.options.monitor.label}: ${result.reason}`);
      return;
    }
    if (result.isUp) {
      this.succeeded(result.reason);
      return;
    }
    const { clock, spec } = this.options;
    this.successes = 0;
    this.failures++;
    this.failedAt = clock.nowMs();
    if (this.isUp === false) {
      // Another reason is news; the same one is not.
      if (result.reason !== this.latestFailure) this.failed(result.reason, '');
      return;
    }
    if (this.isUp === true && this.failures < spec.fall) return;
    if (!this.options.needsSecondOpinion()) {
      this.failed(result.reason, '');
      return;
    }
    const second = await this.ask();
    if (this.isStopped) return;
    if (second.isInconclusive) this.options.onTrouble(`${this.options.monitor.label}: ${second.reason}`);
    else if (second.isUp) this.succeeded(second.reason);
    else this.failed(second.reason, ' (asked twice, because much of the pool failed at once)');
  }

  private succeeded(reason: string): void {
    this.failures = 0;
    this.successes++;
    if (this.isUp === true) return;
    if (this.isUp === false && this.successes < this.options.spec.rise) return;
    this.isUp = true;
    this.reason = this.describe(reason);
    this.options.onChange();
  }

  private failed(reason: string, remark: string): void {
    if (this.isUp !== false) this.downAt = this.options.clock.nowMs();
    this.isUp = false;
    this.latestFailure = reason;
    this.reason = this.describe(reason + remark);
    this.options.onChange();
  }

  private describe(reason: string): string {
    const { monitor, spec, port } = this.options;
    return spec.type === 'ping'
      ? `${monitor.label}: ${reason}`
      : `${monitor.label} on port ${port}: ${reason}`;
  }
}
