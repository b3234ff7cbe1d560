/**
 * The bump in the wire: passes on, unchanged, what no policy names. Members of one host are isolated from each other
 * by their switch, so frames between them are turned round here.
 */
import {
  destinationHigh,
  destinationLow,
  isGroup,
  sourceHigh,
  sourceLow,
  writeDestination,
} from '../../packet/ethernet.ts';
import { MAC_LOCAL_MEMBER, MAC_PEER, MAC_SELF, macKind } from './compiled-graph.ts';
import { LearnedMacs } from './learned-macs.ts';
import { type PathState, PORT_IN, PORT_OUT, PORT_SELF } from './path-state.ts';

/** Most copies of one broadcast to MACs that no graph names: who invents MACs must not multiply traffic. */
const MAX_LEARNED_COPIES = 64;

export class Bridge {
  private readonly state: PathState;
  private readonly learned = new LearnedMacs();
  private readonly copyToLearned: (high: number, low: number) => void;
  private learnedCopies = 0;
  private senderHigh = 0;
  private senderLow = 0;

  constructor(state: PathState) {
    this.state = state;
    this.copyToLearned = (high, low) => {
      if (this.learnedCopies === MAX_LEARNED_COPIES) return;
      if (state.isLoaded && state.graph.macs.find(high, low) >= 0) return;
      this.learnedCopies++;
      this.copyTo(high, low);
    };
  }

  /** Notes on which side the sender of the packet at hand lives; `source` is its value in the graph's MAC table. */
  learn(port: number, source: number): void {
    if (source >= 0 || port === PORT_SELF) return;
    const packet = this.state.packet;
    const high = sourceHigh(packet);
    if (isGroup(high)) return;
    if (port === PORT_IN) this.learned.learn(high, sourceLow(packet), this.state.now);
    else this.learned.forget(high, sourceLow(packet));
  }

  /** The port behind which a MAC lives. */
  portOf(high: number, low: number): number {
    const state = this.state;
    if (state.isLoaded) {
      const value = state.graph.macs.find(high, low);
      if (value >= 0) {
        const kind = macKind(value);
        return kind === MAC_LOCAL_MEMBER ? PORT_IN : kind === MAC_SELF ? PORT_SELF : PORT_OUT;
      }
    }
    return this.learned.has(high, low, state.now) ? PORT_IN : PORT_OUT;
  }

  /** Passes the packet at hand on. */
  forward(port: number): void {
    const state = this.state;
    const packet = state.packet;
    const high = destinationHigh(packet);
    const low = destinationLow(packet);
    if (isGroup(high)) {
      this.flood(port);
      return;
    }
    const value = state.isLoaded ? state.graph.macs.find(high, low) : -1;
    const kind = macKind(value);
    if (kind === MAC_SELF) {
      if (port !== PORT_SELF) state.send(PORT_SELF);
      return;
    }
    const isInside = kind === MAC_LOCAL_MEMBER || (kind === 0 && this.learned.has(high, low, state.now));
    if (port === PORT_OUT) {
      // A switch floods what it has not learned: other engines are certainly not behind us.
      if (kind !== MAC_PEER) state.send(PORT_IN);
      return;
    }
    if (!isInside) {
      state.send(PORT_OUT);
      return;
    }
    // To itself: a switch that reflects. Anything else between members of this host goes back in.
    if (port === PORT_IN && high === sourceHigh(packet) && low === sourceLow(packet)) return;
    state.send(PORT_IN);
  }

  private flood(port: number): void {
    const state = this.state;
    if (port !== PORT_OUT) state.send(PORT_OUT);
    if (port !== PORT_SELF && state.isLoaded) state.send(PORT_SELF);
    if (port !== PORT_IN) {
      state.send(PORT_IN);
      return;
    }
    // A broadcast from inside must not come back to its sender (duplicate address detection would fail), and the
    // switch keeps members apart: the others get a copy each.
    const packet = state.packet;
    const high = destinationHigh(packet);
    const low = destinationLow(packet);
    this.senderHigh = sourceHigh(packet);
    this.senderLow = sourceLow(packet);
    if (state.isLoaded) {
      const graph = state.graph;
      const local = graph.localMembers;
      for (let i = 0; i < local.length; i++) {
        this.copyTo(graph.memberMacHigh[local[i]], graph.memberMacLow[local[i]]);
      }
    }
    this.learnedCopies = 0;
    this.learned.each(state.now, this.copyToLearned);
    writeDestination(packet, high, low);
  }

  private copyTo(high: number, low: number): void {
    if (high === this.senderHigh && low === this.senderLow) return;
    writeDestination(this.state.packet, high, low);
    this.state.send(PORT_IN);
  }
}
