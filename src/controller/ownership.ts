/**
 * Never two writers: which controller drives a cloud. The platform keeps a record that names one; every other one sees
 * it and touches nothing. Whoever is told to let go stops what it has begun and says so; only then, or after a time in
 * which it must have noticed, does the next one begin. See docs/design/ownership.md.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Owner, OwnerRecord, Platform } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import type { Store } from '../state/store.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

/** Who this controller is: an id that its store keeps, and one of this process. */
export async function loadIdentity(store: Store): Promise<Identity> {
  const key = 'controller/instance';
  let instance = (await store.get<{ id: string }>(key))?.value.id;
  if (instance === undefined) {
    instance = randomUUID();
    await store.write([{ key, value: { id: instance } }]);
  }
  return { instance, life: randomUUID().slice(0, 8), name: hostname() };
}

/** Who this controller is. */
export interface Identity {
  /** Of its store: the same over restarts. */
  instance: string;
  /** Of this process: a second one on a copy of the store is somebody else. */
  life: string;
  /** The machine, for people. */
  name: string;
}

export interface OwnershipOptions {
  cloud: string;
  identity: Identity;
  /** Whether nothing of this controller is under way in the cloud any more. */
  isIdle(): boolean;
  /** Another controller took over: what runs there is to be ended. */
  onOusted(reason: string): void;
  clock: Clock;
  log: Log;
}

/** A record that was looked at longer ago is looked at again before anything is changed. */
const FRESH_MS = 2500;
/** Where writing cannot be made to depend on what is there, two that claimed at once have seen each other by then. */
const SETTLE_MS = 1500;
/** Whoever is alive has noticed by then that it was ousted, and ended what it had begun. */
const OUST_MS = 15_000;
const BEAT_MS = 60_000;
/** Whoever has missed two beats is taken for dead, and not waited for. */
const DEAD_MS = 150_000;

type State = 'unknown' | 'unkept' | 'claiming' | 'ours' | 'ousting' | 'foreign';

export class Ownership {
  readonly #options: OwnershipOptions;
  #state: State = 'unknown';
  #record: OwnerRecord | null = null;
  #checkedAt = Number.NEGATIVE_INFINITY;
  /** When the record of ours that is not in force yet was first seen. */
  #since = 0;
  #check: Promise<void> | null = null;
  #hasWarned = false;
  readonly #closing = new AbortController();

  constructor(options: OwnershipOptions) {
    this.#options = options;
  }

  /** Why nothing may be changed in the cloud, or null. */
  get reason(): string | null {
    const { cloud } = this.#options;
    switch (this.#state) {
      case 'ours':
      case 'unkept':
        return null;
      case 'unknown':
        return `it is not known yet which controller drives cloud ${cloud}`;
      case 'claiming':
        return `cloud ${cloud} is being claimed`;
      case 'ousting':
        return `controller ${this.#record?.ousted} is given up to ${OUST_MS / 1000} s to let go of cloud ${cloud}`;
    }
    return foreignReason(cloud, this.#record);
  }

  /** Looks at the record, and moves on. Throws where the platform does not answer. */
  check(platform: Platform): Promise<void> {
    this.#check ??= this.#look(platform, this.#closing.signal).finally(() => {
      this.#check = null;
    });
    return this.#check;
  }

  close(reason: Error): void {
    this.#closing.abort(reason);
  }

  /** Before each mutation. Throws ERR_CLOUD_OWNED where the cloud is another controller's. */
  async require(platform: Platform, signal: AbortSignal): Promise<void> {
    if (this.#options.clock.now() - this.#checkedAt > FRESH_MS) {
      await orAborted(this.check(platform), signal);
    }
    const { reason } = this;
    if (reason !== null) throw new WeftError('ERR_CLOUD_OWNED', reason);
  }

  /** Makes this controller the one that drives the cloud; it begins when the other one has let go. */
  async takeOver(platform: Platform, signal: AbortSignal): Promise<void> {
    const { ownership } = platform;
    if (!ownership) return;
    await this.check(platform);
    if (this.#state !== 'foreign' || !this.#record) return;
    const isDead = this.#options.clock.now() - Date.parse(this.#record.beatAt) > DEAD_MS;
    const ousted =
      isDead || this.#record.instance === this.#options.identity.instance ? null : this.#record.instance;
    if (!(await ownership.write({ ...this.#mine(), ousted }, this.#record, signal))) {
      throw new WeftError(
        'ERR_REVISION_CONFLICT',
        `somebody else claimed cloud ${this.#options.cloud} at the same moment: look at \`weft status\` and repeat`,
      );
    }
    this.#options.log.warn(
      { cloud: this.#options.cloud, from: this.#record.instance },
      'taking a cloud over',
    );
    this.#since = this.#options.clock.now();
    this.#state = ousted === null ? 'claiming' : 'ousting';
    await this.check(platform);
  }

  async #look(platform: Platform, signal: AbortSignal): Promise<void> {
    const { ownership } = platform;
    const { clock, log, cloud } = this.#options;
    if (!ownership) {
      this.#state = 'unkept';
      return;
    }
    const startedAt = clock.now();
    try {
      this.#record = await ownership.read(signal);
      await this.#follow(ownership, this.#record, signal);
      this.#checkedAt = startedAt;
    } catch (error) {
      if (
        !isWeftError(error, 'ERR_HYPERVISOR_REFUSED') &&
        !isWeftError(error, 'ERR_HYPERVISOR_UNSUPPORTED')
      ) {
        throw error;
      }
      // A user that may not write it drives the cloud all the same, unguarded; the log says so.
      if (this.#state === 'foreign') return;
      if (!this.#hasWarned)
        log.warn({ cloud, error: error.message }, 'it cannot be recorded who drives the cloud');
      this.#hasWarned = true;
      this.#state = 'unkept';
    }
  }

  async #follow(keeper: Owner, record: OwnerRecord | null, signal: AbortSignal): Promise<void> {
    const { identity, clock } = this.#options;
    const now = clock.now();
    if (record === null) {
      if (await keeper.write(this.#mine(), null, signal)) this.#claimed(keeper, now);
      return;
    }
    if (record.instance === identity.instance && record.life === identity.life) {
      if (record.ousted !== null) return this.#oust(keeper, record, now, signal);
      const isSettled = keeper.isAtomic || now - this.#since >= SETTLE_MS;
      if (this.#state === 'claiming' && !isSettled) return;
      this.#state = 'ours';
      if (now - Date.parse(record.beatAt) >= BEAT_MS) await keeper.write(this.#mine(), record, signal);
      return;
    }
    const wasOurs = this.#state === 'ours' || this.#state === 'ousting' || this.#state === 'claiming';
    // Our own store, an earlier process: it has ended, for the store is locked by us.
    if (record.instance === identity.instance && this.#state !== 'foreign' && !wasOurs) {
      if (await keeper.write(this.#mine(), record, signal)) this.#state = 'ours';
      return;
    }
    this.#state = 'foreign';
    if (wasOurs) this.#options.onOusted(foreignReason(this.#options.cloud, record));
    if (record.ousted === identity.instance && this.#options.isIdle()) {
      await keeper.write({ ...record, ousted: null }, record, signal);
    }
  }

  async #oust(keeper: Owner, record: OwnerRecord, now: number, signal: AbortSignal): Promise<void> {
    if (this.#state !== 'ousting') {
      // Begun before a restart of this controller: the time is given anew.
      this.#state = 'ousting';
      this.#since = now;
    }
    if (now - this.#since < OUST_MS) return;
    if (await keeper.write({ ...this.#mine(), ousted: null }, record, signal)) this.#state = 'ours';
  }

  #claimed(keeper: Owner, now: number): void {
    this.#record = this.#mine();
    this.#since = now;
    this.#state = keeper.isAtomic ? 'ours' : 'claiming';
  }

  #mine(): OwnerRecord {
    const { identity, clock } = this.#options;
    return { ...identity, beatAt: new Date(clock.now()).toISOString(), ousted: null };
  }
}

/** The work, or the signal's reason if that comes first; the work itself goes on. */
function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function foreignReason(cloud: string, record: OwnerRecord | null): string {
  const who = record ? `controller ${record.instance} on ${record.name}` : 'another controller';
  const heard = record ? `, heard of at ${record.beatAt}` : '';
  return `cloud ${cloud} is driven by ${who}${heard}, and nothing is touched there: \`weft cloud take-over ${cloud}\` makes it this controller's`;
}
