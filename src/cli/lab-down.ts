/**
 * Takes a lab down by its names alone: works without its daemon, and after everything of it was killed. Touches
 * nothing that is not named `weft-<lab>-...` or does not lie in the lab's run directory.
 */
import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { ip } from '../lab/world/iproute.ts';
import { unmountBelow } from '../lab/world/mounts.ts';
import { existingNamespaces, labPaths } from '../lab/world/names.ts';
import { isAlive, killNamespace, killProcess, readPidFile } from '../lab/world/process.ts';
import { WeftError } from '../policy/errors.ts';
import { requireRoot } from './lab-root.ts';

export interface TakeDownOptions {
  lab: string;
  /** One line per thing that was removed. */
  onProgress: (line: string) => void;
}

/** What was there and is gone. */
export interface TakenDown {
  processes: number;
  namespaces: number;
  hadRunDir: boolean;
}

/** Ends and removes everything of a lab. Nothing there: succeeds. Throws ERR_PRIVILEGE, ERR_KERNEL. */
export async function takeDown(options: TakeDownOptions): Promise<TakenDown> {
  requireRoot('weft lab down');
  const { lab, onProgress } = options;
  const paths = labPaths(lab);
  let processes = 0;

  // The controller first, then the daemon: neither shall repair what is being taken away.
  for (const [what, file] of [
    ['controller', paths.controllerPid],
    ['daemon', paths.daemonPid],
  ] as const) {
    const ref = readPidFile(file);
    if (!ref || !isAlive(ref) || ref.pid === process.pid) continue;
    await killProcess(ref);
    processes++;
    onProgress(`ended the ${what} (pid ${ref.pid})`);
  }

  let removed = 0;
  let inside = 0;
  // Again until none is left: a process that was killed while it made one may have finished it.
  for (;;) {
    const namespaces = existingNamespaces(lab);
    if (namespaces.length === 0) break;
    const killed = await Promise.all(namespaces.map(killNamespace));
    inside += killed.reduce((sum, count) => sum + count, 0);
    await ip(
      null,
      namespaces.map((name) => `netns del ${name}`),
    );
    removed += namespaces.length;
  }
  if (inside > 0) onProgress(`ended ${counted(inside, 'process')} inside the lab`);
  if (removed > 0) onProgress(`removed ${counted(removed, 'namespace')}`);

  const hadRunDir = existsSync(paths.runDir);
  if (hadRunDir) {
    await unmountBelow(paths.runDir);
    try {
      rmSync(paths.runDir, { recursive: true, force: true });
    } catch (cause) {
      throw new WeftError(
        'ERR_KERNEL',
        `${paths.runDir} cannot be removed: is something mounted there? All else of lab ${lab} is gone`,
        { cause },
      );
    }
    onProgress(`removed ${paths.runDir}`);
  }
  try {
    rmdirSync(paths.runRoot);
  } catch {
    // Another lab is there, or nothing ever was.
  }
  return { processes: processes + inside, namespaces: removed, hadRunDir };
}

function counted(count: number, noun: string): string {
  const plural = noun.endsWith('s') ? `${noun}es` : `${noun}s`;
  return `${count} ${count === 1 ? noun : plural}`;
}
