import assert from 'node:assert/strict';
import { setImmediate as immediate } from 'node:timers/promises';
import { Notes } from '../../src/controller/notes.ts';
import type { Step } from '../../src/controller/step.ts';
import type { Note, Platform } from '../../src/hypervisor/platform.ts';
import { FakeClock } from './fake-clock.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

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
});
