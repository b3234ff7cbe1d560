/**
 * A controller that dies between any two calls of a deployment or a clone: what it leaves is found by the next one,
 * which finishes or removes it; nothing else remains. On govmomi's simulator.
 */
import assert from 'node:assert/strict';
import type { CloneSpec, EngineSpec } from '../../src/hypervisor/platform.ts';
import { type CloneContext, cloneVm } from '../../src/vcenter/clone.ts';
import { deployEngine, type EngineOptions } from '../../src/vcenter/engine.ts';
import { VcenterInventory } from '../../src/vcenter/inventory.ts';
import { readVmMark } from '../../src/vcenter/marks.ts';
import { RestClient } from '../../src/vcenter/rest.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { removeVm } from '../../src/vcenter/vm.ts';
import { type BlankOva, buildBlankOva } from './blank-ova.ts';
import { startVcsim, type Vcsim } from './vcsim.ts';

describe('a controller that dies in the middle, on vcsim', function () {
  this.timeout(180_000);
  const never = new AbortController().signal;
  const quiet = (): void => {};
  let vcsim: Vcsim;
  /** Somebody who looks on. */
  let eye: VcenterSession;
  let appliance: BlankOva;
  let host: string;
  let model: string;
  let groups: { id: string; name: string }[];

  before(async function () {
    vcsim = await startVcsim(this, { complete: true });
    eye = open();
    appliance = await buildBlankOva(never);
    const [first] = await list('VirtualMachine', ['runtime.host']);
    model = first![0];
    host = (first![1]['runtime.host'] as MoRef).value;
    groups = (await list('DistributedVirtualPortgroup', ['name']))
      .map(([id, { name }]) => ({ id, name: String(name) }))
      .filter(({ name }) => !/uplink/i.test(name));
    const [datastore] = (await list('Datastore', ['name']))[0]!;
    const storage_backings = [{ type: 'DATASTORE', datastore_id: datastore }];
    await new RestClient(eye).call(
      {
        method: 'POST',
        service: '/content/local-library',
        argument: 'create_spec',
        body: { name: 'engines', type: 'LOCAL', storage_backings },
      },
      never,
    );
  });
  after(async () => {
    appliance?.remove();
    await eye?.close();
    await vcsim?.stop();
  });

  function open(): VcenterSession {
    const { url: address, user, thumbprint } = vcsim;
    return new VcenterSession({ address, user, password: () => vcsim.password, thumbprint });
  }
  async function list(type: string, paths: string[]): Promise<[string, Record<string, unknown>][]> {
    const { rootFolder, viewManager } = await eye.connect(never);
    const args = { container: rootFolder, type: [type], recursive: true };
    const view = await eye.call(viewManager!, 'CreateContainerView', args, never);
    const { view: refs } = (await eye.properties([view], ['view'], never)).get(view.value)!;
    return [...(await eye.properties(refs as MoRef[], paths, never))].sort(([a], [b]) => (a < b ? -1 : 1));
  }
  const named = async (name: string) =>
    (await list('VirtualMachine', ['name', 'config.annotation', 'runtime.powerState'])).filter(
      ([, one]) => one.name === name,
    );
  /** Groups, rules and overrides that are ours. */
  const rules = async () => {
    const [[, { configurationEx }]] = (await list('ClusterComputeResource', ['configurationEx'])) as [
      [string, { configurationEx: Vim<'ClusterConfigInfoEx'> }],
    ];
    const { rule = [], group = [], drsVmConfig = [], dasVmConfig = [] } = configurationEx;
    return [
      ...[...rule, ...group].map(({ name }) => name ?? '').filter((name) => name.startsWith('weft-')),
      ...[...drsVmConfig, ...dasVmConfig].map(({ key }) => key.value),
    ];
  };

  /** A session of a controller that is killed when the reply to its `last`-th request has arrived; nothing follows. */
  function mortal(last: number): {
    session: VcenterSession;
    sent(): number;
    isDead(): boolean;
    kill(): void;
  } {
    const session = open();
    const { transport } = session;
    const request = transport.request.bind(transport);
    let sent = 0;
    let isDead = false;
    const kill = (): void => {
      isDead = true;
      transport.agent.createConnection = () => {
        throw new Error('killed');
      };
      transport.agent.destroy();
    };
    transport.request = async (...args) => {
      if (isDead) throw new Error('killed');
      sent++;
      const reply = await request(...args);
      if (isDead) throw new Error('killed');
      if (sent >= last) {
        kill();
        throw new Error('killed');
      }
      return reply;
    };
    return { session, sent: () => sent, isDead: () => isDead, kill };
  }
  const optionsFor = (session: VcenterSession, isFromLibrary: boolean): EngineOptions => ({
    ...appliance.options,
    ...(isFromLibrary ? { library: { name: 'engines', rest: new RestClient(session) } } : {}),
  });
  const spec = (engine: string): EngineSpec => ({
    engine,
    host,
    segments: { mgmt: groups[1]!.name, out: groups[0]!.name, in: groups[1]!.name },
    properties: { engine, controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' },
  });
  /** What a controller does that wants neither engine nor clone any more: as its plan says, from the inventory alone. */
  const sweep = async (): Promise<void> => {
    const options = { managementNetwork: groups[1]!.name, uplinkAttribute: 'u', rackCategory: 'r' };
    const session = open();
    const inventory = new VcenterInventory(session, options);
    const { vms, unfinished = [] } = await inventory.list(never);
    for (const { id } of [...unfinished, ...vms.filter(({ engine }) => engine !== null)])
      await removeVm(session, id, never);
    await inventory.close();
    await session.close();
  };

  for (const isFromLibrary of [false, true]) {
    it(`leaves one whole engine, or none, of a deployment ${isFromLibrary ? 'from a library' : 'by import'}`, async () => {
      let calls = 0;
      for (let last = 1; ; last++) {
        const { session, isDead, sent } = mortal(last);
        const work = deployEngine(session, optionsFor(session, isFromLibrary), spec('edge-1'), quiet, never);
        const error = await work.then(
          () => null,
          (reason: unknown) => reason,
        );
        calls = sent();
        if (!isDead()) break;
        // Null where it died in cleaning up after the last call.
        if (error) assert.match(String((error as Error).message), /killed/);
        const left = await named('edge-1');
        assert.ok(left.length <= 1);
        const mark = readVmMark(left[0]?.[1]['config.annotation'] as string | undefined);
        // The simulator drops the notes of what is deployed from a library: its inventory does not tell whose it is.
        if (last % 2 === 0 && (left.length === 0 || mark)) await sweep();
        else {
          const next = open();
          const vm = await deployEngine(next, optionsFor(next, isFromLibrary), spec('edge-1'), quiet, never);
          const [[id, whole], ...others] = (await named('edge-1')) as [[string, Record<string, unknown>]];
          assert.deepEqual([id, others, whole['runtime.powerState']], [vm, [], 'poweredOn'], `call ${last}`);
          assert.ok(readVmMark(whole['config.annotation'] as string)?.isComplete);
          await removeVm(next, vm, never);
          await next.close();
        }
        assert.deepEqual(await named('edge-1'), [], `after a death at call ${last}`);
        assert.deepEqual(await rules(), [], `after a death at call ${last}`);
      }
      assert.ok(calls > 20, `${calls} calls`);
      await sweep();
    });
  }

  it('leaves nothing of an import that dies while bytes are under way', async () => {
    for (const isSwept of [true, false]) {
      const { session, kill } = mortal(Number.POSITIVE_INFINITY);
      const die = (_fraction: number, what: string): void => {
        if (what.startsWith('uploading')) kill();
      };
      await assert.rejects(deployEngine(session, optionsFor(session, false), spec('edge-2'), die, never));
      assert.equal((await named('edge-2')).length, 1);
      if (!isSwept) {
        const next = open();
        await deployEngine(next, optionsFor(next, false), spec('edge-2'), quiet, never);
        assert.equal((await named('edge-2')).length, 1);
        await next.close();
      }
      await sweep();
      assert.deepEqual(await named('edge-2'), []);
      assert.deepEqual(await rules(), []);
    }
  });

  it('leaves one whole clone, or none', async () => {
    const clone: CloneSpec = { name: 'copy-1', host, customisation: 'vcsim-linux' };
    const contextOf = (session: VcenterSession): CloneContext => ({
      session,
      rest: new RestClient(session),
      lookup: () => Promise.reject(new Error('unused')),
      decorate: async () => {},
    });
    for (let last = 1; ; last++) {
      const { session, isDead } = mortal(last);
      const work = cloneVm(contextOf(session), model, clone, quiet, never);
      await work.catch((error: Error) => assert.match(error.message, /killed/));
      if (!isDead()) break;
      const left = await named('copy-1');
      assert.ok(left.length <= 1);
      if (last % 2 === 0) {
        await sweep();
        // A whole one is somebody's instance now.
        for (const [id, one] of await named('copy-1')) {
          assert.ok(readVmMark(one['config.annotation'] as string)?.isComplete);
          await removeVm(eye, id, never);
        }
      } else {
        const next = open();
        const vm = await cloneVm(contextOf(next), model, clone, quiet, never);
        const [[id, whole], ...others] = (await named('copy-1')) as [[string, Record<string, unknown>]];
        assert.deepEqual([id, others, whole['runtime.powerState']], [vm, [], 'poweredOn'], `call ${last}`);
        await removeVm(next, vm, never);
        await next.close();
      }
      assert.deepEqual(await named('copy-1'), [], `after a death at call ${last}`);
    }
  });
});
