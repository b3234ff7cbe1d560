/** File systems that engines of the lab have mounted for what they keep in the kernel. */
import { readFileSync } from 'node:fs';
import { run } from './iproute.ts';

/** Unmounts what is mounted on a directory or below it; what was kept there is gone. Nothing there: succeeds. */
export async function unmountBelow(directory: string): Promise<void> {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n').reverse()) {
    const point = line.split(' ')[4];
    if (point === directory || point?.startsWith(`${directory}/`)) await run('umount', ['-l', point], '');
  }
}
