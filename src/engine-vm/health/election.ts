/**
 * Who probes: every engine that serves a pool contends for the lease `health/<pool>`; the one that holds it runs the
 * pool's health monitor and puts its verdicts under the key of the same name. A lease that may be lost ends the
 * probing at once, so that two engines never judge one pool.
 */
import type { GraphMember, GraphPool, ServiceGraph } from '../../policy/graph.ts';
import type { HealthMonitor as Spec } from '../../policy/pool.ts';
import type { HealthReport, SharedState } from '../../state/shared.ts';
import { type HealthClock, systemHealthClock } from './clock.ts';
import { HealthMonitor } from './health-monitor.ts';
import type { Monitor } from './monitor.ts';
import { EchoExchange } from './ping.ts';
import { createMonitor } from './registry.ts';

/** Another engine takes over within this time of the holder's silence. */
export const HEALTH_LEASE_MS = 3000;

export interface HealthElectionOptions {
  shared: SharedState;
  /** This engine's id. */
  engine: string;
  clock?: HealthClock;
  /** How monitors are made; those of registry.ts where it is left out. */
  createMonitor?: (spec: Spec) => Monitor;
  /** Checks of a pool fail on this engine's side; for the log, once for each reason. */
  onTrouble?: (pool: string, reason: string) => void;
}

interface Contest {
  pool: GraphPool;
  members: readonly GraphMember[];
  lease: { release(): void };
  monitor: HealthMonitor | null;
}

export class HealthElection {
  private readonly options: HealthElectionOptions;
  private readonly echo = new EchoExchange();
  private readonly contests = new Map<string, Contest>();
  /** The latest report on each pool of the graph, kept although its writer may be gone. */
  private readonly reports = new Map<string, HealthReport>();
  private unsubscribe: (() => void) | null = null;
  private pools = new Set<string>();

  constructor(options: HealthElectionOptions) {
    this.options = options;
  }

  /** Contends for the pools of a graph; begins with the first graph. */
  load(graph: ServiceGraph): void {
    this.pools = new Set(graph.pools.map((pool) => pool.name));
    for (const name of this.reports.keys()) if (!this.pools.has(name)) this.reports.delete(name);
    this.follow();
    const gone = new Set(this.contests.keys());
    for (const pool of graph.pools) {
      if (pool.healthMonitors.length === 0) continue;
      gone.delete(pool.name);
      const contest = this.contests.get(pool.name);
      if (!contest) {
        this.contend(pool, graph.members);
        continue;
      }
      contest.pool = pool;
      contest.members = graph.members;
      contest.monitor?.update(pool, graph.members);
    }
    for (const name of gone) this.withdraw(name);
  }

  /** Ends probing and gives the leases back. */
  stop(): void {
    for (const { lease, monitor } of this.contests.values()) {
      monitor?.stop();
      lease.release();
    }
    this.contests.clear();
    this.unsubscribe?.();
    this.unsubscribe = null;
    this.echo.close();
  }

  private follow(): void {
    this.unsubscribe ??= this.options.shared.subscribe('health/', ({ key, value }) => {
      const name = key.slice('health/'.length);
      const report = readReport(value);
      if (report !== null && this.pools.has(name)) this.reports.set(name, report);
    });
  }

  private contend(pool: GraphPool, members: readonly GraphMember[]): void {
    const { shared } = this.options;
    const contest: Contest = { pool, members, lease: { release() {} }, monitor: null };
    this.contests.set(pool.name, contest);
    contest.lease = shared.lease(`health/${pool.name}`, HEALTH_LEASE_MS, (isHeld) => {
      contest.monitor?.stop();
      contest.monitor = null;
      if (isHeld && this.contests.get(pool.name) === contest) this.probe(contest);
    });
  }

  private probe(contest: Contest): void {
    const { shared, engine, clock = systemHealthClock, onTrouble } = this.options;
    const { name } = contest.pool;
    contest.monitor = new HealthMonitor({
      engine,
      previous: this.reports.get(name) ?? readReport(shared.get(`health/${name}`)?.value),
      createMonitor: this.options.createMonitor ?? ((spec) => createMonitor(spec, this.echo)),
      clock,
      onReport: (report) => shared.put(`health/${name}`, report),
      onTrouble: (reason) => onTrouble?.(name, reason),
    });
    contest.monitor.update(contest.pool, contest.members);
  }

  private withdraw(name: string): void {
    const contest = this.contests.get(name);
    if (!contest) return;
    this.contests.delete(name);
    if (contest.monitor) {
      contest.monitor.stop();
      // A pool that is no longer monitored has all its members up: an old verdict must not keep one down.
      if (this.pools.has(name)) {
        const version = contest.monitor.version + 1;
        const report: HealthReport = { monitor: this.options.engine, version, members: {} };
        this.options.shared.put(`health/${name}`, report);
      }
    }
    contest.lease.release();
  }
}

/** A report out of the shared state, or null where it is none. */
function readReport(value: unknown): HealthReport | null {
  if (typeof value !== 'object' || value === null) return null;
  const { monitor, version, members } = value as Partial<HealthReport>;
  if (typeof monitor !== 'string' || !Number.isSafeInteger(version)) return null;
  if (typeof members !== 'object' || members === null) return null;
  const isVerdict = (verdict: unknown): boolean => {
    const { isUp, since, reason } = (verdict ?? {}) as Partial<Verdict>;
    return typeof isUp === 'boolean' && typeof since === 'number' && typeof reason === 'string';
  };
  return Object.values(members).every(isVerdict) ? (value as HealthReport) : null;
}

type Verdict = HealthReport['members'][string];
