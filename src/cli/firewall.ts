/** `weft firewall POLICY`: what each rule of a firewall policy has done, and what it logged. */
import type { Command } from 'commander';
import { drawLog, drawRules } from './firewall-table.ts';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'firewall <policy>', 'show what the rules of a firewall policy do, and what they log', [
    'weft firewall edge',
    'weft firewall edge --log 100',
    'weft firewall edge -o json',
  ])
    .option('--log <entries>', 'the most entries of the log, 0 to 1000', '20')
    .action(async (policy: string, options: VerbOptions & { log: string }) => {
      const client = await connect(options, terminal);
      const view = await client.firewall(policy, options.log);
      return print(terminal, options, view, (one) =>
        [drawRules(terminal, one), ...(options.log === '0' ? [] : [drawLog(terminal, one)])].join('\n\n'),
      );
    });
}
