/**
 * Tells a flood of new connections from a short burst: a service is under a flood from when many of its packets were
 * refused, many of its half-open connections gave way to others, or many of its SYNs were answered with cookies, until
 * that has been quiet for a while.
 */
import type { FloodReport } from '../state/shared.ts';

/** Between two looks: fewer are a burst. */
const FEWEST = 25;
/** A flood without any more of it for so long is over. */
const QUIET_MS = 5000;

/** Totals of one service since the start of the engine. */
export interface FloodFigures {
  /** Packets over the service's share of the engine. */
  refused: number;
  /** Half-open connections that made room for others. */
  evicted: number;
  /** SYNs answered with cookies because of it. */
  answered: number;
}

interface Watched extends FloodFigures {
  flood: FloodReport | null;
  /** Its half-open flows have pushed each other out in this flood. */
  isOverflowing: boolean;
  /** When it last got worse, monotonic milliseconds. */
  worseAt: number;
}

export class FloodAlarm {
  readonly #watched = new Map<string, Watched>();

  /** Takes the totals by service, some times a second; a service that is not named any more is forgotten. */
  note(totals: ReadonlyMap<string, FloodFigures>, nowMs: number, wallMs: number): void {
    for (const service of this.#watched.keys()) if (!totals.has(service)) this.#watched.delete(service);
    for (const [service, { refused, evicted, answered }] of totals) {
      let watched = this.#watched.get(service);
      if (watched === undefined) {
        watched = { refused: 0, evicted: 0, answered: 0, flood: null, isOverflowing: false, worseAt: nowMs };
        this.#watched.set(service, watched);
      }
      const newlyRefused = refused - watched.refused;
      const newlyEvicted = evicted - watched.evicted;
      const newlyAnswered = answered - watched.answered;
      watched.answered = answered;
      watched.refused = refused;
      watched.evicted = evicted;
      if (newlyRefused + newlyEvicted + newlyAnswered >= FEWEST) {
        watched.worseAt = nowMs;
        watched.flood ??= { since: wallMs, refused: 0, evicted: 0 };
      } else if (nowMs - watched.worseAt >= QUIET_MS) watched.flood = null;
      if (newlyEvicted >= FEWEST) watched.isOverflowing = true;
      if (watched.flood === null) {
        watched.isOverflowing = false;
        continue;
      }
      watched.flood.refused += newlyRefused;
      watched.flood.evicted += newlyEvicted;
      if (newlyAnswered > 0) watched.flood.answered = (watched.flood.answered ?? 0) + newlyAnswered;
    }
  }

  /** Services in whose floods half-open flows pushed each other out. */
  overflowing(): Set<string> {
    return new Set([...this.#watched].filter(([, { isOverflowing }]) => isOverflowing).map(([name]) => name));
  }

  /** Services under a flood at this moment. */
  flooded(): Set<string> {
    return new Set([...this.#watched].filter(([, { flood }]) => flood !== null).map(([name]) => name));
  }

  /** The floods of this moment, by service. */
  floods(): Record<string, FloodReport> {
    const floods: Record<string, FloodReport> = {};
    for (const [service, { flood }] of this.#watched) if (flood !== null) floods[service] = { ...flood };
    return floods;
  }
}
