/** How many requests may go to a member again: by the clock of the test, and in a proxy whose member refuses. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RetryBudget } from '../../../src/engine-vm/http/retry-budget.ts';
import { freePort, ProxySite, request } from './proxy-site.ts';
import { RecordingOrigin } from './recording-origin.ts';

describe('the budget of retries', () => {
  it('is never more than its share of ten seconds of requests, and never less than that of five', () => {
    const steps = fc.array(fc.record({ afterMs: fc.nat(4000), requests: fc.nat(50), retries: fc.nat(30) }), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(steps, fc.nat(100), fc.nat(2), (list, percent, perSecond) => {
        const budget = new RetryBudget({ percent, perSecond });
        const requests: number[] = [];
        const retries: number[] = [];
        let nowMs = 1000;
        for (const step of list) {
          nowMs += step.afterMs;
          for (let n = 0; n < step.requests; n++) {
            budget.began(nowMs);
            requests.push(nowMs);
          }
          const within = (times: number[], ms: number): number =>
            times.filter((at) => nowMs - at < ms).length;
          for (let n = 0; n < step.retries; n++) {
            const may = budget.take(nowMs);
            const most = (within(requests, 10_000) * percent) / 100 + perSecond * 10;
            const least = (within(requests, 5000) * percent) / 100 + perSecond * 10;
            if (may) retries.push(nowMs);
            if (may) assert.ok(within(retries, 5000) <= most + 1e-9);
            else assert.ok(within(retries, 10_000) + 1 > least - 1e-9);
          }
        }
      }),
    );
  });

  it('keeps a proxy from asking on', async () => {
    const origin = new RecordingOrigin();
    const port = await origin.listen();
    const nobody = await freePort();
    const retryBudget = { percent: 0, perSecond: 0 };
    const site = await ProxySite.start([nobody, port], { retryBudget });
    try {
      const answers = [await site.talk(request('GET /')), await site.talk(request('GET /'))];
      assert.equal(answers.filter((answer) => answer.startsWith('HTTP/1.1 200 ')).length, 1);
      assert.equal(answers.filter((answer) => answer.startsWith('HTTP/1.1 502 ')).length, 1);
      assert.deepEqual((await site.workers.figures())[0]!.retries, { done: 0, refused: 1 });
    } finally {
      await site.stop();
      await origin.close();
    }
  });
});
