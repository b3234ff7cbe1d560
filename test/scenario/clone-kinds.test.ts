/**
 * Every kind of clone that vCenter can make, in the simulated vCenter and with its packets: a pool grows by one of each,
 * each of them serves in line, and all of them go again.
 */
import assert from 'node:assert/strict';
import { readLabStatus } from '../../src/lab/control.ts';
import { REFS } from '../../src/lab/vcenter/state.ts';
import type { SystemStatus } from '../../src/policy/answers.ts';
import type { AutoscaleStatus } from '../../src/policy/autoscale.ts';
import type { PoolSpec } from '../../src/policy/pool.ts';
import { readVmMark } from '../../src/vcenter/marks.ts';
import { RestClient } from '../../src/vcenter/rest.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { vmRef } from '../../src/vcenter/vm.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { failuresOf } from './traffic.ts';

const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103'].map((address) => ({ address, port: 80 }));
const MEMBERS = 6;
const KINDS: readonly { name: string; spec: object }[] = [
  { name: 'a linked clone', spec: { source: { kind: 'linked', snapshot: 'golden' } } },
  { name: 'a template', spec: { source: { kind: 'template', template: 'shop-golden' } } },
  {
    name: 'a library item',
    spec: { source: { kind: 'library-item', library: 'machines', item: 'shop-item' } },
  },
  { name: 'a customised clone', spec: { source: { kind: 'full' }, customisation: 'lab-linux' } },
];

describe('a pool of the simulated vCenter that grows by each kind of clone', function () {
  this.timeout(120_000);
  const never = new AbortController().signal;
  let lab: ScenarioLab;
  let session: VcenterSession;
  let ids: Map<string, string>;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('ck', 'vcenter');
    const { vms, vcenter } = await readLabStatus(lab.session, never);
    const { url: address, user, password, thumbprintSha256: thumbprint } = vcenter!;
    session = new VcenterSession({ address, user, password: () => password, thumbprint });
    await session.connect(never);
    ids = new Map(vms.map(({ name, id }) => [name, id]));
    await makeSources();
    await lab.until(
      'every member is up and in line',
      ({ members }) => members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted),
      30_000,
    );
    lab.client.startLoad(WEB, { workers: 4, pauseMs: 20, timeoutMs: 4000 });
  });
  after(async () => {
    await session?.close();
    await lab?.close();
  });

  /** What an administrator prepares: a snapshot of each member, a template, and a library with a template in it. */
  async function makeSources(): Promise<void> {
    const snapshot = { name: 'golden', memory: false, quiesce: false };
    for (const [name, id] of ids) {
      if (/^app\d/.test(name)) await session.task(vmRef(id), 'CreateSnapshot_Task', snapshot, never);
    }
    const model = vmRef(ids.get('app1')!);
    const read = (await session.properties([model], ['parent', 'resourcePool', 'runtime.host'], never)).get(
      model.value,
    )!;
    const folder = read.parent as MoRef;
    const location = { pool: read.resourcePool as MoRef, host: read['runtime.host'] as MoRef };
    const clone = {
      folder,
      name: 'shop-golden',
      spec: { location, template: true, powerOn: false, config: { annotation: 'The golden shop.' } },
    };
    await session.task(model, 'CloneVM_Task', clone, never);
    const rest = new RestClient(session);
    const library = await rest.call(
      {
        method: 'POST',
        service: '/content/local-library',
        body: {
          name: 'machines',
          type: 'LOCAL',
          storage_backings: [{ type: 'DATASTORE', datastore_id: REFS.datastore.id }],
        },
        argument: 'create_spec',
      },
      never,
    );
    const body = {
      name: 'shop-item',
      source_vm: model.value,
      library,
      placement: { folder: folder.value, resource_pool: location.pool.value },
    };
    const service = '/vcenter/vm-template/library-items';
    await rest.call({ method: 'POST', service, body, argument: 'spec' }, never);
  }

  /** Methods of the tasks that vCenter has lately done to an object; none for what is no object of its own. */
  async function tasksOf(id: string): Promise<string[]> {
    if (!id.startsWith('vm-')) return [];
    const { recentTask } = (await session.properties([vmRef(id)], ['recentTask'], never)).get(id)!;
    const infos = await session.properties(recentTask as MoRef[], ['info'], never);
    return [...infos.values()].map(({ info }) => (info as Vim<'TaskInfo'>).name ?? '');
  }

  async function apply(autoscale: object): Promise<void> {
    const pool = await lab.controller.get('pool', 'shop');
    const { autoscale: _, ...spec } = pool.spec as PoolSpec;
    const common = { min: MEMBERS, max: 12, readyTimeoutMs: 30_000, drainTimeoutMs: 5000 };
    await lab.controller.apply([{ ...pool, spec: { ...spec, autoscale: { ...common, ...autoscale } } }]);
  }
  const scalingOf = ({ pools }: SystemStatus): AutoscaleStatus | undefined =>
    pools.find(({ name }) => name === 'shop');

  for (const [index, { name, spec }] of KINDS.entries()) {
    it(`by ${name}, which serves in line`, async () => {
      const clone = `shop-${index + 1}`;
      await apply({ ...spec, size: MEMBERS + index + 1 });
      const grown = await lab.until(
        `${clone} is ready and in line`,
        (status) =>
          scalingOf(status)?.clones.some((one) => one.vm === clone && one.phase === 'ready') === true &&
          status.members.some(
            ({ vm, isIntercepted, health }) => vm === clone && isIntercepted && health === 'up',
          ),
        40_000,
      );
      assert.equal(scalingOf(grown)?.clones.length, index + 1);
      const isServing = () => lab.client.results.some(({ vm, error }) => vm === clone && error === null);
      await lab.until(`${clone} answers requests`, isServing, 40_000);
      const { vms } = await readLabStatus(lab.session, never);
      const made = vms.find((vm) => vm.name === clone)!;
      const model = vms.find((vm) => vm.name === 'app1')!;
      const path = 'config.annotation';
      const notes = (await session.properties([vmRef(made.id)], [path], never)).get(made.id)![path] as string;
      const mark = readVmMark(notes);
      assert.equal(mark?.isComplete, true);
      const macs = [...made.nics, ...model.nics].map(({ mac }) => mac);
      assert.equal(new Set(macs).size, macs.length, 'it has MACs of its own');
      if (name === 'a template') assert.match(notes, /^The golden shop\./);
      // What vCenter was asked for it: a clone of which VM, or none, for a library deploys by REST.
      const done = await tasksOf(made.id);
      assert.equal(done.includes('CustomizeVM_Task'), name === 'a customised clone', done.join());
      const origin = mark?.cloneOf ?? '';
      const cloned = (await tasksOf(origin)).includes('CloneVM_Task');
      assert.equal(cloned, name !== 'a library item', `${origin} was cloned`);
    });
  }

  it('and lets all of them go again, without a lost request, and what they were made from stays', async () => {
    await apply({ size: MEMBERS });
    await lab.until('they are gone', (status) => scalingOf(status)?.clones.length === 0, 40_000);
    lab.client.stopLoad();
    const names = (await readLabStatus(lab.session, never)).vms.map(({ name }) => name);
    assert.deepEqual(
      names.filter((name) => /^shop-\d/.test(name)),
      [],
    );
    assert.ok(names.includes('shop-golden'));
    assert.deepEqual(failuresOf(lab.client.results), []);
    assert.ok(lab.client.requests > 200, `${lab.client.requests} requests`);
  });
});
