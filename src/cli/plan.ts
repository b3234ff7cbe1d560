/** `weft plan [-f FILE...]`: the steps that a change would cause, or that are still to be done; none is performed. */
import type { Command } from 'commander';
import type { StepSummary } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { meantFor } from './apply.ts';
import type { ControllerClient } from './controller-client.ts';
import { paint, table } from './table.ts';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  file?: string[];
  delete?: boolean;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'plan', 'show the steps that applying files would cause, or that are still to be done', [
    'weft plan',
    'weft plan -f templates/lab.yaml',
    'weft plan -f shop.yaml --delete',
  ])
    .option('-f, --file <file...>', 'the files that would be applied (- for stdin)')
    .option('--delete', 'plan the deletion of the objects in the files')
    .action(async (options: Options) => {
      const client = await connect(options, terminal);
      const steps = await client.plan(await changesOf(options, terminal, client));
      await print(terminal, options, steps, (all) => drawSteps(terminal, all));
    });
}

async function changesOf(options: Options, terminal: Terminal, client: ControllerClient) {
  if (options.file === undefined) {
    if (options.delete) throw new WeftError('ERR_USAGE', '--delete needs -f FILE: what would be deleted');
    return [];
  }
  const [{ readPolicyFiles }, { parseDocuments, parseObjectNames }] = await Promise.all([
    import('./policy-files.ts'),
    import('../policy/parse.ts'),
  ]);
  if (!options.delete) {
    return meantFor(client, await readPolicyFiles(options.file, terminal, parseDocuments));
  }
  const names = await readPolicyFiles(options.file, terminal, parseObjectNames);
  return names.map((name) => ({ ...name, delete: true as const }));
}

/** Steps as a table. */
export function drawSteps(terminal: Terminal, steps: readonly StepSummary[]): string {
  if (steps.length === 0) return 'nothing to do';
  const rows = table(
    terminal,
    [
      { title: '#', isRight: true },
      { title: 'STEP' },
      { title: 'OBJECT' },
      { title: 'REASON', wraps: true, share: 2 },
      { title: 'UNDO', wraps: true },
    ],
    steps.map(({ step, object, reason, undo }, index) => [
      String(index + 1),
      step,
      object,
      reason,
      undo === null ? { text: 'cannot be undone', colour: 'yellow' } : undo,
    ]),
  );
  return [rows, ...drawChanges(steps), ...drawMissing(terminal, steps)].join('\n');
}

/** What each step reconfigures, by its number in the table. */
function drawChanges(steps: readonly StepSummary[]): string[] {
  const lines = steps.flatMap(({ changes = [] }, index) => changes.map((line) => `  ${index + 1}  ${line}`));
  return lines.length === 0 ? [] : ['', 'what is reconfigured, by step:', ...lines];
}

function drawMissing(terminal: Terminal, steps: readonly StepSummary[]): string[] {
  const lines = new Set(steps.flatMap(({ missing = [] }) => missing));
  if (lines.size === 0) return [];
  return ['', paint(terminal, 'missing privileges:', 'red'), ...[...lines].map((line) => `  ${line}`)];
}
