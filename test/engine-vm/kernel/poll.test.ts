import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { EventFd } from '../../../src/engine-vm/kernel/event-fd.ts';
import { PacketMemory } from '../../../src/engine-vm/kernel/packet-memory.ts';
import { Poll } from '../../../src/engine-vm/kernel/poll.ts';

/** Rests until the poll sleeps; the milliseconds of that sleep. */
function sleepMs(poll: Poll, timeoutMs: number): number {
  const started = performance.now();
  while (!poll.rest(0, timeoutMs));
  return performance.now() - started;
}

describe('poll', () => {
  it('sleeps no longer than it is told while nothing comes', () => {
    const event = new EventFd();
    const slept = sleepMs(new Poll([event.fd]), 20);
    assert.ok(slept >= 19 && slept < 500, `${slept} ms`);
    event.close();
  });

  it('does not sleep while there is work', () => {
    const poll = new Poll([]);
    for (let turn = 0; turn < 1000; turn++) assert.equal(poll.rest(1, 10_000), false);
  });

  it('is woken by another thread through an eventfd, until that is drained', async () => {
    const event = new EventFd();
    const poll = new Poll([event.fd]);
    const url = new URL('../../../src/engine-vm/kernel/event-fd.ts', import.meta.url);
    const other = new Worker(
      `import(${JSON.stringify(url.href)}).then(({ EventFd }) => setTimeout(() => new EventFd(${event.fd}).signal(), 50));`,
      { eval: true },
    );
    await new Promise((resolve) => other.once('online', resolve));
    assert.ok(sleepMs(poll, 10_000) < 5_000);
    assert.ok(poll.isReady(0));
    assert.equal(event.drain(), 1);
    assert.equal(event.drain(), 0);
    sleepMs(poll, 1);
    assert.equal(poll.isReady(0), false);
    await other.terminate();
    event.close();
  });
});

describe('packet memory', () => {
  it('gives zeroed extents, takes them back, and refuses more than it holds', () => {
    const memory = new PacketMemory(8192);
    const extent = memory.take(4096, 'first');
    memory.bytes[extent.offset] = 7;
    memory.take(4096, 'second');
    assert.throws(() => memory.take(4096, 'third'), { code: 'ERR_KERNEL', message: /third/ });
    memory.give(extent);
    assert.equal(memory.bytes[extent.offset], 0);
    assert.equal(memory.take(4096, 'again').offset, extent.offset);
    memory.close();
  });

  it('leaves no view of freed memory behind', () => {
    const memory = new PacketMemory(4096);
    memory.take(4096, 'a test');
    const { bytes, words } = memory;
    memory.close();
    assert.equal(bytes.length, 0);
    assert.equal(words.length, 0);
    assert.equal(bytes[0], undefined);
  });
});
