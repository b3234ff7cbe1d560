/** The files that apply, plan and delete read: policy text from files, directories and stdin. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ErrorCode, WeftError } from '../policy/errors.ts';
import { MAX_TEXT_BYTES } from '../policy/parse.ts';
import type { Terminal } from './terminal.ts';

/** Reads every file in turn and hands its text and name to `parse`. `-` is stdin, a directory its YAML and JSON files. */
export async function readPolicyFiles<Item>(
  files: readonly string[],
  terminal: Terminal,
  parse: (text: string, source: string) => Item[],
): Promise<Item[]> {
  const items: Item[] = [];
  for (const file of files) {
    if (file === '-') items.push(...parse(await readStdin(terminal), 'stdin'));
    else for (const path of await pathsOf(file)) items.push(...parse(await readText(path), path));
  }
  return items;
}

async function pathsOf(file: string): Promise<string[]> {
  const info = await stat(file).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable('ERR_BODY_INVALID', file, cause);
  });
  if (!info.isDirectory()) return [file];
  const names = (await readdir(file)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  if (names.length === 0) {
    throw new WeftError('ERR_BODY_INVALID', `${file} holds no .yaml, .yml or .json file`);
  }
  return names.map((name) => join(file, name));
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_TEXT_BYTES) {
      throw new WeftError(
        'ERR_BODY_TOO_LARGE',
        `${path} has ${size} bytes; at most ${MAX_TEXT_BYTES} are read: split it`,
      );
    }
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof WeftError) throw cause;
    throw unreadable('ERR_BODY_INVALID', path, cause as Error);
  }
}

async function readStdin(terminal: Terminal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of terminal.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    size += bytes.length;
    if (size > MAX_TEXT_BYTES) {
      throw new WeftError('ERR_BODY_TOO_LARGE', `stdin holds more than ${MAX_TEXT_BYTES} bytes: split it`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function unreadable(code: ErrorCode, file: string, cause: Error): WeftError {
  return new WeftError(code, `${file} cannot be read: ${cause.message}`, { cause });
}
