/**
 * The memory that bytes of sockets are received into and sent from: equal buffers in one mapped region.
 *
 *   buffer  [ headroom 512 | what was received ...            | tailroom 64 ]      16 KB and 320 bytes
 *
 * One region, because a buffer goes from the socket that received it to the socket that sends it without a copy, and
 * because `copyWithin` inside one buffer allocates nothing. The room before and behind lets whoever sends put a head
 * or the framing of a chunk around what was received. Free buffers are a stack: the one used last is used next, so
 * that a busy thread stays in few pages and untouched ones cost nothing. Buffers are no power of two apart: what is used of
 * each, its beginning, would fall into the same few sets of the processor's caches, and push out that of the others.
 */
import ffi from 'node:ffi';
import { kernelError, libc } from './libc.ts';

export const BUFFER_BYTES = 16_704;
export const HEADROOM = 512;
export const TAILROOM = 64;
/** The most bytes that one buffer receives. */
export const RECEIVE_BYTES = BUFFER_BYTES - HEADROOM - TAILROOM;
/** Memory beside the buffers, for addresses, structures of system calls, and whatever a thread builds. */
const SCRATCH_BYTES = 1 << 20;
/** Buffer ids are 16 bits wide in the kernel. */
const MOST_BUFFERS = 65_535;

export class SocketBuffers {
  /** The whole region; all offsets are into it. */
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly count: number;
  readonly #address: bigint;
  readonly #base: number;
  readonly #length: number;
  readonly #stack: Uint16Array;
  readonly #holders: Uint8Array;
  #free: number;
  #scratch: number;
  #isClosed = false;

  /** Reserves address space for so many buffers; memory is only used by those that are. Throws ERR_KERNEL. */
  constructor(count: number) {
    this.count = Math.min(count, MOST_BUFFERS);
    this.#length = this.count * BUFFER_BYTES + SCRATCH_BYTES;
    const flags = 0x4022; // MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    this.#address = libc.mmap(0n, BigInt(this.#length), 3, flags, -1, 0n);
    if (this.#address === 0xffff_ffff_ffff_ffffn) {
      throw kernelError('mmap', `${this.#length} bytes for socket buffers`);
    }
    this.#base = Number(this.#address);
    const region = ffi.toArrayBuffer(this.#address, this.#length, false);
    this.bytes = new Uint8Array(region);
    this.words = new Uint32Array(region);
    this.#stack = new Uint16Array(this.count);
    this.#holders = new Uint8Array(this.count);
    for (let n = 0; n < this.count; n++) this.#stack[n] = this.count - 1 - n;
    this.#free = this.count;
    this.#scratch = this.count * BUFFER_BYTES;
  }

  /** Buffers that nobody has. */
  get free(): number {
    return this.#free;
  }

  /** A buffer, held once; -1 where none is left. */
  take(): number {
    if (this.#free === 0) return -1;
    const buffer = this.#stack[--this.#free];
    this.#holders[buffer] = 1;
    return buffer;
  }

  /** One more holder: the buffer is free again after as many `give`s. */
  hold(buffer: number): void {
    this.#holders[buffer]++;
  }

  /** Whether somebody else has it, too: then nothing may be written where they read. */
  isShared(buffer: number): boolean {
    return this.#holders[buffer]! > 1;
  }

  give(buffer: number): void {
    if (--this.#holders[buffer] === 0) this.#stack[this.#free++] = buffer;
  }

  /** Where a buffer's room for received bytes begins. */
  start(buffer: number): number {
    return buffer * BUFFER_BYTES + HEADROOM;
  }

  /** Takes memory beside the buffers, for good. `alignment` is a power of two. */
  reserve(length: number, alignment = 8): number {
    const at = (this.#scratch + alignment - 1) & ~(alignment - 1);
    if (at + length > this.#length) throw new RangeError(`no room for ${length} bytes beside socket buffers`);
    this.#scratch = at + length;
    return at;
  }

  /** The address of an offset, as the kernel sees it. */
  address(offset: number): bigint {
    return this.#address + BigInt(offset);
  }

  /** The same as a number: addresses of user space are below 2^47. */
  addressNumber(offset: number): number {
    return this.#base + offset;
  }

  /** Frees the region; every view of it has length 0 from then on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    structuredClone(this.bytes.buffer, { transfer: [this.bytes.buffer as ArrayBuffer] });
    libc.munmap(this.#address, BigInt(this.#length));
  }
}
