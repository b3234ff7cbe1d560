/** Programs of Debian's packages that tests need: installed by the first of them, as root, where they are not here. */
import { spawnSync } from 'node:child_process';

const INSTALL_MS = 600_000;

/** How long a hook may take that calls `lackOf`. */
export const INSTALL_TIMEOUT_MS = 3 * INSTALL_MS;

/** Null where the program is here now; else why it cannot be had. `env`: what its installation shall know besides. */
export function lackOf(
  debianPackage: string,
  isHere: () => boolean,
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
