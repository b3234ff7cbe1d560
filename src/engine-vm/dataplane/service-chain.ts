/** The components of one service in the order of the policy, and how a packet walks them. */
import type { Packet } from '../../packet/packet.ts';
import { LoadBalancer } from '../balance/load-balancer.ts';
import { type Component, type Decision, PASS, type Verdict } from '../component/component.ts';

/** One decision, reused for every packet. */
export function newDecision(): Decision {
  return {
    service: -1,
    tier: -1,
    isNewFlow: false,
    member: -1,
    reason: 0,
    rule: -1,
    isMetered: false,
    isByHash: false,
    isTrace: false,
  };
}

/** Who is told each verdict of a chain. */
export interface Witness {
  judged(component: Component, verdict: Verdict, decision: Decision): void;
}

export class ServiceChain {
  /** Set while a packet is at hand that is captured. */
  witness: Witness | null = null;
  readonly service: string;
  readonly components: readonly Component[];
  readonly balancer: LoadBalancer;
  /** Whether any component judges packets of established flows. */
  readonly judgesEstablished: boolean;

  /** Throws where the chain does not hold exactly one load balancer: the policy's schema promises it. */
  constructor(service: string, components: readonly Component[]) {
    this.service = service;
    this.components = components;
    const balancers = components.filter((component) => component instanceof LoadBalancer);
    if (balancers.length !== 1) {
      throw new Error(
        `service graph refused: service ${service} needs one load balancer, has ${balancers.length}`,
      );
    }
    this.balancer = balancers[0];
    this.judgesEstablished = components.some((component) => component.judgesEstablished);
  }

  /** The whole chain: for the first packet of a flow. With PASS, `decision.member` is the choice. */
  run(packet: Packet, decision: Decision): Verdict {
    const components = this.components;
    for (let i = 0; i < components.length; i++) {
      const verdict = components[i].process(packet, decision);
      if (this.witness !== null) this.witness.judged(components[i], verdict, decision);
      if (verdict !== PASS) return verdict;
    }
    return PASS;
  }

  /** Only the components that judge every packet. */
  judge(packet: Packet, decision: Decision): Verdict {
    const components = this.components;
    for (let i = 0; i < components.length; i++) {
      if (!components[i].judgesEstablished) continue;
      const verdict = components[i].process(packet, decision);
      if (this.witness !== null) this.witness.judged(components[i], verdict, decision);
      if (verdict !== PASS) return verdict;
    }
    return PASS;
  }
}
