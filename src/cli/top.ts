/** `weft top SERVICE`: what a proxied service does now, from the engines that proxy it, or from a `weft proxy`. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { WeftError } from '../policy/errors.ts';
import {
  figuresBetween,
  noFigures,
  type ServiceFiguresAnswer,
  sumFigures,
} from '../policy/service-figures.ts';
import type { ProxyFigures } from './proxy-metrics.ts';
import type { Terminal } from './terminal.ts';
import { drawTop, type TopView } from './top-screen.ts';
import { addVerb, connect, outputFormat, print, type VerbOptions } from './verb.ts';

type Options = VerbOptions & { proxy?: string; once?: boolean; interval: number };
type Ask = () => Promise<ServiceFiguresAnswer>;

/** How long a proxy may take to answer. */
const ANSWER_MS = 5000;

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'top [service]', 'show what a proxied service does now, over all engines and by engine', [
    'weft top shop                             # until Ctrl-C',
    'weft top shop --once                      # one interval',
    'weft top --proxy 127.0.0.1:9180           # a "weft proxy --metrics 127.0.0.1:9180"',
    "weft top shop --once -o json | jq '.sum.requests'",
  ])
    .addOption(
      new Option('--proxy <address:port>', 'ask the proxy that runs with --metrics there, no controller'),
    )
    .option('--once', 'show one interval and end')
    .option('--interval <seconds>', 'how long each measurement takes, 1 to 60', interval, 2)
    .action(async (service: string | undefined, options: Options) => {
      const ask = await asker(service, options, terminal);
      await show(ask, options, terminal);
    });
}

async function asker(service: string | undefined, options: Options, terminal: Terminal): Promise<Ask> {
  if (options.proxy !== undefined) {
    const address = options.proxy;
    return () => askProxy(address, service);
  }
  if (service === undefined) {
    throw new WeftError('ERR_USAGE', 'name the service: "weft top SERVICE", or a proxy by --proxy');
  }
  const controller = await connect(options, terminal);
  return () => controller.serviceFigures(service);
}

async function askProxy(address: string, wanted: string | undefined): Promise<ServiceFiguresAnswer> {
  let all: ProxyFigures[];
  try {
    const answer = await fetch(`http://${address}/figures`, { signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    all = (await answer.json()) as ProxyFigures[];
  } catch (cause) {
    throw new WeftError(
      'ERR_UNREACHABLE',
      `no proxy tells figures at ${address} (${(cause as Error).message}): start it with --metrics ${address}`,
      { cause },
    );
  }
  const [first] = all;
  const found = all.find(({ service }) => service === (wanted ?? first?.service));
  const names = all.map(({ service }) => service).join(', ');
  if (found === undefined) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `the proxy at ${address} has no service "${wanted}": it has ${names}`,
    );
  }
  if (wanted === undefined && all.length > 1) {
    throw new WeftError('ERR_USAGE', `the proxy at ${address} has several services, name one: ${names}`);
  }
  const { service, figures } = found;
  return { service, engines: [{ engine: 'proxy', host: address, figures }], failures: [] };
}

/** One interval after the other, until Ctrl-C. */
async function show(ask: Ask, options: Options, terminal: Terminal): Promise<void> {
  const ending = new AbortController();
  const onSignal = (): void => ending.abort();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal);
  try {
    let before = await ask();
    let askedMs = performance.now();
    do {
      await delay(options.interval * 1000, undefined, { signal: ending.signal });
      const after = await ask();
      const nowMs = performance.now();
      const view = viewOf(before, after, nowMs - askedMs);
      if (
        options.once !== true &&
        terminal.stdout.isTTY === true &&
        outputFormat(options, terminal) === 'table'
      ) {
        terminal.stdout.write('\x1b[H\x1b[2J');
      }
      await print(terminal, options, view, (one) => drawTop(terminal, one));
      before = after;
      askedMs = nowMs;
    } while (options.once !== true);
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal);
  }
}

/** What was done between two answers; an engine that is new there has done all that it says. */
export function viewOf(
  before: ServiceFiguresAnswer,
  after: ServiceFiguresAnswer,
  intervalMs: number,
): TopView {
  const engines = after.engines.map(({ engine, host, figures }) => {
    const earlier = before.engines.find((one) => one.engine === engine)?.figures;
    return { engine, host, figures: figuresBetween(earlier ?? noFigures(), figures) };
  });
  return {
    service: after.service,
    intervalMs: Math.round(intervalMs),
    sum: sumFigures(engines.map(({ figures }) => figures)),
    engines,
    failures: after.failures,
  };
}

function interval(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) >= 1 && Number(text) <= 60) return Number(text);
  throw new InvalidArgumentError('it must be a whole number of seconds from 1 to 60.');
}
