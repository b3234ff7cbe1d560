/**
 * A controller whose datacenter and store are files, so that both outlive it: what a crash leaves is what the next
 * controller finds. Run as a program, it kills itself in the middle of things.
 *
 *   node crash-site.ts <directory> <n>     SIGKILL right after the n-th change of the world or of the journal
 *
 * Ends with status 0 where it had fewer changes to make.
 */
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import type { Store, Write } from '../../src/state/store.ts';
import { MemoryDatacenter } from '../hypervisor/memory-platform.ts';
import { Harness } from './harness.ts';

/** What is written to say how things are, rather than to do something. */
const OBSERVATIONS = ['status/', 'revision/'];

export interface Site {
  harness: Harness;
  close(): Promise<void>;
}

/** Opens the files of a directory. `onChange` is called right after each change has been made durable. */
export async function openSite(directory: string, onChange: () => void = () => {}): Promise<Site> {
  const inner = await openEmbeddedStore(join(directory, 'store.json'));
  const pending = new Set<Promise<unknown>>();
  const store: Store = {
    get revision() {
      return inner.revision;
    },
    get: (key) => inner.get(key),
    list: (prefix) => inner.list(prefix),
    watch: (prefix, revision, signal) => inner.watch(prefix, revision, signal),
    write(writes: readonly Write[], conditions) {
      const write = inner.write(writes, conditions).then((revision) => {
        if (writes.some(({ key }) => !OBSERVATIONS.some((prefix) => key.startsWith(prefix)))) onChange();
        return revision;
      });
      pending.add(write);
      void write.finally(() => pending.delete(write)).catch(() => {});
      return write;
    },
    close: () => inner.close(),
  };
  const datacenter = MemoryDatacenter.fromFile(join(directory, 'datacenter.json'));
  const harness = new Harness(datacenter, {}, store);
  harness.engines.bootMs = 0;
  harness.settle = async () => {
    while (pending.size > 0) await Promise.allSettled(pending);
  };
  const judge = datacenter.onMutation;
  datacenter.onMutation = (method, phase, subject) => {
    judge(method, phase, subject);
    if (phase === 'after') onChange();
  };
  return {
    harness,
    async close() {
      await harness.stop();
      await inner.close();
    },
  };
}

/** Runs until nothing is left to do. */
export async function settle({ harness }: Site): Promise<void> {
  await harness.until(
    'nothing is left to do',
    async () => {
      await harness.run(200);
      return (await harness.plan()).length === 0;
    },
    60_000,
  );
}

if (isMainThread && process.argv[1] === import.meta.filename) {
  const [, , directory = '', number = ''] = process.argv;
  let left = Number(number);
  const site = await openSite(directory, () => {
    if (--left === 0) process.kill(process.pid, 'SIGKILL');
  });
  await site.harness.start();
  await settle(site);
  await site.close();
}
