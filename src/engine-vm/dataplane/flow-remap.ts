/**
 * Flows across graphs: an established flow survives a new graph. Members and tiers are found again by id and by
 * service address; a member that moved to or from another engine changes what is done with its flows. Flows of
 * members and services that are gone end.
 */
import { PROTOCOL_TCP } from '../../packet/parse.ts';
import type { ServiceGraph } from '../../policy/graph.ts';
import type { FlowSlots } from '../fastpath/flow-slots.ts';
import { discount, end } from '../flow/flow-life.ts';
import {
  CLIENT,
  CLIENT_SEEN,
  FLAG_COUNTED_LOCAL,
  FLAG_COUNTED_SENT,
  FLAG_SPLICED,
  FLAG_SPLICING,
  FLAGS,
  JUDGED,
  KIND,
  KIND_DIRECT,
  KIND_FAR,
  KIND_LOCAL,
  KIND_PROXIED,
  KIND_REMOTE,
  KIND_THROUGH,
  MEMBER,
  MEMBER_PORTS,
  MEMBER_SIDE,
  PORTS,
  PROTOCOL,
  RELAY,
  SERVICE,
  SPLICE_DELTA,
  SPLICE_STRIDE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FREE,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import { FlowTable } from '../flow/flow-table.ts';
import { takeOverFlows } from '../flow/flow-takeover.ts';
import { COOKIES_NEVER, type CompiledGraph, PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import type { PathState } from './path-state.ts';

/** Index in the new graph by index in the old one, -1 where it is gone. */
export interface Remap {
  members: Int32Array;
  peers: Int32Array;
}

/** Relates members and peers of two graphs by id. */
export function relate(before: CompiledGraph, next: CompiledGraph): Remap {
  const members = new Map(next.source.members.map((member, index) => [member.id, index]));
  const peers = new Map(next.source.peers.map((peer, index) => [peer.id, index]));
  return {
    members: Int32Array.from(before.source.members, (member) => members.get(member.id) ?? -1),
    peers: Int32Array.from(before.source.peers, (peer) => peers.get(peer.id) ?? -1),
  };
}

/** Whether flows fit the next graph as they are: all that their records name or come from stands where it was. */
export function suitsAsIs(before: CompiledGraph, next: CompiledGraph): boolean {
  return flowText(before.source) === flowText(next.source);
}

function flowText({ engine, peers, members, pools, services }: ServiceGraph): string {
  return JSON.stringify([
    [engine.id, engine.dataAddresses, engine.gateways, engine.siteMtu],
    peers,
    members.map((member) => ({ ...member, hops: 0 })),
    pools.map(({ port }) => port),
    services.map(({ components, ...service }) => service),
  ]);
}

/** Before the change: ends the flows that the next graph has no place for, while the old indexes still count. */
export function endLostFlows(state: PathState, next: CompiledGraph, remap: Remap): void {
  const { flows, connections } = state;
  for (let flow = 0; flow < flows.highWater; flow++) {
    if (flows.words[flow * STRIDE + STATE] === STATE_FREE) continue;
    if (!survives(flows.words, flow * STRIDE, next, remap, flows.offsetOf(flow)))
      end(flows, connections, flow);
  }
}

/**
 * Before the change: a table of the next graph's size; where it is smaller, flows beyond it end. True where the table
 * is that of an earlier process, with its flows: their indexes are then those of that process's graph.
 */
export function resize(
  state: PathState,
  capacity: number,
  openSlots: (capacity: number, seed: number) => FlowSlots | null,
): boolean {
  const { flows, connections } = state;
  if (flows.capacity === capacity) return false;
  // Its memory goes with its slots.
  flows.moveTo(null);
  const slots = openSlots(capacity * 2, state.random32());
  const table = new FlowTable(capacity, state.random32(), slots?.memory ?? null);
  table.slots = slots;
  state.flows = table;
  const leftMs = slots?.leftMs ?? null;
  if (leftMs !== null) {
    takeOverFlows(table, leftMs, state.now);
    return true;
  }
  if (slots !== null) table.clear();
  for (let flow = 0; flow < flows.highWater; flow++) {
    if (flows.words[flow * STRIDE + STATE] === STATE_FREE) continue;
    if (!table.adopt(flows, flow)) discount(flows, connections, flow);
  }
  return false;
}

/** After the change, of flows that were taken over: counts their connections. */
export function recount(state: PathState): void {
  const { flows } = state;
  const { words } = flows;
  for (let flow = 0; flow < flows.highWater; flow++) {
    const at = flow * STRIDE;
    const kind = words[at + KIND];
    if (words[at + STATE] === STATE_FREE || words[at + STATE] === STATE_CLOSING || kind === KIND_REMOTE)
      continue;
    if (kind === KIND_PROXIED || (words[at + FLAGS] & FLAG_COUNTED_LOCAL) !== 0) continue;
    countAnew(state, flow);
  }
}

/** After the change: gives the flows their new indexes, and moves them between the kinds where members have moved. */
export function adaptFlows(state: PathState, remap: Remap): void {
  const { flows, connections, graph } = state;
  const words = flows.words;
  for (let flow = 0; flow < flows.highWater; flow++) {
    const at = flow * STRIDE;
    if (words[at + STATE] === STATE_FREE) continue;
    const isProxied = words[at + KIND] === KIND_PROXIED;
    const member = isProxied ? -1 : remap.members[words[at + MEMBER]];
    words[at + MEMBER] = member;
    const head = tierOf(words, at, graph);
    words[at + TIER] = head < 0 ? -1 : head + flows.offsetOf(flow);
    words[at + JUDGED] = 0;
    if (words[at + RELAY] >= 0) words[at + RELAY] = remap.peers[words[at + RELAY]];
    const place = graph.memberPlace[member];
    if (words[at + KIND] === KIND_LOCAL && place !== PLACE_HERE) {
      discount(flows, connections, flow);
      flows.unfileReverse(flow);
      words[at + KIND] = KIND_REMOTE;
    } else if (words[at + KIND] === KIND_REMOTE && place === PLACE_HERE) takeOver(state, flow);
    else if (words[at + KIND] === KIND_FAR || words[at + KIND] === KIND_THROUGH) countAnew(state, flow);
  }
}

/** Counts a flow that is translated both ways where it is to be counted now: at a peer, if one stands beside the member. */
function countAnew(state: PathState, flow: number): void {
  const { flows, connections, graph } = state;
  const at = flow * STRIDE;
  discount(flows, connections, flow);
  if (flows.words[at + STATE] === STATE_CLOSING) return;
  const member = flows.words[at + MEMBER];
  const place = graph.memberPlace[member];
  if (place === PLACE_HERE) {
    connections.opened(member, null);
    flows.words[at + FLAGS] |= FLAG_COUNTED_LOCAL;
  } else if (place === PLACE_NO_ENGINE && flows.words[at + KIND] !== KIND_THROUGH) {
    connections.openedSent(member);
    flows.words[at + FLAGS] |= FLAG_COUNTED_SENT;
  }
}

/** A member that a peer served until now has come to this engine, with its flows. */
function takeOver(state: PathState, flow: number): void {
  const { flows, connections, graph } = state;
  const words = flows.words;
  const at = flow * STRIDE;
  const member = words[at + MEMBER];
  const version =
    words[at + CLIENT + 2] === 0xffff && words[at + CLIENT] === 0 && words[at + CLIENT + 1] === 0 ? 4 : 6;
  const tier = words[at + TIER];
  // What its numbers are to be shifted by, if at all, only the engine knows that translated it: the next packet asks.
  if (graph.tierCookies[tier] !== COOKIES_NEVER && words[at + PROTOCOL] === PROTOCOL_TCP) {
    const isKnown =
      (words[at + FLAGS] & FLAG_SPLICED) !== 0 && flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA] !== 0;
    if (!isKnown) {
      end(flows, connections, flow);
      return;
    }
  }
  const isDsr = graph.tierIsDsr[tier] === 1;
  const from = isDsr ? at + SERVICE : graph.memberAddressAt(member, version);
  const addresses = isDsr ? words : graph.memberAddresses(version);
  const port = isDsr ? words[at + PORTS] & 0xffff : graph.tierMemberPort[tier];
  const ports = (port << 16) | (words[at + PORTS] >>> 16);
  const isFree =
    from >= 0 &&
    flows.findKey(
      words[at + PROTOCOL],
      addresses[from],
      addresses[from + 1],
      addresses[from + 2],
      addresses[from + 3],
      words[at + CLIENT],
      words[at + CLIENT + 1],
      words[at + CLIENT + 2],
      words[at + CLIENT + 3],
      ports,
    ) < 0;
  if (!isFree) {
    end(flows, connections, flow);
    return;
  }
  for (let i = 0; i < 4; i++) {
    words[at + MEMBER_SIDE + i] = addresses[from + i];
    words[at + CLIENT_SEEN + i] = words[at + CLIENT + i];
  }
  words[at + MEMBER_PORTS] = ports;
  words[at + KIND] = KIND_LOCAL;
  words[at + RELAY] = -1;
  flows.fileReverse(flow);
  if (words[at + STATE] === STATE_CLOSING) return;
  connections.opened(member, null);
  words[at + FLAGS] |= FLAG_COUNTED_LOCAL;
}

function tierOf(words: Int32Array, at: number, graph: CompiledGraph): number {
  const s = at + SERVICE;
  const port = words[at + PORTS] & 0xffff;
  return graph.tiers.find(words[s], words[s + 1], words[s + 2], words[s + 3], port, words[at + PROTOCOL]);
}

function survives(words: Int32Array, at: number, next: CompiledGraph, remap: Remap, offset: number): boolean {
  const kind = words[at + KIND];
  // Whoever proxies it ends it, also where the service is not proxied any more.
  if (kind === KIND_PROXIED) return tierOf(words, at, next) >= 0;
  const member = remap.members[words[at + MEMBER]];
  if (member === undefined || member < 0) return false;
  const head = tierOf(words, at, next);
  if (kind !== KIND_DIRECT && head < 0) return false;
  if (kind !== KIND_DIRECT && !keepsPlace(next, head, offset, kind === KIND_THROUGH)) return false;
  const place = next.memberPlace[member];
  // A bypassed member is soon behind an engine again: until then its connections wait (bypasses.ts says how long), as
  // the client repeats what it sent. What is only half open, or repeats nothing, is balanced anew.
  const isReachable =
    place !== PLACE_NO_ENGINE ||
    (words[at + PROTOCOL] === PROTOCOL_TCP && words[at + STATE] === STATE_ESTABLISHED);
  // Where its engine is gone, the next packet goes to another member of the tier.
  if (kind === KIND_THROUGH) return true;
  if (kind === KIND_REMOTE) {
    if (words[at + RELAY] >= 0) return remap.peers[words[at + RELAY]] >= 0;
    return isReachable;
  }
  if (!isUntranslated(words, at) && !hasAddress(words, at + MEMBER_SIDE, next, member)) return false;
  // Whose member has not answered yet is not worth moving: its client is not answered either, and asks again.
  if (kind === KIND_LOCAL)
    return isReachable && (place === PLACE_HERE || (words[at + FLAGS] & FLAG_SPLICING) === 0);
  if (kind === KIND_DIRECT) return place === PLACE_HERE;
  const c = at + CLIENT_SEEN;
  return (
    kind === KIND_FAR &&
    next.dataAddresses.find(words[c], words[c + 1], words[c + 2], words[c + 3], 0, 0) === 0
  );
}

/** Whether a tier so far behind the one of the service address is reached still, and its members do what they did. */
function keepsPlace(next: CompiledGraph, head: number, offset: number, handsOn: boolean): boolean {
  const tier = head + offset;
  if (tier > next.lastTier(head)) return false;
  return (next.tierHandsOn[tier] === 1) === handsOn;
}

/** Whether the member gets packets for the service address itself (DSR). */
function isUntranslated(words: Int32Array, at: number): boolean {
  for (let i = 0; i < 4; i++) if (words[at + MEMBER_SIDE + i] !== words[at + SERVICE + i]) return false;
  return words[at + MEMBER_PORTS] >>> 16 === (words[at + PORTS] & 0xffff);
}

function hasAddress(words: Int32Array, at: number, graph: CompiledGraph, member: number): boolean {
  const isIpv4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
  const from = graph.memberAddressAt(member, isIpv4 ? 4 : 6);
  if (from < 0) return false;
  const addresses = graph.memberAddresses(isIpv4 ? 4 : 6);
  for (let i = 0; i < 4; i++) if (addresses[from + i] !== words[at + i]) return false;
  return true;
}
