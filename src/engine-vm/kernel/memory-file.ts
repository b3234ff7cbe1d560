/** A file that is memory of this process alone (memfd): gone with it, on no disk, read by others through /proc only. */
import { kernelError, libc } from './libc.ts';

const MFD_CLOEXEC = 1;

export interface MemoryFile {
  readonly fd: number;
  close(): void;
}

/** An empty one; `/proc/PID/fd` shows it as `/memfd:name (deleted)`. Throws ERR_KERNEL. */
export function memoryFile(name: string): MemoryFile {
  const fd = libc.memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) throw kernelError('memfd_create', name);
  return { fd, close: () => void libc.close(fd) };
}
