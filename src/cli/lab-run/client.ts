/**
 * Drives the client outside: starts client-program.ts in the lab's client namespace and turns its lines into
 * promises and running totals.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WeftError } from '../../policy/errors.ts';
import type { ClientCommand, ClientEvent, ClientTarget, RequestResult } from './client-program.ts';

export type { ClientTarget, RequestResult } from './client-program.ts';

type Answer = Extract<ClientEvent, { id: number }>;
type Distribute<T> = T extends unknown ? Omit<T, 'id'> : never;

export class LabClient {
  /** Every result of the load since the last `forget`, in the order in which the requests ended. */
  readonly results: RequestResult[] = [];
  /** Totals since the start. */
  requests = 0;
  failed = 0;
  /** Long-lived connections that are in use, by key: their latest report. */
  readonly steady = new Map<string, Extract<ClientEvent, { event: 'steady' }>>();
  readonly steadyBroken = new Map<string, Extract<ClientEvent, { event: 'steady-broken' }>>();

  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts the program in the client namespace of the lab. */
  static async start(lab: string, signal: AbortSignal): Promise<LabClient> {
    const program = fileURLToPath(new URL('client-program.ts', import.meta.url));
    const child = spawn(
      'nsenter',
      [
        `--net=/run/netns/weft-${lab}-client`,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        program,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const client = new LabClient(child);
    const lines = createInterface({ input: child.stdout! });
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
      child.once('error', (cause) =>
        reject(
          new WeftError('ERR_LAB', 'the client of the lab could not be started: is nsenter installed?', {
            cause,
          }),
        ),
      );
      child.once('exit', (code) =>
        reject(new WeftError('ERR_LAB', `the client of the lab ended with exit code ${code}`)),
      );
      lines.on('line', (line) => {
        const event = JSON.parse(line) as ClientEvent;
        if (event.event === 'ready') {
          signal.removeEventListener('abort', stop);
          resolve();
        } else client.#take(event);
      });
    });
    return client;
  }

  /** Keeps `workers` requests under way, spread over the targets, each on a connection of its own. */
  startLoad(targets: ClientTarget[], options: { workers: number; pauseMs: number; timeoutMs: number }): void {
    this.#tell({ op: 'load', targets, ...options });
  }

  stopLoad(): void {
    this.#tell({ op: 'stop-load' });
  }

  /** Keeps one connection in use for as long as it lasts. */
  startSteady(key: string, target: ClientTarget, pauseMs: number): void {
    this.#tell({ op: 'steady', key, target, pauseMs });
  }

  /** Closes the steady connections and forgets them. */
  stopSteady(): void {
    this.#tell({ op: 'stop-steady' });
    this.steady.clear();
    this.steadyBroken.clear();
  }

  async get(target: ClientTarget, timeoutMs = 5000, path = '/'): Promise<RequestResult> {
    const answer = await this.#ask({ op: 'get', target, path, timeoutMs });
    return (answer as Extract<Answer, { event: 'answer' }>).result;
  }

  /** Opens connections one after another, `pauseMs` apart, and holds them; resolves with how many of the group are open. */
  async hold(
    group: string,
    target: ClientTarget,
    count: number,
    pauseMs = 0,
  ): Promise<{ open: number; errors: string[] }> {
    const answer = await this.#ask({ op: 'hold', group, target, count, pauseMs, timeoutMs: 5000 });
    const { open, errors } = answer as Extract<Answer, { event: 'held' }>;
    return { open, errors };
  }

  /** Closes the connections of a group; resolves with how many had been cut before. */
  async release(group: string): Promise<number> {
    const answer = await this.#ask({ op: 'release', group });
    return (answer as Extract<Answer, { event: 'released' }>).closedByPeer;
  }

  forget(): void {
    this.results.length = 0;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.stdin!.end();
    await ended;
  }

  #tell(command: ClientCommand): void {
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  #ask(command: Distribute<Extract<ClientCommand, { id: number }>>): Promise<Answer> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#tell({ ...command, id } as ClientCommand);
    });
  }

  #take(event: ClientEvent): void {
    if (event.event === 'results') {
      for (const result of event.results) {
        this.requests++;
        if (result.error !== null) this.failed++;
        this.results.push(result);
      }
    } else if (event.event === 'steady') this.steady.set(event.key, event);
    else if (event.event === 'steady-broken') this.steadyBroken.set(event.key, event);
    else if ('id' in event) {
      const resolve = this.#waiting.get(event.id);
      this.#waiting.delete(event.id);
      resolve?.(event);
    }
  }
}
