/** `weft apply -f FILE...`: makes the objects of the files what the files say, all of them or none. */
import type { Command } from 'commander';
import type { ApplyResult } from '../policy/answers.ts';
import type { PolicyDocument } from '../policy/parse.ts';
import type { ControllerClient } from './controller-client.ts';
import { paint } from './table.ts';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'apply', 'create or change the objects in files, all of them or none', [
    'weft apply -f templates/lab.yaml',
    'weft apply -f shop.yaml -f firewall/ --dry-run',
    'weft get pool shop -o yaml | sed s/8080/8081/ | weft apply -f -',
  ])
    .requiredOption('-f, --file <file...>', 'YAML or JSON files, directories of them, or - for stdin')
    .option('--dry-run', 'check everything and say what would change, but change nothing')
    .action(async (options: VerbOptions & { file: string[]; dryRun?: boolean }) => {
      const [{ readPolicyFiles }, { parseDocuments }] = await Promise.all([
        import('./policy-files.ts'),
        import('../policy/parse.ts'),
      ]);
      const documents = await readPolicyFiles(options.file, terminal, parseDocuments);
      const isDryRun = options.dryRun === true;
      const client = await connect(options, terminal);
      const results = await client.apply(await meantFor(client, documents), isDryRun);
      await print(terminal, options, results, (all) => drawResults(terminal, all, isDryRun));
    });
}

/** The documents as the controller is to get them: that of a lab drives its own lab, whichever the file names. */
export async function meantFor(
  { lab }: ControllerClient,
  documents: PolicyDocument[],
): Promise<PolicyDocument[]> {
  if (lab === undefined) return documents;
  return (await import('./lab-policy.ts')).meantForLab(documents, lab);
}

/** One line per object: what happened to it. */
export function drawResults(terminal: Terminal, results: readonly ApplyResult[], isDryRun: boolean): string {
  return results
    .map(({ kind, name, result }) => {
      const colour = result === 'unchanged' ? 'dim' : result === 'deleted' ? 'yellow' : 'green';
      const word = isDryRun && result !== 'unchanged' ? `would be ${result}` : result;
      return `${kind} ${name} ${paint(terminal, word, colour)}`;
    })
    .join('\n');
}
