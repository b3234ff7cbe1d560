/**
 * Sessions: who is logged in, what each session owns (filters, views, continued retrievals), and when it ends. A
 * session that nobody uses for half an hour is gone, as is everything in it. Numbers of everything are bounded.
 */
import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import type { PropertyFilter } from './collector/filter.ts';
import type { EventCursor } from './events.ts';
import type { ManagedObject } from './inventory/object.ts';
import { VimFault } from './wire/fault.ts';
import { dateTime, type Struct } from './wire/values.ts';

export const IDLE_LIMIT_MS = 30 * 60_000;
const MAX_SESSIONS = 200;
const MAX_PER_SESSION = 64;
const TICKET_LIMIT_MS = 5 * 60_000;

export interface Session {
  /** The secret that the cookie carries. */
  token: string;
  /** The id that everybody may see. */
  key: string;
  user: string;
  userAgent: string;
  address: string;
  loginMs: number;
  activeMs: number;
  calls: number;
  /** Filters by the id of their collector. */
  filters: Map<string, PropertyFilter>;
  /** Property collectors beside the one that every session has. */
  collectors: Set<string>;
  views: Map<string, ManagedObject>;
  /** Places in the event log, by the id of their collector. */
  events: Map<string, EventCursor>;
  /** What RetrievePropertiesEx has not handed out yet, by token. */
  remainders: Map<string, { contents: Struct[]; size: number }>;
  /** Waits that are going on, by collector. */
  waits: Map<string, AbortController>;
  nextToken: number;
}

export class SessionTable {
  readonly #sessions = new Map<string, Session>();
  readonly #tickets = new Map<string, { token: string; untilMs: number }>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Opens a session. Throws where there are too many. */
  open(user: string, about: { userAgent: string; address: string }): Session {
    this.#sweep();
    if (this.#sessions.size >= MAX_SESSIONS) {
      throw new VimFault('ResourceNotAvailable', `there are ${MAX_SESSIONS} sessions already; log some out`, {
        containerType: 'SessionManager',
        containerName: 'SessionManager',
        type: 'Session',
      });
    }
    const session: Session = {
      token: randomBytes(20).toString('hex'),
      key: randomUUID(),
      user,
      ...about,
      loginMs: this.#now(),
      activeMs: this.#now(),
      calls: 0,
      filters: new Map(),
      collectors: new Set(),
      views: new Map(),
      events: new Map(),
      remainders: new Map(),
      waits: new Map(),
      nextToken: 1,
    };
    this.#sessions.set(session.token, session);
    return session;
  }

  /** The session of a token, which counts as used now; undefined where there is none any more. */
  find(token: string | undefined): Session | undefined {
    const session = token === undefined ? undefined : this.#sessions.get(token);
    if (!session) return undefined;
    if (this.#now() - session.activeMs > IDLE_LIMIT_MS && session.waits.size === 0) {
      this.end(session);
      return undefined;
    }
    session.activeMs = this.#now();
    session.calls++;
    return session;
  }

  /** The session of a key, without using it. */
  byKey(key: string): Session | undefined {
    this.#sweep();
    return [...this.#sessions.values()].find((session) => session.key === key);
  }

  end(session: Session): void {
    this.#sessions.delete(session.token);
    for (const wait of session.waits.values()) wait.abort(sessionGone());
    session.filters.clear();
    session.remainders.clear();
  }

  endAll(): void {
    for (const session of [...this.#sessions.values()]) this.end(session);
  }

  /** A one-time ticket that opens another session of the same user. */
  ticketFor(session: Session): string {
    for (const [ticket, { untilMs }] of this.#tickets) {
      if (untilMs < this.#now() || this.#tickets.size > MAX_SESSIONS) this.#tickets.delete(ticket);
    }
    const ticket = `cst-VCT-${randomUUID()}--tp-${randomBytes(8).toString('hex')}`;
    this.#tickets.set(ticket, { token: session.token, untilMs: this.#now() + TICKET_LIMIT_MS });
    return ticket;
  }

  /** The session that a ticket was made for; the ticket is used up. */
  redeem(ticket: string): Session | undefined {
    const found = this.#tickets.get(ticket);
    this.#tickets.delete(ticket);
    return found && found.untilMs >= this.#now() ? this.find(found.token) : undefined;
  }

  views(): Struct[] {
    this.#sweep();
    return [...this.#sessions.values()].map(viewOfSession);
  }

  #sweep(): void {
    for (const session of [...this.#sessions.values()]) {
      if (this.#now() - session.activeMs > IDLE_LIMIT_MS && session.waits.size === 0) this.end(session);
    }
  }
}

export function viewOfSession(session: Session): Struct {
  return {
    $type: 'UserSession',
    key: session.key,
    userName: session.user,
    fullName: session.user,
    loginTime: dateTime(session.loginMs),
    lastActiveTime: dateTime(session.activeMs),
    locale: 'en',
    messageLocale: 'en',
    extensionSession: false,
    ipAddress: session.address,
    userAgent: session.userAgent,
    callCount: session.calls,
  };
}

/** Throws where a session owns too many of something. */
export function requireRoom(owned: { size: number }, what: string): void {
  if (owned.size < MAX_PER_SESSION) return;
  throw new VimFault(
    'ResourceNotAvailable',
    `the session has ${MAX_PER_SESSION} ${what} already; destroy some`,
    {
      containerType: 'UserSession',
      containerName: 'session',
      type: what,
    },
  );
}

export function sessionGone(): VimFault {
  return new VimFault('NotAuthenticated', 'The session is not authenticated.', {
    object: { $ref: 'Folder', id: 'group-d1' },
    privilegeId: 'System.View',
  });
}

/** Compares secrets in a time that tells nothing of where they differ. */
export function isSameSecret(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}
