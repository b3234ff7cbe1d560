/** A check of `npm start -- --once`: what the firewall refuses, and how that is seen. */
import type { SystemStatus } from '../../policy/answers.ts';
import type { CheckContext, CheckResult } from './check.ts';
import { waitFor } from './waiting.ts';

/** What the firewall denies is silent, what it rejects is reset; both are counted and named by the trace. */
export async function checkFirewall(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const before = drops(await context.status());
  const denied = await context.client.get({ address: '10.77.0.101', port: 80, from: '10.77.0.58' }, 1200);
  if (!denied.error?.startsWith('no answer'))
    problems.push(`a denied client got ${denied.error ?? `an answer from ${denied.vm}`}`);
  const rejected = await context.client.get({ address: '10.77.0.101', port: 80, from: '10.77.0.59' }, 1200);
  if (rejected.error !== 'ECONNREFUSED')
    problems.push(`a rejected client got ${rejected.error ?? `an answer from ${rejected.vm}`}`);
  // Engines report their counters twice a second, gathered four times a second.
  for (const reason of ['firewall-deny', 'firewall-reject']) {
    const isCounted = (status: SystemStatus): boolean => (drops(status)[reason] ?? 0) > (before[reason] ?? 0);
    if (!(await waitFor(context, isCounted, 3000))) problems.push(`the drop ${reason} was not counted`);
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

function drops(status: SystemStatus): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const engine of status.engines) {
    for (const [reason, packets] of Object.entries(engine.drops))
      sums[reason] = (sums[reason] ?? 0) + packets;
  }
  return sums;
}
