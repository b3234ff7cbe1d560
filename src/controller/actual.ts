/** What is, as the planner sees it: inventories, placements, interceptions, and what engines say of themselves. */
import type { Lack } from '../hypervisor/platform.ts';
import type { ServiceGraph } from '../policy/graph.ts';
import type { ConnectionReport, FloodReport, FullTableReport, HealthReport } from '../state/shared.ts';
import type { FleetView } from './autoscale/fleet-view.ts';
import type { VmLoad } from './load-reader.ts';
import { hostKey, type World } from './world.ts';

/** A graph without its revision: what is compared to know whether anything changed. */
export type GraphContent = Omit<ServiceGraph, 'revision'>;

/** `placement/<engine>` in the store: that this engine exists, where, and with which addresses. */
export interface Placement {
  engine: string;
  group: string;
  cloud: string;
  /** Host id. */
  host: string;
  /** The production segment that its ports stand on. */
  production: string;
  /** With prefix length, for example `10.77.0.201/24`. */
  addresses: string[];
  /** VM id, once deployed. */
  vm: string | null;
  /** Attempts to bring a silent engine back since it last worked; `lastAt` in clock milliseconds. */
  recovery: { attempts: number; lastAt: number } | null;
  /**
   * Its host is or was in maintenance: until members are back, or for `Timing.keepMs` after the end, the engine is kept
   * although nothing runs beside it. `endedAt` in clock milliseconds, null while the host is not back in service.
   */
  rest?: { endedAt: number | null } | null;
}

export interface Told {
  vm: string;
  since: number;
  isDone: boolean;
}

/** `interception/<cloud>/<vm>/<nic>` in the store: what undoes an interception. */
export interface PreImage {
  segment: string;
}

/**
 * `starting`: deployed, has not been ready yet. `alive`: proved. `headless`: no word from it, but its peers see its
 * data path, or nothing yet says otherwise. `silent`: to be bypassed or held, and recovered. `absent`: no VM.
 */
export type Verdict = 'starting' | 'alive' | 'headless' | 'silent' | 'absent';

export interface EngineActual {
  verdict: Verdict;
  /** One sentence for people. */
  reason: string;
  /** Since when the verdict holds, clock milliseconds. */
  since: number;
  isConnected: boolean;
  /** Alive, connected, and says itself that its ports and its data-plane thread work. */
  isReady: boolean;
  /** Revision of the graph that is in force on the engine; 0 before the first, or while it does not say. */
  graphRevision: number;
  /** Its own addresses as it says itself; empty where it does not. */
  dataAddresses: readonly string[];
  /** The graph that is in force on the engine, where the controller knows its content. */
  acknowledged: GraphContent | null;
  /** Since when the latest pushed graph waits for its acknowledgement; null where it has it. */
  unacknowledgedSince: number | null;
  /** A first interception on this engine has stood for a while, the data path alive: the rest may follow. */
  isProven: boolean;
}

export interface Actual {
  now: number;
  world: World;
  /** Clouds that do not answer now, with the reason: nothing is done there. */
  unreachable: ReadonlyMap<string, string>;
  /** Clouds in which an earlier controller left something that nobody has adopted, with that sentence: nothing is done there. */
  held: ReadonlyMap<string, string>;
  /** Clouds that another controller drives, or may drive, with that sentence: nothing is done there. */
  foreign: ReadonlyMap<string, string>;
  /** What the users of clouds may not do there, by cloud. */
  lacks: ReadonlyMap<string, readonly Lack[]>;
  /** What clouds show as it was because it cannot be read now, a sentence each, by cloud. */
  warnings: ReadonlyMap<string, readonly string[]>;
  engines: ReadonlyMap<string, EngineActual>;
  placements: ReadonlyMap<string, Placement>;
  /** Engines of a lost store that were told of this controller: when first, and whether the platform took it. */
  told: ReadonlyMap<string, Told>;
  /** Base64 key per engine group. */
  groupKeys: ReadonlyMap<string, string>;
  /** By member id. */
  preImages: ReadonlyMap<string, PreImage>;
  /** Hash of the graph content last pushed to each engine in this life of the controller. */
  pushed: ReadonlyMap<string, string>;
  /** Failures in a row per step id. */
  failures: ReadonlyMap<string, number>;
  /** Open connections as engines count them, by engine id; an engine that is not heard is not in it. */
  connections: ReadonlyMap<string, ConnectionReport>;
  /** Services under a flood, as engines report them, by engine id; an engine that is not heard is not in it. */
  floods?: ReadonlyMap<string, Readonly<Record<string, FloodReport>>>;
  /** Services whose new flows find no room in an engine's flow table, by engine id. */
  fullTables?: ReadonlyMap<string, Readonly<Record<string, FullTableReport>>>;
  /** What the monitors of pools say, by pool. */
  health: ReadonlyMap<string, HealthReport>;
  /** Clones that Weft makes, has made or removes, and how pools have scaled. */
  fleet: FleetView;
  /** Load of VMs, by `<cloud>/<vm id>`; a VM of which nothing recent is known is not in it. */
  loads: ReadonlyMap<string, VmLoad>;
  /** False for the first seconds of the controller's life, while engines find their way back to the hub. */
  isSettled: boolean;
  timing: Timing;
}

/** How long things may take, in milliseconds. */
export interface Timing {
  /** After start: link loss alone says nothing for so long. */
  graceMs: number;
  /** How long an engine of a lost store has to speak to the controller that it was told of. */
  enrolMs: number;
  /** From power-on until an engine must have been ready. */
  bootTimeoutMs: number;
  /** All engines gone from the hub at once, and nothing else says why: held for so long, then one is tried. */
  brakeMs: number;
  /** How long a release waits for peers to acknowledge. */
  acknowledgeMs: number;
  /** How long a recovered engine must work before earlier failures are forgotten. */
  stableMs: number;
  /** How long after the maintenance of its host an engine waits for members to come back. */
  keepMs: number;
  /** How long a clone must be missing from a good inventory to be gone, and one that leaves be without connections. */
  cloneSettleMs: number;
  /** How long a platform that gave no answer may still be at a clone, unheard. */
  cloneGraceMs: number;
}

export const TIMING: Timing = {
  graceMs: 5000,
  enrolMs: 30_000,
  bootTimeoutMs: 20_000,
  brakeMs: 30_000,
  acknowledgeMs: 2000,
  stableMs: 10_000,
  keepMs: 600_000,
  cloneSettleMs: 3000,
  cloneGraceMs: 600_000,
};

/** What engines that this store does not know have for addresses: they keep them when they are taken on. */
export function foundAddresses({ engines, placements }: Actual): Map<string, readonly string[]> {
  return new Map(
    [...engines].flatMap(([id, { dataAddresses }]) =>
      placements.has(id) || dataAddresses.length === 0 ? [] : [[id, dataAddresses] as const],
    ),
  );
}

/** Whether traffic through the engine still flows as far as anybody can tell. */
export function isForwarding(engine: EngineActual | undefined): boolean {
  return engine?.verdict === 'alive' || engine?.verdict === 'headless';
}

/** Whether the host is in maintenance or on its way there: it keeps no engine that is on. */
export function isResting(host: { isInMaintenance: boolean; isEvacuating: boolean }): boolean {
  return host.isInMaintenance || host.isEvacuating;
}

/** Why nothing can be done on a host now, or null. */
export function hostBlock(cloud: string, host: string, actual: Actual): string | null {
  const unreachable = actual.unreachable.get(cloud);
  if (unreachable !== undefined) return `cloud ${cloud} does not answer: ${unreachable}`;
  const seated = actual.world.hosts.get(hostKey(cloud, host));
  if (!seated) return `host ${host} is not in the inventory of cloud ${cloud}`;
  return seated.host.isConnected ? null : `host ${seated.host.name} is disconnected`;
}

/** NICs of others that stand behind the shadow segment of a host. */
export function nicsOnShadow(cloud: string, host: string, production: string, actual: Actual): string[] {
  const ids: string[] = [];
  for (const nic of actual.world.nics.values()) {
    if (nic.isOnShadow && nic.cloud === cloud && nic.host.id === host && nic.production === production) {
      ids.push(nic.id);
    }
  }
  return ids;
}
