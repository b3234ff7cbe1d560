/**
 * The proxy of one thread: listeners, connections of clients, members, and the loop that drives them. It never returns
 * to Node's own event loop while it runs; the main thread speaks to it by messages and an event fd.
 */
import { listenerKey } from '../kernel/listener-takeover.ts';
import { listenTcp } from '../kernel/socket-address.ts';
import { SocketBuffers } from '../kernel/socket-buffers.ts';
import { type LoopKind, openSocketLoop, type SocketEvents, type SocketLoop } from '../kernel/socket-loop.ts';
import { ServerSession } from '../tls/server-session.ts';
import { ServerTls } from '../tls/server-tls.ts';
import { AccessLog } from './access-log.ts';
import { type Channel, Channels } from './channel.ts';
import { ClientConnection } from './client-connection.ts';
import { ConnectionList } from './connection-list.ts';
import type { Exchange } from './exchange.ts';
import type { ExchangeContext } from './exchange-sides.ts';
import { Figures, type FiguresReport } from './figures.ts';
import { ClientSession } from './h2/client-session.ts';
import { HeadWriter } from './head-writer.ts';
import { Members } from './members.ts';
import { poolFigures } from './pool-figures.ts';
import { ProxyHeaderSession } from './proxy-header-session.ts';
import { refusal } from './refusals.ts';
import { Service, type ServiceSettings } from './service.ts';
import { TurnClock } from './turn-clock.ts';

const HEADER_INVALID = refusal('proxy-header-invalid');
const BACKLOG = 4096;

export interface ProxyOptions {
  readonly settings: ServiceSettings;
  /** Signalled when there are messages. */
  readonly wakeFd: number;
  /** io_uring where it can be had, if none is named. Tests bring one of their own. */
  readonly loop?: LoopKind | ((buffers: SocketBuffers, events: SocketEvents) => SocketLoop);
  /** Takes pieces of the access log; no log where it is left out. */
  readonly log?: (piece: Uint8Array) => void;
  /** Listening sockets that are there already, by `listenerKey`: the loop's from then on. */
  readonly listeners?: ReadonlyMap<string, readonly number[]>;
  /** One of so many requests is logged. */
  readonly logEvery?: number;
}

export class ProxyLoop implements ExchangeContext {
  readonly members: Members;
  pools: readonly Members[] = [];
  /** Of every pool there was since the start: one that is gone has no members. */
  readonly #poolsByName = new Map<string, Members>();
  readonly clock = new TurnClock();
  readonly figures = new Figures(this.clock);
  service: Service;
  /** Called when the event fd was signalled. */
  onWake: () => void = () => undefined;
  readonly #channels = new Channels();
  /** Pools whose requests wait for members. */
  readonly #waiting = new Set<Members>();
  readonly #writer: HeadWriter;
  readonly #log: AccessLog | null;
  readonly #listeners = new Map<string, readonly number[]>();
  /** Sockets of the process before, for the first settings. */
  #taken: ReadonlyMap<string, readonly number[]>;
  readonly #connections = new ConnectionList<ClientConnection | ClientSession | ServerSession>();
  readonly #closed = (connection: ClientConnection | ClientSession | ServerSession): void => {
    this.#connections.delete(connection);
    this.figures.open--;
  };
  readonly #http2 = (connection: ClientConnection, buffer: number, at: number, end: number): void => {
    this.#connections.delete(connection);
    this.#beginHttp2(connection.channel).onBytes(buffer, at, end);
  };
  /** The handshake is over: what ALPN chose gets the channel. */
  readonly #secured = (session: ServerSession): void => {
    this.#connections.delete(session);
    if (session.isHttp2) this.#beginHttp2(session.channel);
    else this.#beginHttp1(session.channel);
  };
  /** Null where clients speak no TLS. */
  #tls: ServerTls | null;
  #isDraining = false;
  #drainUntilMs = 0;
  #isOver = false;

  /** Opens the listeners. Throws ERR_KERNEL. */
  constructor({ settings, wakeFd, loop, log, logEvery, listeners }: ProxyOptions) {
    const { maxConnections } = settings.http;
    // Two for each connection of a client, one for its member's, and what lies with the kernel.
    const buffers = new SocketBuffers(3 * maxConnections + 2048);
    this.#channels.attach(
      typeof loop === 'function'
        ? loop(buffers, this.#channels)
        : openSocketLoop(buffers, this.#channels, wakeFd, loop),
    );
    this.#writer = new HeadWriter(buffers);
    this.service = new Service(settings);
    this.#tls = ServerTls.of(settings.tls, buffers, null);
    this.members = new Members(settings, this.#channels, '', this.#waiting);
    this.#updatePools(settings);
    this.#log = log === undefined ? null : new AccessLog(log, logEvery);
    this.#taken = listeners ?? new Map();
    this.#channels.onAccepted = (channel) => {
      this.figures.connections++;
      if (this.#isOver || this.#connections.size >= this.service.settings.http.maxConnections) {
        channel.close();
        return;
      }
      this.figures.open++;
      const connection = this.#tls === null ? this.#beginHttp1(channel) : this.#beginTls(channel, this.#tls);
      if (this.service.proxies?.has(channel.peerAddress)) this.#awaitHeader(connection);
    };
    this.#channels.onWoken = () => this.onWake();
    this.#listen();
  }

  /** A proxy in front has to say whose connection it is, in the time that a head has. */
  #awaitHeader(connection: ClientConnection | ServerSession): void {
    const { channel } = connection;
    const { headTimeoutMs, idleTimeoutMs } = this.service.settings.http;
    channel.deadlineMs = this.nowMs + headTimeoutMs;
    new ProxyHeaderSession(
      channel,
      this.buffers,
      () => {
        channel.deadlineMs = this.nowMs + (this.#tls === null ? idleTimeoutMs : headTimeoutMs);
      },
      () => connection.refuse(HEADER_INVALID),
    );
  }

  #beginTls(channel: Channel, tls: ServerTls): ServerSession {
    const deadlineMs = this.nowMs + this.service.settings.http.headTimeoutMs;
    const session = new ServerSession(channel, this.#channels, tls, deadlineMs, this.#secured, this.#closed);
    this.#connections.add(session);
    return session;
  }

  #beginHttp1(channel: Channel): ClientConnection {
    const connection = new ClientConnection(
      channel,
      this.#channels,
      this.#writer,
      this,
      this.#closed,
      this.#http2,
    );
    connection.isDraining = this.#isDraining;
    this.#connections.add(connection);
    return connection;
  }

  #beginHttp2(channel: Channel): ClientSession {
    const session = new ClientSession(channel, this.#channels, this, this.#closed);
    this.#connections.add(session);
    if (this.#isDraining) session.isDraining = true;
    return session;
  }

  get loopKind(): LoopKind {
    return this.#channels.loop.kind;
  }

  get buffers(): SocketBuffers {
    return this.#channels.buffers;
  }

  get nowMs(): number {
    return this.#channels.nowMs;
  }

  #listen(): void {
    const wanted = new Map(
      this.service.settings.listeners.map((listener) => [
        listenerKey(listener.address, listener.port),
        listener,
      ]),
    );
    for (const [key, { address, port, mark }] of wanted) {
      if (this.#listeners.has(key)) continue;
      const fds = this.#taken.get(key) ?? [listenTcp(address, port, BACKLOG, mark)];
      this.#listeners.set(key, fds);
      for (const fd of fds) this.#channels.loop.accept(fd);
    }
    this.#taken = new Map();
    for (const [key, fds] of this.#listeners) {
      if (wanted.has(key)) continue;
      this.#listeners.delete(key);
      for (const fd of fds) this.#channels.loop.stopAccepting(fd);
    }
  }

  /** New settings for requests that begin from now on. Throws ERR_KERNEL where a listener cannot be had. */
  reload(settings: ServiceSettings): void {
    // What waits for time to pass would wait for ever.
    for (const component of this.service.ticking) component.tick!(Number.POSITIVE_INFINITY);
    const tls = ServerTls.of(settings.tls, this.buffers, this.#tls);
    if (tls !== this.#tls) this.#tls?.close();
    this.#tls = tls;
    this.service = new Service(settings, this.service);
    this.members.update(settings);
    this.#updatePools(settings);
    this.#listen();
  }

  #updatePools(settings: ServiceSettings): void {
    const pools = settings.pools ?? [];
    const names = new Set(pools.map(({ name }) => name));
    for (const [name, members] of this.#poolsByName) {
      if (!names.has(name)) members.update({ ...settings, members: [] });
    }
    const { memberTls: _ofTier, ...shared } = settings;
    this.pools = pools.map(({ name, members, memberTls }) => {
      const own = { ...shared, members, ...(memberTls === undefined ? {} : { memberTls }) };
      const known = this.#poolsByName.get(name);
      if (known === undefined)
        this.#poolsByName.set(name, new Members(own, this.#channels, name, this.#waiting));
      else known.update(own);
      return this.#poolsByName.get(name)!;
    });
  }

  /**
   * No new connections but those that were accepted; those that are there end with their request, the last of them at
   * that time. One without a request ends at once; where `waitsForIdle`, with its next request: it may be on its way.
   */
  drain(withinMs: number, waitsForIdle: boolean): void {
    this.#isDraining = true;
    this.#drainUntilMs = performance.now() + withinMs;
    for (const fds of this.#listeners.values()) {
      for (const fd of fds) this.#channels.loop.stopAccepting(fd);
    }
    this.#listeners.clear();
    for (const connection of this.#connections.all()) {
      connection.isDraining = true;
      if (!waitsForIdle) connection.closeIfIdle();
    }
  }

  get #hasWork(): boolean {
    return this.#connections.size > 0 || this.#channels.loop.accepting > 0;
  }

  /** Runs until it is drained. */
  run(): void {
    while (!this.#isDraining || (this.#hasWork && this.nowMs < this.#drainUntilMs)) this.turn();
    this.#isOver = true;
    for (const connection of this.#connections.all()) connection.close();
    this.members.close();
    for (const pool of this.#poolsByName.values()) pool.close();
    // What was closed is told to the kernel, and what it was sending comes back.
    for (let n = 0; n < 3; n++) this.turn(0);
    this.flushLog();
    this.#channels.loop.end();
  }

  /** The figures of the thread, with those of its pools. */
  report(): FiguresReport {
    const { components } = this.service;
    return {
      ...this.figures.report(),
      ...poolFigures([this.members, ...this.#poolsByName.values()]),
      components: Object.fromEntries(components.map((one) => [one.type, one.counters()])),
      shared: Object.fromEntries(
        components.flatMap((one) => (one.shared === undefined ? [] : [[one.type, one.shared()]])),
      ),
    };
  }

  turn(timeoutMs?: number): void {
    this.#channels.turn(timeoutMs);
    if (this.#waiting.size > 0) for (const pool of this.#waiting) pool.serve();
    this.#log?.tick(this.nowMs);
    for (const component of this.service.ticking) component.tick!(this.nowMs);
    this.clock.endTurn(this.nowMs);
  }

  /** Gives away the lines that wait. */
  flushLog(): void {
    this.#log?.flush();
  }

  began(exchange: Exchange): void {
    this.figures.began(exchange);
    if (this.#log === null) return;
    exchange.note ??= AccessLog.createNote();
    this.#log.note(exchange, exchange.note);
  }

  ended(exchange: Exchange): void {
    this.figures.ended(exchange);
    if (this.#log === null) return;
    exchange.note ??= AccessLog.createNote();
    this.#log.write(exchange, exchange.note, this.nowMs);
  }
}
