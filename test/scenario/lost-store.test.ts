/**
 * The controller's store is lost while everything runs: no bent path is cut, with a backup or without. On the plain lab,
 * and where the controller knows no more than the vCenter's address, credentials and thumbprint.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControllerClient } from '../../src/cli/controller-client.ts';
import { controllerOf } from '../../src/cli/lab-run.ts';
import { bringUp } from '../../src/cli/lab-up.ts';
import { readLabStatus } from '../../src/lab/control.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { killProcess, readPidFile } from '../../src/lab/world/process.ts';
import { KINDS } from '../../src/policy/registry.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103'].map((address) => ({ address, port: 80 }));

for (const [letter, kind] of [
  ['s', 'lab'],
  ['t', 'vcenter'],
] as const)
  describe(`a controller whose store is lost, cloud ${kind}`, function () {
    this.timeout(180_000);
    const signal = new AbortController().signal;
    let lab: ScenarioLab;
    let controller: ControllerClient;
    let directory: string;

    before(async function () {
      requireRoot(this, 'scenarios in the lab');
      directory = mkdtempSync(join(tmpdir(), 'weft-lost-store-'));
      lab = await startScenarioLab(letter, kind);
      controller = lab.controller;
    });
    after(async () => {
      await lab?.close();
      if (directory) rmSync(directory, { recursive: true });
    });

    const weft = (...args: string[]) => {
      const done = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
        encoding: 'utf8',
      });
      return { ...done, text: done.stdout + done.stderr };
    };
    const engines = async () =>
      (await readLabStatus(lab.session, signal)).vms
        .filter((vm) => vm.engine)
        .map((vm) => `${vm.id} ${vm.pid}`)
        .sort();
    const bent = async () => (await controller.adoption('lab')).nics.map(({ vm }) => vm);
    const loseController = async (isStoreLost: boolean) => {
      const paths = labPaths(lab.name);
      const running = readPidFile(paths.controllerPid);
      if (running) await killProcess(running);
      if (isStoreLost) rmSync(paths.controllerState, { recursive: true });
    };
    const startController = async () => {
      const running = await bringUp({
        lab: lab.name,
        policyFiles: [],
        withController: true,
        onProgress: () => {},
        signal,
      });
      controller = controllerOf(running);
    };
    const until = async (what: string, isTrue: () => Promise<boolean>, limitMs = 30_000) => {
      const deadline = performance.now() + limitMs;
      while (!(await isTrue())) {
        if (performance.now() > deadline) {
          assert.fail(`not within ${limitMs} ms: ${what}; ${JSON.stringify(await controller.status())}`);
        }
        await sleep(100);
      }
    };
    const allServe = async () => {
      const { services, engines: all, operations } = await controller.status();
      return (
        services.length > 0 &&
        operations.length === 0 &&
        services.every(({ state }) => state === 'serving') &&
        all.every(({ state }) => state === 'ready')
      );
    };
    /** Failed requests of a load that goes on while `work` runs. */
    const underLoad = async (work: () => Promise<void>) => {
      lab.client.forget();
      lab.client.startLoad(WEB, { workers: 6, pauseMs: 20, timeoutMs: 3000 });
      try {
        await work();
        await sleep(500);
      } finally {
        lab.client.stopLoad();
      }
      // Those that still wait for their answer belong to this load.
      await sleep(3500);
      const failed = lab.client.results.filter(({ error }) => error !== null);
      return { requests: lab.client.results.length, failed };
    };

    it('loses no request and changes nothing while it waits, nor when a backup is restored', async () => {
      const file = join(directory, 'backup.json');
      const taken = weft('backup', file, '--lab', lab.name);
      assert.equal(taken.status, 0, taken.text);
      const before = await engines();
      assert.equal(before.length, 3);
      const cloud = await controller.get('cloud', 'lab');
      const { requests, failed } = await underLoad(async () => {
        await loseController(true);
        await startController();
        // Even a policy that asks for nothing leads to nothing.
        await controller.apply([{ kind: 'cloud', name: 'lab', spec: cloud.spec }]);
        await until('the cloud is held', async () =>
          /held|foreign/.test((await controller.status()).clouds[0]?.state ?? ''),
        );
        await sleep(8000);
        assert.deepEqual(await engines(), before);
        assert.equal((await bent()).length, 6);
        const shown = weft('adopt', 'lab', '--lab', lab.name);
        assert.equal(shown.status, 0, shown.text);
        assert.match(shown.text, /edge-h1 +h1 +removed +app1, app2/);
        assert.equal(weft('adopt', 'lab', '--lab', lab.name, '--yes').status, 4);

        await loseController(true);
        const restored = weft('restore', file, '--state', labPaths(lab.name).controllerState);
        assert.equal(restored.status, 0, restored.text);
        await startController();
        await until('everything serves as before', allServe);
        await sleep(6000);
      });
      assert.deepEqual(await engines(), before, 'the same processes forward');
      assert.ok(requests > 500, `${requests} requests`);
      assert.deepEqual(failed.slice(0, 3), [], `${failed.length} of ${requests}`);
    });

    it('comes back without a backup: the policy from the cloud, and the engines told of the new controller', async () => {
      const before = await engines();
      const cloud = await controller.get('cloud', 'lab');
      const names = async () =>
        (await Promise.all(KINDS.map(({ name }) => controller.list(name))))
          .flat()
          .map((one) => `${one.kind} ${one.name} ${JSON.stringify(one.spec)}`);
      const policies = await names();
      assert.ok(policies.length > 5, `${policies.length} objects`);
      for (const [index, target] of WEB.entries()) lab.client.startSteady(`held-${index}`, target, 50);
      await until('connections are held', async () => lab.client.steady.size === WEB.length);
      const { requests, failed } = await underLoad(async () => {
        await loseController(true);
        await startController();
        // Where the cloud is, how to log in, and its thumbprint: all that anybody has to know.
        await controller.apply([{ kind: 'cloud', name: 'lab', spec: cloud.spec }]);
        await until('the cloud is held', async () =>
          /held|foreign/.test((await controller.status()).clouds[0]?.state ?? ''),
        );
        assert.deepEqual(await engines(), before);
        assert.match(weft('adopt', 'lab', '--lab', lab.name).text, /virtual-service +\w+ +not here/);
        const file = join(directory, 'kept.yaml');
        const written = weft('adopt', 'lab', '--policy-to', file, '--lab', lab.name);
        assert.equal(written.status, 0, written.text);
        assert.equal(weft('apply', '--dry-run', '-f', file, '--lab', lab.name).status, 0);
        const adopted = weft('adopt', 'lab', '--yes', '--apply-policy', '--lab', lab.name);
        assert.equal(adopted.status, 0, adopted.text);
        await until('everything serves again', allServe, 90_000);
      });
      assert.deepEqual(await names(), policies, 'the policy is as it was');
      assert.deepEqual(await engines(), before, 'the same processes forward');
      assert.equal((await bent()).length, 6);
      assert.ok(requests > 500, `${requests} requests`);
      assert.deepEqual(failed.slice(0, 3), [], `${failed.length} of ${requests}`);
      assert.deepEqual([...lab.client.steadyBroken.values()], [], 'connections that were open go on');
      lab.client.stopSteady();
      const after = await underLoad(async () => void (await sleep(2000)));
      assert.deepEqual(after.failed, []);
    });
  });
