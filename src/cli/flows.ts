/** `weft flows [ENGINE]`: the flows that the engines hold, filtered where they are. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { FLOW_SORTS, FLOW_STATES, type FlowsAnswer, MOST_FLOWS } from '../policy/answers.ts';
import { type Cell, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, outputFormat, print, type VerbOptions } from './verb.ts';

type Options = VerbOptions &
  Record<'service' | 'client' | 'member' | 'state' | 'protocol' | 'sort', string> & {
    limit?: number;
    watch?: boolean;
  };

/** How often `--watch` asks again. */
const WATCH_MS = 1000;

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'flows [engine]', 'list the flows that the engines hold, the largest first', [
    'weft flows                                       # the 100 with the most bytes, of all engines',
    'weft flows edge-h1 --service web --state established',
    'weft flows --client 10.77.0.0/24 --sort idle --limit 20',
    'weft flows --member app3 --watch                 # once a second, until Ctrl-C',
    "weft flows --service web -o json | jq '.matched' # how many there are",
  ])
    .addOption(new Option('--service <service>', 'of this virtual service'))
    .option('--client <prefix>', "where the client's address lies in this prefix, or is this address")
    .option('--member <vm>', 'of this member: the name of its VM, or its id')
    .addOption(new Option('--state <state>', 'in this state').choices([...FLOW_STATES]))
    .addOption(new Option('--protocol <protocol>', 'of this protocol').choices(['tcp', 'udp']))
    .addOption(
      new Option('--sort <figure>', 'the largest first; idle, age: the longest').choices([...FLOW_SORTS]),
    )
    .option('--limit <n>', `how many are listed, at most ${MOST_FLOWS} (else 100); all are counted`, limit)
    .option('--watch', 'again each second, until Ctrl-C')
    .action(async (engine: string | undefined, options: Options) => {
      const { service, client, member, state, protocol, sort } = options;
      const wanted = { engine, service, client, member, state, protocol, sort, limit: options.limit };
      const request = Object.fromEntries(
        Object.entries(wanted).flatMap(([name, value]) =>
          value === undefined ? [] : [[name, String(value)]],
        ),
      );
      const controller = await connect(options, terminal);
      const show = async (): Promise<void> => {
        const answer = await controller.flows(request);
        if (
          options.watch === true &&
          terminal.stdout.isTTY === true &&
          outputFormat(options, terminal) === 'table'
        ) {
          terminal.stdout.write('\x1b[H\x1b[2J');
        }
        await print(terminal, options, answer, (all) => drawFlows(terminal, all));
      };
      await show();
      if (options.watch === true) await repeat(show);
    });
}

/** Until Ctrl-C. */
async function repeat(show: () => Promise<void>): Promise<void> {
  const ending = new AbortController();
  const onSignal = (): void => ending.abort();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal);
  try {
    for (;;) {
      await delay(WATCH_MS, undefined, { signal: ending.signal });
      await show();
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal);
  }
}

function limit(text: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) >= 1 && Number(text) <= MOST_FLOWS) return Number(text);
  throw new InvalidArgumentError(`it must be a number from 1 to ${MOST_FLOWS}.`);
}

function drawFlows(terminal: Terminal, answer: FlowsAnswer): string {
  const { flows, matched, total, failures } = answer;
  const rows = flows.map((flow): Cell[] => [
    flow.engine,
    flow.protocol,
    flow.client,
    flow.address,
    flow.service === '' ? '-' : flow.service,
    flow.vm,
    flow.kind,
    { text: flow.state, colour: flow.state === 'established' ? 'green' : 'yellow' },
    flow.kernel,
    String(flow.packets),
    String(flow.bytes),
    seconds(flow.idleMs),
    seconds(flow.ageMs),
    flow.rule,
  ]);
  const drawn = table(
    terminal,
    [
      { title: 'ENGINE' },
      { title: 'PROTO' },
      { title: 'CLIENT' },
      { title: 'ADDRESS' },
      { title: 'SERVICE' },
      { title: 'MEMBER' },
      { title: 'KIND', wraps: true },
      { title: 'STATE' },
      { title: 'KERNEL' },
      { title: 'PACKETS', isRight: true },
      { title: 'BYTES', isRight: true },
      { title: 'IDLE', isRight: true },
      { title: 'AGE', isRight: true },
      { title: 'RULE', wraps: true },
    ],
    rows,
  );
  const count = `${matched} ${matched === 1 ? 'flow fits' : 'flows fit'}, of ${total} in the tables of ${answer.engines.length} engines`;
  const lines = [
    ...(rows.length > 0 ? [drawn] : []),
    plain(matched > rows.length ? `${count}; the first ${rows.length} are listed` : count),
    ...failures.map(({ engine, message }) => paint(terminal, plain(`${engine}: ${message}`), 'red')),
  ];
  return lines.join('\n');
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}
