/** `npm start -- --once`: every check in turn against a lab that is up, and the summary. */
import type { CheckContext } from './check.ts';
import { CHECKS } from './checks.ts';

/** The last line that `--once` prints. */
export interface Summary {
  ok: boolean;
  hosts: number;
  engines: number;
  members: number;
  /** Requests of all loads, and how many of them failed (during an injected fault included). */
  requests: number;
  failed: number;
  failoverMs: number;
  [figure: string]: number | string | boolean | string[];
  problems: string[];
}

/** Runs the checks one after another; a check that throws is a problem of its own and the next ones still run. */
export async function runChecks(context: CheckContext): Promise<Summary> {
  const first = await context.status();
  const figures: Record<string, number | string> = {};
  const problems: string[] = [];
  for (const check of CHECKS) {
    const startedAt = Date.now();
    let found: string[];
    try {
      const result = await check.run(context);
      Object.assign(figures, result.figures);
      found = result.problems;
    } catch (error) {
      context.signal.throwIfAborted();
      found = [error instanceof Error ? error.message : String(error)];
    }
    const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
    context.say(`${found.length === 0 ? 'ok    ' : 'FAILED'} ${check.name} (${seconds} s)`);
    for (const problem of found) {
      context.say(`       ${problem}`);
      problems.push(`${check.name}: ${problem}`);
    }
  }
  return {
    ok: problems.length === 0,
    hosts: first.hosts.length,
    engines: first.engines.length,
    members: new Set(first.members.map((member) => member.vm)).size,
    requests: context.client.requests,
    failed: context.client.failed,
    failoverMs: typeof figures.failoverMs === 'number' ? figures.failoverMs : -1,
    ...figures,
    problems,
  };
}
