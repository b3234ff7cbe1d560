/**
 * What an earlier process left in the memory of a flow table (flow-memory.ts) becomes the table of this one: records
 * that are whole are counted, listed and filed, and get what the kernel has forwarded of them since.
 */
import {
  FLAG_COUNTED_LOCAL,
  FLAG_COUNTED_SENT,
  FLAG_FAST_FORWARD,
  FLAG_HAS_REVERSE,
  FLAG_SPLICING,
  FLAGS,
  FORWARD,
  JUDGED,
  KIND,
  KIND_LOCAL,
  KIND_PROXIED,
  KIND_REMOTE,
  KIND_THROUGH,
  LAST_SEEN,
  MEMBER,
  REPLICATE_AT,
  REVERSE,
  SPLICE_ASKED_AT,
  SPLICE_STRIDE,
  STATE,
  STATE_CLOSING,
  STATE_HALF_OPEN,
  STRIDE,
} from './flow-record.ts';
import type { FlowTable } from './flow-table.ts';

/**
 * Takes over the records that an earlier process left in the memory of a new table, with what the kernel has forwarded
 * of them since; `leftMs` is that process's clock when it ended, `nowMs` is ours. A record that was just being written
 * is dropped. No flow is counted as a connection afterwards, and all are to be judged again.
 */
export function takeOverFlows(table: FlowTable, leftMs: number, nowMs: number): void {
  const { words, splices } = table;
  const shift = (nowMs - leftMs) | 0;
  for (let flow = table.capacity - 1; flow >= 0; flow--) {
    const at = flow * STRIDE;
    if (!isWhole(table, flow)) {
      table.free(flow);
      words[at + FLAGS] = 0;
      continue;
    }
    words[at + FLAGS] &= ~(FLAG_COUNTED_LOCAL | FLAG_COUNTED_SENT);
    words[at + LAST_SEEN] += shift;
    words[at + JUDGED] = 0;
    if ((words[at + FLAGS] & FLAG_SPLICING) !== 0) splices[flow * SPLICE_STRIDE + SPLICE_ASKED_AT] += shift;
    else if (words[at + KIND] === KIND_LOCAL) words[at + REPLICATE_AT] = nowMs | 0;
    table.enter(flow);
  }
  collect(table, nowMs);
}

/** Adds what the kernel has forwarded meanwhile; what it forwards no longer is TypeScript's again. */
function collect(table: FlowTable, nowMs: number): void {
  const { words, traffic, slots } = table;
  if (slots === null) return;
  const isFiled = slots.reconcile(
    (slot) => (words[(slot >> 1) * STRIDE + FLAGS] & (FLAG_FAST_FORWARD << (slot & 1))) !== 0,
  );
  for (let flow = 0; flow < table.highWater; flow++) {
    const at = flow * STRIDE;
    for (const direction of [FORWARD, REVERSE]) {
      const flag = FLAG_FAST_FORWARD << direction;
      if ((words[at + FLAGS] & flag) === 0) continue;
      const slot = flow * 2 + direction;
      const packets = slots.packetsSince(slot);
      traffic[flow * 2] += packets;
      traffic[flow * 2 + 1] += slots.bytesSince;
      // When in our absence nobody knows: the slot's clock stood still.
      if (packets > 0) words[at + LAST_SEEN] = nowMs | 0;
      if (isFiled[slot] === 0) words[at + FLAGS] &= ~flag;
    }
  }
}

/** Whether a record that was left says all that is needed, and no other one has its keys. */
function isWhole(table: FlowTable, flow: number): boolean {
  const { words } = table;
  const at = flow * STRIDE;
  const state = words[at + STATE];
  const kind = words[at + KIND];
  if (state < STATE_HALF_OPEN || state > STATE_CLOSING || kind < KIND_LOCAL || kind > KIND_PROXIED)
    return false;
  const hasReverse = (words[at + FLAGS] & FLAG_HAS_REVERSE) !== 0;
  if (kind === KIND_PROXIED ? !hasReverse : words[at + MEMBER] < 0) return false;
  if (kind !== KIND_REMOTE && kind !== KIND_THROUGH && !hasReverse) return false;
  const stage = table.stageOf(flow);
  if (table.findOf(flow, FORWARD, stage) >= 0) return false;
  return !hasReverse || table.findOf(flow, REVERSE, stage) < 0;
}
