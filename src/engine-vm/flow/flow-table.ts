/**
 * The flow table: what was decided about each flow, found by the key of a packet of either direction.
 *
 * A flow is a record of 32 words in one typed array (flow-record.ts). Its forward key is the packet as the client sends
 * it, its reverse key the packet as the member answers it; both lead to the record through one index with open
 * addressing (linear probes, backward-shift deletion, at most half full). IPv4 and IPv6 share the key. A table of n
 * flows takes about 200 bytes times n, all of it at the start; nothing is allocated later.
 */
import type { Packet } from '../../packet/packet.ts';
import type { FlowSlots } from '../fastpath/flow-slots.ts';
import type { SlotTunnel } from '../fastpath/tunnel-heads.ts';
import { askForLargePages } from '../kernel/large-pages.ts';
import { hashIpv4Key, hashKey } from './flow-hash.ts';
import type { FlowMemory } from './flow-memory.ts';
import {
  CLIENT,
  FLAG_FAST_FORWARD,
  FLAG_HAS_REVERSE,
  FLAGS,
  FLAGS_FAST,
  FORWARD,
  GENERATION,
  JUDGED,
  KIND,
  LAST_SEEN,
  MEMBER,
  MEMBER_SIDE,
  MOST_STAGES,
  NEXT,
  OFFSET_SHIFT,
  PORTS,
  PROTOCOL,
  RELAY,
  REVERSE,
  SERVICE,
  SPLICE_STRIDE,
  STAGE_MASK,
  STAGE_SHIFT,
  STATE,
  STATE_CLOSING,
  STATE_FREE,
  STATE_HALF_OPEN,
  STRIDE,
  TIER,
} from './flow-record.ts';
import { HalfOpenFlows } from './half-open-flows.ts';

export class FlowTable {
  /** Most flows. */
  readonly capacity: number;
  /** The records; `flow * STRIDE + FIELD`. */
  words: Int32Array;
  /** Packets, then bytes, per flow. */
  traffic: Float64Array;
  /** Of flows that SYN cookies began; `flow * SPLICE_STRIDE + field`. */
  splices: Int32Array;
  /** Where the records lie, so that they outlive the process; null where they are this process's alone. */
  memory: FlowMemory | null = null;
  /** When each flow began, tenths of a second of the monotonic clock. */
  readonly bornAt: Int32Array;
  /** Flows in the table, half-open ones included. */
  size = 0;
  /** Those of them that nothing proves yet. */
  readonly halfOpen: HalfOpenFlows;
  /** No record at or above this one was ever in use. */
  highWater = 0;
  /** What the kernel forwards by itself; null where TypeScript sees every packet. */
  slots: FlowSlots | null = null;

  private readonly seed: number;
  private readonly mask: number;
  /** Hash, then reference + 1 (flow * 2 + direction + 1; 0 where free), per slot. */
  private readonly index: Int32Array;
  private firstFree = 0;
  private sweepAt = 0;

  /** `seed`: any 32-bit number that others cannot guess. `memory`: where the records shall lie, empty or as they were left. */
  constructor(capacity: number, seed: number, memory: FlowMemory | null = null) {
    this.capacity = capacity;
    this.seed = seed | 0;
    this.memory = memory;
    this.words = memory?.words ?? new Int32Array(capacity * STRIDE);
    this.traffic = memory?.traffic ?? new Float64Array(capacity * 2);
    this.splices = memory?.splices ?? new Int32Array(capacity * SPLICE_STRIDE);
    this.bornAt = new Int32Array(capacity);
    this.halfOpen = new HalfOpenFlows(capacity, this.words);
    let slots = 16;
    while (slots < capacity * 4) slots *= 2;
    const index = new ArrayBuffer(slots * 8);
    askForLargePages(index);
    this.index = new Int32Array(index);
    this.mask = slots - 1;
    // What is free of the records that were left, `clear` or takeOverFlows says.
    if (memory === null) this.clear();
    else this.firstFree = -1;
  }

  /** flow * 2 + direction of the flow that the packet belongs to, or -1. */
  find(packet: Packet, stage = 0): number {
    return this.findKey(
      packet.protocol,
      packet.s0,
      packet.s1,
      packet.s2,
      packet.s3,
      packet.d0,
      packet.d1,
      packet.d2,
      packet.d3,
      (packet.sourcePort << 16) | packet.destinationPort,
      stage,
    );
  }

  findKey(
    protocol: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    ports: number,
    stage = 0,
  ): number {
    const hash = hashKey(this.seed, protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports);
    const index = this.index;
    const words = this.words;
    for (let slot = hash & this.mask; ; slot = (slot + 1) & this.mask) {
      const reference = index[slot * 2 + 1];
      if (reference === 0) return -1;
      if (index[slot * 2] !== hash) continue;
      const found = reference - 1;
      const record = (found >> 1) * STRIDE;
      const at = record + (found & 1) * MEMBER_SIDE;
      if (
        words[at + 3] === s3 &&
        words[at + 7] === d3 &&
        words[record + PORTS + (found & 1)] === ports &&
        words[record + PROTOCOL] === protocol &&
        words[at] === s0 &&
        words[at + 1] === s1 &&
        words[at + 2] === s2 &&
        words[at + 4] === d0 &&
        words[at + 5] === d1 &&
        words[at + 6] === d2 &&
        ((found & 1) === REVERSE || (words[record + FLAGS] & STAGE_MASK) === stage << STAGE_SHIFT)
      ) {
        return found;
      }
    }
  }

  /** As `findKey`, by a key that a record holds, whether that one is filed or not. */
  findOf(flow: number, direction: number, stage: number): number {
    const { words } = this;
    const record = flow * STRIDE;
    const at = record + direction * MEMBER_SIDE;
    return this.findKey(
      words[record + PROTOCOL],
      words[at],
      words[at + 1],
      words[at + 2],
      words[at + 3],
      words[at + 4],
      words[at + 5],
      words[at + 6],
      words[at + 7],
      words[record + PORTS + direction],
      stage,
    );
  }

  /**
   * A packet with this IPv4 key is about to be looked up, and others before it: brings the memory that its look-up and
   * its slot begin with near. What it returns means nothing: it is for the reading not to be left out.
   */
  foresee(protocol: number, source: number, destination: number, ports: number): number {
    const hash = hashIpv4Key(this.seed, protocol, source, destination, ports);
    const near = this.index[(hash & this.mask) * 2];
    return this.slots === null ? near : near ^ this.slots.foresee(protocol, source, destination, ports);
  }

  /** Whether a flow can begin: there is a free record, or half-open flows may be evicted for it. */
  get hasRoom(): boolean {
    return this.firstFree >= 0;
  }

  /** How many tiers have seen the packets of the flow when they come in. */
  stageOf(flow: number): number {
    return (this.words[flow * STRIDE + FLAGS] & STAGE_MASK) >>> STAGE_SHIFT;
  }

  /** How many tiers behind the one of the service address the flow's tier is. */
  offsetOf(flow: number): number {
    return (this.words[flow * STRIDE + FLAGS] >>> OFFSET_SHIFT) & 7;
  }

  /** Says both of a flow that has just been added. */
  setStage(flow: number, stage: number, offset: number): void {
    this.words[flow * STRIDE + FLAGS] |= (stage << STAGE_SHIFT) | (offset << OFFSET_SHIFT);
  }

  /** The packets of a live flow come in earlier now: tiers that saw them are passed by. */
  restage(flow: number, stage: number): void {
    this.recall(flow, FORWARD);
    this.words[flow * STRIDE + FLAGS] &= ~STAGE_MASK;
    this.words[flow * STRIDE + FLAGS] |= stage << STAGE_SHIFT;
  }

  /** Whether the kernel forwards what clients send of another flow of the same key: it tells them not apart. */
  isTwinEntrusted(flow: number): boolean {
    const { words } = this;
    const own = this.stageOf(flow);
    for (let stage = 0; stage < MOST_STAGES; stage++) {
      if (stage === own) continue;
      const found = this.findOf(flow, FORWARD, stage);
      if (found < 0 || (found & 1) === REVERSE) continue;
      if ((words[(found >> 1) * STRIDE + FLAGS] & FLAG_FAST_FORWARD) !== 0) return true;
    }
    return false;
  }

  /**
   * Takes a record for the flow that the packet begins as its client sends it, half open, and files its forward key.
   * `group`: the service it counts for while it is half open. Returns the flow, or -1 where none is free. Every other
   * field is for the caller to set.
   */
  add(packet: Packet, kind: number, nowMs: number, group = 0): number {
    const flow = this.take();
    if (flow < 0) return -1;
    const words = this.words;
    const at = flow * STRIDE;
    words[at + CLIENT] = packet.s0;
    words[at + CLIENT + 1] = packet.s1;
    words[at + CLIENT + 2] = packet.s2;
    words[at + CLIENT + 3] = packet.s3;
    words[at + SERVICE] = packet.d0;
    words[at + SERVICE + 1] = packet.d1;
    words[at + SERVICE + 2] = packet.d2;
    words[at + SERVICE + 3] = packet.d3;
    words[at + PORTS] = (packet.sourcePort << 16) | packet.destinationPort;
    words[at + PROTOCOL] = packet.protocol;
    words[at + KIND] = kind;
    words[at + FLAGS] = 0;
    words[at + MEMBER] = -1;
    words[at + TIER] = -1;
    words[at + LAST_SEEN] = nowMs | 0;
    words[at + JUDGED] = 0;
    words[at + RELAY] = -1;
    this.traffic[flow * 2] = 0;
    this.traffic[flow * 2 + 1] = 0;
    this.bornAt[flow] = Math.floor(nowMs / 100);
    words[at + STATE] = STATE_HALF_OPEN;
    this.enter(flow, group);
    return flow;
  }

  /** Copies a flow of another table; false where there is no room for it. Both keys and its state are kept. */
  adopt(from: FlowTable, flow: number): boolean {
    const copy = this.take();
    if (copy < 0) return false;
    const at = copy * STRIDE;
    const generation = this.words[at + GENERATION];
    this.words.set(from.words.subarray(flow * STRIDE, (flow + 1) * STRIDE), at);
    this.words[at + GENERATION] = generation;
    this.words[at + FLAGS] &= ~FLAGS_FAST;
    this.traffic[copy * 2] = from.traffic[flow * 2];
    this.traffic[copy * 2 + 1] = from.traffic[flow * 2 + 1];
    for (let i = 0; i < SPLICE_STRIDE; i++)
      this.splices[copy * SPLICE_STRIDE + i] = from.splices[flow * SPLICE_STRIDE + i];
    this.bornAt[copy] = from.bornAt[flow];
    this.enter(copy);
    return true;
  }

  /** The flow that a record's words tell is in the table from now on: counted, listed if it is half open, and filed. */
  enter(flow: number, group = 0): void {
    const at = flow * STRIDE;
    this.size++;
    if (flow >= this.highWater) this.highWater = flow + 1;
    if (this.words[at + STATE] === STATE_HALF_OPEN) this.halfOpen.add(flow, group);
    this.file(flow, FORWARD);
    if ((this.words[at + FLAGS] & FLAG_HAS_REVERSE) !== 0) this.file(flow, REVERSE);
  }

  /** Puts a record among the free ones; no reference to what it was holds any longer. */
  free(flow: number): void {
    const at = flow * STRIDE;
    this.words[at + STATE] = STATE_FREE;
    this.words[at + GENERATION]++;
    this.words[at + NEXT] = this.firstFree;
    this.firstFree = flow;
  }

  /** Makes every record of the memory free: what was left in it is forgotten. */
  clear(): void {
    for (let flow = 0; flow < this.capacity; flow++) {
      this.words[flow * STRIDE + STATE] = STATE_FREE;
      this.words[flow * STRIDE + NEXT] = flow + 1 < this.capacity ? flow + 1 : -1;
    }
    this.firstFree = 0;
  }

  /** Moves the records to other memory, or into this process's own. */
  moveTo(memory: FlowMemory | null): void {
    if (memory === this.memory) return;
    const { words, traffic, splices } = this;
    this.memory = memory;
    this.words = memory?.words ?? new Int32Array(words.length);
    this.traffic = memory?.traffic ?? new Float64Array(traffic.length);
    this.splices = memory?.splices ?? new Int32Array(splices.length);
    this.words.set(words);
    this.traffic.set(traffic);
    this.splices.set(splices);
    this.halfOpen.words = this.words;
  }

  /** Files the reverse key, whose words and ports the caller has set. */
  fileReverse(flow: number): void {
    this.words[flow * STRIDE + FLAGS] |= FLAG_HAS_REVERSE;
    this.file(flow, REVERSE);
  }

  /** Takes the reverse key out of the index again. */
  unfileReverse(flow: number): void {
    const at = flow * STRIDE + FLAGS;
    if ((this.words[at] & FLAG_HAS_REVERSE) === 0) return;
    this.recall(flow, REVERSE);
    this.words[at] &= ~FLAG_HAS_REVERSE;
    this.unfile(flow, REVERSE);
  }

  /** Moves a live flow to a later state. */
  setState(flow: number, state: number): void {
    const at = flow * STRIDE + STATE;
    const before = this.words[at];
    if (before === state) return;
    if (before === STATE_HALF_OPEN) this.halfOpen.remove(flow);
    this.words[at] = state;
    if (state === STATE_CLOSING) this.recallBoth(flow);
  }

  /**
   * Leaves a direction of a flow to the kernel: packets like the one at hand, which came by `ingress` with the MACs
   * `macs` and leaves by `egress` as it is now, will not be seen here again. `tunnel`: as FlowSlots.install.
   */
  entrust(
    flow: number,
    direction: number,
    macs: Int32Array,
    packet: Packet,
    ingress: number,
    egress: number,
    tunnel: SlotTunnel | null = null,
  ): void {
    const slots = this.slots;
    if (slots === null) return;
    const { words } = this;
    const at = flow * STRIDE;
    const flag = FLAG_FAST_FORWARD << direction;
    const isFiled = (words[at + FLAGS] & flag) !== 0;
    const slot = flow * 2 + direction;
    if (isFiled) {
      this.collect(flow, direction);
      // Whoever moved is answered elsewhere too.
      if (!slots.isSameWay(slot, macs, ingress)) this.recall(flow, 1 - direction);
    }
    const key = at + direction * MEMBER_SIDE;
    const ports = words[at + PORTS + direction];
    if (slots.install(slot, words, key, ports, macs, packet, ingress, egress, isFiled, tunnel)) {
      words[at + FLAGS] |= flag;
    }
  }

  /** The slot that a direction is entrusted to, in force or stale; -1 where it is TypeScript's. */
  slotOf(flow: number, direction: number): number {
    const isEntrusted = (this.words[flow * STRIDE + FLAGS] & (FLAG_FAST_FORWARD << direction)) !== 0;
    return isEntrusted ? flow * 2 + direction : -1;
  }

  /** Whether the kernel would forward the next packet of a direction that is like the last one. */
  isKernels(flow: number, direction: number): boolean {
    const slot = this.slotOf(flow, direction);
    return slot >= 0 && this.slots?.isInForce(slot) === true;
  }

  /** Takes both directions back from the kernel. */
  recallBoth(flow: number): void {
    this.recall(flow, FORWARD);
    this.recall(flow, REVERSE);
  }

  /** Brings last seen and traffic of a flow up to what the kernel has forwarded of it. */
  refresh(flow: number): void {
    if ((this.words[flow * STRIDE + FLAGS] & FLAGS_FAST) === 0) return;
    this.collect(flow, FORWARD);
    this.collect(flow, REVERSE);
  }

  /** Takes a direction back from the kernel. */
  recall(flow: number, direction: number): void {
    const at = flow * STRIDE + FLAGS;
    const flag = FLAG_FAST_FORWARD << direction;
    if ((this.words[at] & flag) === 0) return;
    this.collect(flow, direction);
    this.slots?.remove(flow * 2 + direction);
    this.words[at] &= ~flag;
  }

  private collect(flow: number, direction: number): void {
    const { slots, words } = this;
    const at = flow * STRIDE;
    if (slots === null || (words[at + FLAGS] & (FLAG_FAST_FORWARD << direction)) === 0) return;
    const slot = flow * 2 + direction;
    const packets = slots.packetsSince(slot);
    if (packets === 0) return;
    this.traffic[flow * 2] += packets;
    this.traffic[flow * 2 + 1] += slots.bytesSince;
    const seen = slots.lastMs(slot);
    if (((seen - words[at + LAST_SEEN]) | 0) > 0) words[at + LAST_SEEN] = seen;
  }

  /** Forgets a live flow. */
  remove(flow: number): void {
    const at = flow * STRIDE;
    this.unfileReverse(flow);
    this.recall(flow, FORWARD);
    this.unfile(flow, FORWARD);
    if (this.words[at + STATE] === STATE_HALF_OPEN) this.halfOpen.remove(flow);
    this.free(flow);
    this.size--;
  }

  /** The next record of the round that looks at all that were ever in use, whether it is now or not. */
  nextOfRound(): number {
    const flow = this.sweepAt < this.highWater ? this.sweepAt : 0;
    this.sweepAt = flow + 1;
    return flow;
  }

  private take(): number {
    const flow = this.firstFree;
    if (flow < 0) return -1;
    this.firstFree = this.words[flow * STRIDE + NEXT];
    return flow;
  }

  private hashOf(flow: number, direction: number): number {
    const words = this.words;
    const record = flow * STRIDE;
    const at = record + direction * MEMBER_SIDE;
    return hashKey(
      this.seed,
      words[record + PROTOCOL],
      words[at],
      words[at + 1],
      words[at + 2],
      words[at + 3],
      words[at + 4],
      words[at + 5],
      words[at + 6],
      words[at + 7],
      words[record + PORTS + direction],
    );
  }

  private file(flow: number, direction: number): void {
    const hash = this.hashOf(flow, direction);
    const index = this.index;
    let slot = hash & this.mask;
    while (index[slot * 2 + 1] !== 0) slot = (slot + 1) & this.mask;
    index[slot * 2] = hash;
    index[slot * 2 + 1] = flow * 2 + direction + 1;
  }

  private unfile(flow: number, direction: number): void {
    const index = this.index;
    const mask = this.mask;
    const reference = flow * 2 + direction + 1;
    let hole = this.hashOf(flow, direction) & mask;
    while (index[hole * 2 + 1] !== reference) {
      if (index[hole * 2 + 1] === 0) return;
      hole = (hole + 1) & mask;
    }
    // Backward shift: whoever could stand in the hole moves there, so that no probe ends early.
    for (let slot = (hole + 1) & mask; index[slot * 2 + 1] !== 0; slot = (slot + 1) & mask) {
      const home = index[slot * 2] & mask;
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        index[hole * 2] = index[slot * 2];
        index[hole * 2 + 1] = index[slot * 2 + 1];
        hole = slot;
      }
    }
    index[hole * 2 + 1] = 0;
  }
}
