/**
 * The routers to other networks: which MACs they have. Asked for by ARP and neighbour solicitation, and believed as any
 * host on the link believes: whoever says by ARP or advertisement that the router's address is its own has it, so that
 * routers that stand in for each other (VRRP) are followed.
 */
import { arpSender, arpSenderMacHigh, arpSenderMacLow, writeArpRequest } from '../../packet/arp.ts';
import { isGroup, writeDestination } from '../../packet/ethernet.ts';
import { isNeighbourAdvertisement, writeSolicitation } from '../../packet/neighbour.ts';
import { dropIndex } from '../drops.ts';
import { type PathState, PORT_OUT, SCRATCH_START } from './path-state.ts';

/** While nothing is known, and afterwards: the kernel's own habit is some 30 s. */
const ASK_EVERY_MS = 500;
const ASK_AGAIN_MS = 10_000;
const TARGET_LINK_ADDRESS = 2;
const NO_ROUTE = dropIndex('no-route');

export class Gateways {
  private readonly state: PathState;
  /** By family, 4 at 0 and 6 at 1; high is -1 where the MAC is not known. */
  private readonly high = new Int32Array(2).fill(-1);
  private readonly low = new Int32Array(2);
  private readonly askAt = new Float64Array(2);
  /** Whose MACs these are: four words each. */
  private readonly known = new Int32Array(8);

  constructor(state: PathState) {
    this.state = state;
  }

  /** A new graph is in force; the MACs of routers that stay are kept. */
  load(): void {
    const { gateways, hasGateway } = this.state.graph;
    for (let family = 0; family < 2; family++) {
      const at = family * 4;
      let isSame = hasGateway[family];
      for (let i = at; i < at + 4; i++) isSame &&= this.known[i] === gateways[i];
      if (isSame) continue;
      this.high[family] = -1;
      this.askAt[family] = 0;
    }
    this.known.set(gateways);
  }

  /** Whether the router of an IP version answers. */
  isKnown(ipVersion: number): boolean {
    return this.high[ipVersion === 4 ? 0 : 1] >= 0;
  }

  /** The MAC of the router of an IP version, for whom `isKnown` is true. */
  macHigh(ipVersion: number): number {
    return this.high[ipVersion === 4 ? 0 : 1];
  }

  macLow(ipVersion: number): number {
    return this.low[ipVersion === 4 ? 0 : 1];
  }

  /**
   * Addresses the packet at hand to the MAC by which a member is reached: its own, or a router's. False, and a drop,
   * where that router is not known.
   */
  addressTo(member: number): boolean {
    const { packet, graph } = this.state;
    if (!graph.isRouted(member, packet.ipVersion)) {
      writeDestination(packet, graph.memberMacHigh[member], graph.memberMacLow[member]);
      return true;
    }
    const family = packet.ipVersion === 4 ? 0 : 1;
    if (this.high[family] < 0) {
      this.state.drop(NO_ROUTE);
      return false;
    }
    writeDestination(packet, this.high[family], this.low[family]);
    return true;
  }

  /** Looks at the ARP packet at hand, which came in by `out`. */
  hearArp(): void {
    const { packet, graph } = this.state;
    if (!graph.hasGateway[0] || packet.l3 + 28 > packet.start + packet.length) return;
    if (arpSender(packet) === graph.gateways[3]) {
      this.learn(0, arpSenderMacHigh(packet), arpSenderMacLow(packet));
    }
  }

  /** Looks at the neighbour message at hand, which came in by `out`. */
  hearNeighbour(): void {
    const { packet, graph } = this.state;
    if (!graph.hasGateway[1] || !isNeighbourAdvertisement(packet)) return;
    const { view, l4, end } = packet;
    for (let i = 0; i < 4; i++) if (view.getInt32(l4 + 8 + 4 * i) !== graph.gateways[4 + i]) return;
    if (l4 + 32 > end || view.getUint8(l4 + 24) !== TARGET_LINK_ADDRESS) return;
    this.learn(1, view.getUint16(l4 + 26), view.getInt32(l4 + 28));
  }

  tick(): void {
    const { graph, now, scratch, scratchView } = this.state;
    for (let family = 0; family < 2; family++) {
      if (!graph.hasGateway[family] || now < this.askAt[family]) continue;
      this.askAt[family] = now + (this.high[family] < 0 ? ASK_EVERY_MS : ASK_AGAIN_MS);
      const own = this.ownAddressAt(family);
      if (own < 0) continue;
      const { macHigh, macLow, gateways, ownAddresses } = graph;
      const length =
        family === 0
          ? writeArpRequest(
              scratchView,
              SCRATCH_START,
              0xffff,
              -1,
              macHigh,
              macLow,
              ownAddresses[own + 3],
              gateways[3],
            )
          : writeSolicitation(
              scratch,
              scratchView,
              SCRATCH_START,
              0x3333,
              // The solicited-node group (RFC 2464 section 7).
              0xff000000 | (gateways[7] & 0xffffff),
              macHigh,
              macLow,
              ownAddresses,
              own,
              gateways,
              4,
            );
      this.state.sendScratch(PORT_OUT, length);
    }
  }

  private learn(family: number, high: number, low: number): void {
    const { graph, flows } = this.state;
    // Nobody becomes a router by saying so with an engine's or a member's MAC.
    if (isGroup(high) || graph.macs.find(high, low) >= 0) return;
    if (this.high[family] === high && this.low[family] === low) return;
    this.high[family] = high;
    this.low[family] = low;
    this.askAt[family] = this.state.now + ASK_AGAIN_MS;
    // What the kernel forwards to the former MAC is decided anew.
    flows.slots?.invalidate();
  }

  private ownAddressAt(family: number): number {
    const { ownAddresses: own, ownAddressCount } = this.state.graph;
    for (let at = 0; at < ownAddressCount * 4; at += 4) {
      const isIpv4 = own[at] === 0 && own[at + 1] === 0 && own[at + 2] === 0xffff;
      if (isIpv4 === (family === 0)) return at;
    }
    return -1;
  }
}
