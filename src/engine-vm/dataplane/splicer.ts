/**
 * Connections that a SYN cookie begins. The engine answers the SYN and keeps nothing. When the client's ACK brings the
 * cookie back, the engine beside the member (or the one that translates both ways) asks the member for a connection in the
 * client's name, with the client's own first sequence number; from the member's answer on, its sequence numbers are
 * shifted to those of the cookie, for the life of the flow (flow-path.ts does that).
 *
 *   client                    engine                     member
 *     │ SYN  first              │                          │
 *     │────────────────────────>│                          │
 *     │ SYN-ACK cookie, window 0│                          │
 *     │<────────────────────────│                          │
 *     │ ACK  cookie + 1         │ SYN  first               │
 *     │────────────────────────>│─────────────────────────>│
 *     │ ACK  cookie + 1, window │ SYN-ACK own              │
 *     │<────────────────────────│<─────────────────────────│
 *     │                         │ ACK  own + 1             │
 *     │                         │─────────────────────────>│
 *
 * Its window keeps the client from sending before the member has answered, so nothing has to be held.
 */
import { sourceHigh, sourceLow } from '../../packet/ethernet.ts';
import { parse, TCP_ACK, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import {
  acknowledgementOf,
  offeredMss,
  type SegmentSpec,
  sequenceOf,
  shiftSequence,
  turnToAck,
  writeSegment,
  writeSynAck,
} from '../../packet/tcp-splice.ts';
import { VXLAN_OVERHEAD } from '../../packet/vxlan.ts';
import { dropIndex } from '../drops.ts';
import { end, track } from '../flow/flow-life.ts';
import {
  CLIENT,
  CLIENT_MAC_HIGH,
  CLIENT_MAC_LOW,
  FLAG_SPLICED,
  FLAG_SPLICING,
  FLAGS,
  KIND,
  KIND_REMOTE,
  PORTS,
  REVERSE,
  SERVICE,
  SPLICE_ASKED,
  SPLICE_ASKED_AT,
  SPLICE_DELTA,
  SPLICE_FIRST,
  SPLICE_STRIDE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STRIDE,
} from '../flow/flow-record.ts';
import type { Bridge } from './bridge.ts';
import {
  COOKIES_ALWAYS,
  COOKIES_NEVER,
  type CompiledGraph,
  MAC_PEER,
  macIndex,
  macKind,
} from './compiled-graph.ts';
import { CONTROL_REFUSED, controlBodyAt, controlBodyLength } from './control.ts';
import type { FlowPath } from './flow-path.ts';
import { type PathState, PORT_SELF, SCRATCH_START } from './path-state.ts';
import type { Peers } from './peers.ts';
import { COOKIE_MSS, SynCookies } from './syn-cookies.ts';

/** A member is asked at 0, 1 and 3 s; the client of one that says nothing for 7 s is reset. */
const ASK_AGAIN_MS = 1000;
const MOST_ASKED = 3;
/** IPv4 or IPv6 and TCP, without options. */
const HEADERS = { 4: 40, 6: 60 };
const LINK_MTU = 1500;
const PENDING = dropIndex('cookie-pending');

export class Splicer {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly bridge: Bridge;
  private readonly peers: Peers;
  private readonly wallMs: () => number;
  private cookies!: SynCookies;
  /** Of the ACK that was checked last: the client's first sequence number, the cookie, place of the segment size. */
  private first = 0;
  private cookie = 0;
  private mssPlace = 0;
  /** CONTROL_REFUSED: the eight words of client and service, ports, what the client expects next. */
  private readonly body = new Uint8Array(40);
  private readonly bodyView = new DataView(this.body.buffer);
  private readonly ends = new Int32Array(8);
  private readonly segment: SegmentSpec = {
    words: this.ends,
    at: 0,
    ports: 0,
    sequence: 0,
    acknowledgement: 0,
    flags: 0,
    window: 0,
    mss: 0,
  };

  constructor(state: PathState, path: FlowPath, bridge: Bridge, peers: Peers, wallMs: () => number) {
    this.state = state;
    this.path = path;
    this.bridge = bridge;
    this.peers = peers;
    this.wallMs = wallMs;
  }

  /** A new graph is in force. */
  load(graph: CompiledGraph): void {
    this.cookies = new SynCookies(graph.groupKey);
  }

  /** Whether a SYN to the tier is to be answered with a cookie now. */
  isWanted(tier: number): boolean {
    const { graph, flows, counts } = this.state;
    const choice = graph.tierCookies[tier];
    if (choice === COOKIES_NEVER || choice === COOKIES_ALWAYS) return choice === COOKIES_ALWAYS;
    const group = graph.groupOf(tier);
    return counts.isFlooded(group) || flows.halfOpen.evictable(group) >= 0;
  }

  /** Answers the SYN at hand, which came from `port`, and forgets it. */
  answer(port: number, tier: number): void {
    const { state } = this;
    const { packet, graph, scratch, scratchView } = state;
    const first = sequenceOf(packet);
    const cookie = this.cookies.make(packet, first, offeredMss(packet), this.wallMs());
    const version = packet.ipVersion === 4 ? 4 : 6;
    // Which member it will be nobody knows yet: one behind a tunnel has the least room.
    const mtu = graph.hasTunnels ? Math.min(LINK_MTU, graph.siteMtu - VXLAN_OVERHEAD.ipv6) : LINK_MTU;
    const mss = mtu - HEADERS[version];
    state.counts.cookies.add(graph.groupOf(tier));
    state.sendScratch(port, writeSynAck(packet, scratch, scratchView, SCRATCH_START, cookie, mss));
  }

  /** Whether the segment at hand, of no known flow, brings back a cookie of this group. */
  check(tier: number): boolean {
    const { packet, graph } = this.state;
    if (tier < 0 || graph.tierCookies[tier] === COOKIES_NEVER) return false;
    if ((packet.tcpFlags & (TCP_ACK | TCP_SYN | TCP_RST)) !== TCP_ACK) return false;
    const wallMs = this.wallMs();
    const cookie = (acknowledgementOf(packet) - 1) | 0;
    // The ACK of the SYN-ACK; or, where that was lost, a probe of the closed window, which repeats what went before.
    for (let back = 1; back >= 0; back--) {
      const first = (sequenceOf(packet) - back) | 0;
      const mss = this.cookies.check(packet, first, cookie, wallMs);
      if (mss === 0) continue;
      this.first = first;
      this.cookie = cookie;
      this.mssPlace = COOKIE_MSS.indexOf(mss as (typeof COOKIE_MSS)[number]);
      return true;
    }
    return false;
  }

  /** Begins with the flow that the checked ACK at hand has just opened: asks its member. The packet at hand is gone then. */
  begin(flow: number): void {
    const { flows, packet } = this.state;
    const { words, splices } = flows;
    const at = flow * STRIDE;
    const splice = flow * SPLICE_STRIDE;
    words[at + CLIENT_MAC_HIGH] = sourceHigh(packet);
    words[at + CLIENT_MAC_LOW] = sourceLow(packet);
    splices[splice + SPLICE_DELTA] = this.cookie;
    splices[splice + SPLICE_FIRST] = this.first;
    const window = packet.view.getUint16(packet.l4 + 14);
    splices[splice + SPLICE_ASKED] = (window << 16) | (this.mssPlace << 8);
    words[at + FLAGS] |= FLAG_SPLICING;
    this.ask(flow);
  }

  /** Goes on with a flow whose connection began elsewhere, or before: its member's numbers are shifted by so much, if at all. */
  resume(flow: number, shift: number): void {
    if (shift === 0) return;
    const { words, splices } = this.state.flows;
    words[flow * STRIDE + FLAGS] |= FLAG_SPLICED;
    splices[flow * SPLICE_STRIDE + SPLICE_DELTA] = shift;
    splices[flow * SPLICE_STRIDE + SPLICE_FIRST] = 0;
    splices[flow * SPLICE_STRIDE + SPLICE_ASKED] = 0;
  }

  /** Notes, of the flow that the checked ACK at hand has just opened, how to reach its client: a peer asks the member. */
  leaveToPeer(flow: number): void {
    const { flows, packet } = this.state;
    const at = flow * STRIDE;
    flows.words[at + CLIENT_MAC_HIGH] = sourceHigh(packet);
    flows.words[at + CLIENT_MAC_LOW] = sourceLow(packet);
    flows.words[at + FLAGS] |= FLAG_SPLICED;
    flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA] = 0;
  }

  /** Whether the packet at hand, which the flow's member sent, belongs to the opening of the connection. */
  isOpening(flow: number): boolean {
    const { flows, packet } = this.state;
    const flags = flows.words[flow * STRIDE + FLAGS];
    if ((flags & (FLAG_SPLICING | FLAG_SPLICED)) === 0) return false;
    if ((flags & FLAG_SPLICING) !== 0) return true;
    const first = flows.splices[flow * SPLICE_STRIDE + SPLICE_FIRST];
    return (
      (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK) &&
      acknowledgementOf(packet) === ((first + 1) | 0)
    );
  }

  /** Takes the packet at hand, which the flow's member sent while the connection opens. */
  receive(flow: number): void {
    const { state } = this;
    const { packet, flows, connections, now } = state;
    const { words, splices } = flows;
    const at = flow * STRIDE;
    const splice = flow * SPLICE_STRIDE;
    if (packet.l4 === 0) {
      state.drop(PENDING);
      return;
    }
    const flags = packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST);
    const acknowledged = acknowledgementOf(packet);
    const isAnswer = acknowledged === ((splices[splice + SPLICE_FIRST] + 1) | 0);
    if (flags === (TCP_RST | TCP_ACK) && isAnswer) {
      const expected = (splices[splice + SPLICE_DELTA] + 1) | 0;
      shiftSequence(packet, (expected - sequenceOf(packet)) | 0);
      track(flows, connections, flow, REVERSE, packet, now);
      this.path.reverse(flow);
      return;
    }
    const isClosing = words[at + STATE] === STATE_CLOSING;
    if (flags === TCP_ACK && isAnswer && !isClosing) {
      // It has this connection: the engine that joined it is gone, and nothing had been sent since.
      this.join(flow, (sequenceOf(packet) - 1) | 0);
      track(flows, connections, flow, REVERSE, packet, now);
      this.path.reverse(flow);
      return;
    }
    if (flags !== (TCP_SYN | TCP_ACK) || !isAnswer || isClosing) {
      state.drop(PENDING);
      // As a host would that has begun a connection (RFC 9293 section 3.10.7.3): what the member had before ends.
      const isStray = (flags & TCP_ACK) !== 0 && (flags & TCP_RST) === 0 && (!isAnswer || isClosing);
      if (isStray) this.tellMember(flow, TCP_RST, acknowledged, 0, 0);
      return;
    }
    const own = sequenceOf(packet);
    if ((words[at + FLAGS] & FLAG_SPLICING) !== 0) this.join(flow, own);
    turnToAck(packet);
    track(flows, connections, flow, REVERSE, packet, now);
    this.path.reverse(flow);
    this.tellMember(flow, TCP_ACK, acknowledged, (own + 1) | 0, 0);
  }

  /** Asks the member of a flow again where it is time, or gives up: to be called about once a second. */
  askAgain(flow: number): void {
    const { flows, now } = this.state;
    const splice = flow * SPLICE_STRIDE;
    const asked = flows.splices[splice + SPLICE_ASKED] & 0xff;
    const waitedMs = ((now | 0) - flows.splices[splice + SPLICE_ASKED_AT]) | 0;
    if (waitedMs < ASK_AGAIN_MS << (asked - 1)) return;
    if (asked < MOST_ASKED) this.ask(flow);
    else this.giveUp(flow);
  }

  /** Takes a peer's authentic frame: the member of a connection that we handed on did not answer. */
  receiveRefusal(): boolean {
    const { flows, packet, connections } = this.state;
    if (controlBodyLength(packet) !== this.body.length) return false;
    const { view } = packet;
    const at = controlBodyAt(packet);
    const { ends } = this;
    for (let i = 0; i < 8; i++) ends[i] = view.getInt32(at + i * 4);
    const ports = view.getInt32(at + 32);
    const sequence = view.getInt32(at + 36);
    const found = flows.findKey(
      6,
      ends[0],
      ends[1],
      ends[2],
      ends[3],
      ends[4],
      ends[5],
      ends[6],
      ends[7],
      ports,
    );
    if (found < 0 || (found & 1) !== 0) return true;
    const flow = found >> 1;
    const record = flow * STRIDE;
    if (flows.words[record + KIND] !== KIND_REMOTE || (flows.words[record + FLAGS] & FLAG_SPLICED) === 0)
      return true;
    this.resetClient(record, sequence);
    end(flows, connections, flow);
    return true;
  }

  /** Both connections stand: that of the member began with the sequence number `own`. */
  private join(flow: number, own: number): void {
    const { flows } = this.state;
    const at = flow * STRIDE + FLAGS;
    flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA] -= own;
    flows.words[at] = (flows.words[at] & ~FLAG_SPLICING) | FLAG_SPLICED;
    flows.setState(flow, STATE_ESTABLISHED);
  }

  private ask(flow: number): void {
    const { flows, now } = this.state;
    const splice = flow * SPLICE_STRIDE;
    flows.splices[splice + SPLICE_ASKED]++;
    flows.splices[splice + SPLICE_ASKED_AT] = now | 0;
    const mss = COOKIE_MSS[(flows.splices[splice + SPLICE_ASKED] >> 8) & 7];
    this.tellMember(flow, TCP_SYN, flows.splices[splice + SPLICE_FIRST], 0, mss);
  }

  /** Sends the member a segment in the client's name. It is the packet at hand then. */
  private tellMember(
    flow: number,
    flags: number,
    sequence: number,
    acknowledgement: number,
    mss: number,
  ): void {
    const { state, segment } = this;
    const { flows, graph, packet, scratch, scratchView } = state;
    const at = flow * STRIDE;
    scratchView.setUint16(SCRATCH_START + 6, graph.macHigh);
    scratchView.setInt32(SCRATCH_START + 8, graph.macLow);
    segment.words = flows.words;
    segment.at = at + CLIENT;
    segment.ports = flows.words[at + PORTS];
    segment.sequence = sequence;
    segment.acknowledgement = acknowledgement;
    segment.flags = flags;
    segment.window = flows.splices[flow * SPLICE_STRIDE + SPLICE_ASKED] >>> 16;
    segment.mss = mss;
    const length = writeSegment(scratch, scratchView, SCRATCH_START, segment);
    parse(packet, scratch, SCRATCH_START, length);
    // It came by no port.
    state.ingress = PORT_SELF;
    this.path.translate(flow);
  }

  /** The member does not answer. */
  private giveUp(flow: number): void {
    const { flows, connections, graph } = this.state;
    const { words } = flows;
    const at = flow * STRIDE;
    const expected = (flows.splices[flow * SPLICE_STRIDE + SPLICE_DELTA] + 1) | 0;
    const sender = graph.macs.find(words[at + CLIENT_MAC_HIGH], words[at + CLIENT_MAC_LOW]);
    if (macKind(sender) === MAC_PEER) this.tellPeer(macIndex(sender), at, expected);
    else this.resetClient(at, expected);
    end(flows, connections, flow);
  }

  /** The engine that handed the connection on knows the way to its client. */
  private tellPeer(peer: number, at: number, expected: number): void {
    const { words } = this.state.flows;
    for (let i = 0; i < 8; i++) this.bodyView.setInt32(i * 4, words[at + CLIENT + i]);
    this.bodyView.setInt32(32, words[at + PORTS]);
    this.bodyView.setInt32(36, expected);
    const { state } = this;
    this.peers.send(peer, CONTROL_REFUSED, 0, state.random32(), state.random32(), this.body);
  }

  private resetClient(at: number, sequence: number): void {
    const { state, segment, ends } = this;
    const { graph, scratch, scratchView } = state;
    const { words } = state.flows;
    const high = words[at + CLIENT_MAC_HIGH];
    const low = words[at + CLIENT_MAC_LOW];
    scratchView.setUint16(SCRATCH_START, high);
    scratchView.setInt32(SCRATCH_START + 2, low);
    scratchView.setUint16(SCRATCH_START + 6, graph.macHigh);
    scratchView.setInt32(SCRATCH_START + 8, graph.macLow);
    for (let i = 0; i < 4; i++) {
      ends[i] = words[at + SERVICE + i];
      ends[4 + i] = words[at + CLIENT + i];
    }
    const ports = words[at + PORTS];
    segment.words = ends;
    segment.at = 0;
    segment.ports = (ports << 16) | (ports >>> 16);
    segment.sequence = sequence;
    segment.acknowledgement = 0;
    segment.flags = TCP_RST;
    segment.window = 0;
    segment.mss = 0;
    const length = writeSegment(scratch, scratchView, SCRATCH_START, segment);
    state.sendScratch(this.bridge.portOf(high, low), length);
  }
}
