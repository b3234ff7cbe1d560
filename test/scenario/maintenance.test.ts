/** Hosts in maintenance and members that DRS moves, under traffic: what is lost, and for how long. */
import assert from 'node:assert/strict';
import type { RequestResult } from '../../src/cli/lab-run/client.ts';
import { findVm } from '../../src/cli/lab-session.ts';
import { readLabStatus, setMaintenance } from '../../src/lab/control.ts';
import { migrateVm } from '../../src/lab/vm.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103'];

for (const cloud of ['lab', 'vcenter'] as const) {
  describe(`maintenance of a host under traffic, cloud ${cloud}`, function () {
    this.timeout(120_000);
    const signal = new AbortController().signal;
    let lab: ScenarioLab;

    before(async function () {
      requireRoot(this, 'scenarios in the lab');
      lab = await startScenarioLab(cloud === 'lab' ? 'm' : 'mv', cloud);
    });
    after(async () => lab?.close());

    const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const status = () => readLabStatus(lab.session, signal);
    const runningOn = async (host: string) =>
      (await status()).vms.filter((vm) => vm.host === host && vm.power === 'on').map(({ name }) => name);

    /** As an administrator or DRS does it: nobody asks Weft. */
    async function move(name: string, host: string): Promise<void> {
      const { vms, vcenter } = await status();
      const vm = findVm({ vms } as Awaited<ReturnType<typeof status>>, name);
      if (!vcenter) return migrateVm(lab.session, vm.id, host, signal);
      const { url, user, password, thumbprintSha256: thumbprint } = vcenter;
      const session = new VcenterSession({ address: url, user, password: () => password, thumbprint });
      const target = { type: 'HostSystem', value: `host-1${host.slice(1)}` };
      const ref = { type: 'VirtualMachine', value: vm.id };
      await session.task(ref, 'RelocateVM_Task', { spec: { host: target } }, signal);
      await session.close();
    }

    async function underLoad(work: () => Promise<unknown>): Promise<RequestResult[]> {
      lab.client.forget();
      const beganAt = performance.timeOrigin + performance.now();
      lab.client.startLoad(
        WEB.map((address) => ({ address, port: 80 })),
        { workers: 8, pauseMs: 10, timeoutMs: 4000 },
      );
      await sleep(300);
      try {
        await work();
      } finally {
        lab.client.stopLoad();
      }
      await sleep(300);
      return lab.client.results.filter(({ startedAt }) => startedAt >= beganAt);
    }
    const failuresOf = (results: readonly RequestResult[]) =>
      results.filter(({ error }) => error !== null).map(({ address, error }) => `${address}: ${error}`);
    const whole = () =>
      lab.until(
        'everything serves',
        ({ services, engines, members }) =>
          services.every(({ state }) => state === 'serving') &&
          engines.length === 3 &&
          engines.every(({ state }) => state === 'ready') &&
          members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted),
        30_000,
      );

    async function untilMaintenance(host: string, state: 'in' | undefined): Promise<void> {
      const deadline = performance.now() + 30_000;
      for (;;) {
        const found = (await status()).hosts.find(({ id }) => id === host);
        if (found?.maintenance?.state === state) return;
        if (performance.now() > deadline) throw new Error(`after 30 s: ${JSON.stringify(found)}`);
        await sleep(50);
      }
    }

    it('loses no request while a host goes into maintenance and comes back', async () => {
      await whole();
      const members = (await runningOn('h2')).filter((name) => !name.startsWith('edge-'));
      assert.ok(members.length > 0);
      const beganAt = performance.now();
      let tookMs = 0;
      const results = await underLoad(async () => {
        await setMaintenance(lab.session, 'h2', 'enter', signal);
        await untilMaintenance('h2', 'in');
        tookMs = Math.round(performance.now() - beganAt);
        await sleep(500);
      });
      assert.deepEqual(await runningOn('h2'), [], 'neither members nor the engine run there');
      const engine = (await lab.controller.status()).engines.find(({ id }) => id === 'edge-h2');
      assert.equal(engine?.state, 'maintenance');
      assert.deepEqual(failuresOf(results), [], `${results.length} requests`);
      const back = await underLoad(async () => {
        await setMaintenance(lab.session, 'h2', 'exit', signal);
        await lab.until('its engine is ready', ({ engines }) =>
          engines.some(({ id, state }) => id === 'edge-h2' && state === 'ready'),
        );
        for (const name of members) {
          await move(name, 'h2');
          await sleep(300);
        }
        await whole();
      });
      assert.deepEqual(failuresOf(back), [], `${back.length} requests on the way back`);
      console.log(
        `      ${cloud}: into maintenance in ${tookMs} ms, ${results.length} and ${back.length} requests, none lost`,
      );
    });

    if (cloud === 'vcenter') {
      it('puts a member that is moved to a host without an engine back in time', async () => {
        const web = await lab.controller.get('virtual-service', 'web');
        const services = ['web', 'basket'];
        const objects = await Promise.all(
          services.map((name) => lab.controller.get('virtual-service', name).catch(() => web)),
        );
        await lab.controller.apply(
          objects.map((object) => ({
            ...object,
            spec: { ...(object.spec as object), hosts: ['h1', 'h2'] },
          })),
        );
        const deadline = performance.now() + 10_000;
        while ((await status()).vms.some((vm) => vm.engine !== null && vm.host === 'h3')) {
          assert.ok(performance.now() < deadline, 'the engine on h3 goes');
          await sleep(50);
        }
        const direct = { address: '10.77.0.12', port: 8080 };
        assert.equal((await lab.client.get(direct)).error, null);
        const gaps: number[] = [];
        for (let round = 0; round < 3; round++) {
          const answers: number[] = [];
          let isOver = false;
          const asking = (async () => {
            while (!isOver) {
              const { error } = await lab.client.get(direct, 50);
              if (error === null) answers.push(performance.now());
            }
          })();
          await sleep(200);
          await move('app2', 'h3');
          await sleep(2500);
          isOver = true;
          await asking;
          const waits = answers.slice(1).map((at, index) => at - answers[index]!);
          gaps.push(Math.round(Math.max(...waits)));
          const app2 = findVm(await status(), 'app2');
          assert.equal(app2.nics[0]?.segment, 'prod', 'it is on production');
          assert.equal((await lab.client.get(direct)).error, null);
          await move('app2', 'h1');
          await lab.until('app2 is in line on h1', ({ members }) =>
            members.some((one) => one.vm === 'app2' && one.host === 'h1' && one.isIntercepted),
          );
        }
        console.log(
          `      vcenter: silent for at most ${gaps.join(', ')} ms when moved to a host without an engine`,
        );
      });
    }
  });
}
