/** A secret from the first line of a file or of stdin, so that it stands on no command line. */
import { readFile } from 'node:fs/promises';
import { WeftError } from '../policy/errors.ts';
import type { Terminal } from './terminal.ts';

const MAX_CHARACTERS = 4096;

/** The first line of the file; `-` is stdin. Throws ERR_USAGE. */
export async function readSecretFile(file: string, { stdin }: Terminal): Promise<string> {
  let text = '';
  if (file === '-') {
    for await (const chunk of stdin) {
      text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
      if (text.includes('\n') || text.length > MAX_CHARACTERS) break;
    }
  } else {
    text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw new WeftError('ERR_USAGE', `${file} cannot be read (${cause.code})`, { cause });
    });
  }
  const line = text.split(/\r?\n/, 1)[0] ?? '';
  if (line.length <= MAX_CHARACTERS) return line;
  throw new WeftError('ERR_USAGE', `${file === '-' ? 'stdin' : file} is too long for a password`);
}
