/**
 * Ports that are bent or released together, as one thing with a progress of its own: a task per port says nothing to
 * who waits for two hundred of them.
 */
import type { Note } from '../hypervisor/platform.ts';
import type { Step } from './step.ts';

/** How many ports at once are a batch. */
const BATCH_FROM = 10;

interface Batch {
  id: string;
  running: Set<string>;
  total: number;
  failed: number;
  /** What went wrong first. */
  failure: string;
  isTold: boolean;
}

export class NoteBatches {
  readonly #batches = new Map<Note['kind'], Batch>();
  #next = 1;

  /**
   * Takes the beginning or the end of a step. Answers the notes of the batch that follow from it, and whether a batch
   * that was told of covers the step.
   */
  follow(step: Step, note: Note): { own: Note[]; isCovered: boolean } {
    if (step.step !== 'intercept-nic' && step.step !== 'release-nic') return { own: [], isCovered: false };
    const batch = this.#batches.get(note.kind) ?? this.#open(note.kind);
    const own: Note[] = [];
    if (note.state === 'running') {
      if (batch.running.has(step.id)) return { own, isCovered: batch.isTold };
      batch.running.add(step.id);
      batch.total++;
      if (!batch.isTold && batch.running.size >= BATCH_FROM) {
        batch.isTold = true;
        own.push(this.#noteOf(batch, note.kind, 'running', note.message));
      }
      return { own, isCovered: batch.isTold };
    }
    if (!batch.running.delete(step.id)) return { own, isCovered: batch.isTold };
    if (note.state === 'error' && batch.failed++ === 0) batch.failure = note.message;
    const { isTold } = batch;
    if (batch.running.size === 0) {
      this.#batches.delete(note.kind);
      const message =
        batch.failed === 0
          ? `${batch.total} ports`
          : `${batch.failed} of ${batch.total} ports, the first: ${batch.failure}`;
      const state = batch.failed === 0 ? 'success' : 'error';
      if (isTold) own.push(this.#noteOf(batch, note.kind, state, message));
    } else if (isTold) {
      const progress = 1 - batch.running.size / batch.total;
      own.push({ ...this.#noteOf(batch, note.kind, 'running', note.message), progress });
    }
    return { own, isCovered: isTold };
  }

  #open(kind: Note['kind']): Batch {
    const id = `batch:${kind}:${this.#next++}`;
    const batch = { id, running: new Set<string>(), total: 0, failed: 0, failure: '', isTold: false };
    this.#batches.set(kind, batch);
    return batch;
  }

  #noteOf({ id }: Batch, kind: Note['kind'], state: Note['state'], message: string): Note {
    return { id, kind, state, vm: null, host: null, engine: null, message };
  }
}
