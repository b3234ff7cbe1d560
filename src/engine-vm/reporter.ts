/** What the engine says of itself: collects it from everywhere, and says it on every change and twice a second. */
import type { BgpReport, EngineReport, PeerObservation } from '../state/shared.ts';

const REPORT_MS = 500;
/** Changes that come together make one report. */
const REPORT_SOON_MS = 20;

export class Reporter {
  #report: EngineReport = {
    host: '',
    graphRevision: 0,
    graphError: null,
    isReady: false,
    heartbeat: 0,
    datapath: 'the data plane is starting',
    peers: {},
    ports: {},
    path: null,
    drops: {},
    flows: 0,
    newFlows: 0,
    evictedFlows: 0,
    floods: {},
    fullTables: {},
    components: {},
  };
  #put: ((report: EngineReport) => void) | null = null;
  #soon: NodeJS.Timeout | undefined;
  #often: NodeJS.Timeout | undefined;

  /** The latest facts. */
  get report(): Readonly<EngineReport> {
    return this.#report;
  }

  /** Reports from now on, beginning at once. */
  start(put: (report: EngineReport) => void): void {
    this.#put = put;
    this.#often = setInterval(() => this.say(), REPORT_MS);
    this.say();
  }

  stop(): void {
    clearInterval(this.#often);
    clearTimeout(this.#soon);
    this.#put = null;
  }

  /** Takes facts that the next report will hold. */
  note(facts: Partial<EngineReport>): void {
    this.#report = { ...this.#report, ...facts };
  }

  /** Takes facts that others wait for: they are reported at once, together with what follows within 20 ms. */
  announce(facts: Partial<EngineReport>): void {
    this.note(facts);
    if (this.#put !== null) this.#soon ??= setTimeout(() => this.say(), REPORT_SOON_MS);
  }

  /** Takes how the sessions with routers are, which is news; null where there are none any more. */
  bgp(bgp: BgpReport | null): void {
    const { bgp: _before, ...others } = this.#report;
    this.#report = others;
    this.announce(bgp === null ? {} : { bgp });
  }

  /** Takes what the probes of peers say: news where somebody came or went, else only a newer measurement. */
  peers(peers: Record<string, PeerObservation>): void {
    if (opinions(peers) === opinions(this.#report.peers)) this.note({ peers });
    else this.announce({ peers });
  }

  /** Reports now. */
  say(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#put?.(this.#report);
  }
}

function opinions(peers: Record<string, PeerObservation>): string {
  return JSON.stringify(
    Object.entries(peers).map(([id, { isAlive, isInsideAlive }]) => [id, isAlive, isInsideAlive]),
  );
}
