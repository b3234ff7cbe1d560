/**
 * Shared state: soft, fast state that engines and the controller hold in common (connection counts, sessions,
 * health, graphs, reports). Not the truth: everything here can be rebuilt, and nothing waits for a disk.
 *
 * One writer per key. A writer is named by its id and the epoch of its boot; each put carries a sequence number,
 * so that duplicates, reorderings and messages of an earlier boot change nothing. Late joiners get a snapshot.
 * test/contract/shared.ts is what every implementation must pass.
 *
 * Keys and their writers:
 *   graph/<engine>          controller      ServiceGraph for that engine
 *   address-set/<name>      controller      AddressSetEntry of policy/graph.ts
 *   tls/<engine>/<kind>/<name>   controller   TlsEntry of policy/graph.ts: seen by that engine alone
 *   engine/<engine>         that engine     EngineReport
 *   connections/<engine>    that engine     ConnectionReport
 *   session/<service>/<client>/<engine>     that engine     SessionRecord (readers take the latest by time, then id)
 *   http-session/<service>/<client>/<engine>     that engine     SessionRecord of proxied HTTP (http/session-sharing.ts)
 *   health/<pool>           the holder of the lease health/<pool>   HealthReport
 */

import type { PathFigures } from '../policy/answers.ts';

export interface SharedEntry {
  key: string;
  /** JSON; undefined where the entry was deleted or its writer's lease on life ended. */
  value: unknown;
  writer: string;
  epoch: number;
  seq: number;
}

export interface SharedState {
  /** `controller`, or an engine id. */
  readonly writer: string;
  readonly epoch: number;
  /** True while what is put here reaches others. */
  readonly isConnected: boolean;

  /** Latest known value; also while disconnected. */
  get(key: string): SharedEntry | undefined;
  list(prefix: string): SharedEntry[];
  /**
   * Replaces the value of a key of this writer. Never blocks; while disconnected the latest value per key is kept
   * and sent on reconnection. `ttlMs` lets the entry lapse when it is not put again in time.
   */
  put(key: string, value: unknown, options?: { ttlMs?: number }): void;
  delete(key: string): void;
  /** Calls back with every present entry under the prefix, then with each change. Returns the way to stop. */
  subscribe(prefix: string, onEntry: (entry: SharedEntry) => void): () => void;

  /**
   * Asks for a lease. `onChange(true)` when it is held, `onChange(false)` as soon as it may have been lost (before
   * another can hold it). Renewed until `release`; lapses `ttlMs` after the last renewal.
   */
  lease(key: string, ttlMs: number, onChange: (isHeld: boolean) => void): { release(): void };

  /** Called when the link comes up or goes down. */
  onConnection(callback: (isConnected: boolean) => void): () => void;
  /** Answers requests that others send to this participant. */
  onRequest(handler: (method: string, params: unknown) => Promise<unknown>): void;
  close(): Promise<void>;
}

/** What only the controller's end can do. */
export interface SharedHub extends SharedState {
  /** Asks one engine; rejects with ERR_ENGINE_UNREACHABLE or ERR_TIMEOUT. */
  request(engine: string, method: string, params: unknown, timeoutMs: number): Promise<unknown>;
  /** Engines whose link is up now, with their boot epoch. */
  connected(): { engine: string; epoch: number }[];
  /** Called when an engine's link comes up or goes down. */
  onEngine(callback: (engine: string, isConnected: boolean) => void): () => void;
}

/** `engine/<id>`: put on change and at least once a second. */
export interface EngineReport {
  host: string;
  /** Revision of the graph that is in force; 0 before the first. */
  graphRevision: number;
  /** Its own addresses by that graph, with prefix length; missing before the first, and from older engines. */
  dataAddresses?: string[];
  /** Why the latest graph was not applied, or null. */
  graphError: string | null;
  /** Both ports are open and the data-plane thread turns. */
  isReady: boolean;
  /** Counts turns of the data-plane thread that could have moved a packet; stands still when it hangs. */
  heartbeat: number;
  /** Which path moves packets and why, for people: `AF_PACKET (no fast path in this version)`. */
  datapath: string;
  /** What this engine's probes say of its peers, through their data path. */
  peers: Record<string, PeerObservation>;
  ports: Record<string, PortCounters>;
  /** Who forwarded how much; null before the data plane has counted. Missing from older engines. */
  path?: PathFigures | null;
  /** What it says to routers; missing where it says nothing. */
  bgp?: BgpReport;
  /** Packets dropped, by reason. */
  drops: Record<string, number>;
  flows: number;
  /** Totals since boot. */
  newFlows: number;
  /** Half-open flows that made room for others; missing where the engine is older. */
  evictedFlows?: number;
  /** Services under a flood of new connections, which the engine limits now; missing where the engine is older. */
  floods?: Record<string, FloodReport>;
  /** Services whose new flows find no room in the flow table now; missing where the engine is older. */
  fullTables?: Record<string, FullTableReport>;
  /** Counters per service component, `<service>/<component>/<rule>` to packets. */
  components: Record<string, number>;
}

export interface FullTableReport {
  /** Wall clock of its beginning, milliseconds. */
  since: number;
  /** Packets forwarded by hash in it, of flows without a record. */
  hashed: number;
  /** Packets dropped in it. */
  refused: number;
}

export interface FloodReport {
  /** Wall clock of its beginning, milliseconds. */
  since: number;
  /** Packets of new flows that were refused in it, over the service's share of the engine. */
  refused: number;
  /** Half-open connections that made room for others in it. */
  evicted: number;
  /** SYNs answered with cookies in it, of a service that does so only then; missing where the engine is older. */
  answered?: number;
}

/** How an engine's sessions with routers are. */
export interface BgpReport {
  /** By the router's address: `Established`, or what keeps it from that. */
  sessions: Record<string, string>;
  /** Addresses that routers are told of. */
  addresses: string[];
  /** Why nothing is said at all, or null. */
  problem: string | null;
}

export interface PeerObservation {
  isAlive: boolean;
  /** The peer's protected side answered too; null where it has nobody to ask. */
  isInsideAlive: boolean | null;
  /** Milliseconds since the last answer, as of the report. */
  silentMs: number;
}

export interface PortCounters {
  receivedPackets: number;
  sentPackets: number;
  receivedBytes: number;
  sentBytes: number;
  /** Frames that the kernel or a full ring lost. */
  lost: number;
}

export function noTraffic(): PortCounters {
  return { receivedPackets: 0, sentPackets: 0, receivedBytes: 0, sentBytes: 0, lost: 0 };
}

/** `connections/<engine>`: put within some 10 ms of a change among few engines, 250 ms among many. */
export interface ConnectionReport {
  /** Member id to C: open connections of a member that this engine stands beside. This engine is their only writer. */
  local: Record<string, number>;
  /** Member id to open connections that this engine sent to members that have no engine beside them. Readers sum these. */
  sent: Record<string, number>;
  /**
   * Member id to (peer engine id to flows ever received from that peer since this boot): lets a peer know which of
   * its own choices the counts above already contain.
   */
  received: Record<string, Record<string, number>>;
}

/** `session/...` and `http-session/...`: which member a client had. */
export interface SessionRecord {
  member: string;
  /** Wall clock of the last use, milliseconds; later wins, then the greater engine id. */
  time: number;
}

/** `health/<pool>`: verdicts of the elected monitor. */
export interface HealthReport {
  monitor: string;
  /** Grows with each change. */
  version: number;
  /** Member id to verdict. */
  members: Record<string, { isUp: boolean; since: number; reason: string }>;
}
