/** `weft explain SERVICE`: why this member, as each engine sees it: C, H and L of every candidate. */
import type { Command } from 'commander';
import type { Explanation } from '../policy/answers.ts';
import { type Cell, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(
    program,
    'explain <service>',
    'show which member each engine would choose for a new flow, and why',
    ['weft explain web', 'weft explain web --from 10.77.0.9'],
  )
    .option('--from <address>', 'the client address; it matters for sessions and hashing methods')
    .action(async (service: string, options: VerbOptions & { from?: string }) => {
      const answer = await (await connect(options, terminal)).explain(service, options.from);
      await print(terminal, options, answer, (all) =>
        all.length === 0
          ? `no engine carries ${service} yet; "weft get virtual-service ${service}" and "weft plan" say why`
          : all.map((one) => drawExplanation(terminal, one)).join('\n\n'),
      );
    });
}

function drawExplanation(terminal: Terminal, explanation: Explanation): string {
  const { service, tier, engine, host, method, candidates, choice, reason } = explanation;
  const title = `${engine} on ${host}: ${service}, tier ${tier}, ${method}`;
  const rows = candidates.map((candidate): Cell[] => {
    const isChosen = candidate.vm === choice;
    const usable: Cell = candidate.isUsable
      ? 'yes'
      : { text: candidate.reason === '' ? 'no' : `no: ${candidate.reason}`, colour: 'red' };
    return [
      isChosen ? { text: '>', colour: 'green' } : '',
      isChosen ? { text: candidate.vm, colour: 'green' } : candidate.vm,
      candidate.host,
      String(candidate.connections),
      String(candidate.hops),
      String(candidate.load),
      String(candidate.weight),
      usable,
      candidate.isBehindEngine ? 'in line' : 'translated',
    ];
  });
  const drawn = table(
    terminal,
    [
      { title: '' },
      { title: 'MEMBER' },
      { title: 'HOST' },
      { title: 'C', isRight: true },
      { title: 'H', isRight: true },
      { title: 'L', isRight: true },
      { title: 'WEIGHT', isRight: true },
      { title: 'USABLE', wraps: true },
      { title: 'PATH' },
    ],
    rows,
  );
  const sentence = choice === null ? `no choice: ${reason}` : `choice ${choice}: ${reason}`;
  return [paint(terminal, plain(title), 'bold'), drawn, plain(sentence)].join('\n');
}
