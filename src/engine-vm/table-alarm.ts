/**
 * Tells for which services the flow table has no room: from when new flows of theirs found none until that has been over
 * for a while.
 */
import type { FullTableReport } from '../state/shared.ts';

/** Without any more of it for so long it is over. */
const QUIET_MS = 5000;

/** Packets of one service since the start of the engine that found no room. */
export interface FullTableFigures {
  /** Forwarded by hash. */
  hashed: number;
  /** Dropped. */
  refused: number;
}

interface Watched extends FullTableFigures {
  report: FullTableReport | null;
  /** When it last got worse, monotonic milliseconds. */
  worseAt: number;
}

export class TableAlarm {
  readonly #watched = new Map<string, Watched>();

  /** Takes the totals by service, some times a second; a service that is not named any more is forgotten. */
  note(totals: ReadonlyMap<string, FullTableFigures>, nowMs: number, wallMs: number): void {
    for (const service of this.#watched.keys()) if (!totals.has(service)) this.#watched.delete(service);
    for (const [service, { hashed, refused }] of totals) {
      const before = this.#watched.get(service) ?? { hashed: 0, refused: 0, report: null, worseAt: nowMs };
      const newlyHashed = hashed - before.hashed;
      const newlyRefused = refused - before.refused;
      let { report, worseAt } = before;
      if (newlyHashed + newlyRefused > 0) {
        worseAt = nowMs;
        report ??= { since: wallMs, hashed: 0, refused: 0 };
        report.hashed += newlyHashed;
        report.refused += newlyRefused;
      } else if (nowMs - worseAt >= QUIET_MS) report = null;
      this.#watched.set(service, { hashed, refused, report, worseAt });
    }
  }

  /** Of this moment, by service. */
  services(): Record<string, FullTableReport> {
    const services: Record<string, FullTableReport> = {};
    for (const [service, { report }] of this.#watched) if (report !== null) services[service] = { ...report };
    return services;
  }
}
