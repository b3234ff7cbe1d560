/** `weft purge SERVICE URL...`: takes stored responses out of the caches of all engines. */
import type { Command } from 'commander';
import type { PurgeAnswer } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'purge <service> <url...>', 'take stored responses out of the caches of all engines', [
    'weft purge web shop.example/prices          # all variants of one address',
    "weft purge web 'https://shop.example/img/*' # all that begins so",
    "weft purge web '*'                          # all of the service",
  ]).action(async (service: string, urls: string[], options: VerbOptions) => {
    const answer = await (await connect(options, terminal)).purge(service, urls);
    await print(terminal, options, answer, (all) => drawPurge(terminal, all));
    const { failures } = answer;
    if (failures.length === 0) return;
    throw new WeftError(
      'ERR_ENGINE_UNREACHABLE',
      `${failures.map(({ engine }) => engine).join(', ')}: what is stored there stays; purge again once weft status shows it connected`,
    );
  });
}

function drawPurge(terminal: Terminal, { purged, engines, failures }: PurgeAnswer): string {
  const drawn = table(
    terminal,
    [{ title: 'ENGINE' }, { title: 'HOST' }, { title: 'TAKEN OUT', isRight: true }],
    engines.map(({ engine, host, purged: here }) => [engine, host, String(here)]),
  );
  return [
    ...(engines.length > 0 ? [drawn] : []),
    plain(`${purged} stored ${purged === 1 ? 'response is' : 'responses are'} taken out`),
    ...failures.map(({ engine, message }) => paint(terminal, plain(`${engine}: ${message}`), 'red')),
  ].join('\n');
}
