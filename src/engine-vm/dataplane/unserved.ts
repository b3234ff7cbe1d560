/**
 * Packets to an address that engines announce which are of no service there: echo requests are answered, others
 * refused.
 */
import { isEchoRequest, writeEchoReply } from '../../packet/icmp.ts';
import { PASS, REJECT } from '../component/component.ts';
import { dropIndex } from '../drops.ts';
import { type PathState, SCRATCH_START } from './path-state.ts';
import type { Refusals } from './refusals.ts';
import { newDecision } from './service-chain.ts';

const NOT_A_SERVICE = dropIndex('not-a-service');

/** Answers in the name of addresses that no VM owns. */
export class Unserved {
  private readonly state: PathState;
  private readonly refusals: Refusals;
  private readonly decision = newDecision();

  constructor(state: PathState, refusals: Refusals) {
    this.state = state;
    this.refusals = refusals;
  }

  /** Takes the packet at hand, to the announced address of that index. */
  take(port: number, address: number): void {
    const state = this.state;
    const { packet, scratch, scratchView } = state;
    if (isEchoRequest(packet)) {
      if (this.isEchoAllowed(port, address)) {
        state.sendScratch(port, writeEchoReply(packet, scratch, scratchView, SCRATCH_START));
      }
      return;
    }
    this.refusals.reset(port);
    state.drop(NOT_A_SERVICE);
  }

  /** An echo is answered where the firewall of any service at the address passes it. */
  private isEchoAllowed(port: number, address: number): boolean {
    const state = this.state;
    const services = state.graph.announcedServices[address];
    const decision = this.decision;
    let verdict: number = PASS;
    for (let i = 0; i < services.length; i++) {
      decision.service = services[i];
      decision.tier = 0;
      decision.isNewFlow = false;
      decision.member = -1;
      verdict = state.chains[services[i]].judge(state.packet, decision);
      if (verdict === PASS) return true;
    }
    if (verdict === REJECT) this.refusals.refuse(port);
    state.drop(decision.reason);
    return false;
  }
}
