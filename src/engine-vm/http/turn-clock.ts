/**
 * What the time of requests goes to: the client, the member, or us. One clock a thread, read when a turn begins and when
 * it ends. An exchange that anything happens to in a turn is ours until that turn's end; from then on it waits for one
 * of its two sides (`Exchange.rest`) or in a queue of ours, until the turn in which something happens to it again.
 *
 * What has come and lies in the kernel while a turn lasts counts for the side that it came from: `busyMs` says how much
 * that can be.
 */
import type { Exchange } from './exchange.ts';
import type { Figures } from './figures.ts';
import type { MemberFigures } from './member-figures.ts';

/** Whom an exchange waits for. */
export const NOBODY = 0;
export const CLIENT = 1;
export const MEMBER = 2;

export class TurnClock {
  /** Of turns, in all: the time in which the thread did not wait for events. */
  busyMs = 0;
  readonly #touched: Exchange[] = [];
  #touchedCount = 0;
  /** Of those that ended in this turn. */
  readonly #figures: Figures[] = [];
  readonly #members: (MemberFigures | null)[] = [];
  /** Of each: when it began, how long it waited for the client and for the member. */
  #times = new Float64Array(3 * 64);
  #endedCount = 0;

  /** Something happens to an exchange, for the first time in this turn. */
  touched(exchange: Exchange): void {
    this.#touched[this.#touchedCount++] = exchange;
  }

  /** An exchange has ended: `figures` and those of its member get its times when the turn ends. */
  ended(figures: Figures, member: MemberFigures | null, { startedMs, clientMs, memberMs }: Exchange): void {
    const n = this.#endedCount++;
    this.#figures[n] = figures;
    this.#members[n] = member;
    if (3 * n + 3 > this.#times.length) {
      const more = new Float64Array(2 * this.#times.length);
      more.set(this.#times);
      this.#times = more;
    }
    this.#times[3 * n] = startedMs;
    this.#times[3 * n + 1] = clientMs;
    this.#times[3 * n + 2] = memberMs;
  }

  /** The turn that began then is over: what was to be sent goes out. */
  endTurn(beganMs: number): void {
    const nowMs = performance.now();
    this.busyMs += nowMs - beganMs;
    for (let n = 0; n < this.#touchedCount; n++) this.#touched[n]!.rest(nowMs);
    this.#touchedCount = 0;
    const times = this.#times;
    for (let n = 0; n < this.#endedCount; n++) {
      const memberMs = times[3 * n + 2]!;
      this.#figures[n]!.spent(nowMs - times[3 * n]!, times[3 * n + 1]!, memberMs);
      this.#members[n]?.waits.add(memberMs);
    }
    this.#endedCount = 0;
  }
}
