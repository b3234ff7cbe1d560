/** A terminal that keeps what is printed. */
import type { Terminal } from '../../src/cli/terminal.ts';

export interface CapturedTerminal extends Terminal {
  printed(): string;
  complained(): string;
}

export function capturedTerminal(
  options: {
    env?: Record<string, string>;
    stdin?: string;
    isTTY?: boolean;
    columns?: number;
    runDirectory?: string;
  } = {},
): CapturedTerminal {
  const out: string[] = [];
  const errors: string[] = [];
  const { isTTY, columns, stdin = '' } = options;
  return {
    stdout: { write: (text: string) => void out.push(text), isTTY, columns },
    stderr: { write: (text: string) => void errors.push(text) },
    stdin: Object.assign(
      (async function* () {
        if (stdin !== '') yield Buffer.from(stdin);
      })(),
      { isTTY },
    ),
    env: { ...options.env },
    runDirectory: options.runDirectory ?? '/nonexistent/weft',
    printed: () => out.join(''),
    complained: () => errors.join(''),
  };
}
