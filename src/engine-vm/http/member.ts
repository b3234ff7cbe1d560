/** One member of a pool as one thread uses it: its connections, its requests, and what is known of its health. */
import { hashText } from '../balance/hash.ts';
import { ErrorRecord } from './error-record.ts';
import type { MemberSession } from './h2/member-session.ts';
import type { MemberConnection } from './member-connection.ts';
import type { MemberFigures } from './member-figures.ts';
import type { MemberSettings } from './service.ts';

export class Member {
  readonly name: string;
  /** What makes a member the same one after a reload (`memberKey`). */
  readonly key: string;
  /** Names it in tables of sessions. */
  readonly sessionId: number;
  /** Host, for requests that name none. */
  readonly host: string;
  /** The socket address, as an offset into the socket buffers. */
  readonly addressAt: number;
  readonly addressBytes: Uint8Array;
  /** Position in the list of members; -1 once a reload has taken it out: its connections end with their requests. */
  position = -1;
  settings: MemberSettings;
  /** Requests under way. */
  active = 0;
  /** Connections, used or idle. */
  connections = 0;
  readonly idle: MemberConnection[] = [];
  /** Connections of HTTP/2. */
  readonly sessions: MemberSession[] = [];
  /** Connections refused since the last response. */
  failures = 0;
  /** When its pause ends; 0 where it has none. */
  pausedUntilMs = 0;
  /** Its pause is over: it gets one request at a time, until one is answered well. */
  isOnTrial = false;
  /** Where members that err are ejected. */
  readonly record = new ErrorRecord();
  ejections = 0;
  ejectedUntilMs = 0;
  /** Requests that wait for this member and no other. */
  waiting = 0;
  /** At its limit of connections, though it would take requests else. */
  isFull = false;
  /** Since when it comes back slowly; 0 where it does not. */
  rampFromMs = 0;
  /** Null before its first request has ended. */
  figures: MemberFigures | null = null;
  /** What its balancer was told: 0 to 1 of its usual requests. */
  share = 0;

  constructor(
    key: string,
    host: string,
    settings: MemberSettings,
    addressBytes: Uint8Array,
    addressAt: number,
  ) {
    this.name = settings.name;
    this.sessionId = memberSessionId(key);
    this.key = key;
    this.host = host;
    this.settings = settings;
    this.addressBytes = addressBytes;
    this.addressAt = addressAt;
  }
}

/** What makes a member of a pool the same one, here and on other engines. */
export function memberKey({ name, address, port }: MemberSettings): string {
  return `${name} ${address} ${port}`;
}

/** What stands for it in tables of sessions: 32 bits, not 0. */
export function memberSessionId(key: string): number {
  return hashText(key) | 0 || 1;
}
