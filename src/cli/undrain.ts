/** `weft undrain VM`: the member gets new connections again. */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { patternMatcher } from '../policy/name-pattern.ts';
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
        const pattern = spec.drain.find((entry) => entry !== vm && patternMatcher(entry)(vm));
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
