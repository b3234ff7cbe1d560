/** What engines say through the hub: link, latest report, and when it arrived. */
import type {
  ConnectionReport,
  EngineReport,
  FloodReport,
  FullTableReport,
  SharedHub,
} from '../state/shared.ts';
import type { Clock } from './clock.ts';

export interface Reported {
  report: EngineReport;
  at: number;
}

export class EngineReports {
  readonly #hub: SharedHub;
  readonly #reports = new Map<string, Reported>();
  readonly #connected = new Set<string>();
  readonly #stops: (() => void)[] = [];

  /** `onNews` is called when something changed that plans depend on, not with every report. */
  constructor(hub: SharedHub, clock: Clock, onNews: (engine: string) => void) {
    this.#hub = hub;
    for (const { engine } of hub.connected()) this.#connected.add(engine);
    this.#stops.push(
      hub.onEngine((engine, isConnected) => {
        if (isConnected) this.#connected.add(engine);
        else {
          this.#connected.delete(engine);
          this.#reports.delete(engine);
        }
        onNews(engine);
      }),
      hub.subscribe('engine/', ({ key, value }) => {
        const engine = key.slice('engine/'.length);
        const before = this.#reports.get(engine)?.report;
        if (!isReport(value)) {
          this.#reports.delete(engine);
          if (before) onNews(engine);
          return;
        }
        this.#reports.set(engine, { report: value, at: clock.now() });
        if (!before || isNews(before, value)) onNews(engine);
      }),
    );
  }

  /** Ids of engines whose link is up. */
  get connected(): ReadonlySet<string> {
    return this.#connected;
  }

  get(engine: string): Reported | undefined {
    return this.#connected.has(engine) ? this.#reports.get(engine) : undefined;
  }

  /** The highest graph revision that any engine has in force. */
  highestRevision(): number {
    let highest = 0;
    for (const { value } of this.#hub.list('engine/')) {
      if (isReport(value)) highest = Math.max(highest, value.graphRevision);
    }
    return highest;
  }

  /** What engines count, by engine id. */
  connections(): Map<string, ConnectionReport> {
    const counts = new Map<string, ConnectionReport>();
    for (const { key, value } of this.#hub.list('connections/')) {
      const report = value as Partial<ConnectionReport> | undefined;
      if (!report?.local || !report.sent) continue;
      const { local, sent, received = {} } = report;
      counts.set(key.slice('connections/'.length), { local, sent, received });
    }
    return counts;
  }

  /** Services under a flood, by engine id. */
  floods(): Map<string, Readonly<Record<string, FloodReport>>> {
    const floods = new Map<string, Readonly<Record<string, FloodReport>>>();
    for (const [engine, { report }] of this.#reports) {
      if (flooded(report) !== '') floods.set(engine, report.floods ?? {});
    }
    return floods;
  }

  /** Services for which the flow table of an engine has no room, by engine id. */
  fullTables(): Map<string, Readonly<Record<string, FullTableReport>>> {
    const full = new Map<string, Readonly<Record<string, FullTableReport>>>();
    for (const [engine, { report }] of this.#reports) {
      if (withoutRoom(report) !== '') full.set(engine, report.fullTables ?? {});
    }
    return full;
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }
}

/** An engine is authenticated, but what it sends is still input. */
function isReport(value: unknown): value is EngineReport {
  if (typeof value !== 'object' || value === null) return false;
  const report = value as Partial<EngineReport>;
  return (
    typeof report.graphRevision === 'number' &&
    Number.isFinite(report.graphRevision) &&
    typeof report.heartbeat === 'number' &&
    typeof report.isReady === 'boolean' &&
    typeof report.peers === 'object' &&
    report.peers !== null
  );
}

function isNews(before: EngineReport, after: EngineReport): boolean {
  if (
    before.graphRevision !== after.graphRevision ||
    before.isReady !== after.isReady ||
    before.graphError !== after.graphError ||
    flooded(before) !== flooded(after) ||
    withoutRoom(before) !== withoutRoom(after)
  ) {
    return true;
  }
  for (const [peer, opinion] of Object.entries(after.peers)) {
    if (before.peers[peer]?.isAlive !== opinion.isAlive) return true;
  }
  return false;
}

/** Which services find no room in the flow table, as text to compare. */
function withoutRoom({ fullTables }: EngineReport): string {
  return typeof fullTables === 'object' && fullTables !== null
    ? Object.keys(fullTables).sort().join(' ')
    : '';
}

/** Which services are under a flood, and whether with SYN cookies, as text to compare; how bad it is changes all the time. */
function flooded({ floods }: EngineReport): string {
  const isTable = typeof floods === 'object' && floods !== null;
  if (!isTable) return '';
  const named = Object.entries(floods).map(([service, flood]) => (flood?.answered ? `${service}+` : service));
  return named.sort().join(' ');
}
