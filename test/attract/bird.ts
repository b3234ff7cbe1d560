/** BIRD 2 of Debian's packages, installed by the first test that needs it. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Context } from 'mocha';

const PATHS = ['/usr/sbin/bird', '/usr/local/sbin/bird', '/usr/bin/bird'];
const INSTALL_MS = 120_000;

/** How long a hook may take that calls `requireBird`. */
export const BIRD_TIMEOUT_MS = 3 * INSTALL_MS;

/** The program; skips the suite with one line where it cannot be had. */
export function requireBird(context: Context): string {
  const found = here();
  if (found) return found;
  if (process.getuid?.() !== 0) return skip(context, 'there is no BIRD, and installing it needs root');
  const options = {
    stdio: 'ignore',
    timeout: INSTALL_MS,
    // The engine starts it; nobody wants the distribution's service.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  } as const;
  const install = ['install', '-y', '-q', '--no-install-recommends', 'bird2'];
  if (spawnSync('apt-get', install, options).status !== 0) {
    spawnSync('apt-get', ['update', '-q'], options);
    spawnSync('apt-get', install, options);
  }
  return here() ?? skip(context, 'there is no BIRD, and `apt-get install bird2` failed');
}

function here(): string | undefined {
  return PATHS.find((path) => existsSync(path));
}

function skip(context: Context, why: string): never {
  console.log(`      BGP was not spoken: ${why}`);
  return context.skip() as never;
}
