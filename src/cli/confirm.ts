/** Asking an operator for a yes. */
import type { Terminal } from './terminal.ts';

interface Asked {
  chunks: AsyncIterator<Uint8Array | string>;
  /** What was typed beyond the line that was read. */
  rest: string;
}

/** Whoever asks twice reads on where the first answer ended: an iterator that is let go closes the terminal. */
const asked = new WeakMap<Terminal, Asked>();
const MOST_CHARACTERS = 100;

/** True after a `y` or `yes`. False where there is no terminal to ask on. */
export async function confirm(terminal: Terminal, question: string): Promise<boolean> {
  if (terminal.stdout.isTTY !== true) return false;
  terminal.stdout.write(`${question} [y/N] `);
  return /^y(es)?\s*$/i.test(await readLine(terminal));
}

async function readLine(terminal: Terminal): Promise<string> {
  const input = asked.get(terminal) ?? { chunks: terminal.stdin[Symbol.asyncIterator](), rest: '' };
  asked.set(terminal, input);
  const handle = terminal.stdin as { ref?(): void; unref?(): void };
  handle.ref?.();
  while (!input.rest.includes('\n') && input.rest.length <= MOST_CHARACTERS) {
    const { done, value } = await input.chunks.next();
    if (done) break;
    input.rest += typeof value === 'string' ? value : Buffer.from(value).toString('utf8');
  }
  // The program ends when its work does, also while nobody types.
  handle.unref?.();
  const [line = ''] = input.rest.split('\n');
  input.rest = input.rest.slice(line.length + 1);
  return line;
}
