/** User and password of a vCenter, from a file that nobody else may read. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import { WeftError } from '../policy/errors.ts';

export interface Credentials {
  user: string;
  password: string;
}

const MAX_BYTES = 65_536;

/**
 * Reads the file: `user: NAME` and `password: TEXT`, as YAML or JSON. Throws ERR_HYPERVISOR_REFUSED where it is not
 * there, is readable by others, or does not hold both; the message never shows what it holds.
 */
export async function readCredentials(file: string): Promise<Credentials> {
  const refuse = (why: string): WeftError =>
    new WeftError('ERR_HYPERVISOR_REFUSED', `the credentials file ${file} ${why}`);
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      throw refuse(`cannot be read (${error.code}): make it with two lines, user: NAME and password: TEXT`);
    },
  );
  try {
    const state = await handle.stat();
    if (!state.isFile()) throw refuse('is no regular file');
    if ((state.mode & 0o077) !== 0) throw refuse(`may be read by others: chmod 600 ${file}`);
    if (state.size > MAX_BYTES) throw refuse('is too large to be one');
    const { user, password } = parseMapping(await handle.readFile('utf8'));
    if (typeof user !== 'string' || user === '' || typeof password !== 'string' || password === '') {
      throw refuse('must hold two lines, user: NAME and password: TEXT (quoted where it is no plain text)');
    }
    return { user, password };
  } finally {
    await handle.close();
  }
}

/**
 * Writes the file that {@link readCredentials} reads, mode 0600, whole or not at all; its directory is made (0700)
 * where it is not there. Throws ERR_USAGE where it cannot be written.
 */
export async function writeCredentials(file: string, { user, password }: Credentials): Promise<void> {
  const part = `${file}.${randomBytes(4).toString('hex')}.new`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(part, 'wx', 0o600);
    try {
      await handle.writeFile(`user: ${JSON.stringify(user)}\npassword: ${JSON.stringify(password)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, file);
  } catch (cause) {
    await rm(part, { force: true });
    const { code } = cause as NodeJS.ErrnoException;
    throw new WeftError('ERR_USAGE', `the credentials file ${file} cannot be written (${code})`, { cause });
  }
}

function parseMapping(text: string): Record<string, unknown> {
  try {
    const parsed: unknown = parse(text, { maxAliasCount: 0 });
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    // The parser's message quotes the line that it did not understand.
    return {};
  }
}
