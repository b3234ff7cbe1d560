/** ethtool, which makes virtual NICs complete frames as those of a wire, and take frames from the kernel's programs. */
import { execFileSync, spawnSync } from 'node:child_process';

/** How long one attempt to install may take. */
export const INSTALL_MS = 120_000;

/** Whether ethtool is here; installs it from the distribution where not, or says in one line that it could not. */
export function hasEthtool(): boolean {
  const isHere = () => spawnSync('ethtool', ['--version'], { stdio: 'ignore' }).status === 0;
  if (isHere()) return true;
  const options = { stdio: 'ignore', timeout: INSTALL_MS } as const;
  try {
    execFileSync('apt-get', ['update', '-q'], options);
    execFileSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'ethtool'], options);
  } catch {
    // Said below.
  }
  if (!isHere()) console.log('      no flood was sent: `apt-get install ethtool` failed');
  return isHere();
}
