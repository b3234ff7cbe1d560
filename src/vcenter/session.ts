/**
 * A session with one vCenter: typed vim25 calls over pinned HTTPS, login and login again when the session has gone,
 * tasks, properties; bounded in concurrency and time.
 */
import { randomUUID } from 'node:crypto';
import { WeftError } from '../policy/errors.ts';
import { waitForTask } from './task.ts';
import { type Reply, Transport } from './transport.ts';
import { type Answer, decodeAnswer } from './vim/decode.ts';
import { encodeCall } from './vim/encode.ts';
import { errorOfFault, faultName } from './vim/faults.ts';
import type { Arguments, MethodName, MoRef, Result, TaskName, Vim } from './vim/schema.ts';
import { XmlError } from './vim/xml-reader.ts';

/** The part of a pino logger that is used. */
export interface Log {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface VcenterOptions {
  /** `https://host` or `https://host:port`. */
  address: string;
  /** Asked, like the password, at every login and kept nowhere. */
  user: string | (() => string | Promise<string>);
  password: () => string | Promise<string>;
  /** In place of user and password: obtains a ticket that clones somebody's session, at every login. */
  ticket?: (
    exchange: (request: {
      method: string;
      path: string;
      headers: Record<string, string>;
      body: string;
    }) => Promise<Reply>,
  ) => Promise<string>;
  /** SHA-256 of the certificate, with or without colons. */
  thumbprint: string;
  log?: Log;
  /** How often a question keeps the session alive, which vCenter ends after 30 idle minutes. */
  keepAliveMs?: number;
  /** How long one call may take; waits for updates and tasks are not bounded by it. */
  deadlineMs?: number;
  /** Calls under way at once, waits not counted. */
  maxConcurrent?: number;
}

/** Calls that change nothing: repeated when no answer came. */
const REPEATABLE =
  /^(Retrieve|Continue|CurrentTime|Find|Fetch|Query|SessionIsActive|HasPrivilege|GetCustomizationSpec)/;
/** Extensions have a field that only newer versions know. */
const EXTENSION = /Extension$/;
const ATTEMPTS = 3;
const KEEP_ALIVE_MS = 5 * 60_000;
/** Long polls are answered by vCenter after the time they name; this is added for the way. */
const WAIT_SLACK_MS = 15_000;

type Current = Vim<'UserSession'>;

export class VcenterSession {
  /** For streaming uploads through the same pinned certificate. */
  readonly transport: Transport;
  readonly #options: VcenterOptions;
  readonly #closed = new AbortController();
  readonly #gate: Gate;
  readonly #id = randomUUID().slice(0, 8);
  #content: Vim<'ServiceContent'> | null = null;
  #cookie = '';
  #current: Current | null = null;
  #calls = 0;
  #logins = 0;
  #login: Promise<void> | null = null;
  #keepAlive: NodeJS.Timeout | null = null;

  constructor(options: VcenterOptions) {
    this.#options = options;
    this.transport = new Transport(options.address, options.thumbprint);
    this.#gate = new Gate(options.maxConcurrent ?? 8);
  }

  /** The root of everything that vCenter offers. Throws ERR_INTERNAL before `connect`. */
  get content(): Vim<'ServiceContent'> {
    if (this.#content) return this.#content;
    throw new WeftError('ERR_INTERNAL', 'the vCenter session was used before it was connected');
  }

  /** Counts logins: what belongs to a session (views, filters, collectors) is gone when it has changed. */
  get generation(): number {
    return this.#logins;
  }

  /** What vCenter calls this session. Empty before `connect`. */
  get key(): string {
    return this.#current?.key ?? '';
  }

  get address(): string {
    return this.transport.origin;
  }

  /** Logs in unless that is done already. Every other method does so by itself. */
  async connect(signal: AbortSignal): Promise<Vim<'ServiceContent'>> {
    if (this.#logins === 0) await this.#logIn(0, signal);
    return this.content;
  }

  /** Who is logged in, as vCenter told at the last login. Throws ERR_INTERNAL before `connect`. */
  get current(): Vim<'UserSession'> {
    if (this.#current) return this.#current;
    throw new WeftError('ERR_INTERNAL', 'the vCenter session was used before it was connected');
  }

  /** Whether the vCenter is of that version or later. False before `connect`. */
  isAtLeast(...wanted: readonly number[]): boolean {
    const parts = (this.#content?.about.apiVersion ?? '').split('.').map(Number);
    for (const [index, number] of wanted.entries()) {
      const part = parts[index] || 0;
      if (part !== number) return part > number;
    }
    return true;
  }

  /** What vCenter tells anybody of itself, without a login. */
  async readContent(signal: AbortSignal): Promise<Vim<'ServiceContent'>> {
    const instance = { type: 'ServiceInstance', value: 'ServiceInstance' };
    return (await this.#send(instance, 'RetrieveServiceContent', {}, signal)) as Vim<'ServiceContent'>;
  }

  /**
   * One call. Rejects with the signal's reason, or as {@link errorOfFault} and {@link Transport.request} say;
   * ERR_TIMEOUT after the deadline.
   */
  async call<M extends MethodName>(
    target: MoRef,
    method: M,
    args: Arguments<M>,
    signal: AbortSignal,
  ): Promise<Result<M>> {
    await this.connect(signal);
    for (let attempt = 1; ; attempt++) {
      const generation = this.#logins;
      try {
        return (await this.#send(target, method, args, signal)) as Result<M>;
      } catch (error) {
        if (signal.aborted || this.#closed.signal.aborted || attempt >= ATTEMPTS) throw error;
        // Nothing was done for a session that vCenter does not know: any call may be repeated.
        if (faultName(error) === 'NotAuthenticated') await this.#logIn(generation, signal);
        else if (isNoAnswer(error) && REPEATABLE.test(method)) await this.#pause(attempt, signal);
        else throw error;
      }
    }
  }

  /**
   * Starts a task and waits for its end; answers its result. Cancels it when the signal aborts. A fault of the task
   * is thrown like that of a call.
   */
  async task<M extends TaskName>(
    target: MoRef,
    method: M,
    args: Arguments<M>,
    signal: AbortSignal,
    progress?: (fraction: number) => void,
  ): Promise<unknown> {
    const task = (await this.call(target, method, args, signal)) as unknown as MoRef;
    return waitForTask(this, task, `${method} on ${target.value}`, signal, progress);
  }

  /**
   * Reads properties of objects of any types, by the id of the object. A property that is unset is left out.
   * One unknown object fails the call with ERR_NOT_FOUND.
   */
  async properties(
    objects: readonly MoRef[],
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<Map<string, Record<string, unknown>>> {
    const found = new Map<string, Record<string, unknown>>();
    if (objects.length === 0) return found;
    const { propertyCollector } = await this.connect(signal);
    const types = [...new Set(objects.map((one) => one.type))];
    const specSet = [
      {
        propSet: types.map((type) => ({ type, pathSet: [...paths] })),
        objectSet: objects.map((obj) => ({ obj })),
      },
    ];
    let page = await this.call(
      propertyCollector,
      'RetrievePropertiesEx',
      { specSet, options: { maxObjects: 500 } },
      signal,
    );
    for (;;) {
      for (const { obj, propSet = [] } of page?.objects ?? []) {
        found.set(obj.value, Object.fromEntries(propSet.map(({ name, val }) => [name, val])));
      }
      const token: string | undefined = page?.token;
      if (token === undefined || token === '') return found;
      page = await this.call(propertyCollector, 'ContinueRetrievePropertiesEx', { token }, signal);
    }
  }

  /** A request to vCenter's REST services with this session's pinned connection, within the deadline. */
  rest(
    request: { method: string; path: string; headers: Record<string, string>; body?: string },
    signal: AbortSignal,
    deadlineMs: number = this.#deadlineMs,
  ): Promise<Reply> {
    return this.#withDeadline(`${request.method} ${request.path}`, deadlineMs, signal, (ended) =>
      this.transport.request(request, ended),
    );
  }

  /** User and password as of now, for services that log in by themselves. */
  async credentials(): Promise<{ user: string; password: string }> {
    const { user, password } = this.#options;
    return { user: typeof user === 'string' ? user : await user(), password: await password() };
  }

  /** Ends the session with vCenter, as well as that can be done in two seconds, and all that waits here. */
  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    if (this.#keepAlive) clearInterval(this.#keepAlive);
    const manager = this.#content?.sessionManager;
    const reason = new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the session with vCenter is closed');
    const logout =
      manager && this.#cookie
        ? this.#exchange(manager, 'Logout', {}, AbortSignal.timeout(2000)).catch(() => undefined)
        : undefined;
    this.#closed.abort(reason);
    await logout;
    this.transport.close();
  }

  get #deadlineMs(): number {
    return this.#options.deadlineMs ?? 60_000;
  }

  /** One login at a time; whoever finds the session of `generation` gone shares it. */
  #logIn(generation: number, signal: AbortSignal): Promise<void> {
    if (this.#logins !== generation) return Promise.resolve();
    this.#login ??= this.#logInNow().finally(() => {
      this.#login = null;
    });
    return abortable(this.#login, signal);
  }

  async #logInNow(): Promise<void> {
    const { signal } = this.#closed;
    this.#cookie = '';
    this.#content = (await this.#send(
      { type: 'ServiceInstance', value: 'ServiceInstance' },
      'RetrieveServiceContent',
      {},
      signal,
    )) as Vim<'ServiceContent'>;
    const manager = this.#content.sessionManager;
    if (!manager)
      throw new WeftError('ERR_HYPERVISOR_REFUSED', `${this.address} offers no login: is it a vCenter?`);
    const { ticket } = this.#options;
    if (ticket) {
      const cloneTicket = await ticket((request) => this.rest(request, signal));
      this.#current = (await this.#send(manager, 'CloneSession', { cloneTicket }, signal)) as Current;
    } else {
      const { user: userName, password } = await this.credentials();
      this.#current = (await this.#send(manager, 'Login', { userName, password }, signal)) as Current;
    }
    this.#logins++;
    this.#options.log?.debug({ address: this.address, generation: this.#logins }, 'logged in to vCenter');
    // Sessions end after 30 idle minutes.
    this.#keepAlive ??= setInterval(() => {
      void this.call(
        { type: 'ServiceInstance', value: 'ServiceInstance' },
        'CurrentTime',
        {},
        AbortSignal.timeout(this.#deadlineMs),
      ).catch(() => undefined);
    }, this.#options.keepAliveMs ?? KEEP_ALIVE_MS).unref();
  }

  /** One exchange within its deadline and its turn. */
  async #send(target: MoRef, method: MethodName, args: object, signal: AbortSignal): Promise<unknown> {
    const waitSeconds = (args as { options?: { maxWaitSeconds?: number } }).options?.maxWaitSeconds ?? 0;
    const isWait = method === 'WaitForUpdatesEx' && waitSeconds > 0;
    const deadlineMs = isWait ? waitSeconds * 1000 + WAIT_SLACK_MS : this.#deadlineMs;
    return this.#withDeadline(`${method} on ${target.value}`, deadlineMs, signal, async (ended) => {
      // Waits hold nobody up: they would fill the gate with calls that do nothing. Nor does the call that ends one.
      const leave = isWait || method === 'CancelWaitForUpdates' ? null : await this.#gate.enter(ended);
      try {
        return await this.#exchange(target, method, args, ended);
      } finally {
        leave?.();
      }
    });
  }

  async #exchange(target: MoRef, method: MethodName, args: object, signal: AbortSignal): Promise<unknown> {
    const operationId = `weft-${this.#id}-${++this.#calls}`;
    const started = performance.now();
    const body = encodeCall(target, method, args, operationId);
    const outcome: { fault?: string; status?: number } = {};
    try {
      const reply = await this.transport.request(
        {
          method: 'POST',
          path: '/sdk',
          // The oldest version that is supported: newer vCenters answer in its terms, so with the types of our table.
          headers: {
            'Content-Type': 'text/xml; charset=utf-8',
            SOAPAction: `"urn:vim25/${EXTENSION.test(method) && this.isAtLeast(8, 0, 2) ? '8.0.2.0' : '6.7'}"`,
            ...(this.#cookie ? { Cookie: this.#cookie } : {}),
          },
          body,
        },
        signal,
      );
      outcome.status = reply.status;
      this.#keepCookie(reply);
      const answer = this.#decode(method, reply);
      if ('result' in answer) return answer.result;
      outcome.fault = answer.fault.name;
      throw errorOfFault(answer.fault, `${method} on ${target.value}`);
    } finally {
      this.#options.log?.debug(
        {
          operationId,
          method,
          target: target.value,
          ms: Math.round(performance.now() - started),
          ...outcome,
        },
        'vCenter call',
      );
    }
  }

  #decode(method: MethodName, reply: Reply): Answer {
    if (reply.status !== 200 && reply.status !== 500) {
      // 503 is what its reverse proxy says while vCenter starts.
      throw new WeftError(
        reply.status >= 500 ? 'ERR_HYPERVISOR_UNREACHABLE' : 'ERR_HYPERVISOR_REFUSED',
        `${this.address} answered ${method} with HTTP status ${reply.status}`,
      );
    }
    try {
      return decodeAnswer(method, reply.text);
    } catch (error) {
      if (!(error instanceof XmlError)) throw error;
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `${this.address} answered ${method} with what is no vim25 answer: ${error.message}`,
        { cause: error },
      );
    }
  }

  #keepCookie(reply: Reply): void {
    const cookies = reply.headers['set-cookie'];
    for (const one of Array.isArray(cookies) ? cookies : []) {
      const match = /^(vmware_soap_session=[^;\s]{1,512})/.exec(String(one));
      if (match) this.#cookie = match[1]!;
    }
  }

  async #withDeadline<T>(
    doing: string,
    deadlineMs: number,
    signal: AbortSignal,
    work: (ended: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const deadline = new AbortController();
    const timer = setTimeout(
      () =>
        deadline.abort(
          new WeftError(
            'ERR_TIMEOUT',
            `${this.address} did not answer ${doing} within ${deadlineMs / 1000} s`,
          ),
        ),
      deadlineMs,
    );
    try {
      return await work(AbortSignal.any([signal, this.#closed.signal, deadline.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Jittered, so that many calls that failed together do not come back together. */
  async #pause(attempt: number, signal: AbortSignal): Promise<void> {
    const ms = 100 * 2 ** attempt * (0.5 + Math.random());
    await abortable(
      new Promise((resolve) => setTimeout(resolve, ms)),
      AbortSignal.any([signal, this.#closed.signal]),
    );
  }
}

function isNoAnswer(error: unknown): boolean {
  return (
    error instanceof WeftError &&
    error.code === 'ERR_HYPERVISOR_UNREACHABLE' &&
    !/thumbprint/.test(error.message)
  );
}

/** The promise, or the signal's reason if that comes first; the work itself goes on. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** So many at once, the others in the order they came. */
class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves with what leaves the place again. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else {
      let turn: () => void = () => undefined;
      const come = new Promise<void>((resolve) => {
        turn = resolve;
        this.#waiting.push(turn);
      });
      try {
        await abortable(come, signal);
      } catch (error) {
        const at = this.#waiting.indexOf(turn);
        if (at >= 0) this.#waiting.splice(at, 1);
        else this.#leave();
        throw error;
      }
    }
    return () => this.#leave();
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}
