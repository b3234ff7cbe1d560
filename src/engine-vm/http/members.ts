/**
 * The members of a service as one thread uses them: which one gets the next request, and the connections that are kept
 * open to each. A member that does not take connections is left out for a while.
 */
import { isDeepStrictEqual } from 'node:util';
import { type ConnectionEnds, SOCKET_ADDRESS_BYTES, socketAddress } from '../kernel/socket-address.ts';
import { MemberTls } from '../tls/member-tls.ts';
import { ALL_BUSY, Availability } from './availability.ts';
import type { Channels } from './channel.ts';
import { usesSourceHash } from './choice/registry.ts';
import { ClientSessions, type SessionKey } from './client-sessions.ts';
import type { Exchange } from './exchange.ts';
import type { ClientSide, MemberSide } from './exchange-sides.ts';
import { MemberSession } from './h2/member-session.ts';
import type { Head } from './head.ts';
import { HeadWriter, line } from './head-writer.ts';
import { Member, memberKey } from './member.ts';
import { MemberConnection } from './member-connection.ts';
import type { ProxyVersion } from './proxy-header.ts';
import { RequestQueue, type WaitingRequest } from './request-queue.ts';
import { RetryBudget } from './retry-budget.ts';
import type { MemberSettings, ServiceSettings } from './service.ts';
import { NO_COOKIE, SessionCookies } from './session-cookie.ts';

export interface CookieFigures {
  kept: number;
  moved: number;
  unknown: number;
  given: number;
}

export class Members {
  readonly #channels: Channels;
  #settings: ServiceSettings;
  readonly #availability: Availability;
  readonly #waiting: Set<Members>;
  /** Requests that wait for a member. */
  readonly queue: RequestQueue;
  #members: Member[] = [];
  /** Whether there is a limit of connections to a member. */
  #hasLimit = false;
  /** Members that are gone; where no connection is left, their socket addresses are used again: memory beside the buffers is never given back. */
  #gone: Member[] = [];
  readonly #freeAddresses: number[] = [];

  readonly #pool: string;
  /** Null where clients get no cookies. */
  #cookies: SessionCookies | null = null;
  #retryAfter = line('');
  /** Null where clients are not told by address or field. */
  sessions: ClientSessions | null = null;
  #budget: RetryBudget | null = null;
  /** Requests that went to a member again, and those that the budget kept from it. */
  readonly retries = { done: 0, refused: 0 };
  /** Of the PROXY header that members get; null for none. */
  #proxyVersion: ProxyVersion | null = null;
  /** Null where members speak no TLS. */
  #tls: MemberTls | null = null;
  /** Cookies that came, by whether their member could be had; `unknown`: of no member there is. */
  readonly cookies: CookieFigures = { kept: 0, moved: 0, unknown: 0, given: 0 };

  /** Heads of requests are built here. */
  readonly writer: HeadWriter;

  /** `pool`: of a route; empty for that of the tier. `waiting`: pools whose requests wait, which have to `serve`. */
  constructor(settings: ServiceSettings, channels: Channels, pool = '', waiting = new Set<Members>()) {
    this.#pool = pool;
    this.#waiting = waiting;
    this.#channels = channels;
    this.writer = new HeadWriter(channels.buffers);
    this.#settings = settings;
    this.#availability = new Availability(channels);
    this.queue = new RequestQueue(this.#availability);
    this.update(settings);
  }

  /** New settings: members that stay keep their connections. */
  update(settings: ServiceSettings): void {
    const before = new Map(this.#members.map((member) => [member.key, member]));
    this.#gone = this.#gone.filter((member) => {
      if (member.connections > 0) return true;
      this.#freeAddresses.push(member.addressAt);
      return false;
    });
    this.#members = settings.members.map((one) => {
      const key = memberKey(one);
      const known = before.get(key);
      before.delete(key);
      return known ?? this.#create(key, one);
    });
    for (const member of before.values()) {
      member.position = -1;
      for (const connection of member.idle.splice(0)) connection.close();
      for (const session of [...member.sessions]) session.retire();
      this.#gone.push(member);
    }
    const { retryBudget } = settings.http;
    const isSameBudget = isDeepStrictEqual(retryBudget, this.#settings.http.retryBudget);
    if (!isSameBudget || this.#budget === null) {
      this.#budget = retryBudget === undefined ? null : new RetryBudget(retryBudget);
    }
    this.#settings = settings;
    this.#hasLimit = settings.http.memberConnections.max > 0;
    this.#availability.update(settings, this.#members);
    const { persistence, sessionMemory } = settings;
    const figures = this.sessions?.figures;
    this.sessions =
      persistence === undefined || sessionMemory === undefined
        ? null
        : new ClientSessions(persistence, sessionMemory, this.#pool, this.#members, this.#channels, figures);
    const waitMs = settings.http.memberConnections.queue?.waitMs ?? 0;
    this.#retryAfter = line(`Retry-After: ${Math.max(1, Math.ceil(waitMs / 1000))}\r\n`);
    const { http, cookieKey } = settings;
    const toMembers = http.proxyProtocol?.toMembers ?? 'none';
    this.#proxyVersion = toMembers === 'none' ? null : toMembers;
    this.#tls = MemberTls.of(settings.memberTls, this.#channels.buffers, this.#tls);
    for (const { idle, sessions } of this.#members) {
      if (http.memberProtocol !== 'http/2') for (const session of [...sessions]) session.retire();
      if (idle.some((connection) => !this.#isAsNow(connection))) {
        for (const connection of idle.splice(0)) connection.close();
      }
    }
    this.#cookies =
      http.sessionCookie === undefined || cookieKey === undefined
        ? null
        : new SessionCookies(
            http.sessionCookie,
            cookieKey,
            settings.name,
            this.#pool,
            this.#members.map(({ key }) => key),
          );
  }

  #create(key: string, settings: MemberSettings): Member {
    const { address, port } = settings;
    const { buffers } = this.#channels;
    const bytes = socketAddress(address, port);
    const at = this.#freeAddresses.pop() ?? buffers.reserve(SOCKET_ADDRESS_BYTES);
    buffers.bytes.set(bytes, at);
    return new Member(key, hostText(address, port), settings, bytes, at);
  }

  /** Of a route; empty for that of the tier. */
  get name(): string {
    return this.#pool;
  }

  get list(): readonly Member[] {
    return this.#members;
  }

  get hasCookies(): boolean {
    return this.#cookies !== null;
  }

  /** The member that the client had by its session, if it gets it, now or when there is room. Only with `sessions`. */
  sessionOf(head: Head, client: ClientSide, key: SessionKey): Member | null {
    const member = this.sessions!.find(head, client, key);
    const isOpen = member !== null && (this.#availability.takes(member) || (this.hasQueue && member.isFull));
    return isOpen ? member : null;
  }

  /** What a pair of a Cookie stands for: the position of a member, or NO_COOKIE, UNKNOWN_COOKIE. */
  cookiePosition(bytes: Uint8Array, at: number, end: number): number {
    return this.#cookies === null ? NO_COOKIE : this.#cookies.find(bytes, at, end);
  }

  /** Whether a client that has the cookie of that member gets it, now or when there is room. */
  comesBack(member: Member): boolean {
    const isOpen = this.#availability.takes(member) || (this.hasQueue && member.isFull);
    if (isOpen) this.cookies.kept++;
    else this.cookies.moved++;
    return isOpen;
  }

  /** The line that gives a client the cookie of that member; null where it has been taken out. */
  cookieLine(member: Member): Uint8Array | null {
    if (member.position < 0 || this.#cookies === null) return null;
    this.cookies.given++;
    return this.#cookies.line(member.position);
  }

  /**
   * Position of the member for the next request, or NO_MEMBER, or ALL_BUSY: all are at their limit, or requests wait
   * that came before. `wanted`: the client comes back to it.
   */
  choose(wanted: Member | null, sourceHash: number): number {
    if (wanted !== null) {
      if (this.#waitsFor(wanted)) return ALL_BUSY;
      if (this.#availability.takes(wanted)) return wanted.position;
    }
    // Some may wait still where the policy has just done away with waiting.
    const { hasQueue } = this;
    if (hasQueue && this.queue.hasUnbound) return ALL_BUSY;
    const position = this.#availability.choose(sourceHash, null);
    return hasQueue && position >= 0 && this.#members[position]!.waiting > 0 ? ALL_BUSY : position;
  }

  /** The same for another attempt, which waits for nobody. `except`: it has just failed. */
  chooseAgain(wanted: Member | null, sourceHash: number, except: Member | null): number {
    if (wanted !== null && wanted !== except && this.#availability.takes(wanted)) return wanted.position;
    return this.#availability.choose(sourceHash, except);
  }

  #waitsFor(wanted: Member): boolean {
    return this.hasQueue && (wanted.isFull || wanted.waiting > 0);
  }

  get hasQueue(): boolean {
    return this.#settings.http.memberConnections.queue !== undefined;
  }

  /** Lets a request wait, which is there still; where ALL_BUSY was said. Null where there is no queue, or it is full. */
  wait(exchange: Exchange, length: number, wanted: Member | null): WaitingRequest | null {
    const { queue } = this.#settings.http.memberConnections;
    if (queue === undefined) return null;
    const bound = wanted !== null && this.#waitsFor(wanted) ? wanted : null;
    const untilMs = this.#channels.nowMs + queue.waitMs;
    const one = this.queue.add(exchange, length, bound, untilMs, queue.length);
    if (one !== null) this.#waiting.add(this);
    return one;
  }

  /** Hands requests that wait to members that have room; at the end of a turn of the loop. */
  serve(): void {
    this.queue.serve(this.#channels.nowMs);
    if (this.queue.count === 0) this.#waiting.delete(this);
  }

  /** Whether a request may go to a member again; it then counts as one that did. */
  mayRepeat(): boolean {
    const may = this.#budget === null || this.#budget.take(this.#channels.nowMs);
    if (may) this.retries.done++;
    else this.retries.refused++;
    return may;
  }

  /** What a client hears that finds all busy. */
  get retryAfter(): Uint8Array {
    return this.#retryAfter;
  }

  /** A request goes to the member; `ended` follows. */
  began(member: Member): void {
    this.#budget?.began(this.#channels.nowMs);
    this.#availability.began(member);
  }

  ended(member: Member): void {
    this.#availability.ended(member);
  }

  /** Whether `choose` looks at the hash of the client's address. */
  get usesSourceHash(): boolean {
    return usesSourceHash(this.#settings.method);
  }

  /**
   * A connection to that member for one exchange, or a stream of one: an idle one, or, with `isFresh` or where there is
   * none, a new one. Null where no socket can be had. With a PROXY header, an idle one is of that client's connection.
   */
  open(index: number, isFresh: boolean, { client, wantsUpgrade }: Exchange): MemberSide | null {
    const member = this.#members[index]!;
    // WebSocket over HTTP/2 is another protocol (RFC 8441), which few members have.
    if (this.#settings.http.memberProtocol === 'http/2' && !wantsUpgrade) return this.#openStream(member);
    const version = this.#proxyVersion;
    const ends = version === null ? null : client.ends;
    while (!isFresh) {
      const connection = version === null ? member.idle.pop() : takeIdle(member, ends);
      if (connection === undefined) break;
      if (connection.isUsable) {
        if (this.#hasLimit) this.#availability.judge(member);
        return connection;
      }
      connection.close();
    }
    const { max } = this.#settings.http.memberConnections;
    // Idle ones may all be of others: the oldest makes room.
    if (version !== null && max > 0 && member.connections >= max) member.idle.shift()?.close();
    const fd = this.#channels.loop.socket(member.addressBytes);
    if (fd < 0) return null;
    const connection = new MemberConnection(this, member);
    connection.start(this.#channels.connect(fd, connection, member.addressAt, member.addressBytes.length));
    if (version !== null && !connection.tell(version, ends)) {
      connection.close();
      return null;
    }
    if (this.#tls !== null) connection.secure(this.#tls);
    return connection;
  }

  /** Begun as one would begin now. */
  #isAsNow({ proxyVersion, tls }: MemberConnection): boolean {
    return proxyVersion === this.#proxyVersion && tls === this.#tls;
  }

  #openStream(member: Member): MemberSide | null {
    for (const session of member.sessions) if (session.hasRoom) return session.open();
    const fd = this.#channels.loop.socket(member.addressBytes);
    if (fd < 0) return null;
    const channel = this.#channels.connect(fd, null, member.addressAt, member.addressBytes.length);
    return new MemberSession(this, member, channel).open();
  }

  /** A connection of HTTP/2 takes more requests than before, or fewer. */
  changed(member: Member): void {
    if (this.#hasLimit) this.#availability.judge(member);
  }

  /** A connection is free again: kept, or closed where enough are. */
  release(connection: MemberConnection): void {
    const { member } = connection;
    const { idle, idleTimeoutMs } = this.#settings.http.memberConnections;
    const isFull = member.idle.length >= idle;
    // Of those that each serve one client, the oldest is the least likely to be wanted again.
    const isOldestLeast = this.#proxyVersion !== null && idle > 0;
    const fits = this.#isAsNow(connection) && (!isFull || isOldestLeast);
    if (member.position < 0 || !fits) {
      connection.close();
      return;
    }
    if (isFull) member.idle.shift()?.close();
    connection.channel.deadlineMs = this.#channels.nowMs + idleTimeoutMs;
    member.idle.push(connection);
    if (this.#hasLimit) this.#availability.judge(member);
  }

  /** For its connections: there is one more. */
  opened(member: Member): void {
    member.connections++;
    if (this.#hasLimit) this.#availability.judge(member);
  }

  /** One of its connections is closed. */
  closed(member: Member): void {
    member.connections--;
    if (this.#hasLimit) this.#availability.judge(member);
  }

  /** An idle connection is closed. */
  forget(connection: MemberConnection): void {
    const { idle } = connection.member;
    const at = idle.indexOf(connection);
    if (at >= 0) idle.splice(at, 1);
    if (this.#hasLimit) this.#availability.judge(connection.member);
  }

  /** A member refused a connection. */
  failed(member: Member): void {
    this.#availability.failed(member);
  }

  /** The head of its response came, so long after the request began. */
  answered(member: Member, status: number, ms: number): void {
    this.#availability.answered(member, status, ms);
  }

  /** It had a request, and gave no proper response. */
  erred(member: Member): void {
    this.#availability.erred(member);
  }

  /** Members that were left out for their errors, since the start. */
  get ejections(): number {
    return this.#availability.ejections;
  }

  get channels(): Channels {
    return this.#channels;
  }

  get http(): ServiceSettings['http'] {
    return this.#settings.http;
  }

  /** Closes what is idle. */
  close(): void {
    for (const { idle, sessions } of this.#members) {
      for (const connection of idle.splice(0)) connection.close();
      for (const session of [...sessions]) session.close();
    }
    this.#tls?.close();
    this.#tls = null;
  }
}

/** The newest idle connection to the member that was said to be of that client's connection. */
function takeIdle(member: Member, ends: ConnectionEnds | null): MemberConnection | undefined {
  const { idle } = member;
  const at = idle.findLastIndex((connection) => connection.ends === ends);
  return at < 0 ? undefined : idle.splice(at, 1)[0];
}

function hostText(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}
