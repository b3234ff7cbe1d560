/**
 * The latest changes of a store, for its watchers: bounded, in order, in whole revisions.
 *
 * A watcher is a cursor into it; a slow one costs nothing, and finds ERR_COMPACTED once it has fallen too far behind.
 */
import { WeftError } from '../policy/errors.ts';

export interface RecordedChange {
  key: string;
  /** The entry's line, or undefined where the key was deleted. */
  line: string | undefined;
  revision: number;
}

export class ChangeHistory {
  readonly #limit: number;
  #changes: RecordedChange[] = [];
  /** Changes up to and including this revision are no longer kept. */
  #compacted: number;
  #revision: number;
  readonly #waiting = new Set<() => void>();

  /** Begins after `revision`; keeps about `limit` changes, and always the latest revision whole. */
  constructor(revision: number, limit: number) {
    this.#revision = revision;
    this.#compacted = revision;
    this.#limit = limit;
  }

  /** Adds the changes of one revision. */
  push(revision: number, changes: readonly RecordedChange[]): void {
    this.#revision = revision;
    for (const change of changes) this.#changes.push(change);
    // Trimmed a tenth at a time, so that the cost per change stays constant.
    if (this.#changes.length <= this.#limit * 1.1 + 1) return;
    let cut = this.#changes.length - this.#limit;
    while (cut < this.#changes.length && this.#changes[cut]!.revision === this.#changes[cut - 1]!.revision)
      cut++;
    while (cut > 0 && this.#changes[cut - 1]!.revision === revision) cut--;
    if (cut === 0) return;
    this.#compacted = this.#changes[cut - 1]!.revision;
    this.#changes = this.#changes.slice(cut);
  }

  /** Wakes the watchers; called once the changes may be seen. */
  notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** The changes after `revision`, in order. Throws ERR_COMPACTED. */
  after(revision: number): RecordedChange[] {
    if (revision > this.#revision) {
      throw new WeftError(
        'ERR_COMPACTED',
        `revision ${revision} is not known, the store is at ${this.#revision} (was a backup restored?): list again, then watch`,
      );
    }
    if (revision < this.#compacted) {
      throw new WeftError(
        'ERR_COMPACTED',
        `changes after revision ${revision} are no longer kept, only those after ${this.#compacted}: list again, then watch`,
      );
    }
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#changes[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#changes.slice(low);
  }

  /** Resolves at the next `notify`, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      signal.addEventListener('abort', wake);
      this.#waiting.add(wake);
    });
  }
}
