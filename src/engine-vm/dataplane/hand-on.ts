/**
 * Members that hand the same packet on: which tiers of the service have seen the packet at hand. A peer says it with
 * the MAC that it sends to, which names a member and so a tier; a member beside this engine with its own MAC, and only
 * of packets of a flow that it was given. See docs/design/marker.md.
 */
import { FORWARD, KIND, KIND_THROUGH, MEMBER, MOST_STAGES, STRIDE } from '../flow/flow-record.ts';
import { MAC_LOCAL_MEMBER, MAC_OTHER_MEMBER, macIndex, macKind } from './compiled-graph.ts';
import type { Fragments } from './fragments.ts';
import { type PathState, PORT_IN } from './path-state.ts';

/** A member sent the packet on, but not by the engine beside it. */
export const HANDED_PAST_ENGINE = -1;
/** A peer sent the packet to a member that is in no tier which it can reach. */
export const OF_NO_TIER = -2;

export class HandOn {
  private readonly state: PathState;
  private readonly fragments: Fragments;

  constructor(state: PathState, fragments: Fragments) {
    this.state = state;
    this.fragments = fragments;
  }

  /**
   * How many tiers have seen the packet at hand, or one of the two above. `source` and `destination` are the values of
   * its MACs.
   */
  stageOf(port: number, isFromPeer: boolean, source: number, destination: number): number {
    const { packet, graph } = this.state;
    const kind = macKind(isFromPeer ? destination : source);
    if (kind !== MAC_LOCAL_MEMBER && (isFromPeer || kind !== MAC_OTHER_MEMBER)) return 0;
    const member = macIndex(isFromPeer ? destination : source);
    if (!isFromPeer && graph.memberHandsOn[member] === 0) return 0;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    const head = graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
    if (head < 0 || graph.tierHandsOn[head] === 0) return 0;
    const last = graph.lastTier(head);
    if (isFromPeer) {
      // In two tiers it can only be taken for one: as the later one it cannot go in circles.
      for (let tier = last; tier >= head; tier--) if (graph.isInTier(tier, member)) return tier - head;
      return OF_NO_TIER;
    }
    if (graph.isAddressOf(member, packet)) return 0;
    if (port === PORT_IN && kind === MAC_LOCAL_MEMBER) return this.seenBy(member, last - head);
    for (let tier = head; tier < last; tier++) if (graph.isInTier(tier, member)) return HANDED_PAST_ENGINE;
    return 0;
  }

  /** The same for a later fragment, which shows no ports. */
  stageOfFragment(isFromPeer: boolean, source: number, destination: number): number {
    const { state } = this;
    const mac = isFromPeer ? destination : source;
    if (macKind(mac) !== MAC_LOCAL_MEMBER) return 0;
    if (!isFromPeer && state.graph.memberHandsOn[macIndex(mac)] === 0) return 0;
    for (let stage = MOST_STAGES - 1; stage >= 0; stage--) {
      state.stage = stage;
      const found = this.fragments.find();
      if (found < 0 || (found & 1) !== FORWARD) continue;
      const at = (found >> 1) * STRIDE;
      if (state.flows.words[at + MEMBER] !== macIndex(mac)) continue;
      if (isFromPeer) return stage;
      if (state.flows.words[at + KIND] === KIND_THROUGH) return state.flows.offsetOf(found >> 1) + 1;
    }
    return 0;
  }

  /** How many tiers have seen a packet that a member beside us sends: those up to its own, if it was given the flow. */
  private seenBy(member: number, most: number): number {
    const { packet, flows } = this.state;
    let seen = 0;
    for (let stage = 0; stage < most; stage++) {
      const found = flows.find(packet, stage);
      if (found < 0 || (found & 1) !== FORWARD) continue;
      const at = (found >> 1) * STRIDE;
      if (flows.words[at + KIND] !== KIND_THROUGH || flows.words[at + MEMBER] !== member) continue;
      seen = Math.max(seen, flows.offsetOf(found >> 1) + 1);
    }
    return seen;
  }
}
