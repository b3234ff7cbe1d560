/** Persistence by address or header field: which member the client of a request had, found by what tells the client. */
import { hashText } from '../balance/hash.ts';
import type { ClientSide } from './exchange-sides.ts';
import type { Head } from './head.ts';
import { line } from './head-writer.ts';
import type { Member } from './member.ts';
import type { SessionPolicy } from './service.ts';
import { SESSION_BEGUN, SESSION_MOVED, SessionTable } from './session-table.ts';

/** Clients that are remembered, of all pools of a service; 2 MB. */
export const SESSION_ENTRIES = 131_072;
/** A session that is merely used is told to other engines so many times before it would end there. */
const TOLD_BEFORE_END = 8;
/** More of a value is not looked at. */
const MOST_BYTES = 1024;

/** What tells the client of one request. */
export interface SessionKey {
  high: number;
  low: number;
  /** False where nothing tells it: the field is missing. */
  isSet: boolean;
}

export interface SessionFigures {
  kept: number;
  moved: number;
  begun: number;
}

export class ClientSessions {
  readonly figures: SessionFigures;
  readonly #policy: SessionPolicy;
  readonly #name: Uint8Array;
  readonly #table: SessionTable;
  /** Keeps the sessions of pools apart. */
  readonly #scope: number;
  readonly #members = new Map<number, Member>();
  readonly #clock: { readonly nowMs: number };
  /** From the clock of this thread to one that all have. */
  readonly #clockMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  readonly #bytes = new Uint8Array(64);
  readonly #tellMs: number;

  constructor(
    policy: SessionPolicy,
    memory: SharedArrayBuffer,
    pool: string,
    members: readonly Member[],
    clock: { readonly nowMs: number },
    /** Those of before a reload go on. */
    figures: SessionFigures = { kept: 0, moved: 0, begun: 0 },
  ) {
    this.figures = figures;
    this.#policy = policy;
    this.#tellMs = Math.max(1000, policy.timeoutMs / TOLD_BEFORE_END);
    this.#name = line(policy.type === 'header' ? policy.name.toLowerCase() : '');
    this.#table = new SessionTable(memory);
    this.#scope = hashText(pool) | 0;
    this.#clock = clock;
    for (const member of members) this.#members.set(member.sessionId, member);
  }

  /** The member that the client had, if it is listed still; `key` then says who the client is. */
  find(head: Head, client: ClientSide, key: SessionKey): Member | null {
    key.isSet =
      this.#policy.type === 'header' ? this.#hashField(head) : this.#hashAddress(client.clientAddress);
    if (!key.isSet) return null;
    key.high = this.#table.hash.high;
    key.low = this.#table.hash.low ^ this.#scope;
    const { timeoutMs } = this.#policy;
    const member = this.#table.find(key.high, key.low, this.#clock.nowMs + this.#clockMs, timeoutMs);
    return member === 0 ? null : (this.#members.get(member) ?? null);
  }

  #hashField(head: Head): boolean {
    for (let n = 0; n < head.count; n++) {
      if (!head.isNamed(n, this.#name)) continue;
      const at = head.valueAt[n]!;
      this.#table.hash.hash(head.bytes, at, Math.min(head.valueEnd[n]!, at + MOST_BYTES));
      return head.valueEnd[n]! > at;
    }
    return false;
  }

  #hashAddress(address: string): boolean {
    const length = Math.min(address.length, this.#bytes.length);
    for (let n = 0; n < length; n++) this.#bytes[n] = address.charCodeAt(n);
    this.#table.hash.hash(this.#bytes, 0, length);
    return length > 0;
  }

  /** The request of that client goes to that member, and the next ones shall. */
  keep(key: SessionKey, member: Member): void {
    const nowMs = this.#clock.nowMs + this.#clockMs;
    const done = this.#table.keep(key.high, key.low, member.sessionId, nowMs, this.#tellMs);
    if (done === SESSION_BEGUN) this.figures.begun++;
    else if (done === SESSION_MOVED) this.figures.moved++;
    else this.figures.kept++;
  }
}
