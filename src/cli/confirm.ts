/** Asking an operator for a yes. */
import type { Terminal } from './terminal.ts';

/** True after a `y` or `yes`. False where there is no terminal to ask on. */
export async function confirm(terminal: Terminal, question: string): Promise<boolean> {
  if (terminal.stdout.isTTY !== true) return false;
  terminal.stdout.write(`${question} [y/N] `);
  let line = '';
  for await (const chunk of terminal.stdin) {
    line += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    if (line.includes('\n') || line.length > 100) break;
  }
  return /^y(es)?\s*$/i.test(line.split('\n')[0] ?? '');
}
