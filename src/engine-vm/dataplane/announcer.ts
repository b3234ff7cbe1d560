/**
 * Addresses that no VM owns are announced by an engine: the first of the address's announcers that lives. The owner
 * answers ARP requests and neighbour solicitations on the production side; to the members beside it, every engine
 * answers with its own MAC. Changes of ownership are told with gratuitous ARP and unsolicited advertisements.
 *
 * Addresses of which routers are told by BGP (../../attract) are nobody's on the link: only members are answered.
 *
 * Nobody takes an address in a hurry: an engine that has just started first lets its probes find out who lives, and
 * an owner keeps the address until the better engine, back from the dead, has claimed it or had the time to.
 */
import {
  ARP_REQUEST,
  arpOperation,
  arpSender,
  arpSenderMacHigh,
  arpSenderMacLow,
  arpTarget,
  turnIntoArpReply,
  writeArpRequest,
} from '../../packet/arp.ts';
import {
  isNeighbourAdvertisement,
  isNeighbourSolicitation,
  ND_ADVERTISEMENT,
  ND_SOLICITATION,
  writeNeighbourAnswer,
  writeUnsolicitedAdvertisement,
} from '../../packet/neighbour.ts';
import { dropIndex } from '../drops.ts';
import { ANNOUNCED, MAC_PEER, macIndex, macKind } from './compiled-graph.ts';
import { type PathState, PORT_IN, PORT_OUT, PORT_SELF, SCRATCH_START } from './path-state.ts';
import type { Peers } from './peers.ts';

/**
 * A recovered engine waits this long before it takes addresses back from engines that live; no longer, for they leave
 * to it what it is the first for, and then nobody answers.
 */
const PREEMPT_AFTER_MS = 1000;
/** An owner that has heard no claim gives the address up when the better engine has lived this long. */
const HAND_OVER_AFTER_MS = 1500;
/** When ownership is told, milliseconds after it began. */
const TELL_AT_MS = [0, 100, 500];
const SPOOFED = dropIndex('spoofed-address');

/** One announced address. */
interface Announced {
  readonly text: string;
  isOwned: boolean;
  ownedAt: number;
  /** How many times ownership was told. */
  told: number;
  /** Peer indexes in the order of preference; -1 is this engine. Engines that the graph does not name are left out. */
  ranking: number[];
}

export class Announcer {
  private readonly state: PathState;
  private readonly peers: Peers;
  private addresses: Announced[] = [];
  /** When this engine began to take part, or to take part again. */
  private startedAt = 0;

  constructor(state: PathState, peers: Peers) {
    this.state = state;
    this.peers = peers;
  }

  /** A new graph is in force; ownership is kept by address. */
  load(isFirst: boolean, isBackInTime = false): void {
    const { graph, now } = this.state;
    // Back before anybody could take it for dead, it owns what it owned.
    if (isFirst) this.startedAt = isBackInTime ? Number.NEGATIVE_INFINITY : now;
    const known = new Map(this.addresses.map((address) => [address.text, address]));
    this.addresses = graph.announcedText.map((text, index) => {
      const ranking: number[] = [];
      for (const id of graph.isRoutedTo[index] ? [] : graph.announcers[index]) {
        const peer = id === graph.source.engine.id ? -1 : this.peers.find(id);
        if (id === graph.source.engine.id || peer >= 0) ranking.push(peer);
      }
      const before = known.get(text);
      return {
        text,
        ranking,
        isOwned: before?.isOwned ?? false,
        ownedAt: before?.ownedAt ?? 0,
        told: before?.told ?? 0,
      };
    });
  }

  /** This engine stood still long enough to be taken for dead: it begins anew. */
  restart(): void {
    this.startedAt = this.state.now;
    for (const address of this.addresses) address.isOwned = false;
  }

  /** Addresses that this engine owns now. */
  owned(): string[] {
    return this.addresses.filter((address) => address.isOwned).map((address) => address.text);
  }

  tick(): void {
    const now = this.state.now;
    for (let i = 0; i < this.addresses.length; i++) {
      const address = this.addresses[i];
      const isOurs = this.isOurs(address);
      // A peer that came back may have owned the address on its side of a broken network: it is told as well.
      if (isOurs && (!address.isOwned || this.isNewsTo(address))) {
        address.ownedAt = now;
        address.told = 0;
      }
      address.isOwned = isOurs;
      if (isOurs && address.told < TELL_AT_MS.length && now - address.ownedAt >= TELL_AT_MS[address.told]) {
        address.told++;
        this.tell(i);
      }
    }
  }

  /** Handles the ARP packet at hand; true where it goes no further. */
  takeArp(port: number, source: number): boolean {
    const packet = this.state.packet;
    const operation = arpOperation(packet);
    if (operation === 0 || port === PORT_SELF || this.addresses.length === 0) return false;
    const { graph } = this.state;
    const claimed = graph.addresses.find(0, 0, 0xffff, arpSender(packet), 0, 0) - ANNOUNCED;
    if (
      claimed >= 0 &&
      this.isClaimDone(port, claimed, source, arpSenderMacHigh(packet), arpSenderMacLow(packet))
    ) {
      return true;
    }
    if (operation !== ARP_REQUEST) return false;
    const asked = graph.addresses.find(0, 0, 0xffff, arpTarget(packet), 0, 0) - ANNOUNCED;
    if (asked < 0) return false;
    if (asked !== claimed && (port === PORT_IN || this.addresses[asked].isOwned)) {
      turnIntoArpReply(packet, graph.macHigh, graph.macLow);
      this.state.send(port);
    }
    return true;
  }

  /** Handles the neighbour message at hand; true where it goes no further. */
  takeNeighbour(port: number, source: number): boolean {
    const { packet, graph, scratch, scratchView } = this.state;
    if (packet.icmpType !== ND_SOLICITATION && packet.icmpType !== ND_ADVERTISEMENT) return false;
    if (port === PORT_SELF || this.addresses.length === 0) return false;
    const view = packet.view;
    if (isNeighbourAdvertisement(packet)) {
      const index = this.findTarget();
      const high = view.getUint16(packet.start + 6);
      return index >= 0 && this.isClaimDone(port, index, source, high, view.getInt32(packet.start + 8));
    }
    if (!isNeighbourSolicitation(packet)) return false;
    const asked = this.findTarget();
    if (asked < 0) return false;
    if (port === PORT_IN || this.addresses[asked].isOwned) {
      const { macHigh, macLow } = graph;
      const length = writeNeighbourAnswer(packet, scratch, scratchView, SCRATCH_START, macHigh, macLow);
      this.state.sendScratch(port, length);
    }
    return true;
  }

  /** Somebody says that an announced address is its own. True where that goes no further. */
  private isClaimDone(port: number, index: number, source: number, macHigh: number, macLow: number): boolean {
    if (port === PORT_IN) {
      this.state.drop(SPOOFED);
      return true;
    }
    if (macKind(source) !== MAC_PEER) return false;
    const { graph } = this.state;
    const peer = macIndex(source);
    if (graph.peerMacHigh[peer] !== macHigh || graph.peerMacLow[peer] !== macLow) return false;
    const address = this.addresses[index];
    const place = address.ranking.indexOf(peer);
    const own = address.ranking.indexOf(-1);
    if (place >= 0 && (own < 0 || place < own)) address.isOwned = false;
    // The members beside us know the address by our MAC, and shall keep to it.
    return true;
  }

  private findTarget(): number {
    const { packet, graph } = this.state;
    const at = packet.l4 + 8;
    const view = packet.view;
    const value = graph.addresses.find(
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
      0,
      0,
    );
    return value - ANNOUNCED;
  }

  private isOurs(address: Announced): boolean {
    const { now, graph } = this.state;
    const ranking = address.ranking;
    for (let place = 0; place < ranking.length; place++) {
      const peer = ranking[place];
      if (peer < 0) {
        if (address.isOwned || ranking.length === 1) return true;
        const aliveMs = now - this.startedAt;
        if (aliveMs >= PREEMPT_AFTER_MS) return true;
        return aliveMs >= graph.source.engine.deadAfterMs && !this.isAnyAlive(ranking);
      }
      if (!this.peers.isAlive(peer)) continue;
      if (address.isOwned && now - this.peers.aliveSince(peer) < HAND_OVER_AFTER_MS) continue;
      return false;
    }
    return false;
  }

  private isNewsTo(address: Announced): boolean {
    for (const peer of address.ranking) {
      if (peer >= 0 && this.peers.isAlive(peer) && this.peers.aliveSince(peer) > address.ownedAt) return true;
    }
    return false;
  }

  private isAnyAlive(ranking: readonly number[]): boolean {
    for (const peer of ranking) if (peer >= 0 && this.peers.isAlive(peer)) return true;
    return false;
  }

  private tell(index: number): void {
    const { graph, scratch, scratchView } = this.state;
    const words = graph.announced;
    const at = index * 4;
    const { macHigh, macLow } = graph;
    const isIpv4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
    const length = isIpv4
      ? writeArpRequest(scratchView, SCRATCH_START, 0xffff, -1, macHigh, macLow, words[at + 3], words[at + 3])
      : writeUnsolicitedAdvertisement(scratch, scratchView, SCRATCH_START, macHigh, macLow, words, at);
    this.state.sendScratch(PORT_OUT, length);
  }
}
