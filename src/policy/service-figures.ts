/**
 * What a proxied service has done, in numbers: of one thread, of one engine, or of all of them, in the same shape.
 * Counters go up from the start of a thread; histograms are arrays of counts whose buckets are a quarter of a power of
 * two microseconds.
 */

/** The times of requests, as histograms without the zeros at their end. */
export interface ServiceTimes {
  /** From the head of a request until its response was handed to the kernel, whole. */
  total: number[];
  /** Waited for the client: to send the rest of its request, to take more of the response. */
  client: number[];
  /** The rest: turns of the thread, queues. */
  engine: number[];
  /** Waited for the member: to take the request, to respond, to go on. */
  member: number[];
}

export interface MemberUse {
  /** Of a route; empty for that of the tier. */
  pool: string;
  name: string;
  /** `address:port`. */
  address: string;
  requests: number;
  /** Of these, answered with a status of 500 or more, or by a refusal of ours. */
  errors: number;
  /** Under way now. */
  active: number;
  /** Waited for it, as `ServiceTimes.member`. */
  waits: number[];
}

export interface ServiceFigures {
  /** How many threads are in these figures, and for how long these were not waiting, all services of theirs together. */
  threads: number;
  busyMs: number;
  /** Connections of clients: taken since the start, open now. */
  connections: number;
  open: number;
  requests: number;
  /** Connections that were upgraded: they are in no histogram. */
  tunnels: number;
  /** By hundreds of the status: index 2 is 2xx. */
  statuses: number[];
  refusals: Record<string, number>;
  receivedBytes: number;
  sentBytes: number;
  times: ServiceTimes;
  /** Those with the most requests, MOST_MEMBERS at the most. */
  members: MemberUse[];
  /** Of the access log, that could not be written. */
  logBytesLost: number;
  /** Members that were left out for their errors. */
  ejections: number;
  /** Requests that have waited for a member. */
  waited: number;
  /** Requests that went to a member again, and those that `retryBudget` kept from it. */
  retries: { done: number; refused: number };
  /** Session cookies: those of members that could be had, could not, are not known; those that were given. */
  cookies: { kept: number; moved: number; unknown: number; given: number };
  /** Requests of sessions by address or field: by the member that the client had, by another, by the first. */
  sessions: { kept: number; moved: number; begun: number };
  /** Counters of the service's components, by type. */
  components: Record<string, Record<string, number>>;
  /** Of the memory that the components of all threads share, by type: what is there now. */
  shared: Record<string, Record<string, number>>;
  /** Since somebody looks, and only while they do: paths and clients with the most requests, near enough. */
  paths: Record<string, number>;
  clients: Record<string, number>;
}

/** What the engines that proxy a service have done for it; or one proxy without engines. */
export interface ServiceFiguresAnswer {
  service: string;
  engines: { engine: string; host: string; figures: ServiceFigures }[];
  /** Engines that did not answer, and why. */
  failures: { engine: string; message: string }[];
}

/** What an engine is asked; null: all services. `names`: paths and clients too. */
export interface ServiceFiguresQuestion {
  service: string | null;
  names: boolean;
}

export const MOST_MEMBERS = 200;
/** Of paths and of clients, in one answer. */
export const MOST_NAMES = 20;

/** Nothing was done. */
export function noFigures(): ServiceFigures {
  return {
    threads: 0,
    busyMs: 0,
    connections: 0,
    open: 0,
    requests: 0,
    tunnels: 0,
    statuses: [0, 0, 0, 0, 0, 0],
    refusals: {},
    receivedBytes: 0,
    sentBytes: 0,
    times: { total: [], client: [], engine: [], member: [] },
    members: [],
    logBytesLost: 0,
    ejections: 0,
    waited: 0,
    retries: { done: 0, refused: 0 },
    cookies: { kept: 0, moved: 0, unknown: 0, given: 0 },
    sessions: { kept: 0, moved: 0, begun: 0 },
    components: {},
    shared: {},
    paths: {},
    clients: {},
  };
}

/** The figures of the threads of one proxy together. */
export function sumThreads(all: readonly ServiceFigures[]): ServiceFigures {
  return { ...sumFigures(all), shared: all[0]?.shared ?? {} };
}

/** The figures of several proxies together. */
export function sumFigures(all: readonly ServiceFigures[]): ServiceFigures {
  const sum = combine(all, (a, b) => a + b);
  sum.paths = most(sum.paths);
  sum.clients = most(sum.clients);
  return sum;
}

/**
 * What was done between two answers. Where a counter has fallen its threads began anew: it then counts from their
 * start. What is now (open connections, requests under way) and what was seen since somebody looks stay as they are.
 */
export function figuresBetween(before: ServiceFigures, after: ServiceFigures): ServiceFigures {
  const isAnew = after.requests < before.requests || after.connections < before.connections;
  if (isAnew) return after;
  const between = combine([after, before], (a, b) => Math.max(0, a - b));
  between.threads = after.threads;
  between.open = after.open;
  between.shared = after.shared;
  const active = new Map(after.members.map((member) => [keyOf(member), member.active]));
  for (const member of between.members) member.active = active.get(keyOf(member)) ?? 0;
  between.paths = after.paths;
  between.clients = after.clients;
  return between;
}

function combine(all: readonly ServiceFigures[], of: (a: number, b: number) => number): ServiceFigures {
  const [first = noFigures(), ...others] = all;
  const result: ServiceFigures = structuredClone(first);
  const members = new Map(result.members.map((member) => [keyOf(member), member]));
  for (const one of others) {
    for (const name of NUMBERS) result[name] = of(result[name], one[name]);
    result.statuses = lists(result.statuses, one.statuses, of);
    for (const name of TIMES) result.times[name] = lists(result.times[name], one.times[name], of);
    for (const name of RECORDS) result[name] = records(result[name], one[name], of);
    result.retries = { ...result.retries, ...records({ ...result.retries }, { ...one.retries }, of) };
    result.cookies = { ...result.cookies, ...records({ ...result.cookies }, { ...one.cookies }, of) };
    result.sessions = { ...result.sessions, ...records({ ...result.sessions }, { ...one.sessions }, of) };
    for (const name of ['components', 'shared'] as const) {
      for (const [type, counters] of Object.entries(one[name])) {
        result[name][type] = records(result[name][type] ?? {}, counters, of);
      }
    }
    for (const member of one.members) {
      const known = members.get(keyOf(member));
      const base = known ?? { ...member, requests: 0, errors: 0, active: 0, waits: [] };
      const made = {
        ...base,
        requests: of(base.requests, member.requests),
        errors: of(base.errors, member.errors),
        active: of(base.active, member.active),
        waits: lists(base.waits, member.waits, of),
      };
      members.set(keyOf(member), made);
    }
  }
  result.members = [...members.values()].sort((a, b) => b.requests - a.requests).slice(0, MOST_MEMBERS);
  return result;
}

const NUMBERS = [
  'threads',
  'busyMs',
  'connections',
  'open',
  'requests',
  'tunnels',
  'receivedBytes',
  'sentBytes',
  'logBytesLost',
  'ejections',
  'waited',
] as const satisfies (keyof ServiceFigures)[];
const TIMES = ['total', 'client', 'engine', 'member'] as const;
const RECORDS = ['refusals', 'paths', 'clients'] as const;

function keyOf({ pool, name, address }: MemberUse): string {
  return `${pool} ${name} ${address}`;
}

function lists(a: readonly number[], b: readonly number[], of: (a: number, b: number) => number): number[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, n) => of(a[n] ?? 0, b[n] ?? 0));
}

function records(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
  of: (a: number, b: number) => number,
): Record<string, number> {
  const result: Record<string, number> = { ...a };
  for (const [name, value] of Object.entries(b)) result[name] = of(result[name] ?? 0, value);
  return result;
}

function most(names: Readonly<Record<string, number>>): Record<string, number> {
  const sorted = Object.entries(names).sort(([, a], [, b]) => b - a);
  return Object.fromEntries(sorted.slice(0, MOST_NAMES));
}

/** What is below the bound of a bucket of a histogram, in milliseconds. */
export function upperBoundMs(bucket: number): number {
  return (2 ** (bucket >> 2) * (1 + ((bucket & 3) + 1) / 4)) / 1000;
}

/** The upper bound, in milliseconds, of the bucket in which that share of all values lies; 0 where there are none. */
export function quantile(counts: ArrayLike<number>, share: number): number {
  let total = 0;
  for (let n = 0; n < counts.length; n++) total += counts[n]!;
  let left = total * share;
  for (let n = 0; n < counts.length; n++) {
    left -= counts[n]!;
    if (total > 0 && left <= 0) return upperBoundMs(n);
  }
  return 0;
}
