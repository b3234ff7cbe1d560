/**
 * Tells platforms what is done to their objects, so that it shows where their administrators look: as tasks and events.
 *
 * Best effort, beside the work: a note is never waited for, what comes too fast or cannot be delivered is dropped, and
 * nothing fails for it.
 */
import type { Note, Platform } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { NoteBatches } from './note-batches.ts';
import type { Step } from './step.ts';

export interface NotesOptions {
  /** Throws where the cloud has no session. */
  platform(cloud: string): Platform;
  clock: Clock;
  log: Log;
}

/** Notes of a cloud that wait; how many may follow each other at once, and how fast others may follow. */
const MAX_WAITING = 200;
const BURST = 60;
const PER_SECOND = 5;
/** How far a step is, is told no more often. */
const PROGRESS_MS = 1000;
const TIMEOUT_MS = 5000;

interface Lane {
  waiting: Note[];
  /** What was told to have begun, and not yet to have ended. */
  begun: Map<string, { percent: number; at: number }>;
  batches: NoteBatches;
  isBusy: boolean;
  allowance: number;
  at: number;
  dropped: number;
}

export class Notes {
  readonly #options: NotesOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #closing = new AbortController();

  constructor(options: NotesOptions) {
    this.#options = options;
  }

  /**
   * Notes what becomes of a step, where it is one that people want to see; with `progress` (0 to 1) how far it is.
   * Returns at once, and never throws.
   */
  tell(step: Step, state: Note['state'], message: string, progress?: number): void {
    const note = noteOf(step, state, message);
    if (!note || step.cloud === null || this.#closing.signal.aborted) return;
    const lane = this.#laneOf(step.cloud);
    if (progress !== undefined) this.#progress(lane, { ...note, progress });
    else {
      const { own, isCovered } = lane.batches.follow(step, note);
      // What many ports have in common is told once; each of them by its event alone.
      if (!(isCovered && state === 'running')) this.#add(lane, note, false);
      for (const one of own) {
        if (one.progress === undefined) this.#add(lane, one, true);
        else this.#progress(lane, one);
      }
    }
    if (!lane.isBusy && lane.waiting.length > 0) void this.#deliver(step.cloud, lane);
  }

  #laneOf(cloud: string): Lane {
    const now = this.#options.clock.now();
    let lane = this.#lanes.get(cloud);
    if (!lane) {
      const batches = new NoteBatches();
      lane = {
        waiting: [],
        begun: new Map(),
        batches,
        isBusy: false,
        allowance: BURST,
        at: now,
        dropped: 0,
      };
      this.#lanes.set(cloud, lane);
    }
    lane.allowance = Math.min(BURST, lane.allowance + ((now - lane.at) * PER_SECOND) / 1000);
    lane.at = now;
    return lane;
  }

  /** A beginning may be dropped; the end of what was told to have begun may not: it would seem to go on for ever. */
  #add(lane: Lane, note: Note, isKept: boolean): void {
    const isEnd = note.state !== 'running' && lane.begun.delete(note.id);
    if (!isKept && !isEnd && (lane.allowance < 1 || lane.waiting.length >= MAX_WAITING)) {
      lane.dropped++;
      return;
    }
    lane.allowance--;
    if (note.state === 'running') lane.begun.set(note.id, { percent: 0, at: lane.at });
    lane.waiting.push(note);
  }

  #progress(lane: Lane, note: Note): void {
    const told = lane.begun.get(note.id);
    const percent = Math.floor((note.progress ?? 0) * 100);
    if (!told || percent <= told.percent || lane.at - told.at < PROGRESS_MS) return;
    lane.begun.set(note.id, { percent, at: lane.at });
    // One that waits is out of date.
    const index = lane.waiting.findIndex((one) => one.id === note.id && one.progress !== undefined);
    if (index >= 0) lane.waiting[index] = note;
    else if (lane.waiting.length < MAX_WAITING) lane.waiting.push(note);
  }

  close(): void {
    this.#closing.abort(new WeftError('ERR_UNREACHABLE', 'the controller is stopping'));
  }

  async #deliver(cloud: string, lane: Lane): Promise<void> {
    const { clock, log } = this.#options;
    lane.isBusy = true;
    for (let note = lane.waiting.shift(); note; note = lane.waiting.shift()) {
      if (this.#closing.signal.aborted) break;
      const timeout = new AbortController();
      const cancel = clock.after(TIMEOUT_MS, () =>
        timeout.abort(new WeftError('ERR_TIMEOUT', 'the note was not taken in time')),
      );
      try {
        const signal = AbortSignal.any([this.#closing.signal, timeout.signal]);
        await this.#options.platform(cloud).note?.(note, signal);
      } catch (error) {
        log.debug({ cloud, note: note.kind, error: String(error) }, 'a note was not taken');
      } finally {
        cancel();
      }
    }
    lane.isBusy = false;
    if (lane.dropped > 0) log.debug({ cloud, dropped: lane.dropped }, 'notes came too fast and were dropped');
    lane.dropped = 0;
  }
}

/** The note for a step; null where it is none that people look for. */
function noteOf(step: Step, state: Note['state'], message: string): Note | null {
  const base = { id: step.id, state, message };
  switch (step.step) {
    case 'deploy-engine':
      return { ...base, kind: 'engine-deployed', engine: step.engine, host: step.host, vm: null };
    case 'remove-engine':
      return { ...base, kind: 'engine-removed', engine: step.engine, host: null, vm: step.vm };
    case 'power-engine':
      return { ...base, kind: 'engine-power', engine: step.engine, host: null, vm: step.vm };
    case 'intercept-nic':
      return { ...base, kind: 'path-bent', engine: null, host: null, vm: step.vm };
    case 'release-nic':
      return {
        ...base,
        kind: step.isUrgent ? 'bypassed' : 'path-released',
        engine: null,
        host: null,
        vm: step.vm,
      };
    case 'mirror-nics':
      return {
        ...base,
        kind: 'ports-mirrored',
        engine: step.engine,
        host: step.host === '' ? null : step.host,
        vm: null,
      };
    // The cloud's own tasks tell that a VM is cloned or deleted; which pool that is for, and why, they do not.
    case 'clone-vm':
      return { ...named(step, base), kind: 'member-cloned', engine: null, host: step.host, vm: null };
    case 'remove-clone':
      return { ...named(step, base), kind: 'clone-removed', engine: null, host: null, vm: step.vm };
    default:
      return null;
  }
}

function named<Base extends { message: string }>(step: Step, base: Base): Base {
  return { ...base, message: `${step.object}: ${base.message}` };
}
