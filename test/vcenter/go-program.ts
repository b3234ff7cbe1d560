/** Programs in Go that tests use, built outside the tree through the Go module proxy, once per version of their source. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export const BUILD_TIMEOUT_MS = 280_000;

/** Where what tests need is kept between runs. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'weft');
}

/** Path of the program whose source is in `test/<name>`; null, after one visible line, where it cannot be built. */
export function goProgram(name: string): string | null {
  const source = resolve(import.meta.dirname, '..', name);
  const hash = createHash('sha256');
  const files = readdirSync(source).filter((file) => /\.(go|mod|sum)$/.test(file));
  for (const file of files.sort()) hash.update(readFileSync(join(source, file)));
  const program = join(cacheFolder(), `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  const go = [process.env.GO, '/usr/local/go/bin/go', 'go'].filter((one) => one !== undefined);
  for (const command of go) {
    try {
      mkdirSync(cacheFolder(), { recursive: true });
      const fresh = `${program}.${process.pid}`;
      execFileSync(command, ['build', '-o', fresh, '.'], {
        cwd: source,
        timeout: BUILD_TIMEOUT_MS,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      renameSync(fresh, program);
      return program;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      console.log(`    ${name} was not run: it could not be built (${String(error).split('\n')[0]})`);
      return null;
    }
  }
  console.log(`    ${name} was not run: there is no Go here to build it with`);
  return null;
}
