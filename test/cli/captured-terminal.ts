/** A terminal that keeps what is printed. */
import type { Terminal } from '../../src/cli/terminal.ts';

export interface CapturedTerminal extends Terminal {
  printed(): string;
  /** What was printed, as bytes. */
  printedBytes(): Buffer;
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
  const out: Buffer[] = [];
  const errors: string[] = [];
  const { isTTY, columns, stdin = '' } = options;
  return {
    stdout: {
      write: (text: string | Uint8Array) => void out.push(Buffer.from(text as string)),
      isTTY,
      columns,
    },
    stderr: { write: (text: string | Uint8Array) => void errors.push(String(text)) },
    stdin: Object.assign(
      (async function* () {
        if (stdin !== '') yield Buffer.from(stdin);
      })(),
      { isTTY },
    ),
    env: { ...options.env },
    runDirectory: options.runDirectory ?? '/nonexistent/weft',
    printed: () => Buffer.concat(out).toString('utf8'),
    printedBytes: () => Buffer.concat(out),
    complained: () => errors.join(''),
  };
}
