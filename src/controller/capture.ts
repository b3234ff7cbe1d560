/**
 * One capture over several engines, as a pcapng file: begins it at each, fetches from all of them ten times a second,
 * puts what comes in the order of time, and ends it everywhere.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { CaptureRequest } from '../api/backend.ts';
import {
  type CapturedFrame,
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  sectionHeader,
} from '../packet/pcapng.ts';
import { WeftError } from '../policy/errors.ts';
import type { Desired } from './desired.ts';
import { enginesOf } from './flows.ts';
import type { Ask } from './trace.ts';

const FETCH_EVERY_MS = 100;
/** How long engines may take to give what they have noted once the capture is ended. */
const LAST_WORDS_MS = 3000;
/** As dataplane/capture.ts of the engine: its ports, and a record's bytes before its frame. */
const PORTS = ['out', 'in', 'self'] as const;
const HEAD = 24;

/** Where one engine's part of the capture is. */
interface Part {
  engine: string;
  host: string;
  /** The number of its first interface in the file. */
  base: number;
  noted: number[];
  lost: number[];
  ended: string | null;
}

/**
 * Chunks of the file, whole blocks each. `ending` ends it in good order, `signal` at once. Throws before the first
 * chunk: ERR_NOT_FOUND, ERR_ENGINE_UNREACHABLE, ERR_THROTTLED where every engine refuses.
 */
export async function* captureService(
  request: CaptureRequest,
  desired: Desired,
  ask: Ask,
  isConnected: (engine: string) => boolean,
  ending: AbortSignal,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { engine, ...order } = request;
  const engines = enginesOf(engine, request.service, desired, isConnected);
  const id = randomUUID();
  try {
    const begun = await Promise.allSettled(
      engines.map((one) => ask(one.id, 'captureStart', { id, ...order })),
    );
    const refusals = begun.flatMap((answer, index) =>
      answer.status === 'rejected' ? [{ engine: engines[index]!.id, reason: answer.reason as Error }] : [],
    );
    const parts = engines
      .filter((_, index) => begun[index]!.status === 'fulfilled')
      .map(
        ({ id: name, hostName }, index): Part => ({
          engine: name,
          host: hostName,
          base: index * PORTS.length,
          noted: [0, 0, 0],
          lost: [0, 0, 0],
          ended: null,
        }),
      );
    if (parts.length === 0) throw refusals[0]!.reason;
    yield header(request, parts, refusals);
    let room = request.packets;
    let endBy = Number.POSITIVE_INFINITY;
    while (parts.some(({ ended }) => ended === null)) {
      signal.throwIfAborted();
      const frames = (await Promise.all(parts.map((part) => fetch(part, id, ask)))).flat();
      frames.sort((a, b) => a.micros - b.micros);
      const kept = frames.slice(0, room);
      room -= kept.length;
      if (kept.length > 0) yield Buffer.concat(kept.map(enhancedPacket));
      if (room === 0) break;
      if (ending.aborted && endBy === Number.POSITIVE_INFINITY) {
        endBy = performance.now() + LAST_WORDS_MS;
        await stop(parts, id, ask);
      }
      if (performance.now() > endBy) break;
      if (frames.length === 0 || endBy === Number.POSITIVE_INFINITY) await pause(ending, signal);
    }
    const micros = Date.now() * 1000;
    yield Buffer.concat(parts.flatMap((part) => statistics(part, micros)));
  } finally {
    await stop(
      engines.map((one) => ({ engine: one.id })),
      id,
      ask,
    );
  }
}

/** Until the next round, or until somebody ends it. */
async function pause(ending: AbortSignal, signal: AbortSignal): Promise<void> {
  const either = ending.aborted ? signal : AbortSignal.any([ending, signal]);
  await delay(FETCH_EVERY_MS, undefined, { signal: either }).catch(() => {});
}

async function stop(parts: readonly { engine: string }[], id: string, ask: Ask): Promise<void> {
  await Promise.allSettled(parts.map(({ engine }) => ask(engine, 'captureStop', { id })));
}

function header(
  request: CaptureRequest,
  parts: readonly Part[],
  refusals: readonly { engine: string; reason: Error }[],
): Uint8Array {
  const { service, client, seconds, packets, snap } = request;
  const about = [
    `virtual service ${service}${client === null ? '' : `, clients ${client}`}`,
    `at most ${seconds} s, ${packets} frames, ${snap} bytes of each`,
    'flows of the capture were forwarded by TypeScript while it ran, not by the kernel',
    ...refusals.map(({ engine, reason }) => `${engine} took no part: ${reason.message}`),
  ];
  return Buffer.concat([
    sectionHeader('Weft', about.join('; ')),
    ...parts.flatMap(({ engine, host }) =>
      PORTS.map((port) => interfaceDescription(`${engine} ${port}`, `port ${port} on host ${host}`, snap)),
    ),
  ]);
}

/** What an engine has noted since the last time. One that fails has ended; the others go on. */
async function fetch(part: Part, id: string, ask: Ask): Promise<CapturedFrame[]> {
  if (part.ended !== null) return [];
  try {
    const news = newsOf(await ask(part.engine, 'captureFetch', { id }), part.engine);
    part.noted = news.noted;
    part.lost = news.lost;
    if (news.records.length === 0) part.ended = news.ended;
    return framesOf(news.records, part);
  } catch (error) {
    part.ended = (error as Error).message;
    return [];
  }
}

interface News {
  records: Buffer;
  noted: number[];
  lost: number[];
  ended: string | null;
}

/** What an engine sends is input. */
function newsOf(value: unknown, engine: string): News {
  const { records, noted, lost, ended } = (value ?? {}) as Record<string, unknown>;
  const isCount = (list: unknown): list is number[] =>
    Array.isArray(list) &&
    list.length === PORTS.length &&
    list.every((one) => Number.isSafeInteger(one) && one >= 0);
  if (typeof records !== 'string' || !isCount(noted) || !isCount(lost)) throw unreadable(engine);
  return {
    records: Buffer.from(records, 'base64'),
    noted,
    lost,
    ended: typeof ended === 'string' ? ended : null,
  };
}

function framesOf(records: Buffer, { engine, base }: Part): CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  for (let at = 0; at < records.length; ) {
    if (at + HEAD > records.length) throw unreadable(engine);
    const total = records.readUInt32LE(at);
    const port = records[at + 4]!;
    const commentBytes = records.readUInt16LE(at + 6);
    const micros = Math.floor(records.readDoubleLE(at + 8));
    const noted = records.readUInt32LE(at + 20);
    if (total !== HEAD + noted + commentBytes || at + total > records.length || port >= PORTS.length) {
      throw unreadable(engine);
    }
    if (!(micros >= 0 && micros < Number.MAX_SAFE_INTEGER)) throw unreadable(engine);
    frames.push({
      port: base + port,
      isSent: records[at + 5] === 1,
      micros,
      length: records.readUInt32LE(at + 16),
      bytes: records.subarray(at + HEAD, at + HEAD + noted),
      comment: records.toString('utf8', at + HEAD + noted, at + total),
    });
    at += total;
  }
  return frames;
}

function unreadable(engine: string): WeftError {
  return new WeftError('ERR_INTERNAL', `engine ${engine} answered a capture with something unknown`);
}

function statistics({ engine, base, noted, lost, ended }: Part, micros: number): Uint8Array[] {
  return PORTS.map((port, index) => {
    const missing = lost[index]!;
    const comment = `${engine} ${port}: ${ended ?? 'ended with the capture'}${
      missing > 0 ? `; ${missing} frames are missing here: they came faster than they could be fetched` : ''
    }`;
    return interfaceStatistics(base + index, micros, noted[index]! + missing, missing, comment);
  });
}
