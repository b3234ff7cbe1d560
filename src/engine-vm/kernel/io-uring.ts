/**
 * io_uring: the two rings that a thread and the kernel share, mapped as typed arrays. Asking for something is a few
 * stores; one system call submits all that was asked for and waits for what is done.
 *
 * Sources: linux include/uapi/linux/io_uring.h; io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
 */
import ffi from 'node:ffi';
import { constants } from 'node:os';
import { WeftError } from '../../policy/errors.ts';
import { errno, kernelError, libc } from './libc.ts';
import type { SocketBuffers } from './socket-buffers.ts';

const SYS_SETUP = 425n;
const SYS_ENTER = 426;
const SYS_REGISTER = 427;
const SETUP_CQSIZE = 1 << 3;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;
const FEAT_SINGLE_MMAP = 1;
const ENTER_GETEVENTS = 1;
const ENTER_EXT_ARG = 8;
const OFFSET_SQES = 0x1000_0000n;
const MAP_SHARED_POPULATE = 0x8001;
const REGISTER_PBUF_RING = 22;
const ETIME = 62;
/** sizeof(struct io_uring_getevents_arg). */
const ARGUMENT_BYTES = 24n;

// The same call with 32-bit arguments: numbers instead of bigints, which would be allocated at every turn. The last one
// lies on the stack, where all 64 bits count.
const { syscall: enter } = ffi.dlopen('libc.so.6', {
  syscall: { arguments: ['i32', 'i32', 'u32', 'u32', 'u32', 'pointer', 'i64'], return: 'i32' },
}).functions;
const { syscall: register } = ffi.dlopen('libc.so.6', {
  syscall: { arguments: ['i32', 'i32', 'u32', 'pointer', 'u32', 'u32', 'i64'], return: 'i32' },
}).functions;

export class IoUring {
  /** Submission entries, 16 words each. */
  readonly entries: Uint32Array;
  /** The rings' own words. */
  readonly words: Uint32Array;
  readonly signed: Int32Array;
  /** Index of the first completion (4 words each) in `words`. */
  readonly completions: number;
  readonly completionMask: number;
  readonly #fd: number;
  readonly #mapped: { address: bigint; length: number; buffer: ArrayBuffer }[] = [];
  readonly #submissionTail: number;
  readonly #submissionMask: number;
  readonly #size: number;
  readonly #completionHead: number;
  readonly #completionTail: number;
  readonly #argument: bigint;
  readonly #timespec: Uint32Array;
  #tail = 0;
  #submitted = 0;

  /** Makes the rings; only the thread that makes them may use them. Throws ERR_KERNEL where the kernel refuses. */
  constructor(submissions: number, completions: number, buffers: SocketBuffers) {
    const parameters = new Uint32Array(30);
    parameters[1] = completions;
    parameters[2] = SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
    const fd = Number(libc.syscall(SYS_SETUP, BigInt(submissions), parameters, 0n, 0n, 0n, 0n));
    if (fd < 0)
      throw kernelError('io_uring_setup', 'the rings of a thread', 'does this kernel allow io_uring?');
    this.#fd = fd;
    try {
      if ((parameters[5]! & FEAT_SINGLE_MMAP) === 0) {
        throw new WeftError('ERR_KERNEL', 'io_uring_setup on the rings of a thread: this kernel is too old');
      }
      const [size, completionEntries] = [parameters[0]!, parameters[1]!];
      const [sq, cq] = [parameters.subarray(10, 20), parameters.subarray(20, 30)];
      const rings = this.#map(Math.max(sq[6]! + size * 4, cq[5]! + completionEntries * 16), 0n);
      this.words = new Uint32Array(rings);
      this.signed = new Int32Array(rings);
      this.entries = new Uint32Array(this.#map(size * 64, OFFSET_SQES));
      this.#size = size;
      this.#submissionTail = sq[1]! >> 2;
      this.#submissionMask = this.words[sq[2]! >> 2]!;
      for (let n = 0; n < size; n++) this.words[(sq[6]! >> 2) + n] = n;
      this.#completionHead = cq[0]! >> 2;
      this.#completionTail = cq[1]! >> 2;
      this.completionMask = this.words[cq[2]! >> 2]!;
      this.completions = cq[5]! >> 2;
    } catch (error) {
      this.close();
      throw error;
    }
    // struct io_uring_getevents_arg, then the timespec that it points to.
    const at = buffers.reserve(64, 16);
    this.#argument = buffers.address(at);
    this.#timespec = buffers.words.subarray((at + 32) >> 2, (at + 48) >> 2);
    const timespec = buffers.addressNumber(at + 32);
    buffers.words[(at >> 2) + 4] = timespec >>> 0;
    buffers.words[(at >> 2) + 5] = Math.floor(timespec / 2 ** 32);
  }

  #map(length: number, offset: bigint): ArrayBuffer {
    const size = Math.ceil(length / 4096) * 4096;
    const address = libc.mmap(0n, BigInt(size), 3, MAP_SHARED_POPULATE, this.#fd, offset);
    if (address === 0xffff_ffff_ffff_ffffn) throw kernelError('mmap', 'the rings of io_uring');
    const buffer = ffi.toArrayBuffer(address, size, false);
    this.#mapped.push({ address, length: size, buffer });
    return buffer;
  }

  /** Index in `entries` of a fresh entry, all zeros. The kernel sees it at the next `enter`. */
  entry(): number {
    if (this.#tail - this.#submitted >= this.#size) this.enter(0, 0);
    const at = (this.#tail++ & this.#submissionMask) << 4;
    const { entries } = this;
    // A loop: calling `fill` costs several times as much as so few stores.
    for (let n = at; n < at + 16; n++) entries[n] = 0;
    return at;
  }

  /** Submits the entries, and waits for `wait` completions at most `timeoutMs`. Throws ERR_KERNEL. */
  enter(wait: number, timeoutMs: number): void {
    Atomics.store(this.words, this.#submissionTail, this.#tail);
    this.#timespec[0] = Math.floor(timeoutMs / 1000);
    this.#timespec[2] = (timeoutMs % 1000) * 1_000_000;
    const flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
    const done = enter(
      SYS_ENTER,
      this.#fd,
      this.#tail - this.#submitted,
      wait,
      flags,
      this.#argument,
      ARGUMENT_BYTES,
    );
    if (done >= 0) {
      this.#submitted += done;
      return;
    }
    const code = errno();
    const isHarmless = code === ETIME || code === constants.errno.EINTR || code === constants.errno.EBUSY;
    if (!isHarmless && code !== constants.errno.EAGAIN)
      throw kernelError('io_uring_enter', 'the rings of a thread');
  }

  /** Sequence numbers of the completions that are there: from `head` to before `tail`. */
  get head(): number {
    return this.words[this.#completionHead]!;
  }

  get tail(): number {
    return Atomics.load(this.words, this.#completionTail);
  }

  /** Completions before that one may be written over. */
  consumed(head: number): void {
    Atomics.store(this.words, this.#completionHead, head);
  }

  /** Registers the ring of buffers at that offset, which receiving takes from. Throws ERR_KERNEL. */
  registerBuffers(buffers: SocketBuffers, ring: number, entries: number): void {
    const at = buffers.reserve(40);
    const address = buffers.addressNumber(ring);
    buffers.words[at >> 2] = address >>> 0;
    buffers.words[(at >> 2) + 1] = Math.floor(address / 2 ** 32);
    buffers.words[(at >> 2) + 2] = entries;
    const argument = buffers.address(at);
    const made = register(SYS_REGISTER, this.#fd, REGISTER_PBUF_RING, argument, 1, 0, 0n);
    if (made < 0) throw kernelError('io_uring_register', 'the ring of socket buffers');
  }

  close(): void {
    libc.close(this.#fd);
    for (const { address, length, buffer } of this.#mapped.splice(0)) {
      structuredClone(buffer, { transfer: [buffer] });
      libc.munmap(address, BigInt(length));
    }
  }
}
