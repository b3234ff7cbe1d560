/** Faults under traffic: after each, the system is as it was, nothing is left to do, and no engine is there twice. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { takeDown } from '../../src/cli/lab-down.ts';
import { findVm } from '../../src/cli/lab-session.ts';
import { healFault, injectFault, killVm, readLabStatus } from '../../src/lab/control.ts';
import type { FaultSpec } from '../../src/lab/world/faults.ts';
import { existingNamespaces, labPaths } from '../../src/lab/world/names.ts';
import { isAlive, readPidFile } from '../../src/lab/world/process.ts';
import type { PolicyObject } from '../../src/policy/kind.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { failuresOf, sleep, underLoad, whole } from './traffic.ts';

const PROTECTED = 'prod-weft';

describe('faults under traffic', function () {
  this.timeout(40_000);
  const signal = new AbortController().signal;
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('f');
  });
  after(async () => lab?.close());

  const vms = async () => (await readLabStatus(lab.session, signal)).vms;
  const idOf = async (name: string) => findVm(await readLabStatus(lab.session, signal), name).id;
  const inject = (spec: FaultSpec) => injectFault(lab.session, spec, signal);
  const heal = (id: string) => healFault(lab.session, id, signal);

  it('changes policy without losing a request', async () => {
    const put = ({ kind, name, spec }: PolicyObject, change: (spec: never) => void = () => {}) => {
      const changed = structuredClone(spec);
      change(changed as never);
      return lab.controller.apply([{ kind, name, spec: changed }]);
    };
    const web = await lab.controller.get('virtual-service', 'web');
    const rules = await lab.controller.get('firewall-policy', 'shop-clients');
    const pool = await lab.controller.get('pool', 'shop');
    let drained: string[] = [];
    const results = await underLoad(lab, async () => {
      for (const method of [
        'round-robin',
        'weighted-round-robin',
        'source-hash',
        'maglev',
        'least-connections',
      ]) {
        await put(web, (spec: { components: { method?: string }[] }) => {
          spec.components[1]!.method = method;
        });
        await sleep(250);
      }
      await put(web);
      await put(rules, (spec: { rules: unknown[] }) => {
        spec.rules.push({ name: 'elsewhere', action: 'deny', from: ['10.99.0.0/16'] });
      });
      await sleep(300);
      await put(rules);
      await put(pool, (spec: { members: object }) => {
        spec.members = { names: ['app1', 'app3', 'app4', 'app5', 'app6'] };
      });
      await lab.until('app2 is no member', ({ members }) => members.length === 5);
      await put(pool, (spec: { weights: object[] }) => {
        spec.weights = [{ names: 'app1', weight: 5 }];
      });
      await lab.until(
        'app2 is a member again',
        ({ members }) => members.length === 6 && members.every(({ health }) => health === 'up'),
      );
      await put(pool, (spec: { drain: string[] }) => {
        spec.drain = ['app6'];
      });
      await sleep(700);
      lab.client.results.splice(
        0,
        lab.client.results.length,
        ...lab.client.results.filter((one) => one.error),
      );
      await sleep(500);
      drained = lab.client.results.filter(({ vm }) => vm === 'app6').map(({ address }) => address);
      await put(pool);
    });
    assert.deepEqual(failuresOf(results), []);
    assert.deepEqual(drained, [], 'a draining member gets no new requests');
    await whole(lab);
  });

  it('declares nobody dead after the controller itself stood still', async () => {
    const { pid } = readPidFile(labPaths(lab.name).controllerPid)!;
    const results = await underLoad(lab, async () => {
      process.kill(pid, 'SIGSTOP');
      await sleep(5000);
      process.kill(pid, 'SIGCONT');
      for (let turn = 0; turn < 20; turn++) {
        for (const vm of await vms()) {
          if (vm.engine !== null) assert.ok(vm.power === 'on' && !vm.isHung, `${vm.name} is left alone`);
          else assert.equal(vm.nics[0]!.segment, PROTECTED, `${vm.name} stays in line`);
        }
        await sleep(50);
      }
    });
    assert.deepEqual(failuresOf(results), []);
    await whole(lab);
  });

  it('survives a host whose uplink is cut, and leaves the flows of the others alone', async () => {
    const keys = ['10.77.0.11', '10.77.0.15'];
    for (const address of keys) lab.client.startSteady(address, { address, port: 8080 }, 20);
    await sleep(300);
    const { id } = await inject({ kind: 'cut', link: { host: 'h2' } });
    await sleep(3000);
    await heal(id);
    await whole(lab);
    for (const key of keys) {
      assert.equal(lab.client.steadyBroken.get(key), undefined, `the connection to ${key} broke`);
      const { maxMs } = lab.client.steady.get(key)!;
      assert.ok(maxMs < 1000, `a request on the connection to ${key} took ${maxMs} ms`);
    }
    lab.client.stopSteady();
  });

  it('keeps serving through an uplink that loses a fifth of its packets', async () => {
    const { id } = await inject({ kind: 'lose', link: { host: 'h2' }, percent: 20 });
    const results = await underLoad(lab, () => sleep(2500));
    const elsewhere = results.filter(({ host, error }) => error === null && host !== 'h2');
    assert.ok(elsewhere.length > 50, `${elsewhere.length} requests were answered by other hosts`);
    await heal(id);
    await whole(lab);
  });

  it('bypasses a hung engine although each move of a port takes a second and a half', async () => {
    const { id } = await inject({ kind: 'slow', method: 'attach', delayMs: 1500 });
    await inject({ kind: 'hang', vm: await idOf('edge-h1') });
    await lab.until('its members are bypassed', ({ members }) =>
      members.some(({ host, isIntercepted }) => host === 'h1' && !isIntercepted),
    );
    await heal(id);
    await whole(lab);
  });

  it('repeats moves that the platform refuses', async () => {
    await inject({ kind: 'fail', method: 'attach', count: 5, isReplyLost: false });
    await killVm(lab.session, await idOf('edge-h3'), signal);
    await lab.until('its members are bypassed', ({ members }) =>
      members.every(({ host, isIntercepted }) => host !== 'h3' || !isIntercepted),
    );
    await whole(lab);
    assert.deepEqual((await readLabStatus(lab.session, signal)).faults, [], 'every refusal was met');
  });

  it('makes no engine twice where the reply of its deployment is lost', async () => {
    const kind = 'virtual-service';
    const services = await lab.controller.list(kind);
    await lab.controller.apply(services.map(({ name }) => ({ kind, name, delete: true as const })));
    const deadline = performance.now() + 10_000;
    while ((await vms()).some((vm) => vm.engine !== null)) {
      assert.ok(performance.now() < deadline, 'the engines are removed within 10 s');
      await sleep(100);
    }
    await inject({ kind: 'fail', method: 'deployEngine', count: 3, isReplyLost: true });
    await lab.controller.apply(services.map(({ name, spec }) => ({ kind, name, spec })));
    await lab.until('three engines are there', ({ engines }) => engines.length === 3);
    await whole(lab);
  });

  it('leaves nothing when everything of it is killed and it is taken down', async () => {
    const paths = labPaths(lab.name);
    const refs = [paths.daemonPid, paths.controllerPid].map((file) => readPidFile(file)!);
    const guests = (await vms()).map(({ pid }) => pid).filter((pid) => pid !== null);
    for (const pid of [...refs.map((ref) => ref.pid), ...guests]) process.kill(pid, 'SIGKILL');
    await takeDown({ lab: lab.name, onProgress: () => {} });
    assert.deepEqual(existingNamespaces(lab.name), []);
    assert.ok(!existsSync(paths.runDir));
    assert.ok(!refs.some(isAlive));
    for (const pid of guests) {
      // Who has nobody to wait for it stays in the process table, without a program.
      assert.ok(!existsSync(`/proc/${pid}/exe`), `guest process ${pid} is gone`);
    }
  });
});
