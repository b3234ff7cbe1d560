/**
 * Tells the switches above where a member is reached now. When a NIC comes to stand behind this engine, a switch may go
 * on sending to the port or uplink where it last heard the MAC, until the member itself says something: so the engine
 * says it, by a reverse ARP request in the member's name, as a hypervisor does after a migration.
 *
 * In the other direction there is nothing to tell from here: a frame of ours would draw the member's traffic to us. Its
 * own port, and the hypervisor's own reverse ARP after a migration, do that.
 */
import { RARP_LENGTH, writeRarpRequest } from '../../packet/arp.ts';
import { type PathState, PORT_OUT, SCRATCH_START } from './path-state.ts';

/** Milliseconds after the graph has put the NIC behind this engine: the NIC itself moves a moment later. */
const TELL_AT_MS = [50, 250, 1000];
/** What is sent per tick, so that hundreds of members are no storm. */
const PER_TICK = 32;

interface Told {
  readonly high: number;
  readonly low: number;
  readonly since: number;
  told: number;
}

export class MemberAnnouncer {
  private readonly state: PathState;
  private members = new Map<string, Told>();
  private pending: Told[] = [];

  constructor(state: PathState) {
    this.state = state;
  }

  /** A new graph is in force: members that were here before are not told again, those that left are not told at all. */
  load(): void {
    const { graph, now } = this.state;
    const members = new Map<string, Told>();
    for (const index of graph.localMembers) {
      const high = graph.memberMacHigh[index];
      const low = graph.memberMacLow[index];
      const key = `${high}/${low}`;
      members.set(key, this.members.get(key) ?? { high, low, since: now, told: 0 });
    }
    this.members = members;
    this.pending = [...members.values()].filter(({ told }) => told < TELL_AT_MS.length);
  }

  tick(): void {
    if (this.pending.length === 0) return;
    const { now, scratchView } = this.state;
    let left = PER_TICK;
    let isDone = false;
    for (let i = 0; i < this.pending.length && left > 0; i++) {
      const member = this.pending[i];
      if (now - member.since < TELL_AT_MS[member.told]) continue;
      writeRarpRequest(scratchView, SCRATCH_START, member.high, member.low);
      this.state.sendScratch(PORT_OUT, RARP_LENGTH);
      left--;
      if (++member.told === TELL_AT_MS.length) isDone = true;
    }
    if (isDone) this.pending = this.pending.filter(({ told }) => told < TELL_AT_MS.length);
  }
}
