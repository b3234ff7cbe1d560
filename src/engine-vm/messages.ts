/**
 * What the two threads of an engine say to each other. The main thread (agent.ts) speaks with the controller and
 * probes members; the data-plane thread (worker.ts) moves packets and blocks in poll(2), woken by an eventfd.
 */
import type { FirewallLogEntry, PathFigures } from '../policy/answers.ts';
import type { ErrorCode } from '../policy/errors.ts';
import type { ServiceGraph } from '../policy/graph.ts';
import type {
  ConnectionReport,
  FloodReport,
  FullTableReport,
  PeerObservation,
  PortCounters,
} from '../state/shared.ts';

/** What the data plane can be asked. */
export const REQUEST_METHODS = [
  'explain',
  'trace',
  'flows',
  'firewall',
  'captureStart',
  'captureFetch',
  'captureStop',
] as const;
type RequestMethod = (typeof REQUEST_METHODS)[number];

export type ToDataplane =
  | { type: 'graph'; graph: ServiceGraph }
  /** Another engine's counts, or null when that engine is gone. */
  | { type: 'connections'; engine: string; report: ConnectionReport | null }
  /** Verdicts on members; one that is not named counts as up. */
  | { type: 'health'; pool: string; members: Record<string, boolean> }
  /**
   * A session learned from another engine, or null where it ended. `client` is canonical address text, `service` a
   * session scope (balance/session-map.ts): the service's name, and `.<tier>` behind its first tier.
   */
  | {
      type: 'session';
      service: string;
      client: string;
      /** `engine` is the one that wrote it: of equal times the greater id wins. */
      session: { member: string; time: number; engine: string } | null;
    }
  | { type: 'request'; id: number; method: RequestMethod; params: unknown }
  | { type: 'stop' };

export type FromDataplane =
  /** All ports are open. `fds` are their sockets, for the main thread to close where this one had to be killed. */
  | { type: 'ready'; datapath: string; fds: number[] }
  /** A port is gone; tried again until `ready`. */
  | { type: 'unready'; message: string }
  | { type: 'graph-applied'; revision: number; error: string | null }
  /** When a count changed; at most every tick, and less often among many engines. */
  | { type: 'connections'; report: ConnectionReport }
  /** A session that this engine made or used; at most once a second for one that is merely used. */
  | { type: 'session'; service: string; client: string; member: string; time: number; timeoutMs: number }
  /** On change, and with each `counters`. */
  | { type: 'peers'; peers: Record<string, PeerObservation> }
  /** Every 250 ms. */
  | {
      type: 'counters';
      heartbeat: number;
      ports: Record<string, PortCounters>;
      path: PathFigures;
      drops: Record<string, number>;
      flows: number;
      newFlows: number;
      evictedFlows: number;
      /** Services under a flood now. */
      floods: Record<string, FloodReport>;
      /** Services whose new flows find no room in the flow table now. */
      fullTables: Record<string, FullTableReport>;
      components: Record<string, number>;
      /** What firewall rules logged since the last message. */
      firewallLog: FirewallLogEntry[];
    }
  | { type: 'reply'; id: number; result?: unknown; error?: { code: ErrorCode; message: string } }
  /** A frame or tick threw, which is a defect; work goes on. At most once a second, `count` since boot. */
  | { type: 'fault'; message: string; count: number }
  /** The thread gave up and ends. */
  | { type: 'failed'; message: string };
