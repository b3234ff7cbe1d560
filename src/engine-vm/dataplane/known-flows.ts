/**
 * Packets of flows that the table knows, and fragments of such: whether the flow still applies, whether the packet may
 * pass, and then on its way (flow-path.ts).
 */
import { PROTOCOL_TCP, TCP_ACK, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import { dropIndex } from '../drops.ts';
import { end, track } from '../flow/flow-life.ts';
import {
  FLAG_METERED,
  FLAG_SPLICED,
  FLAG_SPLICING,
  FLAGS,
  FORWARD,
  JUDGED,
  KIND,
  KIND_DIRECT,
  KIND_FAR,
  KIND_LOCAL,
  KIND_PROXIED,
  KIND_REMOTE,
  KIND_THROUGH,
  LAST_SEEN,
  MEMBER,
  PORTS,
  RELAY,
  REVERSE,
  STATE,
  STATE_CLOSING,
  STATE_HALF_OPEN,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import type { Bypasses } from './bypasses.ts';
import { MAC_LOCAL_MEMBER, MAC_SELF, macKind, PLACE_HERE, PLACE_NO_ENGINE } from './compiled-graph.ts';
import type { Entry } from './entry.ts';
import type { FlowPath } from './flow-path.ts';
import type { Fragments } from './fragments.ts';
import type { MemberHealth } from './member-health.ts';
import type { MemberSide } from './member-side.ts';
import { type PathState, PORT_IN } from './path-state.ts';
import type { Refusals } from './refusals.ts';
import type { Splicer } from './splicer.ts';

/** After this much silence nobody repeats data of a connection that both sides have closed. */
const LAST_WORDS_MS = 1000;
const NO_FLOW = dropIndex('no-flow');

/** Takes packets whose flow was found. */
export class KnownFlows {
  private readonly state: PathState;
  private readonly path: FlowPath;
  private readonly fragments: Fragments;
  private readonly entry: Entry;
  private readonly memberSide: MemberSide;
  private readonly splicer: Splicer;
  private readonly refusals: Refusals;
  private readonly health: MemberHealth;
  private readonly bypasses: Bypasses;

  constructor(
    state: PathState,
    path: FlowPath,
    fragments: Fragments,
    entry: Entry,
    memberSide: MemberSide,
    splicer: Splicer,
    refusals: Refusals,
    health: MemberHealth,
    bypasses: Bypasses,
  ) {
    this.state = state;
    this.path = path;
    this.fragments = fragments;
    this.entry = entry;
    this.memberSide = memberSide;
    this.splicer = splicer;
    this.refusals = refusals;
    this.health = health;
    this.bypasses = bypasses;
  }

  /**
   * Takes the packet at hand of a flow, `found` as the table said it; false where the flow does not apply (any more).
   * `destination` is the value of the packet's MAC; `isHere`: the packet was sent to this engine's side.
   */
  take(port: number, found: number, isFromPeer: boolean, isHere: boolean, destination: number): boolean {
    return (found & 1) === FORWARD
      ? this.takeForward(port, found >> 1, isFromPeer, isHere, destination)
      : this.takeReverse(port, found >> 1, macKind(destination));
  }

  /** Takes the later fragment at hand, which bears no ports, where its first one was of a flow that still applies. */
  takeFragment(port: number, isFromPeer: boolean, isHere: boolean): boolean {
    const { packet, flows, connections, now } = this.state;
    const found = this.fragments.find();
    if (found < 0) return false;
    const flow = found >> 1;
    const at = flow * STRIDE;
    const kind = flows.words[at + KIND];
    if ((found & 1) === REVERSE) {
      if (kind === KIND_PROXIED || (port !== PORT_IN && kind !== KIND_FAR)) return false;
      track(flows, connections, flow, REVERSE, packet, now);
      this.path.reverse(flow);
      return true;
    }
    if (!isHere || (isFromPeer && kind !== KIND_LOCAL && kind !== KIND_THROUGH)) return false;
    const isMetered = (flows.words[at + FLAGS] & FLAG_METERED) !== 0;
    if (isMetered && !this.judgeFragment(port, flow)) return true;
    track(flows, connections, flow, FORWARD, packet, now);
    this.path.forward(flow);
    return true;
  }

  /** A packet from the client's side of a known flow; false where the flow does not apply (any more). */
  private takeForward(
    port: number,
    flow: number,
    isFromPeer: boolean,
    isHere: boolean,
    destination: number,
  ): boolean {
    const state = this.state;
    const { packet, flows, connections } = state;
    const words = flows.words;
    const at = flow * STRIDE;
    if (isFromPeer && (words[at + KIND] !== KIND_DIRECT || words[at + TIER] >= 0)) {
      this.memberSide.receive(flow);
      return true;
    }
    if (!isHere) return false;
    const isDirect = words[at + KIND] === KIND_DIRECT;
    if (isDirect && destination !== (MAC_LOCAL_MEMBER << 24) + words[at + MEMBER]) return false;
    if (words[at + KIND] === KIND_THROUGH && !this.canHandOn(at)) {
      // Nothing of the connection ends with this member: another one takes its place, or none.
      const tier = words[at + TIER];
      end(flows, connections, flow);
      this.entry.begin(port, tier, true);
      return true;
    }
    if (this.isToBeginAnew(at)) {
      end(flows, connections, flow);
      return false;
    }
    const isJudged = words[at + JUDGED] === state.epoch && (words[at + FLAGS] & FLAG_METERED) === 0;
    if (!isJudged && !this.entry.judge(port, flow)) return true;
    if (words[at + KIND] === KIND_REMOTE && this.isGivenUp(at)) {
      end(flows, connections, flow);
      this.refusals.reset(port);
      state.drop(NO_FLOW);
      return true;
    }
    track(flows, connections, flow, FORWARD, packet, state.now);
    this.path.forward(flow);
    return true;
  }

  /** A packet from the member's side of a known flow; false where it cannot be the member's. */
  private takeReverse(port: number, flow: number, destinationKind: number): boolean {
    const state = this.state;
    const { flows, connections, graph } = state;
    const at = flow * STRIDE;
    // What the engine's stack answers comes by its own port (proxied.ts).
    if (flows.words[at + KIND] === KIND_PROXIED) return false;
    const isInside = graph.memberPlace[flows.words[at + MEMBER]] === PLACE_HERE;
    if (isInside && port !== PORT_IN) return false;
    if (flows.words[at + KIND] === KIND_FAR && destinationKind !== MAC_SELF) return false;
    if (this.splicer.isOpening(flow)) {
      this.splicer.receive(flow);
      return true;
    }
    track(flows, connections, flow, REVERSE, state.packet, state.now);
    this.path.reverse(flow);
    return true;
  }

  /** Whether the flow's member, which hands packets on, can be had still. */
  private canHandOn(at: number): boolean {
    const { flows, graph } = this.state;
    const member = flows.words[at + MEMBER];
    if (graph.memberPlace[member] === PLACE_NO_ENGINE) return false;
    return this.health.isUp(graph.tierPool[flows.words[at + TIER]], member);
  }

  /** Whether the packet at hand is of another connection than the flow, or of one that needs a new choice: its member died. */
  private isToBeginAnew(at: number): boolean {
    const { packet, flows, graph } = this.state;
    const words = flows.words;
    const state = words[at + STATE];
    if (packet.protocol === PROTOCOL_TCP) {
      if ((packet.tcpFlags & (TCP_SYN | TCP_ACK | TCP_RST)) !== TCP_SYN)
        return (
          (state === STATE_CLOSING && this.isOfLaterConnection(at)) ||
          ((state === STATE_CLOSING || state === STATE_HALF_OPEN) && this.isProven(at))
        );
      if (state === STATE_CLOSING) return true;
      if (state !== STATE_HALF_OPEN) return false;
    }
    const tier = words[at + TIER];
    const kind = words[at + KIND];
    if (tier < 0 || kind === KIND_DIRECT || kind === KIND_PROXIED) return false;
    return !this.health.isUp(graph.tierPool[tier], words[at + MEMBER]);
  }

  /**
   * Whether the packet brings a cookie back that the kernel's program gave: the SYN before it, repeated or of a later
   * connection, did not come up, and the flow's member knows nothing of what its client takes for granted.
   */
  private isProven(at: number): boolean {
    const { words } = this.state.flows;
    if (words[at + KIND] === KIND_REMOTE || (words[at + FLAGS] & (FLAG_SPLICED | FLAG_SPLICING)) !== 0)
      return false;
    return this.splicer.check(words[at + TIER]);
  }

  /**
   * Whether data comes long after a connection was closed. The client port was used again through another engine, which
   * has died: the flow's member would reset the later connection.
   */
  private isOfLaterConnection(at: number): boolean {
    const { packet, flows, now } = this.state;
    if (packet.l4 === 0 || (((now | 0) - flows.words[at + LAST_SEEN]) | 0) < LAST_WORDS_MS) return false;
    return packet.end - packet.l4 > (packet.view.getUint8(packet.l4 + 12) >> 4) * 4;
  }

  /** Whether a flow waits for its bypassed member's engine in vain: its client shall not hang for ever. */
  private isGivenUp(at: number): boolean {
    const { flows, graph, now } = this.state;
    const member = flows.words[at + MEMBER];
    if (graph.memberPlace[member] !== PLACE_NO_ENGINE || flows.words[at + RELAY] >= 0) return false;
    const tier = flows.words[at + TIER];
    // What needs no translation needs no engine.
    if (tier >= 0 && graph.tierIsDsr[tier] === 1) return false;
    return !this.bypasses.isWorthWaiting(member, now);
  }

  /** Judges a later fragment as what it is part of: it bears no ports of its own. */
  private judgeFragment(port: number, flow: number): boolean {
    const { packet, flows } = this.state;
    const ports = flows.words[flow * STRIDE + PORTS];
    packet.sourcePort = ports >>> 16;
    packet.destinationPort = ports & 0xffff;
    const isAllowed = this.entry.judge(port, flow);
    packet.sourcePort = 0;
    packet.destinationPort = 0;
    return isAllowed;
  }
}
