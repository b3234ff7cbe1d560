/** The main job on real packets: what `npm start -- --once` checks, check by check. */
import assert from 'node:assert/strict';
import { CHECKS } from '../../src/cli/lab-run/checks.ts';
import { canRunLab, type ScenarioLab, startScenarioLab } from './running-lab.ts';

describe('main job in the lab', function () {
  this.timeout(90_000);
  let lab: ScenarioLab;

  before(async function () {
    if (!canRunLab) {
      console.log('      not run: scenarios in the lab need root');
      this.skip();
    }
    lab = await startScenarioLab('s');
  });
  after(async () => lab?.close());

  for (const check of CHECKS) {
    it(`holds: ${check.name}`, async () => {
      const { problems } = await check.run(lab.context);
      assert.deepEqual(problems, []);
    });
  }
});
