/** The main job on real packets: what `npm start -- --once` checks, check by check. */
import assert from 'node:assert/strict';
import { CHECKS } from '../../src/cli/lab-run/checks.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

for (const cloud of ['lab', 'vcenter'] as const) {
  describe(cloud === 'lab' ? 'main job in the lab' : 'main job in the lab, over vCenter', function () {
    this.timeout(90_000);
    let lab: ScenarioLab;

    before(async function () {
      requireRoot(this, 'scenarios in the lab');
      lab = await startScenarioLab(cloud === 'lab' ? 's' : 'v', cloud);
    });
    after(async () => lab?.close());

    for (const check of CHECKS) {
      it(`holds: ${check.name}`, async () => {
        const { problems } = await check.run(lab.context);
        assert.deepEqual(problems, []);
      });
    }
  });
}
