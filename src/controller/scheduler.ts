/**
 * Performs planned steps concurrently: steps that touch the same thing one after the other, a bounded number per
 * cloud, failed ones again after a back-off, and urgent ones before and beside all others.
 */
import { WeftError } from '../policy/errors.ts';
import type { Clock } from './clock.ts';
import type { Journal } from './journal.ts';
import type { Log } from './log.ts';
import { isJournalled, type Step } from './step.ts';

export interface SchedulerOptions {
  journal: Journal;
  perform(step: Step, progress: (fraction: number, what: string) => void, signal: AbortSignal): Promise<void>;
  /** Whether the inventory of a cloud was listed after the given moment, see `tick`. */
  isListedAfter(cloud: string, tick: number): boolean;
  /** What becomes of steps that touch a cloud, for people to see there. Returns at once. */
  tell?(step: Step, state: 'running' | 'success' | 'error', message: string, progress?: number): void;
  /** After each step, whatever became of it. */
  onSettled(step: Step): void;
  clock: Clock;
  log: Log;
  /** Steps that are not urgent, at once, per cloud. Default 16; ports are counted apart, up to 16 times as many. */
  concurrency?: number;
}

interface Running {
  step: Step;
  abort: AbortController;
  settled: Promise<void>;
}

/** How long a step may take, or may go without progress where it tells of any. A platform that does not come back in time has failed. */
const DEADLINES_MS: Partial<Record<Step['step'], number>> = {
  'deploy-engine': 15 * 60_000,
  // Guests may take their time to report an address.
  'clone-vm': 60 * 60_000,
  'remove-clone': 10 * 60_000,
};
const DEADLINE_MS = 60_000;
const URGENT_DEADLINE_MS = 10_000;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #running = new Map<string, Running>();
  /** Per lane the tick at which a step on it last ended: older listings do not show its effect. */
  readonly #touched = new Map<string, { cloud: string; tick: number }>();
  #tick = 0;
  #isClosed = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** A moment before which all ended steps have ended: listings are dated by it. */
  tick(): number {
    return this.#tick;
  }

  running(): readonly Step[] {
    return [...this.#running.values()].map((running) => running.step);
  }

  /** Starts every step that can be started now; returns when the next one that waits for its back-off is due, or null. */
  start(steps: readonly Step[]): number | null {
    let nextAt: number | null = null;
    if (this.#isClosed) return null;
    for (const [lane, { cloud, tick }] of this.#touched) {
      if (this.#options.isListedAfter(cloud, tick)) this.#touched.delete(lane);
    }
    for (const step of steps) {
      if (step.blockedBy !== null || this.#running.has(step.id)) continue;
      const dueAt = this.#options.journal.dueAt(step.id);
      if (dueAt > this.#options.clock.now()) {
        nextAt = Math.min(nextAt ?? dueAt, dueAt);
        continue;
      }
      if (!this.#hasRoom(step) || this.#isInFlux(step)) continue;
      this.#run(step);
    }
    return nextAt;
  }

  /** Aborts what runs in a cloud that is not this controller's any more. */
  abandon(cloud: string, reason: string): void {
    for (const { step, abort } of this.#running.values()) {
      if (step.cloud === cloud) abort.abort(new WeftError('ERR_CLOUD_OWNED', reason));
    }
  }

  /** Aborts what runs and waits for it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const reason = new WeftError('ERR_UNREACHABLE', 'the controller is stopping');
    for (const { abort } of this.#running.values()) abort.abort(reason);
    await Promise.all([...this.#running.values()].map(({ settled }) => settled));
  }

  #hasRoom(step: Step): boolean {
    if (step.isUrgent || step.cloud === null) return true;
    let count = 0;
    for (const { step: other } of this.#running.values()) {
      if (other.cloud === step.cloud && !other.isUrgent && isOfPort(other) === isOfPort(step)) count++;
    }
    return count < (this.#options.concurrency ?? 16) * (isOfPort(step) ? PORTS_PER_STEP : 1);
  }

  /** Whether something it touches is being changed, or was changed since the inventory that it was planned from. */
  #isInFlux(step: Step): boolean {
    for (const { step: other, abort } of this.#running.values()) {
      const isConflict =
        other.lanes.some((lane) => step.lanes.includes(lane) || step.shares.includes(lane)) ||
        step.lanes.some((lane) => other.shares.includes(lane));
      if (!isConflict) continue;
      // A release does not wait for an interception that hangs on the same port.
      const isOvertaken = step.isUrgent && !other.isUrgent && other.lanes.some((l) => step.lanes.includes(l));
      if (isOvertaken) abort.abort(new WeftError('ERR_TIMEOUT', `overtaken by ${step.step} ${step.object}`));
      return true;
    }
    return [...step.lanes, ...step.shares].some((lane) => this.#touched.has(lane) && !isPassable(step, lane));
  }

  #run(step: Step): void {
    const abort = new AbortController();
    const limit = step.isUrgent ? URGENT_DEADLINE_MS : (DEADLINES_MS[step.step] ?? DEADLINE_MS);
    const arm = (): (() => void) =>
      this.#options.clock.after(limit, () =>
        abort.abort(
          new WeftError(
            'ERR_TIMEOUT',
            `${step.step} ${step.object} did not end within ${limit / 1000} s; it is tried again`,
          ),
        ),
      );
    let cancel = arm();
    let told = '';
    const progress = (fraction: number, what: string): void => {
      this.#progress(step, fraction, what);
      if (told === `${fraction} ${what}`) return;
      told = `${fraction} ${what}`;
      cancel();
      cancel = arm();
    };
    const settled = this.#perform(step, progress, abort.signal).finally(() => {
      cancel();
      this.#running.delete(step.id);
      this.#tick++;
      if (step.cloud !== null && isJournalled(step)) {
        for (const lane of [...step.lanes, ...step.shares]) {
          this.#touched.set(lane, { cloud: step.cloud, tick: this.#tick });
        }
      }
      this.#options.onSettled(step);
    });
    this.#running.set(step.id, { step, abort, settled });
  }

  async #perform(
    step: Step,
    progress: (fraction: number, what: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { journal, clock, log } = this.#options;
    const isKept = isJournalled(step);
    try {
      if (isKept) await this.#journalStart(step);
      if (isKept) this.#options.tell?.(step, 'running', step.reason);
      await this.#options.perform(step, progress, signal);
      if (isKept) {
        this.#options.tell?.(step, 'success', step.reason);
        log.info({ step: step.step, object: step.object }, step.reason);
        await journal.done(step, clock.now());
      } else if (journal.dueAt(step.id) > 0) await journal.done(step, clock.now());
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!this.#isClosed) log.warn({ step: step.step, object: step.object, error: message }, 'step failed');
      if (isKept) this.#options.tell?.(step, 'error', message);
      await journal.failed(step, error, clock.now()).catch((cause: unknown) => {
        log.warn({ step: step.step, error: String(cause) }, 'the journal could not be written');
      });
    }
  }

  #progress(step: Step, fraction: number, what: string): void {
    const { journal, clock, log } = this.#options;
    if (isJournalled(step)) this.#options.tell?.(step, 'running', what, fraction);
    journal.progressed(step, { fraction, what }, clock.now()).catch((error: unknown) => {
      log.warn({ step: step.step, error: String(error) }, 'the journal could not be written');
    });
  }

  async #journalStart(step: Step): Promise<void> {
    try {
      await this.#options.journal.started(step, this.#options.clock.now());
    } catch (error) {
      // Ports are put back even if the disk is full: the way back is on record since before the interception.
      if (!step.isUrgent) throw error;
      this.#options.log.warn({ step: step.step, error: String(error) }, 'the journal could not be written');
    }
  }
}

/** Platforms change many ports by one task: what is asked for together goes together. */
const PORTS_PER_STEP = 16;

function isOfPort(step: Step): boolean {
  return step.step === 'intercept-nic' || step.step === 'release-nic';
}

/** Ports are released on what is known of them, even while the engine behind them is being worked on. */
function isPassable(step: Step, lane: string): boolean {
  return step.isUrgent && !step.lanes.includes(lane);
}
