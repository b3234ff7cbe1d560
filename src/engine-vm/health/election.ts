/**
 * Who probes: every engine that serves a pool contends for the lease `health/<pool>`; the one that holds it runs the
 * pool's health monitor and puts its verdicts under the key of the same name. A lease that may be lost ends the
 * probing at once, so that two engines never judge one pool.
 *
 * Headless: once the link to the hub has been down for as long as a lease lasts, each engine probes the pools of its
 * graph for itself, from the last known verdicts on, and goes by what it finds; nothing of that is published. When
 * the link is back it contends as before. Its own verdicts rule on until the elected monitor speaks: until a report
 * on the pool comes in, or this engine itself is elected and goes on from them. Where nothing new comes for another
 * lease's time although the link is up, the elected monitor's report is the one that was there before.
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
  /** What this engine finds while it is headless, to go by here only; null where the shared report counts again. */
  onOwnReport: (pool: string, report: HealthReport | null) => void;
  /** Checks of a pool fail on this engine's side; for the log, once for each reason. */
  onTrouble?: (pool: string, reason: string) => void;
}

interface Contest {
  pool: GraphPool;
  members: readonly GraphMember[];
  lease: { release(): void };
  isElected: boolean;
  monitor: HealthMonitor | null;
}

export class HealthElection {
  private readonly options: HealthElectionOptions;
  private readonly echo = new EchoExchange();
  private readonly contests = new Map<string, Contest>();
  /** The latest report on each pool of the graph, kept although its writer may be gone; own ones of headless times too. */
  private readonly reports = new Map<string, HealthReport>();
  /** Pools for which this engine goes by its own verdicts. Outlives `stop`. */
  private readonly own = new Set<string>();
  private isHeadless = false;
  private unfollow: (() => void)[] = [];
  private cancelTurn: (() => void) | null = null;
  private pools = new Set<string>();

  constructor(options: HealthElectionOptions) {
    this.options = options;
  }

  /** Contends for the pools of a graph; begins with the first graph, and again with the first after `stop`. */
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

  /** Ends probing and gives the leases back. The verdicts that hold at this engine hold on. */
  stop(): void {
    for (const { lease, monitor } of this.contests.values()) {
      monitor?.stop();
      lease.release();
    }
    this.contests.clear();
    for (const unfollow of this.unfollow.splice(0)) unfollow();
    this.cancelTurn?.();
    this.cancelTurn = null;
    this.isHeadless = false;
    this.echo.close();
  }

  private get clock(): HealthClock {
    return this.options.clock ?? systemHealthClock;
  }

  private follow(): void {
    if (this.unfollow.length > 0) return;
    const { shared } = this.options;
    this.unfollow.push(
      shared.subscribe('health/', ({ key, value }) => {
        const name = key.slice('health/'.length);
        const report = readReport(value);
        if (report === null || !this.pools.has(name)) return;
        this.reports.set(name, report);
        this.rejoin(name);
      }),
      shared.onConnection((isConnected) => this.linkTurned(isConnected)),
    );
    this.linkTurned(shared.isConnected);
  }

  private linkTurned(isConnected: boolean): void {
    this.cancelTurn?.();
    this.cancelTurn = this.clock.after(HEALTH_LEASE_MS, () => {
      this.cancelTurn = null;
      if (isConnected) this.endHeadless();
      else this.beginHeadless();
    });
  }

  /** By now no lease is held here any more: whoever is elected, if anybody, is not heard. */
  private beginHeadless(): void {
    this.isHeadless = true;
    for (const contest of this.contests.values()) if (!contest.isElected) this.probe(contest);
  }

  /** The link has been up for as long as a lease lasts: somebody is elected for every pool. */
  private endHeadless(): void {
    this.isHeadless = false;
    for (const name of [...this.own]) {
      this.rejoin(name);
      this.options.onOwnReport(name, null);
    }
  }

  /** The elected monitor's report counts again for the pool. */
  private rejoin(name: string): void {
    if (!this.own.delete(name)) return;
    const contest = this.contests.get(name);
    if (!contest || contest.isElected) return;
    contest.monitor?.stop();
    contest.monitor = null;
  }

  private contend(pool: GraphPool, members: readonly GraphMember[]): void {
    const { shared } = this.options;
    const contest: Contest = { pool, members, lease: { release() {} }, isElected: false, monitor: null };
    this.contests.set(pool.name, contest);
    if (this.isHeadless) this.probe(contest);
    contest.lease = shared.lease(`health/${pool.name}`, HEALTH_LEASE_MS, (isHeld) => {
      if (this.contests.get(pool.name) !== contest) return;
      contest.isElected = isHeld;
      if (isHeld || this.isHeadless) this.probe(contest);
      else {
        contest.monitor?.stop();
        contest.monitor = null;
      }
    });
  }

  /** Begins to probe, in whichever role the engine has now. */
  private probe(contest: Contest): void {
    const { shared, engine, onTrouble } = this.options;
    const { isElected } = contest;
    const { name } = contest.pool;
    contest.monitor?.stop();
    contest.monitor = new HealthMonitor({
      engine,
      previous: this.reports.get(name) ?? readReport(shared.get(`health/${name}`)?.value),
      createMonitor: this.options.createMonitor ?? ((spec) => createMonitor(spec, this.echo)),
      clock: this.clock,
      onReport: (report) => {
        if (isElected) {
          shared.put(`health/${name}`, report);
          return;
        }
        this.goByOwn(name, report);
      },
      onTrouble: (reason) => onTrouble?.(name, reason),
    });
    contest.monitor.update(contest.pool, contest.members);
  }

  private goByOwn(name: string, report: HealthReport): void {
    this.reports.set(name, report);
    this.own.add(name);
    this.options.onOwnReport(name, report);
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
        if (contest.isElected) this.options.shared.put(`health/${name}`, report);
        else this.goByOwn(name, report);
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
