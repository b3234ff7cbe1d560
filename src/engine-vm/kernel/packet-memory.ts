/**
 * The memory that frames live in: one mapped region for the receive rings and transmit slots of all NICs of a
 * thread.
 *
 * One region and not one a ring, because a frame is then copied from a receive ring to a transmit slot by
 * `copyWithin`, which allocates nothing, and because whoever parses frames sees the same buffer every time.
 */
import ffi from 'node:ffi';
import { WeftError } from '../../policy/errors.ts';
import { kernelError, libc } from './libc.ts';

const PAGE = 4096;
const PROT_NONE = 0;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** A part of the region. `address` is where the kernel sees `offset`. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly address: bigint;
}

export class PacketMemory {
  /** The whole region. Only extents that were taken may be touched: the rest is not backed. */
  readonly bytes: Uint8Array;
  /** The same bytes as 32-bit words of this machine. */
  readonly words: Uint32Array;
  readonly #address: bigint;
  readonly #length: number;
  readonly #free: Extent[] = [];
  #used = 0;
  #isClosed = false;

  /** Reserves `length` bytes of address space; memory is only used by what is taken. Throws ERR_KERNEL. */
  constructor(length: number) {
    this.#length = Math.ceil(length / PAGE) * PAGE;
    this.#address = libc.mmap(
      0n,
      BigInt(this.#length),
      PROT_NONE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1,
      0n,
    );
    if (this.#address === MAP_FAILED) throw kernelError('mmap', `${this.#length} bytes for frames`);
    const buffer = ffi.toArrayBuffer(this.#address, this.#length, false);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  /**
   * Maps `length` bytes, zeroed, or those of `fd` from its start, and returns where. `object` names the owner in
   * errors. Throws ERR_KERNEL, also when the region has no room.
   */
  take(length: number, object: string, fd?: number): Extent {
    const size = Math.ceil(length / PAGE) * PAGE;
    const index = this.#free.findIndex((extent) => extent.length === size);
    const extent = index >= 0 ? this.#free.splice(index, 1)[0]! : this.#grow(size, object);
    const flags = (fd === undefined ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_FIXED;
    const at = libc.mmap(extent.address, BigInt(size), PROT_READ_WRITE, flags, fd ?? -1, 0n);
    if (at === MAP_FAILED) {
      const error = kernelError('mmap', object);
      this.#free.push(extent);
      throw error;
    }
    return extent;
  }

  /** Maps `length` bytes of a file, from `offset` on, over the beginning of an extent. Throws ERR_KERNEL. */
  map(extent: Extent, length: number, fd: number, offset: number, object: string): void {
    const flags = MAP_SHARED | MAP_FIXED;
    const at = libc.mmap(extent.address, BigInt(length), PROT_READ_WRITE, flags, fd, BigInt(offset));
    if (at === MAP_FAILED) throw kernelError('mmap', object);
  }

  #grow(size: number, object: string): Extent {
    if (this.#used + size > this.#length) {
      throw new WeftError(
        'ERR_KERNEL',
        `mmap on ${object}: the ${this.#length} bytes for frames have no ${size} left: reserve more`,
      );
    }
    const extent = { offset: this.#used, length: size, address: this.#address + BigInt(this.#used) };
    this.#used += size;
    return extent;
  }

  /** Gives an extent back. What it mapped is freed; touching it reads zeros until it is taken again. */
  give(extent: Extent): void {
    if (this.#isClosed) return;
    // Mapped over instead of unmapped: a stale view then reads zeros, where it would otherwise kill the process.
    libc.mmap(
      extent.address,
      BigInt(extent.length),
      PROT_READ_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
      -1,
      0n,
    );
    this.#free.push(extent);
  }

  /** Frees the region. Every view of it has length 0 from then on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    structuredClone(this.bytes.buffer, { transfer: [this.bytes.buffer as ArrayBuffer] });
    libc.munmap(this.#address, BigInt(this.#length));
  }
}
