/** Programs in Go that tests use, built outside the tree through the Go module proxy, once per version of their source. */
import { fail } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export const BUILD_TIMEOUT_MS = 280_000;

/** Where what tests need is kept between runs. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'weft');
}

/** A change to the copy of a module that a program is built with. */
export interface Mend {
  module: string;
  /** Within the module. */
  file: string;
  /** Stands there once. */
  from: string;
  to: string;
}

/** Path of the program whose source is in `test/<name>`; null, after one visible line, where Go or modules cannot be had. */
export function goProgram(name: string, mends: readonly Mend[] = []): string | null {
  const source = resolve(import.meta.dirname, '..', name);
  const hash = createHash('sha256');
  const files = readdirSync(source).filter((file) => /\.(go|mod|sum)$/.test(file));
  for (const file of files.sort()) hash.update(readFileSync(join(source, file)));
  hash.update(JSON.stringify(mends));
  const program = join(cacheFolder(), `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(cacheFolder(), { recursive: true });
  const work = mkdtempSync(join(cacheFolder(), `${name}-build-`));
  for (const file of files) cpSync(join(source, file), join(work, file));
  try {
    for (const go of [process.env.GO, '/usr/local/go/bin/go', 'go']) {
      if (go === undefined) continue;
      const run = (...args: string[]): unknown =>
        execFileSync(go, args, { cwd: work, timeout: BUILD_TIMEOUT_MS, stdio: ['ignore', 'ignore', 'pipe'] });
      try {
        run('mod', 'vendor');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        console.log(`    ${name} was not run: its modules cannot be had (${String(error).split('\n')[0]})`);
        return null;
      }
      for (const one of mends) mend(one, join(work, 'vendor', one.module, one.file));
      run('build', '-mod=vendor', '-o', name, '.');
      renameSync(join(work, name), program);
      return program;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  console.log(`    ${name} was not run: there is no Go here to build it with`);
  return null;
}

function mend({ module, from, to }: Mend, file: string): void {
  const [before, after, ...more] = readFileSync(file, 'utf8').split(from);
  if (after === undefined || more.length > 0)
    fail(`what is to be mended does not stand once in ${file} of ${module}`);
  chmodSync(file, 0o644);
  writeFileSync(file, before + to + after);
}
