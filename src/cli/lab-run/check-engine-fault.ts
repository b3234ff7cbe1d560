/** A check of `npm start -- --once`: an engine dies or hangs under load. */
import { type CheckContext, type CheckResult, FAILOVER_BOUND_MS, WEB, WEB_TARGETS } from './check.ts';
import { sleep, waitFor } from './waiting.ts';

/** How long a connection that the fault does not touch may wait: a busy machine, never a failover. */
const UNTOUCHED_BOUND_MS = 1000;

/**
 * An engine is killed or hangs under load: traffic flows again within 3 s everywhere, requests that the engine does
 * not touch never fail, and the engine comes back by itself.
 */
export async function checkEngineFault(context: CheckContext, fault: 'kill' | 'hang'): Promise<CheckResult> {
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
  client.startLoad(WEB_TARGETS, { workers: 12, pauseMs: 4, timeoutMs: 15_000 });
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
