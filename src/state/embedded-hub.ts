/**
 * The hub of shared state inside the controller: engines connect to it over mutual TLS, it merges what they put and
 * hands it on. For one controller; several need a message bus instead, behind the same interface.
 *
 * It keeps everything in memory and can begin empty at any time: engines put again what is theirs when they are back.
 */
import { randomUUID } from 'node:crypto';
import type { WebSocket } from 'ws';
import { WeftError } from '../policy/errors.ts';
import { EngineLink, type EnginePeer } from './engine-link.ts';
import { EngineRequests, unreachable } from './engine-requests.ts';
import { EntryWatchers } from './entry-watchers.ts';
import { FanOut } from './fan-out.ts';
import type { HubAuthority } from './hub-authority.ts';
import { HubEntries, type HubEntry } from './hub-entries.ts';
import { type HubListener, listenHub, type Refusal } from './hub-listener.ts';
import { isCommon, isEngineLease, ownerOf, soleReader } from './key-owner.ts';
import { type LeaseHolder, LeaseTable } from './lease-table.ts';
import { SILENT, type StateLog } from './log.ts';
import type { SharedEntry, SharedHub } from './shared.ts';
import { CLOSE, type EngineMessage, MAX_HUB_VALUE_CHARACTERS, type PutEntry } from './wire.ts';

export interface HubOptions {
  authority: HubAuthority;
  /** Where to listen. Default: every address, and port 0, which is any. */
  host?: string;
  port?: number;
  /** Boot epoch of the controller. Default: the wall clock. */
  epoch?: number;
  log?: StateLog;
  /** How long an engine may be away before its `connections/` and `engine/` entries lapse. Default 3,000. */
  graceMs?: number;
  /** Entries one engine may have. Default 100,000. */
  maxEntriesPerEngine?: number;
}

/** The controller's end (writer `controller`). */
export interface EmbeddedHub extends SharedHub {
  address(): { host: string; port: number };
}

/** Resolves once engines can connect. */
export async function openHub(options: HubOptions): Promise<EmbeddedHub> {
  const hub = new Hub(options);
  await hub.start(options.host, options.port ?? 0);
  return hub;
}

const WRITER = 'controller';
const TICK_MS = 200;
/** A gap between ticks longer than this means that this process stood still, not its peers. */
const PAUSE_MS = 1500;
/** Life of a session whose engine names none. */
const SESSION_TTL_MS = 3600_000;
const MAX_LEASES_PER_ENGINE = 10_000;

interface OwnLease {
  onChange(isHeld: boolean): void;
  ttlMs: number;
  isHeld: boolean;
}

class Hub implements EmbeddedHub {
  readonly writer = WRITER;
  readonly epoch: number;
  readonly isConnected = true;
  readonly #id = randomUUID();
  readonly #authority: HubAuthority;
  readonly #log: StateLog;
  readonly #graceMs: number;
  readonly #entries: HubEntries;
  readonly #watchers: EntryWatchers;
  readonly #leases = new LeaseTable();
  readonly #ownLeases = new Map<string, OwnLease>();
  /** Lease to engines to be told when it is free. */
  readonly #leaseWaiters = new Map<string, Set<EngineLink>>();
  readonly #links = new Map<string, EngineLink>();
  /** The latest boot of each engine that was ever let in. */
  readonly #boots = new Map<string, { epoch: number; boot: string }>();
  /** Engines that are away, and when what they told of themselves lapses. */
  readonly #away = new Map<string, { epoch: number; deadline: number }>();
  readonly #engineCallbacks = new Set<(engine: string, isConnected: boolean) => void>();
  readonly #requests = new EngineRequests();
  readonly #fanOut = new FanOut(() => this.#links);
  #tickTimer: NodeJS.Timeout | undefined;
  #tickedAt = 0;
  #isRenewing = false;
  #seq = 0;
  #listener!: HubListener;
  #stopRevocations: () => void = () => {};

  constructor(options: HubOptions) {
    this.epoch = options.epoch ?? Date.now();
    this.#authority = options.authority;
    this.#log = options.log ?? SILENT;
    this.#graceMs = options.graceMs ?? 3000;
    this.#entries = new HubEntries(options.maxEntriesPerEngine ?? 100_000);
    this.#watchers = new EntryWatchers(this.#log);
  }

  async start(host: string | undefined, port: number): Promise<void> {
    this.#listener = await listenHub({
      authority: this.#authority,
      host,
      port,
      log: this.#log,
      admit: (peer) => this.#admit(peer),
      onSocket: (socket, peer) => this.#connect(socket, peer),
    });
    this.#stopRevocations = this.#authority.onRevoked((engine) => {
      const link = this.#links.get(engine);
      if (link !== undefined && this.#authority.isRevoked(engine, link.peer.certificate)) {
        link.close(CLOSE.revoked, 'the certificate was revoked');
      }
    });
    this.#tickedAt = now();
    this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
  }

  address(): { host: string; port: number } {
    return this.#listener.address();
  }

  get(key: string): SharedEntry | undefined {
    return this.#entries.get(key);
  }

  list(prefix: string): SharedEntry[] {
    return [...this.#entries.list(prefix)];
  }

  put(key: string, value: unknown, options?: { ttlMs?: number }): void {
    this.#putOwn(key, value === undefined ? undefined : copyOf(key, value), options?.ttlMs);
  }

  delete(key: string): void {
    this.#putOwn(key, undefined, undefined);
  }

  subscribe(prefix: string, onEntry: (entry: SharedEntry) => void): () => void {
    return this.#watchers.add(prefix, this.list(prefix), onEntry);
  }

  lease(key: string, ttlMs: number, onChange: (isHeld: boolean) => void): { release(): void } {
    if (this.#ownLeases.has(key)) throw new WeftError('ERR_INTERNAL', `the lease ${key} is asked for twice`);
    const lease: OwnLease = { onChange, ttlMs, isHeld: false };
    this.#ownLeases.set(key, lease);
    queueMicrotask(() => this.#askOwn(key));
    return {
      release: () => {
        if (this.#ownLeases.get(key) !== lease) return;
        this.#ownLeases.delete(key);
        if (this.#leases.release(key, this.#self)) this.#freed(key);
      },
    };
  }

  onConnection(): () => void {
    // The hub is always connected to itself: nothing ever changes.
    return () => {};
  }

  onRequest(): void {
    // Engines ask nothing of the controller: they read shared state.
  }

  request(engine: string, method: string, params: unknown, timeoutMs: number): Promise<unknown> {
    const link = this.#links.get(engine);
    if (link === undefined) return Promise.reject(unreachable(engine, 'is not connected'));
    return this.#requests.send(link, method, params, timeoutMs);
  }

  connected(): { engine: string; epoch: number }[] {
    return [...this.#links.values()].map(({ peer }) => ({ engine: peer.engine, epoch: peer.epoch }));
  }

  onEngine(callback: (engine: string, isConnected: boolean) => void): () => void {
    this.#engineCallbacks.add(callback);
    return () => this.#engineCallbacks.delete(callback);
  }

  async close(): Promise<void> {
    clearInterval(this.#tickTimer);
    this.#stopRevocations();
    this.#fanOut.close();
    for (const link of this.#links.values()) link.terminate('the hub closes');
    await this.#listener.close();
  }

  get #self(): LeaseHolder {
    return { writer: WRITER, epoch: this.epoch };
  }

  #putOwn(key: string, value: unknown, ttlMs: number | undefined): void {
    const owner = ownerOf(key);
    const isOwn =
      owner.type === 'controller' ||
      (owner.type === 'lease' && this.#leases.isHeldBy(key, this.#self, now()));
    if (!isOwn) throw new WeftError('ERR_WRITER_REFUSED', `${key} is not the controller's to write`);
    this.#store({ key, value, seq: ++this.#seq, ttlMs }, WRITER, this.epoch);
  }

  /** Lets nobody in whose boot is earlier than one that was seen, nor a second boot of the same epoch. */
  #admit(peer: EnginePeer): Refusal | undefined {
    const known = this.#boots.get(peer.engine);
    const isStale =
      known !== undefined &&
      (peer.epoch < known.epoch || (peer.epoch === known.epoch && peer.boot !== known.boot));
    if (!isStale) return undefined;
    return {
      code: 'ERR_EPOCH_STALE',
      message: `engine ${peer.engine} has booted again since epoch ${peer.epoch}: the hub has seen ${known.epoch}`,
      epoch: known.epoch,
    };
  }

  #connect(socket: WebSocket, peer: EnginePeer): void {
    const { engine, epoch, boot } = peer;
    const before = this.#boots.get(engine);
    this.#boots.set(engine, { epoch, boot });
    const link: EngineLink = new EngineLink(socket, peer, now, {
      onMessage: (message) => this.#receive(link, message),
      onClose: (reason) => this.#disconnect(link, reason),
    });
    const earlier = this.#links.get(engine);
    this.#links.set(engine, link);
    earlier?.close(CLOSE.superseded, 'the engine connected again');
    this.#away.delete(engine);
    // What an earlier boot told of itself is void as soon as it is known to be over.
    if (before !== undefined && before.epoch < epoch) this.#lapse(engine, before.epoch);
    this.#log.info({ engine, epoch }, 'an engine connected');
    link.send({ type: 'welcome', hub: this.#id });
    if (earlier !== undefined) this.#tellEngine(engine, false);
    this.#tellEngine(engine, true);
  }

  #disconnect(link: EngineLink, reason: string): void {
    const { engine, epoch } = link.peer;
    this.#requests.abandon(link);
    for (const waiters of this.#leaseWaiters.values()) waiters.delete(link);
    if (this.#links.get(engine) !== link) return;
    this.#links.delete(engine);
    this.#away.set(engine, { epoch, deadline: now() + this.#graceMs });
    this.#log.warn({ engine, epoch, reason }, 'an engine disconnected');
    this.#tellEngine(engine, false);
  }

  #tellEngine(engine: string, isConnected: boolean): void {
    for (const callback of this.#engineCallbacks) {
      try {
        callback(engine, isConnected);
      } catch (error) {
        this.#log.error({ err: error, engine }, 'a subscriber to engine links failed');
      }
    }
  }

  #receive(link: EngineLink, message: EngineMessage): void {
    // A link that was superseded has nothing to say any more.
    if (this.#links.get(link.peer.engine) !== link) return;
    switch (message.type) {
      case 'put':
        for (const entry of message.entries) this.#putFrom(link, entry);
        return;
      case 'subscribe':
        this.#subscribeFrom(link, message.prefix, message.id);
        return;
      case 'unsubscribe':
        link.prefixes.delete(message.prefix);
        return;
      case 'lease':
        this.#leaseFrom(link, message.key, message.ttlMs, message.attempt);
        return;
      case 'release':
        if (this.#leases.release(message.key, holderOf(link))) this.#freed(message.key);
        return;
      case 'reply':
        this.#requests.settle(link, message.id, message.result, message.error);
    }
  }

  #putFrom(link: EngineLink, entry: PutEntry): void {
    const { engine, epoch } = link.peer;
    const owner = ownerOf(entry.key);
    const isOwn =
      (owner.type === 'engine' && owner.engine === engine) ||
      (owner.type === 'lease' && this.#leases.isHeldBy(entry.key, holderOf(link), now()));
    if (!isOwn) {
      this.#refuse(link, entry.key, entry.seq, `${entry.key} is not for ${engine} to write now`);
      return;
    }
    const ttlMs = entry.ttlMs ?? (/^(http-)?session\//.test(entry.key) ? SESSION_TTL_MS : undefined);
    const outcome = this.#store({ ...entry, ttlMs }, engine, epoch);
    if (outcome === 'full')
      this.#refuse(link, entry.key, entry.seq, `${engine} has as many entries as an engine may have`);
  }

  #refuse(link: EngineLink, key: string, seq: number, message: string): void {
    this.#log.warn({ engine: link.peer.engine, key, code: 'ERR_WRITER_REFUSED' }, message);
    link.send({ type: 'refused', key, seq, code: 'ERR_WRITER_REFUSED', message });
  }

  #subscribeFrom(link: EngineLink, prefix: string, id: number): void {
    if (!link.prefixes.has(prefix) && !link.canSubscribe) {
      link.close(CLOSE.tooFast, 'it has too many subscriptions');
      return;
    }
    link.prefixes.add(prefix);
    link.sendSnapshot(id, this.#entries.version, this.#visible(prefix, link.peer.engine));
  }

  /** What the engine may see under the prefix; reads the table as it is when each entry is asked for. */
  *#visible(prefix: string, engine: string): Generator<HubEntry> {
    for (const entry of this.#entries.list(prefix)) {
      if (isCommon(entry.key) || soleReader(entry.key) === engine) yield entry;
    }
  }

  #leaseFrom(link: EngineLink, key: string, ttlMs: number, attempt: number): void {
    const { engine } = link.peer;
    if (!isEngineLease(key)) {
      this.#refuse(link, key, 0, `${engine} may not ask for the lease ${key}`);
      return;
    }
    const holder = holderOf(link);
    const isRenewal = this.#leases.isHeldBy(key, holder, now());
    const isHeld =
      (isRenewal || this.#leases.countOf(engine) < MAX_LEASES_PER_ENGINE) &&
      this.#leases.ask(key, holder, ttlMs, now());
    if (!isHeld) {
      const waiters = this.#leaseWaiters.get(key) ?? new Set();
      this.#leaseWaiters.set(key, waiters.add(link));
    }
    link.send({ type: 'lease', key, attempt, isHeld });
  }

  #freed(key: string): void {
    const waiters = this.#leaseWaiters.get(key) ?? [];
    this.#leaseWaiters.delete(key);
    for (const link of waiters) link.send({ type: 'lease-free', key });
    this.#askOwn(key);
  }

  #askOwn(key: string): void {
    const lease = this.#ownLeases.get(key);
    if (lease === undefined) return;
    const isHeld = this.#leases.ask(key, this.#self, lease.ttlMs, now());
    if (isHeld === lease.isHeld) return;
    lease.isHeld = isHeld;
    try {
      lease.onChange(isHeld);
    } catch (error) {
      this.#log.error({ err: error, key }, 'who asked for a lease failed on its change');
    }
  }

  #store(entry: PutEntry, writer: string, epoch: number): 'full' | undefined {
    const { key, value, seq, ttlMs } = entry;
    const outcome = this.#entries.put({ key, value, writer, epoch, seq, ttlMs }, now());
    if (outcome === 'full') return 'full';
    if (outcome !== 'known') this.#changed(outcome.entry);
    return undefined;
  }

  #lapse(engine: string, epoch: number): void {
    for (const key of [`connections/${engine}`, `engine/${engine}`]) {
      const entry = this.#entries.lapse(key, epoch, now());
      if (entry !== undefined) this.#changed(entry);
    }
  }

  #changed(entry: HubEntry): void {
    this.#fanOut.push(entry);
    this.#watchers.dispatch(entry);
  }

  #tick(): void {
    const at = now();
    const gap = at - this.#tickedAt;
    this.#tickedAt = at;
    if (gap > PAUSE_MS) {
      // This process stood still (stopped, or the machine slept): nobody else is to blame.
      this.#log.warn({ gapMs: gap }, 'the hub stood still');
      for (const link of this.#links.values()) link.excuse();
      for (const away of this.#away.values()) away.deadline += gap;
    }
    for (const link of this.#links.values()) link.tick(Date.now());
    for (const [engine, { epoch, deadline }] of this.#away) {
      if (deadline > at) continue;
      this.#away.delete(engine);
      this.#lapse(engine, epoch);
    }
    for (const entry of this.#entries.sweep(at)) this.#changed(entry);
    // The controller's own leases end with the process and not before.
    for (const [key, lease] of this.#ownLeases) if (lease.isHeld) this.#askOwn(key);
    for (const key of this.#leases.sweep(at)) this.#freed(key);
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    void this.#listener
      .renewCredentials(Date.now())
      .catch((error: unknown) => this.#log.error({ err: error }, 'the hub could not renew its certificate'))
      .finally(() => {
        this.#isRenewing = false;
      });
  }
}

/** A clock that no adjustment moves. */
function now(): number {
  return performance.now();
}

function holderOf(link: EngineLink): LeaseHolder {
  return { writer: link.peer.engine, epoch: link.peer.epoch };
}

function copyOf(key: string, value: unknown): unknown {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new WeftError('ERR_INTERNAL', `the value of ${key} is not JSON`);
  if (json.length > MAX_HUB_VALUE_CHARACTERS) {
    throw new WeftError(
      'ERR_BODY_TOO_LARGE',
      `the value of ${key} has ${json.length} characters, shared state takes ${MAX_HUB_VALUE_CHARACTERS}`,
    );
  }
  return JSON.parse(json);
}
