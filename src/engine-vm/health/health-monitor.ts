/**
 * Judges the members of one pool: a member is up while every health monitor of the pool says so. It runs on the
 * engine that holds the pool's lease, and while the controller is out of reach on every engine for itself
 * (election.ts).
 *
 * Checks are spread over the interval, so that members are not asked all at once. When more than half of the pool
 * fails within one interval the fault may well be on this side: each member is then asked again, at once, before it
 * is taken down. A check that failed on this engine's side changes no verdict.
 */
import type { GraphMember, GraphPool } from '../../policy/graph.ts';
import type { HealthMonitor as Spec } from '../../policy/pool.ts';
import type { HealthReport } from '../../state/shared.ts';
import type { HealthClock } from './clock.ts';
import type { Monitor } from './monitor.ts';
import { Probe } from './probe.ts';

/** A member without a verdict is asked within this time. */
const FIRST_CHECK_MS = 200;
/** Verdicts that change together make one report. */
const REPORT_DELAY_MS = 10;
/** Most different troubles that are told; there are few kinds, but texts come from outside. */
const MAX_TROUBLES = 32;

export interface HealthMonitorOptions {
  /** This engine's id. */
  engine: string;
  /** The last report on this pool by whichever engine; its verdicts hold until checks here change them. */
  previous: HealthReport | null;
  createMonitor(spec: Spec): Monitor;
  clock: HealthClock;
  /** A verdict or its reason has changed, or the members have. */
  onReport(report: HealthReport): void;
  /** Checks fail on this engine's side; told once for each reason. */
  onTrouble(reason: string): void;
}

type Verdict = HealthReport['members'][string];

interface Subject {
  /** Undefined before the first graph. */
  address: string | null | undefined;
  probes: Probe[];
  verdict: Verdict | null;
}

export class HealthMonitor {
  private readonly options: HealthMonitorOptions;
  private readonly subjects = new Map<string, Subject>();
  private readonly troubles = new Set<string>();
  private reports: number;
  private isStarted = false;
  private isStopped = false;
  private cancelReport: (() => void) | null = null;

  constructor(options: HealthMonitorOptions) {
    this.options = options;
    this.reports = options.previous?.version ?? 0;
  }

  /** Version of the latest report. */
  get version(): number {
    return this.reports;
  }

  /**
   * Starts, or takes the pool's new definition or members; `members` are the graph's, to which the pool refers by
   * index. Members and monitors that stay the same keep their verdicts and counts.
   */
  update(pool: GraphPool, members: readonly GraphMember[]): void {
    if (this.isStopped) return;
    const gone = new Map(this.subjects);
    let isChanged = !this.isStarted;
    for (const entry of pool.members) {
      const member = members[entry.member];
      gone.delete(member.id);
      let subject = this.subjects.get(member.id);
      if (!subject) {
        // A member that comes back to the pool later is judged anew: what was known before it left is no verdict.
        const verdict = this.isStarted ? null : this.takenOver(member.id);
        subject = { address: undefined, probes: [], verdict };
        this.subjects.set(member.id, subject);
        isChanged = true;
      }
      this.equip(subject, member.ipv4 ?? member.ipv6, pool);
      this.judge(subject);
    }
    for (const [member, subject] of gone) {
      for (const probe of subject.probes) probe.stop();
      this.subjects.delete(member);
    }
    // The first report says who judges now, even where no verdict changes.
    if (gone.size > 0 || isChanged) this.reportSoon();
    this.isStarted = true;
  }

  /** Ends every check at once; nothing is reported after this. */
  stop(): void {
    this.isStopped = true;
    this.cancelReport?.();
    for (const subject of this.subjects.values()) {
      for (const probe of subject.probes) probe.stop();
    }
    this.subjects.clear();
  }

  private takenOver(member: string): Verdict | null {
    const verdict = this.options.previous?.members[member];
    return verdict ? { isUp: verdict.isUp, since: verdict.since, reason: verdict.reason } : null;
  }

  /** Gives the subject a probe for each monitor of the pool; those that stay the same go on undisturbed. */
  private equip(subject: Subject, address: string | null, pool: GraphPool): void {
    const left = subject.probes;
    // What was found at another address says nothing of this one.
    const isKept = subject.address === undefined || subject.address === address;
    const isUp = isKept ? (subject.verdict?.isUp ?? null) : null;
    subject.address = address;
    subject.probes = [];
    for (const spec of pool.healthMonitors) {
      if (address === null) break;
      const port = spec.type === 'ping' ? 0 : (spec.port ?? pool.port);
      const at = left.findIndex((probe) => probe.isSame(spec, address, port));
      if (at >= 0) subject.probes.push(...left.splice(at, 1));
      else subject.probes.push(this.startProbe(subject, spec, address, port, isUp));
    }
    for (const probe of left) probe.stop();
  }

  private startProbe(
    subject: Subject,
    spec: Spec,
    address: string,
    port: number,
    isUp: boolean | null,
  ): Probe {
    const { clock, createMonitor } = this.options;
    const probe: Probe = new Probe({
      spec,
      monitor: createMonitor(spec),
      address,
      port,
      clock,
      isUp,
      onChange: () => this.judge(subject),
      needsSecondOpinion: () => this.isMassFailure(probe.periodMs),
      onTrouble: (reason) => this.tellTrouble(reason),
    });
    const within = isUp === null ? Math.min(spec.intervalMs, FIRST_CHECK_MS) : spec.intervalMs;
    probe.start(within * clock.random());
    return probe;
  }

  /** Draws the member's verdict from its probes. It stays as it is while they have not all decided. */
  private judge(subject: Subject): void {
    const down = subject.probes.find((probe) => probe.isUp === false && probe.reason !== '');
    if (subject.address === null) this.decide(subject, false, 'has no address yet');
    else if (down) this.decide(subject, false, down.reason);
    else if (subject.probes.every((probe) => probe.isUp === true)) {
      const reasons = subject.probes.map((probe) => probe.reason).filter((reason) => reason !== '');
      if (subject.verdict?.isUp !== true) this.decide(subject, true, reasons.join(', '));
    }
  }

  private decide(subject: Subject, isUp: boolean, reason: string): void {
    const { verdict } = subject;
    if (verdict?.isUp === isUp && verdict.reason === reason) return;
    const since = verdict?.isUp === isUp ? verdict.since : this.options.clock.wallMs();
    subject.verdict = { isUp, since, reason };
    this.reportSoon();
  }

  /** Whether more than half of the members that were up have failed within the period. */
  private isMassFailure(periodMs: number): boolean {
    const after = this.options.clock.nowMs() - periodMs;
    let candidates = 0;
    let failing = 0;
    for (const { probes, verdict } of this.subjects.values()) {
      // Those that have been down for longer do not count on either side.
      if (verdict?.isUp === false && !probes.some((probe) => probe.downAt >= after)) continue;
      candidates++;
      if (probes.some((probe) => probe.failedAt >= after)) failing++;
    }
    return failing * 2 > candidates;
  }

  private tellTrouble(reason: string): void {
    if (this.troubles.has(reason) || this.troubles.size >= MAX_TROUBLES) return;
    this.troubles.add(reason);
    this.options.onTrouble(reason);
  }

  private reportSoon(): void {
    if (this.isStopped) return;
    this.cancelReport ??= this.options.clock.after(REPORT_DELAY_MS, () => {
      this.cancelReport = null;
      this.reports++;
      const report: HealthReport = { monitor: this.options.engine, version: this.version, members: {} };
      for (const [member, { verdict }] of this.subjects) if (verdict) report.members[member] = verdict;
      this.options.onReport(report);
    });
  }
}
