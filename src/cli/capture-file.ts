/**
 * A pcapng file as it comes over the network: handed on in whole blocks, so that it can be read however the stream
 * ends, and counted meanwhile. Source: draft-ietf-opsawg-pcapng, section 3.1.
 */
import { WeftError } from '../policy/errors.ts';

const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const COMMENT = 1;
const DROPPED = 5;
/** No block of ours is longer. */
const MAX_BLOCK_BYTES = 1 << 20;

export class WholeBlocks {
  /** What has gone through. */
  frames = 0;
  bytes = 0;
  /** Frames that are missing, as the file says at its end. */
  lost = 0;
  /** What it says there of each interface. */
  readonly remarks: string[] = [];
  #rest: Buffer = Buffer.alloc(0);

  /** Takes a chunk and gives the whole blocks that there are now. Throws ERR_UNREACHABLE where it is no such file. */
  take(chunk: Uint8Array): Buffer {
    const all = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + 12 <= all.length) {
      const length = all.readUInt32LE(at + 4);
      if (length < 12 || length % 4 !== 0 || length > MAX_BLOCK_BYTES) {
        throw new WeftError(
          'ERR_UNREACHABLE',
          'what came is no file of captured packets: is the address right?',
        );
      }
      if (at + length > all.length) break;
      this.#count(all.subarray(at, at + length));
      at += length;
    }
    this.#rest = all.subarray(at);
    this.bytes += at;
    return all.subarray(0, at);
  }

  /** Whether the stream ended in the middle of a block. */
  get isTorn(): boolean {
    return this.#rest.length > 0;
  }

  #count(block: Buffer): void {
    const type = block.readUInt32LE(0);
    if (type === ENHANCED_PACKET) this.frames++;
    if (type !== INTERFACE_STATISTICS) return;
    for (let at = 20; at + 4 <= block.length - 4; ) {
      const code = block.readUInt16LE(at);
      const length = block.readUInt16LE(at + 2);
      if (code === 0 || at + 4 + length > block.length - 4) return;
      if (code === COMMENT) this.remarks.push(block.toString('utf8', at + 4, at + 4 + length));
      if (code === DROPPED && length === 8) this.lost += Number(block.readBigUInt64LE(at + 4));
      at += 4 + ((length + 3) & ~3);
    }
  }
}
