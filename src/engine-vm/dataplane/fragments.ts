/**
 * Fragments: only the first one of a datagram bears ports, so it is remembered for two seconds by addresses,
 * identification and protocol, and those that follow take its flow. Bounded: 1024 sets of four, the oldest makes room.
 */
import { hashFlow } from '../flow/flow-hash.ts';
import { STRIDE as FLOW_STRIDE, GENERATION } from '../flow/flow-record.ts';
import type { PathState } from './path-state.ts';

const SETS = 1024;
const WAYS = 4;
const STRIDE = 16;
/** Words of a slot behind the two addresses. */
const ID = 8;
const PROTOCOL = 9;
const REFERENCE = 10;
const GENERATION_SEEN = 11;
const SEEN = 12;
const AGE_MS = 2000;

export class Fragments {
  private readonly state: PathState;
  /** Addresses, then the words above; REFERENCE is flow * 2 + direction + 1, 0 where the slot is free. */
  private readonly slots = new Int32Array(SETS * WAYS * STRIDE);

  constructor(state: PathState) {
    this.state = state;
  }

  /** Notes the flow (`flow * 2 + direction`) of the first fragment at hand, before it is translated. */
  remember(reference: number): void {
    const packet = this.state.packet;
    if (packet.fragmentOffset !== 0) return;
    const slots = this.slots;
    const base = this.base();
    let victim = base;
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (slots[at + REFERENCE] !== 0 && this.isSame(at)) {
        victim = at;
        break;
      }
      if (slots[victim + REFERENCE] === 0) continue;
      if (slots[at + REFERENCE] === 0 || ((slots[victim + SEEN] - slots[at + SEEN]) | 0) > 0) victim = at;
    }
    slots[victim] = packet.s0;
    slots[victim + 1] = packet.s1;
    slots[victim + 2] = packet.s2;
    slots[victim + 3] = packet.s3;
    slots[victim + 4] = packet.d0;
    slots[victim + 5] = packet.d1;
    slots[victim + 6] = packet.d2;
    slots[victim + 7] = packet.d3;
    slots[victim + ID] = packet.fragmentId;
    slots[victim + PROTOCOL] = packet.protocol | (this.state.stage << 8);
    slots[victim + REFERENCE] = reference + 1;
    slots[victim + GENERATION_SEEN] = this.state.flows.words[(reference >> 1) * FLOW_STRIDE + GENERATION];
    slots[victim + SEEN] = this.state.now | 0;
  }

  /** `flow * 2 + direction` of the later fragment at hand, or -1. */
  find(): number {
    const { now, flows } = this.state;
    const slots = this.slots;
    const base = this.base();
    for (let at = base; at < base + WAYS * STRIDE; at += STRIDE) {
      if (slots[at + REFERENCE] === 0 || !this.isSame(at)) continue;
      if ((((now | 0) - slots[at + SEEN]) | 0) >= AGE_MS) return -1;
      const reference = slots[at + REFERENCE] - 1;
      const generation = flows.words[(reference >> 1) * FLOW_STRIDE + GENERATION];
      return generation === slots[at + GENERATION_SEEN] ? reference : -1;
    }
    return -1;
  }

  /** Forgets everything: references do not outlive the flow table. */
  clear(): void {
    this.slots.fill(0);
  }

  private base(): number {
    const { s0, s1, s2, s3, d0, d1, d2, d3, fragmentId, protocol } = this.state.packet;
    return (hashFlow(0, protocol, s0, s1, s2, s3, d0, d1, d2, d3, fragmentId) & (SETS - 1)) * WAYS * STRIDE;
  }

  private isSame(at: number): boolean {
    const packet = this.state.packet;
    const slots = this.slots;
    return (
      slots[at + ID] === packet.fragmentId &&
      slots[at + PROTOCOL] === (packet.protocol | (this.state.stage << 8)) &&
      slots[at + 3] === packet.s3 &&
      slots[at + 7] === packet.d3 &&
      slots[at] === packet.s0 &&
      slots[at + 1] === packet.s1 &&
      slots[at + 2] === packet.s2 &&
      slots[at + 4] === packet.d0 &&
      slots[at + 5] === packet.d1 &&
      slots[at + 6] === packet.d2
    );
  }
}
