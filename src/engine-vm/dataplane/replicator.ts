/**
 * Tells peers of the connections that would die with this engine: established TCP flows that it translates to a member
 * beside itself. Two peers keep them (replicas.ts). Nothing of this is on a packet's way: a cursor goes round the flow
 * table and sends what it finds in batches, each flow once it has lived for a quarter of a second, again and again
 * while it lives, and once more when it has ended.
 *
 * The body of a control frame of type FLOWS is a list of entries:
 *   1 flags (1 IPv6, 2 ended, 4 shifted)   4 or 16 client   4 or 16 service   2 client port   2 service port
 *   4 hash of member id   where shifted: 4 by how much the member's sequence numbers are
 * A recorded frame that is sent again tells what was true once: it can only name members that the service had.
 */
import { Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP } from '../../packet/parse.ts';
import {
  CLIENT,
  FLAG_IS_REPLICATED,
  FLAG_IS_SIGHTED,
  FLAG_SPLICED,
  FLAGS,
  KIND,
  KIND_LOCAL,
  MEMBER,
  MEMBER_PORTS,
  PORTS,
  PROTOCOL,
  REPLICATE_AT,
  SERVICE,
  SPLICE_DELTA,
  SPLICE_STRIDE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STRIDE,
} from '../flow/flow-record.ts';
import { CONTROL_FLOWS, controlBodyAt, controlBodyLength, LONGEST_BODY, nameHash } from './control.ts';
import type { PathState } from './path-state.ts';
import type { Peers } from './peers.ts';
import type { Replicas } from './replicas.ts';
import { TokenBucket } from './token-bucket.ts';

/** Flows that end before are not worth a word. */
const WORTH_AFTER_MS = 250;
const AGAIN_AFTER_MS = 15_000;
/** Peers that keep a flow: one may die too. */
const KEEPERS = 2;
/** Entries sent a second, to each keeper; what is more waits. */
const ENTRIES_PER_SECOND = 5000;
/** The cursor goes round the flows in this time, where they are not too many for the second bound. */
const ROUND_MS = 100;
const FLOWS_PER_TICK = 1024;
const IS_IPV6 = 1;
const HAS_ENDED = 2;
const IS_SHIFTED = 4;
const LONGEST_ENTRY = 45;

export class Replicator {
  private readonly state: PathState;
  private readonly peers: Peers;
  private readonly replicas: Replicas;
  private readonly rate = new TokenBucket(ENTRIES_PER_SECOND);
  private readonly body = new Uint8Array(LONGEST_BODY);
  private readonly view = new DataView(this.body.buffer);
  private length = 0;
  private cursor = 0;
  /** Peers in the order in which they are asked to be keepers: a circle by id that begins behind this engine. */
  private circle: number[] = [];
  private memberHashes = new Int32Array(0);
  private readonly key = new Packet();

  constructor(state: PathState, peers: Peers, replicas: Replicas) {
    this.state = state;
    this.peers = peers;
    this.replicas = replicas;
  }

  /** A new graph is in force. */
  load(): void {
    const { engine, peers, members } = this.state.graph.source;
    const isBefore = peers.map(({ id }) => (id < engine.id ? 1 : 0));
    this.circle = peers
      .map((_peer, index) => index)
      .sort((a, b) => isBefore[a] - isBefore[b] || (peers[a].id < peers[b].id ? -1 : 1));
    this.memberHashes = Int32Array.from(members, ({ id }) => nameHash(id));
    this.replicas.load(this.state.graph);
  }

  /** Looks at the next flows; `passedMs` since the last tick. */
  tick(passedMs: number): void {
    const { flows } = this.state;
    if (this.circle.length === 0) return;
    const count = Math.min(FLOWS_PER_TICK, Math.ceil((flows.highWater * passedMs) / ROUND_MS));
    for (let looked = 0; looked < count; looked++) {
      if (this.cursor >= flows.highWater) this.cursor = 0;
      this.look(this.cursor++);
    }
    this.flush();
  }

  /** Takes a peer's authentic frame of type FLOWS; false where it is malformed. */
  receive(): boolean {
    const { packet, now } = this.state;
    const { key, replicas } = this;
    const { view } = packet;
    const end = controlBodyAt(packet) + controlBodyLength(packet);
    key.protocol = PROTOCOL_TCP;
    for (let at = controlBodyAt(packet); at < end; ) {
      const flags = view.getUint8(at++);
      const isIpv6 = (flags & IS_IPV6) !== 0;
      const isShifted = (flags & IS_SHIFTED) !== 0;
      if (at + (isIpv6 ? 40 : 16) + (isShifted ? 4 : 0) > end) return false;
      if (isIpv6) {
        key.s0 = view.getInt32(at);
        key.s1 = view.getInt32(at + 4);
        key.s2 = view.getInt32(at + 8);
        key.d0 = view.getInt32(at + 16);
        key.d1 = view.getInt32(at + 20);
        key.d2 = view.getInt32(at + 24);
        key.s3 = view.getInt32(at + 12);
        key.d3 = view.getInt32(at + 28);
        at += 32;
      } else {
        key.s0 = 0;
        key.s1 = 0;
        key.s2 = 0xffff;
        key.d0 = 0;
        key.d1 = 0;
        key.d2 = 0xffff;
        key.s3 = view.getInt32(at);
        key.d3 = view.getInt32(at + 4);
        at += 8;
      }
      key.sourcePort = view.getUint16(at);
      key.destinationPort = view.getUint16(at + 2);
      const member = view.getInt32(at + 4);
      at += 8;
      const shift = isShifted ? view.getInt32(at) : 0;
      if (isShifted) at += 4;
      if ((flags & HAS_ENDED) !== 0) replicas.forget(key, member);
      else replicas.note(key, member, now, shift);
    }
    return true;
  }

  private look(flow: number): void {
    const { flows, now } = this.state;
    const { words } = flows;
    const at = flow * STRIDE;
    if (words[at + KIND] !== KIND_LOCAL || words[at + PROTOCOL] !== PROTOCOL_TCP) return;
    const flags = words[at + FLAGS];
    if (words[at + STATE] === STATE_CLOSING) {
      if ((flags & FLAG_IS_REPLICATED) === 0 || !this.rate.take(now)) return;
      words[at + FLAGS] = flags & ~FLAG_IS_REPLICATED;
      this.write(flow, HAS_ENDED);
      return;
    }
    if (words[at + STATE] !== STATE_ESTABLISHED) return;
    // A client port that is translated here would not be elsewhere: for such a flow there is no way back.
    if ((words[at + MEMBER_PORTS] & 0xffff) !== words[at + PORTS] >>> 16) return;
    if ((flags & FLAG_IS_SIGHTED) === 0) {
      words[at + FLAGS] = flags | FLAG_IS_SIGHTED;
      words[at + REPLICATE_AT] = (now + WORTH_AFTER_MS) | 0;
      return;
    }
    if ((((now | 0) - words[at + REPLICATE_AT]) | 0) < 0 || !this.rate.take(now)) return;
    words[at + FLAGS] = flags | FLAG_IS_REPLICATED;
    words[at + REPLICATE_AT] = (now + AGAIN_AFTER_MS) | 0;
    this.write(flow, 0);
  }

  /** Adds the flow to the batch. */
  private write(flow: number, flags: number): void {
    const from = flow * STRIDE;
    if (this.length + LONGEST_ENTRY > this.state.graph.longestBody) this.flush();
    const { view } = this;
    const { words, splices } = this.state.flows;
    const isShifted = (words[from + FLAGS] & FLAG_SPLICED) !== 0;
    const c = from + CLIENT;
    const isIpv4 = words[c] === 0 && words[c + 1] === 0 && words[c + 2] === 0xffff;
    let at = this.length;
    view.setUint8(at++, flags | (isIpv4 ? 0 : IS_IPV6) | (isShifted ? IS_SHIFTED : 0));
    for (const side of [CLIENT, SERVICE]) {
      for (let i = isIpv4 ? 3 : 0; i < 4; i++, at += 4) view.setInt32(at, words[from + side + i]);
    }
    view.setInt32(at, words[from + PORTS]);
    view.setInt32(at + 4, this.memberHashes[words[from + MEMBER]]);
    at += 8;
    if (isShifted) {
      view.setInt32(at, splices[flow * SPLICE_STRIDE + SPLICE_DELTA]);
      at += 4;
    }
    this.length = at;
  }

  private flush(): void {
    if (this.length === 0) return;
    const body = this.body.subarray(0, this.length);
    this.length = 0;
    let keepers = 0;
    for (const peer of this.circle) {
      if (!this.peers.isAlive(peer)) continue;
      this.peers.send(peer, CONTROL_FLOWS, 0, this.state.random32(), this.state.random32(), body);
      if (++keepers === KEEPERS) return;
    }
  }
}
