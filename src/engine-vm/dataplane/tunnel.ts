/**
 * Frames for peers that are not on the link: in VXLAN, by way of the router (docs/design/tunnel.md). What does not fit
 * is split where its protocol allows it, else refused with "too big".
 */
import { checksumOffset, transportChecksum } from '../../packet/checksum.ts';
import { writeDestination, writeSource } from '../../packet/ethernet.ts';
import { HEADROOM, type Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, TCP_RST, TCP_SYN } from '../../packet/parse.ts';
import {
  GSO_UDP_DATAGRAMS,
  gsoSize,
  gsoType,
  payloadAt,
  writeFragment,
  writePart,
} from '../../packet/split.ts';
import { innerLength, VXLAN_HEADERS, type VxlanEnds, vniOf, writeVxlan } from '../../packet/vxlan.ts';
import { dropIndex } from '../drops.ts';
import { type SlotTunnel, TUNNELS } from '../fastpath/tunnel-heads.ts';
import type { CompiledGraph } from './compiled-graph.ts';
import type { Gateways } from './gateways.ts';
import { type PathState, PORT_OUT } from './path-state.ts';
import type { Refusals } from './refusals.ts';

/** Largest datagram that is made here: of a jumbo frame. */
const LARGEST = 9216;
const INNER = HEADROOM + VXLAN_HEADERS.ipv6;
const DONT_FRAGMENT = 0x4000;
/** Source ports of the datagrams: which one tells routers which flow it is, so that they keep its order (RFC 7348). */
const FIRST_PORT = 49_152;
const PORT_MASK = 0x3fff;

const TOO_BIG = dropIndex('too-big');
const NO_ROUTE = dropIndex('no-route');
const MALFORMED = dropIndex('malformed');

export class Tunnel {
  private readonly state: PathState;
  private readonly gateways: Gateways;
  private readonly refusals: Refusals;
  private readonly buffer = new Uint8Array(INNER + LARGEST);
  private readonly view = new DataView(this.buffer.buffer);
  private readonly ends: VxlanEnds = {
    isIpv4: true,
    fromHigh: 0,
    fromLow: 0,
    toHigh: 0,
    toLow: 0,
    addresses: new Int32Array(0),
    sourceAt: 0,
    destinationAt: 0,
    vni: 0,
  };

  private readonly slot: SlotTunnel = { peer: 0, isInto: false, port: 0 };

  constructor(state: PathState, gateways: Gateways, refusals: Refusals) {
    this.state = state;
    this.gateways = gateways;
    this.refusals = refusals;
  }

  /**
   * Sends the packet at hand, as it is, to a peer across a router: its MACs become the given one and ours. The MACs
   * with which it came must still be there, for the answer where it is too big. True where it went as one frame.
   */
  carry(peer: number, toHigh: number, toLow: number): boolean {
    const { state } = this;
    const { packet, graph } = state;
    if (!this.isOpen(peer)) return false;
    const room = graph.tunnelRoom(peer);
    const kind = gsoType(packet);
    if (kind !== 0 || packet.end - packet.l3 > room) {
      this.split(peer, toHigh, toLow, room, kind);
      return false;
    }
    this.address(toHigh, toLow);
    this.completeChecksum();
    const length = packet.end - packet.start;
    this.buffer.set(packet.buffer.subarray(packet.start, packet.end), INNER);
    this.wrap(peer, length, this.portOfFlow());
    return true;
  }

  /**
   * What the kernel has to know to put packets like the one at hand into the tunnel to a peer, or to take them out of
   * the tunnel from it; null where the flow has to stay here. What is returned is good until the next call.
   */
  forSlot(peer: number, isInto: boolean): SlotTunnel | null {
    const { graph, flows } = this.state;
    const { slots } = flows;
    if (slots === null || slots.isHeldBack || peer >= TUNNELS) return null;
    const epoch = slots.epochInForce;
    if (!slots.tunnels.isWritten(peer, epoch)) {
      this.point(peer);
      slots.tunnels.write(peer, epoch, this.ends, graph.tunnelRoom(peer), graph.tunnelVniIn[peer]);
    }
    this.slot.peer = peer;
    this.slot.isInto = isInto;
    this.slot.port = isInto ? this.portOfFlow() : 0;
    return this.slot;
  }

  /** Sends a frame of our own, which is short enough; it is asked for again where the router is not known yet. */
  carryOwn(peer: number, frame: Uint8Array, start: number, length: number): void {
    if (!this.gateways.isKnown(this.state.graph.peerTunnel[peer])) return;
    this.buffer.set(frame.subarray(start, start + length), INNER);
    this.wrap(peer, length, FIRST_PORT);
  }

  /**
   * The peer across a router whose datagram is at hand; -1 where it is none: of nobody whom the graph names, not for
   * the direction's VNI, or without a frame in it.
   */
  peerOf(): number {
    const { packet, graph } = this.state;
    return peerOfDatagram(packet, graph);
  }

  private isOpen(peer: number): boolean {
    const { state } = this;
    if (this.gateways.isKnown(state.graph.peerTunnel[peer])) return true;
    state.drop(NO_ROUTE);
    return false;
  }

  private split(peer: number, toHigh: number, toLow: number, room: number, kind: number): void {
    const { state } = this;
    const { packet } = state;
    const isSuper = kind !== 0;
    const headers = packet.l4 === 0 ? 0 : payloadAt(packet) - packet.l3;
    let unit = 0;
    if (packet.protocol === PROTOCOL_TCP && packet.l4 !== 0 && !packet.isFragment) {
      // A stream may be cut anywhere, whatever the sender has asked for.
      if ((packet.tcpFlags & (TCP_SYN | TCP_RST)) === 0) unit = room - headers;
      if (isSuper) unit = Math.min(unit, gsoSize(packet));
    } else if (kind === GSO_UDP_DATAGRAMS && packet.protocol === PROTOCOL_UDP && packet.l4 !== 0) {
      unit = gsoSize(packet) + headers <= room ? gsoSize(packet) : 0;
    } else if (!isSuper && packet.ipVersion === 4) {
      const mayFragment = (packet.view.getUint16(packet.l3 + 6) & DONT_FRAGMENT) === 0;
      if (mayFragment) {
        this.address(toHigh, toLow);
        this.fragment(peer, room);
        return;
      }
    }
    if (unit <= 0) {
      this.refusals.tooBig(state.ingress, room);
      state.drop(TOO_BIG);
      return;
    }
    this.address(toHigh, toLow);
    const port = this.portOfFlow();
    const payload = packet.end - packet.l3 - headers;
    for (let offset = 0, index = 0; offset < payload; offset += unit, index++) {
      const size = Math.min(unit, payload - offset);
      this.buffer.fill(0, INNER - HEADROOM, INNER);
      this.wrap(peer, writePart(packet, this.buffer, this.view, INNER, offset, size, index), port);
    }
  }

  private fragment(peer: number, room: number): void {
    const { packet } = this.state;
    if (!packet.isFragment) this.completeChecksum();
    const header = (packet.view.getUint8(packet.l3) & 15) * 4;
    const payload = packet.end - packet.l3 - header;
    const unit = (room - header) & ~7;
    // All of a datagram's fragments take one way, although the later ones bear no ports.
    for (let offset = 0; offset < payload; offset += unit) {
      const size = Math.min(unit, payload - offset);
      this.wrap(peer, writeFragment(packet, this.buffer, this.view, INNER, offset, size), FIRST_PORT);
    }
  }

  private address(toHigh: number, toLow: number): void {
    const { packet, graph } = this.state;
    writeDestination(packet, toHigh, toLow);
    writeSource(packet, graph.macHigh, graph.macLow);
  }

  /** What the NIC would have done to the frame, it does not do to one inside a datagram. */
  private completeChecksum(): void {
    const { packet } = this.state;
    if (!packet.isChecksumPartial) return;
    const at = checksumOffset(packet);
    if (at >= 0) packet.view.setUint16(at, transportChecksum(packet));
  }

  private portOfFlow(): number {
    const { packet } = this.state;
    if (packet.isFragment) return FIRST_PORT;
    const mixed = Math.imul(
      packet.s3 ^ packet.d3 ^ ((packet.sourcePort << 16) | packet.destinationPort),
      0x9e3779b1,
    );
    return FIRST_PORT + ((mixed >>> 16) & PORT_MASK);
  }

  /** Puts the frame of `length` bytes that stands at INNER into a datagram and sends it. */
  private wrap(peer: number, length: number, port: number): void {
    const { state, ends, buffer } = this;
    if (length > LARGEST) {
      state.drop(MALFORMED);
      return;
    }
    this.point(peer);
    const start = writeVxlan(this.view, INNER, length, ends, port);
    buffer.fill(0, start - HEADROOM, start);
    state.sendFrom(PORT_OUT, buffer, start, INNER + length - start);
  }

  /** Makes `ends` those of the tunnel to a peer. */
  private point(peer: number): void {
    const { ends, gateways } = this;
    const { graph } = this.state;
    const version = graph.peerTunnel[peer];
    ends.isIpv4 = version === 4;
    ends.fromHigh = graph.macHigh;
    ends.fromLow = graph.macLow;
    ends.toHigh = gateways.macHigh(version);
    ends.toLow = gateways.macLow(version);
    ends.addresses = graph.tunnelEnds;
    ends.sourceAt = peer * 8;
    ends.destinationAt = peer * 8 + 4;
    ends.vni = graph.tunnelVniOut[peer];
  }
}

/** As Tunnel.peerOf, of any packet. */
export function peerOfDatagram(packet: Packet, graph: CompiledGraph): number {
  const vni = vniOf(packet);
  if (vni < 0 || innerLength(packet) < 14) return -1;
  const peer = graph.dataAddresses.find(packet.s0, packet.s1, packet.s2, packet.s3, 0, 0) - 1;
  return peer >= 0 && graph.peerTunnel[peer] !== 0 && graph.tunnelVniIn[peer] === vni ? peer : -1;
}
