/** A check of `npm start -- --once`: a member dies under load and comes back. */
import { type CheckContext, type CheckResult, FAILOVER_BOUND_MS, WEB_TARGETS } from './check.ts';
import { sleep, until } from './waiting.ts';

/** A member dies: requests begun later than 3 s after it never fail; powered on again it serves again. */
export async function checkMemberKilled(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  const victim = 'app6';
  client.forget();
  client.startLoad(WEB_TARGETS, { workers: 12, pauseMs: 4, timeoutMs: 4000 });
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
  await sleep(1000, context.signal);
  client.stopLoad();
  await sleep(300, context.signal);
  const early = client.results.filter((result) => result.startedAt >= poweredOnAt && result.error !== null);
  if (early.length > 0) {
    problems.push(`${early.length} requests failed while ${victim} was booting: ${early[0]!.error}`);
  }
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
