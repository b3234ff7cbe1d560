import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ClientEntries } from '../../src/state/client-entries.ts';
import { HubEntries } from '../../src/state/hub-entries.ts';
import type { WireEntry } from '../../src/state/wire.ts';

const keys = ['session/s/c/a', 'connections/a', 'engine/a'];

describe("the hub's table of shared state", () => {
  it('ends the same in whatever order, and however often, the messages of a writer arrive', () => {
    const message = fc.record({
      key: fc.constantFrom(...keys),
      epoch: fc.integer({ min: 1, max: 3 }),
      isDelete: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 20 }).chain((messages) => {
          const numbered = messages.map((one, index) => ({ ...one, seq: index + 1 }));
          return fc.tuple(
            fc.constant(numbered),
            fc.shuffledSubarray([...numbered, ...numbered], {
              minLength: numbered.length * 2,
              maxLength: numbered.length * 2,
            }),
          );
        }),
        ([messages, arrivals]) => {
          const table = new HubEntries(1000);
          for (const { key, epoch, seq, isDelete } of arrivals) {
            table.put({ key, value: isDelete ? undefined : seq, writer: 'a', epoch, seq }, 0);
          }
          for (const key of keys) {
            const last = messages
              .filter((one) => one.key === key)
              .sort((a, b) => a.epoch - b.epoch || a.seq - b.seq)
              .at(-1);
            assert.equal(table.get(key)?.value, last === undefined || last.isDelete ? undefined : last.seq);
          }
        },
      ),
    );
  });

  it('does not bring a removed entry back for a late duplicate', () => {
    const table = new HubEntries(10);
    const put = { key: 'connections/a', value: 1, writer: 'a', epoch: 1, seq: 1 };
    table.put(put, 0);
    table.put({ ...put, value: undefined, seq: 2 }, 10);
    assert.equal(table.put(put, 50_000), 'known');
    assert.equal(table.get(put.key), undefined);
  });

  it('brings a lapsed entry back when its writer puts the same again', () => {
    const table = new HubEntries(10);
    const put = { key: 'connections/a', value: 1, writer: 'a', epoch: 1, seq: 1 };
    table.put(put, 0);
    assert.equal(table.lapse(put.key, 1, 10)?.value, undefined);
    assert.equal(table.get(put.key), undefined);
    assert.notEqual(table.put(put, 20), 'known');
    assert.equal(table.get(put.key)?.value, 1);
    assert.equal(table.lapse(put.key, 0, 30), undefined, 'an earlier boot has no say');
  });

  it('lets entries lapse at their time, however often they were put again', () => {
    const table = new HubEntries(10);
    for (let at = 0; at < 20_000; at += 700) {
      table.sweep(at);
      table.put({ key: 'session/s/c/a', value: at, writer: 'a', epoch: 1, seq: at, ttlMs: 2500 }, at);
      assert.equal(table.get('session/s/c/a')?.value, at);
    }
    const last = 19_600;
    assert.deepEqual(table.sweep(last + 2400), []);
    assert.equal(table.sweep(last + 2600).length, 1);
    assert.equal(table.get('session/s/c/a'), undefined);
  });

  it('bounds what one writer may have', () => {
    const table = new HubEntries(3);
    const put = (key: string, seq: number) => table.put({ key, value: 1, writer: 'a', epoch: 1, seq }, 0);
    for (let n = 1; n <= 3; n++) assert.notEqual(put(`session/s/${n}/a`, n), 'full');
    assert.equal(put('session/s/4/a', 4), 'full');
    assert.notEqual(put('session/s/1/a', 5), 'full');
    table.put({ key: 'session/s/1/a', value: undefined, writer: 'a', epoch: 1, seq: 6 }, 0);
    assert.notEqual(put('session/s/4/a', 7), 'full');
    assert.notEqual(table.put({ key: 'connections/b', value: 1, writer: 'b', epoch: 1, seq: 1 }, 0), 'full');
  });

  it('forgets removed entries after a while', () => {
    const table = new HubEntries(10);
    table.put({ key: 'connections/a', value: 1, writer: 'a', epoch: 1, seq: 1 }, 0);
    table.put({ key: 'connections/a', value: undefined, writer: 'a', epoch: 1, seq: 2 }, 0);
    table.sweep(61_000);
    assert.notEqual(
      table.put({ key: 'connections/a', value: 1, writer: 'a', epoch: 1, seq: 1 }, 61_000),
      'known',
      'nothing is known of it any more',
    );
  });
});

describe("an engine's copy of shared state", () => {
  it('ends the same in whatever order, and however often, the messages of the hub arrive', () => {
    fc.assert(
      fc.property(
        fc
          .array(fc.record({ key: fc.constantFrom(...keys), isDelete: fc.boolean() }), { maxLength: 20 })
          .chain((changes) => {
            const entries = changes.map(
              ({ key, isDelete }, index): WireEntry => ({
                key,
                ...(!isDelete && { value: index }),
                writer: 'a',
                epoch: 1,
                seq: index,
                version: index + 1,
              }),
            );
            return fc.tuple(
              fc.constant(entries),
              fc.shuffledSubarray([...entries, ...entries], {
                minLength: entries.length * 2,
                maxLength: entries.length * 2,
              }),
            );
          }),
        ([entries, arrivals]) => {
          const seen = new Map<string, unknown>();
          const table = new ClientEntries('b', 1, (entry) => seen.set(entry.key, entry.value));
          table.connected('hub', 0);
          for (const entry of arrivals) table.take([entry], 0);
          for (const key of keys) {
            const last = entries.filter((entry) => entry.key === key).at(-1)?.value;
            assert.equal(table.get(key)?.value, last);
            assert.equal(seen.get(key), last);
          }
        },
      ),
    );
  });

  it('removes what a whole snapshot does not have, and nothing before it is whole', () => {
    const table = new ClientEntries('b', 1, () => {});
    const entry = (key: string, version: number): WireEntry => ({
      key,
      value: 1,
      writer: 'a',
      epoch: 1,
      seq: 1,
      version,
    });
    table.connected('hub', 0);
    table.take([entry('session/s/1/a', 1), entry('session/s/2/a', 2), entry('connections/a', 3)], 0);
    table.connected('hub', 10);
    table.expectSnapshot(1, 'session/');
    table.take([entry('session/s/4/a', 9)], 10);
    const part = (number: number, isLast: boolean, entries: WireEntry[]) =>
      table.takeSnapshot({ id: 1, part: number, isLast, version: 8, entries }, 10);
    part(1, true, [entry('session/s/3/a', 8)]);
    part(1, true, [entry('session/s/3/a', 8)]);
    assert.ok(table.get('session/s/1/a'), 'the first part is still to come');
    part(0, false, [entry('session/s/2/a', 2)]);
    assert.deepEqual([...table.list('')].map(({ key }) => key).sort(), [
      'connections/a',
      'session/s/2/a',
      'session/s/3/a',
      'session/s/4/a',
    ]);
  });

  it('gives others time to come back to a new hub, and never gives up a graph for its silence', () => {
    const table = new ClientEntries('b', 1, () => {});
    const take = (key: string, version: number) =>
      table.take([{ key, value: 1, writer: 'x', epoch: 1, seq: 1, version }], 0);
    table.connected('first', 0);
    take('connections/a', 1);
    take('connections/c', 2);
    take('graph/b', 3);
    table.connected('second', 100);
    table.expectSnapshot(1, '');
    table.takeSnapshot({ id: 1, part: 0, isLast: true, version: 0, entries: [] }, 100);
    assert.equal([...table.list('')].length, 3);
    take('connections/a', 1);
    table.sweep(11_000);
    assert.deepEqual([...table.list('')].map(({ key }) => key).sort(), ['connections/a', 'graph/b']);
  });

  it('sends everything own again after a reconnection, with the time that is left', () => {
    const table = new ClientEntries('b', 1, () => {});
    table.put('connections/b', { x: 1 }, '{"x":1}', undefined, 0);
    table.put('session/s/c/b', 1, '1', 10_000, 0);
    table.put('session/s/d/b', undefined, undefined, undefined, 0);
    table.connected('hub', 0);
    const first = table.takeUnsent(1000, 0);
    assert.equal(first.length, 3);
    assert.ok(!table.hasUnsent);
    table.connected('hub', 4000);
    const again = table.takeUnsent(1000, 4000);
    assert.deepEqual(
      again.map(({ key, seq, ttlMs }) => [key, seq, ttlMs]),
      [
        ['connections/b', 1, undefined],
        ['session/s/c/b', 2, 6000],
        ['session/s/d/b', 3, undefined],
      ],
    );
    assert.ok(!('value' in again[2]!), 'a deletion is sent again, too');
    table.sweep(70_000);
    table.connected('hub', 70_000);
    assert.deepEqual(
      table.takeUnsent(1000, 70_000).map(({ key }) => key),
      ['connections/b'],
    );
  });
});
