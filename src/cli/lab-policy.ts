/** The policy of a lab: read from files, applied over REST, and waited for. */
import { readFileSync } from 'node:fs';
import axios, { type AxiosInstance } from 'axios';
import { DEFAULT_LAB, labPaths } from '../lab/world/names.ts';
import type { SystemStatus } from '../policy/answers.ts';
import { ERROR_CODES, type ErrorCode, WeftError } from '../policy/errors.ts';
import { type PolicyDocument, parseDocuments } from '../policy/parse.ts';
import type { ControllerAddress } from './lab-up.ts';

/**
 * Reads policy documents for a lab. A cloud that names the socket of the lab `lab` is given that of this lab, so
 * that one file serves every lab. Throws what parsing throws, and ERR_BODY_INVALID for a file that cannot be read.
 */
export function readLabPolicies(files: readonly string[], lab: string): PolicyDocument[] {
  const common = labPaths(DEFAULT_LAB).socket;
  return files
    .flatMap((file) => parseDocuments(readText(file), file))
    .map(({ kind, name, spec }) => {
      const { platform, address } = (spec ?? {}) as { platform?: unknown; address?: unknown };
      const isCommon = kind === 'cloud' && platform === 'lab' && address === common;
      return {
        kind,
        name,
        spec: isCommon ? { ...(spec as object), address: labPaths(lab).socket } : spec,
      };
    });
}

/** The controller's REST API. */
export class LabController {
  readonly #http: AxiosInstance;

  constructor(address: ControllerAddress) {
    this.#http = axios.create({
      baseURL: `${address.url}/api/v1`,
      headers: { authorization: `Bearer ${address.token}` },
      timeout: 10_000,
      proxy: false,
      validateStatus: () => true,
    });
  }

  /** Applies all documents at once. Throws the API's error. */
  async apply(documents: readonly PolicyDocument[], signal: AbortSignal): Promise<void> {
    await this.#call('post', '/apply', signal, { documents });
  }

  status(signal: AbortSignal): Promise<SystemStatus> {
    return this.#call<SystemStatus>('get', '/status', signal);
  }

  async #call<T>(method: 'get' | 'post', url: string, signal: AbortSignal, data?: unknown): Promise<T> {
    let response: { status: number; data: unknown };
    try {
      response = await this.#http.request({ method, url, signal, ...(data === undefined ? {} : { data }) });
    } catch (error) {
      signal.throwIfAborted();
      throw new WeftError(
        'ERR_UNREACHABLE',
        `the controller of the lab does not answer: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
    }
    if (response.status < 300) return response.data as T;
    const { code, message } = (response.data ?? {}) as { code?: string; message?: string };
    throw new WeftError(
      code !== undefined && code in ERROR_CODES ? (code as ErrorCode) : 'ERR_INTERNAL',
      message ?? `${method} ${url} was answered with status ${response.status}`,
    );
  }
}

/** How far the services are, in one line: `2 of 3 engines ready, 1 of 2 services serving`. */
export function progressOf(status: SystemStatus, services: readonly string[]): string {
  const ready = status.engines.filter((engine) => engine.state === 'ready').length;
  const serving = services.filter((name) => isServing(status, name)).length;
  return `${ready} of ${status.engines.length} engines ready, ${serving} of ${services.length} services serving`;
}

/** What is missing until every named service serves, a reason each; empty when nothing is. */
export function missingFor(status: SystemStatus, services: readonly string[]): string[] {
  const waiting = services.filter((name) => !isServing(status, name));
  if (waiting.length === 0) return [];
  const described = (noun: string, name: string, state: string, message: string) =>
    `${noun} ${name} is ${state}${message === '' ? '' : ` (${message})`}`;
  return [
    ...waiting.map((name) => {
      const service = status.services.find((one) => one.name === name);
      return service
        ? described('service', name, service.state, service.message)
        : `service ${name} is not known`;
    }),
    ...status.clouds
      .filter((cloud) => cloud.state !== 'connected')
      .map((cloud) => described('cloud', cloud.name, cloud.state, cloud.message)),
    ...status.engines
      .filter((engine) => engine.state !== 'ready')
      .map((engine) => described('engine', engine.id, engine.state, engine.message)),
    ...(status.controller.lastError === null ? [] : [`the controller says: ${status.controller.lastError}`]),
  ];
}

function isServing(status: SystemStatus, name: string): boolean {
  return status.services.some((service) => service.name === name && service.state === 'serving');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new WeftError('ERR_BODY_INVALID', `${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
