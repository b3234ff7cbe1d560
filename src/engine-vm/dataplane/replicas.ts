/**
 * What this engine keeps for its peers: which member an established TCP connection has that a peer translates to a
 * member beside itself. When that peer dies it takes this knowledge along; with it, the engine that the client reaches
 * next finds the member again. Best effort, bounded, in one typed array: sets of four, in which the oldest makes room.
 *
 * A member is named by the hash of its id, so that records outlive graphs.
 */
import type { Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP } from '../../packet/parse.ts';
import { hashFlow } from '../flow/flow-hash.ts';
import { TIMEOUTS } from '../flow/flow-life.ts';
import type { CompiledGraph } from './compiled-graph.ts';
import { nameHash } from './control.ts';

/** Most connections kept, at 52 bytes each. */
export const REPLICAS = 65_536;
const WAYS = 4;
const SETS = REPLICAS / WAYS;
const STRIDE = 13;
/** Words of a record behind the client's and the service's address: client port << 16 | service port, and so on. */
const PORTS = 8;
const MEMBER = 9;
/** Monotonic milliseconds modulo 2^32. */
const HEARD_AT = 10;
const IS_USED = 11;
/** By how much the member's sequence numbers are shifted: the connection began with a SYN cookie. */
const SHIFT = 12;

export class Replicas {
  /** Of the connection that was found last: by how much its member's sequence numbers are shifted, 0 for most. */
  shift = 0;
  private readonly records = new Int32Array(REPLICAS * STRIDE);
  private readonly seed: number;
  /** Hash of a member's id to its index in the graph in force; -1 where two have the same. */
  private members = new Map<number, number>();

  /** `seed`: any 32-bit number that others cannot guess. */
  constructor(seed: number) {
    this.seed = seed;
  }

  /** A new graph is in force. */
  load(graph: CompiledGraph): void {
    this.members = new Map();
    graph.source.members.forEach(({ id }, index) => {
      const hash = nameHash(id);
      this.members.set(hash, this.members.has(hash) ? -1 : index);
    });
  }

  /** Index of the member that the TCP connection of a packet from its client has, or -1. */
  find(packet: Packet, nowMs: number): number {
    if (packet.protocol !== PROTOCOL_TCP) return -1;
    const at = this.locate(packet);
    if (at < 0 || (((nowMs | 0) - this.records[at + HEARD_AT]) | 0) >= TIMEOUTS.tcpEstablishedMs) return -1;
    this.shift = this.records[at + SHIFT];
    return this.members.get(this.records[at + MEMBER]) ?? -1;
  }

  /** Notes the connection whose key the packet's fields hold. `member`: hash of the member's id; `shift` as the field. */
  note(key: Packet, member: number, nowMs: number, shift = 0): void {
    const { records } = this;
    let at = this.locate(key);
    if (at < 0) {
      at = this.roomFor(key);
      records[at] = key.s0;
      records[at + 1] = key.s1;
      records[at + 2] = key.s2;
      records[at + 3] = key.s3;
      records[at + 4] = key.d0;
      records[at + 5] = key.d1;
      records[at + 6] = key.d2;
      records[at + 7] = key.d3;
      records[at + PORTS] = (key.sourcePort << 16) | key.destinationPort;
      records[at + IS_USED] = 1;
    }
    records[at + MEMBER] = member;
    records[at + SHIFT] = shift;
    records[at + HEARD_AT] = nowMs | 0;
  }

  /** Forgets the connection whose key the packet's fields hold, where it has that member. */
  forget(key: Packet, member: number): void {
    const at = this.locate(key);
    if (at >= 0 && this.records[at + MEMBER] === member) this.records[at + IS_USED] = 0;
  }

  private base(key: Packet): number {
    const { s0, s1, s2, s3, d0, d1, d2, d3 } = key;
    const ports = (key.sourcePort << 16) | key.destinationPort;
    const hash = hashFlow(this.seed, PROTOCOL_TCP, s0, s1, s2, s3, d0, d1, d2, d3, ports);
    return (hash & (SETS - 1)) * WAYS * STRIDE;
  }

  private locate(key: Packet): number {
    const { records } = this;
    const ports = (key.sourcePort << 16) | key.destinationPort;
    const base = this.base(key);
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (
        records[at + IS_USED] === 1 &&
        records[at + PORTS] === ports &&
        records[at + 3] === key.s3 &&
        records[at + 7] === key.d3 &&
        records[at] === key.s0 &&
        records[at + 1] === key.s1 &&
        records[at + 2] === key.s2 &&
        records[at + 4] === key.d0 &&
        records[at + 5] === key.d1 &&
        records[at + 6] === key.d2
      ) {
        return at;
      }
    }
    return -1;
  }

  private roomFor(key: Packet): number {
    const { records } = this;
    const base = this.base(key);
    let oldest = base;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (records[at + IS_USED] === 0) return at;
      if (((records[oldest + HEARD_AT] - records[at + HEARD_AT]) | 0) > 0) oldest = at;
    }
    return oldest;
  }
}
