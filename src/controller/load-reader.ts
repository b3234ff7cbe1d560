/**
 * Load of VMs as their platforms measure it, read at a modest rate: one question per cloud at a time, about the VMs
 * that somebody wants to know of, and the more VMs, or the slower the answer, the rarer. What is old is unknown.
 */
import type { Platform, VmStats } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { hostKey } from './world.ts';

/** What is known of one VM. Null stands for what is not known; it never stands for nothing. */
export interface VmLoad {
  /** Share of all its virtual CPUs, 0 to 100. */
  cpuPercent: number | null;
  memoryBytes: number | null;
  /** Over the last readings: platforms that sample themselves do so every 20 seconds. */
  receivedBytesPerSecond: number | null;
  sentBytesPerSecond: number | null;
}

export interface LoadReaderOptions {
  /** The platform of a cloud, or null where it does not answer now. */
  platform(cloud: string): Platform | null;
  /** After each reading. */
  onRead(): void;
  clock: Clock;
  log: Log;
}

/** Between two readings of a cloud with few VMs. */
export const READ_EVERY_MS = 5000;
/** For so many VMs more it waits another `READ_EVERY_MS`. */
const VMS_PER_INTERVAL = 250;
/** Readings take at most this share of the time. */
const BUSY_SHARE = 0.2;
const TIMEOUT_MS = 20_000;
const STALE_AFTER_INTERVALS = 4;

/** Readings that rates are taken over, beside the latest. */
const RATE_READINGS = 5;

interface Counted {
  at: number;
  received: number;
  sent: number;
}

interface Reading {
  /** Oldest first, this one included. */
  counted: readonly Counted[];
  at: number;
  load: VmLoad;
}

interface CloudReadings {
  vms: ReadonlySet<string>;
  readings: Map<string, Reading>;
  intervalMs: number;
  failure: string | null;
  cancel: (() => void) | null;
  reading: Promise<void> | null;
}

export class LoadReader {
  readonly #options: LoadReaderOptions;
  readonly #clouds = new Map<string, CloudReadings>();
  readonly #closing = new AbortController();

  constructor(options: LoadReaderOptions) {
    this.#options = options;
  }

  /** Which VMs are of interest, by cloud. A cloud is read while there are any, and at once when it is new. */
  want(wanted: ReadonlyMap<string, ReadonlySet<string>>): void {
    if (this.#closing.signal.aborted) return;
    for (const [name, cloud] of this.#clouds) {
      if (wanted.has(name)) continue;
      cloud.cancel?.();
      this.#clouds.delete(name);
    }
    for (const [name, vms] of wanted) {
      const known = this.#clouds.get(name);
      if (known) {
        known.vms = vms;
        continue;
      }
      const cloud: CloudReadings = {
        vms,
        readings: new Map(),
        intervalMs: READ_EVERY_MS,
        failure: null,
        cancel: null,
        reading: null,
      };
      this.#clouds.set(name, cloud);
      this.#read(name, cloud);
    }
  }

  /** The load of a VM, or null where nothing recent is known of it. */
  get(cloud: string, vm: string): VmLoad | null {
    const known = this.#clouds.get(cloud);
    const reading = known?.readings.get(vm);
    if (!known || !reading) return null;
    const age = this.#options.clock.now() - reading.at;
    return age > known.intervalMs * STALE_AFTER_INTERVALS ? null : reading.load;
  }

  /** Everything recent, by `<cloud>/<vm id>`. */
  all(): Map<string, VmLoad> {
    const loads = new Map<string, VmLoad>();
    for (const [name, { readings }] of this.#clouds) {
      for (const vm of readings.keys()) {
        const load = this.get(name, vm);
        if (load) loads.set(hostKey(name, vm), load);
      }
    }
    return loads;
  }

  async close(): Promise<void> {
    this.#closing.abort(new WeftError('ERR_UNREACHABLE', 'the controller is stopping'));
    for (const { cancel } of this.#clouds.values()) cancel?.();
    await Promise.all([...this.#clouds.values()].map(({ reading }) => reading));
  }

  #read(name: string, cloud: CloudReadings): void {
    const { clock } = this.#options;
    const startedAt = clock.now();
    cloud.cancel = null;
    cloud.reading = this.#ask(name, cloud).finally(() => {
      cloud.reading = null;
      if (this.#closing.signal.aborted || this.#clouds.get(name) !== cloud) return;
      const tookMs = clock.now() - startedAt;
      cloud.intervalMs = Math.max(
        READ_EVERY_MS * Math.ceil(cloud.vms.size / VMS_PER_INTERVAL),
        tookMs / BUSY_SHARE,
        READ_EVERY_MS,
      );
      cloud.cancel = clock.after(cloud.intervalMs, () => this.#read(name, cloud));
      this.#options.onRead();
    });
  }

  async #ask(name: string, cloud: CloudReadings): Promise<void> {
    const { clock, log } = this.#options;
    const timeout = new AbortController();
    const cancel = clock.after(TIMEOUT_MS, () =>
      timeout.abort(new WeftError('ERR_TIMEOUT', 'its statistics did not arrive in time')),
    );
    try {
      const platform = this.#options.platform(name);
      if (!platform || cloud.vms.size === 0) return;
      const signal = AbortSignal.any([this.#closing.signal, timeout.signal]);
      const answer = await platform.stats([...cloud.vms], signal);
      const at = clock.now();
      const readings = new Map<string, Reading>();
      for (const stats of answer) readings.set(stats.vm, read(stats, cloud.readings.get(stats.vm), at));
      // A VM that is not in the answer is off, or nobody can say: either way there is no figure.
      cloud.readings = readings;
      cloud.failure = null;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!this.#closing.signal.aborted && cloud.failure !== message) {
        log.warn({ cloud: name, error: message }, 'the load of VMs cannot be read');
      }
      cloud.failure = message;
    } finally {
      cancel();
    }
  }
}

function read(stats: VmStats, before: Reading | undefined, at: number): Reading {
  const last = before?.counted.at(-1);
  // A counter that went back began anew: the VM was restarted, or the platform was.
  const isNew = last !== undefined && (stats.receivedBytes < last.received || stats.sentBytes < last.sent);
  const earlier = isNew ? [] : (before?.counted.slice(-RATE_READINGS) ?? []);
  const [oldest] = earlier;
  const seconds = oldest ? (at - oldest.at) / 1000 : 0;
  const rate = (now: number, then: number | undefined): number | null =>
    then === undefined || seconds <= 0 ? null : Math.round((now - then) / seconds);
  const { cpu, cores } = stats;
  return {
    counted: [...earlier, { at, received: stats.receivedBytes, sent: stats.sentBytes }],
    at,
    load: {
      cpuPercent:
        cpu === null || cores === null ? null : Math.min(100, Math.round((cpu / Math.max(1, cores)) * 100)),
      memoryBytes: stats.memoryBytes,
      receivedBytesPerSecond: rate(stats.receivedBytes, oldest?.received),
      sentBytesPerSecond: rate(stats.sentBytes, oldest?.sent),
    },
  };
}
