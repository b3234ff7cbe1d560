/** A check of `npm start -- --once`: every address answers, every member serves. */
import { type CheckContext, type CheckResult, WEB, WEB_TARGETS } from './check.ts';
import { sleep } from './waiting.ts';

/** Every address answers in both families, every member serves, nothing fails. */
export async function checkTraffic(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  client.forget();
  client.startLoad(WEB_TARGETS, { workers: 12, pauseMs: 2, timeoutMs: 5000 });
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
