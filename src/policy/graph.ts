/**
 * The service graph: policy compiled for one engine. The controller writes it (shared-state key `graph/<engine>`),
 * the engine keeps it on disk and executes it; it is applied whole or not at all.
 *
 * Addresses are text in canonical form, MACs are lower-case colon-separated text, and lists refer to each other
 * by index into `members`, so that the engine can load it into typed arrays in one pass.
 */

import type { BalancingMethod } from './balancing-methods.ts';
import type { BgpSettings, FastPathChoice, FlowTimeouts } from './engine-group.ts';
import type { FirewallPolicySpec, FirewallRule } from './firewall-policy.ts';
import type { HttpService } from './http-service.ts';
import type { HealthMonitor } from './pool.ts';
import type { MemberTls } from './pool-tls.ts';
import type { ReturnPath, SynCookieChoice } from './virtual-service.ts';

export interface ServiceGraph {
  /** Grows with every change of the content; the engine acknowledges it. */
  revision: number;
  engine: GraphEngine;
  /** The other engines of the group, in id order. A frame whose source MAC is a peer's is already balanced. */
  peers: GraphPeer[];
  /** Every member of every pool that a service of this engine uses. */
  members: GraphMember[];
  pools: GraphPool[];
  services: GraphService[];
  /** Sets of addresses that firewall rules refer to by index. */
  addressSets?: GraphAddressSet[];
  /** Sets of members (indices into `members`) that firewall rules refer to by index. */
  memberSets?: number[][];
  /** Certificates and authority sets that services and pools name; what they hold comes apart, and is never kept. */
  tls?: GraphTls[];
}

/** Equal hash for equal content. */
export interface GraphTls {
  kind: 'certificate' | 'authority-set';
  name: string;
  hash: string;
}

/** The value of the shared-state key `tls/<engine>/<kind>/<name>`. */
export type TlsEntry =
  | { hash: string; chain: string; key: string; ocsp?: string | undefined }
  | { hash: string; certificates: string; revoked?: string | undefined };

/** Prefixes that rules share: an address set of the policy, or the addresses of the VMs that carry some tags. */
export interface GraphAddressSet {
  name: string;
  /** Equal for equal content. */
  hash: string;
  /**
   * The content, as packet/packed-prefixes.ts writes it. The controller leaves it out for an address set of the policy: that
   * is an entry of the shared state of its own, and the engine puts it in before the graph comes into force.
   */
  prefixes?: string;
}

/** The value of the shared-state key `address-set/<name>`. */
export interface AddressSetEntry {
  hash: string;
  prefixes: string;
}

/** A rule with its sets and tags compiled: indices into `addressSets` and `memberSets`. */
export interface GraphFirewallRule
  extends Omit<FirewallRule, 'fromSets' | 'toSets' | 'fromTags' | 'memberTags'> {
  fromSets?: number[] | undefined;
  toSets?: number[] | undefined;
  memberSet?: number | undefined;
}

export interface GraphEngine {
  id: string;
  host: string;
  /** MAC of the `out` NIC: this engine's identity on the production network. */
  mac: string;
  failMode: 'open' | 'closed';
  /**
   * `mirror`: what comes in by `in` are copies. They are counted, and nothing is sent but probes between engines.
   * `in-line` where it is not said.
   */
  mode?: 'in-line' | 'mirror';
  /** Own addresses on the production network with prefix length, for example `10.77.0.201/24`. */
  dataAddresses: string[];
  /**
   * Routers on that network, one per family, to peers and members in other networks. Where none is said, all are taken
   * to be on the same link.
   */
  gateways?: string[];
  /** The largest IP packet between networks; 1500 where it is not said. */
  siteMtu?: number;
  /** Routers that the engine tells of addresses; only those in its own networks. */
  bgp?: BgpSettings;
  probeIntervalMs: number;
  deadAfterMs: number;
  maxFlows: number;
  /** How long flows may be silent; the engine's defaults where it is not said. */
  timeouts?: FlowTimeouts;
  /** How the kernel shall forward known flows; `auto` where it is not said. */
  fastPath?: FastPathChoice;
  /** Base64 of the 32-byte key that authenticates control frames between the engines of this group. */
  groupKey: string;
}

export interface GraphPeer {
  id: string;
  host: string;
  mac: string;
  /** The peer's own addresses, with prefix length: its health probes come from them and are not counted. */
  dataAddresses: string[];
}

export interface GraphMember {
  /** `<cloud>/<vm id>/<nic id>`: stable over renames and migrations. */
  id: string;
  vm: string;
  host: string;
  mac: string;
  ipv4: string | null;
  ipv6: string | null;
  /** H: hops between this member and this engine; 0 on the same host. */
  hops: number;
  /** The engine in line before this member, or the one that observes it; null where none is (never deployed, bypassed). */
  engine: string | null;
}

export interface GraphPool {
  name: string;
  port: number;
  healthMonitors: HealthMonitor[];
  /** How proxies speak TLS with the members; plain where it is not said. */
  tls?: MemberTls;
  members: { member: number; weight: number; isDraining: boolean }[];
}

export interface GraphService {
  name: string;
  protocol: 'tcp' | 'udp';
  tiers: GraphTier[];
  components: GraphComponent[];
  /** `dsr`: members get packets for the service address itself. Their own address where it is not said. */
  delivery?: 'dsr';
  /** `engine`: answers return through the engine that chose the member. `direct` where it is not said. */
  returnPath?: ReturnPath;
  /** The engine proxies HTTP of the first tier; pools of its routes are among `pools`, by name. */
  http?: HttpService;
  /** When SYNs are answered with cookies; never where it is not said. */
  synCookies?: Exclude<SynCookieChoice, 'off'>;
  /** `hash`: where the flow table is full, new flows are forwarded without a record. `refuse` where it is not said. */
  whenTableFull?: 'hash';
}

export interface GraphTier {
  name: string;
  port: number;
  /** Index into `pools`. */
  pool: number;
  addresses: GraphAddress[];
  /** Its members send the same packet on, to the next tier of the list. `failMode`: of the tier, where no member is up. */
  handsOn?: { failMode: 'open' | 'closed' };
}

export interface GraphAddress {
  address: string;
  /**
   * Empty where a VM owns the address: traffic comes in line of itself. Otherwise the engines that announce the
   * address by ARP and ND, best first: the first one that lives does.
   */
  announcers: string[];
  /** `bgp`: all announcers tell routers of the address at once, and none answers for it on the link. */
  attraction?: 'bgp';
}

export type GraphComponent =
  | {
      type: 'firewall';
      policy: string;
      rules: GraphFirewallRule[];
      defaultAction: FirewallPolicySpec['defaultAction'];
    }
  | {
      type: 'load-balancer';
      method: BalancingMethod;
      persistence:
        | { type: 'none' }
        | { type: 'source-address'; timeoutMs: number }
        | { type: 'header'; name: string; timeoutMs: number };
    };
