/**
 * Which station of this folder takes a packet, by what it is, where it came from and whose it is. The stations are its
 * neighbours; docs/path-of-a-packet.md tells the whole way.
 */
import { destinationHigh, destinationLow, sourceHigh, sourceLow } from '../../packet/ethernet.ts';
import {
  ETHERTYPE_ARP,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  parse,
} from '../../packet/parse.ts';
import { innerLength, innerStart, VXLAN_PORT, writeInnerHead } from '../../packet/vxlan.ts';
import { dropIndex } from '../drops.ts';
import type { Announcer } from './announcer.ts';
import type { Bridge } from './bridge.ts';
import {
  ANNOUNCED,
  MAC_LOCAL_MEMBER,
  MAC_PEER,
  MAC_SELF,
  macIndex,
  macKind,
  peerMac,
} from './compiled-graph.ts';
import { ETHERTYPE_CONTROL } from './control.ts';
import type { ControlFrames } from './control-frames.ts';
import type { Direct } from './direct.ts';
import type { Entry } from './entry.ts';
import type { Gateways } from './gateways.ts';
import { HANDED_PAST_ENGINE, type HandOn } from './hand-on.ts';
import type { Hashed } from './hashed.ts';
import type { IcmpErrors } from './icmp-errors.ts';
import type { Inside } from './inside.ts';
import type { KnownFlows } from './known-flows.ts';
import type { MemberSide } from './member-side.ts';
import type { Observer } from './observer.ts';
import { type PathState, PORT_IN, PORT_OUT, PORT_SELF } from './path-state.ts';
import type { Proxied } from './proxied.ts';
import type { Tunnel } from './tunnel.ts';
import type { Unserved } from './unserved.ts';

/** Of the upper half of a MAC: it is that of a group, or of all. */
const GROUP_BIT = 0x0100;
const MALFORMED = dropIndex('malformed');
const SPOOFED_PEER = dropIndex('spoofed-peer');
const FRAGMENT = dropIndex('fragment');
const NOT_LOCAL = dropIndex('not-local');
const HELD = dropIndex('held');
const OBSERVING = dropIndex('observing');
const GROUP_MAC = dropIndex('group-mac');
const HANDED_PAST = dropIndex('handed-past');
const TUNNEL_INVALID = dropIndex('tunnel-invalid');

/** All that a packet may be handed to. */
export interface Stations {
  readonly state: PathState;
  readonly bridge: Bridge;
  readonly gateways: Gateways;
  readonly tunnel: Tunnel;
  readonly inside: Inside;
  readonly announcer: Announcer;
  readonly knownFlows: KnownFlows;
  readonly entry: Entry;
  readonly memberSide: MemberSide;
  readonly direct: Direct;
  readonly hashed: Hashed;
  readonly handOn: HandOn;
  readonly icmpErrors: IcmpErrors;
  readonly proxied: Proxied;
  readonly unserved: Unserved;
  readonly observer: Observer;
  readonly controlFrames: ControlFrames;
}

export class Dispatch {
  private readonly state: PathState;
  private readonly bridge: Bridge;
  private readonly gateways: Gateways;
  private readonly tunnel: Tunnel;
  private readonly inside: Inside;
  private readonly announcer: Announcer;
  private readonly knownFlows: KnownFlows;
  private readonly entry: Entry;
  private readonly memberSide: MemberSide;
  private readonly direct: Direct;
  private readonly hashed: Hashed;
  private readonly handOn: HandOn;
  private readonly icmpErrors: IcmpErrors;
  private readonly proxied: Proxied;
  private readonly unserved: Unserved;
  private readonly observer: Observer;
  private readonly controlFrames: ControlFrames;

  constructor(stations: Stations) {
    this.state = stations.state;
    this.bridge = stations.bridge;
    this.gateways = stations.gateways;
    this.tunnel = stations.tunnel;
    this.inside = stations.inside;
    this.announcer = stations.announcer;
    this.knownFlows = stations.knownFlows;
    this.entry = stations.entry;
    this.memberSide = stations.memberSide;
    this.direct = stations.direct;
    this.hashed = stations.hashed;
    this.handOn = stations.handOn;
    this.icmpErrors = stations.icmpErrors;
    this.proxied = stations.proxied;
    this.unserved = stations.unserved;
    this.observer = stations.observer;
    this.controlFrames = stations.controlFrames;
  }

  /** Takes the frame that came in by a port; the clock of the state has been read. */
  take(port: number, buffer: Uint8Array, start: number, length: number): void {
    const state = this.state;
    const packet = state.packet;
    parse(packet, buffer, start, length);
    if (length < 14) {
      state.drop(MALFORMED);
      return;
    }
    if (!state.isLoaded) {
      if (port === PORT_SELF) {
        state.drop(HELD);
        return;
      }
      this.bridge.learn(port, -1);
      this.bridge.forward(port);
      return;
    }
    if (this.isObserving) {
      this.observe(port);
      return;
    }
    state.ingress = port;
    state.tunnelPeer = -1;
    state.stage = 0;
    for (let i = 0; i < 3; i++) state.macs[i] = packet.view.getInt32(start + i * 4, true);
    const source = state.graph.macs.find(sourceHigh(packet), sourceLow(packet));
    const kind = macKind(source);
    if (port === PORT_SELF) {
      if (!this.proxied.takeFromStack()) this.bridge.forward(port);
      return;
    }
    if (kind === MAC_SELF || (port === PORT_IN && kind === MAC_PEER)) {
      state.drop(SPOOFED_PEER);
      return;
    }
    if (port === PORT_IN && kind === MAC_LOCAL_MEMBER) this.inside.hear();
    this.bridge.learn(port, source);
    if (packet.etherType === ETHERTYPE_CONTROL && this.controlFrames.take(port, source)) return;
    if (packet.etherType === ETHERTYPE_ARP && port === PORT_OUT) this.gateways.hearArp();
    if (packet.etherType === ETHERTYPE_ARP && this.announcer.takeArp(port, source)) return;
    if (packet.ipVersion !== 0 && this.takeIp(port, source)) return;
    if (packet.malformed !== null && packet.ipVersion === 0 && this.isForSelf()) {
      state.drop(MALFORMED);
      return;
    }
    this.bridge.forward(port);
  }

  /** Takes the IP packet at hand; false where it is only to be bridged. */
  private takeIp(port: number, source: number): boolean {
    const state = this.state;
    const { packet, graph } = state;
    if (packet.malformed !== null) {
      if (!this.isForSelf() && graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) < 0)
        return false;
      state.drop(MALFORMED);
      return true;
    }
    const isFromPeer = macKind(source) === MAC_PEER;
    const high = destinationHigh(packet);
    const low = destinationLow(packet);
    // Bridged, it would come past the firewall: members take datagrams from such frames (RFC 1122 section 3.3.6).
    if (
      (high & GROUP_BIT) !== 0 &&
      graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) >= 0
    ) {
      state.drop(GROUP_MAC);
      return true;
    }
    const destination = graph.macs.find(high, low);
    const destinationKind = macKind(destination);
    // A frame that a switch only flooded here is another engine's.
    const isHere =
      port === PORT_IN ||
      destinationKind === MAC_SELF ||
      destinationKind === MAC_LOCAL_MEMBER ||
      (destinationKind === 0 && this.bridge.portOf(high, low) === PORT_IN);
    const protocol = packet.protocol;
    if (packet.fragmentOffset !== 0) {
      if (graph.hasHandsOn) state.stage = this.handOn.stageOfFragment(isFromPeer, source, destination);
      if (this.knownFlows.takeFragment(port, isFromPeer, isHere)) return true;
      // A VM that owns its address also gets fragments that concern no service.
      if (!isHere || graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) < ANNOUNCED)
        return false;
      state.drop(FRAGMENT);
      return true;
    }
    if (
      graph.hasTunnels &&
      packet.destinationPort === VXLAN_PORT &&
      protocol === PROTOCOL_UDP &&
      this.takeTunnel(destinationKind)
    ) {
      return true;
    }
    if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
      if (graph.hasHandsOn && isHere) {
        const stage = this.handOn.stageOf(port, isFromPeer, source, destination);
        if (stage < 0) {
          state.drop(stage === HANDED_PAST_ENGINE ? HANDED_PAST : NOT_LOCAL);
          return true;
        }
        state.stage = stage;
      }
      const found = state.flows.find(packet, state.stage);
      if (found >= 0 && this.knownFlows.take(port, found, isFromPeer, isHere, destination)) return true;
      const tier = graph.tiers.find(
        packet.d0,
        packet.d1,
        packet.d2,
        packet.d3,
        packet.destinationPort,
        protocol,
      );
      if (tier >= 0) {
        if (graph.tierIsProxied[tier] === 1) {
          if (isFromPeer && destinationKind === MAC_LOCAL_MEMBER) {
            // Of a proxy there to its member, or of a connection that began where the service is balanced by flow.
            this.memberSide.receive(-1);
            return true;
          }
          if (!isHere || this.isTranslatedAfar(destination)) return false;
          if (!this.proxied.isTaken(isFromPeer, destinationKind))
            return this.proxied.isStopped(isFromPeer, tier);
          this.entry.begin(port, tier);
        } else if (isFromPeer) this.memberSide.receive(-1);
        else if (isHere && this.isTranslatedAfar(destination))
          return this.direct.takeFromClient(macIndex(destination));
        else if (isHere) this.entry.begin(port, tier + state.stage);
        else return false;
        return true;
      }
    } else if (protocol === PROTOCOL_ICMPV6 || protocol === PROTOCOL_ICMP) {
      if (port === PORT_OUT) this.gateways.hearNeighbour();
      if (this.announcer.takeNeighbour(port, source)) return true;
      if ((isHere || isFromPeer) && this.icmpErrors.take(port, isFromPeer)) return true;
    }
    if (graph.announcedCount > 0 && isHere) {
      const address = graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) - ANNOUNCED;
      if (address >= 0) {
        if (isFromPeer && destinationKind === MAC_LOCAL_MEMBER) state.drop(NOT_LOCAL);
        else this.unserved.take(port, address);
        return true;
      }
    }
    if (packet.l4 === 0 || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)) return false;
    if (destinationKind === MAC_LOCAL_MEMBER) {
      const member = graph.memberPorts.find(
        packet.d0,
        packet.d1,
        packet.d2,
        packet.d3,
        packet.destinationPort,
        protocol,
      );
      if (member >= 0 && member === macIndex(destination)) return this.direct.takeFromClient(member);
    }
    if (port === PORT_IN && macKind(source) === MAC_LOCAL_MEMBER) {
      const member = graph.memberPorts.find(
        packet.s0,
        packet.s1,
        packet.s2,
        packet.s3,
        packet.sourcePort,
        protocol,
      );
      if (member >= 0 && member === macIndex(source))
        return this.hashed.answer() || this.direct.takeFromMember(member);
    }
    return false;
  }

  /** Takes the frame inside the VXLAN datagram at hand; false where that is not for this engine. */
  private takeTunnel(destinationKind: number): boolean {
    const { state, tunnel } = this;
    const { packet, graph } = state;
    if (state.isTunnelled || destinationKind !== MAC_SELF) return false;
    if (graph.dataAddresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) !== 0) return false;
    const peer = tunnel.peerOf();
    if (peer < 0) {
      state.drop(TUNNEL_INVALID);
      return true;
    }
    const start = innerStart(packet);
    const length = innerLength(packet);
    writeInnerHead(packet, start);
    parse(packet, packet.buffer, start, length);
    for (let i = 0; i < 3; i++) state.macs[i] = packet.view.getInt32(start + i * 4, true);
    const source = graph.macs.find(sourceHigh(packet), sourceLow(packet));
    state.ingress = PORT_OUT;
    state.tunnelPeer = peer;
    if (source !== peerMac(peer) || !this.takeInner(source)) state.drop(TUNNEL_INVALID);
    state.tunnelPeer = -1;
    return true;
  }

  /** Takes the frame of a peer that came out of a tunnel; false where no peer sends such a one. */
  private takeInner(source: number): boolean {
    const { packet, graph } = this.state;
    if (this.isObserving) {
      if (packet.etherType !== ETHERTYPE_CONTROL) this.state.drop(OBSERVING);
      else this.controlFrames.observe(source);
      return true;
    }
    if (packet.etherType === ETHERTYPE_CONTROL) return this.controlFrames.take(PORT_OUT, source);
    const kind = macKind(graph.macs.find(destinationHigh(packet), destinationLow(packet)));
    if (kind !== MAC_LOCAL_MEMBER && kind !== MAC_SELF) {
      this.state.drop(NOT_LOCAL);
      return true;
    }
    return packet.ipVersion !== 0 && this.takeIp(PORT_OUT, source);
  }

  /**
   * Whether the packet at hand, to the own address of a member beside us, is of a connection that an engine across a
   * router translates, or a probe of its: it came by the router, and not with that engine's MAC.
   */
  private isTranslatedAfar(destination: number): boolean {
    const { packet, graph } = this.state;
    if (!graph.hasTunnels || macKind(destination) !== MAC_LOCAL_MEMBER) return false;
    const peer = graph.dataAddresses.find(packet.s0, packet.s1, packet.s2, packet.s3, 0, 0) - 1;
    if (peer < 0 || graph.peerTunnel[peer] === 0) return false;
    const at = graph.memberAddressAt(macIndex(destination), packet.ipVersion);
    const own = graph.memberAddresses(packet.ipVersion);
    return (
      at >= 0 &&
      own[at + 3] === packet.d3 &&
      own[at + 2] === packet.d2 &&
      own[at + 1] === packet.d1 &&
      own[at] === packet.d0
    );
  }

  private get isObserving(): boolean {
    return this.state.graph.source.engine.mode === 'mirror';
  }

  /** A frame in mode `mirror`: by `in` come copies, by `out` only what peers ask and answer concerns us. */
  private observe(port: number): void {
    const state = this.state;
    const { packet, graph } = state;
    const source = graph.macs.find(sourceHigh(packet), sourceLow(packet));
    if (port === PORT_SELF) state.drop(OBSERVING);
    else if (port === PORT_IN) {
      if (macKind(source) === MAC_LOCAL_MEMBER) this.inside.hear();
      this.observer.observe();
    } else if (packet.etherType === ETHERTYPE_CONTROL && this.isForSelf()) this.controlFrames.observe(source);
    else if (packet.etherType === ETHERTYPE_ARP) this.gateways.hearArp();
    else if (packet.protocol === PROTOCOL_ICMPV6 && packet.malformed === null) this.gateways.hearNeighbour();
    else if (graph.hasTunnels && packet.destinationPort === VXLAN_PORT && packet.protocol === PROTOCOL_UDP) {
      state.tunnelPeer = -1;
      this.takeTunnel(this.isForSelf() ? MAC_SELF : 0);
    }
  }

  private isForSelf(): boolean {
    const { packet, graph } = this.state;
    return macKind(graph.macs.find(destinationHigh(packet), destinationLow(packet))) === MAC_SELF;
  }
}
