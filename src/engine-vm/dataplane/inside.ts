/**
 * Whether the protected side lives: members beside this engine are asked for their MAC in turn (ARP, neighbour
 * solicitation), and any frame from one of them counts as an answer. Peers learn the result with their probes.
 */
import { writeArpRequest } from '../../packet/arp.ts';
import { writeSolicitation } from '../../packet/neighbour.ts';
import { type PathState, PORT_IN, SCRATCH_START } from './path-state.ts';

const ASK_EVERY_MS = 100;
const SILENT_AFTER_MS = 1000;

export class Inside {
  private readonly state: PathState;
  private heardAt = 0;
  private askedAt = 0;
  private turn = 0;
  private hadMembers = false;
  private readonly source = new Int32Array(4);

  constructor(state: PathState) {
    this.state = state;
  }

  /** A frame of a member beside this engine came in. */
  hear(): void {
    this.heardAt = this.state.now;
  }

  /** A new graph is in force: the first members get their second to answer. */
  load(): void {
    const hasMembers = this.state.graph.localMembers.length > 0;
    if (hasMembers && !this.hadMembers) this.hear();
    this.hadMembers = hasMembers;
  }

  /** Null where there is nobody to ask. */
  get isAlive(): boolean | null {
    if (!this.hadMembers) return null;
    return this.state.now - this.heardAt < SILENT_AFTER_MS;
  }

  tick(): void {
    const state = this.state;
    const { graph, scratch, scratchView } = state;
    const count = graph.localMembers.length;
    if (count === 0 || state.now - this.askedAt < ASK_EVERY_MS) return;
    this.askedAt = state.now;
    this.turn = (this.turn + 1) % count;
    const member = graph.localMembers[this.turn];
    const high = graph.memberMacHigh[member];
    const low = graph.memberMacLow[member];
    if (graph.memberHasIpv4[member] === 1) {
      // Without an own address the sender is 0.0.0.0: a probe in the sense of RFC 5227, answered all the same.
      const source = this.findSource(true) ? this.source[3] : 0;
      const target = graph.memberIpv4[member * 4 + 3];
      state.sendScratch(
        PORT_IN,
        writeArpRequest(scratchView, SCRATCH_START, high, low, graph.macHigh, graph.macLow, source, target),
      );
    } else if (graph.memberHasIpv6[member] === 1) {
      if (!this.findSource(false)) this.takeLinkLocal();
      const length = writeSolicitation(
        scratch,
        scratchView,
        SCRATCH_START,
        high,
        low,
        graph.macHigh,
        graph.macLow,
        this.source,
        0,
        graph.memberIpv6,
        member * 4,
      );
      state.sendScratch(PORT_IN, length);
    }
  }

  private findSource(isIpv4: boolean): boolean {
    const { ownAddresses: own, ownAddressCount } = this.state.graph;
    for (let at = 0; at < ownAddressCount * 4; at += 4) {
      if ((own[at] === 0 && own[at + 1] === 0 && own[at + 2] === 0xffff) !== isIpv4) continue;
      for (let i = 0; i < 4; i++) this.source[i] = own[at + i];
      return true;
    }
    return false;
  }

  /** The link-local address that RFC 4291 appendix A makes of the own MAC. */
  private takeLinkLocal(): void {
    const { macHigh, macLow } = this.state.graph;
    this.source[0] = 0xfe800000 | 0;
    this.source[1] = 0;
    this.source[2] = ((macHigh ^ 0x0200) << 16) | ((macLow >>> 16) & 0xff00) | 0xff;
    this.source[3] = (0xfe << 24) | (macLow & 0xffffff);
  }
}
