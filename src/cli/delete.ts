/** `weft delete KIND NAME`, or the objects that files name. */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { drawResults } from './apply.ts';
import type { ControllerClient } from './controller-client.ts';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  file?: string[];
  ifExists?: boolean;
  dryRun?: boolean;
}

interface Target {
  kind: string;
  name: string;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(
    program,
    'delete [kind] [name]',
    'delete an object, or those that files name: all of them or none',
    ['weft delete virtual-service web', 'weft delete -f shop.yaml --if-exists'],
  )
    .option('-f, --file <file...>', 'delete the objects in these files instead (- for stdin)')
    .option('--if-exists', 'succeed also where an object is already gone')
    .option('--dry-run', 'check everything, but delete nothing')
    .action(async (kind: string | undefined, name: string | undefined, options: Options) => {
      const targets = await targetsOf(kind, name, options, terminal);
      const client = await connect(options, terminal);
      const present = options.ifExists ? await existing(client, targets) : targets;
      const deletions = present.map((target) => ({ ...target, delete: true as const }));
      const isDryRun = options.dryRun === true;
      const results = deletions.length === 0 ? [] : await client.apply(deletions, isDryRun);
      await print(terminal, options, results, (all) =>
        all.length === 0 ? 'nothing to delete' : drawResults(terminal, all, isDryRun),
      );
    });
}

async function targetsOf(
  kind: string | undefined,
  name: string | undefined,
  { file }: Options,
  terminal: Terminal,
): Promise<Target[]> {
  if (file === undefined) {
    if (kind !== undefined && name !== undefined) return [{ kind, name }];
    throw new WeftError('ERR_USAGE', 'name what to delete: weft delete KIND NAME, or weft delete -f FILE');
  }
  if (kind !== undefined) throw new WeftError('ERR_USAGE', 'give either KIND NAME or -f FILE, not both');
  const [{ readPolicyFiles }, { parseObjectNames }] = await Promise.all([
    import('./policy-files.ts'),
    import('../policy/parse.ts'),
  ]);
  return readPolicyFiles(file, terminal, parseObjectNames);
}

async function existing(client: ControllerClient, targets: readonly Target[]): Promise<Target[]> {
  const kinds = [...new Set(targets.map(({ kind }) => kind))];
  const lists = await Promise.all(kinds.map((kind) => client.list(kind)));
  const names = new Set(lists.flat().map(({ kind, name }) => `${kind}/${name}`));
  return targets.filter(({ kind, name }) => names.has(`${kind}/${name}`));
}
