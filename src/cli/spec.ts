/** `weft spec [KIND]`: the attributes of a kind, from its schema. Needs no controller. */
import type { Command } from 'commander';
import type { Attribute } from '../policy/describe.ts';
import { type Cell, paint, table } from './table.ts';
import type { Terminal } from './terminal.ts';
import { outputOption, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  program
    .command('spec [kind]')
    .description('explain the attributes of a kind: type, default, meaning')
    .addOption(outputOption())
    .addHelpText('after', '\nExamples:\n  weft spec\n  weft spec virtual-service')
    .action(async (name: string | undefined, options: VerbOptions) => {
      const { KINDS, kindNamed } = await import('../policy/registry.ts');
      if (name === undefined) {
        const kinds = KINDS.map((kind) => ({ name: kind.name, summary: kind.summary }));
        return print(terminal, options, kinds, (all) =>
          table(
            terminal,
            [{ title: 'KIND' }, { title: 'WHAT', wraps: true }],
            all.map((kind) => [kind.name, kind.summary]),
          ),
        );
      }
      const kind = kindNamed(name);
      const { attributesOf } = await import('../policy/describe.ts');
      return print(terminal, options, attributesOf(kind), (all) => {
        const title = `${paint(terminal, kind.name, 'bold')}: ${kind.summary}`;
        return `${title}\n\n${drawAttributes(terminal, all)}`;
      });
    });
}

function drawAttributes(terminal: Terminal, attributes: readonly Attribute[]): string {
  return table(
    terminal,
    [
      { title: 'ATTRIBUTE' },
      { title: 'TYPE', wraps: true },
      { title: 'DEFAULT', wraps: true },
      { title: 'MEANING', wraps: true, share: 2.5 },
    ],
    attributes.map((attribute): Cell[] => [
      attribute.path,
      [attribute.type, attribute.range === '' ? '' : `(${attribute.range})`, attribute.unit]
        .filter((part) => part !== '')
        .join(' '),
      attribute.default ??
        (attribute.isRequired ? { text: 'required', colour: 'yellow' } : { text: '-', colour: 'dim' }),
      attribute.when === '' ? attribute.meaning : `With ${attribute.when}: ${attribute.meaning}`,
    ]),
  );
}
