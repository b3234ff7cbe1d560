/** VMware's own Python client, in a virtual environment outside the tree that is made once. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './go-program.ts';

const VERSION = '9.1.1.0';
export const INSTALL_TIMEOUT_MS = 120_000;

/** Path of a Python that has pyvmomi; null, after one visible line, where it cannot be had. */
export function pyvmomiPython(): string | null {
  const folder = join(cacheFolder(), `pyvmomi-${VERSION}`);
  const python = join(folder, 'bin', 'python');
  const whole = join(folder, 'is-whole');
  if (existsSync(whole)) return python;
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { timeout: INSTALL_TIMEOUT_MS, stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    mkdirSync(cacheFolder(), { recursive: true });
    // A virtual environment knows its own path, so it is made in place, and what an earlier attempt left goes first.
    rmSync(folder, { recursive: true, force: true });
    run('python3', '-m', 'venv', folder);
    run(python, '-m', 'pip', 'install', '-q', `pyvmomi==${VERSION}`);
    mkdirSync(`${whole}.${process.pid}`);
    renameSync(`${whole}.${process.pid}`, whole);
    return python;
  } catch (error) {
    console.log(
      `      pyvmomi was not run: python3 with venv, or its package, cannot be had (${String(error).split('\n')[0]})`,
    );
    return null;
  }
}
