/** Clones on govmomi's simulator: from a VM, a snapshot, a template; customised; waited for; taken back. */
import assert from 'node:assert/strict';
import type { CloneSpec } from '../../src/hypervisor/platform.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { type CloneContext, cloneVm } from '../../src/vcenter/clone.ts';
import { VcenterInventory } from '../../src/vcenter/inventory.ts';
import { readVmMark } from '../../src/vcenter/marks.ts';
import { nicsOf, plugOf } from '../../src/vcenter/nic.ts';
import { RestClient } from '../../src/vcenter/rest.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { powerVm, removeVm, vmRef } from '../../src/vcenter/vm.ts';
import { startVcsim, type Vcsim } from './vcsim.ts';

describe('clones on vcsim', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const quiet = (): void => {};
  let vcsim: Vcsim;
  let session: VcenterSession;
  let context: CloneContext;
  let decorated: string[];
  let hosts: string[];
  let machines: { id: string; name: string; host: string }[];

  before(async function () {
    vcsim = await startVcsim(this);
    session = new VcenterSession({
      address: vcsim.url,
      user: vcsim.user,
      password: () => vcsim.password,
      thumbprint: vcsim.thumbprint,
    });
    context = {
      session,
      rest: new RestClient(session),
      // Afresh each time: vcsim does not tell every change.
      lookup: async (signal) => {
        const inventory = new VcenterInventory(session, {
          managementNetwork: 'VM Network',
          uplinkAttribute: 'weft.uplinks',
          rackCategory: 'rack',
        });
        await inventory.list(signal);
        await inventory.close();
        return inventory;
      },
      decorate: async (clone) => void decorated.push(clone),
    };
    hosts = (await list('HostSystem', ['name'])).map(([id]) => id);
    machines = (await list('VirtualMachine', ['name', 'runtime.host'])).map(([id, read]) => ({
      id,
      name: String(read.name),
      host: (read['runtime.host'] as MoRef).value,
    }));
  });
  after(async () => {
    await session?.close();
    await vcsim?.stop();
  });
  beforeEach(() => {
    decorated = [];
  });
  afterEach(() => vcsim.clear());

  async function list(type: string, paths: string[]): Promise<[string, Record<string, unknown>][]> {
    const { rootFolder, viewManager } = await session.connect(never);
    const args = { container: rootFolder, type: [type], recursive: true };
    const view = await session.call(viewManager!, 'CreateContainerView', args, never);
    const { view: refs } = (await session.properties([view], ['view'], never)).get(view.value)!;
    return [...(await session.properties(refs as MoRef[], paths, never))].sort(([a], [b]) =>
      a < b ? -1 : 1,
    );
  }
  const read = async (vm: string, ...paths: string[]) =>
    (await session.properties([vmRef(vm)], paths, never)).get(vm)!;
  const firstNic = async (vm: string) => {
    const devices = (await read(vm, 'config.hardware.device'))['config.hardware.device'];
    return nicsOf(devices as Vim<'VirtualDevice'>[], false)[0]!.card;
  };
  const clone = (model: string | null, spec: CloneSpec, signal = never) =>
    cloneVm(context, model, spec, quiet, signal);
  const named = async (name: string) =>
    (await list('VirtualMachine', ['name', 'config.annotation'])).filter(([, one]) => one.name === name);
  const rejects = (work: Promise<unknown>, code: Parameters<typeof isWeftError>[1], message = /./) =>
    assert.rejects(work, (error) => {
      assert.ok(isWeftError(error, code), `${String(error)} has code ${code}`);
      assert.match(error.message, message);
      return true;
    });

  it('copies a VM with a MAC of its own, once, and decorates it before it counts as whole', async () => {
    const source = machines[0]!;
    const spec = { name: 'copy-1', host: hosts[1]! };
    const vm = await clone(source.id, spec);
    assert.equal(await clone(source.id, spec), vm);
    assert.deepEqual(decorated, [vm]);
    const found = await read(vm, 'name', 'runtime.host', 'runtime.powerState', 'config.annotation');
    assert.deepEqual(
      [found.name, (found['runtime.host'] as MoRef).value, found['runtime.powerState']],
      ['copy-1', spec.host, 'poweredOn'],
    );
    const mark = { engine: null, cloneOf: source.id, isComplete: true, self: vm };
    assert.deepEqual(readVmMark(found['config.annotation'] as string), mark);
    assert.notEqual((await firstNic(vm)).macAddress, (await firstNic(source.id)).macAddress);
    await rejects(clone(source.id, { name: source.name, host: source.host }), 'ERR_HYPERVISOR_REFUSED');
    await rejects(clone(machines[1]!.id, spec), 'ERR_HYPERVISOR_REFUSED', /made from vm-/);
    await rejects(clone(source.id, { ...spec, host: hosts[0]! }), 'ERR_HYPERVISOR_REFUSED', /another host/);
    await removeVm(session, vm, never);
  });

  it('takes back what is half made when a step is refused, and finishes what a crash left', async () => {
    const source = machines[0]!.id;
    const spec = { name: 'copy-2', host: hosts[1]! };
    const failing = { ...context, decorate: () => Promise.reject(new Error('no tag')) };
    await assert.rejects(cloneVm(failing, source, spec, quiet, never), /no tag/);
    assert.deepEqual(await named('copy-2'), []);

    const abort = new AbortController();
    const crash = { ...context, decorate: async () => abort.abort(new Error('killed')) };
    await assert.rejects(cloneVm(crash, source, spec, quiet, abort.signal), /killed/);
    const [[half, { 'config.annotation': notes }]] = (await named('copy-2')) as [
      [string, Record<string, string>],
    ];
    assert.equal(readVmMark(notes)?.isComplete, false);
    assert.equal(await clone(source, spec), half);
    await removeVm(session, half, never);

    // Half of another clone is no use to this one.
    const again = new AbortController();
    const other = { ...context, decorate: async () => again.abort(new Error('killed')) };
    await assert.rejects(cloneVm(other, source, spec, quiet, again.signal), /killed/);
    const vm = await clone(machines[1]!.id, spec);
    assert.equal((await named('copy-2')).length, 1);
    assert.equal(
      readVmMark((await read(vm, 'config.annotation'))['config.annotation'] as string)?.cloneOf,
      machines[1]!.id,
    );
    await removeVm(session, vm, never);
  });

  it('shares disks with a snapshot, by name or the current one, and says how to take one', async () => {
    const source = machines[2]!;
    const spec: CloneSpec = { name: 'copy-3', host: source.host, source: { kind: 'linked' } };
    await rejects(clone(source.id, spec), 'ERR_HYPERVISOR_REFUSED', /no snapshot.*snapshot\.create/);
    const take = (name: string) =>
      session.task(vmRef(source.id), 'CreateSnapshot_Task', { name, memory: false, quiesce: false }, never);
    await take('base');
    await take('later');
    const vm = await clone(source.id, spec);
    await removeVm(session, vm, never);
    const byName: CloneSpec = { ...spec, source: { kind: 'linked', snapshot: 'base' } };
    await removeVm(session, await clone(source.id, byName), never);
    const unknown: CloneSpec = { ...spec, source: { kind: 'linked', snapshot: 'none' } };
    await rejects(clone(source.id, unknown), 'ERR_NOT_FOUND', /no snapshot none/);
    assert.deepEqual(await named('copy-3'), []);
  });

  it('copies a template by name or path onto the segment of the model, also where no model is left', async () => {
    const golden = machines[3]!;
    const model = machines[0]!;
    await powerVm(session, golden.id, 'off', never);
    await session.call(vmRef(golden.id), 'MarkAsTemplate', {}, never);
    const source = { kind: 'template', template: golden.name } as const;
    const vm = await clone(model.id, { name: 'copy-4', host: hosts[0]!, source });
    const group = async (of: string) => {
      const plug = plugOf(await firstNic(of));
      return plug.kind === 'distributed' && plug.portGroup;
    };
    assert.equal(await group(vm), await group(model.id));
    assert.equal((await read(vm, 'config.template'))['config.template'], false);
    assert.equal((await read(vm, 'runtime.powerState'))['runtime.powerState'], 'poweredOn');
    await removeVm(session, vm, never);

    const other = (await list('DistributedVirtualPortgroup', ['name'])).find(
      ([id, { name }]) => !/uplink/i.test(String(name)) && id !== String(undefined) && name !== 'DC0_DVPG0',
    )!;
    const free = await clone(null, {
      name: 'copy-4',
      host: hosts[0]!,
      source: { kind: 'template', template: `/DC0/${golden.name}` },
      segment: String(other[1].name),
    });
    assert.equal(await group(free), other[0]);
    await removeVm(session, free, never);
    await rejects(
      clone(model.id, { name: 'copy-4', host: hosts[0]!, source: { kind: 'template', template: 'none' } }),
      'ERR_NOT_FOUND',
      /no template none/,
    );
    await rejects(clone(null, { name: 'copy-4', host: hosts[0]! }), 'ERR_HYPERVISOR_UNSUPPORTED');
  });

  it('customises the guest by a specification that vCenter keeps, and refuses one that is not there', async () => {
    const spec = { name: 'copy-5', host: hosts[0]!, customisation: 'vcsim-linux' };
    const vm = await clone(machines[0]!.id, spec);
    const { 'guest.hostName': name } = await read(vm, 'guest.hostName');
    // vcsim numbers the names that it generates.
    assert.match(String(name), /^copy-5/);
    await removeVm(session, vm, never);
    await rejects(
      clone(machines[0]!.id, { ...spec, customisation: 'none' }),
      'ERR_NOT_FOUND',
      /no customisation specification none/,
    );
    assert.deepEqual(await named('copy-5'), []);
  });

  it("waits for an address that is not the model's, and takes the clone back when none comes", async () => {
    const model = machines[0]!.id;
    const address = (vm: string, text: string) => {
      const extraConfig = [{ key: 'SET.guest.ipAddress', value: text }];
      return session.task(vmRef(vm), 'ReconfigVM_Task', { spec: { extraConfig } }, never);
    };
    await address(model, '192.0.2.10');
    const spec = { name: 'copy-6', host: hosts[0]!, addressTimeoutMs: 300 };
    await rejects(clone(model, spec), 'ERR_TIMEOUT', /showed no address of its own within 0\.3 s/);
    assert.deepEqual(await named('copy-6'), []);

    const made = clone(model, { ...spec, addressTimeoutMs: 20_000 });
    const half = await new Promise<string>((resolve) => {
      context = { ...context, decorate: async (vm) => resolve(vm) };
      void made.catch(() => undefined);
      const timer = setInterval(async () => {
        const [found] = await named('copy-6');
        if (!found) return;
        clearInterval(timer);
        resolve(found[0]);
      }, 50);
    });
    await address(half, '192.0.2.77');
    assert.equal(await made, half);
    await removeVm(session, half, never);
  });

  it('puts a clone into a folder and onto a datastore that are named, and refuses those that are not there', async () => {
    const spec = { name: 'copy-7', host: hosts[0]! };
    await rejects(
      clone(machines[0]!.id, { ...spec, folder: '/DC0/nowhere' }),
      'ERR_NOT_FOUND',
      /no VM folder/,
    );
    await rejects(
      clone(machines[0]!.id, { ...spec, datastore: 'none' }),
      'ERR_NOT_FOUND',
      /no datastore none/,
    );
    await rejects(clone(machines[0]!.id, { ...spec, segment: 'none' }), 'ERR_NOT_FOUND', /no segment none/);
    const [[store, { name }]] = (await list('Datastore', ['name'])) as [[string, Record<string, string>]];
    const vm = await clone(machines[0]!.id, { ...spec, folder: '/DC0', datastore: name! });
    const { datastore } = await read(vm, 'datastore');
    assert.deepEqual(
      (datastore as MoRef[]).map(({ value }) => value),
      [store],
    );
    await removeVm(session, vm, never);
  });
});
