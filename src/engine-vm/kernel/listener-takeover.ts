/**
 * Takes over listening TCP sockets of another process of this machine (pidfd_getfd): the sockets themselves, with the
 * connections that wait in them, so none is lost when the other process closes its own descriptors.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { WeftError } from '../../policy/errors.ts';
import { kernelError, libc } from './libc.ts';
import { localEndpoint } from './socket-address.ts';

const SYS_PIDFD_OPEN = 434n;
const SYS_PIDFD_GETFD = 438n;
const LISTENING = '0A';

/** Descriptors of listening sockets by address and port, as `listenerKey` writes them. */
export type TakenListeners = Map<string, number[]>;

export function listenerKey(address: string, port: number): string {
  return `${address} ${port}`;
}

/**
 * Copies of all descriptors of listening TCP sockets that the process has; both may accept from then on. Whoever calls
 * this closes them. Throws ERR_NOT_FOUND where there is no such process, ERR_KERNEL where it may not be looked into.
 */
export function takeListeners(pid: number): TakenListeners {
  const listening = inodesOfListeners(pid);
  const taken: TakenListeners = new Map();
  const pidfd = Number(libc.syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n, 0n, 0n, 0n, 0n));
  if (pidfd < 0) throw kernelError('pidfd_open', `process ${pid}`);
  try {
    for (const { fd, target } of descriptorsOf(pid)) {
      if (!listening.has(target)) continue;
      const own = Number(libc.syscall(SYS_PIDFD_GETFD, BigInt(pidfd), BigInt(fd), 0n, 0n, 0n, 0n));
      if (own < 0) throw kernelError('pidfd_getfd', `a listening socket of process ${pid}`);
      const { address, port } = localEndpoint(own);
      const key = listenerKey(address, port);
      const others = taken.get(key);
      if (others === undefined) taken.set(key, [own]);
      else others.push(own);
    }
    return taken;
  } catch (error) {
    closeListeners(taken);
    throw error;
  } finally {
    libc.close(pidfd);
  }
}

export function closeListeners(taken: TakenListeners): void {
  for (const fds of taken.values()) for (const fd of fds) libc.close(fd);
  taken.clear();
}

/** What a process has open, by its links in /proc. Throws ERR_NOT_FOUND, ERR_KERNEL. */
export function descriptorsOf(pid: number): { readonly fd: number; readonly target: string }[] {
  const folder = `/proc/${pid}/fd`;
  return read(pid, () => readdirSync(folder)).flatMap((name) => {
    try {
      return { fd: Number(name), target: readlinkSync(`${folder}/${name}`) };
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

/** Listening sockets of the process's network namespace, as its descriptors name them. */
function inodesOfListeners(pid: number): Set<string> {
  const found = new Set<string>();
  for (const file of ['tcp', 'tcp6']) {
    for (const text of read(pid, () => readFileSync(`/proc/${pid}/net/${file}`, 'latin1')).split('\n')) {
      const cells = text.trim().split(/\s+/);
      if (cells[3] === LISTENING) found.add(`socket:[${cells[9]}]`);
    }
  }
  return found;
}

function read<T>(pid: number, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new WeftError('ERR_NOT_FOUND', `there is no process ${pid}`, { cause });
    }
    throw new WeftError(
      'ERR_KERNEL',
      `process ${pid} cannot be looked into: run this as root, or as the user that runs it`,
      { cause },
    );
  }
}
