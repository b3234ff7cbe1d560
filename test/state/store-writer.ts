/** A process that writes a store as fast as it can and prints each acknowledged number, until it is killed. */
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';

const [file, from] = process.argv.slice(2);
const store = await openEmbeddedStore(file!);
const padding = 'x'.repeat(2000);
let number = Number(from);
const write = async (lane: number) => {
  for (;;) {
    const mine = ++number;
    await store.write([
      { key: `n/${lane}`, value: { number: mine, padding } },
      { key: `m/${mine % 50}`, value: mine },
    ]);
    process.stdout.write(`${lane} ${mine}\n`);
  }
};
await Promise.all([0, 1, 2].map(write));
