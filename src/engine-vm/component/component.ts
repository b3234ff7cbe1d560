/**
 * What a service component is. A chain of them judges the packets that clients send to a service, in the order of
 * the policy. To add one: write its file here, add its line to registry.ts (docs/adding-a-component.md).
 *
 * No component allocates, awaits or throws in `process`.
 */
import type { Packet } from '../../packet/packet.ts';

/** Verdicts, as small integers. */
export const PASS = 0;
/** Silently discard; `Decision.reason` names the drop (drops.ts). */
export const DROP = 1;
/** Discard and answer: TCP reset, else ICMP unreachable. */
export const REJECT = 2;
export type Verdict = typeof PASS | typeof DROP | typeof REJECT;

/** What the chain knows and decides about the packet at hand. One object, reused for every packet. */
export interface Decision {
  service: number;
  tier: number;
  /** True for the first packet of a flow. */
  isNewFlow: boolean;
  /** Index of the chosen member in the graph, -1 while none is. */
  member: number;
  /** Index into DROPS, set with DROP or REJECT. */
  reason: number;
  /** The rule that decided, for traces: index into the component's own list, -1 for none. */
  rule: number;
  /** Every packet of the flow has to be judged: a rate of packets or bytes is limited. */
  isMetered: boolean;
  /** There is no room for the flow: the member is to be chosen by hash, the same for all its packets. */
  isByHash: boolean;
  /** True in `weft trace`: decide, but count and remember nothing. */
  isTrace: boolean;
}

export interface Component {
  /** As in the policy: `firewall`, `load-balancer`. */
  readonly type: string;
  /** False where the verdict on the first packet holds for the flow (the balancer); true where each packet is judged. */
  readonly judgesEstablished: boolean;
  process(packet: Packet, decision: Decision): Verdict;
  /** Takes the time, at every tick; true where verdicts differ from now on, also for established flows. */
  advance?(): boolean;
  /** For traces: one line on what `process` just did with this decision. */
  describe(decision: Decision): string;
  /** Packets by rule or outcome since boot. */
  counters(): Record<string, number>;
}
