/** A check of `npm start -- --once`: a client keeps its member on every engine. */
import type { CheckContext, CheckResult } from './check.ts';
import { sleep } from './waiting.ts';

/** Addresses of the service `basket`: members' own, one on each host. */
const BASKET: readonly string[] = ['10.77.0.11', '10.77.0.13', '10.77.0.15'];

/** The same client address through another host's engine reaches the member that it had. */
export async function checkSession(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  let same = 0;
  for (const from of ['10.77.0.30', '10.77.0.31', '10.77.0.32', '10.77.0.33']) {
    let first = '';
    for (const address of BASKET) {
      const answer = await context.client.get({ address, port: 81, from });
      if (answer.error !== null) problems.push(`${from} through ${address}: ${answer.error}`);
      if (answer.vm === (first || answer.vm)) same++;
      else problems.push(`${from} had ${first}, and through ${address} got ${answer.vm}`);
      // What one engine remembers is on the others a moment later.
      if (first === '') await sleep(500, context.signal);
      first ||= answer.vm;
    }
  }
  return { figures: { sessionsKept: same }, problems };
}
