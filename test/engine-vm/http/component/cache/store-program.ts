/** A thread that stores and reads entries of a shared store as fast as it can; says how many reads were wrong. */
import { parentPort, workerData } from 'node:worker_threads';
import { EntryWriter } from '../../../../../src/engine-vm/http/component/cache/cache-fill.ts';
import { CacheStore } from '../../../../../src/engine-vm/http/component/cache/cache-store.ts';

const { memory, seed, rounds } = workerData as { memory: SharedArrayBuffer; seed: number; rounds: number };
const store = new CacheStore(memory);
const any = { fits: () => true };
const terms = { storedMs: 0, ageS: 0, lifetimeS: 1, whileRevalidateS: 0, ifErrorS: 0, isNoCache: false };
const buffer = new Uint8Array(40_000);
let state = seed;
let wrong = 0;
let hits = 0;
const random = (below: number): number => {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return (state >>> 8) % below;
};

for (let n = 0; n < rounds; n++) {
  const id = random(60);
  const key = Buffer.from(`key ${id}`);
  const hash = store.hash(key, key.length);
  const entry = store.find(hash, key, key.length, any);
  if (entry >= 0) {
    hits++;
    const length = store.bodyBytes(entry);
    store.read(entry, key.length, length, buffer, 0);
    const fill = buffer[0]!;
    // Every body of a key is its number, over and over.
    for (let at = 0; at < length; at += 97) if (buffer[at] !== fill || fill !== id) wrong++;
    store.unpin(entry);
    if (random(4) > 0) continue;
  }
  if (random(20) === 0) store.remove(hash, key, key.length);
  const writer = new EntryWriter(store);
  const body = new Uint8Array(1 + random(30_000)).fill(id);
  if (!writer.add(key, 0, key.length) || !writer.add(body, 0, body.length)) continue;
  if (random(10) === 0) writer.abandon();
  else writer.link(hash, [key.length, 0, 0], terms, store.purges);
}
parentPort!.postMessage({ wrong, hits });
