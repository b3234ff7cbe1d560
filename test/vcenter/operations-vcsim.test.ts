/** The platform's operations on govmomi's simulator, which nobody of this project wrote. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildOva } from '../../src/engine-vm/image/ova.ts';
import type { EngineSpec } from '../../src/hypervisor/platform.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { attachNic } from '../../src/vcenter/attach.ts';
import { deployEngine, type EngineOptions } from '../../src/vcenter/engine.ts';
import { readHostNetworks } from '../../src/vcenter/host-networks.ts';
import { VcenterInventory } from '../../src/vcenter/inventory.ts';
import { readPortGroupMark, readVmMark } from '../../src/vcenter/marks.ts';
import { ensureSegment, removeSegment } from '../../src/vcenter/network.ts';
import { nicsOf, plugOf } from '../../src/vcenter/nic.ts';
import { readLacks } from '../../src/vcenter/privileges.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { VcenterStats } from '../../src/vcenter/stats.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { migrateVm, powerVm, removeVm, vmRef } from '../../src/vcenter/vm.ts';
import { startVcsim, type Vcsim } from './vcsim.ts';

describe('vCenter operations on vcsim', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const quiet = (): void => {};
  const vlans = { first: 3000, last: 3003 };
  let vcsim: Vcsim;
  let session: VcenterSession;
  let directory: string;
  let hosts: { id: string; name: string }[];
  let machines: { id: string; host: string; name: string }[];
  /** A distributed port group that VMs stand on, and another. */
  let groups: { id: string; name: string }[];
  let options: EngineOptions;

  before(async function () {
    vcsim = await startVcsim(this);
    session = new VcenterSession({
      address: vcsim.url,
      user: vcsim.user,
      password: () => vcsim.password,
      thumbprint: vcsim.thumbprint,
    });
    directory = mkdtempSync(join(tmpdir(), 'weft-operations-'));
    const ova = join(directory, 'blank.ova');
    await buildOva({ disk: null, file: ova, version: '0.1.0', signer: null, modifiedAt: 0 }, never);
    options = { ova, signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now };
    hosts = (await list('HostSystem', ['name'])).map(([id, { name }]) => ({ id, name: name as string }));
    machines = (await list('VirtualMachine', ['name', 'runtime.host'])).map(([id, read]) => ({
      id,
      name: read.name as string,
      host: (read['runtime.host'] as MoRef).value,
    }));
    groups = (await list('DistributedVirtualPortgroup', ['name', 'config']))
      .filter(([, { config }]) => !(config as Vim<'DVPortgroupConfigInfo'>).uplink)
      .map(([id, { name }]) => ({ id, name: name as string }))
      .filter(({ name }) => !/uplink/i.test(name));
  });
  after(async () => {
    await session?.close();
    await vcsim?.stop();
    if (directory) rmSync(directory, { recursive: true, force: true });
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
  const nics = async (vm: string, isEngine = false) =>
    nicsOf(
      (await read(vm, 'config.hardware.device'))['config.hardware.device'] as Vim<'VirtualDevice'>[],
      isEngine,
    );
  const rejects = (work: Promise<unknown>, code: Parameters<typeof isWeftError>[1], message = /./) =>
    assert.rejects(work, (error) => {
      assert.ok(isWeftError(error, code), `${String(error)} has code ${code}`);
      assert.match(error.message, message);
      return true;
    });
  const shadow = (host = 0) => ({
    host: hosts[host]!.id,
    name: `${groups[0]!.name}-weft`,
    role: 'shadow' as const,
    shadows: groups[0]!.name,
  });
  const marked = async () =>
    (await list('DistributedVirtualPortgroup', ['name', 'config'])).flatMap(([id, { name, config }]) => {
      const mark = readPortGroupMark((config as Vim<'DVPortgroupConfigInfo'>).description);
      return mark ? [{ id, name: name as string, mark, config: config as Vim<'DVPortgroupConfigInfo'> }] : [];
    });
  const policyOf = async (id: string) =>
    (
      (await list('DistributedVirtualPortgroup', ['config'])).find(([one]) => one === id)![1]
        .config as Vim<'DVPortgroupConfigInfo'>
    ).policy as Vim<'VMwareDVSPortgroupPolicy'>;
  const engineSpec = (engine: string, host = 0): EngineSpec => ({
    engine,
    host: hosts[host]!.id,
    segments: { mgmt: groups[1]!.name, out: groups[0]!.name, in: shadow().name },
    properties: { engine, controller: 'https://192.0.2.1:7443', ca: 'PEM\nof two lines', token: 'once' },
  });

  it('makes a shadow for each host, on one VLAN that no uplink carries, and once', async () => {
    await ensureSegment(session, vlans, shadow(0), never);
    await ensureSegment(session, vlans, shadow(0), never);
    await ensureSegment(session, vlans, shadow(1), never);
    const ours = await marked();
    assert.deepEqual(ours.map(({ mark }) => [mark.role, mark.host]).sort(), [
      ['in', hosts[0]!.id],
      ['in', hosts[1]!.id],
      ['out', null],
    ]);
    for (const { mark, config } of ours) {
      assert.equal(mark.production, groups[0]!.id);
      const setting = config.defaultPortConfig as Vim<'VMwareDVSPortSetting'> & {
        $type: 'VMwareDVSPortSetting';
      };
      const vlan = setting.vlan as { vlanId: number; inherited: boolean };
      assert.deepEqual([vlan.vlanId, vlan.inherited], [mark.role === 'in' ? vlans.first : 0, false]);
      if (mark.role !== 'in') continue;
      const order = setting.uplinkTeamingPolicy?.uplinkPortOrder;
      assert.deepEqual([order?.activeUplinkPort ?? [], order?.standbyUplinkPort ?? []], [[], []]);
    }
    const policy = await policyOf(groups[0]!.id);
    assert.ok(policy.vlanOverrideAllowed && policy.uplinkTeamingOverrideAllowed);
  });

  it('gives the shadow of another port group another VLAN', async () => {
    const other = { ...shadow(), name: `${groups[1]!.name}-weft`, shadows: groups[1]!.name };
    await ensureSegment(session, vlans, other, never);
    const made = (await marked()).find(({ mark }) => mark.segment === other.name)!;
    assert.equal(made.mark.vlan, vlans.first + 1);
    await removeSegment(session, vlans, other.host, other.name, never);
  });

  it('refuses segments over nothing, under the name of another, of an unknown host, and without a VLAN left', async () => {
    const refused = 'ERR_HYPERVISOR_REFUSED';
    await rejects(
      ensureSegment(session, vlans, { ...shadow(), name: 'x', shadows: 'nothing' }, never),
      refused,
    );
    await rejects(ensureSegment(session, vlans, { ...shadow(), name: groups[1]!.name }, never), refused);
    await rejects(ensureSegment(session, vlans, { ...shadow(), host: 'host-none' }, never), 'ERR_NOT_FOUND');
    const taken = { first: vlans.first, last: vlans.first };
    const other = { ...shadow(), name: `${groups[1]!.name}-weft`, shadows: groups[1]!.name };
    await rejects(ensureSegment(session, taken, other, never), refused, /no VLAN from 3000 to 3000/);
  });

  it('removes the shadow of one host, and with the last one everything it made, policies as they were', async () => {
    const [first, second] = [shadow(0), shadow(1)];
    await removeSegment(session, vlans, second.host, second.name, never);
    assert.equal((await marked()).length, 2);
    await removeSegment(session, vlans, first.host, first.name, never);
    await removeSegment(session, vlans, first.host, first.name, never);
    assert.deepEqual(await marked(), []);
    const policy = await policyOf(groups[0]!.id);
    assert.ok(!policy.vlanOverrideAllowed && !policy.uplinkTeamingOverrideAllowed);
    await rejects(
      removeSegment(session, vlans, first.host, groups[0]!.name, never),
      'ERR_HYPERVISOR_REFUSED',
    );
  });

  it('ends up the same when any of its calls fails once and it is repeated', async () => {
    for (const method of ['AddDVPortgroup_Task', 'ReconfigureDVPortgroup_Task', 'Destroy_Task']) {
      await vcsim.fail(method, 'ResourceInUse', 1);
      const twice = async (work: () => Promise<void>): Promise<void> => work().catch(work);
      await twice(() => ensureSegment(session, vlans, shadow(), never));
      assert.equal((await marked()).length, 2);
      await twice(() => removeSegment(session, vlans, shadow().host, shadow().name, never));
      assert.deepEqual(await marked(), []);
      await vcsim.clear();
    }
  });

  it('shadows a port group of a standard switch by two more, and removes them', async () => {
    const host = hosts[0]!;
    const segment = {
      host: host.id,
      name: 'VM Network-weft',
      role: 'shadow' as const,
      shadows: 'VM Network',
    };
    const groupsOf = async () => {
      const on = await readHostNetworks(session, host.id, never);
      const read = await session.properties([on.networkSystem], ['networkInfo.portgroup'], never);
      const found = read.get(on.networkSystem.value)!['networkInfo.portgroup'] as Vim<'HostPortGroup'>[];
      return new Map(found.map(({ spec }) => [spec.name, spec]));
    };
    const before = await groupsOf();
    await ensureSegment(session, vlans, segment, never);
    await ensureSegment(session, vlans, segment, never);
    const after = await groupsOf();
    assert.equal(after.size, before.size + 2);
    const [inner, out] = [after.get('VM Network-weft')!, after.get('VM Network-weft-out')!];
    assert.deepEqual([inner.vlanId, out.vlanId], [vlans.first, before.get('VM Network')!.vlanId]);
    assert.equal(inner.vswitchName, before.get('VM Network')!.vswitchName);
    for (const { policy } of [inner, out]) {
      assert.ok(policy.security?.forgedTransmits && policy.security.allowPromiscuous);
    }
    await removeSegment(session, vlans, host.id, segment.name, never);
    await removeSegment(session, vlans, host.id, segment.name, never);
    assert.deepEqual([...(await groupsOf()).keys()], [...before.keys()]);
  });

  it('imports an engine with its mark, NICs and properties, and adopts it the second time', async () => {
    await ensureSegment(session, vlans, shadow(), never);
    const steps: number[] = [];
    const spec = engineSpec('edge-1');
    const vm = await deployEngine(session, options, spec, (fraction) => steps.push(fraction), never);
    assert.equal(steps.at(-1), 1);
    assert.deepEqual(
      steps,
      [...steps].sort((a, b) => a - b),
    );
    const found = await read(vm, 'name', 'runtime.host', 'runtime.powerState', 'config.annotation');
    assert.equal(found.name, 'edge-1');
    assert.equal((found['runtime.host'] as MoRef).value, spec.host);
    assert.equal(found['runtime.powerState'], 'poweredOn');
    assert.deepEqual(readVmMark(found['config.annotation'] as string), {
      engine: 'edge-1',
      cloneOf: null,
      isComplete: true,
    });
    const { 'config.extraConfig': given } = await read(vm, 'config.extraConfig');
    const property = (name: string): string =>
      String((given as Vim<'OptionValue'>[]).find((option) => option.key === `weft.${name}`)?.value);
    assert.deepEqual(['engine', 'controller', 'token'].map(property), [
      'edge-1',
      'https://192.0.2.1:7443',
      'once',
    ]);
    assert.equal(Buffer.from(property('ca'), 'base64').toString(), spec.properties.ca);
    const ours = await marked();
    const key = (role: string) => ours.find(({ mark }) => mark.role === role)!.id;
    assert.deepEqual(
      (await nics(vm, true)).map(({ id, card }) => {
        const plug = plugOf(card);
        return [id, card.$type, plug.kind === 'distributed' && plug.portGroup];
      }),
      [
        ['mgmt', 'VirtualVmxnet3', groups[1]!.id],
        ['out', 'VirtualVmxnet3', key('out')],
        ['in', 'VirtualVmxnet3', key('in')],
      ],
    );
    assert.equal(await deployEngine(session, options, spec, quiet, never), vm);
    await rejects(
      deployEngine(session, options, engineSpec('edge-1', 1), quiet, never),
      'ERR_HYPERVISOR_REFUSED',
    );
    assert.equal(
      (await list('VirtualMachine', ['name'])).filter(([, { name }]) => name === 'edge-1').length,
      1,
    );
  });

  it('pins engines to their hosts and apart, and takes the rules away with them', async () => {
    const cluster = async () => {
      const [[, { configurationEx }]] = (await list('ClusterComputeResource', ['configurationEx'])) as [
        [string, { configurationEx: Vim<'ClusterConfigInfoEx'> }],
      ];
      return configurationEx;
    };
    const ours = async () => {
      const { rule, group, drsVmConfig, dasVmConfig } = await cluster();
      return {
        rules: rule?.map(({ name }) => name).sort() ?? [],
        groups: group?.map(({ name }) => name).sort() ?? [],
        drs: drsVmConfig?.map(({ key, enabled }) => [key.value, enabled]) ?? [],
        das: dasVmConfig?.map(({ key, dasSettings }) => [key.value, dasSettings?.restartPriority]) ?? [],
      };
    };
    const [[first]] = (await list('VirtualMachine', ['name'])).filter(
      ([, { name }]) => name === 'edge-1',
    ) as [[string, unknown]];
    await ensureSegment(session, vlans, shadow(1), never);
    const spec = engineSpec('edge-9', 1);
    const second = await deployEngine(session, options, spec, quiet, never);
    assert.deepEqual(await ours(), {
      rules: [`weft-apart-${groups[0]!.name}`, 'weft-pin-edge-1', 'weft-pin-edge-9'],
      groups: ['weft-host-edge-1', 'weft-host-edge-9', 'weft-vm-edge-1', 'weft-vm-edge-9'],
      drs: [first, second].map((vm) => [vm, false]),
      das: [first, second].map((vm) => [vm, 'highest']),
    });
    const apart = (await cluster()).rule!.find(({ name }) => name === `weft-apart-${groups[0]!.name}`);
    assert.deepEqual(
      (apart as Vim<'ClusterAntiAffinityRuleSpec'>).vm.map(({ value }) => value),
      [first, second],
    );
    await removeVm(session, second, never);
    assert.deepEqual(await ours(), {
      rules: ['weft-pin-edge-1'],
      groups: ['weft-host-edge-1', 'weft-vm-edge-1'],
      drs: [[first, false]],
      das: [[first, 'highest']],
    });
    const free = await deployEngine(session, { ...options, isPinned: false }, spec, quiet, never);
    assert.deepEqual((await ours()).rules, ['weft-pin-edge-1']);
    await removeVm(session, free, never);
    await removeSegment(session, vlans, shadow(1).host, shadow(1).name, never);
  });

  it('makes nothing where a segment is missing', async () => {
    const spec = engineSpec('edge-2');
    spec.segments.in = 'nothing';
    await rejects(deployEngine(session, options, spec, quiet, never), 'ERR_NOT_FOUND', /no segment nothing/);
    await rejects(
      deployEngine(session, { ...options, signedBy: [] }, engineSpec('edge-2'), quiet, never),
      'ERR_IMAGE_INVALID',
      /not signed/,
    );
    assert.ok((await list('VirtualMachine', ['name'])).every(([, { name }]) => name !== 'edge-2'));
  });

  it('goes on with the lease when an upload breaks off in the middle, and tells progress truly', async () => {
    const { agent } = session.transport;
    const steps: number[] = [];
    let breaks = 2;
    const spec = engineSpec('edge-5');
    const cut = (fraction: number, what: string): void => {
      steps.push(fraction);
      if (!what.startsWith('uploading') || breaks === 0) return;
      breaks--;
      for (const socket of Object.values(agent.sockets).flat()) socket?.destroy();
    };
    const vm = await deployEngine(session, options, spec, cut, never);
    assert.equal(breaks, 0);
    assert.ok(Math.max(...steps) <= 1 && steps.at(-1) === 1);
    assert.ok(
      steps.some((fraction, index) => fraction < (steps[index - 1] ?? 0)),
      'the disk began anew',
    );
    assert.equal(
      (await list('VirtualMachine', ['name'])).filter(([, { name }]) => name === 'edge-5').length,
      1,
    );
    await removeVm(session, vm, never);
  });

  it('leaves nothing of an import that is given up in the middle', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    await assert.rejects(
      deployEngine(
        session,
        options,
        engineSpec('edge-3'),
        (_fraction, what) => what.startsWith('uploading') && abort.abort(reason),
        abort.signal,
      ),
      (error) => error === reason,
    );
    assert.ok((await list('VirtualMachine', ['name'])).every(([, { name }]) => name !== 'edge-3'));
  });

  it('makes an engine again of which a crash left half', async () => {
    await vcsim.fail('ReconfigVM_Task', 'ResourceInUse', 1);
    await rejects(
      deployEngine(session, options, engineSpec('edge-4'), quiet, never),
      'ERR_HYPERVISOR_REFUSED',
    );
    const half = (await list('VirtualMachine', ['name'])).find(([, { name }]) => name === 'edge-4')!;
    const vm = await deployEngine(session, options, engineSpec('edge-4'), quiet, never);
    assert.notEqual(vm, half[0]);
    const all = (await list('VirtualMachine', ['name'])).filter(([, { name }]) => name === 'edge-4');
    assert.deepEqual(
      all.map(([id]) => id),
      [vm],
    );
    await removeVm(session, vm, never);
  });

  it('switches a VM on, off and through a reset, each as often as asked', async () => {
    const { id } = machines[0]!;
    for (const [action, state] of [
      ['off', 'poweredOff'],
      ['off', 'poweredOff'],
      ['reset', 'poweredOn'],
      ['on', 'poweredOn'],
      ['reset', 'poweredOn'],
    ] as const) {
      await powerVm(session, id, action, never);
      assert.equal((await read(id, 'runtime.powerState'))['runtime.powerState'], state, action);
    }
    await rejects(powerVm(session, 'vm-none', 'on', never), 'ERR_NOT_FOUND');
  });

  it('removes what bears its mark, once and again, and nothing else', async () => {
    const [engine] = (await list('VirtualMachine', ['name'])).find(([, { name }]) => name === 'edge-1')!;
    await removeVm(session, engine, never);
    await removeVm(session, engine, never);
    await rejects(removeVm(session, machines[0]!.id, never), 'ERR_HYPERVISOR_REFUSED', /no mark of Weft/);
    assert.ok((await list('VirtualMachine', ['name'])).some(([id]) => id === machines[0]!.id));
  });

  it('migrates a VM, and has nothing to do the second time', async () => {
    const { id, host } = machines[1]!;
    const target = hosts.find((one) => one.id !== host)!;
    await migrateVm(session, id, target.id, never);
    await migrateVm(session, id, target.id, never);
    assert.equal(((await read(id, 'runtime.host'))['runtime.host'] as MoRef).value, target.id);
    await rejects(migrateVm(session, id, 'host-none', never), 'ERR_NOT_FOUND');
    await migrateVm(session, id, host, never);
  });

  it('measures VMs that are on, and leaves out those that are off or unknown', async () => {
    const [first, second] = [machines[0]!, machines[1]!];
    await powerVm(session, second.id, 'off', never);
    const stats = new VcenterStats(session);
    const measured = await stats.read([first.id, second.id, 'vm-none'], never);
    assert.deepEqual(
      measured.map(({ vm }) => vm),
      [first.id],
    );
    const { cores, cpu, memoryBytes, receivedBytes, sentBytes } = measured[0]!;
    assert.ok(cores !== null && cores >= 1);
    assert.ok(cpu !== null && cpu >= 0 && memoryBytes !== null && memoryBytes > 0);
    assert.ok(receivedBytes >= 0 && sentBytes >= 0);
    const [later] = await stats.read([first.id], never);
    assert.ok(later!.receivedBytes >= receivedBytes && later!.sentBytes >= sentBytes);
    assert.deepEqual(await stats.read([], never), []);
    await powerVm(session, second.id, 'on', never);
  });

  it('bends no path where the server cannot override a port, and finds no unknown VM, NIC or segment', async () => {
    const { id, host } = machines[0]!;
    await ensureSegment(session, vlans, { ...shadow(), host }, never);
    const [nic] = await nics(id);
    await assert.rejects(attachNic(session, { vm: id, nic: nic!.id }, shadow().name, never), (error) =>
      isWeftError(error),
    );
    assert.deepEqual(await nics(id), [nic]);
    await attachNic(session, { vm: id, nic: nic!.id }, groups[0]!.name, never);
    await rejects(attachNic(session, { vm: id, nic: 'none' }, groups[0]!.name, never), 'ERR_NOT_FOUND');
    await rejects(attachNic(session, { vm: id, nic: nic!.id }, 'nothing', never), 'ERR_NOT_FOUND');
    await rejects(attachNic(session, { vm: 'vm-none', nic: '4000' }, 'nothing', never), 'ERR_NOT_FOUND');
  });

  it('moves a NIC between port groups with everything else of it as it was', async () => {
    const { id } = machines[0]!;
    const [before] = await nics(id);
    await attachNic(session, { vm: id, nic: before!.id }, groups[1]!.name, never);
    const [after] = await nics(id);
    const plug = plugOf(after!.card);
    assert.equal(plug.kind === 'distributed' && plug.portGroup, groups[1]!.id);
    assert.deepEqual(
      [after!.card.key, after!.card.macAddress, after!.card.$type, after!.card.connectable?.connected],
      [before!.card.key, before!.card.macAddress, before!.card.$type, true],
    );
  });

  it('lacks no privilege, since the simulator grants all', async () => {
    const inventory = new VcenterInventory(session, {
      managementNetwork: 'mgmt',
      uplinkAttribute: 'uplinks',
      rackCategory: 'rack',
    });
    await inventory.list(never);
    assert.deepEqual(await readLacks(session, inventory, {}, never), []);
    await inventory.close();
  });
});
