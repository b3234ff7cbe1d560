/** How long a listing may take, and what a cloud says of itself when a part of it cannot be read. */
import assert from 'node:assert/strict';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('a listing', () => {
  let harness: Harness;
  const cloud = async () => (await harness.status()).clouds[0]!;

  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'] }));
    await harness.start();
    await applyShop(harness);
    await harness.until('the cloud is listed', async () => (await cloud())?.state === 'connected');
  });
  afterEach(async () => {
    harness.datacenter.listing = null;
    await harness.stop();
  });

  /** Resolves when the clock has gone on, or rejects with the signal. */
  const pass = (ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const cancel = harness.clock.after(ms, resolve);
      signal.addEventListener('abort', () => {
        cancel();
        reject(signal.reason);
      });
    });
  const changeSomething = () =>
    harness.datacenter.change((state) => {
      state.vms.push(structuredClone(datacenterOf({ h1: ['app2'] }).vms[0]!));
    });
  /** The next listings take seventy seconds, and tell every `aliveMs` that they get on. */
  const slowDown = (aliveMs: number) => {
    const made = { ended: 0, cut: 0 };
    harness.datacenter.listing = async (alive, signal) => {
      try {
        for (let passed = 0; passed < 70_000; passed += aliveMs) {
          await pass(aliveMs, signal);
          alive();
        }
        made.ended++;
      } catch (error) {
        made.cut++;
        throw error;
      }
    };
    return made;
  };

  it('that takes long and gets on is not cut', async function () {
    this.timeout(60_000);
    const made = slowDown(20_000);
    changeSomething();
    await harness.until('it has ended', () => made.ended + made.cut > 0, 100_000);
    assert.deepEqual(made, { ended: 1, cut: 0 });
    assert.equal((await cloud()).state, 'connected');
  });

  it('of which nothing arrives for half a minute is given up, and the cloud says so', async function () {
    this.timeout(60_000);
    const made = slowDown(70_000);
    changeSomething();
    await harness.until('it has ended', () => made.ended + made.cut > 0, 100_000);
    assert.deepEqual(made, { ended: 0, cut: 1 });
    await harness.until('it says so', async () => (await cloud())?.state === 'unreachable');
    assert.match((await cloud()).message, /its inventory did not arrive in time/);
  });

  it('with a part that cannot be read bears a warning in the status until it can', async () => {
    harness.datacenter.disguise = (inventory) => ({
      ...inventory,
      warnings: ['its tags stay as they were: the tagging service answered 503'],
    });
    changeSomething();
    await harness.until('it warns', async () =>
      /the tagging service answered 503/.test((await cloud())?.message ?? ''),
    );
    assert.equal((await cloud()).state, 'connected');
    harness.datacenter.disguise = null;
    harness.datacenter.change(() => undefined);
    await harness.until('it warns no more', async () => (await cloud()).message === '');
  });
});
