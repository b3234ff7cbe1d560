/**
 * Keeps a copy of the policy in every cloud that this controller drives, so that a lost store can be rebuilt from the
 * cloud alone. Beside the work: nothing waits for it, and nothing fails for it; what hinders it is said in the status.
 */
import type { Platform } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import type { PolicyItem } from '../policy/refs.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { decodeCopy, encodeCopy, isBare, type PolicyCopy } from './policy-copy.ts';

export interface PolicyCopiesOptions {
  instance: string;
  /** Null where the cloud's platform is not open. */
  platform(cloud: string): Platform | null;
  /** Throws where the cloud is not this controller's to change. */
  requireOwned(cloud: string, signal: AbortSignal): Promise<void>;
  clock: Clock;
  log: Log;
}

/** Changes that follow each other so soon are written once. */
const SETTLE_MS = 1000;
const RETRY_MS = { first: 2000, most: 120_000 };
const TIMEOUT_MS = 30_000;

interface Lane {
  /** What is to be kept, and what is known to be kept, as JSON. */
  wanted: { text: string; objects: readonly PolicyItem[] };
  kept: string | null;
  isBusy: boolean;
  failures: number;
  problem: string | null;
  cancel: (() => void) | null;
}

export class PolicyCopies {
  readonly #options: PolicyCopiesOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(options: PolicyCopiesOptions) {
    this.#options = options;
  }

  /** Why the policy is not kept in clouds where it should be, for people. */
  get problems(): string[] {
    return [...this.#lanes].flatMap(([cloud, { problem }]) =>
      problem === null
        ? []
        : [`no current copy of the policy is kept in cloud ${cloud} (take backups of the store): ${problem}`],
    );
  }

  /** These are the objects of a cloud that this controller drives. Returns at once. */
  offer(cloud: string, objects: readonly PolicyItem[]): void {
    if (this.#closing.signal.aborted) return;
    let lane = this.#lanes.get(cloud);
    if (lane?.wanted.objects === objects) return;
    const wanted = { text: JSON.stringify(objects), objects };
    if (lane) lane.wanted = wanted;
    else {
      lane = { wanted, kept: null, isBusy: false, failures: 0, problem: null, cancel: null };
      this.#lanes.set(cloud, lane);
    }
    if (lane.kept !== wanted.text) this.#schedule(cloud, lane, SETTLE_MS);
  }

  /** The cloud is not this controller's any more: what was known of its copy may not hold. */
  forget(cloud: string): void {
    this.#lanes.get(cloud)?.cancel?.();
    this.#lanes.delete(cloud);
  }

  async close(): Promise<void> {
    this.#closing.abort(new WeftError('ERR_UNREACHABLE', 'the controller is stopping'));
    for (const { cancel } of this.#lanes.values()) cancel?.();
    await Promise.all(this.#running);
  }

  #schedule(cloud: string, lane: Lane, ms: number): void {
    if (lane.isBusy || lane.cancel || this.#closing.signal.aborted) return;
    lane.cancel = this.#options.clock.after(ms, () => {
      lane.cancel = null;
      const run = this.#keep(cloud, lane).finally(() => this.#running.delete(run));
      this.#running.add(run);
    });
  }

  async #keep(cloud: string, lane: Lane): Promise<void> {
    const { clock, log } = this.#options;
    const timeout = new AbortController();
    const cancel = clock.after(TIMEOUT_MS, () =>
      timeout.abort(new WeftError('ERR_TIMEOUT', 'the copy of the policy was not taken in time')),
    );
    lane.isBusy = true;
    const { wanted } = lane;
    let retryMs: number | null = null;
    try {
      await this.#write(cloud, wanted, AbortSignal.any([this.#closing.signal, timeout.signal]));
      lane.kept = wanted.text;
      lane.failures = 0;
      lane.problem = null;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      retryMs = Math.min(RETRY_MS.first * 2 ** lane.failures++, RETRY_MS.most);
      if (!this.#closing.signal.aborted && lane.problem !== message && lane.failures > 1) {
        log.warn({ cloud, error: message }, 'no copy of the policy could be kept in the cloud');
      }
      // Once may be chance: a vCenter that restarts, a cloud that is being taken over.
      if (lane.failures > 1) lane.problem = message;
    } finally {
      cancel();
      lane.isBusy = false;
    }
    if (this.#lanes.get(cloud) !== lane) return;
    if (retryMs !== null) this.#schedule(cloud, lane, retryMs);
    else if (lane.kept !== lane.wanted.text) this.#schedule(cloud, lane, SETTLE_MS);
  }

  async #write(cloud: string, { text, objects }: Lane['wanted'], signal: AbortSignal): Promise<void> {
    const { instance, clock } = this.#options;
    const keeper = this.#options.platform(cloud)?.policyCopy;
    if (!keeper) return;
    const found = readable(await keeper.read(signal));
    if (found && JSON.stringify(found.objects) === text && found.instance === instance) return;
    // A controller with nothing but a cloud has lost its store, or has just begun: what is there may be all there is.
    if (found && found.instance !== instance && isBare(objects)) return;
    const copy = encodeCopy({
      instance,
      savedAt: new Date(clock.now()).toISOString(),
      objects: [...objects],
    });
    if (copy.length > keeper.mostCharacters) {
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `it takes ${copy.length} characters, and there is room for ${keeper.mostCharacters}`,
      );
    }
    await this.#options.requireOwned(cloud, signal);
    await keeper.write(copy, signal);
  }
}

/** What is kept in a cloud, or null where nothing is. Throws as the platform does, and ERR_POLICY_INVALID. */
export async function readCopy(platform: Platform | null, signal: AbortSignal): Promise<PolicyCopy | null> {
  const text = (await platform?.policyCopy?.read(signal)) ?? null;
  return text === null || text === '' ? null : decodeCopy(text);
}

/** Null also for what cannot be read. Throws where it is of a later version: that one is not written over. */
function readable(text: string | null): PolicyCopy | null {
  if (text === null || text === '') return null;
  try {
    return decodeCopy(text);
  } catch (error) {
    if (isWeftError(error, 'ERR_POLICY_INVALID') && error.message.includes('later Weft')) throw error;
    return null;
  }
}
