/**
 * Large pages for tables that are read at random: one entry of the processor's address cache then stands for 2 MB instead
 * of 4 KB.
 */
import ffi from 'node:ffi';
import { libc } from './libc.ts';

const MADV_HUGEPAGE = 14;
const PAGE = 4096;

/** Asks for large pages in memory that nobody has written to yet. A kernel that has none goes on with small ones. */
export function askForLargePages(memory: ArrayBuffer): void {
  const address = ffi.getRawPointer(memory);
  const skipped = (PAGE - Number(address % BigInt(PAGE))) % PAGE;
  const length = memory.byteLength - skipped;
  if (length > 0) libc.madvise(address + BigInt(skipped), BigInt(length - (length % PAGE)), MADV_HUGEPAGE);
}
