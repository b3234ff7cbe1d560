/** The command line as a whole: finds the verb, loads it, runs it, and turns what goes wrong into one line and a code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ERROR_CODES, isWeftError, WeftError } from '../policy/errors.ts';
import { plain, type Terminal } from './terminal.ts';
import { connectionOptions, outputOption } from './verb.ts';
import { VERBS } from './verbs.ts';

/** Runs one command line (without the program's name) and returns the exit code. Never throws. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const program = await programFor(args, terminal);
    if (args.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    return report(error, args, terminal);
  }
}

/** The program with the verb that `args` names loaded, and the others as their summaries. */
export async function programFor(args: readonly string[], terminal: Terminal): Promise<Command> {
  const program = new Command('weft')
    .description('One distributed network-service layer out of the virtual switches you have.')
    .version(version(), '-V, --version', 'print the version')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      // commander's own `error: ...` line; report() prints the one line there is to be.
      outputError: () => {},
    })
    .helpCommand('help [verb]', 'explain a verb')
    .addHelpText('after', '\nExample:\n  weft explain web --from 10.77.0.9');
  for (const option of [...connectionOptions(), outputOption()]) program.addOption(option);
  // Options before the verb hold for whatever verb follows: it finds them in its environment.
  program.hook('preSubcommand', () => {
    const { url, token, lab, output } = program.opts<Record<string, string | undefined>>();
    if (lab !== undefined && url === undefined) delete terminal.env.WEFT_URL;
    for (const [name, value] of [
      ['WEFT_URL', url],
      ['WEFT_TOKEN', token],
      ['WEFT_LAB', lab],
      ['WEFT_OUTPUT', output],
    ] as const) {
      if (value !== undefined) terminal.env[name] = value;
    }
  });
  const wanted = verbIn(args);
  for (const { name, summary, isHidden, load } of VERBS) {
    if (name === wanted) await (await load())(program, terminal);
    else program.command(name, { hidden: isHidden === true }).description(summary);
  }
  return program;
}

/** The verb of a command line: the first word that is neither an option nor an option's value. */
export function verbIn(args: readonly string[]): string | undefined {
  for (let at = 0; at < args.length; at++) {
    const word = args[at]!;
    if (word === 'help') return args[at + 1];
    if (!word.startsWith('-')) return word;
    if (['--url', '--token', '--lab', '--output', '-o'].includes(word)) at++;
  }
  return undefined;
}

/** Prints an error and returns the exit code that belongs to it. */
export function report(error: unknown, args: readonly string[], terminal: Terminal): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    // A verb that needs another one after it (`weft lab`): its help has been printed.
    if (error.code === 'commander.help') return ERROR_CODES.ERR_USAGE.exit;
    return report(usageError(error, args), args, terminal);
  }
  const known = isWeftError(error)
    ? error
    : new WeftError('ERR_INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
  const { code, message, problems } = known;
  if (wantsJson(args, terminal)) {
    terminal.stderr.write(`${JSON.stringify({ code, message, problems })}\n`);
    return ERROR_CODES[code].exit;
  }
  terminal.stderr.write(`weft: ${plain(message)} (${code})\n`);
  // A single problem stands in the message already.
  if (problems.length > 1) {
    for (const { where, path, message } of problems) {
      terminal.stderr.write(`  ${plain(`${where === undefined ? '' : `${where}: `}${path} ${message}`)}\n`);
    }
  }
  if (code === 'ERR_INTERNAL' && error instanceof Error && error.stack) {
    terminal.stderr.write(`${error.stack}\n`);
  }
  return ERROR_CODES[code].exit;
}

function usageError(error: CommanderError, args: readonly string[]): WeftError {
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '')
    .replace('unknown command', 'there is no verb');
  const verb = VERBS.some(({ name }) => name === verbIn(args)) ? ` ${verbIn(args)}` : '';
  return new WeftError('ERR_USAGE', `${message}; "weft${verb} --help" explains`, { cause: error });
}

function wantsJson(args: readonly string[], { env }: Terminal): boolean {
  const index = args.findIndex((word) => word === '-o' || word === '--output');
  if (index >= 0) return args[index + 1] === 'json';
  return args.includes('-ojson') || args.includes('--output=json') || env.WEFT_OUTPUT === 'json';
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
