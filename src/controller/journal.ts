/**
 * The operation journal: `operation/<step id>` is written before and after each step that touches a cloud, so that
 * after a crash it is known what may be half done, and an operator sees what failed and why.
 *
 * Repair needs no journal (the step is planned again); failures in a row do: they decide the back-off.
 */
import type { Store, Write } from '../state/store.ts';
import type { Step } from './step.ts';

export interface Operation {
  id: string;
  step: string;
  object: string;
  state: 'started' | 'done' | 'failed';
  /** Failures in a row; 0 after a success. */
  attempts: number;
  /** Of the last failure, or what it is about. */
  message: string;
  /** Clock milliseconds of the last change. */
  at: number;
  /** How far a long step is, 0 to 1, and what it is at; only while it is under way. */
  progress?: StepProgress;
}

export interface StepProgress {
  fraction: number;
  what: string;
}

/** How many finished operations stay readable. */
const KEPT_DONE = 100;
const PREFIX = 'operation/';
const BACK_OFF_MS = { first: 250, most: 30_000 };
/** Progress is for whoever looks; the medium is spared all but this. */
const PROGRESS_WRITE_MS = 5000;

export class Journal {
  readonly #store: Store;
  readonly #operations = new Map<string, Operation>();
  /** When the progress of a step was last written, by its id. */
  readonly #progressWritten = new Map<string, number>();

  private constructor(store: Store) {
    this.#store = store;
  }

  /** Reads the journal; what was under way when the last controller ended counts as failed once. */
  static async load(store: Store, now: number): Promise<Journal> {
    const journal = new Journal(store);
    for (const { value } of await store.list<Operation>(PREFIX)) {
      const { progress, ...rest } = value;
      const operation: Operation =
        value.state === 'started'
          ? {
              ...rest,
              state: 'failed',
              message: `the controller ended meanwhile${progress ? ` (${progressText(progress)})` : ''}; it is planned again`,
              at: now,
            }
          : { ...rest, at: Math.min(value.at, now) };
      journal.#operations.set(operation.id, operation);
    }
    return journal;
  }

  list(): readonly Operation[] {
    return [...this.#operations.values()];
  }

  /** Failures in a row by step id. */
  failures(): Map<string, number> {
    const failures = new Map<string, number>();
    for (const operation of this.#operations.values()) {
      if (operation.attempts > 0) failures.set(operation.id, operation.attempts);
    }
    return failures;
  }

  /** When the step may be tried again, clock milliseconds; 0 for at once. */
  dueAt(id: string): number {
    const operation = this.#operations.get(id);
    if (operation?.state !== 'failed' || operation.attempts === 0) return 0;
    return operation.at + Math.min(BACK_OFF_MS.first * 2 ** (operation.attempts - 1), BACK_OFF_MS.most);
  }

  /** Before the step. Rejects where the store cannot keep it. */
  async started(step: Step, now: number): Promise<void> {
    const attempts = this.#operations.get(step.id)?.attempts ?? 0;
    await this.#put(step, 'started', attempts, step.reason, now);
  }

  /** While the step is under way. Kept in memory at once, and written now and then, for who looks after a crash. */
  async progressed(step: Step, progress: StepProgress, now: number): Promise<void> {
    const operation = this.#operations.get(step.id);
    if (operation?.state !== 'started') return;
    const current: Operation = { ...operation, progress };
    this.#operations.set(step.id, current);
    if (now - (this.#progressWritten.get(step.id) ?? operation.at) < PROGRESS_WRITE_MS) return;
    this.#progressWritten.set(step.id, now);
    await this.#store.write([{ key: PREFIX + step.id, value: current }]);
  }

  async done(step: Step, now: number): Promise<void> {
    await this.#put(step, 'done', 0, step.reason, now);
  }

  async failed(step: Step, error: unknown, now: number): Promise<void> {
    const attempts = (this.#operations.get(step.id)?.attempts ?? 0) + 1;
    await this.#put(step, 'failed', attempts, error instanceof Error ? error.message : String(error), now);
  }

  /** Removes failed operations that nobody plans any more: what they were about has gone away. */
  async prune(planned: ReadonlySet<string>): Promise<void> {
    const writes: Write[] = [];
    for (const operation of this.#operations.values()) {
      if (operation.state !== 'failed' || planned.has(operation.id)) continue;
      this.#operations.delete(operation.id);
      writes.push({ key: PREFIX + operation.id, delete: true });
    }
    if (writes.length > 0) await this.#store.write(writes);
  }

  /** Memory first: the back-off must hold even when the medium does not. */
  async #put(
    step: Step,
    state: Operation['state'],
    attempts: number,
    message: string,
    at: number,
  ): Promise<void> {
    const operation: Operation = {
      id: step.id,
      step: step.step,
      object: step.object,
      state,
      attempts,
      message,
      at,
    };
    this.#progressWritten.delete(step.id);
    // Deleted first, so that the map stays in the order of the last change.
    this.#operations.delete(step.id);
    this.#operations.set(step.id, operation);
    const writes: Write[] = [{ key: PREFIX + step.id, value: operation }];
    const done = [...this.#operations.values()].filter((candidate) => candidate.state === 'done');
    for (const old of done.slice(0, Math.max(0, done.length - KEPT_DONE))) {
      this.#operations.delete(old.id);
      writes.push({ key: PREFIX + old.id, delete: true });
    }
    await this.#store.write(writes);
  }
}

/** `uploading engine edge-h2: 43%`. */
export function progressText({ fraction, what }: StepProgress): string {
  return `${what}: ${Math.floor(Math.min(Math.max(fraction, 0), 1) * 100)}%`;
}
