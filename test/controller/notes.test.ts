import assert from 'node:assert/strict';
import { setImmediate as immediate } from 'node:timers/promises';
import { Journal } from '../../src/controller/journal.ts';
import { Notes } from '../../src/controller/notes.ts';
import { Scheduler } from '../../src/controller/scheduler.ts';
import type { Step } from '../../src/controller/step.ts';
import type { Note, Platform } from '../../src/hypervisor/platform.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { FakeClock } from './fake-clock.ts';
import { applyShop, Harness } from './harness.ts';
import { MemoryStore } from './memory-store.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

const base = { reason: 'r', undo: null, blockedBy: null, lanes: [], shares: [], cloud: 'lab' };

function deploy(engine: string): Step {
  const segments = { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' };
  const action = { step: 'deploy-engine', engine, host: 'h1', segments, size: null } as const;
  return { ...base, ...action, object: `engine ${engine}`, id: `deploy-engine:${engine}`, isUrgent: false };
}

function bend(vm: string): Step {
  const nic = { nic: `lab/${vm}/eth0`, vm, port: 'eth0', segment: 'prod-weft', before: 'prod' };
  const id = `intercept-nic:lab/${vm}/eth0`;
  return { ...base, ...nic, step: 'intercept-nic', object: `nic ${vm}/eth0`, id, isUrgent: false };
}

function release(vm: string, isUrgent = false): Step {
  const base = { object: `nic ${vm}/eth0`, reason: 'r', undo: null, blockedBy: null, lanes: [], shares: [] };
  const action = { step: 'release-nic', nic: `lab/${vm}/eth0`, vm, port: 'eth0', segment: 'prod' } as const;
  return { ...base, ...action, id: `release-nic:lab/${vm}/eth0`, isUrgent, cloud: 'lab' };
}

describe('notes for a platform', () => {
  let clock: FakeClock;
  let taken: Note[];
  let take: (note: Note, signal: AbortSignal) => Promise<void>;
  let notes: Notes;
  beforeEach(() => {
    clock = new FakeClock();
    taken = [];
    take = async (note) => void taken.push(note);
    notes = new Notes({
      platform: () =>
        ({ note: (note: Note, signal: AbortSignal) => take(note, signal) }) as Partial<Platform> as Platform,
      clock,
      log: silent,
    });
  });
  const settle = async () => {
    for (let turn = 0; turn < 2000; turn++) await immediate();
  };

  it('tell beginning and end in order, and call an urgent release a bypass', async () => {
    notes.tell(release('app1', true), 'running', 'engine edge-h1 does not forward');
    notes.tell(release('app1', true), 'success', 'engine edge-h1 does not forward');
    notes.tell(release('app2'), 'error', 'refused');
    await settle();
    assert.deepEqual(
      taken.map(({ kind, state, vm }) => `${kind} ${state} ${vm}`),
      ['bypassed running app1', 'bypassed success app1', 'path-released error app2'],
    );
  });

  it('are not told of what nobody looks for', async () => {
    const { step: _, ...rest } = release('app1');
    notes.tell({ ...rest, step: 'forget-interception', nic: 'x' } as Step, 'success', '');
    await settle();
    assert.deepEqual(taken, []);
  });

  it('say which pool a clone is for, and which engine gets copies', async () => {
    const rest = { ...base, isUrgent: false };
    const clone = { ...rest, object: 'vm shop-1', reason: 'pool shop grows', clone: 'lab/shop-1' };
    const copies = { ...rest, object: 'engine edge-h1', engine: 'edge-h1', nics: [] };
    const steps: Step[] = [
      { ...clone, step: 'clone-vm', id: 'clone-vm:1', host: 'h1' },
      { ...clone, step: 'remove-clone', id: 'remove-clone:1', vm: 'id-9' },
      { ...copies, step: 'mirror-nics', id: 'mirror-nics:1', host: 'h1' },
      { ...copies, step: 'mirror-nics', id: 'mirror-nics:2', host: '' },
    ];
    for (const step of steps) notes.tell(step, 'success', step.reason);
    await settle();
    assert.deepEqual(
      taken.map(({ kind, vm, host, engine, message }) => [kind, vm, host, engine, message]),
      [
        ['member-cloned', null, 'h1', null, 'vm shop-1: pool shop grows'],
        ['clone-removed', 'id-9', null, null, 'vm shop-1: pool shop grows'],
        ['ports-mirrored', null, 'h1', 'edge-h1', 'r'],
        ['ports-mirrored', null, null, 'edge-h1', 'r'],
      ],
    );
  });

  it('are dropped where they come too fast, and go on after a while', async () => {
    for (let index = 0; index < 500; index++) notes.tell(release(`vm${index}`), 'success', '');
    await settle();
    assert.equal(taken.length, 60);
    clock.advance(2000);
    for (let index = 0; index < 500; index++) notes.tell(release(`vm${index}`), 'success', '');
    await settle();
    assert.equal(taken.length, 70);
  });

  it('hold nobody up where the platform hangs, and fail nothing where it refuses', async () => {
    take = (_note, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    notes.tell(release('app1'), 'running', '');
    take = async (note) => {
      taken.push(note);
      throw new Error('refused');
    };
    notes.tell(release('app1'), 'success', '');
    notes.tell(release('app2'), 'success', '');
    await settle();
    assert.equal(taken.length, 0, 'one after the other');
    clock.advance(5000);
    await settle();
    assert.equal(taken.length, 2);
    notes.close();
    notes.tell(release('app3'), 'success', '');
    await settle();
    assert.equal(taken.length, 2);
  });

  it('tell how far a deployment is, no more often than once a second, and never backwards', async () => {
    const step = deploy('edge-h1');
    notes.tell(step, 'running', 'before it began', 0.5);
    await settle();
    assert.deepEqual(taken, [], 'what was not told to have begun has no progress');
    notes.tell(step, 'running', 'it is wanted');
    for (let percent = 1; percent <= 90; percent++) {
      clock.advance(100);
      notes.tell(step, 'running', 'uploading', percent / 100);
      await settle();
    }
    clock.advance(5000);
    notes.tell(step, 'running', 'uploading again', 0.2);
    notes.tell(step, 'running', 'uploading again', 0.95);
    notes.tell(step, 'success', 'it is wanted');
    await settle();
    assert.deepEqual(
      taken.map(({ state, progress }) => `${state} ${progress ?? ''}`.trim()),
      [
        'running',
        ...[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95].map((progress) => `running ${progress}`),
        'success',
      ],
    );
    assert.deepEqual(
      [...new Set(taken.map(({ id, kind, host }) => `${id} ${kind} ${host}`))],
      ['deploy-engine:edge-h1 engine-deployed h1'],
    );
  });

  it('keep but the latest progress of what a slow platform has not taken', async () => {
    let goOn = (): void => {};
    take = async (note) => {
      taken.push(note);
      if (taken.length === 1) await new Promise<void>((resolve) => (goOn = resolve));
    };
    notes.tell(deploy('edge-h1'), 'running', 'it is wanted');
    for (const percent of [10, 20, 30]) {
      clock.advance(1000);
      notes.tell(deploy('edge-h1'), 'running', 'uploading', percent / 100);
    }
    goOn();
    await settle();
    assert.deepEqual(
      taken.map(({ progress }) => progress),
      [undefined, 0.3],
    );
  });

  it('always tell the end of what was told to have begun', async () => {
    for (let index = 0; index < 50; index++) notes.tell(deploy(`edge-${index}`), 'running', '');
    for (let index = 0; index < 500; index++) notes.tell(release(`vm${index}`), 'success', '');
    for (let index = 0; index < 50; index++) notes.tell(deploy(`edge-${index}`), 'success', '');
    await settle();
    assert.equal(
      taken.filter(({ kind, state }) => kind === 'engine-deployed' && state === 'success').length,
      50,
    );
  });

  it('make one thing with a progress of many ports at once, and an event of each', async () => {
    const vms = Array.from({ length: 40 }, (_, index) => `app${index}`);
    for (const vm of vms) notes.tell(bend(vm), 'running', 'it serves members of web');
    await settle();
    assert.equal(taken.filter(({ id }) => id.startsWith('intercept-nic')).length, 9, 'before it was a batch');
    const [begun, ...more] = taken.filter(({ id }) => id.startsWith('batch:'));
    assert.deepEqual(more, []);
    assert.deepEqual(
      [begun?.kind, begun?.state, begun?.vm, begun?.host],
      ['path-bent', 'running', null, null],
    );
    taken.length = 0;
    for (const vm of vms) {
      clock.advance(500);
      notes.tell(
        bend(vm),
        vm === 'app7' ? 'error' : 'success',
        vm === 'app7' ? 'no port is free' : 'it serves',
      );
      await settle();
    }
    const batch = taken.filter(({ id }) => id === begun!.id);
    assert.deepEqual(batch.pop(), {
      ...{ id: begun!.id, kind: 'path-bent', state: 'error', vm: null, host: null, engine: null },
      message: '1 of 40 ports, the first: no port is free',
    });
    const progress = batch.map((one) => one.progress!);
    assert.ok(progress.length >= 15, `${progress.length}`);
    assert.deepEqual(
      progress,
      [...progress].sort((a, b) => a - b),
    );
    assert.equal(taken.filter(({ vm }) => vm !== null).length, 40);
    // The next ones are another batch, or none.
    taken.length = 0;
    notes.tell(bend('app1'), 'running', '');
    notes.tell(bend('app1'), 'success', '');
    await settle();
    assert.deepEqual(
      taken.map(({ vm, state }) => `${vm} ${state}`),
      ['app1 running', 'app1 success'],
    );
  });

  it('are told by the scheduler, with the progress that a step reports', async () => {
    const scheduler = new Scheduler({
      journal: await Journal.load(new MemoryStore(), 0),
      clock,
      log: silent,
      async perform(_step, progress) {
        await settle();
        clock.advance(2000);
        progress(0.4, 'uploading engine edge-h1');
      },
      tell: (step, state, message, progress) => notes.tell(step, state, message, progress),
      isListedAfter: () => true,
      onSettled() {},
    });
    scheduler.start([deploy('edge-h1')]);
    await settle();
    await settle();
    assert.deepEqual(
      taken.map(({ state, progress, message }) => [state, progress, message]),
      [
        ['running', undefined, 'r'],
        ['running', 0.4, 'uploading engine edge-h1'],
        ['success', undefined, 'r'],
      ],
    );
    await scheduler.close();
  });
});

describe('notes of a controller', () => {
  it('show an engine deployed, its canary, and the other members of its host as one thing', async () => {
    const vms = Array.from({ length: 24 }, (_, index) => `app${index}`);
    const harness = new Harness(datacenterOf({ h1: vms }));
    const { notes } = harness.datacenter;
    harness.datacenter.slow('deployEngine', 60_000);
    await harness.start();
    try {
      await applyShop(harness);
      await harness.until('the engine is being deployed', () => notes.length > 0);
      await harness.run(3000);
      harness.datacenter.heal();
      await harness.until('it serves', async () => (await harness.service('web')) === 'serving');
      await harness.run(2000);
    } finally {
      await harness.stop();
    }
    const deployed = notes.filter(({ kind }) => kind === 'engine-deployed');
    assert.deepEqual(
      deployed.map(({ state, progress, engine }) => [state, progress, engine]),
      [
        ['running', undefined, 'edge-h1'],
        ['running', 1, 'edge-h1'],
        ['success', undefined, 'edge-h1'],
      ],
    );
    const bent = notes.filter(({ kind }) => kind === 'path-bent');
    assert.deepEqual([bent[0]?.state, bent[1]?.state], ['running', 'success'], 'the canary is alone');
    const batch = bent.filter(({ id }) => id.startsWith('batch:'));
    assert.deepEqual([batch[0]?.state, batch.at(-1)?.state], ['running', 'success']);
    assert.equal(batch.at(-1)?.message, '23 ports');
    assert.equal(new Set(batch.map(({ id }) => id)).size, 1);
    const each = bent.filter(({ vm, state }) => vm !== null && state === 'success');
    assert.equal(new Set(each.map(({ vm }) => vm)).size, 24, 'an event for each');
  });
});
