/**
 * Packets in the middle of a TCP connection that this engine does not know, because their entry engine died or the
 * address moved here. The live peers are asked with the packet itself: the engine that holds the connection, or keeps
 * it for a peer, delivers it and claims it, and this engine sends on what follows. Where nobody claims it in time, the
 * client is reset.
 */

import { checksumOffset, transportChecksum } from '../../packet/checksum.ts';
import { HEADROOM, Packet } from '../../packet/packet.ts';
import { parse, TCP_RST } from '../../packet/parse.ts';
import { dropIndex } from '../drops.ts';
import { hashFlow } from '../flow/flow-hash.ts';
import { track } from '../flow/flow-life.ts';
import {
  FLAG_SPLICED,
  FLAG_VIA_PEER,
  FLAGS,
  PROTOCOL as FLOW_PROTOCOL,
  STRIDE as FLOW_STRIDE,
  FORWARD,
  JUDGED,
  KIND,
  KIND_DIRECT,
  KIND_FAR,
  KIND_PROXIED,
  KIND_REMOTE,
  KIND_THROUGH,
  MEMBER,
  RELAY,
  SPLICE_DELTA,
  SPLICE_STRIDE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  TIER,
} from '../flow/flow-record.ts';
import type { Bridge } from './bridge.ts';
import type { Bypasses } from './bypasses.ts';
import {
  COOKIES_NEVER,
  MAC_LOCAL_MEMBER,
  macIndex,
  macKind,
  OWNED_BY_VM,
  PLACE_BESIDE_PEER,
  PLACE_NO_ENGINE,
} from './compiled-graph.ts';
import {
  CLAIM_IS_SHIFTED,
  CLAIM_RELAY,
  CONTROL_CLAIM,
  CONTROL_ORPHAN,
  controlBodyAt,
  controlBodyLength,
  controlFlags,
  controlNonceHigh,
  controlNonceLow,
  LONGEST_BODY,
  nameHash,
  ORPHAN_IS_CUT,
  ORPHAN_OFFSET_SHIFT,
} from './control.ts';
import type { FlowOpener } from './flow-opener.ts';
import type { FlowPath } from './flow-path.ts';
import type { Hashed } from './hashed.ts';
import { type PathState, PORT_SELF } from './path-state.ts';
import type { Peers } from './peers.ts';
import type { Refusals } from './refusals.ts';
import type { Replicas } from './replicas.ts';
import { TokenBucket } from './token-bucket.ts';

/** How long peers have to claim a connection. */
const CLAIM_WITHIN_MS = 300;
/** After this long an unclaimed connection is asked about anew. */
const FORGET_AFTER_MS = 5000;
const ASKED_PER_SECOND = 1000;
/** Most frames for that, to all peers together: a flood of stray packets must not become one for a large group. */
const FRAMES_PER_SECOND = 20_000;
const SETS = 256;
const WAYS = 4;
const STRIDE = 15;
/** Words of a slot behind the two addresses. */
const PORTS = 8;
const NONCE_HIGH = 9;
const NONCE_LOW = 10;
const ASKED_AT = 11;
/** OPEN or ANSWERED, 0 where the slot is free. */
const IS_USED = 12;
/** How many tiers behind that of the service address the asked one is, and << 4 how many have seen the packet. */
const OFFSET = 13;
const OPEN = 1;
const ANSWERED = 2;
/** How much of a frame that cannot be delivered from afar is sent: its headers. */
const HEADERS = 160;
/** Of the virtio_net_hdr. */
const GSO_TYPE = 1;
const NO_FLOW = dropIndex('no-flow');

export class Orphans {
  private readonly state: PathState;
  private readonly peers: Peers;
  private readonly path: FlowPath;
  private readonly opener: FlowOpener;
  private readonly bridge: Bridge;
  private readonly refusals: Refusals;
  private readonly replicas: Replicas;
  private readonly bypasses: Bypasses;
  private readonly hashed: Hashed;
  private readonly pending = new Int32Array(SETS * WAYS * STRIDE);
  private readonly rate = new TokenBucket(ASKED_PER_SECOND);
  private readonly frames = new TokenBucket(FRAMES_PER_SECOND);
  /** The packet inside an orphan frame of a peer, in a buffer of its own with headroom. */
  private readonly carried = new Uint8Array(HEADROOM + LONGEST_BODY);
  private readonly frame = new Packet();

  constructor(
    state: PathState,
    peers: Peers,
    path: FlowPath,
    opener: FlowOpener,
    bridge: Bridge,
    refusals: Refusals,
    replicas: Replicas,
    bypasses: Bypasses,
    hashed: Hashed,
  ) {
    this.state = state;
    this.peers = peers;
    this.path = path;
    this.opener = opener;
    this.bridge = bridge;
    this.refusals = refusals;
    this.replicas = replicas;
    this.bypasses = bypasses;
    this.hashed = hashed;
  }

  /**
   * Takes the packet at hand, which the components have passed; false where nobody claims its connection, and somebody
   * else is to decide. `offset`: of its tier behind the one of the service address.
   */
  ask(offset = 0): boolean {
    const state = this.state;
    const now = state.now;
    let slot = this.find(state.packet, offset);
    if (slot >= 0) {
      const waitedMs = ((now | 0) - this.pending[slot + ASKED_AT]) | 0;
      if (waitedMs >= CLAIM_WITHIN_MS && waitedMs < FORGET_AFTER_MS) {
        this.pending[slot + IS_USED] = 0;
        return false;
      }
      if (waitedMs >= FORGET_AFTER_MS) this.pending[slot + ASKED_AT] = now | 0;
    }
    if (!this.isAnyoneThere()) return false;
    if (!this.rate.take(now) || !this.frames.take(now, this.peers.count)) {
      state.drop(NO_FLOW);
      return true;
    }
    if (slot < 0) slot = this.note(state.packet, offset);
    this.tellPeers(slot);
    return true;
  }

  /** Takes a peer's authentic orphan frame: delivers and claims it where the connection is ours. */
  receiveOrphan(peer: number): void {
    const state = this.state;
    const outer = state.packet;
    const length = controlBodyLength(outer);
    if (length > LONGEST_BODY) return;
    const isCut = (controlFlags(outer) & ORPHAN_IS_CUT) !== 0;
    const offset = controlFlags(outer) >> ORPHAN_OFFSET_SHIFT;
    const nonceHigh = controlNonceHigh(outer);
    const nonceLow = controlNonceLow(outer);
    const at = controlBodyAt(outer);
    this.carried.set(outer.buffer.subarray(at, at + length), HEADROOM);
    const inner = this.frame;
    parse(inner, this.carried, HEADROOM, length);
    // Of a frame that was cut only the lengths are wrong: the key is there.
    if (inner.ipVersion === 0 && isCut) this.parseCut(inner, length);
    if (inner.ipVersion === 0 || inner.l4 === 0 || inner.isFragment) return;
    const { flows, connections, graph } = state;
    const reference = flows.find(inner, offset);
    // Once closed, a flow may have the key of a later connection, which a peer had.
    if (reference < 0 || flows.words[(reference >> 1) * FLOW_STRIDE + STATE] === STATE_CLOSING) {
      this.answerFromReplica(peer, offset, nonceHigh, nonceLow, isCut || inner.malformed !== null, length);
      return;
    }
    if ((reference & 1) !== FORWARD) return;
    const flow = reference >> 1;
    const words = flows.words;
    const record = flow * FLOW_STRIDE;
    const kind = words[record + KIND];
    if (kind === KIND_DIRECT || kind === KIND_PROXIED) return;
    const member = words[record + MEMBER];
    if (kind === KIND_REMOTE && words[record + RELAY] >= 0) return;
    const isRelay = kind === KIND_FAR;
    const shift = this.shiftOf(flow);
    // Of a connection that the asking engine itself had, we know where its member is, and not how it was begun.
    if (kind === KIND_REMOTE && shift === 0 && graph.memberPeer[member] === peer && this.mayBeShifted(flow)) {
      this.answerFromReplica(peer, offset, nonceHigh, nonceLow, isCut || inner.malformed !== null, length);
      return;
    }
    if (isRelay) words[record + FLAGS] |= FLAG_VIA_PEER;
    this.claim(
      peer,
      isRelay ? CLAIM_RELAY : 0,
      nonceHigh,
      nonceLow,
      member,
      kind === KIND_REMOTE ? shift : 0,
    );
    if (isCut || inner.malformed !== null) return;
    // Delivered as if it had come in here: the packet at hand is now the carried one.
    parse(outer, this.carried, HEADROOM, length);
    // It came by a peer's question, as no frame after it will.
    state.ingress = PORT_SELF;
    track(flows, connections, flow, FORWARD, outer, state.now);
    this.path.forward(flow);
  }

  /** The connection of the carried frame is none of ours, but perhaps one that we keep for a peer. */
  private answerFromReplica(
    peer: number,
    offset: number,
    nonceHigh: number,
    nonceLow: number,
    isUndeliverable: boolean,
    length: number,
  ): void {
    const { packet: outer, graph, now } = this.state;
    const member = this.replicas.find(this.frame, now);
    if (member < 0 || !this.isOfTier(this.frame, offset, member)) return;
    this.claim(peer, 0, nonceHigh, nonceLow, member, this.replicas.shift);
    if (isUndeliverable || graph.memberPlace[member] !== PLACE_BESIDE_PEER) return;
    parse(outer, this.carried, HEADROOM, length);
    this.path.sendOn(member);
  }

  /** Says that the connection of a question is ours, or one that we know: `shift` as in Replicas, for who takes it up. */
  private claim(
    peer: number,
    flags: number,
    nonceHigh: number,
    nonceLow: number,
    member: number,
    shift: number,
  ): void {
    const id = this.state.graph.source.members[member].id;
    const body = Buffer.alloc((shift === 0 ? 0 : 4) + Buffer.byteLength(id));
    body.write(id, shift === 0 ? 0 : 4);
    if (shift !== 0) body.writeInt32BE(shift);
    const all = shift === 0 ? flags : flags | CLAIM_IS_SHIFTED;
    this.peers.send(peer, CONTROL_CLAIM, all, nonceHigh, nonceLow, body);
  }

  /**
   * Whether nobody knows more of the connection of the packet at hand, which a peer sent for a member beside us, than the
   * packet says. False while peers are asked: then TCP repeats it.
   */
  isUnknown(): boolean {
    const { packet, now } = this.state;
    let slot = this.find(packet, 0);
    if (slot >= 0 && (((now | 0) - this.pending[slot + ASKED_AT]) | 0) >= CLAIM_WITHIN_MS) {
      this.pending[slot + IS_USED] = 0;
      return true;
    }
    if (!this.isAnyoneThere()) return true;
    if (!this.rate.take(now) || !this.frames.take(now, this.peers.count)) return false;
    if (slot < 0) slot = this.note(packet, 0);
    this.tellPeers(slot);
    return false;
  }

  private shiftOf(flow: number): number {
    const { words, splices } = this.state.flows;
    const isShifted = (words[flow * FLOW_STRIDE + FLAGS] & FLAG_SPLICED) !== 0;
    return isShifted ? splices[flow * SPLICE_STRIDE + SPLICE_DELTA] : 0;
  }

  private mayBeShifted(flow: number): boolean {
    const { flows, graph } = this.state;
    return graph.tierCookies[flows.words[flow * FLOW_STRIDE + TIER]] !== COOKIES_NEVER;
  }

  /** Takes a peer's authentic claim: what follows of the connection goes there. False where nobody had asked. */
  receiveClaim(peer: number): boolean {
    const state = this.state;
    const { packet, graph, flows } = state;
    const slot = this.findNonce(controlNonceHigh(packet), controlNonceLow(packet));
    if (slot < 0) return false;
    if (this.pending[slot + IS_USED] === ANSWERED) return true;
    const at = controlBodyAt(packet);
    const isShifted = (controlFlags(packet) & CLAIM_IS_SHIFTED) !== 0;
    if (isShifted && controlBodyLength(packet) < 4) return false;
    const shift = isShifted ? packet.view.getInt32(at) : 0;
    const idAt = isShifted ? at + 4 : at;
    const id = Buffer.from(packet.buffer.subarray(idAt, at + controlBodyLength(packet))).toString();
    const member = graph.source.members.findIndex((candidate) => candidate.id === id);
    const isRelay = (controlFlags(packet) & CLAIM_RELAY) !== 0;
    if (member < 0) return true;
    const pending = this.pending;
    const key = this.frame;
    key.protocol = 6;
    key.s0 = pending[slot];
    key.s1 = pending[slot + 1];
    key.s2 = pending[slot + 2];
    key.s3 = pending[slot + 3];
    key.d0 = pending[slot + 4];
    key.d1 = pending[slot + 5];
    key.d2 = pending[slot + 6];
    key.d3 = pending[slot + 7];
    key.sourcePort = pending[slot + PORTS] >>> 16;
    key.destinationPort = pending[slot + PORTS] & 0xffff;
    const place = isRelay ? PLACE_BESIDE_PEER : graph.memberPlace[member];
    // Then the claim is worth nothing, and the client is reset in time.
    if (place === PLACE_NO_ENGINE && !this.bypasses.isWorthWaiting(member, state.now)) return true;
    pending[slot + IS_USED] = ANSWERED;
    if (place !== PLACE_BESIDE_PEER) {
      // It is beside this engine, or bypassed for a while: the next packet takes the connection up.
      this.replicas.note(key, nameHash(id), state.now, shift);
      return true;
    }
    const offset = pending[slot + OFFSET] & 7;
    const stage = pending[slot + OFFSET] >> 4;
    const head = graph.tiers.find(key.d0, key.d1, key.d2, key.d3, key.destinationPort, key.protocol);
    if (head < 0 || flows.find(key, stage) >= 0 || !this.isOfTier(key, offset, member)) return true;
    const tier = head + offset;
    this.opener.makeRoom(tier);
    const kind = graph.tierHandsOn[tier] === 1 ? KIND_THROUGH : KIND_REMOTE;
    const flow = flows.add(key, kind, state.now, graph.groupOf(tier));
    if (flow < 0) {
      if (!isRelay && graph.tierHashes[tier] === 1) this.hashed.note(key, member);
      return true;
    }
    const record = flow * FLOW_STRIDE;
    flows.words[record + MEMBER] = member;
    flows.words[record + TIER] = tier;
    if (graph.tierIsChained[tier] === 1) flows.setStage(flow, stage, offset);
    flows.words[record + JUDGED] = state.epoch;
    flows.words[record + FLOW_PROTOCOL] = key.protocol;
    if (isRelay) flows.words[record + RELAY] = peer;
    flows.setState(flow, STATE_ESTABLISHED);
    return true;
  }

  /** Whether a member that is claimed can be that of the tier: what members hand on must not come past any. */
  private isOfTier(packet: Packet, offset: number, member: number): boolean {
    const { graph } = this.state;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    const head = graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
    if (head < 0 || graph.tierIsChained[head] === 0) return offset === 0;
    return head + offset <= graph.lastTier(head) && graph.isInTier(head + offset, member);
  }

  /** Nobody claimed the connection of the packet at hand, which came from `port`. */
  giveUp(port: number): void {
    const { packet, graph } = this.state;
    const address = graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0);
    const destination = graph.macs.find(
      packet.view.getUint16(packet.start),
      packet.view.getInt32(packet.start + 2),
    );
    if (address === OWNED_BY_VM && macKind(destination) === MAC_LOCAL_MEMBER) {
      // The VM that owns the address had this connection before we came in line: it goes on, or the VM resets it.
      const member = macIndex(destination);
      const at = graph.memberAddressAt(member, packet.ipVersion);
      const own = graph.memberAddresses(packet.ipVersion);
      if (at >= 0 && own[at + 3] === packet.d3 && own[at + 2] === packet.d2) {
        this.bridge.forward(port);
        return;
      }
    }
    if ((packet.tcpFlags & TCP_RST) === 0) this.refusals.reset(port);
    this.state.drop(NO_FLOW);
  }

  private isAnyoneThere(): boolean {
    for (let peer = 0; peer < this.peers.count; peer++) if (this.peers.isAlive(peer)) return true;
    return false;
  }

  private tellPeers(slot: number): void {
    const { packet, graph } = this.state;
    // Frames for segmentation cannot leave in a control frame whole; TCP sends them again.
    const isForSegmentation =
      packet.start >= HEADROOM && packet.buffer[packet.start - HEADROOM + GSO_TYPE] !== 0;
    const isCut = isForSegmentation || packet.length > graph.longestBody;
    // The checksum that the NIC would have completed. Nobody sees the packet at hand after this.
    if (!isCut && packet.isChecksumPartial)
      packet.view.setUint16(checksumOffset(packet), transportChecksum(packet));
    const length = isCut ? Math.min(packet.length, HEADERS) : packet.length;
    const body = packet.buffer.subarray(packet.start, packet.start + length);
    const high = this.pending[slot + NONCE_HIGH];
    const low = this.pending[slot + NONCE_LOW];
    for (let peer = 0; peer < this.peers.count; peer++) {
      if (!this.peers.isAlive(peer)) continue;
      const flags = (isCut ? ORPHAN_IS_CUT : 0) | ((this.pending[slot + OFFSET] & 7) << ORPHAN_OFFSET_SHIFT);
      this.peers.send(peer, CONTROL_ORPHAN, flags, high, low, body);
    }
  }

  /** Corrects the IP length of a frame that was cut to its headers, in our copy, and parses it again. */
  private parseCut(inner: Packet, length: number): void {
    const l3 = inner.l3;
    if (l3 === 0 || length < l3 - HEADROOM + 40) return;
    const view = inner.view;
    const room = HEADROOM + length - l3;
    if (inner.etherType === 0x0800) view.setUint16(l3 + 2, room);
    else if (inner.etherType === 0x86dd) view.setUint16(l3 + 4, room - 40);
    parse(inner, this.carried, HEADROOM, length);
  }

  private base(packet: Packet): number {
    const { s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort } = packet;
    const hash = hashFlow(0, 6, s0, s1, s2, s3, d0, d1, d2, d3, (sourcePort << 16) | destinationPort);
    return (hash & (SETS - 1)) * WAYS * STRIDE;
  }

  private find(packet: Packet, offset: number): number {
    const pending = this.pending;
    const ports = (packet.sourcePort << 16) | packet.destinationPort;
    const base = this.base(packet);
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (
        pending[at + IS_USED] === OPEN &&
        (pending[at + OFFSET] & 7) === offset &&
        pending[at + PORTS] === ports &&
        pending[at + 3] === packet.s3 &&
        pending[at + 7] === packet.d3 &&
        pending[at] === packet.s0 &&
        pending[at + 1] === packet.s1 &&
        pending[at + 2] === packet.s2 &&
        pending[at + 4] === packet.d0 &&
        pending[at + 5] === packet.d1 &&
        pending[at + 6] === packet.d2
      ) {
        return at;
      }
    }
    return -1;
  }

  private findNonce(high: number, low: number): number {
    const pending = this.pending;
    for (let at = 0; at < pending.length; at += STRIDE) {
      if (pending[at + IS_USED] !== 0 && pending[at + NONCE_LOW] === low && pending[at + NONCE_HIGH] === high)
        return at;
    }
    return -1;
  }

  /** Notes a question; where its set is full, the oldest one is forgotten. */
  private note(packet: Packet, offset: number): number {
    const pending = this.pending;
    const base = this.base(packet);
    let slot = base;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (pending[at + IS_USED] !== OPEN) {
        slot = at;
        break;
      }
      if (((pending[slot + ASKED_AT] - pending[at + ASKED_AT]) | 0) > 0) slot = at;
    }
    pending[slot] = packet.s0;
    pending[slot + 1] = packet.s1;
    pending[slot + 2] = packet.s2;
    pending[slot + 3] = packet.s3;
    pending[slot + 4] = packet.d0;
    pending[slot + 5] = packet.d1;
    pending[slot + 6] = packet.d2;
    pending[slot + 7] = packet.d3;
    pending[slot + PORTS] = (packet.sourcePort << 16) | packet.destinationPort;
    pending[slot + NONCE_HIGH] = this.state.random32();
    pending[slot + NONCE_LOW] = this.state.random32();
    pending[slot + ASKED_AT] = this.state.now | 0;
    pending[slot + OFFSET] = offset | (this.state.stage << 4);
    pending[slot + IS_USED] = OPEN;
    return slot;
  }
}
