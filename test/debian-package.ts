/** Programs of Debian's packages that tests and benches need: installed by the first of them, as root, where they lack. */
import { spawnSync } from 'node:child_process';

const INSTALL_MS = 600_000;

/** How long a hook may take that calls `lackOf`. */
export const INSTALL_TIMEOUT_MS = 3 * INSTALL_MS;

/** Whether a program of that name is on the path. */
export function isOnPath(program: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore' }).status === 0;
}

/**
 * Null where the program is here now, by default one of the package's name; else why it cannot be had. `env`: what its
 * installation shall know besides.
 */
export function lackOf(
  debianPackage: string,
  isHere: () => boolean = () => isOnPath(debianPackage),
  env: Record<string, string> = {},
): string | null {
  if (isHere()) return null;
  if (process.getuid?.() !== 0) return `there is no ${debianPackage}, and installing it needs root`;
  console.log(`      installing ${debianPackage}`);
  const options = {
    stdio: 'ignore',
    timeout: INSTALL_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...env },
  } as const;
  const install = ['install', '-y', '-q', '--no-install-recommends', debianPackage];
  if (spawnSync('apt-get', install, options).status !== 0) {
    spawnSync('apt-get', ['update', '-q'], options);
    spawnSync('apt-get', install, options);
  }
  return isHere() ? null : `\`apt-get install ${debianPackage}\` failed`;
}
