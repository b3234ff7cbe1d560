/** Questions to somebody at a terminal: a line each, and passwords without showing them. */
import { WeftError } from '../policy/errors.ts';
import type { Terminal } from './terminal.ts';

const MAX_ANSWER = 4096;

export class Asker {
  readonly #terminal: Terminal;
  #chunks: AsyncIterator<Uint8Array | string> | null = null;
  /** What was typed ahead. */
  #rest = '';

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Whether somebody is there to answer. */
  get isAnybodyThere(): boolean {
    return this.#terminal.stdin.isTTY === true && this.#terminal.stdout.isTTY === true;
  }

  /** The answer without blanks around it. Throws ERR_USAGE when the input ends first. */
  async ask(question: string): Promise<string> {
    this.#terminal.stderr.write(question);
    return (await this.#line()).trim();
  }

  /** As `ask`, and what is typed is not shown. */
  async askHidden(question: string): Promise<string> {
    const { stdin, stderr } = this.#terminal;
    stderr.write(question);
    stdin.setRawMode?.(true);
    try {
      return await this.#line();
    } finally {
      stdin.setRawMode?.(false);
      stderr.write('\n');
    }
  }

  /** Lets go of the input, which would keep the program from ending. */
  async close(): Promise<void> {
    await this.#chunks?.return?.();
  }

  async #line(): Promise<string> {
    this.#chunks ??= this.#terminal.stdin[Symbol.asyncIterator]();
    let line = '';
    for (;;) {
      for (const [index, character] of [...this.#rest].entries()) {
        const end = () => {
          this.#rest = [...this.#rest].slice(index + 1).join('');
        };
        if (character === '\r' || character === '\n') {
          end();
          return line;
        }
        // A terminal that does not edit lines hands on the keys: interrupt, end of input, backspace.
        if (character === '\x03' || character === '\x04') {
          end();
          throw noAnswer();
        }
        if (character === '\x7f' || character === '\b') line = [...line].slice(0, -1).join('');
        else line += character;
        if (line.length > MAX_ANSWER) throw new WeftError('ERR_USAGE', 'that is too long for an answer');
      }
      this.#rest = '';
      const next = await this.#chunks.next();
      if (next.done) throw noAnswer();
      this.#rest = typeof next.value === 'string' ? next.value : Buffer.from(next.value).toString('utf8');
    }
  }
}

function noAnswer(): WeftError {
  return new WeftError('ERR_USAGE', 'no answer was given; nothing was changed');
}
