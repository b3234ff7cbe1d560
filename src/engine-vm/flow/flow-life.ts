/**
 * The life of a flow: from its first packet over established to closing, by what both sides send (RFC 9293), and how
 * long each stage may be silent. It also keeps the count of connections: each flow counts once, and once off.
 */

import type { Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, TCP_FIN, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import type { FlowTimeouts } from '../../policy/engine-group.ts';
import type { ConnectionTable } from '../balance/connection-table.ts';
import {
  FLAG_COUNTED_LOCAL,
  FLAG_COUNTED_SENT,
  FLAG_FIN_FORWARD,
  FLAG_FIN_REVERSE,
  FLAG_SEEN_FORWARD,
  FLAG_SEEN_REVERSE,
  FLAG_SPLICING,
  FLAGS,
  FORWARD,
  KIND,
  KIND_REMOTE,
  KIND_THROUGH,
  LAST_SEEN,
  MEMBER,
  PROTOCOL,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FREE,
  STATE_HALF_OPEN,
  STRIDE,
} from './flow-record.ts';
import type { FlowTable } from './flow-table.ts';

/** How long a flow may be silent where the engine group does not say. */
export const TIMEOUTS: FlowTimeouts = {
  tcpHalfOpenMs: 10_000,
  tcpEstablishedMs: 3_600_000,
  tcpClosingMs: 5_000,
  udpMs: 60_000,
};

/** Notes a packet of the flow and moves the flow on. */
export function track(
  flows: FlowTable,
  connections: ConnectionTable,
  flow: number,
  direction: number,
  packet: Packet,
  nowMs: number,
): void {
  const words = flows.words;
  const at = flow * STRIDE;
  words[at + LAST_SEEN] = nowMs | 0;
  flows.traffic[flow * 2]++;
  flows.traffic[flow * 2 + 1] += packet.length;
  const before = words[at + FLAGS];
  words[at + FLAGS] = before | (direction === FORWARD ? FLAG_SEEN_FORWARD : FLAG_SEEN_REVERSE);
  const state = words[at + STATE];
  const isOneSided = words[at + KIND] === KIND_REMOTE || words[at + KIND] === KIND_THROUGH;
  if (words[at + PROTOCOL] !== PROTOCOL_TCP) {
    if (state === STATE_HALF_OPEN) {
      const isProven = isOneSided ? (before & FLAG_SEEN_FORWARD) !== 0 : direction !== FORWARD;
      if (isProven) flows.setState(flow, STATE_ESTABLISHED);
    }
    return;
  }
  // A later fragment shows no flags.
  if (packet.l4 === 0) return;
  const tcp = packet.tcpFlags;
  if ((tcp & TCP_RST) !== 0) {
    close(flows, connections, flow);
    return;
  }
  if ((tcp & TCP_FIN) !== 0) {
    const fins = words[at + FLAGS] | (direction === FORWARD ? FLAG_FIN_FORWARD : FLAG_FIN_REVERSE);
    words[at + FLAGS] = fins;
    const both = FLAG_FIN_FORWARD | FLAG_FIN_REVERSE;
    if (isOneSided || (fins & both) === both) {
      close(flows, connections, flow);
      return;
    }
  }
  // Whoever joins the two connections says when both stand.
  if ((before & FLAG_SPLICING) !== 0) return;
  if (state === STATE_HALF_OPEN && direction === FORWARD && (tcp & TCP_SYN) === 0) {
    // The client's answer to the member's SYN-ACK, which only a peer sees where the member is beside it.
    if (isOneSided || (before & FLAG_SEEN_REVERSE) !== 0) flows.setState(flow, STATE_ESTABLISHED);
  }
}

/** The connection is over; its last packets may still come. It counts no more. */
export function close(flows: FlowTable, connections: ConnectionTable, flow: number): void {
  flows.setState(flow, STATE_CLOSING);
  discount(flows, connections, flow);
}

/** Takes the flow out of the count of connections, if it is in. */
export function discount(flows: FlowTable, connections: ConnectionTable, flow: number): void {
  const at = flow * STRIDE;
  const flags = flows.words[at + FLAGS];
  if ((flags & FLAG_COUNTED_LOCAL) !== 0) connections.closed(flows.words[at + MEMBER]);
  if ((flags & FLAG_COUNTED_SENT) !== 0) connections.closedSent(flows.words[at + MEMBER]);
  flows.words[at + FLAGS] = flags & ~(FLAG_COUNTED_LOCAL | FLAG_COUNTED_SENT);
}

/** Forgets the flow. */
export function end(flows: FlowTable, connections: ConnectionTable, flow: number): void {
  discount(flows, connections, flow);
  flows.remove(flow);
}

/** What the kernel has forwarded of a flow is taken over as often as this at the least: its counters may not go round. */
const UNSEEN_MS = 10_000;

/**
 * Looks at the next `records` records and ends flows that have been silent for too long. `askAgain` is called for those
 * whose member is still asked for the connection, which it ends itself.
 */
export function sweep(
  flows: FlowTable,
  connections: ConnectionTable,
  nowMs: number,
  records: number,
  timeouts: FlowTimeouts = TIMEOUTS,
  askAgain: (flow: number) => void = () => {},
): void {
  const words = flows.words;
  for (let looked = Math.min(records, flows.capacity); looked > 0; looked--) {
    const flow = flows.nextOfRound();
    const at = flow * STRIDE;
    const state = words[at + STATE];
    if (state === STATE_FREE) continue;
    if ((words[at + FLAGS] & FLAG_SPLICING) !== 0 && state === STATE_HALF_OPEN) {
      askAgain(flow);
      continue;
    }
    const longestMs = timeoutMs(words[at + PROTOCOL], state, timeouts);
    if (silentMs(nowMs, words[at + LAST_SEEN]) < Math.min(longestMs, UNSEEN_MS)) continue;
    flows.refresh(flow);
    if (silentMs(nowMs, words[at + LAST_SEEN]) >= longestMs) end(flows, connections, flow);
  }
}

function silentMs(nowMs: number, lastSeen: number): number {
  return ((nowMs | 0) - lastSeen) | 0;
}

function timeoutMs(protocol: number, state: number, timeouts: FlowTimeouts): number {
  if (protocol !== PROTOCOL_TCP) return timeouts.udpMs;
  if (state === STATE_ESTABLISHED) return timeouts.tcpEstablishedMs;
  return state === STATE_CLOSING ? timeouts.tcpClosingMs : timeouts.tcpHalfOpenMs;
}
