/**
 * `weft capture` as one engine takes part in it: frames of one service are noted as they come in and as they leave,
 * with what the stations did to them as a comment.
 *
 * Frames that the kernel's program forwards are seen by nobody. So while a capture runs, TypeScript forwards the flows
 * that it is about: they are taken back from the kernel when it begins, and none of their packets entrusts them again
 * (PathState.tap). Other flows are left alone.
 *
 * It is bounded: in time, in frames, and in memory (what is not fetched in time is lost and counted). Nobody who
 * fetches for a while ends it.
 */
import { formatAddress, parseAddress } from '../../packet/address.ts';
import { HEADROOM, Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, parse } from '../../packet/parse.ts';
import { innerLength, innerStart, VXLAN_PORT, vniOf } from '../../packet/vxlan.ts';
import { WeftError } from '../../policy/errors.ts';
import { type Component, type Decision, PASS, REJECT, type Verdict } from '../component/component.ts';
import { DROPS } from '../drops.ts';
import { CLIENT, GENERATION, STATE, STATE_FREE, STRIDE, TIER } from '../flow/flow-record.ts';
import { type AddressRange, endpoint, type FlowLister, isWithin, rangeOf } from './flow-listing.ts';
import { type PathState, PORT_OUT, type Tap } from './path-state.ts';
import { peerOfDatagram } from './tunnel.ts';

/** What a capture is to note. */
export interface CaptureOrder {
  id: string;
  service: string;
  /** An address or prefix of clients; null: all. */
  client: string | null;
  seconds: number;
  /** Most frames. */
  packets: number;
  /** Most bytes of each. */
  snap: number;
}

/** What was noted since the last time. */
export interface CaptureNews {
  /** Records as `eachRecord` reads them. */
  records: Uint8Array;
  /** By port, since the beginning: frames noted, and frames for which there was no room. */
  noted: number[];
  lost: number[];
  /** Why it has ended; null while it runs. Records may be left all the same: until `records` is empty. */
  ended: string | null;
}

/** Names of the data plane's ports. */
export const CAPTURE_PORTS = ['out', 'in', 'self'] as const;

/** Bytes that wait to be fetched, and bytes that are fetched at once. */
const ROOM = 4 << 20;
const FETCH = 256 << 10;
/** What is not fetched for so long is fetched by nobody. */
const ABANDONED_MS = 5000;
/** Flows looked at per tick when the capture's own are taken back from the kernel. */
const RECALLED_PER_TICK = 65_536;
/** Frames that one may become: more are counted as lost. */
const MOST_SENT = 8;
const MAX_COMMENT = 1000;
/** Bytes of a record before its frame: length, port, is sent, comment's length, time, frame's length, noted length. */
const HEAD = 24;

export class Capture implements Tap {
  readonly order: CaptureOrder;
  private readonly state: PathState;
  private readonly lister: FlowLister;
  private readonly range: AddressRange | null;
  private readonly nowMs: () => number;
  /** Wall clock minus `nowMs`. */
  private readonly wallOffset: number;
  private readonly endsAt: number;
  private readonly bytes = new Uint8Array(ROOM);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly encoder = new TextEncoder();
  private readAt = 0;
  private writeAt = 0;
  private readonly noted = [0, 0, 0];
  private readonly lost = [0, 0, 0];
  private fetchedAt: number;
  private recalled = 0;
  private ended: string | null = null;
  /** The service in the graph in force; its addresses, four words each. */
  private service = -1;
  private addresses = new Int32Array(0);

  // The packet at hand: as it came, and what became of it.
  private readonly staged: Uint8Array;
  private stagedAt = 0;
  private readonly before = new Packet();
  private readonly after = new Packet();
  private port = 0;
  private flow = -1;
  private generation = 0;
  private flowText = '';
  private readonly verdicts: string[] = [];
  private readonly sends: { port: number; at: number; length: number; noted: number; text: string }[] = [];
  private readonly reasons: string[] = [];

  /** Throws ERR_NOT_FOUND where the graph in force has no such service, ERR_BODY_INVALID for a client that is none. */
  constructor(
    order: CaptureOrder,
    state: PathState,
    lister: FlowLister,
    nowMs: () => number,
    wallMs: () => number,
  ) {
    this.order = order;
    this.state = state;
    this.lister = lister;
    this.nowMs = nowMs;
    this.wallOffset = wallMs() - nowMs();
    this.fetchedAt = state.now;
    this.endsAt = state.now + order.seconds * 1000;
    this.staged = new Uint8Array(HEADROOM + (MOST_SENT + 1) * order.snap);
    try {
      this.range = order.client === null ? null : rangeOf(order.client);
    } catch (cause) {
      throw new WeftError('ERR_BODY_INVALID', (cause as Error).message, { cause });
    }
    this.load();
    if (this.service < 0) {
      const { id } = state.graph.source.engine;
      throw new WeftError('ERR_NOT_FOUND', `service ${order.service} is not in the graph of engine ${id}`);
    }
    this.recall();
  }

  /** Whether it still notes frames. */
  get isRunning(): boolean {
    return this.ended === null;
  }

  /** Another graph is in force. */
  load(): void {
    const { graph } = this.state;
    this.service = graph.source.services.findIndex(({ name }) => name === this.order.service);
    const texts = graph.source.services[this.service]?.tiers.flatMap(({ addresses }) => addresses) ?? [];
    this.addresses = new Int32Array(texts.length * 4);
    for (const [index, { address }] of texts.entries()) parseAddress(address, this.addresses, index * 4);
    if (this.service < 0) this.end(`service ${this.order.service} is gone`);
  }

  /** To be called every few milliseconds. False once nobody wants anything of it any more. */
  tick(): boolean {
    const { now } = this.state;
    if (this.isRunning && this.recalled < this.state.flows.highWater) this.recall();
    if (this.isRunning && now >= this.endsAt) this.end(`the ${this.order.seconds} s are over`);
    if (now - this.fetchedAt < ABANDONED_MS) return true;
    this.end('nobody fetched what was captured');
    return false;
  }

  end(reason: string): void {
    this.ended ??= reason;
  }

  /** What waits, or a part of it. */
  fetch(): CaptureNews {
    this.fetchedAt = this.state.now;
    const from = this.readAt;
    let to = from;
    while (to < this.writeAt) {
      const length = this.view.getUint32(to, true);
      if (to > from && to + length - from > FETCH) break;
      to += length;
    }
    const records = this.bytes.slice(from, to);
    this.readAt = to;
    // Moved together here, and not when a packet waits.
    if (this.readAt > 0) {
      this.bytes.copyWithin(0, this.readAt, this.writeAt);
      this.writeAt -= this.readAt;
      this.readAt = 0;
    }
    return { records, noted: [...this.noted], lost: [...this.lost], ended: this.ended };
  }

  /** Before the stations: whether the frame is one of those wanted. Then `finish` has to follow. */
  begin(port: number, buffer: Uint8Array, start: number, length: number): boolean {
    const { before, staged } = this;
    this.flow = -1;
    parse(before, buffer, start, length);
    this.cameFrom = -1;
    if (!this.isWanted(before)) {
      // What a tunnel brings is known by the frame inside; noted is the datagram.
      this.cameFrom = port === PORT_OUT ? this.tunnelOf(before) : -1;
      if (this.cameFrom < 0) return false;
      parse(before, buffer, innerStart(before), innerLength(before));
      if (!this.isWanted(before)) return false;
    }
    this.cameLength = length;
    this.port = port;
    this.stagedAt = 0;
    this.verdicts.length = 0;
    this.sends.length = 0;
    this.reasons.length = 0;
    const noted = this.stage(buffer, start, length);
    const { words } = this.state.flows;
    this.generation = this.flow < 0 ? 0 : words[this.flow * STRIDE + GENERATION];
    this.flowText = this.flow < 0 ? '' : this.lister.summary(this.flow);
    this.notedBefore = noted;
    // The stations write into the buffer; the copy stays as it came. Of a frame that was cut the fields are kept.
    before.buffer = staged;
    return true;
  }

  private notedBefore = 0;
  /** The peer whose tunnel the packet at hand came by, -1 where by none; and how long the frame was that came. */
  private cameFrom = -1;
  private cameLength = 0;

  /** The peer across a router that sent the datagram; -1 where it is none of a tunnel to us. */
  private tunnelOf(packet: Packet): number {
    const { graph } = this.state;
    if (!graph.hasTunnels || packet.destinationPort !== VXLAN_PORT || packet.malformed !== null) return -1;
    return peerOfDatagram(packet, graph);
  }

  /** A component has judged the packet at hand. */
  judged(component: Component, verdict: Verdict, decision: Decision): void {
    const word = verdict === PASS ? 'pass' : verdict === REJECT ? 'reject' : 'drop';
    this.verdicts.push(`${component.type} ${component.describe(decision)}: ${word}`);
  }

  /** The packet at hand, or one that was made for it, leaves by a port. */
  sent(port: number, buffer: Uint8Array, start: number, length: number, isMade: boolean): void {
    if (this.sends.length === MOST_SENT) {
      this.lost[port]++;
      return;
    }
    const at = this.stagedAt;
    const noted = this.stage(buffer, start, length);
    const text = isMade ? 'made by the engine in answer' : this.changeOf(buffer, start, length);
    this.sends.push({ port, at, length, noted, text });
  }

  /** The packet at hand is not passed on. */
  dropped(reason: number): void {
    this.reasons.push(DROPS[reason][0]);
  }

  /** After the stations: notes the frame and what it became. */
  finish(): void {
    const { sends } = this;
    const engine = this.state.graph.source.engine.id;
    const outcome =
      this.reasons.length > 0
        ? `drop: ${this.reasons.join(', ')}`
        : sends.length === 0
          ? 'kept by the engine'
          : `to ${[...new Set(sends.map(({ port }) => CAPTURE_PORTS[port]))].join(', ')}`;
    const judged = this.verdicts.length === 0 ? '' : `, ${this.verdicts.join(', ')}`;
    this.note(
      this.port,
      false,
      0,
      this.cameLength,
      this.notedBefore,
      `${engine} ${CAPTURE_PORTS[this.port]}: ${this.cameBy()}${this.flowWord()}${judged}; ${outcome}`,
    );
    for (const { port, at, length, noted, text } of sends) {
      this.note(port, true, at, length, noted, `${engine} ${CAPTURE_PORTS[port]}: sent, ${text}`);
    }
  }

  /** What the packet was to the flow table, before and after. */
  private flowWord(): string {
    const { flows } = this.state;
    const isTransport = this.before.protocol === PROTOCOL_TCP || this.before.protocol === PROTOCOL_UDP;
    if (!isTransport || this.before.l4 === 0) return 'no flow of its own';
    const { words } = flows;
    // What a member has handed on is of another flow than what it was given.
    const { stage } = this.state;
    if (this.flow >= 0 && stage === 0) {
      const at = this.flow * STRIDE;
      const isSame = words[at + GENERATION] === this.generation && words[at + STATE] !== STATE_FREE;
      if (isSame) return `known flow (${this.flowText})`;
    }
    const found = flows.find(this.before, stage);
    if (found >= 0 && stage > 0) return `flow (${this.lister.summary(found >> 1)})`;
    if (found >= 0) return `new flow (${this.lister.summary(found >> 1)})`;
    return this.flow >= 0 ? `known flow (${this.flowText}), ended` : 'no flow';
  }

  /** Words for the tunnel that the packet came by. */
  private cameBy(): string {
    if (this.cameFrom < 0) return '';
    return `in VXLAN from ${this.state.graph.source.peers[this.cameFrom].id}; `;
  }

  /** How the frame that leaves differs from the one that came; of a datagram of a tunnel, the frame inside. */
  private changeOf(buffer: Uint8Array, start: number, length: number): string {
    const { after } = this;
    const { graph } = this.state;
    parse(after, buffer, start, length);
    const isIntoTunnel =
      graph.hasTunnels &&
      after.destinationPort === VXLAN_PORT &&
      vniOf(after) >= 0 &&
      graph.dataAddresses.find(after.s0, after.s1, after.s2, after.s3, 0, 0) === 0;
    let way = this.cameFrom < 0 ? '' : 'out of VXLAN; ';
    if (isIntoTunnel) {
      way = `in VXLAN to ${formatAddress(after.d0, after.d1, after.d2, after.d3)}, VNI ${vniOf(after)}; `;
      parse(after, buffer, innerStart(after), innerLength(after));
    }
    return way + this.changesOf(after);
  }

  private changesOf(after: Packet): string {
    const { before } = this;
    const ports = before.protocol === PROTOCOL_TCP || before.protocol === PROTOCOL_UDP;
    const text = (w0: number, w1: number, w2: number, w3: number, port: number): string => {
      const address = formatAddress(w0, w1, w2, w3);
      return ports && before.l4 !== 0 ? endpoint(address, port) : address;
    };
    const from = text(before.s0, before.s1, before.s2, before.s3, before.sourcePort);
    const to = text(before.d0, before.d1, before.d2, before.d3, before.destinationPort);
    const newFrom = text(after.s0, after.s1, after.s2, after.s3, after.sourcePort);
    const newTo = text(after.d0, after.d1, after.d2, after.d3, after.destinationPort);
    const changes = [
      ...(to === newTo ? [] : [`destination ${to} is now ${newTo}`]),
      ...(from === newFrom ? [] : [`source ${from} is now ${newFrom}`]),
      ...(this.isSameMacs(after) ? [] : ['other MACs']),
    ];
    return changes.length === 0 ? 'as it came' : changes.join(', ');
  }

  private isSameMacs({ buffer, start }: Packet): boolean {
    // Those of the frame inside, where the packet came in a datagram: it stands at the end of what is staged.
    const at = this.cameLength - this.before.length;
    if (this.notedBefore < at + 12) return true;
    for (let i = 0; i < 12; i++) if (buffer[start + i] !== this.staged[at + i]) return false;
    return true;
  }

  private isWanted(packet: Packet): boolean {
    const { graph, flows } = this.state;
    const { service } = this;
    if (packet.ipVersion === 0) return false;
    const isTransport = packet.protocol === PROTOCOL_TCP || packet.protocol === PROTOCOL_UDP;
    if (isTransport && packet.l4 !== 0) {
      const found = flows.find(packet);
      if (found >= 0) {
        const at = (found >> 1) * STRIDE;
        const tier = flows.words[at + TIER];
        if (tier >= 0) {
          this.flow = found >> 1;
          return (
            graph.tierService[tier] === service &&
            (this.range === null || isWithin(this.range, flows.words, at + CLIENT))
          );
        }
      }
      const { s0, s1, s2, s3, d0, d1, d2, d3, sourcePort, destinationPort, protocol } = packet;
      const to = graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
      if (to >= 0) return graph.tierService[to] === service && this.isClient(s0, s1, s2, s3);
      const from = graph.tiers.find(s0, s1, s2, s3, sourcePort, protocol);
      return from >= 0 && graph.tierService[from] === service && this.isClient(d0, d1, d2, d3);
    }
    // ICMP, later fragments, what is malformed: by the addresses alone.
    const { s0, s1, s2, s3, d0, d1, d2, d3 } = packet;
    if (this.isServed(d0, d1, d2, d3)) return this.isClient(s0, s1, s2, s3);
    return this.isServed(s0, s1, s2, s3) && this.isClient(d0, d1, d2, d3);
  }

  private isServed(w0: number, w1: number, w2: number, w3: number): boolean {
    const { addresses } = this;
    for (let at = 0; at < addresses.length; at += 4) {
      if (
        addresses[at + 3] === w3 &&
        addresses[at + 2] === w2 &&
        addresses[at + 1] === w1 &&
        addresses[at] === w0
      )
        return true;
    }
    return false;
  }

  private isClient(w0: number, w1: number, w2: number, w3: number): boolean {
    if (this.range === null) return true;
    this.address[0] = w0;
    this.address[1] = w1;
    this.address[2] = w2;
    this.address[3] = w3;
    return isWithin(this.range, this.address, 0);
  }

  private readonly address = new Int32Array(4);

  /** Takes the next flows of the capture back from the kernel. */
  private recall(): void {
    const { flows, graph } = this.state;
    const { words } = flows;
    const end = Math.min(flows.highWater, this.recalled + RECALLED_PER_TICK);
    for (let flow = this.recalled; flow < end; flow++) {
      const at = flow * STRIDE;
      const tier = words[at + TIER];
      if (words[at + STATE] === STATE_FREE || tier < 0 || graph.tierService[tier] !== this.service) continue;
      if (this.range === null || isWithin(this.range, words, at + CLIENT)) flows.recallBoth(flow);
    }
    this.recalled = end;
  }

  /** Copies a frame, or its beginning, to where it stays until `finish`; the bytes copied. */
  private stage(buffer: Uint8Array, start: number, length: number): number {
    const noted = Math.min(length, this.order.snap);
    this.staged.set(buffer.subarray(start, start + noted), this.stagedAt);
    this.stagedAt += noted;
    return noted;
  }

  private note(
    port: number,
    isSent: boolean,
    at: number,
    length: number,
    noted: number,
    comment: string,
  ): void {
    if (!this.isRunning) return;
    const { view, bytes } = this;
    const record = this.writeAt;
    if (record + HEAD + noted + MAX_COMMENT > ROOM) {
      this.lost[port]++;
      return;
    }
    bytes.set(this.staged.subarray(at, at + noted), record + HEAD);
    const text = record + HEAD + noted;
    const { written } = this.encoder.encodeInto(comment, bytes.subarray(text, text + MAX_COMMENT));
    const total = HEAD + noted + written;
    view.setUint32(record, total, true);
    view.setUint8(record + 4, port);
    view.setUint8(record + 5, isSent ? 1 : 0);
    view.setUint16(record + 6, written, true);
    view.setFloat64(record + 8, (this.nowMs() + this.wallOffset) * 1000, true);
    view.setUint32(record + 16, length, true);
    view.setUint32(record + 20, noted, true);
    this.writeAt += total;
    this.noted[port]++;
    if (this.noted[0] + this.noted[1] + this.noted[2] >= this.order.packets) {
      this.end(`${this.order.packets} frames are captured`);
    }
  }
}
