/**
 * Between the shared state and the data plane: what other engines and the monitors say goes in, what this engine
 * counts and remembers goes out. While the link is down both keep what they knew.
 */
import type {
  ConnectionReport,
  HealthReport,
  SessionRecord,
  SharedEntry,
  SharedState,
} from '../state/shared.ts';
import type { ToldSession } from './http/session-sharing.ts';
import type { FromDataplane, ToDataplane } from './messages.ts';

const HTTP_SESSIONS = 'http-session/';

export class Exchange {
  readonly #shared: SharedState;
  readonly #post: (message: ToDataplane) => void;
  readonly #learn: (service: string, session: ToldSession) => void;
  readonly #onInvalid: (key: string, error: Error) => void;
  /** `<service>/<client>` to the record of each engine: an index, since looking it up by prefix is slow for many. */
  readonly #sessions = new Map<string, Map<string, SessionRecord>>();
  /** Pool to the verdicts of this engine's own probing, where they stand in for the shared report. */
  readonly #ownHealth = new Map<string, Record<string, boolean>>();
  readonly #unsubscribe: (() => void)[] = [];

  /** `post` tells the data plane, `learn` the proxies; `onInvalid` is told of an entry that is not what its key promises. */
  constructor(
    shared: SharedState,
    post: (message: ToDataplane) => void,
    learn: (service: string, session: ToldSession) => void,
    onInvalid: (key: string, error: Error) => void,
  ) {
    this.#shared = shared;
    this.#post = post;
    this.#learn = learn;
    this.#onInvalid = onInvalid;
  }

  /** Follows the shared state until `stop`; begins with everything that is there. */
  start(): void {
    const follow = (prefix: string, take: (entry: SharedEntry) => void): void => {
      this.#unsubscribe.push(this.#shared.subscribe(prefix, (entry) => this.#attempt(entry, take)));
    };
    follow('connections/', (entry) => this.#takeConnections(entry));
    follow('health/', (entry) => {
      this.#takeHealth(entry);
      if (entry.value !== undefined) this.#ownHealth.delete(poolOf(entry));
    });
    follow('session/', (entry) => this.#takeSession(entry));
    follow(HTTP_SESSIONS, (entry) => this.#takeHttpSession(entry));
  }

  /** Tells a fresh data plane everything again. */
  replay(): void {
    const again = (prefix: string, take: (entry: SharedEntry) => void): void => {
      for (const entry of this.#shared.list(prefix)) this.#attempt(entry, take);
    };
    again('connections/', (entry) => this.#takeConnections(entry));
    again('health/', (entry) => {
      if (!this.#ownHealth.has(poolOf(entry))) this.#takeHealth(entry);
    });
    for (const [pool, members] of this.#ownHealth) this.#post({ type: 'health', pool, members });
    for (const [name, records] of this.#sessions) this.#postSession(name, records);
  }

  /** Another engine's defect must not become this one's end. */
  #attempt(entry: SharedEntry, take: (entry: SharedEntry) => void): void {
    try {
      take(entry);
    } catch (error) {
      this.#onInvalid(entry.key, error as Error);
    }
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
  }

  /** Publishes the counts of this engine. */
  putConnections(report: ConnectionReport): void {
    this.#shared.put(`connections/${this.#shared.writer}`, report);
  }

  /** Publishes a session that this engine made or used. */
  putSession(message: Extract<FromDataplane, { type: 'session' }>): void {
    const { service, client, member, time, timeoutMs } = message;
    const record: SessionRecord = { member, time };
    this.#shared.put(`session/${service}/${client}/${this.#shared.writer}`, record, { ttlMs: timeoutMs });
  }

  /** Publishes which member a client of proxied HTTP has. */
  putHttpSession(service: string, { client, member, time }: ToldSession, timeoutMs: number): void {
    const record: SessionRecord = { member, time };
    const key = `${HTTP_SESSIONS}${service}/${client}/${this.#shared.writer}`;
    this.#shared.put(key, record, { ttlMs: timeoutMs });
  }

  /** What all engines told of clients of a service whose HTTP is proxied. */
  *httpSessions(service: string): Iterable<ToldSession> {
    for (const { key, value } of this.#shared.list(`${HTTP_SESSIONS}${service}/`)) {
      if (value !== undefined) yield { ...(value as SessionRecord), client: key.split('/')[2] ?? '' };
    }
  }

  /**
   * Goes by what this engine itself found, until a report comes in by the shared state; null: by the report that is
   * there. Nothing is published.
   */
  judgePool(pool: string, report: HealthReport | null): void {
    if (report === null) {
      this.#ownHealth.delete(pool);
      const entry = this.#shared.get(`health/${pool}`);
      if (entry !== undefined) this.#attempt(entry, () => this.#takeHealth(entry));
      return;
    }
    const members = verdictsOf(report);
    this.#ownHealth.set(pool, members);
    this.#post({ type: 'health', pool, members });
  }

  #takeConnections({ key, value }: SharedEntry): void {
    const engine = key.slice('connections/'.length);
    if (engine === this.#shared.writer) return;
    this.#post({ type: 'connections', engine, report: (value as ConnectionReport | undefined) ?? null });
  }

  #takeHealth(entry: SharedEntry): void {
    // A monitor that is gone takes its verdicts along; the last ones hold until another engine has probed.
    if (entry.value === undefined) return;
    this.#post({ type: 'health', pool: poolOf(entry), members: verdictsOf(entry.value as HealthReport) });
  }

  #takeSession({ key, value, writer, epoch }: SharedEntry): void {
    const [, service, client, engine] = key.split('/');
    if (service === undefined || client === undefined || engine === undefined) {
      throw new TypeError('a session key is session/<service>/<client>/<engine>');
    }
    const name = `${service}/${client}`;
    const records = this.#sessions.get(name) ?? new Map<string, SessionRecord>();
    if (value === undefined) records.delete(engine);
    else {
      const { member, time } = value as SessionRecord;
      records.set(engine, { member, time });
    }
    if (records.size === 0) this.#sessions.delete(name);
    else this.#sessions.set(name, records);
    // The data plane knows what it made itself.
    if (writer !== this.#shared.writer || epoch !== this.#shared.epoch) this.#postSession(name, records);
  }

  /** One that ended ends by its time here, too. */
  #takeHttpSession({ key, value, writer, epoch }: SharedEntry): void {
    if (value === undefined || (writer === this.#shared.writer && epoch === this.#shared.epoch)) return;
    const [, service = '', client = ''] = key.split('/');
    this.#learn(service, { ...(value as SessionRecord), client });
  }

  /** Among the records of all engines the latest counts, then that of the greater engine id. */
  #postSession(name: string, records: ReadonlyMap<string, SessionRecord>): void {
    let session: (SessionRecord & { engine: string }) | null = null;
    for (const [engine, { member, time }] of records) {
      const isBetter =
        session === null || time > session.time || (time === session.time && engine > session.engine);
      if (isBetter) session = { member, time, engine };
    }
    const [service, client] = name.split('/') as [string, string];
    this.#post({ type: 'session', service, client, session });
  }
}

function poolOf({ key }: SharedEntry): string {
  return key.slice('health/'.length);
}

function verdictsOf(report: HealthReport): Record<string, boolean> {
  const members: Record<string, boolean> = {};
  for (const [id, verdict] of Object.entries(report.members)) members[id] = verdict.isUp;
  return members;
}
