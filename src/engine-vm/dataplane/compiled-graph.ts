/**
 * A service graph in the form in which packets meet it: tables with integer keys, and attributes in typed arrays.
 * Compiling is pure: it throws and changes nothing where the graph contradicts itself.
 */
import { createHmac } from 'node:crypto';
import { macHigh, macLow, parseAddress, parsePrefix } from '../../packet/address.ts';
import type { Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../packet/parse.ts';
import { VXLAN_OVERHEAD } from '../../packet/vxlan.ts';
import type { GraphService, ServiceGraph } from '../../policy/graph.ts';
import { AddressTable } from './address-table.ts';
import { CONTROL_OVERHEAD, LONGEST_BODY } from './control.ts';
import { HashedServices, isHashing } from './hashed-services.ts';
import { MacTable } from './mac-table.ts';
import { routerTo, tunnelTo } from './reach.ts';

/** What a MAC is; the upper bits of a value of `macs`, the lower 24 hold the index. */
export const MAC_SELF = 1;
export const MAC_PEER = 2;
/** A member beside this engine. */
export const MAC_LOCAL_MEMBER = 3;
export const MAC_OTHER_MEMBER = 4;
const MAC_SHIFT = 24;
const MAC_INDEX = (1 << MAC_SHIFT) - 1;

/** Where a member is, seen from this engine. */
export const PLACE_HERE = 1;
export const PLACE_BESIDE_PEER = 2;
export const PLACE_NO_ENGINE = 3;

/** A service address that some VM owns, as a value of `addresses`; others are an index into the announced ones. */
export const OWNED_BY_VM = 0;
/** Value of an announced address is this plus its index. */
export const ANNOUNCED = 1;

/** When SYNs to a tier are answered with cookies. */
export const COOKIES_NEVER = 0;
export const COOKIES_IN_FLOODS = 1;
export const COOKIES_ALWAYS = 2;

/** The kind of a value of `macs`, 0 for -1. */
export function macKind(value: number): number {
  return value < 0 ? 0 : value >> MAC_SHIFT;
}

/** The value of a peer's MAC. */
export function peerMac(peer: number): number {
  return (MAC_PEER << MAC_SHIFT) | peer;
}

export function macIndex(value: number): number {
  return value & MAC_INDEX;
}

export class CompiledGraph {
  readonly source: ServiceGraph;
  readonly macHigh: number;
  readonly macLow: number;
  readonly groupKey: Buffer;
  readonly macs: MacTable;
  /** Own data addresses: four words each; `ownAddressCount` of them. */
  readonly ownAddresses: Int32Array;
  readonly ownAddressCount: number;
  /** Data addresses to 0 for own ones, else 1 + the peer's index. */
  readonly dataAddresses: AddressTable;

  readonly peerCount: number;
  readonly peerMacHigh: Int32Array;
  readonly peerMacLow: Int32Array;
  /** 0 for a peer on the link; else the IP version of the tunnel to it. */
  readonly peerTunnel: Uint8Array;
  /** Of tunnels: eight words per peer, our end and the peer's; VNIs by direction. */
  readonly tunnelEnds: Int32Array;
  readonly tunnelVniOut: Int32Array;
  readonly tunnelVniIn: Int32Array;
  readonly hasTunnels: boolean;
  readonly siteMtu: number;
  /** Longest body of a control frame that reaches every peer. */
  readonly longestBody: number;
  /** Routers by family (4 at 0, 6 at 1): four words each, and whether there is one. */
  readonly gateways: Int32Array;
  readonly hasGateway: readonly [boolean, boolean];

  readonly memberCount: number;
  readonly memberMacHigh: Int32Array;
  readonly memberMacLow: Int32Array;
  readonly memberPlace: Uint8Array;
  /** The peer beside which the member is, or -1. */
  readonly memberPeer: Int32Array;
  /** Bit 1: the IPv4 address is behind a router, bit 2: the IPv6 address is. */
  readonly memberRouted: Uint8Array;
  /** Four words per member and family, and whether there are any. */
  readonly memberIpv4: Int32Array;
  readonly memberIpv6: Int32Array;
  readonly memberHasIpv4: Uint8Array;
  readonly memberHasIpv6: Uint8Array;
  /** Members beside this engine. */
  readonly localMembers: Int32Array;
  /** Member address, pool port and protocol to the member, for members beside this engine. */
  readonly memberPorts: AddressTable;

  /** Tiers of all services, in order. */
  readonly tierCount: number;
  readonly tierService: Int32Array;
  /** Index within its service. */
  readonly tierPosition: Int32Array;
  readonly tierPool: Int32Array;
  /** The port on which the members of the tier's pool serve. */
  readonly tierMemberPort: Int32Array;
  /** 1 where members get packets for the service address itself (DSR). */
  readonly tierIsDsr: Uint8Array;
  /** 1 where connections end in the engine's own stack, at a proxy. */
  readonly tierIsProxied: Uint8Array;
  /** 1 where answers return through the engine that chose the member. */
  readonly tierReturns: Uint8Array;
  /** COOKIES_NEVER, or when SYNs to the tier are answered with cookies. */
  readonly tierCookies: Uint8Array;
  /** 1 where new flows are forwarded by hash when the flow table is full. */
  readonly tierHashes: Uint8Array;
  readonly hashed: HashedServices;
  /** 1 where members hand the same packet on, to the next tier of the list. */
  readonly tierHandsOn: Uint8Array;
  /** 1 where packets pass on to the next tier while no member of this one can be had. */
  readonly tierFailsOpen: Uint8Array;
  /** 1 where the tier hands on, or the one before it does. */
  readonly tierIsChained: Uint8Array;
  readonly hasHandsOn: boolean;
  /** 1 for members of any tier that hands on. */
  readonly memberHandsOn: Uint8Array;
  /** Service address, port and protocol to the tier. */
  readonly tiers: AddressTable;

  /** Service addresses to OWNED_BY_VM, or ANNOUNCED + index. */
  readonly addresses: AddressTable;
  readonly announcedCount: number;
  /** Four words each. */
  readonly announced: Int32Array;
  readonly announcedText: readonly string[];
  readonly announcers: readonly (readonly string[])[];
  /** Whether routers are told of the announced address: then nobody answers for it on the link. */
  readonly isRoutedTo: readonly boolean[];
  /** Services that have a tier at the announced address. */
  readonly announcedServices: readonly (readonly number[])[];

  constructor(graph: ServiceGraph) {
    this.source = graph;
    const { engine, peers, members, pools, services } = graph;
    check(engine.id !== '', 'the engine has no id');
    this.macHigh = highOf(engine.mac, `engine ${engine.id}`);
    this.macLow = macLow(engine.mac);
    this.groupKey = Buffer.from(engine.groupKey, 'base64');
    check(this.groupKey.length === 32, `engine ${engine.id}: groupKey must be 32 bytes in base64`);
    check(
      Number.isInteger(engine.maxFlows) && engine.maxFlows >= 2 && engine.maxFlows <= 4_194_304,
      `engine ${engine.id}: maxFlows must lie between 2 and 4194304, is ${engine.maxFlows}`,
    );
    check(
      engine.probeIntervalMs > 0 && engine.deadAfterMs > 0,
      `engine ${engine.id}: probeIntervalMs and deadAfterMs must be positive`,
    );

    this.macs = new MacTable(1 + peers.length + members.length);
    this.macs.add(this.macHigh, this.macLow, MAC_SELF << MAC_SHIFT);
    const dataCount = peers.reduce(
      (sum, peer) => sum + peer.dataAddresses.length,
      engine.dataAddresses.length,
    );
    this.dataAddresses = new AddressTable(dataCount);
    this.ownAddressCount = engine.dataAddresses.length;
    this.ownAddresses = new Int32Array(this.ownAddressCount * 4);
    engine.dataAddresses.forEach((text, index) => {
      check(
        parsePrefix(text, this.ownAddresses, index * 4) >= 0,
        `engine ${engine.id}: ${text} is no data address`,
      );
      this.dataAddresses.add(this.ownAddresses, index * 4, 0, 0, 0);
    });

    this.peerCount = peers.length;
    this.peerMacHigh = new Int32Array(peers.length);
    this.peerMacLow = new Int32Array(peers.length);
    const words = new Int32Array(4);
    const ids = new Set([engine.id]);
    peers.forEach((peer, index) => {
      check(!ids.has(peer.id), `peer ${peer.id} is listed twice, or is this engine itself`);
      ids.add(peer.id);
      this.peerMacHigh[index] = highOf(peer.mac, `peer ${peer.id}`);
      this.peerMacLow[index] = macLow(peer.mac);
      check(
        this.macs.add(this.peerMacHigh[index], this.peerMacLow[index], (MAC_PEER << MAC_SHIFT) | index),
        `peer ${peer.id}: ${peer.mac} is also the MAC of another engine`,
      );
      for (const text of peer.dataAddresses) {
        check(parsePrefix(text, words) >= 0, `peer ${peer.id}: ${text} is no data address`);
        this.dataAddresses.add(words, 0, 0, 0, 1 + index);
      }
    });

    this.siteMtu = engine.siteMtu ?? 1500;
    this.gateways = new Int32Array(8);
    const hasGateway: [boolean, boolean] = [false, false];
    for (const text of engine.gateways ?? []) {
      const family = text.includes(':') ? 1 : 0;
      check(parseAddress(text, this.gateways, family * 4), `engine ${engine.id}: ${text} is no gateway`);
      hasGateway[family] = true;
    }
    this.hasGateway = hasGateway;
    this.peerTunnel = new Uint8Array(peers.length);
    this.tunnelEnds = new Int32Array(peers.length * 8);
    this.tunnelVniOut = new Int32Array(peers.length);
    this.tunnelVniIn = new Int32Array(peers.length);
    peers.forEach((peer, index) => {
      const ends = tunnelTo(engine, peer);
      if (ends === null) return;
      this.peerTunnel[index] = ends.own.includes(':') ? 6 : 4;
      parseAddress(ends.own, this.tunnelEnds, index * 8);
      parseAddress(ends.peer, this.tunnelEnds, index * 8 + 4);
      this.tunnelVniOut[index] = tunnelVni(this.groupKey, engine.id, peer.id);
      this.tunnelVniIn[index] = tunnelVni(this.groupKey, peer.id, engine.id);
    });
    this.hasTunnels = this.peerTunnel.some((family) => family !== 0);
    this.longestBody = this.hasTunnels
      ? Math.min(LONGEST_BODY, this.siteMtu - VXLAN_OVERHEAD.ipv6 - CONTROL_OVERHEAD)
      : LONGEST_BODY;

    this.memberCount = members.length;
    this.memberPeer = new Int32Array(members.length).fill(-1);
    this.memberRouted = new Uint8Array(members.length);
    const peerIndexes = new Map(peers.map((peer, index) => [peer.id, index]));
    this.memberMacHigh = new Int32Array(members.length);
    this.memberMacLow = new Int32Array(members.length);
    this.memberPlace = new Uint8Array(members.length);
    this.memberIpv4 = new Int32Array(members.length * 4);
    this.memberIpv6 = new Int32Array(members.length * 4);
    this.memberHasIpv4 = new Uint8Array(members.length);
    this.memberHasIpv6 = new Uint8Array(members.length);
    const memberIds = new Set<string>();
    const local: number[] = [];
    members.forEach((member, index) => {
      check(!memberIds.has(member.id), `member ${member.id} is listed twice`);
      memberIds.add(member.id);
      this.memberMacHigh[index] = highOf(member.mac, `member ${member.id}`);
      this.memberMacLow[index] = macLow(member.mac);
      const isHere = member.engine === engine.id;
      if (isHere) local.push(index);
      this.memberPlace[index] = isHere
        ? PLACE_HERE
        : member.engine === null
          ? PLACE_NO_ENGINE
          : PLACE_BESIDE_PEER;
      if (!isHere && member.engine !== null) this.memberPeer[index] = peerIndexes.get(member.engine) ?? -1;
      for (const [address, bit] of [
        [member.ipv4, 1],
        [member.ipv6, 2],
      ] as const) {
        if (address !== null && !isHere && routerTo(engine, address) !== null)
          this.memberRouted[index] |= bit;
      }
      const kind = isHere ? MAC_LOCAL_MEMBER : MAC_OTHER_MEMBER;
      check(
        this.macs.add(this.memberMacHigh[index], this.memberMacLow[index], (kind << MAC_SHIFT) | index),
        `member ${member.id}: ${member.mac} is also the MAC of another member or engine`,
      );
      if (member.ipv4 !== null) {
        check(
          !member.ipv4.includes(':') && parseAddress(member.ipv4, this.memberIpv4, index * 4),
          `member ${member.id}: ${member.ipv4} is no IPv4 address`,
        );
        this.memberHasIpv4[index] = 1;
      }
      if (member.ipv6 !== null) {
        check(
          member.ipv6.includes(':') && parseAddress(member.ipv6, this.memberIpv6, index * 4),
          `member ${member.id}: ${member.ipv6} is no IPv6 address`,
        );
        this.memberHasIpv6[index] = 1;
      }
    });
    this.localMembers = Int32Array.from(local);

    for (const pool of pools) {
      check(isPort(pool.port), `pool ${pool.name}: ${pool.port} is no port`);
      for (const entry of pool.members) {
        check(isIndex(entry.member, members.length), `pool ${pool.name}: there is no member ${entry.member}`);
      }
    }

    let tierCount = 0;
    let addressCount = 0;
    let poolEntries = 0;
    for (const service of services) {
      check(
        service.protocol === 'tcp' || service.protocol === 'udp',
        `service ${service.name}: unknown protocol ${String(service.protocol)}`,
      );
      tierCount += service.tiers.length;
      for (const tier of service.tiers) {
        const where = `service ${service.name}, tier ${tier.name}`;
        check(isIndex(tier.pool, pools.length), `${where}: there is no pool ${tier.pool}`);
        check(isPort(tier.port), `${where}: ${tier.port} is no port`);
        addressCount += tier.addresses.length;
        poolEntries += pools[tier.pool].members.length;
      }
    }
    this.tierCount = tierCount;
    this.tierService = new Int32Array(tierCount);
    this.tierPosition = new Int32Array(tierCount);
    this.tierPool = new Int32Array(tierCount);
    this.tierMemberPort = new Int32Array(tierCount);
    this.tierReturns = new Uint8Array(tierCount);
    this.tierCookies = new Uint8Array(tierCount);
    this.tierIsDsr = new Uint8Array(tierCount);
    this.tierIsProxied = new Uint8Array(tierCount);
    this.tierHashes = new Uint8Array(tierCount);
    this.tierHandsOn = new Uint8Array(tierCount);
    this.tierFailsOpen = new Uint8Array(tierCount);
    this.tierIsChained = new Uint8Array(tierCount);
    this.memberHandsOn = new Uint8Array(members.length);
    this.tiers = new AddressTable(addressCount);
    this.addresses = new AddressTable(addressCount);
    this.memberPorts = new AddressTable(poolEntries * 2);
    const announced: number[] = [];
    const announcedText: string[] = [];
    const announcers: string[][] = [];
    const isRoutedTo: boolean[] = [];
    const announcedServices: number[][] = [];
    let index = 0;
    services.forEach((service, serviceIndex) => {
      const protocol = service.protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
      service.tiers.forEach((tier, position) => {
        const where = `service ${service.name}, tier ${tier.name}`;
        this.tierService[index] = serviceIndex;
        this.tierPosition[index] = position;
        this.tierPool[index] = tier.pool;
        this.tierMemberPort[index] = pools[tier.pool].port;
        this.tierIsProxied[index] = service.http !== undefined && position === 0 ? 1 : 0;
        this.tierIsDsr[index] = service.delivery === 'dsr' ? 1 : 0;
        this.tierHashes[index] = isHashing(service) ? 1 : 0;
        if (tier.handsOn !== undefined) {
          const next = service.tiers[position + 1];
          check(next !== undefined, `${where}: no tier follows that its members could hand packets on to`);
          check(next.port === tier.port, `${where}: the next tier has port ${next.port}, not ${tier.port}`);
          this.tierHandsOn[index] = 1;
          this.tierFailsOpen[index] = tier.handsOn.failMode === 'open' ? 1 : 0;
          this.tierIsChained[index] = 1;
          this.tierIsChained[index + 1] = 1;
          for (const { member } of pools[tier.pool].members) this.memberHandsOn[member] = 1;
        }
        this.tierReturns[index] = service.returnPath === 'engine' ? 1 : 0;
        // Each engine that a packet meets needs its flow, and none but the last tier's sees answers.
        if (this.tierIsChained[index] === 1) this.tierHashes[index] = 0;
        this.tierCookies[index] = this.tierIsChained[index] === 1 ? COOKIES_NEVER : cookiesOf(service);
        for (const { address, announcers: engines, attraction } of tier.addresses) {
          check(parseAddress(address, words), `${where}: ${address} is no address`);
          check(
            this.tiers.add(words, 0, tier.port, protocol, index),
            `${where}: ${address} port ${tier.port}/${service.protocol} is also claimed by another tier`,
          );
          const known = this.addresses.find(words[0], words[1], words[2], words[3], 0, 0);
          if (engines.length === 0) {
            check(
              known <= OWNED_BY_VM,
              `${where}: ${address} is announced in one tier and owned by a VM in another`,
            );
            this.addresses.add(words, 0, 0, 0, OWNED_BY_VM);
          } else if (known < 0) {
            this.addresses.add(words, 0, 0, 0, ANNOUNCED + announcers.length);
            announced.push(...words);
            announcedText.push(address);
            announcers.push(engines);
            isRoutedTo.push(attraction === 'bgp');
            announcedServices.push([serviceIndex]);
          } else {
            check(known >= ANNOUNCED, `${where}: ${address} is owned by a VM in another tier`);
            const list = announcedServices[known - ANNOUNCED];
            if (!list.includes(serviceIndex)) list.push(serviceIndex);
          }
        }
        for (const entry of pools[tier.pool].members) {
          if (this.memberPlace[entry.member] !== PLACE_HERE) continue;
          const port = pools[tier.pool].port;
          if (this.memberHasIpv4[entry.member] === 1) {
            this.memberPorts.add(this.memberIpv4, entry.member * 4, port, protocol, entry.member);
          }
          if (this.memberHasIpv6[entry.member] === 1) {
            this.memberPorts.add(this.memberIpv6, entry.member * 4, port, protocol, entry.member);
          }
        }
        index++;
      });
    });
    this.hasHandsOn = this.tierHandsOn.includes(1);
    this.announcedCount = announcers.length;
    this.announced = Int32Array.from(announced);
    this.announcedText = announcedText;
    this.announcers = announcers;
    this.isRoutedTo = isRoutedTo;
    this.announcedServices = announcedServices;
    this.hashed = new HashedServices(graph);
  }

  /** Where the member's address of a family begins in `memberAddresses(family)`, or -1 where it has none. */
  memberAddressAt(member: number, ipVersion: number): number {
    const has = ipVersion === 4 ? this.memberHasIpv4[member] : this.memberHasIpv6[member];
    return has === 1 ? member * 4 : -1;
  }

  memberAddresses(ipVersion: number): Int32Array {
    return ipVersion === 4 ? this.memberIpv4 : this.memberIpv6;
  }

  /** The largest IP packet that may be put into the tunnel to a peer. */
  tunnelRoom(peer: number): number {
    return this.siteMtu - (this.peerTunnel[peer] === 4 ? VXLAN_OVERHEAD.ipv4 : VXLAN_OVERHEAD.ipv6);
  }

  /** Whether the member's address of a family is reached by a router. */
  isRouted(member: number, ipVersion: number): boolean {
    return (this.memberRouted[member] & (ipVersion === 4 ? 1 : 2)) !== 0;
  }

  /** Whether a packet was sent from the member's own address. */
  isAddressOf(member: number, packet: Packet): boolean {
    const at = this.memberAddressAt(member, packet.ipVersion);
    const own = this.memberAddresses(packet.ipVersion);
    return (
      at >= 0 &&
      own[at + 3] === packet.s3 &&
      own[at + 2] === packet.s2 &&
      own[at + 1] === packet.s1 &&
      own[at] === packet.s0
    );
  }

  /** What flows to a tier (-1: past the services) are counted as, by service: 0 is of none. */
  groupOf(tier: number): number {
    return tier < 0 ? 0 : this.tierService[tier] + 1;
  }

  /** The last tier that packets to a tier reach, handed on from tier to tier. */
  lastTier(tier: number): number {
    let last = tier;
    while (this.tierHandsOn[last] === 1) last++;
    return last;
  }

  /** Whether the member is in the pool of the tier. */
  isInTier(tier: number, member: number): boolean {
    const entries = this.source.pools[this.tierPool[tier]].members;
    for (let i = 0; i < entries.length; i++) {
      if (entries[i].member === member) return true;
    }
    return false;
  }
}

/**
 * The VNI of frames from one engine to another, made of the group's key: a tunnel is known by nobody else, and each
 * direction has its own.
 */
export function tunnelVni(groupKey: Buffer, from: string, to: string): number {
  const digest = createHmac('sha256', groupKey).update(`vxlan ${from} ${to}`).digest();
  return digest.readUIntBE(0, 3) || 1;
}

function highOf(mac: string, whose: string): number {
  const high = macHigh(mac);
  check(high >= 0, `${whose}: ${mac} is no MAC`);
  check((high & 0x0100) === 0, `${whose}: ${mac} is a group address`);
  return high;
}

function cookiesOf({ protocol, delivery, synCookies }: GraphService): number {
  if (protocol !== 'tcp' || delivery === 'dsr' || synCookies === undefined) return COOKIES_NEVER;
  return synCookies === 'always' ? COOKIES_ALWAYS : COOKIES_IN_FLOODS;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

function isIndex(index: number, length: number): boolean {
  return Number.isInteger(index) && index >= 0 && index < length;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`service graph refused: ${what}`);
}
