/**
 * The lab platform's way to the daemon: HTTP over its unix socket, and the translation of what goes wrong into the
 * errors of the platform contract.
 */
import { Agent } from 'node:http';
import axios, { type AxiosInstance } from 'axios';
import { ERROR_CODES, type ErrorCode, WeftError } from '../policy/errors.ts';

/** Codes that the contract knows; every other fault of the daemon is a refusal with its reason. */
const CONTRACT_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_NOT_FOUND',
  'ERR_HYPERVISOR_REFUSED',
  'ERR_HYPERVISOR_UNREACHABLE',
  'ERR_HYPERVISOR_UNSUPPORTED',
]);

export class LabSession {
  /** Path of the daemon's socket. */
  readonly socket: string;
  /** The life of the controller in whose name mutations are asked for; null for people. */
  life: string | null = null;
  readonly #http: AxiosInstance;
  /** A connection per call: a daemon that was killed leaves no dead connection behind to be used again. */
  readonly #agent = new Agent({ keepAlive: false });
  readonly #closed = new AbortController();

  constructor(socket: string) {
    this.socket = socket;
    this.#http = axios.create({
      socketPath: socket,
      baseURL: 'http://lab',
      adapter: 'http',
      httpAgent: this.#agent,
      proxy: false,
      maxRedirects: 0,
      maxContentLength: 64 << 20,
      validateStatus: () => true,
    });
  }

  /** One call. Throws as the platform contract says; when the signal aborts, its reason. */
  async call<T>(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    body?: unknown,
  ): Promise<T> {
    signal.throwIfAborted();
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    let response: { status: number; data: unknown };
    try {
      response = await this.#http.request({
        method,
        url: path,
        signal: ended,
        headers: {
          ...(body === undefined ? {} : JSON_HEADERS),
          ...(this.life === null || method === 'GET' ? {} : { [LIFE_HEADER]: this.life }),
        },
        ...(body === undefined ? {} : { data: JSON.stringify(body) }),
      });
    } catch (error) {
      if (ended.aborted) throw ended.reason;
      throw new WeftError(
        'ERR_HYPERVISOR_UNREACHABLE',
        `the lab does not answer at ${this.socket} (${(error as Error).message}); is it up? \`weft lab status\` tells`,
        { cause: error },
      );
    }
    if (response.status < 300) return response.data as T;
    throw faultOf(response.status, response.data);
  }

  close(): void {
    this.#closed.abort(new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the session with the lab is closed'));
    this.#agent.destroy();
  }
}

/** Names the controller that asks for a mutation. */
export const LIFE_HEADER = 'x-weft-life';
const JSON_HEADERS = { 'Content-Type': 'application/json' };

function faultOf(status: number, data: unknown): WeftError {
  const { code, message } = (data ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || !(code in ERROR_CODES)) {
    return new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `the lab answered with status ${status} and no reason; is that socket a lab's?`,
    );
  }
  const known = CONTRACT_CODES.has(code) ? (code as ErrorCode) : 'ERR_HYPERVISOR_REFUSED';
  return new WeftError(known, String(message));
}
