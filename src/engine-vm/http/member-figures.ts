/** What one member has done for a thread. */
import { Histogram } from './histogram.ts';

export class MemberFigures {
  requests = 0;
  /** Answered with a status of 500 or more, or by a refusal of ours. */
  errors = 0;
  /** How long requests waited for it. */
  readonly waits = new Histogram();
}
