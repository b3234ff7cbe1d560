/** Answers to packets that are refused: a TCP reset, or an ICMP error, sent back where the packet came from. */
import { writeIcmpProhibited, writeIcmpTooBig } from '../../packet/icmp.ts';
import { PROTOCOL_TCP } from '../../packet/parse.ts';
import { writeTcpReset } from '../../packet/tcp.ts';
import { type PathState, SCRATCH_START } from './path-state.ts';
import { TokenBucket } from './token-bucket.ts';

/** Most resets, and most ICMP errors, a second: we must not become somebody's amplifier (RFC 1812 section 4.3.2.8). */
const RESETS_PER_SECOND = 10_000;
const ERRORS_PER_SECOND = 1000;

export class Refusals {
  private readonly state: PathState;
  private readonly resets = new TokenBucket(RESETS_PER_SECOND);
  private readonly errors = new TokenBucket(ERRORS_PER_SECOND);

  constructor(state: PathState) {
    this.state = state;
  }

  /** Tells the sender of the packet at hand, which came from `port`, that it is refused. */
  refuse(port: number): void {
    if (this.state.packet.protocol === PROTOCOL_TCP) this.reset(port);
    else if (this.errors.take(this.state.now)) {
      const { packet, scratch, scratchView } = this.state;
      this.state.sendScratch(port, writeIcmpProhibited(packet, scratch, scratchView, SCRATCH_START));
    }
  }

  /** Tells the sender of the packet at hand, which came from `port`, that no more than `mtu` bytes pass. */
  tooBig(port: number, mtu: number): void {
    const { packet, scratch, scratchView, now } = this.state;
    if (!this.errors.take(now)) return;
    this.state.sendScratch(port, writeIcmpTooBig(packet, scratch, scratchView, SCRATCH_START, mtu));
  }

  /** Resets the TCP connection of the packet at hand; nothing where it is not TCP, or a reset itself. */
  reset(port: number): void {
    const { packet, scratch, scratchView } = this.state;
    if (packet.protocol !== PROTOCOL_TCP || !this.resets.take(this.state.now)) return;
    this.state.sendScratch(port, writeTcpReset(packet, scratch, scratchView, SCRATCH_START));
  }
}
