/**
 * What Weft answers when it is asked: plan, explain, trace, status. Engine, controller, REST and CLI share these
 * shapes; `policy` is the folder that all of them know.
 */

import type { AutoscaleStatus } from './autoscale.ts';
import type { ReturnPath } from './virtual-service.ts';

/** What a change did to one object, or would do in a dry run. */
export interface ApplyResult {
  kind: string;
  name: string;
  result: 'created' | 'changed' | 'unchanged' | 'deleted';
  /** Revision of the object after the change; of the deletion for a deleted one; as it is now in a dry run. */
  revision: number;
}

/** One event of the watch stream: an object, or what is observed of it, changed. */
export interface WatchEvent {
  kind: string;
  name: string;
  /** Which half changed: `spec` is intent, `status` observation. */
  part: 'spec' | 'status';
  type: 'changed' | 'deleted';
  /** Store revision of the change; the watch can be taken up again after it. */
  revision: number;
  /** The new spec or status; missing where it was deleted. */
  value?: unknown;
}

/** One step towards the desired state, as `weft plan` prints it and the controller performs it. */
export interface StepSummary {
  /** Verb of the step, for example `deploy-engine`. */
  step: string;
  /** What it acts on, for example `host h1` or `nic app1/eth0`. */
  object: string;
  /** One sentence for people: what will be done and why. */
  reason: string;
  /** What undoes it, or null where nothing can. */
  undo: string | null;
  /** What the platform would reconfigure for it, a line each, in the platform's words; only where it says so. */
  changes?: string[];
  /** Privileges that the cloud's user lacks for it, a sentence each; only where there are any. */
  missing?: string[];
}

/** What came of taking a cloud over from another controller. */
export interface TakeOver {
  cloud: string;
  /** What it still waits for before anything is changed, a sentence; null where it is this controller's now. */
  waitsFor: string | null;
}

/** Where the web console is. */
export interface ConsoleAddress {
  /** `https://address:port`, without a slash at its end. */
  url: string;
  /** SHA-256 of its certificate, upper-case pairs with colons. */
  thumbprint: string;
  /** PEM. */
  certificate: string;
  /** Of what it serves. */
  build: string;
}

/** What Weft is to one VM. */
export interface VmView {
  cloud: string;
  /** The VM's id in its cloud. */
  vm: string;
  name: string;
  host: string;
  power: 'on' | 'off';
  /** Set where the VM is a service engine itself. */
  ownEngine: string | null;
  /** One entry per tier that it is a member of. */
  services: {
    service: string;
    tier: string;
    pool: string;
    isEnabled: boolean;
    state: string;
    message: string;
    addresses: string[];
    port: number;
    memberPort: number;
    health: 'up' | 'down' | 'unknown';
    reason: string;
    connections: number | null;
    isIntercepted: boolean;
  }[];
  /** Tiers that it is no member of, and why. */
  others: { service: string; tier: string; pool: string; isEnabled: boolean; why: string }[];
  /** Per NIC, which engine its traffic passes, and why or why not. */
  path: {
    nic: string;
    mac: string;
    segment: string;
    addresses: string[];
    engine: string | null;
    isBent: boolean;
    why: string;
  }[];
}

/** What Weft is to one host. */
export interface HostView {
  cloud: string;
  /** The host's id in its cloud. */
  host: string;
  name: string;
  isConnected: boolean;
  isInMaintenance: boolean;
  engines: (EngineStatus & {
    /** What the liveness of its data path is judged to be, why, and for how long. */
    verdict: string;
    verdictReason: string;
    verdictMs: number;
    isConnected: boolean;
    addresses: string[];
    segment: string;
    services: string[];
    behind: { vm: string; isIntercepted: boolean }[];
  })[];
  /** Why it has no engine; empty where it has one. */
  why: string;
  operations: SystemStatus['operations'];
}

/** What an earlier controller left in a cloud, and what becomes of it when the cloud is adopted. */
export interface Adoption {
  cloud: string;
  /** Whether the controller holds back there until it is adopted. */
  isHeld: boolean;
  engines: {
    engine: string;
    vm: string;
    host: string;
    /** VMs whose path is bent through it. */
    behind: string[];
    fate: 'kept' | 'enrolled anew' | 'replaced' | 'removed';
    reason: string;
  }[];
  /** NICs that stand on a shadow segment. */
  nics: {
    vm: string;
    nic: string;
    host: string;
    segment: string;
    fate: 'kept' | 'bent anew' | 'released';
  }[];
  segments: { host: string; segment: string; fate: 'kept' | 'removed' }[];
  /** VMs that autoscale made. None of them is touched by adopting. */
  clones: {
    vm: string;
    host: string;
    /** Pools that choose it. */
    pools: string[];
    /** `scales`: a pool counts it as its clone again, and may let it go when load falls. */
    fate: 'scales' | 'stays';
    reason: string;
  }[];
  /** What production segments allow only since an earlier controller made shadows of them. */
  allowances: { segment: string; allows: string[]; fate: 'kept' | 'withdrawn' }[];
  /** The copy of the policy that the cloud keeps itself; null where there is none that can be read. */
  keptPolicy: KeptPolicy | null;
  warnings: string[];
  /** The steps that follow in the cloud. */
  steps: StepSummary[];
  /** Of what was found and what becomes of it: adopting names it, so that what is done is what was shown. */
  fingerprint: string;
}

/** A copy of the policy, as it was when a controller last wrote it into the cloud. */
export interface KeptPolicy {
  /** The id of that controller's store. */
  controller: string;
  /** ISO 8601. */
  savedAt: string;
  objects: {
    kind: string;
    name: string;
    spec: unknown;
    /** Compared with what this controller's store holds. */
    state: 'missing' | 'differs' | 'same';
  }[];
  /** Objects in it that this version cannot read. */
  unreadable: string[];
}

/** Why a member was or would be chosen, as one engine sees it now. */
export interface Explanation {
  service: string;
  tier: string;
  engine: string;
  host: string;
  method: string;
  candidates: Candidate[];
  /** VM name of the choice for a new flow, or null where no candidate is usable. */
  choice: string | null;
  /** One sentence: the rule that decided. */
  reason: string;
  /** How answers go back to clients. */
  returnPath: ReturnPath;
  /** Where this engine ends clients' connections: the components that requests go through; with the first tier only. */
  http?: { components: string[] };
  /** What the service's firewall rules did here, those that judged any packet; with the first tier only. */
  rules?: { policy: string; rule: string; action: string; packets: number; limited: number }[];
}

export interface Candidate {
  member: string;
  vm: string;
  host: string;
  /** C: connections that the member handles, over all engines. */
  connections: number;
  /** H: hops between the member and this engine. */
  hops: number;
  /** L = C x (1 + H). */
  load: number;
  weight: number;
  isUsable: boolean;
  /** Why it is not usable, or an empty string. */
  reason: string;
  /** How packets get to it from this engine. */
  path: MemberPath;
}

/**
 * `in line`: an engine beside the member translates. `translated`: this engine does, both ways, so that answers return
 * to it: no engine stands beside the member, or the service wants it so (`returnPath`). `VXLAN`: as `in line`, but
 * that engine is in another network.
 */
export type MemberPath = 'in line' | 'translated' | 'VXLAN';

/** Why VMs are members of a pool or are not, as the inventory is now. */
export interface MembershipExplanation {
  pool: string;
  cloud: string;
  /** Empty while the cloud's inventory is current; else why it may be out of date. */
  cloudMessage: string;
  /** VMs that the cloud lists, and those of them that are members. */
  considered: number;
  members: number;
  /** The VMs that were asked for; else the members, then those that nearly fit, the nearest first. */
  vms: MembershipVerdict[];
  /** Members and VMs that nearly fit beyond those in `vms`. */
  omitted: number;
}

export interface MembershipVerdict {
  vm: string;
  id: string;
  host: string;
  isMember: boolean;
  /** The NIC it serves on, or null where it is no member. */
  nic: string | null;
  /** Every criterion of the pool; after them, those that every member has to fulfil, where the VM does not. */
  criteria: CriterionVerdict[];
  /** One sentence: what decided. */
  reason: string;
}

export interface CriterionVerdict {
  /** `tags`, `names` ...; `exclude.tags` for what is left out; `engine`, `host`, `network`, `power` for all pools. */
  criterion: string;
  fits: boolean;
  wanted: string[];
  /** What the VM has in its place. */
  found: string[];
  /** What is missing, what matched, or what was probably meant; may be empty. */
  detail: string;
}

/** A host as the controller sees it: its place in the physical network and where that is known from, its hops. */
export interface HostExplanation {
  host: string;
  id: string;
  cloud: string;
  cluster: string;
  isConnected: boolean;
  isInMaintenance: boolean;
  hardware: { model: string; cpuCores: number; cpuMhz: number; memoryBytes: number } | null;
  segments: { name: string; role: string; isUnfinished?: boolean }[];
  vms: number;
  engine: string | null;
  /** The switches above it, the outermost first. */
  uplinkPath: string[];
  /** In order of precedence; the first with a path is the one that counts. */
  evidence: { source: string; path: string[] | null; detail: string; isUsed: boolean }[];
  /** H between it and every other host of its cloud. */
  hops: { host: string; hops: number }[];
}

/** The way of one packet through the live graph; nothing is changed and nothing is sent. */
export interface Trace {
  service: string;
  packet: string;
  hops: TraceHop[];
  /** `delivered to <vm>`, or `dropped: <reason>`, or `rejected: <reason>`, or `bridged`. */
  outcome: string;
}

export interface TraceHop {
  engine: string;
  host: string;
  steps: TraceStep[];
}

export interface TraceStep {
  /** `parse`, `flow-table`, `service`, `firewall`, `load-balancer`, `rewrite`, `send` ... */
  component: string;
  verdict: string;
  detail: string;
}

/** What one engine answers to a trace request; the controller asks the next engine and puts the Trace together. */
export interface TraceAnswer {
  packet: string;
  hop: TraceHop;
  /** Set where the packet's way ends here. */
  outcome: string | null;
  /** Set where another engine sees the packet next: that engine, and the member it is addressed to. */
  next: { engine: string; member: string } | null;
}

/** What the controller asks an engine in a trace. */
export interface TraceQuestion {
  service: string;
  from: string;
  fromPort: number;
  to: string;
  port: number;
  /** Member id where the packet comes already balanced from another engine; null at the entry engine. */
  balancedTo: string | null;
}

/** What the list of flows can be put in order by: the largest first, `idle` and `age` the longest first. */
export const FLOW_SORTS = ['bytes', 'packets', 'idle', 'age'] as const;
export type FlowSort = (typeof FLOW_SORTS)[number];

export const FLOW_STATES = ['half-open', 'established', 'closing'] as const;
export type FlowState = (typeof FLOW_STATES)[number];

/** Most flows that one answer lists. */
export const MOST_FLOWS = 1000;

/** Which flows are wanted; null does not narrow. */
export interface FlowQuestion {
  /** A virtual service. */
  service: string | null;
  /** An address or a prefix that the client's address lies in. */
  client: string | null;
  /** The member's VM by its name, or a member id. */
  member: string | null;
  state: FlowState | null;
  protocol: 'tcp' | 'udp' | null;
  sort: FlowSort;
  /** At most MOST_FLOWS. */
  limit: number;
}

/** One flow, as the engine that has it sees it. */
export interface FlowListing {
  /** Empty for a connection past any service. */
  service: string;
  tier: string;
  protocol: 'tcp' | 'udp';
  client: string;
  address: string;
  /** Empty where the engine proxies the connection: each request has a member of its own. */
  member: string;
  vm: string;
  /** What is done with its packets: docs/path-of-a-packet.md. */
  kind: 'local' | 'remote' | 'translated both ways' | 'direct' | 'through' | 'proxied';
  state: FlowState;
  /** The directions that the kernel forwards by itself now, as seen from the client. */
  kernel: 'both' | 'forward' | 'reverse' | 'none';
  /** The rule by which the service's components let it pass, as they are now; empty where none judges it here. */
  rule: string;
  idleMs: number;
  ageMs: number;
  /** Of both directions, those that the kernel forwarded included. */
  packets: number;
  bytes: number;
}

/** What one engine answers: the first flows in the order asked for, how many fit, how many there are. */
export interface EngineFlows {
  flows: FlowListing[];
  matched: number;
  total: number;
}

/** The flows of all engines that were asked. */
export interface FlowsAnswer {
  flows: (FlowListing & { engine: string; host: string })[];
  /** How many fit, over all engines; `flows` holds no more than the limit. */
  matched: number;
  total: number;
  engines: { engine: string; host: string; matched: number; total: number }[];
  /** Engines that did not answer, and why. */
  failures: { engine: string; message: string }[];
}

/** What an engine took out of its cache. */
export interface EnginePurge {
  purged: number;
}

/** What all engines of a service took out of their caches. */
export interface PurgeAnswer {
  purged: number;
  engines: { engine: string; host: string; purged: number }[];
  /** Engines that did not answer, and why: what they have stored stays. */
  failures: { engine: string; message: string }[];
}

/** The whole system at a glance: `weft status`, and the screen of `npm start`. */
export interface SystemStatus {
  controller: {
    version: string;
    uptimeMs: number;
    revision: number;
    reconciling: string | null;
    lastError: string | null;
    /** What will need an operator before long, such as a certificate authority that expires. */
    warnings?: string[];
  };
  clouds: { name: string; state: string; message: string }[];
  hosts: {
    name: string;
    cloud: string;
    isConnected: boolean;
    /** Null while it is in service. */
    maintenance: 'entering' | 'in' | null;
    vms: number;
    engine: string | null;
    /** The switches above it, the outermost first, and the source they are known from. */
    uplinkPath: string[];
    uplinkSource: string;
  }[];
  engines: EngineStatus[];
  services: { name: string; state: string; addresses: string[]; message: string }[];
  /** Pools that scale. */
  pools: ScalingStatus[];
  members: MemberStatus[];
  /** Steps being performed or to be tried again. */
  operations: OperationStatus[];
}

export interface ScalingStatus extends AutoscaleStatus {
  name: string;
  min: number;
  max: number;
}

export interface OperationStatus {
  step: string;
  object: string;
  state: string;
  attempts: number;
  message: string;
  /** 0 to 1; only where the step is under way and says how far it is. */
  progress?: number;
}

/** Packets of an engine, or of a group of them, since boot: who forwarded them, and what became of the others. */
export interface PathFigures {
  /** Forwarded by the kernel's program alone. */
  kernelPackets: number;
  kernelBytes: number;
  /** Taken by TypeScript, by the ports out and in. */
  typescriptPackets: number;
  /** Handed up by the program; of those `refused` were dropped since they were too many (`upcall-limit`). */
  upcalls: number;
  refused: number;
  /** While TypeScript was silent: packets of unknown flows dropped (fail mode closed), and passed on (open). */
  held: number;
  bypassed: number;
}

export interface EngineStatus {
  id: string;
  host: string;
  group: string;
  /** `deploying` `enrolling` `ready` `observing` `silent` `bypassed` `held` `maintenance`. */
  state: string;
  message: string;
  datapath: string;
  graphRevision: number;
  wantedRevision: number;
  flows: number;
  newFlows: number;
  /** Half-open flows that made room for others. */
  evictedFlows: number;
  receivedPackets: number;
  sentPackets: number;
  /** Null before the engine has said it. */
  path: PathFigures | null;
  drops: Record<string, number>;
  /**
   * By `<service>/<component>/<rule>`: packets that the rule judged; connections that it would have judged where the
   * engine only observes. Since its boot.
   */
  rules: Record<string, number>;
}

export interface MemberStatus {
  member: string;
  vm: string;
  host: string;
  pool: string;
  health: 'up' | 'down' | 'unknown';
  reason: string;
  /** Whether its traffic passes an engine now. */
  isIntercepted: boolean;
  /** C, over all engines; null where nobody can say now. */
  connections: number | null;
  /** Load as the platform measures it; null where nothing recent is known. CPU is a share of all the VM has. */
  cpuPercent: number | null;
  memoryBytes: number | null;
  receivedBytesPerSecond: number | null;
  sentBytesPerSecond: number | null;
  /** Per engine id: H and L. */
  views: Record<string, { hops: number; load: number | null }>;
}

/** One entry of a firewall's log. */
export interface FirewallLogEntry {
  /** ISO 8601. */
  time: string;
  service: string;
  policy: string;
  rule: string;
  verdict: 'allowed' | 'denied' | 'rejected' | 'over the limit';
  protocol: string;
  from: string;
  /** Null where the protocol has no ports. */
  fromPort: number | null;
  to: string;
  toPort: number | null;
  /** The member that was chosen, null where none was yet. */
  member: string | null;
}

/** What one engine says of a firewall policy: counters by rule, where there are any; '' is the default. */
export interface EngineFirewall {
  packets: Record<string, number>;
  limited: Record<string, number>;
  /** Newest first. */
  log: FirewallLogEntry[];
}

/** What a firewall policy does: its rules with their counters over all engines, and what they logged lately. */
export interface FirewallView {
  policy: string;
  /** Enabled services that use it. */
  services: string[];
  /** In order, the default last. */
  rules: {
    rule: string;
    action: string;
    /** Packets judged by it: the first of each flow, another one after each change, and all under a limit of packets. */
    packets: number;
    /** Of these, dropped for being over the limit. */
    limited: number;
  }[];
  /** Newest first. */
  log: (FirewallLogEntry & { engine: string })[];
  /** Engines whose log could not be asked for, and why. */
  silent: { engine: string; reason: string }[];
}
