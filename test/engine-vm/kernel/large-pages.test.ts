import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { askForLargePages } from '../../../src/engine-vm/kernel/large-pages.ts';

const POLICY = '/sys/kernel/mm/transparent_hugepage/enabled';
const BYTES = 64 << 20;

/** Kilobytes of this process that lie in large pages. */
function large(): number {
  const [, kilobytes] =
    /^AnonHugePages: +(\d+) kB$/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8')) ?? [];
  return Number(kilobytes);
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
    const before = large();
    const memory = new ArrayBuffer(BYTES);
    askForLargePages(memory);
    const words = new Int32Array(memory);
    for (let at = 0; at < words.length; at += 1024) words[at] = at;
    assert.ok(large() - before > BYTES / 1024 / 2, `${large() - before} kB`);
    assert.equal(words[words.length - 1024], words.length - 1024);
  });

  it('are no matter of life and death for memory that is too small', () => {
    const memory = new ArrayBuffer(16);
    askForLargePages(memory);
    assert.equal(new Int32Array(memory)[3], 0);
  });
});
