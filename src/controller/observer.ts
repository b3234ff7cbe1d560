/** Puts `Actual` together from the sessions, the ledger, the hub and the judgements of liveness. */
import type { HealthReport } from '../state/shared.ts';
import type { Actual, EngineActual, Placement, Timing, Told } from './actual.ts';
import type { Fleet } from './autoscale/fleet.ts';
import { NOTHING_WATCHED } from './autoscale/scale-watch.ts';
import type { CloudSession } from './cloud-session.ts';
import type { EngineReports } from './engine-reports.ts';
import type { GraphBook } from './graph-book.ts';
import type { Journal } from './journal.ts';
import type { Ledger } from './ledger.ts';
import { type Judgement, Liveness, type Signs } from './liveness.ts';
import type { VmLoad } from './load-reader.ts';
import type { Policies } from './policies.ts';
import { holdReason } from './remains.ts';
import { indexWorld, type World } from './world.ts';

export interface ObserverOptions {
  ledger: Ledger;
  journal: Journal;
  graphs: GraphBook;
  reports: EngineReports;
  fleet: Fleet;
  loads(): ReadonlyMap<string, VmLoad>;
  health(): ReadonlyMap<string, HealthReport>;
  timing: Timing;
  startedAt: number;
}

/** For engines of a group that is not there any more. */
const DEFAULT_DEAD_AFTER_MS = 500;
const DEFAULT_PROBE_INTERVAL_MS = 100;

export class Observer {
  readonly #options: ObserverOptions;
  readonly #liveness: Liveness;
  /** Engine to the VM that was made in this life of the controller. */
  readonly #deployed = new Map<string, string>();
  readonly #told = new Map<string, Told>();
  /** Since when an engine has been alive with at least one NIC behind it. */
  readonly #inLineSince = new Map<string, number>();
  /** Segments of hosts on whose shadow NICs stand. */
  readonly #inLine = new Set<string>();
  #world: World = indexWorld(new Map());
  #judgements: ReadonlyMap<string, Judgement> = new Map();

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#liveness = new Liveness(options.startedAt, options.timing);
  }

  onDeployed(engine: string, vm: string): void {
    this.#deployed.set(engine, vm);
  }

  /** An engine of a lost store is told of this controller, or has been. */
  onTold(engine: string, vm: string, isDone: boolean, now: number): void {
    const before = this.#told.get(engine);
    const since = before?.vm === vm ? before.since : now;
    this.#told.set(engine, { vm, since, isDone });
  }

  /** Judges engines anew with the world as last observed. True where a verdict changed. */
  judge(policies: Policies, now: number): boolean {
    const before = this.#judgements;
    this.#judgements = this.#liveness.judge(this.#signs(policies), now);
    if (before.size !== this.#judgements.size) return true;
    for (const [id, judgement] of this.#judgements) {
      if (before.get(id)?.verdict !== judgement.verdict) return true;
    }
    return false;
  }

  /** Everything that plans are made from. */
  observe(sessions: ReadonlyMap<string, CloudSession>, policies: Policies, now: number): Actual {
    const { ledger, journal, graphs, reports, fleet, timing } = this.#options;
    const inventories = new Map(
      [...sessions].flatMap(([name, { inventory }]) => (inventory ? [[name, inventory] as const] : [])),
    );
    const unreachable = new Map(
      [...sessions].flatMap(([name, { failure }]) => (failure === null ? [] : [[name, failure] as const])),
    );
    this.#world = indexWorld(inventories);
    this.#inLine.clear();
    for (const nic of this.#world.nics.values()) {
      if (nic.isOnShadow) this.#inLine.add(`${nic.cloud}/${nic.host.id}/${nic.production}`);
    }
    this.judge(policies, now);
    const engines = new Map<string, EngineActual>();
    for (const [id, judgement] of this.#judgements)
      engines.set(id, this.#engine(id, judgement, policies, now));
    return {
      now,
      world: this.#world,
      unreachable,
      lacks: new Map(
        [...sessions].flatMap(([name, { lacks }]) => (lacks.length > 0 ? [[name, lacks] as const] : [])),
      ),
      warnings: new Map(
        [...inventories].flatMap(([name, { warnings = [] }]) =>
          warnings.length > 0 ? [[name, warnings] as const] : [],
        ),
      ),
      held: this.#held(sessions),
      foreign: new Map(
        [...sessions].flatMap(([name, { foreign }]) => (foreign === null ? [] : [[name, foreign] as const])),
      ),
      engines,
      placements: ledger.placements,
      told: this.#told,
      groupKeys: ledger.groupKeys,
      preImages: ledger.preImages,
      pushed: graphs.hashes(),
      failures: journal.failures(),
      connections: reports.connections(),
      floods: reports.floods(),
      fullTables: reports.fullTables(),
      health: this.#options.health(),
      fleet: { clones: fleet.clones, states: fleet.states, ...NOTHING_WATCHED },
      loads: this.#options.loads(),
      isSettled: this.#liveness.isSettled(now),
      timing,
    };
  }

  #held(sessions: ReadonlyMap<string, CloudSession>): Map<string, string> {
    const held = new Map<string, string>();
    for (const [name, { spec }] of sessions) {
      if (!this.#world.clouds.has(name) || this.#options.ledger.isOurs(name, spec.address)) continue;
      const reason = holdReason(name, this.#world);
      if (reason !== null) held.set(name, reason);
    }
    return held;
  }

  #isInLine(placement: Placement | undefined): boolean {
    return (
      placement !== undefined &&
      this.#inLine.has(`${placement.cloud}/${placement.host}/${placement.production}`)
    );
  }

  #signs(policies: Policies): Signs[] {
    const { ledger, reports } = this.#options;
    const ids = new Set([...ledger.placements.keys(), ...this.#world.engineVms.keys()]);
    return [...ids].sort().map((id): Signs => {
      const placement = ledger.placements.get(id);
      const found = this.#world.engineVms
        .get(id)
        ?.find(({ cloud, vm }) => !placement || (cloud === placement.cloud && vm.host === placement.host));
      const reported = reports.get(id);
      const isDeployed = found !== undefined && placement?.vm === found.vm.id;
      return {
        id,
        group: placement?.group ?? '',
        deadAfterMs: policies.groups.get(placement?.group ?? '')?.deadAfterMs ?? DEFAULT_DEAD_AFTER_MS,
        vm: found ? { id: found.vm.id, power: found.vm.power } : null,
        isNew: placement !== undefined && (!isDeployed || this.#deployed.get(id) === found?.vm.id),
        isDeployed,
        isInLine: this.#isInLine(placement),
        isConnected: reports.connected.has(id),
        report: reported?.report ?? null,
        reportedAt: reported?.at ?? 0,
      };
    });
  }

  #engine(id: string, judgement: Judgement, policies: Policies, now: number): EngineActual {
    const { ledger, reports, graphs } = this.#options;
    const placement = ledger.placements.get(id);
    const report = reports.get(id)?.report;
    if (report) graphs.acknowledge(id, report.graphRevision);
    const isAlive = judgement.verdict === 'alive';
    let isInsideSeen = false;
    for (const other of ledger.placements.keys()) {
      const opinion = reports.get(other)?.report.peers[id];
      if (other !== id && opinion?.isAlive === true && opinion.isInsideAlive === true) isInsideSeen = true;
    }
    if (!this.#isInLine(placement) || judgement.verdict === 'silent' || judgement.verdict === 'absent')
      this.#inLineSince.delete(id);
    else if (isAlive && !this.#inLineSince.has(id)) this.#inLineSince.set(id, now);
    const inLineFor = now - (this.#inLineSince.get(id) ?? Number.POSITIVE_INFINITY);
    const probeIntervalMs =
      policies.groups.get(placement?.group ?? '')?.probeIntervalMs ?? DEFAULT_PROBE_INTERVAL_MS;
    return {
      verdict: judgement.verdict,
      reason: judgement.reason,
      since: judgement.since,
      isConnected: reports.connected.has(id),
      isReady: isAlive && report?.isReady === true,
      graphRevision: report?.graphRevision ?? 0,
      dataAddresses: addressesOf(report?.dataAddresses),
      acknowledged: report ? graphs.content(id, report.graphRevision) : null,
      unacknowledgedSince: graphs.owedSince(id),
      isProven:
        isAlive &&
        judgement.isSeenByPeers !== false &&
        // Three probes had the time to fail; a peer that reached the protected side says more, and sooner.
        (inLineFor >= 3 * probeIntervalMs || (inLineFor >= probeIntervalMs && isInsideSeen)),
    };
  }
}

/** As an engine says it: anything, until it was looked at. */
function addressesOf(said: unknown): string[] {
  return Array.isArray(said) ? said.filter((one) => typeof one === 'string').slice(0, 16) : [];
}
