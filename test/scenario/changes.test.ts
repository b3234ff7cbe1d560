/** What users and hypervisors do to a running lab: fail-closed, migration, clones, a controller that dies. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ControllerClient } from '../../src/cli/controller-client.ts';
import { controllerOf } from '../../src/cli/lab-run.ts';
import { findVm } from '../../src/cli/lab-session.ts';
import type { RunningLab } from '../../src/cli/lab-up.ts';
import { readLabStatus } from '../../src/lab/control.ts';
import { cloneVm, migrateVm, powerVm } from '../../src/lab/vm.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { readPidFile } from '../../src/lab/world/process.ts';
import type { SystemStatus } from '../../src/policy/answers.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
/** One address per engine: between them every member is the nearest idle one for somebody. */
const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103'].map((address) => ({ address, port: 80 }));

describe('changes to a running lab', function () {
  this.timeout(60_000);
  const signal = new AbortController().signal;
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('c');
  });
  after(async () => lab?.close());

  const idOf = async (name: string): Promise<string> =>
    findVm(await readLabStatus(lab.session, signal), name).id;

  it('answers the command line', () => {
    const run = (...args: string[]) =>
      spawnSync(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', MAIN, ...args, '--lab', lab.name],
        { encoding: 'utf8' },
      );
    const explain = run('explain', 'web', '-o', 'json');
    assert.equal(explain.status, 0, explain.stderr);
    const views = JSON.parse(explain.stdout) as { engine: string; candidates: unknown[] }[];
    assert.equal(views.length, 3, 'every engine explains');
    for (const view of views) assert.equal(view.candidates.length, 6);
    const trace = run('trace', 'web', '--from', '10.77.0.9');
    assert.equal(trace.status, 0, trace.stderr);
    assert.match(trace.stdout, /delivered to app\d/);
    const plan = run('plan');
    assert.equal(plan.status, 0, plan.stderr);
    assert.match(plan.stdout, /nothing to do/);
    const missing = run('get', 'pool', 'no-such-pool');
    assert.equal(missing.status, 3);
    assert.match(missing.stderr, /no-such-pool/);
  });

  it('follows a member to another host', async () => {
    await migrateVm(lab.session, await idOf('app2'), 'h3', signal);
    await lab.until('app2 is in line on h3', (status) =>
      status.members.some((member) => member.vm === 'app2' && member.host === 'h3' && member.isIntercepted),
    );
    const seen = new Set<string>();
    for (let index = 0; index < 40; index++) {
      const answer = await lab.client.get(WEB[index % 3]!);
      assert.equal(answer.error, null);
      seen.add(`${answer.vm}@${answer.host}`);
    }
    assert.ok(seen.has('app2@h3'), [...seen].join(' '));
    await migrateVm(lab.session, await idOf('app2'), 'h1', signal);
    await lab.until('app2 is in line on h1', (status) =>
      status.members.some((member) => member.vm === 'app2' && member.host === 'h1' && member.isIntercepted),
    );
  });

  it('takes a clone into the pool and lets it go again', async () => {
    await cloneVm(lab.session, await idOf('app1'), { name: 'app7', host: 'h2' }, () => {}, signal);
    await lab.until('app7 is in line and up', (status) =>
      status.members.some((member) => member.vm === 'app7' && member.isIntercepted && member.health === 'up'),
    );
    const seen = new Set<string>();
    for (let index = 0; index < 60; index++) seen.add((await lab.client.get(WEB[index % 3]!)).vm);
    assert.ok(seen.has('app7'), [...seen].join(' '));
    await powerVm(lab.session, await idOf('app7'), 'off', signal);
    await lab.until(
      'app7 is no member any more',
      (status) => !status.members.some((member) => member.vm === 'app7'),
    );
  });

  it('keeps serving while the controller is dead, and converges when it is back', async () => {
    await converged(lab.controller);
    const controller = readPidFile(labPaths(lab.name).controllerPid)!;
    process.kill(controller.pid, 'SIGKILL');
    for (let index = 0; index < 30; index++) {
      const answer = await lab.client.get({ address: `10.77.0.10${1 + (index % 3)}`, port: 80 });
      assert.equal(answer.error, null);
    }
    const up = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', MAIN, 'lab', 'up', '--lab', lab.name],
      { encoding: 'utf8' },
    );
    assert.equal(up.status, 0, up.stdout + up.stderr);
    await converged(reconnect(lab));
  });

  it('holds the traffic of a hung engine where the group fails closed', async () => {
    const controller = reconnect(lab);
    const group = await controller.get('engine-group', 'edge');
    await controller.apply([{ ...group, spec: { ...(group.spec as object), failMode: 'closed' } }]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const direct = { address: '10.77.0.13', port: 8080 };
    assert.equal((await lab.client.get(direct)).error, null, 'a member on h2 answers at its own address');
    await lab.context.fault('hang', 'edge-h2');
    const sawHeld = await heldWithin(controller, 3000);
    assert.ok(sawHeld, 'the engine is reported as held within 3 s');
    const app3 = findVm(await readLabStatus(lab.session, signal), 'app3');
    assert.equal(app3.nics[0]?.segment, 'prod-weft', 'its members stay on the shadow segment');
    await untilIn(controller, 'the engine is back', ({ engines }) =>
      engines.every((engine) => engine.state === 'ready'),
    );
    assert.equal((await lab.client.get(direct)).error, null, 'and its members answer again');
  });

  async function untilIn(
    controller: ControllerClient,
    what: string,
    holds: (status: SystemStatus) => boolean,
  ): Promise<void> {
    const deadline = performance.now() + 15_000;
    for (;;) {
      const status = await controller.status();
      if (holds(status)) return;
      if (performance.now() > deadline)
        throw new Error(`after 15 s still not: ${what}; ${JSON.stringify(status)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function heldWithin(controller: ControllerClient, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (performance.now() < deadline) {
      const status = await controller.status();
      const engine = status.engines.find((candidate) => candidate.id === 'edge-h2');
      if (engine?.state === 'held') {
        return true;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return false;
  }
});

/** Waits until nothing is left to be done. */
async function converged(controller: ControllerClient): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const steps = await controller.plan([]);
    if (steps.length === 0) return;
    if (performance.now() > deadline) assert.deepEqual(steps, [], 'still to be done after 10 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** After the controller was started anew its port differs. */
function reconnect(lab: ScenarioLab): ControllerClient {
  const file = readFileSync(labPaths(lab.name).clientFile, 'utf8');
  return controllerOf({ ...lab.running, controller: JSON.parse(file) as RunningLab['controller'] });
}
