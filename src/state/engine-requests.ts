/** Requests of the controller that engines have yet to answer. */
import { ERROR_CODES, type ErrorCode, WeftError } from '../policy/errors.ts';
import type { EngineLink } from './engine-link.ts';

interface Waiting {
  link: EngineLink;
  resolve(result: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

const MAX_PER_ENGINE = 1000;

export function unreachable(engine: string, why: string): WeftError {
  return new WeftError(
    'ERR_ENGINE_UNREACHABLE',
    `engine ${engine} ${why}: see whether it runs and reaches the hub`,
  );
}

export class EngineRequests {
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  /** Rejects with ERR_TIMEOUT, ERR_ENGINE_UNREACHABLE, or the error that the engine answers. */
  send(link: EngineLink, method: string, params: unknown, timeoutMs: number): Promise<unknown> {
    const { engine } = link.peer;
    let inFlight = 0;
    for (const waiting of this.#waiting.values()) if (waiting.link === link) inFlight++;
    if (inFlight >= MAX_PER_ENGINE) {
      return Promise.reject(unreachable(engine, 'has too many requests unanswered'));
    }
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(
          new WeftError(
            'ERR_TIMEOUT',
            `engine ${engine} did not answer ${method} within ${timeoutMs} ms: repeat, or see its log`,
          ),
        );
      }, timeoutMs);
      this.#waiting.set(id, { link, resolve, reject, timer });
      link.send({ type: 'request', id, method, params });
    });
  }

  /** Takes an answer. One engine cannot answer for another; a late or second answer finds nobody. */
  settle(link: EngineLink, id: number, result: unknown, error?: { code: string; message: string }): void {
    const waiting = this.#waiting.get(id);
    if (waiting?.link !== link) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (error === undefined) {
      waiting.resolve(result);
      return;
    }
    const code = Object.hasOwn(ERROR_CODES, error.code) ? (error.code as ErrorCode) : 'ERR_INTERNAL';
    waiting.reject(new WeftError(code, error.message));
  }

  /** Rejects what was asked over a link that is down. */
  abandon(link: EngineLink): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.link !== link) continue;
      this.#waiting.delete(id);
      clearTimeout(waiting.timer);
      waiting.reject(unreachable(link.peer.engine, 'went away before it answered'));
    }
  }
}
