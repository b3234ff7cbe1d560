/**
 * The C library, called through node:ffi: every system call that Weft makes by hand is declared here.
 *
 * This folder is the only one that does so. Pointers are bigints; `ArrayBufferView`s may stand for them where the
 * call does not keep the address. Each thread that imports this file has its own errno.
 */
import ffi from 'node:ffi';
import { constants } from 'node:os';
import { WeftError } from '../../policy/errors.ts';

/** The functions, with the C library's own names and argument orders. A failing one returns -1 and sets errno. */
export const libc = ffi.dlopen('libc.so.6', {
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  listen: { arguments: ['i32', 'i32'], return: 'i32' },
  connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  accept4: { arguments: ['i32', 'pointer', 'pointer', 'i32'], return: 'i32' },
  shutdown: { arguments: ['i32', 'i32'], return: 'i32' },
  getpeername: { arguments: ['i32', 'pointer', 'pointer'], return: 'i32' },
  getsockname: { arguments: ['i32', 'pointer', 'pointer'], return: 'i32' },
  epoll_create1: { arguments: ['i32'], return: 'i32' },
  epoll_ctl: { arguments: ['i32', 'i32', 'i32', 'pointer'], return: 'i32' },
  epoll_wait: { arguments: ['i32', 'pointer', 'i32', 'i32'], return: 'i32' },
  setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
  getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
  recv: { arguments: ['i32', 'pointer', 'u64', 'i32'], return: 'i64' },
  send: { arguments: ['i32', 'pointer', 'u64', 'i32'], return: 'i64' },
  sendto: { arguments: ['i32', 'pointer', 'u64', 'i32', 'pointer', 'u32'], return: 'i64' },
  recvfrom: { arguments: ['i32', 'pointer', 'u64', 'i32', 'pointer', 'pointer'], return: 'i64' },
  sendmmsg: { arguments: ['i32', 'pointer', 'u32', 'i32'], return: 'i32' },
  if_nametoindex: { arguments: ['string'], return: 'u32' },
  mmap: { arguments: ['pointer', 'u64', 'i32', 'i32', 'i32', 'i64'], return: 'pointer' },
  madvise: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  mount: { arguments: ['string', 'string', 'string', 'u64', 'string'], return: 'i32' },
  munmap: { arguments: ['pointer', 'u64'], return: 'i32' },
  poll: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  fcntl: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  memfd_create: { arguments: ['string', 'u32'], return: 'i32' },
  eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
  read: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
  write: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  syscall: { arguments: ['i64', 'i64', 'pointer', 'i64', 'i64', 'i64', 'i64'], return: 'i64' },
  __errno_location: { arguments: [], return: 'pointer' },
}).functions;

// errno is a word of this thread, at an address that never changes.
const errnoAddress = libc.__errno_location();

const NAMES = new Map<number, string>(
  Object.entries(constants.errno).map(([name, value]) => [value as number, name]),
);

/** errno as the latest failing call of this thread left it; to be read before anything else is called. */
export function errno(): number {
  return ffi.getInt32(errnoAddress);
}

/** `ENODEV` for 19; the bare number where the name is unknown. */
export function errnoName(code: number): string {
  return NAMES.get(code) ?? String(code);
}

/**
 * ERR_KERNEL for a call that just failed. `object` says what it was called on, `remedy` what the operator can do;
 * without one the usual reason for that errno stands in.
 */
export function kernelError(call: string, object: string, remedy?: string): WeftError {
  const code = errno();
  if (code === constants.errno.EPERM || code === constants.errno.EACCES) {
    return new WeftError('ERR_KERNEL', `${call} on ${object}: ${errnoName(code)}: run this as root`);
  }
  return new WeftError(
    'ERR_KERNEL',
    `${call} on ${object}: ${errnoName(code)}${remedy === undefined ? '' : `: ${remedy}`}`,
  );
}

/** Sets a socket option made of 32-bit words. Throws ERR_KERNEL. */
export function setOption(
  fd: number,
  level: number,
  option: readonly [number: number, name: string],
  words: readonly number[],
  object: string,
): void {
  const value = new Int32Array(words);
  if (libc.setsockopt(fd, level, option[0], value, value.byteLength) < 0) {
    throw kernelError(`setsockopt ${option[1]}`, object);
  }
}

/** Closes a socket whose thread is gone. Already closed: nothing happens. */
export function closeSocket(fd: number): void {
  libc.close(fd);
}
