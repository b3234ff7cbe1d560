/** Wireshark's command line, installed from the distribution where it is not here. */
import { spawnSync } from 'node:child_process';

const INSTALL_MS = 120_000;

export const TSHARK_TIMEOUT_MS = 3 * INSTALL_MS;

/** `tshark`, or null after one visible line where it cannot be had. */
export function findTshark(): string | null {
  if (isHere()) return 'tshark';
  const options = {
    stdio: 'ignore',
    timeout: INSTALL_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  } as const;
  const install = ['install', '-y', '-q', '--no-install-recommends', 'tshark'];
  if (spawnSync('apt-get', install, options).status !== 0) {
    spawnSync('apt-get', ['update', '-q'], options);
    spawnSync('apt-get', install, options);
  }
  if (isHere()) return 'tshark';
  console.log('      captured files were not read by Wireshark: `apt-get install tshark` failed');
  return null;
}

function isHere(): boolean {
  return spawnSync('tshark', ['--version'], { stdio: 'ignore' }).status === 0;
}
