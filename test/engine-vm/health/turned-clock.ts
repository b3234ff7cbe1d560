/** A clock that tests turn by hand; between two timers everything that was promised gets its turn. */
import { setImmediate as turn } from 'node:timers/promises';
import type { HealthClock } from '../../../src/engine-vm/health/clock.ts';

export class TurnedClock implements HealthClock {
  private now = 0;
  private timers: { at: number; callback: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.now + ms, callback };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  random(): number {
    return 0.5;
  }

  get pending(): number {
    return this.timers.length;
  }

  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    await turn();
    for (;;) {
      const next = this.timers.reduce<(typeof this.timers)[number] | null>(
        (first, timer) => (timer.at <= until && (first === null || timer.at < first.at) ? timer : first),
        null,
      );
      if (next === null) break;
      this.now = Math.max(this.now, next.at);
      this.timers = this.timers.filter((other) => other !== next);
      next.callback();
      await turn();
    }
    this.now = until;
  }
}
