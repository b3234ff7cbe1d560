/** A pool that grows by a clone under load, which then serves, and shrinks again without cutting a connection. */
import assert from 'node:assert/strict';
import { controllerOf } from '../../src/cli/lab-run.ts';
import { bringUp } from '../../src/cli/lab-up.ts';
import { readLabStatus } from '../../src/lab/control.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { killProcess, readPidFile } from '../../src/lab/world/process.ts';
import type { SystemStatus } from '../../src/policy/answers.ts';
import type { AutoscaleStatus } from '../../src/policy/autoscale.ts';
import type { PoolSpec, PoolStatus } from '../../src/policy/pool.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103'].map((address) => ({ address, port: 80 }));
const AUTOSCALE = {
  min: 6,
  max: 7,
  targets: { connectionsPerMember: 10 },
  scaleOut: { afterMs: 1000, cooldownMs: 2000 },
  scaleIn: { afterMs: 1500, cooldownMs: 2000 },
  readyTimeoutMs: 30_000,
  drainTimeoutMs: 60_000,
};

for (const cloud of ['lab', 'vcenter'] as const) {
  describe(`a pool that scales, cloud ${cloud}`, function () {
    this.timeout(120_000);
    const signal = new AbortController().signal;
    let lab: ScenarioLab;

    before(async function () {
      requireRoot(this, 'scenarios in the lab');
      lab = await startScenarioLab(cloud === 'lab' ? 'a' : 'av', cloud);
      await lab.until('every member is up and in line', ({ members }) =>
        members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted),
      );
    });
    after(async () => lab?.close());

    const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const scalingOf = ({ pools }: SystemStatus): AutoscaleStatus | undefined =>
      pools.find(({ name }) => name === 'shop');
    const vmNames = async () => (await readLabStatus(lab.session, signal)).vms.map(({ name }) => name);

    async function apply(autoscale: object | undefined): Promise<void> {
      const pool = await lab.controller.get('pool', 'shop');
      const { autoscale: _, ...spec } = pool.spec as PoolSpec;
      await lab.controller.apply([{ ...pool, spec: { ...spec, ...(autoscale ? { autoscale } : {}) } }]);
    }

    it('grows by a clone that serves, drains it when the load is gone, and loses no request on the way', async () => {
      await apply(AUTOSCALE);
      lab.client.startLoad(WEB, { workers: 6, pauseMs: 10, timeoutMs: 4000 });
      try {
        const held = await Promise.all(
          WEB.map((target, index) =>
            lab.client.hold(`crowd-${index}`, { ...target, from: `10.77.0.${40 + index}` }, 26),
          ),
        );
        assert.deepEqual(
          held.map(({ open }) => open),
          [26, 26, 26],
          JSON.stringify(held),
        );
        const grown = await lab.until(
          'a clone is ready and in line',
          (status) =>
            scalingOf(status)?.clones[0]?.phase === 'ready' &&
            status.members.some(
              ({ vm, isIntercepted, health }) => vm === 'shop-1' && isIntercepted && health === 'up',
            ),
          60_000,
        );
        const [decision] = scalingOf(grown)?.decisions ?? [];
        assert.deepEqual([decision?.from, decision?.to], [6, 7]);
        assert.match(decision?.reason ?? '', /connections per member, target 10/);
        assert.ok((decision?.figures.connectionsPerMember ?? 0) > 11, JSON.stringify(decision));

        const isServing = () => lab.client.results.some(({ vm, error }) => vm === 'shop-1' && error === null);
        await lab.until('the clone answers requests', isServing, 10_000);
        // Connections that begin now are the clone's, for it has the fewest; they stay when the crowd leaves.
        const late = await lab.client.hold('late', { ...WEB[0]!, from: '10.77.0.45' }, 12);
        assert.equal(late.open, 12, late.errors[0]);
        const carried = await lab.until('the clone carries some of them', ({ members }) =>
          members.some(
            ({ vm, pool, connections }) => vm === 'shop-1' && pool === 'shop' && (connections ?? 0) >= 3,
          ),
        );
        assert.equal(scalingOf(carried)?.figures.size, 7);

        for (const index of [0, 1, 2]) assert.equal(await lab.client.release(`crowd-${index}`), 0);
        await lab.until(
          'the clone drains',
          (status) => scalingOf(status)?.clones[0]?.phase === 'draining',
          30_000,
        );
        await sleep(4000);
        const draining = await lab.controller.status();
        assert.equal(scalingOf(draining)?.clones[0]?.phase, 'draining', 'it waits for its connections');
        assert.ok((await vmNames()).includes('shop-1'));
        lab.client.forget();
        await sleep(1000);
        const newFlows = lab.client.results.filter(({ vm }) => vm === 'shop-1').length;
        assert.equal(newFlows, 0, 'and gets no new ones');
        assert.equal(await lab.client.release('late'), 0, 'none of its connections was cut');
        await lab.until('the clone is gone', (status) => scalingOf(status)?.clones.length === 0, 30_000);
        assert.ok(!(await vmNames()).includes('shop-1'));
      } finally {
        lab.client.stopLoad();
      }
      await sleep(300);
      assert.equal(
        lab.client.failed,
        0,
        JSON.stringify(lab.client.results.filter(({ error }) => error).slice(0, 3)),
      );
      assert.ok(lab.client.requests > 500, `${lab.client.requests} requests`);
    });

    it('measures its members, and shows what it measured', async () => {
      const status = await lab.until(
        'every member is measured',
        ({ members }) =>
          members.every(({ cpuPercent, memoryBytes }) => cpuPercent !== null && memoryBytes !== null),
        60_000,
      );
      const app1 = status.members.find(({ vm }) => vm === 'app1')!;
      assert.ok(app1.memoryBytes! > 10_000_000 && app1.cpuPercent! <= 100, JSON.stringify(app1));
      const pool = (await lab.controller.get('pool', 'shop')).status as PoolStatus;
      assert.equal(pool.members.length, 6);
    });

    it('is as large as a person says, and takes its clones away again', async () => {
      await apply({ ...AUTOSCALE, max: 8, size: 8, drainTimeoutMs: 5000 });
      await lab.until(
        'two clones are ready',
        (status) => {
          const scaling = scalingOf(status);
          return scaling?.clones.length === 2 && scaling.clones.every(({ phase }) => phase === 'ready');
        },
        60_000,
      );
      await apply({ ...AUTOSCALE, max: 8, size: 6, drainTimeoutMs: 5000 });
      await lab.until('they are gone', (status) => scalingOf(status)?.clones.length === 0, 60_000);
      assert.deepEqual(
        (await vmNames()).filter((name) => name.startsWith('shop-')),
        [],
      );
      assert.deepEqual(await lab.controller.plan([]), []);
    });

    it('goes on with its clones after the controller was killed in the middle, and makes none twice', async () => {
      const before = (await vmNames()).length;
      await apply({ ...AUTOSCALE, max: 9, size: 9 });
      await lab.until('clones are on their way', (status) => (scalingOf(status)?.figures.coming ?? 0) > 0);
      await killProcess(readPidFile(labPaths(lab.name).controllerPid)!);
      const running = await bringUp({
        lab: lab.name,
        policyFiles: [],
        withController: true,
        onProgress: () => {},
        signal,
      });
      const controller = controllerOf(running);
      const deadline = performance.now() + 60_000;
      for (;;) {
        const status = await controller.status();
        const ready = scalingOf(status)?.clones.filter(({ phase }) => phase === 'ready') ?? [];
        if (ready.length === 3 && status.members.every(({ health }) => health === 'up')) break;
        if (performance.now() > deadline) assert.fail(JSON.stringify(status.pools));
        await sleep(100);
      }
      assert.equal((await vmNames()).length, before + 3);
    });
  });
}
