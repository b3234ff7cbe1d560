/** C over all engines: single writers, own choices in flight, restarts, moves; and simulations of engines at once. */
import assert from 'node:assert/strict';
import { ConnectionTable } from '../../../src/engine-vm/balance/connection-table.ts';
import { createBalancer } from '../../../src/engine-vm/balance/registry.ts';
import type { GraphMember } from '../../../src/policy/graph.ts';
import type { ConnectionReport } from '../../../src/state/shared.ts';
import { candidatesOf } from './candidates.ts';

function member(vm: string, engine: string | null): GraphMember {
  return {
    id: `lab/${vm}/0`,
    vm,
    host: 'h',
    mac: '02:00:00:00:00:01',
    ipv4: '10.0.0.1',
    ipv6: null,
    hops: 0,
    engine,
  };
}

function reportOf(parts: Partial<ConnectionReport>): ConnectionReport {
  return { local: {}, sent: {}, received: {}, ...parts };
}

/** Engine `a` with a member beside it, one beside `b`, and one with no engine. */
function table() {
  const clock = { now: 1000 };
  const counts = new ConnectionTable('a', () => clock.now);
  const members = [member('own', 'a'), member('far', 'b'), member('bare', null)];
  counts.load(members, 'a');
  return { clock, counts, members };
}

const [OWN, FAR, BARE] = [0, 1, 2];
const far = (local: number, received: number) =>
  reportOf({ local: { 'lab/far/0': local }, received: { 'lab/far/0': { a: received } } });

describe('connection table', () => {
  it('counts the connections of a member beside this engine itself, whoever chose it', () => {
    const { counts } = table();
    counts.opened(OWN, null);
    counts.opened(OWN, 'b');
    counts.openedViaPeerIndex(OWN, counts.peerIndex('c'));
    assert.equal(counts.connections(OWN), 1, 'its own choice at once, those of others with the next report');
    counts.closed(OWN);
    assert.deepEqual(counts.report(), {
      local: { 'lab/own/0': 2 },
      sent: {},
      received: { 'lab/own/0': { b: 1, c: 1 } },
    });
    assert.equal(counts.connections(OWN), 2);
  });

  it('never counts below zero', () => {
    const { counts } = table();
    counts.closed(OWN);
    counts.closedSent(BARE);
    assert.equal(counts.connections(OWN), 0);
    assert.equal(counts.connections(BARE), 0);
  });

  it('does not let others write the count of its own members', () => {
    const { counts } = table();
    counts.opened(OWN, null);
    counts.applyReport('b', reportOf({ local: { 'lab/own/0': 50 }, sent: { 'lab/own/0': 50 } }));
    counts.applyReport('a', reportOf({ local: { 'lab/own/0': 50 } }));
    assert.equal(counts.connections(OWN), 1);
  });

  it('adds own choices to the published count until the owner says that they arrived', () => {
    const { counts } = table();
    counts.applyReport('b', far(10, 0));
    counts.chose(FAR);
    counts.chose(FAR);
    counts.chose(FAR);
    assert.equal(counts.connections(FAR), 13);
    counts.applyReport('b', far(12, 2));
    assert.equal(counts.connections(FAR), 13);
    counts.applyReport('b', far(11, 3));
    assert.equal(counts.connections(FAR), 11);
    counts.applyReport('b', far(11, 9));
    assert.equal(counts.connections(FAR), 11);
  });

  it('forgets choices after 2 s without progress', () => {
    const { counts, clock } = table();
    counts.applyReport('b', far(10, 4));
    counts.chose(FAR);
    counts.chose(FAR);
    clock.now += 1500;
    counts.applyReport('b', far(11, 5));
    clock.now += 1500;
    assert.equal(counts.connections(FAR), 12);
    clock.now += 500;
    assert.equal(counts.connections(FAR), 11);
  });

  it('forgets single lost choices amid steady arrivals', () => {
    const { counts, clock } = table();
    let received = 0;
    for (let flow = 0; flow < 1000; flow++) {
      counts.chose(FAR);
      // Every tenth never arrives.
      if (flow % 10 !== 0) received++;
      counts.applyReport('b', far(0, received));
      clock.now += 100;
    }
    assert.ok(counts.connections(FAR) <= 5, `${counts.connections(FAR)} still counted`);
  });

  it('starts from what an engine that was there before has received', () => {
    const { counts } = table();
    counts.applyReport('b', far(10, 500));
    counts.chose(FAR);
    assert.equal(counts.connections(FAR), 11);
    counts.applyReport('b', far(11, 501));
    assert.equal(counts.connections(FAR), 11);
  });

  it('resets its base when the owner restarts', () => {
    const { counts } = table();
    counts.applyReport('b', far(10, 500));
    counts.applyReport('b', null);
    assert.equal(counts.connections(FAR), 0);
    counts.chose(FAR);
    counts.applyReport('b', far(0, 0));
    assert.equal(counts.connections(FAR), 1);
    counts.applyReport('b', far(1, 1));
    assert.equal(counts.connections(FAR), 1);
    // A restart that no null announced: the counters go backwards.
    counts.applyReport('b', far(10, 500));
    counts.chose(FAR);
    counts.chose(FAR);
    counts.applyReport('b', far(1, 1));
    assert.equal(counts.connections(FAR), 2);
  });

  it('sums what all engines sent to a member without an engine', () => {
    const { counts } = table();
    counts.openedSent(BARE);
    counts.applyReport('b', reportOf({ sent: { 'lab/bare/0': 4 } }));
    counts.applyReport('c', reportOf({ sent: { 'lab/bare/0': 2 } }));
    assert.equal(counts.connections(BARE), 7);
    counts.applyReport('b', reportOf({ sent: { 'lab/bare/0': 1 } }));
    assert.equal(counts.connections(BARE), 4);
    counts.applyReport('c', null);
    assert.equal(counts.connections(BARE), 2);
    assert.deepEqual(counts.report().sent, { 'lab/bare/0': 1 });
  });

  it('keeps counts by member id when a graph reorders, adds and removes members', () => {
    const { counts, members } = table();
    counts.opened(OWN, 'b');
    counts.report();
    counts.applyReport('b', far(3, 0));
    counts.chose(FAR);
    counts.openedSent(BARE);
    counts.load([member('new', 'b'), members[BARE], members[FAR], members[OWN]], 'a');
    assert.deepEqual(
      [0, 1, 2, 3].map((index) => counts.connections(index)),
      [0, 1, 4, 1],
    );
    assert.deepEqual(counts.report().received, { 'lab/own/0': { b: 1 } });
  });

  it('counts a member that moved to another engine once, by its new engine', () => {
    const { counts } = table();
    counts.applyReport('b', far(5, 0));
    counts.chose(FAR);
    counts.load([member('own', 'a'), member('far', 'c'), member('bare', null)], 'a');
    assert.equal(counts.connections(FAR), 0);
    counts.applyReport('c', reportOf({ local: { 'lab/far/0': 6 } }));
    counts.applyReport('b', far(1, 1));
    assert.equal(counts.connections(FAR), 6);
    // It is bypassed: now those count that send to it.
    counts.load([member('own', 'a'), member('far', null), member('bare', null)], 'a');
    assert.equal(counts.connections(FAR), 0);
    counts.openedSent(FAR);
    assert.equal(counts.connections(FAR), 1);
    // It comes to this engine: what was sent is seen here now.
    counts.load([member('own', 'a'), member('far', 'a'), member('bare', null)], 'a');
    counts.opened(FAR, null);
    assert.equal(counts.connections(FAR), 1);
  });

  it('survives reports that are no counts', () => {
    const { counts } = table();
    const broken = {
      local: { 'lab/far/0': 'many' },
      sent: { 'lab/bare/0': -3, other: Number.NaN },
      received: { 'lab/far/0': null },
    };
    counts.applyReport('b', broken as unknown as ConnectionReport);
    counts.applyReport('c', {} as ConnectionReport);
    assert.equal(counts.connections(FAR), 0);
    assert.equal(counts.connections(BARE), 0);
    counts.applyReport('b', null);
    assert.equal(counts.connections(BARE), 0);
    assert.equal(counts.connections(99), 0);
    assert.equal(counts.connections(-1), 0);
  });

  it('says when there is something new to report', () => {
    const { counts } = table();
    assert.equal(counts.takeChanged(), true);
    assert.equal(counts.takeChanged(), false);
    counts.chose(FAR);
    assert.equal(counts.takeChanged(), false);
    counts.opened(OWN, null);
    assert.equal(counts.takeChanged(), true);
    counts.closed(OWN);
    assert.equal(counts.takeChanged(), true);
  });
});

/** How often an engine among three publishes (packet-loop.ts), and how long its report may be on the way. */
const PERIOD_MS = 8;
const DELAY_MS = 10;

/**
 * Engines that decide at once, in virtual time: a chosen flow reaches the member's engine after 1 ms, reports are
 * published when something changed, and each engine hears of them some time later.
 */
function simulate(engineIds: string[], owners: string[], flows: number, flowsPerMs: number): number[] {
  let now = 0;
  let seed = 42;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 0x1_0000_0000;
  };
  const events: { at: number; order: number; run: () => void }[] = [];
  let order = 0;
  const later = (delay: number, run: () => void) => events.push({ at: now + delay, order: order++, run });
  const members = owners.map((owner, index) => member(`m${index}`, owner));
  const engines = engineIds.map((id) => {
    const counts = new ConnectionTable(id, () => now);
    counts.load(members, id);
    return { id, counts, balancer: createBalancer('least-connections'), candidates: candidatesOf(members) };
  });
  const truth = new Array<number>(members.length).fill(0);
  for (let tick = 0; tick < flows / flowsPerMs + 200; tick++) {
    now = tick;
    events.sort((a, b) => a.at - b.at || a.order - b.order);
    while (events.length > 0 && events[0].at <= now) events.shift()?.run();
    for (let burst = 0; burst < flowsPerMs && tick * flowsPerMs + burst < flows; burst++) {
      const entry = engines[(tick * flowsPerMs + burst) % engines.length];
      members.forEach((_member, index) => {
        entry.candidates.connections[index] = entry.counts.connections(index);
      });
      const chosen = entry.balancer.choose(entry.candidates, 0, false);
      truth[chosen]++;
      const owner = engines.find((engine) => engine.id === owners[chosen]);
      if (owner === entry) entry.counts.opened(chosen, null);
      else {
        entry.counts.chose(chosen);
        later(1, () => owner?.counts.opened(chosen, entry.id));
      }
    }
    if (tick % PERIOD_MS !== 0) continue;
    for (const engine of engines) {
      if (!engine.counts.takeChanged()) continue;
      const report = engine.counts.report();
      for (const reader of engines) {
        if (reader === engine) continue;
        later(Math.floor(random() * DELAY_MS), () => reader.counts.applyReport(engine.id, report));
      }
    }
  }
  return truth;
}

describe('least connections over engines', () => {
  it('holds 200 connections on 6 members within 1 of each other, with one engine', () => {
    const truth = simulate(['a'], ['a', 'a', 'a', 'a', 'a', 'a'], 200, 2);
    assert.equal(
      truth.reduce((sum, count) => sum + count, 0),
      200,
    );
    assert.ok(Math.max(...truth) - Math.min(...truth) <= 1, truth.join());
  });

  // What the engines cannot know of each other is the arrivals within one delay: with the held connections a small
  // multiple of that, no rule could stay within 10%.
  for (const [flows, flowsPerMs] of [
    [200, 1],
    [600, 3],
    [2000, 10],
  ]) {
    it(`stay within 10% with three engines deciding at once, ${flowsPerMs} flows a millisecond`, () => {
      const truth = simulate(['a', 'b', 'c'], ['a', 'a', 'b', 'b', 'c', 'c'], flows, flowsPerMs);
      const mean = flows / 6;
      assert.ok(Math.max(...truth) - Math.min(...truth) <= mean * 0.1, truth.join());
    });
  }
});
