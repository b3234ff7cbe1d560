/** `weft drain VM`: the member keeps its connections and gets no new ones. */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { drawResults } from './apply.ts';
import type { ControllerClient } from './controller-client.ts';
import { poolsOf, withDrain } from './drain-members.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  pool?: string;
  dryRun?: boolean;
  wait?: boolean;
  timeout: string;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'drain <vm>', 'let a member keep its connections, but give it no new ones', [
    'weft drain app3',
    'weft drain app3 --pool shop --wait   # until it has no connection left',
  ])
    .option('--pool <pool>', 'only in this pool; in every one that it serves where none is named')
    .option('--dry-run', 'check everything, but change nothing')
    .option('--wait', 'wait until it has no connection left')
    .option('--timeout <seconds>', 'how long to wait', '300')
    .action(async (vm: string, options: Options) => {
      const client = await connect(options, terminal);
      const isDryRun = options.dryRun === true;
      const pools = await poolsOf(client, vm, options.pool);
      const changes = pools.map((pool) => withDrain(pool, [...new Set([...pool.spec.drain, vm])]));
      const results = await client.apply(changes, isDryRun);
      if (options.wait && !isDryRun)
        await waitForNone(
          client,
          vm,
          pools.map(({ name }) => name),
          options,
          terminal,
        );
      await print(terminal, options, results, (all) => drawResults(terminal, all, isDryRun));
    });
}

async function waitForNone(
  client: ControllerClient,
  vm: string,
  pools: readonly string[],
  { timeout }: Options,
  terminal: Terminal,
): Promise<void> {
  const seconds = Number(timeout);
  if (!Number.isFinite(seconds) || seconds <= 0) {
    throw new WeftError('ERR_USAGE', `--timeout must be a number of seconds, not ${JSON.stringify(timeout)}`);
  }
  const deadline = performance.now() + seconds * 1000;
  let said = '';
  let idle = 0;
  for (;;) {
    const { members } = await client.status();
    const counts = members
      .filter((one) => one.vm === vm && pools.includes(one.pool))
      .map((one) => one.connections);
    // Twice in a row: engines learn of it one after the other.
    idle = counts.every((count) => count === 0) ? idle + 1 : 0;
    if (idle >= 3) return;
    const left = counts.some((count) => count === null)
      ? 'nobody knows how many'
      : String(Math.max(0, ...counts.map(Number)));
    if (left !== said) terminal.stderr.write(`${plain(`${vm}: ${left} connections left`)}\n`);
    said = left;
    if (performance.now() > deadline) {
      throw new WeftError(
        'ERR_TIMEOUT',
        `${vm} still has connections after ${seconds} s (${left}); it goes on draining: "weft undrain ${vm}" takes it back`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
