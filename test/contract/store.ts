/** The contract of a store: what every implementation of src/state/store.ts must pass. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { isWeftError } from '../../src/policy/errors.ts';
import type { Change, Store, Write } from '../../src/state/store.ts';

/** One store under test. `reopen` closes it and opens what it kept. */
export interface StoreUnderTest {
  store: Store;
  reopen(): Promise<Store>;
  dispose(): Promise<void>;
}

/** Runs the suite on stores that `create` makes empty, each for one test. */
export function storeContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`${name} fulfils the store contract`, () => {
    let subject: StoreUnderTest;
    let store: Store;
    let aborting: AbortController;

    beforeEach(async () => {
      subject = await create();
      store = subject.store;
      aborting = new AbortController();
    });
    afterEach(async () => {
      aborting.abort();
      await subject.dispose();
    });

    it('begins empty at revision 0', async () => {
      assert.equal(store.revision, 0);
      assert.equal(await store.get('a'), undefined);
      assert.deepEqual(await store.list(''), []);
    });

    it('reads back what was written, with the revision of its change', async () => {
      const first = await store.write([{ key: 'a', value: { x: [1, null, 'é'] } }]);
      const second = await store.write([{ key: 'b', value: false }]);
      assert.ok(second > first);
      assert.deepEqual(await store.get('a'), { key: 'a', value: { x: [1, null, 'é'] }, revision: first });
      assert.deepEqual(await store.get('b'), { key: 'b', value: false, revision: second });
      assert.equal(store.revision, second);
    });

    it('applies all writes of a call at one revision', async () => {
      const revision = await store.write([
        { key: 'a', value: 1 },
        { key: 'b', value: 2 },
      ]);
      assert.deepEqual(
        (await store.list('')).map((entry) => entry.revision),
        [revision, revision],
      );
    });

    it('lists by prefix in key order', async () => {
      for (const key of ['p/b', 'p/a', 'q', 'p', 'p/aa', 'o']) await store.write([{ key, value: key }]);
      assert.deepEqual(
        (await store.list('p/')).map((entry) => entry.key),
        ['p/a', 'p/aa', 'p/b'],
      );
      await store.write([
        { key: 'p/a', delete: true },
        { key: 'p/c', value: 1 },
      ]);
      assert.deepEqual(
        (await store.list('p')).map((entry) => entry.key),
        ['p', 'p/aa', 'p/b', 'p/c'],
      );
    });

    it('hands out copies and takes copies', async () => {
      const value = { list: [1] };
      const writing = store.write([{ key: 'a', value }]);
      value.list.push(2);
      await writing;
      const read = await store.get<{ list: number[] }>('a');
      read!.value.list.push(3);
      assert.deepEqual((await store.get('a'))!.value, { list: [1] });
    });

    it('keeps keys and values that look like parts of a prototype', async () => {
      const value: unknown = JSON.parse('{"__proto__":{"polluted":1},"constructor":2}');
      await store.write([{ key: '__proto__', value }]);
      assert.equal(JSON.stringify((await store.get('__proto__'))!.value), JSON.stringify(value));
      assert.equal(({} as { polluted?: number }).polluted, undefined);
    });

    it('refuses all writes of a call where a condition does not hold', async () => {
      const revision = await store.write([{ key: 'a', value: 1 }]);
      const refused = store.write(
        [
          { key: 'a', value: 2 },
          { key: 'b', value: 2 },
        ],
        [{ key: 'a', revision: revision + 1 }],
      );
      await assert.rejects(refused, (error) => isWeftError(error, 'ERR_REVISION_CONFLICT'));
      await assert.rejects(store.write([{ key: 'b', value: 2 }], [{ key: 'a', revision: 0 }]), (error) =>
        isWeftError(error, 'ERR_REVISION_CONFLICT'),
      );
      assert.equal(store.revision, revision);
      assert.equal(await store.get('b'), undefined);
      await store.write([{ key: 'a', value: 3 }], [{ key: 'a', revision }]);
      await store.write([{ key: 'b', value: 3 }], [{ key: 'b', revision: 0 }]);
    });

    it('lets exactly one of several concurrent creators win', async () => {
      const attempts = await Promise.allSettled(
        Array.from({ length: 20 }, (_, value) =>
          store.write([{ key: 'a', value }], [{ key: 'a', revision: 0 }]),
        ),
      );
      const won = attempts.flatMap((attempt, index) => (attempt.status === 'fulfilled' ? [index] : []));
      assert.equal(won.length, 1);
      assert.equal((await store.get('a'))!.value, won[0]);
    });

    it('lets nothing be lost among concurrent writers', async () => {
      const revisions = await Promise.all(
        Array.from({ length: 200 }, (_, index) => store.write([{ key: `k/${index}`, value: index }])),
      );
      assert.equal(new Set(revisions).size, 200);
      assert.equal((await store.list('k/')).length, 200);
    });

    it('keeps entries and revisions over a restart', async () => {
      await store.write([{ key: 'a', value: { deep: ['x'] } }]);
      await store.write([{ key: 'b', value: 2 }]);
      const revision = await store.write([{ key: 'b', delete: true }]);
      const before = await store.list('');
      const again = await subject.reopen();
      assert.equal(again.revision, revision);
      assert.deepEqual(await again.list(''), before);
      assert.ok((await again.write([{ key: 'c', value: 1 }])) > revision);
    });

    it('watches from a revision without gaps, repeats or foreign keys', async () => {
      await store.write([{ key: 'w/a', value: 0 }]);
      const from = store.revision;
      await store.write([{ key: 'w/a', value: 1 }]);
      await store.write([{ key: 'other', value: 1 }]);
      const watching = collect(store, 'w/', from, aborting.signal, 4);
      await store.write([
        { key: 'w/b', value: 2 },
        { key: 'w/c', value: 3 },
      ]);
      await store.write([{ key: 'w/a', delete: true }]);
      const changes = await watching;
      assert.deepEqual(
        changes.map(({ key, value }) => [key, value]).sort(),
        [
          ['w/a', 1],
          ['w/a', undefined],
          ['w/b', 2],
          ['w/c', 3],
        ].sort(),
      );
      const revisions = changes.map((change) => change.revision);
      assert.deepEqual(
        revisions,
        [...revisions].sort((a, b) => a - b),
      );
    });

    it('does not report the deletion of what was not there', async () => {
      const from = await store.write([{ key: 'w/a', value: 0 }]);
      await store.write([{ key: 'w/none', delete: true }]);
      await store.write([{ key: 'w/b', value: 1 }]);
      const [change] = await collect(store, 'w/', from, aborting.signal, 1);
      assert.equal(change!.key, 'w/b');
    });

    it('ends a watch without an error when its signal aborts', async () => {
      const watching = collect(store, '', 0, aborting.signal, 1);
      await delay(5);
      aborting.abort();
      assert.deepEqual(await watching, []);
      assert.deepEqual(await collect(store, '', 0, AbortSignal.abort(), 1), []);
    });

    it('behaves as a map with a counter', async () => {
      const write: fc.Arbitrary<Write> = fc.oneof(
        fc.record({ key: fc.constantFrom('a', 'a/b', 'b', 'c'), value: fc.jsonValue({ maxDepth: 2 }) }),
        fc.record({ key: fc.constantFrom('a', 'a/b', 'b', 'c'), delete: fc.constant(true as const) }),
      );
      const step = fc.record({
        writes: fc.uniqueArray(write, { minLength: 1, maxLength: 3, selector: (one) => one.key }),
        condition: fc.option(fc.record({ key: fc.constantFrom('a', 'b'), isStale: fc.boolean() })),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const existing = await store.list('');
          if (existing.length > 0)
            await store.write(existing.map(({ key }) => ({ key, delete: true as const })));
          const model = new Map<string, { value: unknown; revision: number }>();
          const from = store.revision;
          const expected: { key: string; value: string | undefined }[] = [];
          for (const { writes, condition } of steps) {
            const actual = condition ? (model.get(condition.key)?.revision ?? 0) : 0;
            const conditions = condition
              ? [{ key: condition.key, revision: condition.isStale ? actual + 1_000_000 : actual }]
              : [];
            if (condition?.isStale) {
              await assert.rejects(store.write(writes, conditions), (error) =>
                isWeftError(error, 'ERR_REVISION_CONFLICT'),
              );
              continue;
            }
            const revision = await store.write(writes, conditions);
            for (const one of writes) {
              if (!('delete' in one)) {
                model.set(one.key, { value: one.value, revision });
                expected.push({ key: one.key, value: JSON.stringify(one.value) });
              } else if (model.delete(one.key)) expected.push({ key: one.key, value: undefined });
            }
          }
          const wanted = [...model]
            .map(([key, entry]) => ({ key, ...entry }))
            .sort((a, b) => (a.key < b.key ? -1 : 1));
          assert.equal(JSON.stringify(await store.list('')), JSON.stringify(ordered(wanted)));
          const changes = await collect(store, '', from, aborting.signal, expected.length);
          const seen = changes.map(({ key, value }) => ({
            key,
            value: value === undefined ? undefined : JSON.stringify(value),
          }));
          assert.deepEqual(sorted(seen), sorted(expected));
        }),
        { numRuns: 40 },
      );
    });
  });
}

/** The first `count` changes, or fewer where the signal aborts. */
export async function collect(
  store: Store,
  prefix: string,
  revision: number,
  signal: AbortSignal,
  count: number,
): Promise<Change[]> {
  const changes: Change[] = [];
  if (count === 0) return changes;
  for await (const change of store.watch(prefix, revision, signal)) {
    changes.push(change);
    if (changes.length === count) break;
  }
  return changes;
}

function ordered(entries: { key: string; value: unknown; revision: number }[]) {
  return entries.map(({ key, value, revision }) => ({ key, value, revision }));
}

/** Within one revision the order of changes is the implementation's own. */
function sorted(changes: { key: string; value: string | undefined }[]): string[] {
  return changes.map((change) => JSON.stringify(change)).sort();
}
