/** What the inventory bench compares with: govc and pyvmomi, installed into a cache of their own the first time. */
import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The last versions that can be installed by one command each. */
const GOVC = 'v0.46.3';
const PYVMOMI = '9.1.1.0';
const INSTALL_MS = 300_000;

const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'weft');

/** The program; null, after one line that says why, where it cannot be had. */
export function govcProgram(): string | null {
  const directory = join(cache, `govc-${GOVC}`);
  const program = join(directory, 'govc');
  if (existsSync(program)) return program;
  return installed('govc', program, () => {
    const go = [process.env.GO, '/usr/local/go/bin/go'].find((one) => one && existsSync(one)) ?? 'go';
    const env = { ...process.env, GOBIN: directory, GOFLAGS: '-mod=mod' };
    execFileSync(go, ['install', `github.com/vmware/govmomi/govc@${GOVC}`], { ...quietly(), env });
  });
}

/** A Python that has pyvmomi; null, after one line that says why, where it cannot be had. */
export function pyvmomiPython(): string | null {
  const directory = join(cache, `pyvmomi-${PYVMOMI}`);
  const done = join(directory, 'lib', 'installed');
  const python = join(directory, 'bin', 'python');
  if (existsSync(done)) return python;
  return installed('pyvmomi', python, () => {
    execFileSync(process.env.PYTHON ?? 'python3', ['-m', 'venv', '--clear', directory], quietly());
    execFileSync(python, ['-m', 'pip', 'install', '-q', `pyvmomi==${PYVMOMI}`], quietly());
    mkdirSync(done);
  });
}

function quietly(): ExecFileSyncOptions {
  return { timeout: INSTALL_MS, stdio: ['ignore', 'ignore', 'pipe'] };
}

function installed(name: string, program: string, install: () => void): string | null {
  console.log(`${name} is being installed into ${cache}`);
  try {
    mkdirSync(cache, { recursive: true });
    install();
    return program;
  } catch (error) {
    console.log(`${name} was not run: it could not be installed (${String(error).split('\n')[0]})`);
    return null;
  }
}
