/** Tables that fit the terminal: the columns that may wrap share what the others leave. */
import { hasColour, plain, type Terminal, widthOf } from './terminal.ts';

export type Colour = 'green' | 'yellow' | 'red' | 'dim' | 'bold';
export type Cell = string | { text: string; colour: Colour | null };

export interface Column {
  title: string;
  /** Numbers stand right. */
  isRight?: boolean;
  /** Text that may be broken into several lines where the terminal is narrow. */
  wraps?: boolean;
  /** How much of the room such a column gets, next to others; 1 where nothing is said. */
  share?: number;
}

const CODES: Record<Colour, number> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };
const GAP = '  ';
const MIN_WRAPPED = 12;
/** Longer words are broken before a neighbour is squeezed for them. */
const MAX_WHOLE_WORD = 21;

/** The lines of a table with a title row. */
export function table(terminal: Terminal, columns: readonly Column[], rows: readonly Cell[][]): string {
  const texts = rows.map((row) => row.map((cell) => plain(typeof cell === 'string' ? cell : cell.text)));
  const widths = shareOut(columns, texts, widthOf(terminal));
  const line = (cells: readonly string[], colours: readonly (Colour | null)[]): string =>
    cells
      .map((text, column) => {
        const padded = columns[column]!.isRight
          ? text.padStart(widths[column]!)
          : text.padEnd(widths[column]!);
        return paint(terminal, padded, colours[column] ?? null);
      })
      .join(GAP)
      .trimEnd();
  const lines = [
    line(
      columns.map(({ title }) => title),
      columns.map(() => 'bold' as const),
    ),
  ];
  rows.forEach((row, index) => {
    const broken = texts[index]!.map((text, column) => wrap(text, widths[column]!));
    const colours = row.map((cell) => (typeof cell === 'string' ? null : cell.colour));
    const height = Math.max(...broken.map((cell) => cell.length));
    for (let at = 0; at < height; at++) {
      lines.push(
        line(
          broken.map((cell) => cell[at] ?? ''),
          colours,
        ),
      );
    }
  });
  return lines.join('\n');
}

/** Text in a colour, where the terminal has colours. */
export function paint(terminal: Terminal, text: string, colour: Colour | null): string {
  return colour !== null && hasColour(terminal) ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text;
}

/** Breaks text at blanks, and inside words only where one alone is too long. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    let rest = word;
    if (line !== '' && line.length + 1 + rest.length <= width) {
      line += ` ${rest}`;
      continue;
    }
    if (line !== '') lines.push(line);
    while (rest.length > width) {
      lines.push(rest.slice(0, width));
      rest = rest.slice(width);
    }
    line = rest;
  }
  lines.push(line);
  return lines;
}

/**
 * Takes what is too much from the column that wraps and is the widest for its share, again and again: first down to
 * its longest word, so that words stay whole, then, where that is not enough, to the least that can be read.
 */
function shareOut(columns: readonly Column[], texts: readonly string[][], width: number): number[] {
  const widths = columns.map(({ title }, column) =>
    Math.max(title.length, ...texts.map((row) => row[column]!.length)),
  );
  const words = columns.map((_, column) =>
    Math.max(MIN_WRAPPED, ...texts.flatMap((row) => row[column]!.split(' ').map((word) => word.length))),
  );
  const wideness = (index: number): number => widths[index]! / (columns[index]!.share ?? 1);
  let excess = widths.reduce((sum, one) => sum + one, GAP.length * (columns.length - 1)) - width;
  for (const least of [words.map((word) => Math.min(word, MAX_WHOLE_WORD)), words.map(() => MIN_WRAPPED)]) {
    while (excess > 0) {
      let widest = -1;
      columns.forEach((column, index) => {
        if (!column.wraps || widths[index]! <= least[index]!) return;
        if (widest < 0 || wideness(index) > wideness(widest)) widest = index;
      });
      if (widest < 0) break;
      widths[widest]!--;
      excess--;
    }
  }
  return widths;
}
