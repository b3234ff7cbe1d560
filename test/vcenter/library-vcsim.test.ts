/** Content libraries on govmomi's simulator: the appliance uploaded once, engines and clones deployed from items. */
import assert from 'node:assert/strict';
import type { EngineSpec } from '../../src/hypervisor/platform.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { cloneVm } from '../../src/vcenter/clone.ts';
import { deployEngine, type EngineOptions } from '../../src/vcenter/engine.ts';
import { ensureAppliance } from '../../src/vcenter/library.ts';
import { readVmMark } from '../../src/vcenter/marks.ts';
import { nicsOf, plugOf } from '../../src/vcenter/nic.ts';
import { type Ova, openOva } from '../../src/vcenter/ova.ts';
import { RestClient } from '../../src/vcenter/rest.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { powerVm, removeVm, vmRef } from '../../src/vcenter/vm.ts';
import { type BlankOva, buildBlankOva } from './blank-ova.ts';
import { startVcsim, type Vcsim } from './vcsim.ts';

describe('content libraries of vcsim', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const quiet = (): void => {};
  let vcsim: Vcsim;
  let session: VcenterSession;
  let rest: RestClient;
  let appliance: BlankOva;
  let ova: Ova;
  let options: EngineOptions;
  let host: string;
  let groups: { id: string; name: string }[];
  let library: string;

  before(async function () {
    vcsim = await startVcsim(this);
    session = new VcenterSession({
      address: vcsim.url,
      user: vcsim.user,
      password: () => vcsim.password,
      thumbprint: vcsim.thumbprint,
    });
    rest = new RestClient(session);
    appliance = await buildBlankOva(never);
    ova = await openOva(appliance.options.ova, { signedBy: null, now: Date.now() }, never);
    options = { ...appliance.options, library: { name: 'engines', rest } };
    host = (await list('HostSystem', ['name']))[0]![0];
    groups = (await list('DistributedVirtualPortgroup', ['name']))
      .map(([id, { name }]) => ({ id, name: String(name) }))
      .filter(({ name }) => !/uplink/i.test(name));
    const [datastore] = (await list('Datastore', ['name']))[0]!;
    library = String(
      await rest.call(
        {
          method: 'POST',
          service: '/content/local-library',
          argument: 'create_spec',
          body: {
            name: 'engines',
            type: 'LOCAL',
            storage_backings: [{ type: 'DATASTORE', datastore_id: datastore }],
          },
        },
        never,
      ),
    );
  });
  after(async () => {
    await ova?.close();
    appliance?.remove();
    await session?.close();
    await vcsim?.stop();
  });

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
  const items = async () =>
    (await rest.call(
      { method: 'GET', service: '/content/library/item', query: { library_id: library } },
      never,
    )) as string[];
  const spec = (engine: string): EngineSpec => ({
    engine,
    host,
    segments: { mgmt: groups[1]!.name, out: groups[0]!.name, in: groups[1]!.name },
    properties: { engine, controller: 'https://192.0.2.1:7443', ca: 'PEM\nof two lines', token: 'once-only' },
  });
  const rejects = (work: Promise<unknown>, code: Parameters<typeof isWeftError>[1], message = /./) =>
    assert.rejects(work, (error) => {
      assert.ok(isWeftError(error, code), `${String(error)} has code ${code}`);
      assert.match(error.message, message);
      return true;
    });
  /** Files of the appliance that were sent, by name. */
  const sendings = (): string[] => {
    const sent: string[] = [];
    const readPart = ova.read;
    ova = {
      ...ova,
      read: (name, signal) => {
        sent.push(name);
        return readPart(name, signal);
      },
    };
    return sent;
  };

  it('goes on with an upload that was cut short, and sends the appliance once', async () => {
    const sent = sendings();
    const abort = new AbortController();
    const whole = ova.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
    const last = ova.parts.at(-1)!;
    const half = (fraction: number): void => {
      if (fraction * whole > whole - last.sizeBytes) abort.abort(new Error('killed'));
    };
    await assert.rejects(ensureAppliance(session, rest, 'engines', ova, half, abort.signal), /killed/);
    const [item] = await items();
    const steps: number[] = [];
    const found = await ensureAppliance(session, rest, 'engines', ova, (one) => steps.push(one), never);
    assert.deepEqual(await items(), [item]);
    assert.equal(found.id, item);
    assert.match(found.name, /^weft-engine-[0-9a-f]{16}$/);
    assert.equal(steps.at(-1), 1);
    const before = sent.length;
    assert.ok(sent.includes(last.name));
    await Promise.all([1, 2, 3].map(() => ensureAppliance(session, rest, 'engines', ova, quiet, never)));
    assert.equal(sent.length, before);
    assert.deepEqual(await items(), [item]);
    const updates = await rest.call(
      { method: 'GET', service: '/content/library/item/update-session' },
      never,
    );
    assert.deepEqual(updates ?? [], []);
  });

  it('deploys engines from the item, with mark, NICs, size and properties, and adopts them', async () => {
    const steps: [number, string][] = [];
    const wanted = { ...spec('edge-1'), size: 'medium' as const };
    const vm = await deployEngine(session, options, wanted, (...one) => steps.push(one), never);
    assert.equal((await items()).length, 1);
    assert.ok(steps.some(([, what]) => what.startsWith('deploying engine edge-1 from weft-engine-')));
    const found = await read(
      vm,
      'name',
      'runtime.host',
      'runtime.powerState',
      'config.annotation',
      'config.instanceUuid',
      'config.vAppConfig',
    );
    assert.deepEqual(
      [found.name, (found['runtime.host'] as MoRef).value, found['runtime.powerState']],
      ['edge-1', host, 'poweredOn'],
    );
    const mark = { engine: 'edge-1', cloneOf: null, isComplete: true };
    assert.deepEqual(readVmMark(found['config.annotation'] as string), mark);
    const { property = [] } = found['config.vAppConfig'] as Vim<'VmConfigInfo'>;
    assert.deepEqual(
      ['engine', 'controller', 'ca', 'token'].map((id) => property.find((one) => one.id === id)?.value),
      ['edge-1', 'https://192.0.2.1:7443', Buffer.from('PEM\nof two lines').toString('base64'), 'once-only'],
    );
    const devices = (await read(vm, 'config.hardware.device'))['config.hardware.device'];
    assert.deepEqual(
      nicsOf(devices as Vim<'VirtualDevice'>[], true).map(({ card }) => {
        const plug = plugOf(card);
        return plug.kind === 'distributed' && plug.portGroup;
      }),
      [groups[1]!.id, groups[0]!.id, groups[1]!.id],
    );
    assert.equal(await deployEngine(session, options, wanted, quiet, never), vm);
    await removeVm(session, vm, never);
  });

  it('makes an engine anew that was left before it could be marked', async () => {
    const abort = new AbortController();
    const { call } = rest;
    // The controller dies as soon as the VM is there.
    rest.call = async (request, signal) => {
      const answer = await call.bind(rest)(request, signal);
      if (request.action === 'deploy') abort.abort(new Error('killed'));
      return answer;
    };
    try {
      await assert.rejects(deployEngine(session, options, spec('edge-2'), quiet, abort.signal), /killed/);
    } finally {
      rest.call = call;
    }
    const left = (await list('VirtualMachine', ['name'])).filter(([, { name }]) => name === 'edge-2');
    const vm = await deployEngine(session, options, spec('edge-2'), quiet, never);
    const all = (await list('VirtualMachine', ['name'])).filter(([, { name }]) => name === 'edge-2');
    assert.deepEqual(
      all.map(([id]) => id),
      [vm],
    );
    assert.ok(!left.some(([id]) => id === vm));
    await removeVm(session, vm, never);
  });

  it('names what is missing, and tells no token', async () => {
    const nowhere = { ...options, library: { name: 'nowhere', rest } };
    await rejects(
      deployEngine(session, nowhere, spec('edge-3'), quiet, never),
      'ERR_NOT_FOUND',
      /no content library nowhere.*library\.create/,
    );
    const { call } = rest;
    rest.call = async (request, signal) => {
      const answer = await call.bind(rest)(request, signal);
      if (request.action !== 'deploy') return answer;
      const text = 'property weft.token has the value once-only';
      return { succeeded: false, error: { errors: [{ message: { default_message: text } }] } };
    };
    try {
      await assert.rejects(deployEngine(session, options, spec('edge-3'), quiet, never), (error) => {
        assert.ok(isWeftError(error, 'ERR_HYPERVISOR_REFUSED'));
        assert.match(error.message, /has the value \*\*\*/);
        assert.doesNotMatch(JSON.stringify([error, error.stack, String(error.cause)]), /once-only/);
        return true;
      });
    } finally {
      rest.call = call;
    }
    const vm = await deployEngine(session, options, spec('edge-3'), quiet, never);
    await removeVm(session, vm, never);
  });

  it('clones from OVF packages and VM templates of a library', async () => {
    const [model] = (await list('VirtualMachine', ['name']))[0]!;
    const context = {
      session,
      rest,
      lookup: () => Promise.reject(new Error('unused')),
      decorate: async () => {},
    };
    const name = `weft-engine-${ova.contentHash.slice(0, 16)}`;
    const source = { kind: 'library-item', library: 'engines', item: name } as const;
    const clone = (of: string | null, item: string) =>
      cloneVm(context, of, { name: 'copy-1', host, source: { ...source, item } }, quiet, never);
    const groupOf = async (vm: string) => {
      const devices = (await read(vm, 'config.hardware.device'))['config.hardware.device'];
      const plug = plugOf(nicsOf(devices as Vim<'VirtualDevice'>[], false)[0]!.card);
      return plug.kind === 'distributed' && plug.portGroup;
    };
    const fromOvf = await clone(model, name);
    const found = await read(fromOvf, 'config.annotation', 'runtime.powerState');
    assert.equal(found['runtime.powerState'], 'poweredOn');
    assert.equal(readVmMark(found['config.annotation'] as string)?.isComplete, true);
    assert.equal(await groupOf(fromOvf), await groupOf(model));
    assert.equal(await clone(model, name), fromOvf);
    await removeVm(session, fromOvf, never);

    await powerVm(session, model, 'off', never);
    const placement = {
      folder: ((await read(model, 'parent')).parent as MoRef).value,
      host,
      resource_pool: ((await read(model, 'resourcePool')).resourcePool as MoRef).value,
    };
    const template = { name: 'golden', library, source_vm: model, placement };
    await rest.call(
      { method: 'POST', service: '/vcenter/vm-template/library-items', body: template, argument: 'spec' },
      never,
    );
    const fromTemplate = await clone(model, 'golden');
    const state = await read(fromTemplate, 'config.template', 'runtime.powerState');
    assert.deepEqual([state['config.template'], state['runtime.powerState']], [false, 'poweredOn']);
    await removeVm(session, fromTemplate, never);
    await rejects(clone(model, 'none'), 'ERR_NOT_FOUND', /has no item none/);
  });
});
