/**
 * Processes of the lab, known by pid and start time, so that a pid that was given to somebody else is never taken
 * for ours.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { WeftError } from '../../policy/errors.ts';
import { namespaceFile } from './names.ts';

/** How long a process may take to end once it was killed. */
const KILL_TIMEOUT_MS = 10_000;

export interface ProcessRef {
  pid: number;
  /** Clock ticks after boot, field 22 of /proc/pid/stat (proc(5)). */
  startTime: number;
}

export interface ProcessStat {
  state: string;
  /** Process group; equal to the pid in what `startDetached` started. */
  group: number;
  startTime: number;
  /** Clock ticks, user and system. */
  cpuTicks: number;
}

/** /proc/pid/stat, or null where there is no such process. */
export function readStat(pid: number): ProcessStat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command in brackets and may hold blanks and brackets itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return {
      state: fields[0]!,
      group: Number(fields[2]),
      cpuTicks: Number(fields[11]) + Number(fields[12]),
      startTime: Number(fields[19]),
    };
  } catch {
    return null;
  }
}

/** True while that very process runs (or is stopped); a zombie has ended. */
export function isAlive(ref: ProcessRef): boolean {
  const stat = readStat(ref.pid);
  return stat !== null && stat.startTime === ref.startTime && stat.state !== 'Z' && stat.state !== 'X';
}

/** The reference of a process that runs now. Throws ERR_KERNEL where it has ended. */
export function refOf(pid: number): ProcessRef {
  const stat = readStat(pid);
  if (!stat) throw new WeftError('ERR_KERNEL', `process ${pid} ended at once; its log says why`);
  return { pid, startTime: stat.startTime };
}

/** Reads a pid file that `writePidFile` wrote; null where there is none. */
export function readPidFile(path: string): ProcessRef | null {
  try {
    const { pid, startTime } = JSON.parse(readFileSync(path, 'utf8')) as ProcessRef;
    return Number.isInteger(pid) && pid > 1 && Number.isInteger(startTime) ? { pid, startTime } : null;
  } catch {
    return null;
  }
}

export function writePidFile(path: string, ref: ProcessRef): void {
  writeFileSync(path, JSON.stringify(ref), { mode: 0o600 });
}

/**
 * Starts a program in a session of its own, so that it outlives us and no Ctrl-C of a terminal reaches it. Output
 * is appended to `log`. In a namespace if one is named. Throws ERR_KERNEL when it cannot be started.
 */
export function startDetached(
  command: readonly string[],
  options: { log: string; namespace?: string; cwd?: string },
): ChildProcess & { pid: number } {
  const argv =
    options.namespace === undefined
      ? command
      : ['nsenter', `--net=${namespaceFile(options.namespace)}`, ...command];
  const log = openSync(options.log, 'a', 0o600);
  try {
    const child = spawn(argv[0]!, argv.slice(1), {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: options.cwd ?? '/',
    });
    if (child.pid === undefined) {
      child.on('error', () => {});
      throw new WeftError('ERR_KERNEL', `${argv[0]} cannot be started; is it installed?`);
    }
    child.unref();
    return child as ChildProcess & { pid: number };
  } finally {
    closeSync(log);
  }
}

/** Pids of all processes in a network namespace. A namespace that does not exist has none. */
export function pidsIn(namespace: string): number[] {
  let inode: number;
  try {
    inode = statSync(namespaceFile(namespace)).ino;
  } catch {
    return [];
  }
  const link = `net:[${inode}]`;
  const pids: number[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readlinkSync(`/proc/${name}/ns/net`) === link) pids.push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  return pids;
}

/** Sends a signal to a process; one that has ended is left out silently. */
export function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Ends a process for good and waits until it is gone; with it goes what it is just running (its process group, not
 * what it started detached). Already gone: succeeds. Throws ERR_KERNEL if it stays.
 */
export async function killProcess(ref: ProcessRef): Promise<void> {
  if (isAlive(ref) && readStat(ref.pid)?.group === ref.pid) signalPid(-ref.pid, 'SIGKILL');
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  while (isAlive(ref)) {
    signalPid(ref.pid, 'SIGKILL');
    await pauseUntil(deadline, `process ${ref.pid}`);
  }
}

/** Ends every process in a namespace, also those that appear meanwhile. Returns how many there were. Throws ERR_KERNEL if one stays. */
export async function killNamespace(namespace: string): Promise<number> {
  const killed = new Map<number, ProcessRef>();
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  for (;;) {
    for (const pid of pidsIn(namespace)) {
      const stat = readStat(pid);
      if (!stat || killed.get(pid)?.startTime === stat.startTime) continue;
      killed.set(pid, { pid, startTime: stat.startTime });
      signalPid(pid, 'SIGKILL');
    }
    // One that is ending has left its namespace already, but not yet let go of its files.
    if (![...killed.values()].some(isAlive) && pidsIn(namespace).every((pid) => killed.has(pid))) {
      return killed.size;
    }
    await pauseUntil(deadline, `a process in ${namespace}`);
  }
}

async function pauseUntil(deadline: number, what: string): Promise<void> {
  if (performance.now() > deadline) {
    throw new WeftError('ERR_KERNEL', `${what} does not end on SIGKILL; it is stuck in the kernel`);
  }
  await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Bytes received and sent on all NICs of the namespace that the process is in; loopback does not count. */
export function readTraffic(pid: number): { receivedBytes: number; sentBytes: number } {
  let receivedBytes = 0;
  let sentBytes = 0;
  for (const line of readFileSync(`/proc/${pid}/net/dev`, 'latin1').split('\n').slice(2)) {
    const [name, counters] = line.split(':');
    if (counters === undefined || name!.trim() === 'lo') continue;
    const fields = counters.trim().split(/\s+/);
    receivedBytes += Number(fields[0]);
    sentBytes += Number(fields[8]);
  }
  return { receivedBytes, sentBytes };
}

/** True when something in the namespace of the process listens on a TCP port, on any address of either family. */
export function isListening(pid: number, port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const table of ['tcp', 'tcp6']) {
    try {
      for (const line of readFileSync(`/proc/${pid}/net/${table}`, 'latin1').split('\n')) {
        const fields = line.trim().split(/\s+/);
        if (fields[3] === '0A' && fields[1]!.endsWith(local)) return true;
      }
    } catch {
      return false; // It ended meanwhile.
    }
  }
  return false;
}
