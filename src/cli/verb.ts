/** What the verbs that speak to a controller share: options, connection, output formats. */
import { type Command, Option } from 'commander';
import { WeftError } from '../policy/errors.ts';
import type { ControllerClient } from './controller-client.ts';
import type { Terminal } from './terminal.ts';

export type OutputFormat = 'table' | 'json' | 'yaml';

/** The options of every such verb, as commander hands them over. */
export interface VerbOptions {
  url?: string;
  token?: string;
  lab?: string;
  output?: OutputFormat;
}

/** The options that say which controller. They may stand before the verb as well. */
export function connectionOptions(): Option[] {
  return [
    new Option('--url <url>', 'address of the controller (else WEFT_URL, else that of the lab)'),
    new Option(
      '--token <token>',
      'its token (else WEFT_TOKEN, which other users of this machine do not see)',
    ),
    new Option('--lab <name>', 'the lab whose controller is meant (else WEFT_LAB, else "lab")'),
  ];
}

/** `-o json|yaml|table`. */
export function outputOption(): Option {
  return new Option('-o, --output <format>', 'table, json or yaml (else WEFT_OUTPUT, else table)').choices([
    'table',
    'json',
    'yaml',
  ]);
}

/** Adds a verb that speaks to a controller, with the shared options and an example in its help. */
export function addVerb(
  program: Command,
  usage: string,
  summary: string,
  examples: readonly string[],
): Command {
  const verb = program.command(usage).description(summary);
  for (const option of [...connectionOptions(), outputOption()]) verb.addOption(option);
  const lines = examples.map((example) => `  ${example}`).join('\n');
  return verb.addHelpText('after', `\nExamples:\n${lines}`);
}

/** The client for the controller that the options name. */
export async function connect(options: VerbOptions, terminal: Terminal): Promise<ControllerClient> {
  const [{ findConnection }, { ControllerClient }] = await Promise.all([
    import('./connection.ts'),
    import('./controller-client.ts'),
  ]);
  return new ControllerClient(await findConnection(options, terminal));
}

/** Prints an answer in the format that was asked for; `draw` makes the table. */
export async function print<Answer>(
  terminal: Terminal,
  options: VerbOptions,
  answer: Answer,
  draw: (answer: Answer) => string,
): Promise<void> {
  const format = outputFormat(options, terminal);
  if (format === 'json') terminal.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
  else if (format === 'yaml') terminal.stdout.write(await yamlText(answer));
  else terminal.stdout.write(`${draw(answer)}\n`);
}

/** A list of policy objects becomes several documents, so that it can be applied again. */
async function yamlText(answer: unknown): Promise<string> {
  const { stringify } = await import('yaml');
  const isObjects =
    Array.isArray(answer) && answer.every((item) => item?.kind !== undefined && 'spec' in item);
  const documents: unknown[] = isObjects ? answer : [answer];
  return documents
    .map((document) => stringify(document, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
}

/** The format that was asked for. */
export function outputFormat(options: VerbOptions, { env }: Terminal): OutputFormat {
  const format = options.output ?? env.WEFT_OUTPUT ?? 'table';
  if (format === 'table' || format === 'json' || format === 'yaml') return format;
  throw new WeftError('ERR_USAGE', `WEFT_OUTPUT must be table, json or yaml, not ${JSON.stringify(format)}`);
}
