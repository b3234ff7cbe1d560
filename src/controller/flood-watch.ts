/** Says in the log when engines begin to limit a flood of new connections to a service, and when one is over. */
import type { FloodReport } from '../state/shared.ts';
import type { Log } from './log.ts';

export class FloodWatch {
  readonly #log: Log;
  /** What is going on, by engine and service. */
  readonly #floods = new Map<string, { engine: string; service: string }>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Takes what engines report now, by engine id. */
  look(reported: ReadonlyMap<string, Readonly<Record<string, FloodReport>>>): void {
    const now = new Set<string>();
    for (const [engine, floods] of reported) {
      for (const service of Object.keys(floods)) {
        const key = `${engine} ${service}`;
        now.add(key);
        if (this.#floods.has(key)) continue;
        this.#floods.set(key, { engine, service });
        this.#log.warn({ engine, service }, 'an engine limits a flood of new connections to a service');
      }
    }
    for (const [key, flood] of this.#floods) {
      if (now.has(key)) continue;
      this.#floods.delete(key);
      this.#log.info(flood, 'the flood of new connections is over');
    }
  }
}
