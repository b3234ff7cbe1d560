/**
 * What every station on a packet's path shares: the packet at hand, the graph in force, the flow table, the counters
 * and the way out. One object per engine.
 */
import { HEADROOM, Packet } from '../../packet/packet.ts';
import type { ConnectionTable } from '../balance/connection-table.ts';
import type { SessionMap } from '../balance/session-map.ts';
import { DROPS, dropIndex } from '../drops.ts';
import type { FlowNotes } from '../flow/flow-notes.ts';
import { FlowTable } from '../flow/flow-table.ts';
import type { CompiledGraph } from './compiled-graph.ts';
import type { ServiceChain, Witness } from './service-chain.ts';
import { ServiceCounts } from './service-counts.ts';

/** The ports of the data plane: production side, protected side, the engine's own kernel stack. */
export const PORT_OUT = 0;
export const PORT_IN = 1;
export const PORT_SELF = 2;

/** Noted for answers of a connection past the services; others are 1 + twice the index of a service address. */
export const ANSWERS_DIRECT = 0;

/** Where frames leave. */
export interface Wire {
  /** Queues a copy of the frame; false when the ring is full. The 10 bytes before start are the virtio_net_hdr. */
  send(port: number, buffer: Uint8Array, start: number, length: number): boolean;
}

/** Who watches what becomes of the packet at hand (capture.ts). */
export interface Tap extends Witness {
  /** A frame leaves; `isMade`: it is not the packet at hand, but was made for it. */
  sent(port: number, buffer: Uint8Array, start: number, length: number, isMade: boolean): void;
  dropped(reason: number): void;
}

/** Where frames that we make begin in the scratch buffer. */
export const SCRATCH_START = 16;
const SCRATCH_SIZE = 4096;

const TRANSMIT_FULL = dropIndex('transmit-full');

export class PathState {
  /** The packet at hand. */
  readonly packet = new Packet();
  /** The port that it came in by, and its MACs as they came: the first 12 bytes of the frame, as they lie in memory. */
  ingress = PORT_OUT;
  readonly macs = new Int32Array(3);
  /** Monotonic milliseconds as of the packet or tick at hand. */
  now = 0;
  /** The peer out of whose tunnel the packet at hand came, -1 where it came in none. */
  tunnelPeer = -1;
  /** How many tiers have seen the packet at hand (hand-on.ts). */
  stage = 0;
  /** False until the first graph: until then everything is bridged. */
  isLoaded = false;
  graph!: CompiledGraph;
  /** One chain per service of the graph. */
  chains: readonly ServiceChain[] = [];
  /** Counts graphs that came into force; the first is 1. */
  epoch = 0;
  /** When the first graph came into force. */
  loadedAt = 0;
  flows = new FlowTable(2, 0);
  connections!: ConnectionTable;
  sessions!: SessionMap;
  newFlows = 0;
  /** Of flows without a record: their members, and what answers are translated to. Null where no service wants it. */
  choices: FlowNotes | null = null;
  answers: FlowNotes | null = null;
  /** Half-open flows that made room for others. */
  evictedFlows = 0;
  readonly counts = new ServiceCounts();
  /** Set while a packet is at hand that is captured: then it is seen, and its flow stays with TypeScript. */
  tap: Tap | null = null;
  readonly drops = new Float64Array(DROPS.length);
  /** Frames that we make; the HEADROOM bytes before SCRATCH_START stay zero. */
  readonly scratch = new Uint8Array(SCRATCH_SIZE);
  readonly scratchView = new DataView(this.scratch.buffer);
  /** A number in [0, 1), for ports, nonces and seeds. */
  readonly random: () => number;

  private readonly wire: Wire;

  constructor(wire: Wire, random: () => number) {
    this.wire = wire;
    this.random = random;
  }

  /** The packet at hand came out of a tunnel. */
  get isTunnelled(): boolean {
    return this.tunnelPeer >= 0;
  }

  drop(reason: number): void {
    this.drops[reason]++;
    if (this.tap !== null) this.tap.dropped(reason);
  }

  /** Sends the packet at hand. */
  send(port: number): void {
    const packet = this.packet;
    if (this.tap !== null) this.tap.sent(port, packet.buffer, packet.start, packet.length, false);
    if (!this.wire.send(port, packet.buffer, packet.start, packet.length)) this.drops[TRANSMIT_FULL]++;
  }

  /** Sends a frame that bears the packet at hand, or a part of it, or one of our own. */
  sendFrom(port: number, buffer: Uint8Array, start: number, length: number): void {
    if (this.tap !== null) this.tap.sent(port, buffer, start, length, false);
    if (!this.wire.send(port, buffer, start, length)) this.drops[TRANSMIT_FULL]++;
  }

  /** Sends `length` bytes that we made in the scratch buffer. */
  sendScratch(port: number, length: number): void {
    if (this.tap !== null && length > 0) this.tap.sent(port, this.scratch, SCRATCH_START, length, true);
    if (length > 0 && !this.wire.send(port, this.scratch, SCRATCH_START, length)) this.drops[TRANSMIT_FULL]++;
  }

  /** A 32-bit random number. */
  random32(): number {
    return Math.floor(this.random() * 0x1_0000_0000) | 0;
  }
}

if (SCRATCH_START < HEADROOM) throw new Error('the scratch buffer leaves no room for a virtio_net_hdr');
