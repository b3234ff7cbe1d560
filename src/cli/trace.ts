/** `weft trace SERVICE --from ADDRESS`: one packet's way through the live graph, each component's verdict. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Trace } from '../policy/answers.ts';
import { paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  from: string;
  fromPort?: number;
  to?: string;
  port?: number;
  engine?: string;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'trace <service>', 'follow a packet through the engines; nothing is sent or changed', [
    'weft trace web --from 10.77.0.9',
    'weft trace web --from fd77::9 --to fd77::102',
  ])
    .requiredOption('--from <address>', 'the client address')
    .option('--from-port <port>', 'the client port (else an unused one)', port)
    .option('--to <address>', 'the service address (else the first of the service)')
    .option('--port <port>', 'the service port', port)
    .option('--engine <id>', 'the engine that the packet enters by (else the one its address leads to)')
    .action(async (service: string, options: Options) => {
      const { from, fromPort, to, port, engine } = options;
      const trace = await (await connect(options, terminal)).trace({
        service,
        from,
        ...(fromPort === undefined ? {} : { fromPort }),
        ...(to === undefined ? {} : { to }),
        ...(port === undefined ? {} : { port }),
        ...(engine === undefined ? {} : { engine }),
      });
      await print(terminal, options, trace, (one) => drawTrace(terminal, one));
    });
}

function port(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535) return Number(text);
  throw new InvalidArgumentError('it must be a port from 1 to 65535.');
}

function drawTrace(terminal: Terminal, trace: Trace): string {
  const hops = trace.hops.map((hop, index) => {
    const title = `hop ${index + 1}: ${hop.engine} on ${hop.host}`;
    const steps = table(
      terminal,
      [{ title: 'COMPONENT' }, { title: 'VERDICT', wraps: true }, { title: 'DETAIL', wraps: true }],
      hop.steps.map(({ component, verdict, detail }) => [component, verdict, detail]),
    );
    return `${paint(terminal, plain(title), 'bold')}\n${steps}\n`;
  });
  const isGood = trace.outcome.startsWith('delivered') || trace.outcome === 'bridged';
  return [
    plain(trace.packet),
    '',
    ...hops,
    paint(terminal, plain(trace.outcome), isGood ? 'green' : 'red'),
  ].join('\n');
}
