/** Who drives a vCenter: two controllers that claim it at once, one that takes it over, and a user that may not write. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/controller/clock.ts';
import { Ownership } from '../../src/controller/ownership.ts';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

describe('ownership of a vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  let paper: PaperVcenter;
  let platforms: Platform[];

  beforeEach(async () => {
    paper = await startPaperVcenter();
    platforms = [];
  });
  afterEach(async () => {
    for (const platform of platforms) await platform.close();
    await paper.stop();
  });

  /** A controller with a store and a session of its own. */
  function claimant(instance: string) {
    const platform = paper.open();
    platforms.push(platform);
    const ousted: string[] = [];
    const ownership = new Ownership({
      cloud: 'vc1',
      identity: { instance, life: `${instance}-1`, name: 'ctl' },
      isIdle: () => true,
      onOusted: (reason) => void ousted.push(reason),
      clock: systemClock,
      log,
    });
    return { platform, ownership, ousted, check: () => ownership.check(platform) };
  }

  async function settle(...all: ReturnType<typeof claimant>[]): Promise<void> {
    const deadline = performance.now() + 8000;
    for (;;) {
      await Promise.all(all.map((one) => one.check()));
      const pending = all.filter(({ ownership }) => /being claimed|not known/.test(ownership.reason ?? ''));
      if (pending.length === 0 || performance.now() > deadline) return;
      await sleep(100);
    }
  }

  it('goes to exactly one of two that claim it at once', async () => {
    const [a, b] = [claimant('a'), claimant('b')];
    await settle(a, b);
    const reasons = [a, b].map(({ ownership }) => ownership.reason);
    assert.equal(reasons.filter((reason) => reason === null).length, 1, reasons.join(' | '));
    const loser = a.ownership.reason === null ? b : a;
    await assert.rejects(loser.ownership.require(loser.platform, never), (error) =>
      isWeftError(error, 'ERR_CLOUD_OWNED'),
    );
  });

  it('is handed over by one that is alive', async () => {
    const [a, b] = [claimant('a'), claimant('b')];
    await settle(a);
    await settle(b);
    assert.match(b.ownership.reason ?? '', /driven by controller a on ctl.*weft cloud take-over vc1/);
    await b.ownership.takeOver(b.platform, never);
    assert.match(b.ownership.reason ?? '', /let go/);
    await a.check();
    assert.match(a.ownership.reason ?? '', /driven by controller b/);
    assert.equal(a.ousted.length, 1);
    await b.check();
    assert.equal(b.ownership.reason, null);
    await assert.rejects(a.ownership.require(a.platform, never), /driven by controller b/);
  });

  it('is driven without a record by a user that may not write one', async () => {
    paper.record.faults.push({ id: 'fault-1', kind: 'privilege', privilege: 'Global.SetCustomField' });
    const a = claimant('a');
    await a.check();
    assert.equal(a.ownership.reason, null);
    await a.ownership.require(a.platform, never);
  });
});
