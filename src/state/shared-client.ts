/**
 * An engine's end of the shared state: one WebSocket to the hub over mutual TLS, made again for ever when it breaks.
 * While it is down everything that was known stays known, and what is put is kept for later.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { ClientEntries } from './client-entries.ts';
import { ClientLease } from './client-lease.ts';
import { EntryWatchers } from './entry-watchers.ts';
import { checkControllerIdentity, type Identity } from './identity.ts';
import { SILENT, type StateLog } from './log.ts';
import type { SharedEntry, SharedState } from './shared.ts';
import {
  BATCH_CHARACTERS,
  type EngineMessage,
  type HubMessage,
  MAX_ENGINE_VALUE_CHARACTERS,
  MAX_HUB_MESSAGE_BYTES,
  MAX_KEY_CHARACTERS,
  MAX_TTL_MS,
  MIN_LEASE_MS,
  parseHubMessage,
  refusalSchema,
  SILENCE_MS,
} from './wire.ts';

export interface SharedClientOptions {
  /**
   * `https://host:port` of the controller's hub. A function is asked again and again: where its answer changes, the link
   * is made anew.
   */
  url: string | (() => string);
  /**
   * Called again at each connection, so that a renewed certificate is taken up. Where its authority changes, the link is
   * made anew.
   */
  identity: Identity | (() => Identity);
  /** The engine's id, as its certificate has it. */
  writer: string;
  /**
   * Boot epoch: greater at each boot. Where the hub has seen a later one at the first connection (the clock went
   * back), the client takes the next one after that.
   */
  epoch: number;
  log?: StateLog;
}

/** Returns at once and connects in the background, for ever, until `close`. */
export function connectShared(options: SharedClientOptions): SharedState {
  const client = new SharedClient(options);
  client.start();
  return client;
}

const BACK_OFF_MS = { first: 100, most: 2000 };
/** A link that lived this long counts as good: the next failure starts with the shortest wait. */
const GOOD_AFTER_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;
const TICK_MS = 250;
/** A gap between ticks longer than this means that this process stood still, not the hub. */
const PAUSE_MS = 1500;
/** Unsent entries wait while this much is still to be taken by the hub. */
const MAX_BACKLOG_BYTES = 2 << 20;
const MAX_REFUSAL_BYTES = 4096;
const REMEMBERED_REQUESTS = 256;
const MAX_REPLY_CHARACTERS = 600_000;

class SharedClient implements SharedState {
  readonly writer: string;
  readonly #options: SharedClientOptions;
  readonly #log: StateLog;
  readonly #boot = randomUUID();
  readonly #entries: ClientEntries;
  readonly #watchers: EntryWatchers;
  /** Prefix to number of subscribers. */
  readonly #prefixes = new Map<string, number>();
  readonly #leases = new Map<string, ClientLease>();
  readonly #connectionCallbacks = new Set<(isConnected: boolean) => void>();
  #requestHandler: ((method: string, params: unknown) => Promise<unknown>) | undefined;
  /** Ids of the latest requests on this link, so that none is answered twice. */
  readonly #requests = new Set<number>();
  #epoch: number;
  #socket: WebSocket | undefined;
  /** Address and authority of the link. */
  #peer = '';
  #isConnected = false;
  #wasConnected = false;
  #isClosed = false;
  #connectedAt = 0;
  #lastSeenAt = 0;
  #tickedAt = 0;
  #waitMs = BACK_OFF_MS.first;
  #lastFailure = '';
  #subscriptionId = 0;
  #isFlushing = false;
  #retryTimer: NodeJS.Timeout | undefined;
  #tickTimer: NodeJS.Timeout | undefined;

  constructor(options: SharedClientOptions) {
    this.#options = options;
    this.writer = options.writer;
    this.#epoch = options.epoch;
    this.#log = options.log ?? SILENT;
    this.#watchers = new EntryWatchers(this.#log);
    this.#entries = new ClientEntries(options.writer, options.epoch, (entry) =>
      this.#watchers.dispatch(entry),
    );
  }

  start(): void {
    this.#tickedAt = now();
    this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }

  get epoch(): number {
    return this.#epoch;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  get(key: string): SharedEntry | undefined {
    return this.#entries.get(key);
  }

  list(prefix: string): SharedEntry[] {
    return [...this.#entries.list(prefix)];
  }

  put(key: string, value: unknown, options?: { ttlMs?: number }): void {
    if (this.#isClosed) return;
    checkKey(key);
    const json = JSON.stringify(value) as string | undefined;
    if (json === undefined) throw new WeftError('ERR_INTERNAL', `the value of ${key} is not JSON`);
    if (json.length > MAX_ENGINE_VALUE_CHARACTERS) {
      throw new WeftError(
        'ERR_BODY_TOO_LARGE',
        `the value of ${key} has ${json.length} characters, shared state takes ${MAX_ENGINE_VALUE_CHARACTERS}`,
      );
    }
    this.#entries.put(key, JSON.parse(json), json, options?.ttlMs, now());
    this.#flushSoon();
  }

  delete(key: string): void {
    if (this.#isClosed) return;
    checkKey(key);
    this.#entries.put(key, undefined, undefined, undefined, now());
    this.#flushSoon();
  }

  subscribe(prefix: string, onEntry: (entry: SharedEntry) => void): () => void {
    const count = this.#prefixes.get(prefix) ?? 0;
    this.#prefixes.set(prefix, count + 1);
    if (count === 0) this.#sendSubscription(prefix);
    const stop = this.#watchers.add(prefix, this.list(prefix), onEntry);
    let isStopped = false;
    return () => {
      if (isStopped) return;
      isStopped = true;
      stop();
      const left = this.#prefixes.get(prefix)! - 1;
      if (left > 0) {
        this.#prefixes.set(prefix, left);
      } else {
        this.#prefixes.delete(prefix);
        this.#entries.forget((key) => [...this.#prefixes.keys()].some((wanted) => key.startsWith(wanted)));
        this.#send({ type: 'unsubscribe', prefix });
      }
    };
  }

  lease(key: string, ttl: number, onChange: (isHeld: boolean) => void): { release(): void } {
    checkKey(key);
    const ttlMs = Math.min(MAX_TTL_MS, Math.max(MIN_LEASE_MS, Math.round(ttl)));
    if (this.#leases.has(key)) throw new WeftError('ERR_INTERNAL', `the lease ${key} is asked for twice`);
    const lease = new ClientLease(ttlMs, now, {
      ask: (attempt) => this.#send({ type: 'lease', key, ttlMs, attempt }),
      onChange: (isHeld) => {
        try {
          onChange(isHeld);
        } catch (error) {
          this.#log.error({ err: error, key }, 'who asked for a lease failed on its change');
        }
      },
    });
    this.#leases.set(key, lease);
    lease.ask();
    return {
      release: () => {
        if (this.#leases.get(key) !== lease) return;
        this.#leases.delete(key);
        lease.stop();
        // What was put under it goes first.
        this.#flush();
        this.#send({ type: 'release', key });
      },
    };
  }

  onConnection(callback: (isConnected: boolean) => void): () => void {
    this.#connectionCallbacks.add(callback);
    return () => this.#connectionCallbacks.delete(callback);
  }

  onRequest(handler: (method: string, params: unknown) => Promise<unknown>): void {
    this.#requestHandler = handler;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#tickTimer);
    for (const [key, lease] of this.#leases) {
      lease.stop();
      this.#send({ type: 'release', key });
    }
    this.#leases.clear();
    const socket = this.#socket;
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      const giveUp = setTimeout(() => socket.terminate(), 500);
      socket.once('close', () => {
        clearTimeout(giveUp);
        resolve();
      });
      socket.close(1000);
    });
  }

  get #url(): string {
    const { url } = this.#options;
    return typeof url === 'function' ? url() : url;
  }

  get #identity(): Identity {
    const { identity } = this.#options;
    return typeof identity === 'function' ? identity() : identity;
  }

  #connect(): void {
    this.#retryTimer = undefined;
    let socket: WebSocket;
    try {
      const { certificate, key, ca } = this.#identity;
      const url = new URL('/shared', this.#url);
      this.#peer = `${this.#url} ${ca}`;
      url.protocol = 'wss:';
      url.searchParams.set('epoch', String(this.#epoch));
      url.searchParams.set('boot', this.#boot);
      socket = new WebSocket(url, {
        ca,
        cert: certificate,
        key,
        minVersion: 'TLSv1.3',
        rejectUnauthorized: true,
        checkServerIdentity: checkControllerIdentity as unknown as () => boolean,
        handshakeTimeout: CONNECT_TIMEOUT_MS,
        perMessageDeflate: false,
        maxPayload: MAX_HUB_MESSAGE_BYTES,
      });
    } catch (error) {
      this.#retry((error as Error).message);
      return;
    }
    this.#socket = socket;
    this.#lastSeenAt = now();
    let failure = 'the link was closed';
    let isRefused = false;
    socket.on('open', () => this.#seen());
    socket.on('ping', () => this.#seen());
    socket.on('message', (data, isBinary) => {
      if (this.#socket !== socket) return;
      this.#seen();
      let message: HubMessage;
      try {
        if (isBinary) throw new Error('a binary message');
        message = parseHubMessage((data as Buffer).toString('utf8'));
      } catch (error) {
        failure = `the hub sent what is not understood (${(error as Error).message})`;
        socket.terminate();
        return;
      }
      this.#receive(message);
    });
    socket.on('unexpected-response', (_request, response) => {
      void readRefusal(response).then((refusal) => {
        failure = refusal.message;
        isRefused = true;
        if (refusal.epoch !== undefined) this.#stale(refusal.epoch);
        socket.terminate();
      });
    });
    socket.on('error', (error) => {
      // Ending a refused attempt is itself reported as an error.
      if (!isRefused) failure = error.message;
    });
    socket.on('close', (_code, reason) => {
      if (reason.length > 0) failure = reason.toString('utf8');
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#down();
      this.#retry(failure);
    });
  }

  /** The hub has seen a later boot of this engine. */
  #stale(epoch: number): void {
    // Whoever was let in once has really been replaced. Whoever was not is new, and its clock had gone back.
    if (this.#wasConnected) return;
    this.#log.warn({ had: this.#epoch, seen: epoch }, 'the boot epoch went back: the next one is taken');
    this.#epoch = epoch + 1;
    this.#entries.epoch = this.#epoch;
  }

  #retry(failure: string): void {
    if (this.#isClosed) return;
    if (this.#connectedAt > 0 && now() - this.#connectedAt > GOOD_AFTER_MS) this.#waitMs = BACK_OFF_MS.first;
    this.#connectedAt = 0;
    if (failure !== this.#lastFailure) {
      this.#lastFailure = failure;
      this.#log.warn({ url: this.#url, reason: failure }, 'the controller is out of reach: trying again');
    }
    const waitMs = this.#waitMs * (0.5 + Math.random() / 2);
    this.#waitMs = Math.min(this.#waitMs * 2, BACK_OFF_MS.most);
    this.#retryTimer = setTimeout(() => this.#connect(), waitMs);
  }

  #up(hub: string): void {
    this.#isConnected = true;
    this.#wasConnected = true;
    this.#connectedAt = now();
    this.#lastFailure = '';
    this.#requests.clear();
    this.#log.info({ url: this.#url, epoch: this.#epoch }, 'connected to the controller');
    this.#entries.connected(hub, now());
    // Leases first: what is put under them is refused without.
    for (const lease of this.#leases.values()) lease.ask();
    for (const prefix of this.#prefixes.keys()) this.#sendSubscription(prefix);
    this.#flushSoon();
    this.#tellConnection(true);
  }

  #down(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#tellConnection(false);
  }

  #tellConnection(isConnected: boolean): void {
    for (const callback of this.#connectionCallbacks) {
      try {
        callback(isConnected);
      } catch (error) {
        this.#log.error({ err: error }, 'a subscriber to the link failed');
      }
    }
  }

  #receive(message: HubMessage): void {
    switch (message.type) {
      case 'welcome':
        if (!this.#isConnected) this.#up(message.hub);
        return;
      case 'entries':
        this.#entries.take(message.entries, now());
        return;
      case 'snapshot':
        this.#entries.takeSnapshot(message, now());
        return;
      case 'lease': {
        const lease = this.#leases.get(message.key);
        if (lease !== undefined) lease.answered(message.attempt, message.isHeld);
        else if (message.isHeld) this.#send({ type: 'release', key: message.key });
        return;
      }
      case 'lease-free':
        this.#leases.get(message.key)?.ask();
        return;
      case 'refused':
        this.#log.warn({ key: message.key, code: message.code }, message.message);
        this.#entries.refused(message.key, message.seq);
        return;
      case 'request':
        void this.#answer(message.id, message.method, message.params);
        return;
    }
  }

  async #answer(id: number, method: string, params: unknown): Promise<void> {
    if (this.#requests.has(id)) return;
    this.#requests.add(id);
    if (this.#requests.size > REMEMBERED_REQUESTS) {
      this.#requests.delete(this.#requests.values().next().value!);
    }
    try {
      if (this.#requestHandler === undefined) {
        throw new WeftError('ERR_NOT_FOUND', `engine ${this.writer} answers no requests`);
      }
      const result = await this.#requestHandler(method, params);
      if (JSON.stringify(result ?? null).length > MAX_REPLY_CHARACTERS) {
        throw new WeftError(
          'ERR_BODY_TOO_LARGE',
          `the answer to ${method} is too long: ask for less at once`,
        );
      }
      this.#send({ type: 'reply', id, result });
    } catch (error) {
      const code = isWeftError(error) ? error.code : 'ERR_INTERNAL';
      this.#send({ type: 'reply', id, error: { code, message: (error as Error).message.slice(0, 4000) } });
    }
  }

  #sendSubscription(prefix: string): void {
    if (!this.#isConnected) return;
    const id = ++this.#subscriptionId;
    this.#entries.expectSnapshot(id, prefix);
    this.#send({ type: 'subscribe', prefix, id });
  }

  #flushSoon(): void {
    if (this.#isFlushing || !this.#isConnected) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#isConnected && this.#entries.hasUnsent) {
      // What does not go out now goes with a later tick, and then only the latest of each key.
      if ((this.#socket?.bufferedAmount ?? 0) > MAX_BACKLOG_BYTES) return;
      this.#send({ type: 'put', entries: this.#entries.takeUnsent(BATCH_CHARACTERS, now()) });
    }
  }

  #send(message: EngineMessage): boolean {
    if (!this.#isConnected || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #seen(): void {
    this.#lastSeenAt = now();
  }

  #tick(): void {
    const at = now();
    const gap = at - this.#tickedAt;
    this.#tickedAt = at;
    // After a stop of this process, what the hub sent meanwhile waits to be read.
    if (gap > PAUSE_MS) this.#lastSeenAt = at;
    if (this.#socket !== undefined && this.#peer !== `${this.#url} ${this.#identity.ca}`) {
      // Another controller has this engine now.
      this.#waitMs = BACK_OFF_MS.first;
      this.#socket.terminate();
    } else if (this.#isConnected && at - this.#lastSeenAt > SILENCE_MS) {
      this.#socket?.terminate();
    } else if (!this.#isConnected && at - this.#lastSeenAt > CONNECT_TIMEOUT_MS) {
      // Connected, but never welcomed.
      this.#socket?.terminate();
    }
    this.#entries.sweep(at);
    this.#flush();
  }
}

function checkKey(key: string): void {
  if (key.length === 0 || key.length > MAX_KEY_CHARACTERS) {
    throw new WeftError(
      'ERR_INTERNAL',
      `a key of shared state has 1 to ${MAX_KEY_CHARACTERS} characters: "${key.slice(0, 80)}"`,
    );
  }
}

/** A clock that no adjustment moves. */
function now(): number {
  return performance.now();
}

async function readRefusal(
  response: IncomingMessage,
): Promise<{ message: string; epoch?: number | undefined }> {
  let text = '';
  try {
    for await (const part of response.setEncoding('utf8') as AsyncIterable<string>) {
      text += part;
      if (text.length > MAX_REFUSAL_BYTES) break;
    }
    const { error, epoch } = refusalSchema.parse(JSON.parse(text));
    return { message: `${error.code}: ${error.message}`, epoch };
  } catch {
    return { message: `the hub answered status ${response.statusCode ?? 0}` };
  }
}
