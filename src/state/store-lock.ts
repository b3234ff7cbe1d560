/**
 * One process at a time: the lock file beside a store file.
 *
 * It names its holder by pid, start time and boot, so that a lock left behind by a killed process is known to be
 * stale even where its pid is in use again. Taking over renames the stale lock away first and looks at what was
 * caught, and a holder looks again before each commit: whoever lost the lock in a race stops writing.
 */
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { WeftError } from '../policy/errors.ts';

export interface StoreLock {
  /** Rejects with ERR_STORE_WRITE where another process has taken the lock meanwhile. */
  check(): Promise<void>;
  release(): Promise<void>;
}

interface Holder {
  pid: number;
  startTime: string;
  boot: string;
  nonce: string;
}

/** Rejects with ERR_STORE_IN_USE where a live process holds the lock of `file`. */
export async function lockStore(file: string): Promise<StoreLock> {
  const lock = `${file}.lock`;
  const holder: Holder = {
    pid: process.pid,
    startTime: (await startTimeOf(process.pid)) ?? '',
    boot: await bootId(),
    nonce: randomBytes(8).toString('hex'),
  };
  const content = JSON.stringify(holder);
  const own = `${lock}.${holder.nonce}`;
  await writeFile(own, content, { mode: 0o600, flag: 'wx' });
  try {
    // Each turn either takes the lock, finds a live holder, or removes one stale lock.
    for (let turn = 0; ; turn++) {
      try {
        await link(own, lock);
        break;
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST' || turn === 20) throw cause;
      }
      const found = await readText(lock);
      if (found === undefined) continue;
      const other = parseHolder(found);
      if (other !== undefined && (await isAlive(other, holder.boot))) {
        throw new WeftError(
          'ERR_STORE_IN_USE',
          `the store ${file} is in use by process ${other.pid}: stop that process, or give this one another directory`,
        );
      }
      await setStaleAside(lock, found, holder.nonce);
    }
  } finally {
    await rm(own, { force: true });
  }

  return {
    async check() {
      if ((await readText(lock)) !== content) {
        throw new WeftError(
          'ERR_STORE_WRITE',
          `the lock ${lock} was taken by another process: this one no longer writes ${file}; restart it`,
        );
      }
    },
    async release() {
      if ((await readText(lock)) === content) await rm(lock, { force: true });
    },
  };
}

async function setStaleAside(lock: string, stale: string, nonce: string): Promise<void> {
  const aside = `${lock}.${nonce}.stale`;
  try {
    await rename(lock, aside);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw cause;
  }
  // Between reading and renaming, another process may have taken over: then it was its live lock that was caught.
  if ((await readText(aside)) !== stale) await link(aside, lock).catch(() => {});
  await rm(aside, { force: true });
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    return typeof holder?.pid === 'number' && typeof holder.startTime === 'string'
      ? (holder as Holder)
      : undefined;
  } catch {
    return undefined;
  }
}

async function isAlive(holder: Holder, boot: string): Promise<boolean> {
  if (holder.boot !== boot) return false;
  const startTime = await startTimeOf(holder.pid);
  return startTime !== undefined && startTime === holder.startTime;
}

/** Field 22 of /proc/<pid>/stat: clock ticks from boot to the start of the process. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readText(`/proc/${pid}/stat`).catch(() => undefined);
  // The command (field 2) stands in parentheses and may itself contain spaces and parentheses.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

async function bootId(): Promise<string> {
  return ((await readText('/proc/sys/kernel/random/boot_id')) ?? '').trim();
}
