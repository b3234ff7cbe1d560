/** How large the parts of the cache's memory are: words of the store, hash table, a record for each block, the blocks. */

export const BLOCK_BYTES = 4096;
/** Words of a block's record. */
export const WORDS = 32;
export const STORE_WORDS = 16;

/** Heads of the hash table for so many blocks: a power of two. */
export function bucketsFor(blocks: number): number {
  return 2 ** Math.max(4, Math.ceil(Math.log2(blocks)));
}

/** Bytes of memory for so many blocks. */
export function sizeOf(blocks: number): number {
  return (STORE_WORDS + bucketsFor(blocks)) * 4 + blocks * (WORDS * 4 + BLOCK_BYTES);
}

/** The number of blocks that `sizeOf` was asked for. */
export function blocksIn(bytes: number): number {
  for (let buckets = 16; ; buckets *= 2) {
    const blocks = (bytes - (STORE_WORDS + buckets) * 4) / (WORDS * 4 + BLOCK_BYTES);
    if (blocks <= buckets) return Math.floor(blocks);
  }
}
