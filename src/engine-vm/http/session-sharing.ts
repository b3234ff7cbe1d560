/**
 * Sessions of a service between its proxies on several engines, from the main thread: what the threads noted is told, what
 * others told is learned. All see clients by the same keyed hash, so nobody learns an address or a field's value by it.
 */
import { memberKey, memberSessionId } from './member.ts';
import type { ServiceSettings } from './service.ts';
import { SessionTable } from './session-table.ts';

/** As others get it. */
export interface ToldSession {
  /** 16 hexadecimal digits that stand for pool and client. */
  readonly client: string;
  /** `memberKey` of it. */
  readonly member: string;
  /** Wall clock of the last use, milliseconds. */
  readonly time: number;
}

export class SessionSharing {
  /** Sessions that were noted faster than they were looked at: others hear of them with a later use. */
  lost: number;
  readonly timeoutMs: number;
  readonly #memory: SharedArrayBuffer;
  readonly #table: SessionTable;
  readonly #members = new Map<number, string>();
  /** What is between the clock of the table and the wall's. */
  readonly #wallMs: () => number;

  /** Null where the service has no sessions in a table. `before`: in whose place it comes. */
  static of(settings: ServiceSettings, before: SessionSharing | null = null): SessionSharing | null {
    const { sessionMemory: memory } = settings;
    if (memory === undefined) return null;
    return new SessionSharing(settings, memory, before !== null && before.#memory === memory ? before : null);
  }

  private constructor(settings: ServiceSettings, memory: SharedArrayBuffer, before: SessionSharing | null) {
    this.timeoutMs = settings.persistence!.timeoutMs;
    this.#memory = memory;
    // It has read some of the news.
    this.#table = before === null ? new SessionTable(memory) : before.#table;
    this.lost = before?.lost ?? 0;
    this.#wallMs = () => Date.now() - Number(process.hrtime.bigint()) / 1e6;
    const pools = [settings.members, ...(settings.pools ?? []).map(({ members }) => members)];
    for (const member of pools.flat()) {
      const key = memberKey(member);
      this.#members.set(memberSessionId(key), key);
    }
  }

  /** Hands out what is new since the last time. */
  tell(take: (session: ToldSession) => void): void {
    const wallMs = this.#wallMs();
    this.lost += this.#table.news((high, low, id, usedMs) => {
      const member = this.#members.get(id);
      if (member === undefined) return;
      take({ client: hex(high) + hex(low), member, time: Math.round(usedMs + wallMs) });
    });
  }

  /** Takes what another engine told. Throws a TypeError for what is no session. */
  learn({ client, member, time }: ToldSession): void {
    if (!/^[0-9a-f]{16}$/.test(client) || typeof member !== 'string' || !Number.isFinite(time)) {
      throw new TypeError('a session has 16 hexadecimal digits, a member and a time');
    }
    const now = Number(process.hrtime.bigint()) / 1e6;
    // A clock that runs ahead makes nobody's session last longer.
    const usedMs = Math.min(time - this.#wallMs(), now);
    const high = Number.parseInt(client.slice(0, 8), 16) | 0;
    const low = Number.parseInt(client.slice(8), 16) | 0;
    if (usedMs > 0) this.#table.learn(high, low, memberSessionId(member), usedMs);
  }
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
