/**
 * `weft docs`: writes the parts of docs/ that are made from the code: policy attributes, errors, drops, refusals.
 *
 * A generated part stands between two marker lines; what a person wrote around it stays. Tests hold the pages equal
 * to what this makes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { DROPS } from '../engine-vm/drops.ts';
import { REFUSALS } from '../engine-vm/http/refusals.ts';
import { attributesOf } from '../policy/describe.ts';
import { ERROR_CODES } from '../policy/errors.ts';
import type { Kind } from '../policy/kind.ts';
import { KINDS } from '../policy/registry.ts';
import type { Terminal } from './terminal.ts';

const BEGIN = '<!-- made by "npm run docs"; change the code, not this part -->';
const END = '<!-- end of the made part -->';

/** A page: the text it starts with where there is no page yet, and the part that is made. */
export interface Page {
  file: string;
  title: string;
  make(): string;
}

export const PAGES: readonly Page[] = [
  {
    file: 'policy.md',
    title: `# Policy attributes

Every attribute of every kind, from the schemas in \`src/policy\`. \`weft spec KIND\` prints the same.
A document is \`kind\`, \`name\` and \`spec\`; paths below are inside \`spec\`, and \`[]\` stands for each entry of a list.`,
    make: () => KINDS.map(kindSection).join('\n\n'),
  },
  {
    file: 'errors.md',
    title: `# Errors

Every error has a code that stays the same; match on it, never on the message. REST answers
\`{ code, message, problems }\` with the status below; the CLI prints \`weft: <message> (<code>)\` and ends with the exit
code below. \`problems\` names each wrong place by JSON path.`,
    make: errorTable,
  },
  {
    file: 'drops.md',
    title: `# Drops

Every reason for which an engine drops a packet, with a counter of its own in \`weft status\` and a name in \`weft trace\`.`,
    make: dropTable,
  },
  {
    file: 'refusals.md',
    title: `# Refusals

Every reason for which a proxied request is refused: the client gets the status, with the name in a line of text; the
access log has it as \`reason\`. Names that begin with \`member\` are of the response, or of the way to a member.`,
    make: refusalTable,
  },
];

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  program
    .command('docs', { hidden: true })
    .description('regenerate the parts of docs/ that are made from the code')
    .argument('[directory]', 'where the pages are', join(import.meta.dirname, '../../docs'))
    .addHelpText('after', '\nExample:\n  npm run docs')
    .action(async (directory: string) => {
      for (const page of PAGES) {
        const file = join(directory, page.file);
        const before = await readFile(file, 'utf8').catch(() => '');
        const after = pageText(page, before);
        if (after !== before) await writeFile(file, after);
        terminal.stdout.write(`${file} ${after === before ? 'unchanged' : 'written'}\n`);
      }
    });
}

/** The page as it should be, given the page as it is (empty where there is none). */
export function pageText(page: Page, before: string): string {
  const made = `${BEGIN}\n\n${page.make()}\n\n${END}`;
  const begin = before.indexOf(BEGIN);
  const end = before.indexOf(END);
  if (begin < 0 || end < begin) {
    const head = before.trim() === '' ? page.title : before.trimEnd();
    return `${head}\n\n${made}\n`;
  }
  return before.slice(0, begin) + made + before.slice(end + END.length);
}

function kindSection(kind: Kind): string {
  const rows = attributesOf(kind).map((attribute) => [
    `\`${attribute.path}\``,
    `${attribute.type}${attribute.range === '' ? '' : ` (${attribute.range})`}${attribute.unit === '' ? '' : `, ${attribute.unit}`}`,
    attribute.default === null ? (attribute.isRequired ? 'required' : '') : `\`${attribute.default}\``,
    attribute.when === '' ? attribute.meaning : `With ${attribute.when}: ${attribute.meaning}`,
  ]);
  const table = markdownTable(['attribute', 'type', 'default', 'meaning'], rows);
  return `## ${kind.name}\n\n${capital(kind.summary)}.\n\n${table}`;
}

function errorTable(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, { status, exit, meaning }]) => [
    `\`${code}\``,
    String(status),
    String(exit),
    meaning,
  ]);
  return markdownTable(['code', 'HTTP status', 'exit code', 'meaning'], rows);
}

function dropTable(): string {
  return markdownTable(
    ['reason', 'meaning'],
    DROPS.map(([name, meaning]) => [`\`${name}\``, meaning]),
  );
}

function markdownTable(titles: readonly string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(titles), `|${titles.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function refusalTable(): string {
  const rows = REFUSALS.slice(1).map(({ name, status }) => `| \`${name}\` | ${status} |`);
  return ['| reason | status |', '|---|---|', ...rows].join('\n');
}
