/**
 * What `npm start -- --once` checks, one function a check: each drives the lab with real traffic, measures, and
 * answers with figures for the summary and a list of what did not hold. The scenario tests run the same functions.
 */
import type { SystemStatus, Trace } from '../../policy/answers.ts';
import type { ClientTarget, LabClient } from './client.ts';

/** What a check works with. */
export interface CheckContext {
  client: LabClient;
  signal: AbortSignal;
  status(): Promise<SystemStatus>;
  trace(service: string, from: string, to?: string): Promise<Trace>;
  /** Applies policy text and waits until the named services serve. */
  apply(text: string, services: string[]): Promise<void>;
  remove(kind: string, name: string): Promise<void>;
  /** Injects a fault into a VM of the lab. */
  fault(kind: 'kill' | 'hang' | 'resume', vm: string): Promise<void>;
  powerOn(vm: string): Promise<void>;
  /** Tells the user what goes on. */
  say(text: string): void;
}

export interface CheckResult {
  /** Figures for the summary. */
  figures: Record<string, number | string>;
  /** What did not hold; empty where all did. */
  problems: string[];
}

export interface Check {
  name: string;
  run(context: CheckContext): Promise<CheckResult>;
}

const WEB: readonly string[] = [
  '10.77.0.101',
  '10.77.0.102',
  '10.77.0.103',
  'fd77::101',
  'fd77::102',
  'fd77::103',
];
const BASKET: readonly string[] = ['10.77.0.11', '10.77.0.13', '10.77.0.15'];
const targets = (addresses: readonly string[], port: number): ClientTarget[] =>
  addresses.map((address) => ({ address, port }));

/** How long after a fault traffic may stall. */
const FAILOVER_BOUND_MS = 3000;
/** How long a connection that the fault does not touch may wait: a busy machine, never a failover. */
const UNTOUCHED_BOUND_MS = 1000;

export const CHECKS: Check[] = [
  { name: 'traffic', run: checkTraffic },
  { name: 'held connections', run: checkHeldConnections },
  { name: 'worked example', run: checkWorkedExample },
  { name: 'session', run: checkSession },
  { name: 'firewall', run: checkFirewall },
  { name: 'engine killed', run: (context) => checkEngineFault(context, 'kill') },
  { name: 'engine hung', run: (context) => checkEngineFault(context, 'hang') },
  { name: 'member killed', run: checkMemberKilled },
];

/** Every address answers in both families, every member serves, nothing fails. */
async function checkTraffic(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  client.forget();
  client.startLoad(targets(WEB, 80), { workers: 12, pauseMs: 2, timeoutMs: 5000 });
  await sleep(2500, context.signal);
  client.stopLoad();
  await sleep(300, context.signal);
  const results = [...client.results];
  for (const address of WEB) {
    if (!results.some((result) => result.address === address && result.error === null)) {
      problems.push(
        `no answer from ${address}: ${results.find((result) => result.address === address)?.error ?? 'nothing tried'}`,
      );
    }
  }
  const expected = (await context.status()).members.map((member) => member.vm);
  const served = new Set(results.filter((result) => result.error === null).map((result) => result.vm));
  for (const vm of expected) if (!served.has(vm)) problems.push(`member ${vm} served no request`);
  const failed = results.filter((result) => result.error !== null);
  if (failed.length > 0)
    problems.push(`${failed.length} requests failed without a fault, the first: ${failed[0]!.error}`);
  return { figures: { baselineRequests: results.length, baselineFailed: failed.length }, problems };
}

/** 200 held connections spread evenly: through one engine to within 1, through three at once to within 10%. */
async function checkHeldConnections(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  await context.apply(
    service('check-held', '[10.77.0.121, 10.77.0.122, 10.77.0.123]', 80, 'shop', 'least-connections'),
    ['check-held'],
  );
  const idle = await waitFor(
    context,
    (status) => status.members.every((member) => member.connections === 0),
    5000,
  );
  if (!idle) problems.push('connection counts did not return to 0 before the check');

  // From client addresses of their own: a source port that a member still remembers from the load before would make
  // it refuse the first try, and the second one is balanced afresh.
  const one = await client.hold('one', { address: '10.77.0.121', port: 80, from: '10.77.0.40' }, 200);
  if (one.open !== 200) problems.push(`${one.open} of 200 connections opened: ${one.errors[0] ?? ''}`);
  const oneCounts = await settledCounts(context, 200);
  const spread = Math.max(...oneCounts) - Math.min(...oneCounts);
  if (spread > 1)
    problems.push(`through one engine the members hold ${oneCounts.join(', ')}: they differ by ${spread}`);
  await client.release('one');
  await settledCounts(context, 0);

  const addresses = ['10.77.0.121', '10.77.0.122', '10.77.0.123'];
  const three = await Promise.all(
    addresses.map((address, index) =>
      client.hold(`three-${index}`, { address, port: 80, from: `10.77.0.${41 + index}` }, 100, 2),
    ),
  );
  for (const { open, errors } of three)
    if (open !== 100) problems.push(`${open} of 100 connections opened: ${errors[0] ?? ''}`);
  const threeCounts = await settledCounts(context, 300);
  const percent =
    ((Math.max(...threeCounts) - Math.min(...threeCounts)) / Math.max(1, Math.max(...threeCounts))) * 100;
  if (percent > 10)
    problems.push(
      `through three engines at once the members hold ${threeCounts.join(', ')}: ${percent.toFixed(1)}% apart`,
    );
  await Promise.all(addresses.map((_, index) => client.release(`three-${index}`)));
  await settledCounts(context, 0);
  await context.remove('virtual-service', 'check-held');
  return { figures: { heldSpread: spread, heldSpreadThreeEnginesPercent: round(percent) }, problems };
}

/** The worked case: (C, H) = (20, 0), (4, 3), (5, 1) give L = 20, 16, 10, and the third is chosen. */
async function checkWorkedExample(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  // app1's own address: its engine, on h1, decides. From there app1 is 0 hops away, app5 (h3) 3, app3 (h2) 1.
  await context.apply(
    `${pool('check-example', ['app1', 'app3', 'app5'])}---\n${service('check-example', '[10.77.0.11]', 83, 'check-example', 'topological')}`,
    ['check-example'],
  );
  await client.hold('app1', { address: '10.77.0.11', port: 8080 }, 20);
  await client.hold('app5', { address: '10.77.0.15', port: 8080 }, 4);
  await client.hold('app3', { address: '10.77.0.13', port: 8080 }, 5);
  const wanted = { app1: [20, 0, 20], app5: [4, 3, 16], app3: [5, 1, 10] } as const;
  const seen = await waitFor(
    context,
    (status) =>
      Object.entries(wanted).every(([vm, [connections]]) =>
        status.members.some(
          (member) =>
            member.vm === vm && member.pool === 'check-example' && member.connections === connections,
        ),
      ),
    3000,
  );
  const status = await context.status();
  const entry = status.engines.find((engine) => engine.host === 'h1')?.id ?? '';
  const loads: Record<string, number> = {};
  for (const [vm, [connections, hops, load]] of Object.entries(wanted)) {
    const member = status.members.find(
      (candidate) => candidate.vm === vm && candidate.pool === 'check-example',
    );
    const view = member?.views[entry];
    loads[vm] = view?.load ?? -1;
    if (member?.connections !== connections || view?.hops !== hops || view.load !== load) {
      problems.push(
        `${vm}: C ${member?.connections}, H ${view?.hops}, L ${view?.load} from ${entry}; expected ${connections}, ${hops}, ${load}`,
      );
    }
  }
  if (!seen) problems.push('the engines did not count the held connections within 3 s');
  const answer = await client.get({ address: '10.77.0.11', port: 83, from: '10.77.0.24' });
  if (answer.vm !== 'app3')
    problems.push(`the new connection went to ${answer.vm || answer.error}, not to app3`);
  await Promise.all(['app1', 'app3', 'app5'].map((group) => client.release(group)));
  await context.remove('virtual-service', 'check-example');
  await context.remove('pool', 'check-example');
  return {
    figures: { workedExample: answer.vm, workedExampleLoads: `${loads.app1}, ${loads.app5}, ${loads.app3}` },
    problems,
  };
}

/** The same client address through another host's engine reaches the member that it had. */
async function checkSession(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  let same = 0;
  for (const from of ['10.77.0.30', '10.77.0.31', '10.77.0.32', '10.77.0.33']) {
    let first = '';
    for (const address of BASKET) {
      const answer = await context.client.get({ address, port: 81, from });
      if (answer.error !== null) problems.push(`${from} through ${address}: ${answer.error}`);
      first ||= answer.vm;
      if (answer.vm === first) same++;
      else problems.push(`${from} had ${first}, and through ${address} got ${answer.vm}`);
      await sleep(100, context.signal);
    }
  }
  return { figures: { sessionsKept: same }, problems };
}

/** What the firewall denies is silent, what it rejects is reset; both are counted and named by the trace. */
async function checkFirewall(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const before = drops(await context.status());
  const denied = await context.client.get({ address: '10.77.0.101', port: 80, from: '10.77.0.58' }, 1200);
  if (!denied.error?.startsWith('no answer'))
    problems.push(`a denied client got ${denied.error ?? `an answer from ${denied.vm}`}`);
  const rejected = await context.client.get({ address: '10.77.0.101', port: 80, from: '10.77.0.59' }, 1200);
  if (rejected.error !== 'ECONNREFUSED')
    problems.push(`a rejected client got ${rejected.error ?? `an answer from ${rejected.vm}`}`);
  await sleep(600, context.signal);
  const after = drops(await context.status());
  for (const reason of ['firewall-deny', 'firewall-reject']) {
    if ((after[reason] ?? 0) <= (before[reason] ?? 0)) problems.push(`the drop ${reason} was not counted`);
  }
  for (const [from, rule] of [
    ['10.77.0.58', 'quarantined'],
    ['10.77.0.59', 'banned'],
  ] as const) {
    const trace = await context.trace('web', from);
    if (!JSON.stringify(trace.hops).includes(rule))
      problems.push(`weft trace web --from ${from} does not name the rule ${rule}: ${trace.outcome}`);
  }
  return { figures: {}, problems };
}

/**
 * An engine is killed or hangs under load: traffic flows again within 3 s everywhere, requests that the engine does
 * not touch never fail, and the engine comes back by itself.
 */
async function checkEngineFault(context: CheckContext, fault: 'kill' | 'hang'): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  const status = await context.status();
  const host = fault === 'kill' ? 'h2' : 'h3';
  const engine = status.engines.find((candidate) => candidate.host === host);
  if (!engine) return { figures: {}, problems: [`there is no engine on ${host}`] };
  const behind = new Set(status.members.filter((member) => member.host === host).map((member) => member.vm));

  // Long-lived connections, several to each address, so that some pass this engine and some do not.
  const entries = new Map<string, string>();
  for (const address of WEB) {
    const from = address.includes(':') ? 'fd77::9' : '10.77.0.9';
    entries.set(address, (await context.trace('web', from, address)).hops[0]?.engine ?? '');
    for (let index = 0; index < 4; index++)
      client.startSteady(`${address} #${index}`, { address, port: 80 }, 50);
  }
  client.forget();
  client.startLoad(targets(WEB, 80), { workers: 12, pauseMs: 4, timeoutMs: 15_000 });
  await sleep(1000, context.signal);
  const untouched = [...client.steady.values()].filter(
    ({ key, vm }) => entries.get(key.slice(0, key.indexOf(' '))) !== engine.id && !behind.has(vm),
  );
  if (untouched.length === 0) problems.push('no long-lived connection passes the other engines only');
  const faultAt = Date.now();
  context.say(`${fault} ${engine.id} on ${host}`);
  await context.fault(fault, engine.id);
  const injectedAt = Date.now();

  let bypassedAt = 0;
  const recovered = await waitFor(
    context,
    (now) => {
      const members = now.members.filter((member) => member.host === host);
      if (bypassedAt === 0 && members.every((member) => !member.isIntercepted)) bypassedAt = Date.now();
      return (
        bypassedAt !== 0 &&
        members.every((member) => member.isIntercepted) &&
        now.engines.some((candidate) => candidate.host === host && candidate.state === 'ready')
      );
    },
    20_000,
    50,
  );
  const recoveredAt = Date.now();
  await sleep(1000, context.signal);
  client.stopLoad();
  await sleep(500, context.signal);
  const results = [...client.results];

  // The longest time for which an address gave no answer, from the fault on.
  let failoverMs = 0;
  for (const address of WEB) {
    const answered = results
      .filter((result) => result.address === address && result.error === null)
      .map((result) => result.startedAt + result.ms)
      .filter((time) => time >= faultAt)
      .sort((a, b) => a - b);
    if (answered.length === 0) problems.push(`${address} never answered again`);
    answered.forEach((time, index) => {
      failoverMs = Math.max(failoverMs, time - (answered[index - 1] ?? faultAt));
    });
  }
  const stalled = results.filter(
    (result) => result.startedAt >= faultAt + FAILOVER_BOUND_MS && result.error !== null,
  );
  if (stalled.length > 0)
    problems.push(
      `${stalled.length} requests begun later than 3 s after the fault failed: ${stalled[0]!.error}`,
    );
  if (failoverMs > FAILOVER_BOUND_MS)
    problems.push(`it took ${Math.round(failoverMs)} ms until traffic flowed again`);
  if (bypassedAt === 0) problems.push(`the members of ${host} were not bypassed`);
  else if (bypassedAt - injectedAt > FAILOVER_BOUND_MS)
    problems.push(`it took ${bypassedAt - injectedAt} ms until ${host} was bypassed`);
  if (!recovered) problems.push(`${engine.id} did not come back within 20 s`);
  // Connections that pass only the other engines neither break nor stall.
  for (const { key, vm } of untouched) {
    const broken = client.steadyBroken.get(key);
    const maxMs = client.steady.get(key)?.maxMs ?? 0;
    if (broken)
      problems.push(
        `the connection ${key} to ${vm}, which ${engine.id} does not touch, broke: ${broken.error}`,
      );
    else if (maxMs > UNTOUCHED_BOUND_MS)
      problems.push(
        `the connection ${key} to ${vm}, which ${engine.id} does not touch, stalled ${Math.round(maxMs)} ms`,
      );
  }
  const steadyBroken = client.steadyBroken.size;
  client.stopSteady();
  const failed = results.filter((result) => result.error !== null);
  const name = fault === 'kill' ? 'failover' : 'hang';
  return {
    figures: {
      [`${name}Ms`]: Math.round(failoverMs),
      [`${name}BypassMs`]: bypassedAt === 0 ? -1 : bypassedAt - injectedAt,
      [`${name}RecoveryMs`]: recovered ? recoveredAt - injectedAt : -1,
      [`${name}Requests`]: results.length,
      [`${name}Failed`]: failed.length,
      [`${name}LongLivedUntouched`]: untouched.length,
      [`${name}LongLivedBroken`]: steadyBroken,
      [`${name}SlowestMs`]: Math.round(Math.max(0, ...results.map((result) => result.ms))),
    },
    problems,
  };
}

/** A member dies: requests begun later than 3 s after it never fail; powered on again it serves again. */
async function checkMemberKilled(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  const victim = 'app6';
  client.forget();
  client.startLoad(targets(WEB, 80), { workers: 12, pauseMs: 4, timeoutMs: 4000 });
  await sleep(700, context.signal);
  const faultAt = Date.now();
  context.say(`kill member ${victim}`);
  await context.fault('kill', victim);
  await sleep(4500, context.signal);
  const late = client.results.filter(
    (result) => result.startedAt > faultAt + FAILOVER_BOUND_MS && result.error !== null,
  );
  if (late.length > 0)
    problems.push(
      `${late.length} requests begun later than 3 s after the member died failed: ${late[0]!.error}`,
    );
  const failures = client.results.filter((result) => result.startedAt >= faultAt && result.error !== null);
  const lastFailure = failures.reduce((latest, result) => Math.max(latest, result.startedAt - faultAt), 0);
  context.say(`power on member ${victim}`);
  await context.powerOn(victim);
  const poweredOnAt = Date.now();
  const isBack = await until(
    () =>
      client.results.some(
        (result) => result.vm === victim && result.error === null && result.startedAt > poweredOnAt,
      ),
    12_000,
    context.signal,
  );
  const backMs = Date.now() - poweredOnAt;
  client.stopLoad();
  await sleep(300, context.signal);
  if (!isBack) problems.push(`${victim} was powered on again but served no request within 12 s`);
  return {
    figures: {
      memberFailed: failures.length,
      memberLastFailureMs: Math.round(lastFailure),
      memberBackMs: isBack ? backMs : -1,
    },
    problems,
  };
}

function service(name: string, addresses: string, port: number, poolName: string, method: string): string {
  return `kind: virtual-service
name: ${name}
spec:
  engineGroup: edge
  tiers: [{ name: only, addresses: ${addresses}, port: ${port}, pool: ${poolName} }]
  components: [{ type: load-balancer, method: ${method} }]
`;
}

function pool(name: string, vms: readonly string[]): string {
  return `kind: pool
name: ${name}
spec:
  cloud: lab
  members: { names: [${vms.join(', ')}] }
  port: 8080
`;
}

function drops(status: SystemStatus): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const engine of status.engines) {
    for (const [reason, packets] of Object.entries(engine.drops))
      sums[reason] = (sums[reason] ?? 0) + packets;
  }
  return sums;
}

/** Connections per member of the pool `shop`, once they add up to the sum (or after 3 s as they are). */
async function settledCounts(context: CheckContext, sum: number): Promise<number[]> {
  let counts: number[] = [];
  await waitFor(
    context,
    (status) => {
      counts = status.members.filter((member) => member.pool === 'shop').map((member) => member.connections);
      return counts.reduce((total, connections) => total + connections, 0) === sum;
    },
    3000,
    50,
  );
  return counts;
}

async function waitFor(
  context: CheckContext,
  holds: (status: SystemStatus) => boolean,
  timeoutMs: number,
  pauseMs = 100,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (holds(await context.status())) return true;
    if (Date.now() > deadline) return false;
    await sleep(pauseMs, context.signal);
  }
}

async function until(holds: () => boolean, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > deadline) return false;
    await sleep(50, signal);
  }
  return true;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
