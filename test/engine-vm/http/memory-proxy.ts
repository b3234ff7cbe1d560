/** The whole proxy in memory, for fuzzing: what members read is held against what it logged as sent there. */
import assert from 'node:assert/strict';
import { ProxyLoop } from '../../../src/engine-vm/http/proxy-loop.ts';
import type { TlsSettings } from '../../../src/engine-vm/tls/settings.ts';
import { MemoryLoop } from './memory-loop.ts';
import { settingsOf } from './proxy-site.ts';
import { readRequest } from './recording-origin.ts';

const LISTENER = 3;

export class MemoryProxy {
  readonly proxy: ProxyLoop;
  readonly memory: MemoryLoop;
  /** Buffers that are free while there is no connection. */
  readonly freeBefore: number;
  #lines = '';

  /** `http` are settings of the service, `tls` its certificates. */
  constructor(http: Record<string, unknown> = {}, tls?: TlsSettings) {
    const settings = settingsOf(1, [2], http);
    const decoder = new TextDecoder('latin1');
    let memory!: MemoryLoop;
    this.proxy = new ProxyLoop({
      settings: {
        ...settings,
        listeners: [],
        http: { ...settings.http, maxConnections: 32 },
        ...(tls === undefined ? {} : { tls }),
      },
      wakeFd: -1,
      loop: (buffers, events) => {
        memory = new MemoryLoop(buffers, events);
        return memory;
      },
      log: (piece) => {
        this.#lines += decoder.decode(piece);
      },
    });
    this.memory = memory;
    this.proxy.turn(0);
    this.freeBefore = memory.buffers.free;
  }

  connectClient(): number {
    return this.memory.connectClient(LISTENER);
  }

  /** What the member at that fd has of its next request: `METHOD target bytes`, or null while it is not whole. */
  readNext(fd: number): string | null {
    const { sent } = this.memory;
    const found = readRequest(sent.get(fd)!, fd);
    if (found === null) return null;
    sent.set(fd, sent.get(fd)!.slice(found.length));
    const [method, target] = found.request.line.split(' ');
    return `${method} ${target} ${found.request.body.length}`;
  }

  /** What was logged since the last time: requests as sent to a member, and how many were not. */
  takeLog(): { logged: string[]; refused: number } {
    this.proxy.flushLog();
    const logged: string[] = [];
    let refused = 0;
    for (const text of this.#lines.split('\n')) {
      if (text === '') continue;
      const one = JSON.parse(text) as { request: string; received: number; member: string };
      if (one.member === '-') refused++;
      else logged.push(`${one.request} ${one.received}`);
    }
    this.#lines = '';
    return { logged, refused };
  }
}

/**
 * Throws AssertionError where a member read what was not logged as sent to it. A request whose end never came is logged,
 * and no member has read it; a safe one may have been read twice.
 */
export function assertAuthorised(read: readonly string[], logged: readonly string[], show: string): void {
  const left = [...logged];
  const distinct = read.filter((one, n) => n === 0 || one !== read[n - 1]);
  for (const one of distinct) {
    const at = left.indexOf(one);
    assert.ok(at >= 0, `a member read a request that was not authorised: ${one}\n${show}`);
    left.splice(at, 1);
  }
}
