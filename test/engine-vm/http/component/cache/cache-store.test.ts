/** The store of the cache: what is found, what is evicted, and that its memory is bounded and shared. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { EntryWriter } from '../../../../../src/engine-vm/http/component/cache/cache-fill.ts';
import { CacheStore } from '../../../../../src/engine-vm/http/component/cache/cache-store.ts';
import { BLOCK_BYTES } from '../../../../../src/engine-vm/http/component/cache/store-size.ts';

const any = { fits: () => true };
const terms = { storedMs: 0, ageS: 3, lifetimeS: 1, whileRevalidateS: 0, ifErrorS: 0, isNoCache: false };

function put(store: CacheStore, name: string, body: Uint8Array): boolean {
  const key = Buffer.from(name);
  const writer = new EntryWriter(store);
  if (!writer.add(key, 0, key.length) || !writer.add(body, 0, body.length)) return false;
  writer.link(store.hash(key, key.length), [key.length, 0, 0], terms, store.purges);
  return true;
}

function find(store: CacheStore, name: string): number {
  const key = Buffer.from(name);
  return store.find(store.hash(key, key.length), key, key.length, any);
}

function get(store: CacheStore, name: string): Uint8Array | null {
  const entry = find(store, name);
  if (entry < 0) return null;
  const body = new Uint8Array(store.bodyBytes(entry));
  store.read(entry, store.keyBytes(entry), body.length, body, 0);
  store.unpin(entry);
  return body;
}

describe('the store of the cache', () => {
  it('gives back what was stored last, or nothing, within its memory', () => {
    const command = fc.record({
      name: fc.integer({ min: 0, max: 30 }).map(String),
      kind: fc.constantFrom('put', 'put', 'get', 'get', 'remove', 'prefix', 'pin', 'unpin'),
      length: fc.integer({ min: 0, max: 20_000 }),
      byte: fc.integer({ min: 0, max: 255 }),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const store = new CacheStore(CacheStore.allocate(40 * BLOCK_BYTES));
        assert.equal(store.blocks, 40);
        const model = new Map<string, Uint8Array>();
        const pinned: { entry: number; body: Uint8Array }[] = [];
        for (const { name, kind, length, byte } of commands) {
          const key = Buffer.from(name);
          if (kind === 'put') {
            const body = new Uint8Array(length).fill(byte);
            if (put(store, name, body)) model.set(name, body);
          } else if (kind === 'get') {
            const found = get(store, name);
            if (found !== null) assert.deepEqual(found, model.get(name));
          } else if (kind === 'remove') {
            store.remove(store.hash(key, key.length), key, key.length);
            assert.equal(get(store, name), null);
            model.delete(name);
          } else if (kind === 'prefix') {
            store.removePrefix(key);
            for (const other of [...model.keys()]) if (other.startsWith(name)) model.delete(other);
            assert.equal(get(store, name), null);
          } else if (kind === 'pin') {
            const entry = find(store, name);
            if (entry >= 0) pinned.push({ entry, body: model.get(name)! });
          } else {
            const one = pinned.shift();
            if (one === undefined) continue;
            // Whatever happened to the entry, who has pinned it reads what it was.
            const body = new Uint8Array(store.bodyBytes(one.entry));
            store.read(one.entry, store.keyBytes(one.entry), body.length, body, 0);
            assert.deepEqual(body, one.body);
            store.unpin(one.entry);
          }
          assert.ok(store.usedBytes <= 40 * BLOCK_BYTES);
        }
        for (const { entry } of pinned) store.unpin(entry);
        store.removePrefix(new Uint8Array(0));
        assert.equal(store.entries, 0);
        assert.equal(store.usedBytes, 0);
      }),
      { numRuns: 150 },
    );
  });

  it('keeps what is asked for while much else passes through', () => {
    const store = new CacheStore(CacheStore.allocate(64 * BLOCK_BYTES));
    const body = new Uint8Array(100);
    for (let n = 0; n < 10; n++) put(store, `hot ${n}`, body);
    for (let n = 0; n < 2000; n++) {
      put(store, `once ${n}`, body);
      if (n % 20 === 0) for (let hot = 0; hot < 10; hot++) assert.ok(get(store, `hot ${hot}`) !== null);
    }
    assert.ok(store.evicted > 1900);
    assert.equal(store.usedBytes, 64 * BLOCK_BYTES);
  });

  it('is shared by threads', async function () {
    this.timeout(60_000);
    const memory = CacheStore.allocate(100 * BLOCK_BYTES);
    const program = new URL('./store-program.ts', import.meta.url);
    const workers = [1, 2, 3].map((seed) => {
      return new Worker(program, { workerData: { memory, seed, rounds: 20_000 } });
    });
    const results = await Promise.all(workers.map((worker) => once(worker, 'message')));
    for (const [{ wrong, hits }] of results) {
      assert.equal(wrong, 0);
      assert.ok(hits > 1000);
    }
    const store = new CacheStore(memory);
    store.removePrefix(new Uint8Array(0));
    assert.equal(store.usedBytes, 0);
  });
});
