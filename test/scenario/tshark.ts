/** Wireshark's command line. */
import { lackOf } from '../debian-package.ts';

/** `tshark`, or null after one visible line where it cannot be had. */
export function findTshark(): string | null {
  const lack = lackOf('tshark');
  if (lack === null) return 'tshark';
  console.log(`      captured files were not read by Wireshark: ${lack}`);
  return null;
}
