import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { addressOf } from '../../../src/engine-vm/kernel/bpf.ts';
import { askForLargePages } from '../../../src/engine-vm/kernel/large-pages.ts';

const POLICY = '/sys/kernel/mm/transparent_hugepage/enabled';
const BYTES = 64 << 20;

/** Kilobytes in large pages of the mapping in which that memory lies, whatever else the process frees meanwhile. */
function large(memory: ArrayBuffer): number {
  // The middle: pages at the edges may be in mappings of their own.
  const address = addressOf(new Uint8Array(memory)) + BigInt(memory.byteLength / 2);
  let isHere = false;
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range !== null) isHere = BigInt(`0x${range[1]}`) <= address && address < BigInt(`0x${range[2]}`);
    const size = isHere ? /^AnonHugePages: +(\d+) kB$/.exec(line) : null;
    if (size !== null) return Number(size[1]);
  }
  return 0;
}

describe('large pages', () => {
  it('are what memory lies in that was asked for so, once it is written to', function () {
    let policy = '';
    try {
      policy = readFileSync(POLICY, 'utf8');
    } catch {
      // A kernel without them.
    }
    if (!/\[(madvise|always)\]/.test(policy)) this.skip();
    const memory = new ArrayBuffer(BYTES);
    askForLargePages(memory);
    const words = new Int32Array(memory);
    for (let at = 0; at < words.length; at += 1024) words[at] = at;
    assert.ok(large(memory) > BYTES / 1024 / 2, `${large(memory)} kB`);
    assert.equal(words[words.length - 1024], words.length - 1024);
  });

  it('are no matter of life and death for memory that is too small', () => {
    const memory = new ArrayBuffer(16);
    askForLargePages(memory);
    assert.equal(new Int32Array(memory)[3], 0);
  });
});
