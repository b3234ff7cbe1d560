/**
 * What an engine and the hub say to each other: JSON text in WebSocket messages on `GET /shared?epoch=&boot=`.
 *
 * Towards the hub, order is told by (epoch, seq) of the writer; towards the engines by `version`, a counter of the
 * hub's. So every message may be repeated, and entries may overtake each other, without harm.
 */
import { z } from 'zod';

/** A message towards the hub larger than this closes the connection. */
export const MAX_ENGINE_MESSAGE_BYTES = 2 << 20;
/** A message towards an engine larger than this closes the connection. */
export const MAX_HUB_MESSAGE_BYTES = 32 << 20;
/** Largest value an engine may put: with a batch before it, and three bytes a character, it still fits a message. */
export const MAX_ENGINE_VALUE_CHARACTERS = 256 << 10;
/** The same for the controller. */
export const MAX_HUB_VALUE_CHARACTERS = 8 << 20;
/** Entries are sent in messages of about this many characters. */
export const BATCH_CHARACTERS = 128 << 10;
/** Both ends give up a link that was silent for so long; the hub pings each second. */
export const SILENCE_MS = 3000;
export const PING_INTERVAL_MS = 1000;
export const MAX_EPOCH = 2 ** 52;
export const MAX_KEY_CHARACTERS = 512;
export const MAX_TTL_MS = 86_400_000;
export const MIN_LEASE_MS = 100;

/** Close codes of our own; the reason text says more. */
export const CLOSE = {
  malformed: 1008,
  tooFast: 4000,
  superseded: 4001,
  tooSlow: 4002,
  revoked: 4003,
  expired: 4004,
} as const;

const MAX_DEPTH = 64;
const key = z.string().min(1).max(MAX_KEY_CHARACTERS);
const counter = z.number().int().nonnegative();
const duration = z.number().int().positive().max(MAX_TTL_MS);

const engineMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('put'),
    entries: z
      .array(z.object({ key, value: z.unknown().optional(), seq: counter, ttlMs: duration.optional() }))
      .max(20_000),
  }),
  z.object({ type: z.literal('subscribe'), prefix: z.string().max(MAX_KEY_CHARACTERS), id: counter }),
  z.object({ type: z.literal('unsubscribe'), prefix: z.string().max(MAX_KEY_CHARACTERS) }),
  z.object({ type: z.literal('lease'), key, ttlMs: duration.min(MIN_LEASE_MS), attempt: counter }),
  z.object({ type: z.literal('release'), key }),
  z.object({
    type: z.literal('reply'),
    id: counter,
    result: z.unknown().optional(),
    error: z.object({ code: z.string().max(64), message: z.string().max(4096) }).optional(),
  }),
]);

/** From an engine. In `put`, an entry without a value is a deletion. */
export type EngineMessage = z.infer<typeof engineMessage>;
export type PutEntry = Extract<EngineMessage, { type: 'put' }>['entries'][number];

const wireEntry = z.object({
  key: z.string(),
  value: z.unknown().optional(),
  writer: z.string(),
  epoch: counter,
  seq: counter,
  version: counter,
});

const hubMessage = z.discriminatedUnion('type', [
  /** `hub` names this run of the hub. */
  z.object({ type: z.literal('welcome'), hub: z.string() }),
  z.object({ type: z.literal('entries'), entries: z.array(wireEntry) }),
  /** One part of the answer to `subscribe`; `version` is the hub's when the snapshot was begun. */
  z.object({
    type: z.literal('snapshot'),
    id: counter,
    part: counter,
    isLast: z.boolean(),
    version: counter,
    entries: z.array(wireEntry),
  }),
  z.object({ type: z.literal('lease'), key: z.string(), attempt: counter, isHeld: z.boolean() }),
  z.object({ type: z.literal('lease-free'), key: z.string() }),
  /** `seq` of the entry that was not taken; 0 where it was a lease. */
  z.object({
    type: z.literal('refused'),
    key: z.string(),
    seq: counter,
    code: z.string(),
    message: z.string(),
  }),
  z.object({ type: z.literal('request'), id: counter, method: z.string(), params: z.unknown().optional() }),
]);

/** From the hub. */
export type HubMessage = z.infer<typeof hubMessage>;
export type WireEntry = z.infer<typeof wireEntry>;

/** Throws an Error that says what is wrong with the text. */
export function parseEngineMessage(text: string): EngineMessage {
  if (isTooDeep(text)) throw new Error(`it is nested deeper than ${MAX_DEPTH}`);
  const result = engineMessage.safeParse(JSON.parse(text));
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new Error(`${issue!.path.join('.')}: ${issue!.message}`);
  }
  return result.data;
}

/** Throws an Error where the text is not a message of the hub. */
export function parseHubMessage(text: string): HubMessage {
  return hubMessage.parse(JSON.parse(text));
}

/** The answer to a refused WebSocket upgrade, and of `/enrol` and `/renew`; `epoch` with ERR_EPOCH_STALE. */
export const refusalSchema = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
  epoch: counter.max(MAX_EPOCH).optional(),
});

/** JSON.parse takes any depth, but whoever walks through the value afterwards would run out of stack. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (isInString) {
      if (character === 0x5c) at++;
      else if (character === 0x22) isInString = false;
    } else if (character === 0x22) isInString = true;
    else if (character === 0x5b || character === 0x7b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (character === 0x5d || character === 0x7d) depth--;
  }
  return false;
}
