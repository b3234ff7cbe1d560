/** ethtool, which makes virtual NICs complete frames as those of a wire, and take frames from the kernel's programs. */
import { lackOf } from '../../debian-package.ts';

/** Whether ethtool is here; installs it from the distribution where not, or says in one line that it could not. */
export function hasEthtool(): boolean {
  const lack = lackOf('ethtool');
  if (lack !== null) console.log(`      no flood was sent: ${lack}`);
  return lack === null;
}
