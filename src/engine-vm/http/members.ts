/**
 * The members of a service as one thread uses them: which one gets the next request, and the connections that are kept
 * open to each. A member that does not take connections is left out for a while.
 */
import type { Balancer, Candidates } from '../balance/balancer.ts';
import { hashText } from '../balance/hash.ts';
import { createBalancer } from '../balance/registry.ts';
import { type ConnectionEnds, SOCKET_ADDRESS_BYTES, socketAddress } from '../kernel/socket-address.ts';
import type { Channels } from './channel.ts';
import type { ClientSide, MemberSide } from './exchange-sides.ts';
import type { Head } from './head.ts';
import { HeadWriter } from './head-writer.ts';
import { MemberConnection } from './member-connection.ts';
import type { ProxyVersion } from './proxy-header.ts';
import type { ServiceSettings } from './service.ts';
import { SessionCookies, UNKNOWN_COOKIE } from './session-cookie.ts';

/** How long a member that refused a connection is left out; doubled each time, up to the second. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

export class Member {
  readonly name: string;
  /** `address:port`, also what makes a member the same one after a reload. */
  readonly key: string;
  /** The socket address, as an offset into the socket buffers. */
  readonly addressAt: number;
  readonly addressBytes: Uint8Array;
  /** Requests under way. */
  active = 0;
  /** Connections, used or idle. */
  connections = 0;
  readonly idle: MemberConnection[] = [];
  failures = 0;
  pausedUntilMs = 0;
  /** Responses of 500 or more since the last other one, where such members are ejected. */
  errors = 0;
  ejections = 0;
  /** False once a reload has taken it out: connections end with their requests. */
  isListed = true;

  /** Host, for requests that name none. */
  readonly host: string;

  constructor(name: string, host: string, key: string, addressBytes: Uint8Array, addressAt: number) {
    this.name = name;
    this.host = host;
    this.key = key;
    this.addressBytes = addressBytes;
    this.addressAt = addressAt;
  }
}

/** Nobody can take the request now: all are paused or draining, or all are at their limit. */
export const NO_MEMBER = -1;
export const ALL_BUSY = -2;

export interface CookieFigures {
  kept: number;
  moved: number;
  unknown: number;
  given: number;
}

export class Members {
  readonly #channels: Channels;
  #settings: ServiceSettings;
  #balancer: Balancer;
  #members: Member[] = [];
  #candidates: Candidates;
  /** Socket addresses of members that are gone, to be used again: memory beside the buffers is never given back. */
  readonly #freeAddresses: number[] = [];

  readonly #pool: string;
  /** Null where clients get no cookies. */
  #cookies: SessionCookies | null = null;
  /** Of the PROXY header that members get; null for none. */
  #proxyVersion: ProxyVersion | null = null;
  /** Members that were left out for their errors, since the start. */
  ejections = 0;
  /** Cookies that came, by whether their member could be had; `unknown`: of no member there is. */
  readonly cookies: CookieFigures = { kept: 0, moved: 0, unknown: 0, given: 0 };

  /** Heads of requests are built here. */
  readonly writer: HeadWriter;

  /** `pool`: of a route; empty for that of the tier. */
  constructor(settings: ServiceSettings, channels: Channels, pool = '') {
    this.#pool = pool;
    this.#channels = channels;
    this.writer = new HeadWriter(channels.buffers);
    this.#settings = settings;
    this.#balancer = createBalancer(settings.method);
    this.#candidates = candidatesOf(settings);
    this.update(settings);
  }

  /** New settings: members that stay keep their connections. */
  update(settings: ServiceSettings): void {
    const before = new Map(this.#members.map((member) => [member.key, member]));
    this.#members = settings.members.map(({ name, address, port }) => {
      const key = `${name} ${address} ${port}`;
      const known = before.get(key);
      before.delete(key);
      return known ?? this.#create(name, hostText(address, port), key, socketAddress(address, port));
    });
    for (const member of before.values()) {
      member.isListed = false;
      for (const connection of member.idle.splice(0)) connection.close();
      this.#freeAddresses.push(member.addressAt);
    }
    if (settings.method !== this.#settings.method) this.#balancer = createBalancer(settings.method);
    this.#settings = settings;
    this.#candidates = candidatesOf(settings);
    const { http, cookieKey } = settings;
    const toMembers = http.proxyProtocol?.toMembers ?? 'none';
    this.#proxyVersion = toMembers === 'none' ? null : toMembers;
    for (const { idle } of this.#members) {
      if (idle.some(({ proxyVersion }) => proxyVersion !== this.#proxyVersion)) {
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

  #create(name: string, host: string, key: string, bytes: Uint8Array): Member {
    const { buffers } = this.#channels;
    const at = this.#freeAddresses.pop() ?? buffers.reserve(SOCKET_ADDRESS_BYTES);
    buffers.bytes.set(bytes, at);
    return new Member(name, host, key, bytes, at);
  }

  get list(): readonly Member[] {
    return this.#members;
  }

  get hasCookies(): boolean {
    return this.#cookies !== null;
  }

  /** The member that a request's cookie stands for, if it takes requests; only where there are cookies. */
  memberOf(head: Head): Member | null {
    const index = this.#cookies!.find(head);
    if (index < 0) {
      if (index === UNKNOWN_COOKIE) this.cookies.unknown++;
      return null;
    }
    const isOpen = this.#takesRequests(index, false);
    if (isOpen) this.cookies.kept++;
    else this.cookies.moved++;
    return isOpen ? this.#members[index]! : null;
  }

  /** The line that gives a client the cookie of that member; null where it has been taken out. */
  cookieLine(member: Member): Uint8Array | null {
    const index = this.#members.indexOf(member);
    if (index < 0 || this.#cookies === null) return null;
    this.cookies.given++;
    return this.#cookies.line(index);
  }

  /** Index of that member if it takes requests still, else -1. */
  indexOf(member: Member): number {
    const index = this.#members.indexOf(member);
    return index >= 0 && this.#takesRequests(index, false) ? index : -1;
  }

  #isFull(member: Member): boolean {
    const limit = this.#settings.http.memberConnections.max;
    return limit > 0 && member.connections >= limit && member.idle.length === 0;
  }

  #takesRequests(index: number, takesPaused: boolean): boolean {
    const member = this.#members[index]!;
    const { isDraining, isDown } = this.#settings.members[index]!;
    const isPaused = member.pausedUntilMs > this.#channels.nowMs && !takesPaused;
    return !isDraining && isDown !== true && !isPaused && !this.#isFull(member);
  }

  /** Index of the member for the next request, or NO_MEMBER, ALL_BUSY. `except`: it has just failed. */
  choose(sourceHash: number, except: Member | null): number {
    const chosen = this.#choose(sourceHash, except, false);
    // Where every one of them has just refused, any may be back by now.
    return chosen === NO_MEMBER ? this.#choose(sourceHash, except, true) : chosen;
  }

  #choose(sourceHash: number, except: Member | null, takesPaused: boolean): number {
    const now = this.#channels.nowMs;
    const { usable, connections } = this.#candidates;
    const limit = this.#settings.http.memberConnections.max;
    let isBusy = false;
    for (let n = 0; n < this.#members.length; n++) {
      const member = this.#members[n]!;
      const isFull = limit > 0 && member.connections >= limit && member.idle.length === 0;
      isBusy ||= isFull;
      connections[n] = member.active;
      const { isDraining, isDown } = this.#settings.members[n]!;
      const isPaused = member.pausedUntilMs > now && !takesPaused;
      const isOut = isFull || isPaused || isDraining || isDown === true;
      usable[n] = isOut || (member === except && this.#members.length > 1) ? 0 : 1;
    }
    const chosen = this.#balancer.choose(this.#candidates, sourceHash, false);
    return chosen >= 0 ? chosen : isBusy ? ALL_BUSY : NO_MEMBER;
  }

  /** Whether `choose` looks at the hash of the client's address. */
  get usesSourceHash(): boolean {
    return this.#settings.method === 'source-hash' || this.#settings.method === 'maglev';
  }

  /**
   * A connection to that member for one exchange: an idle one, or, with `isFresh` or where there is none, a new one.
   * Null where no socket can be had. With a PROXY header, an idle one is of that client's connection.
   */
  open(index: number, isFresh: boolean, client: ClientSide): MemberSide | null {
    const member = this.#members[index]!;
    const version = this.#proxyVersion;
    const ends = version === null ? null : client.ends;
    while (!isFresh) {
      const connection = version === null ? member.idle.pop() : takeIdle(member, ends);
      if (connection === undefined) break;
      if (connection.isUsable) return connection;
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
    return connection;
  }

  /** A connection is free again: kept, or closed where enough are. */
  release(connection: MemberConnection): void {
    const { member } = connection;
    const { idle, idleTimeoutMs } = this.#settings.http.memberConnections;
    const isFull = member.idle.length >= idle;
    // Of those that each serve one client, the oldest is the least likely to be wanted again.
    const isOldestLeast = this.#proxyVersion !== null && idle > 0;
    const fits = connection.proxyVersion === this.#proxyVersion && (!isFull || isOldestLeast);
    if (!member.isListed || !fits) {
      connection.close();
      return;
    }
    if (isFull) member.idle.shift()?.close();
    connection.channel.deadlineMs = this.#channels.nowMs + idleTimeoutMs;
    member.idle.push(connection);
  }

  /** An idle connection is closed. */
  forget(connection: MemberConnection): void {
    const { idle } = connection.member;
    const at = idle.indexOf(connection);
    if (at >= 0) idle.splice(at, 1);
  }

  /** A member refused a connection. */
  failed(member: Member): void {
    // Requests that failed together are one failure.
    if (member.pausedUntilMs > this.#channels.nowMs) return;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(member.failures++, 10));
    member.pausedUntilMs = this.#channels.nowMs + pause;
  }

  /** Whether responses have to be told. */
  get ejects(): boolean {
    return this.#settings.http.ejection !== undefined;
  }

  /** A member answered: left out for a while where that was one error too many in a row. Only where `ejects`. */
  answered(member: Member, status: number): void {
    if (status < 500) {
      member.errors = 0;
      return;
    }
    const { consecutiveErrors, pauseMs, longestPauseMs, maxPercent } = this.#settings.http.ejection!;
    const { nowMs } = this.#channels;
    if (++member.errors < consecutiveErrors || member.pausedUntilMs > nowMs) return;
    member.errors = 0;
    let out = 1;
    for (const other of this.#members) if (other.pausedUntilMs > nowMs) out++;
    if (out * 100 > maxPercent * this.#members.length) return;
    if (nowMs - member.pausedUntilMs > longestPauseMs) member.ejections = 0;
    member.pausedUntilMs = nowMs + Math.min(longestPauseMs, pauseMs * 2 ** Math.min(member.ejections++, 20));
    this.ejections++;
  }

  get channels(): Channels {
    return this.#channels;
  }

  get http(): ServiceSettings['http'] {
    return this.#settings.http;
  }

  /** Closes what is idle. */
  close(): void {
    for (const member of this.#members) for (const connection of member.idle.splice(0)) connection.close();
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

function candidatesOf({ members }: ServiceSettings): Candidates {
  const count = members.length;
  return {
    count,
    members: Int32Array.from({ length: count }, (_, n) => n),
    connections: new Float64Array(count),
    hops: new Float64Array(count),
    weights: Float64Array.from(members, ({ weight }) => weight),
    usable: new Uint8Array(count),
    ids: Uint32Array.from(members, ({ name, address, port }) => hashText(`${name} ${address} ${port}`)),
  };
}
