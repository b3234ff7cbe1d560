/**
 * A flood of SYNs to one service, at the full rate of the kernel's generator: what requests to another service of the
 * same engine take meanwhile. Needs root; installs ethtool from Debian's packages.
 *
 *   npm run bench -- flood [seconds per measurement] [rounds] [fast paths, for example tc,xdp,xdp-own-queue,xdp-cookies,off]
 *
 * Engine on one processor, everything else on another, the generator only while nobody else wants that one
 * (SCHED_IDLE), as it stands for machines elsewhere. Taking its packets in costs that processor all the same; so in each round requests are measured in quiet, while it sends as fast
 * to nowhere, and while it floods the engine. `p99Ratio` is flood over nowhere, what the engine is answerable for;
 * `p99VsQuiet` has the loss of the processor in it. With `-cookies` the flooded service has SYN cookies, and requests to
 * itself are measured as well, while the flood lasts. The last line is JSON, medians over the rounds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { FastPathChoice } from '../src/policy/engine-group.ts';
import { lackOf } from '../test/debian-package.ts';
import {
  type Counted,
  FLOODED,
  FloodSite,
  type Outcome,
  SPARED,
} from '../test/engine-vm/flood/flood-site.ts';

const [secondsText = '3', roundsText = '3', kindsText = 'tc,xdp,xdp-own-queue,xdp-cookies,off'] =
  process.argv.slice(2);
const milliseconds = Number(secondsText) * 1000;
const kinds = kindsText.split(',');
const OWN_QUEUE = '-own-queue';
const COOKIES = '-cookies';
/** Between two requests: so few that the clients do not load the processor by themselves. */
const PAUSE_MS = 1;
const SETTLE_MS = 500;
/** Requests before those that are timed. */
const WARM_UP = 300;
const PHASES = ['quiet', 'nowhere', 'flood'] as const;

type Phase = (typeof PHASES)[number];
type Measured = Outcome & { sent: number; seconds: number };

async function measure(site: FloodSite, phase: Phase, address = SPARED): Promise<Measured> {
  const stop = phase === 'quiet' ? async () => 0 : await site.flood(phase === 'nowhere');
  await delay(SETTLE_MS);
  const startedAt = performance.now() - SETTLE_MS;
  const outcome = await site.request(address, milliseconds, PAUSE_MS, WARM_UP);
  const seconds = (performance.now() - startedAt) / 1000;
  const sent = await stop();
  await delay(SETTLE_MS);
  return { ...outcome, sent, seconds };
}

/** Cookies that TypeScript and the program have given. */
function cookiesOf({ components }: Counted): number {
  return (components['flooded/syn-cookies/sent'] ?? 0) + (components['flooded/flood-guard/answered'] ?? 0);
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] ?? 0;
}

const lack = lackOf('ethtool');
if (lack !== null) throw new Error(lack);
const result: Record<string, object> = {};
for (const kind of kinds) {
  const seen: Record<Phase, Measured[]> = { quiet: [], nowhere: [], flood: [] };
  const lost: number[] = [];
  const itself: Measured[] = [];
  const cookies: number[] = [];
  for (let round = 1; round <= Number(roundsText); round++) {
    const site = new FloodSite({ engine: 1, server: 0, client: 0, flood: 0 }, kind.endsWith(OWN_QUEUE));
    try {
      await site.start(kind.replace(OWN_QUEUE, '').replace(COOKIES, '') as FastPathChoice, (graph) => {
        if (kind.endsWith(COOKIES)) graph.services[0]!.synCookies = 'always';
      });
      for (const phase of PHASES) {
        const outcome = await measure(site, phase);
        seen[phase].push(outcome);
        console.log(
          `  ${kind.padEnd(4)} ${phase.padEnd(8)} p50 ${outcome.p50Ms.toFixed(2)} ms, p99 ${outcome.p99Ms.toFixed(2)} ms, ${outcome.requests} requests, ${outcome.failed} failed, ${(outcome.sent / 1e6).toFixed(2)} M SYNs`,
        );
      }
      if (kind.endsWith(COOKIES)) {
        const before = cookiesOf(await site.counted());
        const outcome = await measure(site, 'flood', FLOODED);
        itself.push(outcome);
        cookies.push((cookiesOf(await site.counted()) - before) / outcome.seconds);
        console.log(
          `  ${kind.padEnd(4)} itself   p50 ${outcome.p50Ms.toFixed(2)} ms, p99 ${outcome.p99Ms.toFixed(2)} ms, ${outcome.requests} requests, ${outcome.failed} failed, ${(cookies.at(-1)! / 1e6).toFixed(2)} M cookies/s`,
        );
      }
      lost.push(site.linkLost());
      console.log(
        `  ${kind.padEnd(4)} drops ${JSON.stringify((await site.counted()).drops)}, the link lost ${lost.at(-1)}`,
      );
    } finally {
      await site.close();
    }
  }
  const of = (phase: Phase, field: 'p50Ms' | 'p99Ms' | 'sent' | 'failed') =>
    median(seen[phase].map((outcome) => outcome[field]));
  const ratio = (left: number, right: number) => Number((left / right).toFixed(2));
  result[kind] = {
    p99Ratio: ratio(of('flood', 'p99Ms'), of('nowhere', 'p99Ms')),
    p99VsQuiet: ratio(of('flood', 'p99Ms'), of('quiet', 'p99Ms')),
    p50VsQuiet: ratio(of('flood', 'p50Ms'), of('quiet', 'p50Ms')),
    failed: seen.flood.reduce((sum, { failed }) => sum + failed, 0),
    linkLost: median(lost),
    ...(itself.length === 0
      ? {}
      : {
          cookiesPerSecond: Math.round(median(cookies)),
          itself: {
            requests: median(itself.map(({ requests }) => requests)),
            failed: itself.reduce((sum, { failed }) => sum + failed, 0),
            p50Ms: Number(median(itself.map(({ p50Ms }) => p50Ms)).toFixed(2)),
            p99Ms: Number(median(itself.map(({ p99Ms }) => p99Ms)).toFixed(2)),
          },
        }),
    synsPerSecond: Math.round(median(seen.flood.map(({ sent, seconds }) => sent / seconds))),
  };
}
console.log(JSON.stringify({ bench: 'flood', ...result }));
