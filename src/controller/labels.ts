/**
 * Tells platforms which of their objects belong to which engine, so that their administrators see it: engine VMs and
 * shadow segments, with which the label goes. What a VM that is none shows from before is taken away.
 *
 * Best effort, beside the work: one at a time and few a second, never waited for, and nothing fails for it.
 */
import { LABEL_ATTRIBUTE, type Label, type Platform } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { World } from './world.ts';

export interface LabelsOptions {
  /** Null where the cloud's platform is not open. */
  platform(cloud: string): Platform | null;
  clock: Clock;
  log: Log;
}

/** How often it is looked at what is to be labelled; how fast labels follow each other; how long a refusal counts. */
const LOOK_MS = 2000;
const GAP_MS = 200;
const PAUSE_MS = 60_000;
const TIMEOUT_MS = 5000;

interface Lane {
  /** By object: what the platform was told last. */
  told: Map<string, string | null>;
  waiting: Map<string, Label>;
  isBusy: boolean;
  lookAt: number;
}

export class Labels {
  readonly #options: LabelsOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #closing = new AbortController();

  constructor(options: LabelsOptions) {
    this.#options = options;
  }

  /** What stands in a cloud that this controller drives. Returns at once. */
  look(cloud: string, world: World): void {
    const now = this.#options.clock.now();
    const lane = this.#lanes.get(cloud) ?? {
      told: new Map(),
      waiting: new Map(),
      isBusy: false,
      lookAt: Number.NEGATIVE_INFINITY,
    };
    this.#lanes.set(cloud, lane);
    if (now < lane.lookAt || this.#closing.signal.aborted) return;
    if (!this.#options.platform(cloud)?.label) return;
    lane.lookAt = now + LOOK_MS;
    lane.waiting = dueLabels(cloud, world, lane.told);
    if (!lane.isBusy && lane.waiting.size > 0) void this.#deliver(cloud, lane);
  }

  /** The cloud is not this controller's any more. */
  forget(cloud: string): void {
    this.#lanes.get(cloud)?.waiting.clear();
    this.#lanes.delete(cloud);
  }

  close(): void {
    this.#closing.abort(new WeftError('ERR_UNREACHABLE', 'the controller is stopping'));
  }

  async #deliver(cloud: string, lane: Lane): Promise<void> {
    const { clock, log } = this.#options;
    lane.isBusy = true;
    for (;;) {
      const [next] = lane.waiting;
      if (!next || this.#closing.signal.aborted) break;
      const [key, label] = next;
      lane.waiting.delete(key);
      const timeout = new AbortController();
      const cancel = clock.after(TIMEOUT_MS, () =>
        timeout.abort(new WeftError('ERR_TIMEOUT', 'the label was not taken in time')),
      );
      try {
        const signal = AbortSignal.any([this.#closing.signal, timeout.signal]);
        await this.#options.platform(cloud)?.label?.(label, signal);
        lane.told.set(key, label.engine);
      } catch (error) {
        log.debug({ cloud, object: key, error: String(error) }, 'a label was not taken');
        // Whatever refuses one refuses the others.
        lane.waiting.clear();
        lane.lookAt = clock.now() + PAUSE_MS;
      } finally {
        cancel();
      }
      await this.#gap();
    }
    lane.isBusy = false;
  }

  #gap(): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = (): void => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#options.clock.after(GAP_MS, end);
      signal.addEventListener('abort', end);
    });
  }
}

/** Labels that are not as they should be, by object; pure. */
export function dueLabels(
  cloud: string,
  world: World,
  told: ReadonlyMap<string, string | null>,
): Map<string, Label> {
  const wanted = new Map<string, string>();
  const due = new Map<string, Label>();
  for (const [engine, vms] of world.engineVms) {
    for (const { cloud: at, vm } of vms) {
      if (at !== cloud) continue;
      wanted.set(vm.id, engine);
      const segment = vm.nics.find(({ id }) => id === 'in')?.segment;
      if (segment === undefined) continue;
      const key = `segment ${vm.host} ${segment}`;
      const object = { kind: 'segment', host: vm.host, name: segment } as const;
      if (told.get(key) !== engine) due.set(key, { object, engine });
    }
  }
  for (const { cloud: at, vm } of world.listed.values()) {
    if (at !== cloud) continue;
    const engine = wanted.get(vm.id) ?? null;
    const shown = vm.attributes[LABEL_ATTRIBUTE] ?? null;
    const key = `vm ${vm.id}`;
    // Not again while the listing is behind what was told.
    if (shown !== engine && told.get(key) !== engine)
      due.set(key, { object: { kind: 'vm', id: vm.id }, engine });
  }
  return due;
}
