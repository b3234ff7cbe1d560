/**
 * `weft flows` as one engine answers it: the flow table, filtered and put in order where it lies. A table may hold
 * millions, and packets wait meanwhile: it is looked through in slices, and the main thread (../flow-answers.ts) asks
 * for one after the other.
 */
import { formatAddress, parseAddress, parsePrefix } from '../../packet/address.ts';
import { Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../packet/parse.ts';
import {
  type EngineFlows,
  type FlowListing,
  type FlowQuestion,
  type FlowState,
  MOST_FLOWS,
} from '../../policy/answers.ts';
import {
  CLIENT,
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
  PROTOCOL,
  REVERSE,
  SERVICE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FREE,
  STATE_HALF_OPEN,
  STRIDE,
  TIER,
} from '../flow/flow-record.ts';
import type { PathState } from './path-state.ts';
import { newDecision } from './service-chain.ts';

/** Records looked at for one slice: some two milliseconds at the most. */
const SLICE = 16_384;

const KIND_NAMES: Record<number, FlowListing['kind']> = {
  [KIND_LOCAL]: 'local',
  [KIND_REMOTE]: 'remote',
  [KIND_FAR]: 'translated both ways',
  [KIND_DIRECT]: 'direct',
  [KIND_THROUGH]: 'through',
  [KIND_PROXIED]: 'proxied',
};
const STATE_NAMES: Record<number, FlowState> = {
  [STATE_HALF_OPEN]: 'half-open',
  [STATE_ESTABLISHED]: 'established',
  [STATE_CLOSING]: 'closing',
};
const STATES: Record<FlowState, number> = {
  'half-open': STATE_HALF_OPEN,
  established: STATE_ESTABLISHED,
  closing: STATE_CLOSING,
};

/** A part of the table. */
export interface FlowSliceQuestion extends FlowQuestion {
  /** The record to begin with. */
  from: number;
  /** Flows whose sorting figure is not above this are counted, but not listed; null lists any. */
  above: number | null;
}

export interface FlowSlice extends EngineFlows {
  /** Where the next slice begins, or null behind the last. */
  next: number | null;
}

/** The figure that a listing is sorted by. */
export function figureOf(flow: FlowListing, sort: FlowQuestion['sort']): number {
  return sort === 'bytes'
    ? flow.bytes
    : sort === 'packets'
      ? flow.packets
      : sort === 'idle'
        ? flow.idleMs
        : flow.ageMs;
}

export class FlowLister {
  private readonly state: PathState;
  private readonly packet = new Packet();
  private readonly decision = newDecision();

  constructor(state: PathState) {
    this.state = state;
  }

  /** One slice of the table. Throws an Error where the client is no address or prefix. */
  slice(question: FlowSliceQuestion): FlowSlice {
    const { flows, isLoaded } = this.state;
    const answer: FlowSlice = { flows: [], matched: 0, total: flows.size, next: null };
    if (!isLoaded) return answer;
    const fits = this.filterOf(question);
    const limit = Math.min(Math.max(0, question.limit), MOST_FLOWS);
    const best = new Best(limit);
    const { sort } = question;
    const floor = question.above ?? Number.NEGATIVE_INFINITY;
    const end = Math.min(flows.highWater, Math.max(0, question.from) + SLICE);
    for (let flow = Math.max(0, question.from); flow < end; flow++) {
      const at = flow * STRIDE;
      if (flows.words[at + STATE] === STATE_FREE || !fits(at)) continue;
      answer.matched++;
      flows.refresh(flow);
      const figure =
        sort === 'bytes'
          ? flows.traffic[flow * 2 + 1]
          : sort === 'packets'
            ? flows.traffic[flow * 2]
            : sort === 'idle'
              ? this.idleMs(at)
              : this.ageMs(flow);
      if (figure > floor) best.offer(flow, figure);
    }
    answer.flows = best.inOrder().map((flow) => this.list(flow));
    if (end < flows.highWater) answer.next = end;
    return answer;
  }

  /** One flow that lives, in few words: state, kind and member. */
  summary(flow: number): string {
    const { flows, graph } = this.state;
    const at = flow * STRIDE;
    const state = STATE_NAMES[flows.words[at + STATE]];
    const kind = KIND_NAMES[flows.words[at + KIND]];
    const member = flows.words[at + MEMBER];
    return `${state}, ${kind}, to ${member < 0 ? 'the proxy' : graph.source.members[member].vm}`;
  }

  /** One flow that lives, in words. */
  list(flow: number): FlowListing {
    const { flows, graph } = this.state;
    const words = flows.words;
    const at = flow * STRIDE;
    flows.refresh(flow);
    const tier = words[at + TIER];
    const service = tier < 0 ? null : graph.source.services[graph.tierService[tier]];
    const member = words[at + MEMBER] < 0 ? null : graph.source.members[words[at + MEMBER]];
    const text = (from: number) =>
      formatAddress(words[at + from], words[at + from + 1], words[at + from + 2], words[at + from + 3]);
    const ports = words[at + PORTS];
    const isForward = flows.isKernels(flow, FORWARD);
    const isReverse = flows.isKernels(flow, REVERSE);
    return {
      service: service?.name ?? '',
      tier: service?.tiers[graph.tierPosition[tier]].name ?? '',
      protocol: words[at + PROTOCOL] === PROTOCOL_TCP ? 'tcp' : 'udp',
      client: endpoint(text(CLIENT), ports >>> 16),
      address: endpoint(text(SERVICE), ports & 0xffff),
      member: member?.id ?? '',
      vm: member?.vm ?? '',
      kind: KIND_NAMES[words[at + KIND]],
      state: STATE_NAMES[words[at + STATE]],
      kernel: isForward ? (isReverse ? 'both' : 'forward') : isReverse ? 'reverse' : 'none',
      rule: this.ruleOf(at),
      idleMs: this.idleMs(at),
      ageMs: this.ageMs(flow),
      packets: flows.traffic[flow * 2],
      bytes: flows.traffic[flow * 2 + 1],
    };
  }

  private idleMs(at: number): number {
    return Math.max(0, ((this.state.now | 0) - this.state.flows.words[at + LAST_SEEN]) | 0);
  }

  private ageMs(flow: number): number {
    return Math.max(0, Math.floor(this.state.now / 100) - this.state.flows.bornAt[flow]) * 100;
  }

  /** What the components that judge every packet say of the flow; nothing is counted. */
  private ruleOf(at: number): string {
    const { flows, graph, chains } = this.state;
    const words = flows.words;
    const tier = words[at + TIER];
    if (tier < 0 || words[at + JUDGED] === 0) return '';
    const chain = chains[graph.tierService[tier]];
    if (!chain.judgesEstablished) return '';
    const { packet, decision } = this;
    const [c, s] = [at + CLIENT, at + SERVICE];
    packet.s0 = words[c];
    packet.s1 = words[c + 1];
    packet.s2 = words[c + 2];
    packet.s3 = words[c + 3];
    packet.d0 = words[s];
    packet.d1 = words[s + 1];
    packet.d2 = words[s + 2];
    packet.d3 = words[s + 3];
    packet.ipVersion = packet.s0 === 0 && packet.s1 === 0 && packet.s2 === 0xffff ? 4 : 6;
    packet.sourcePort = words[at + PORTS] >>> 16;
    packet.destinationPort = words[at + PORTS] & 0xffff;
    packet.protocol = words[at + PROTOCOL];
    decision.service = graph.tierService[tier];
    decision.tier = graph.tierPosition[tier];
    decision.isNewFlow = false;
    decision.isTrace = true;
    decision.member = words[at + MEMBER];
    decision.rule = -1;
    return chain.components
      .filter((component) => component.judgesEstablished)
      .map((component) => {
        component.process(packet, decision);
        return component.describe(decision);
      })
      .join('; ');
  }

  private filterOf(question: FlowQuestion): (at: number) => boolean {
    const { flows, graph } = this.state;
    const { words } = flows;
    const { service, member, state, protocol } = question;
    const wantedState = state === null ? 0 : STATES[state];
    const wantedProtocol = protocol === null ? 0 : protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
    const index = service === null ? -1 : graph.source.services.findIndex(({ name }) => name === service);
    const members = graph.source.members.map(
      ({ id, vm }) => member === null || id === member || vm === member,
    );
    const range = question.client === null ? null : rangeOf(question.client);
    return (at) => {
      if (wantedState !== 0 && words[at + STATE] !== wantedState) return false;
      if (wantedProtocol !== 0 && words[at + PROTOCOL] !== wantedProtocol) return false;
      if (service !== null) {
        const tier = words[at + TIER];
        if (tier < 0 || graph.tierService[tier] !== index) return false;
      }
      if (member !== null && members[words[at + MEMBER]] !== true) return false;
      return range === null || isWithin(range, words, at + CLIENT);
    };
  }
}

/** Words of a prefix, and their masks. */
export interface AddressRange {
  words: Int32Array;
  masks: Int32Array;
}

/** Throws an Error where the text is neither an address nor a prefix. */
export function rangeOf(text: string): AddressRange {
  const words = new Int32Array(4);
  const isPrefix = text.includes('/');
  let bits = isPrefix ? parsePrefix(text, words) : parseAddress(text, words) ? 128 : -1;
  if (bits < 0) throw new Error(`${text} is neither an address nor a prefix such as 10.0.0.0/8`);
  if (isPrefix && !text.includes(':')) bits += 96;
  const masks = Int32Array.from({ length: 4 }, (_, word) => {
    const inWord = Math.min(32, Math.max(0, bits - word * 32));
    return inWord === 0 ? 0 : -1 << (32 - inWord);
  });
  return { words, masks };
}

/** Whether the address whose four words begin at `at` lies in the range. */
export function isWithin({ words: wanted, masks }: AddressRange, words: Int32Array, at: number): boolean {
  for (let i = 0; i < 4; i++) if (((words[at + i] ^ wanted[i]) & masks[i]) !== 0) return false;
  return true;
}

/** An address and a port as people write them. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The so many flows with the greatest figures: a heap whose root is the least of them. */
class Best {
  private readonly limit: number;
  private readonly kept: { flow: number; figure: number }[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  offer(flow: number, figure: number): void {
    const { kept, limit } = this;
    if (kept.length < limit) {
      kept.push({ flow, figure });
      let at = kept.length - 1;
      while (at > 0) {
        const parent = (at - 1) >> 1;
        if (kept[parent]!.figure <= kept[at]!.figure) break;
        [kept[parent], kept[at]] = [kept[at]!, kept[parent]!];
        at = parent;
      }
      return;
    }
    if (limit === 0 || figure <= kept[0]!.figure) return;
    kept[0] = { flow, figure };
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [at * 2 + 1, at * 2 + 2]) {
        if (child < limit && kept[child]!.figure < kept[least]!.figure) least = child;
      }
      if (least === at) return;
      [kept[least], kept[at]] = [kept[at]!, kept[least]!];
      at = least;
    }
  }

  /** The greatest first; of equal ones the record that comes first. */
  inOrder(): number[] {
    return this.kept.sort((a, b) => b.figure - a.figure || a.flow - b.flow).map(({ flow }) => flow);
  }
}
