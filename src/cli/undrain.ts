/** `weft undrain VM`: the member gets new connections again. */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { drawResults } from './apply.ts';
import { poolsOf, withDrain } from './drain-members.ts';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  pool?: string;
  dryRun?: boolean;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'undrain <vm>', 'give a member that drains new connections again', ['weft undrain app3'])
    .option('--pool <pool>', 'only in this pool; in every one that it serves where none is named')
    .option('--dry-run', 'check everything, but change nothing')
    .action(async (vm: string, options: Options) => {
      const client = await connect(options, terminal);
      const isDryRun = options.dryRun === true;
      const pools = await poolsOf(client, vm, options.pool);
      for (const { name, spec } of pools) {
        // A pattern speaks of others too: taking it away is for who wrote it.
        const pattern = spec.drain.find((entry) => entry !== vm && fits(entry, vm));
        if (pattern !== undefined) {
          throw new WeftError(
            'ERR_POLICY_INVALID',
            `${vm} drains by the pattern ${JSON.stringify(pattern)} of pool ${name}: change drain of that pool`,
          );
        }
      }
      const changes = pools.map((pool) =>
        withDrain(
          pool,
          pool.spec.drain.filter((entry) => entry !== vm),
        ),
      );
      const results = await client.apply(changes, isDryRun);
      await print(terminal, options, results, (all) => drawResults(terminal, all, isDryRun));
    });
}

/** Whether a pattern with stars fits a name, as in the pool's own reading. */
function fits(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === name;
  const last = rest.pop() ?? '';
  let at = first.length;
  if (!name.startsWith(first)) return false;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
