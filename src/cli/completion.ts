/** `weft completion bash|zsh`, and what those scripts call at each press of the tab key. */
import { Argument, type Command } from 'commander';
import { findConnection } from './connection.ts';
import type { ControllerClient } from './controller-client.ts';
import { programFor, verbIn } from './program.ts';
import type { Terminal } from './terminal.ts';
import { VERBS } from './verbs.ts';

/** How long a press of the tab key may wait for the controller. */
const TIMEOUT_MS = 1000;

const SCRIPTS: Record<string, string> = {
  bash: `# weft tab completion for bash:  source <(weft completion bash)
_weft() {
  local IFS=$'\\n'
  COMPREPLY=($("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weft weft
`,
  zsh: `#compdef weft
# weft tab completion for zsh:  source <(weft completion zsh)
_weft() {
  local -a candidates
  candidates=("\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${candidates[1]}" ]]; then compadd -a candidates; else _files; fi
}
compdef _weft weft
`,
};

/** Adds the verb that prints a script. */
export function register(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .description('print the tab completion of a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(weft completion bash)\n  weft completion zsh > ~/.zfunc/_weft',
    )
    .action((shell: string) => {
      terminal.stdout.write(SCRIPTS[shell]!);
    });
}

/** Adds the verb that the scripts call: the words so far, the last one unfinished. */
export function registerComplete(program: Command, terminal: Terminal): void {
  program
    .command('complete [words...]', { hidden: true })
    .description('what may stand at the end of a command line')
    .action(async (words: string[]) => {
      const found = await candidates(words, terminal);
      if (found.length > 0) terminal.stdout.write(`${found.join('\n')}\n`);
    });
}

/** What the last of `words` may become. Never fails: where nothing is known, nothing is offered. */
export async function candidates(words: readonly string[], terminal: Terminal): Promise<string[]> {
  const last = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const offered = await offers(before, last, terminal).catch((): string[] => []);
  return [...new Set(offered)].filter((one) => one.startsWith(last));
}

async function offers(before: readonly string[], last: string, terminal: Terminal): Promise<string[]> {
  const verb = verbIn(before);
  const program = await programFor(before, terminal);
  if (verb === undefined || before.at(-1) === 'help') {
    if (last.startsWith('-')) return optionNames(program);
    return VERBS.filter(({ isHidden }) => !isHidden).map(({ name }) => name);
  }
  let command = program.commands.find((one) => one.name() === verb);
  if (!command) return [];
  // Walk the words after the verb: nested verbs, options with their values, then what is left are arguments.
  const given: string[] = [];
  const rest = before.slice(before.indexOf(verb) + 1);
  for (let at = 0; at < rest.length; at++) {
    const word = rest[at]!;
    const nested: Command | undefined = command.commands.find((one) => one.name() === word);
    if (nested && given.length === 0) {
      command = nested;
      continue;
    }
    if (!word.startsWith('-')) {
      given.push(word);
      continue;
    }
    const option = command.options.find((one) => one.long === word || one.short === word);
    if (!option || option.isBoolean()) continue;
    if (at === rest.length - 1) {
      return option.argChoices ?? valuesOf(option.attributeName(), before, terminal);
    }
    at++;
  }
  if (last.startsWith('-')) return optionNames(command);
  if (command.commands.length > 0) {
    return command
      .createHelp()
      .visibleCommands(command)
      .map((one) => one.name());
  }
  const argument = command.registeredArguments[given.length];
  if (!argument) return [];
  if (argument.argChoices) return argument.argChoices;
  switch (argument.name()) {
    case 'kind':
      return (await import('../policy/registry.ts')).KINDS.map(({ name }) => name);
    case 'name':
      return given[0] === 'host'
        ? hostNames(before, terminal)
        : objectNames(given[0] ?? '', before, terminal);
    case 'pool':
      return objectNames('pool', before, terminal);
    case 'engine':
      return valuesOf('engine', before, terminal);
    case 'service':
      // Words come before names: a press of the key without a controller still offers them.
      return [
        ...(verb === 'explain' ? ['pool', 'host', 'virtual-service'] : []),
        ...(await objectNames('virtual-service', before, terminal).catch((): string[] => [])),
      ];
    case 'vm':
    case 'host':
    case 'where':
    case 'link':
    case 'id':
      return (await import('./lab-completion.ts')).placesInLab(
        argument.name(),
        optionValue('--lab', before) ?? terminal.env.WEFT_LAB,
        TIMEOUT_MS,
      );
    default:
      return [];
  }
}

/** What an option, or an argument, that names something of the system may be. */
async function valuesOf(name: string, words: readonly string[], terminal: Terminal): Promise<string[]> {
  if (name === 'service') return objectNames('virtual-service', words, terminal);
  if (name !== 'engine' && name !== 'member') return [];
  const { engines, members } = await (await clientFor(words, terminal)).status();
  return name === 'engine' ? engines.map(({ id }) => id) : members.map(({ vm }) => vm);
}

async function objectNames(kind: string, words: readonly string[], terminal: Terminal): Promise<string[]> {
  return (await (await clientFor(words, terminal)).list(kind)).map(({ name }) => name);
}

async function hostNames(words: readonly string[], terminal: Terminal): Promise<string[]> {
  return (await (await clientFor(words, terminal)).status()).hosts.map(({ name }) => name);
}

async function clientFor(words: readonly string[], terminal: Terminal): Promise<ControllerClient> {
  const { ControllerClient } = await import('./controller-client.ts');
  const url = optionValue('--url', words);
  const token = optionValue('--token', words);
  const lab = optionValue('--lab', words);
  const connection = await findConnection(
    {
      ...(url === undefined ? {} : { url }),
      ...(token === undefined ? {} : { token }),
      ...(lab === undefined ? {} : { lab }),
    },
    terminal,
  );
  return new ControllerClient(connection, TIMEOUT_MS);
}

function optionValue(option: string, words: readonly string[]): string | undefined {
  const at = words.indexOf(option);
  return at < 0 ? undefined : words[at + 1];
}

function optionNames(command: Command): string[] {
  return [...command.options.filter((option) => !option.hidden).map((option) => option.long ?? ''), '--help'];
}
