/** What a thread has done for a service, in numbers. */
import type { ServiceFigures } from '../../policy/service-figures.ts';
import type { Exchange } from './exchange.ts';
import { Histogram } from './histogram.ts';
import { MemberFigures } from './member-figures.ts';
import { MostSeen } from './most-seen.ts';
import { REFUSALS } from './refusals.ts';
import type { TurnClock } from './turn-clock.ts';

export type FiguresReport = ServiceFigures;

/** Names are counted for so long after somebody looked. */
const LOOKED_MS = 10_000;
const PATH_BYTES = 128;

/** What `Figures` itself knows of a report; the rest is that of pools and components. */
export type OwnFigures = Omit<
  FiguresReport,
  'members' | 'cookies' | 'ejections' | 'waited' | 'retries' | 'sessions' | 'components' | 'shared'
>;

export class Figures {
  connections = 0;
  open = 0;
  requests = 0;
  logBytesLost = 0;
  readonly #clock: TurnClock;
  #tunnels = 0;
  readonly #statuses = new Float64Array(6);
  readonly #refusals = new Float64Array(REFUSALS.length);
  #receivedBytes = 0;
  #sentBytes = 0;
  readonly #total = new Histogram();
  readonly #client = new Histogram();
  readonly #engine = new Histogram();
  readonly #member = new Histogram();
  /** Null while nobody looks. */
  #seen: { paths: MostSeen; clients: MostSeen; untilMs: number } | null = null;

  constructor(clock: TurnClock) {
    this.#clock = clock;
  }

  /** A request begins, and can be read still. */
  began(exchange: Exchange): void {
    if (this.#seen !== null) this.#see(exchange);
  }

  #see(exchange: Exchange): void {
    const seen = this.#seen!;
    if (exchange.startedMs > seen.untilMs) {
      this.#seen = null;
      return;
    }
    const { bytes, targetAt, targetEnd } = exchange.request;
    let end = targetAt;
    const most = Math.min(targetEnd, targetAt + PATH_BYTES);
    while (end < most && bytes[end] !== 63) end++;
    seen.paths.add(Buffer.from(bytes.buffer, bytes.byteOffset + targetAt, end - targetAt).toString('latin1'));
    seen.clients.add(exchange.clientAddress);
  }

  /** Somebody looks: paths and clients are counted for a while. */
  look(nowMs: number): void {
    this.#seen ??= { paths: new MostSeen(), clients: new MostSeen(), untilMs: 0 };
    this.#seen.untilMs = nowMs + LOOKED_MS;
  }

  ended(exchange: Exchange): void {
    this.requests++;
    this.#statuses[Math.floor(exchange.status / 100)]!++;
    if (exchange.refusal !== 0) this.#refusals[exchange.refusal]!++;
    this.#receivedBytes += exchange.requestBytes;
    this.#sentBytes += exchange.responseBytes;
    const { member } = exchange;
    let figures: MemberFigures | null = null;
    if (member !== null) {
      figures = member.figures ??= new MemberFigures();
      figures.requests++;
      if (exchange.status >= 500 || exchange.refusal !== 0) figures.errors++;
    }
    if (exchange.isTunnel) this.#tunnels++;
    else this.#clock.ended(this, figures, exchange);
  }

  /** By the clock: where the time of a request went. What is left is ours. */
  spent(totalMs: number, clientMs: number, memberMs: number): void {
    this.#total.add(totalMs);
    this.#client.add(clientMs);
    this.#member.add(memberMs);
    this.#engine.add(totalMs - clientMs - memberMs);
  }

  report(): OwnFigures {
    const refusals: Record<string, number> = {};
    for (const [id, { name }] of REFUSALS.entries()) {
      if (this.#refusals[id]! > 0) refusals[name] = this.#refusals[id]!;
    }
    return {
      threads: 1,
      busyMs: this.#clock.busyMs,
      connections: this.connections,
      open: this.open,
      requests: this.requests,
      tunnels: this.#tunnels,
      statuses: [...this.#statuses],
      refusals,
      receivedBytes: this.#receivedBytes,
      sentBytes: this.#sentBytes,
      times: {
        total: this.#total.list(),
        client: this.#client.list(),
        engine: this.#engine.list(),
        member: this.#member.list(),
      },
      logBytesLost: this.logBytesLost,
      paths: this.#seen?.paths.list() ?? {},
      clients: this.#seen?.clients.list() ?? {},
    };
  }
}
