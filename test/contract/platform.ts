/**
 * What every platform must do: the contract of src/hypervisor/platform.ts as a suite that each implementation runs,
 * also with lost replies, refusals and slow calls.
 */
import assert from 'node:assert/strict';
import type {
  CloneSpec,
  EngineProperties,
  EngineSpec,
  Platform,
  SegmentSpec,
  Vm,
} from '../../src/hypervisor/platform.ts';
import { isWeftError, WeftError } from '../../src/policy/errors.ts';

/** A platform to be tested, and what the suite must be able to do to it behind its back. */
export interface PlatformUnderTest {
  platform: Platform;
  /** Two hosts with a production and a management segment of the same names, and an application VM on the first. */
  hosts: [string, string];
  production: string;
  management: string;
  applicationVm: string;
  /** Why ports cannot be mirrored here, although the platform can. */
  mirrorless?: string;
  /** The next call of the method is refused; or carried out, and its reply lost. */
  failNext(method: keyof Platform, how: 'refused' | 'reply-lost'): Promise<void>;
  /** Calls of the method wait so long until `heal`. */
  slow(method: keyof Platform, delayMs: number): Promise<void>;
  heal(): Promise<void>;
  /** What the guest of an engine can read of its properties while it runs. */
  told(vm: string): Promise<EngineProperties>;
  /**
   * Leaves of a whole shadow segment, the only one of its production segment, what a making that was cut short leaves.
   * Left out where segments are made at once.
   */
  halve?(segment: SegmentSpec): Promise<void>;
  /** A VM's guest ends by itself. */
  crash(vm: string): Promise<void>;
  /** Another client of the same platform, at an address where nobody answers. */
  unreachable(): Platform;
  stop(): Promise<void>;
}

/** Defines the suite; `start` is called once. */
export function describePlatform(
  name: string,
  start: (context: Mocha.Context) => Promise<PlatformUnderTest>,
) {
  describe(`platform contract: ${name}`, () => {
    let under: PlatformUnderTest;
    let platform: Platform;
    const never = new AbortController().signal;
    const quiet = () => {};

    before(async function () {
      under = await start(this);
      platform = under.platform;
    });
    after(async () => {
      await platform?.close();
      await under?.stop();
    });

    const vms = async () => (await platform.inventory(never)).vms;
    const vmNamed = async (vm: string): Promise<Vm> => {
      const found = (await vms()).find((one) => one.id === vm);
      assert.ok(found, `the inventory lists ${vm}`);
      return found;
    };
    const segmentsOf = async (host: string) =>
      (await platform.inventory(never)).hosts
        .find((one) => one.id === host)!
        .segments.map((segment) => segment.name);
    const shadow = () => ({
      host: under.hosts[0],
      name: `${under.production}-weft`,
      role: 'shadow' as const,
      shadows: under.production,
    });
    const engineSpec = (engine: string): EngineSpec => ({
      engine,
      host: under.hosts[0],
      segments: { mgmt: under.management, out: under.production, in: shadow().name },
      properties: { engine, controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' },
    });
    const rejects = (work: Promise<unknown>, code: Parameters<typeof isWeftError>[1]) =>
      assert.rejects(work, (error) => {
        assert.ok(isWeftError(error, code), `${String(error)} has code ${code}`);
        assert.notEqual(error.message, '');
        return true;
      });

    it('lists hosts with their place in the network, and VMs with their NICs', async () => {
      const inventory = await platform.inventory(never);
      const host = inventory.hosts.find((one) => one.id === under.hosts[0])!;
      assert.ok(host.isConnected && !host.isInMaintenance && host.uplinkPath.length > 0);
      assert.deepEqual(host.segments.map((segment) => segment.role).sort(), ['management', 'production']);
      const vm = inventory.vms.find((one) => one.id === under.applicationVm)!;
      assert.equal(vm.power, 'on');
      assert.equal(vm.engine, null);
      assert.match(vm.nics[0]!.mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      assert.ok(vm.nics[0]!.addresses.length > 0 && vm.nics[0]!.isConnected);
    });

    it('answers a watch at once when it does not know the cursor', async () => {
      assert.equal(await platform.watch('of-another-life', never), (await platform.inventory(never)).cursor);
    });

    it('answers a watch when the inventory changes, and not before', async () => {
      const { cursor } = await platform.inventory(never);
      let isAnswered = false;
      const watch = platform.watch(cursor, never).then((next) => {
        isAnswered = true;
        return next;
      });
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(isAnswered, false);
      await platform.ensureSegment(shadow(), never);
      assert.notEqual(await watch, cursor);
    });

    it('ends a watch promptly with the reason of the signal', async () => {
      const abort = new AbortController();
      const { cursor } = await platform.inventory(never);
      const watch = platform.watch(cursor, abort.signal);
      const reason = new Error('enough');
      setTimeout(() => abort.abort(reason), 20);
      await assert.rejects(watch, (error) => error === reason);
      await assert.rejects(platform.inventory(abort.signal), (error) => error === reason);
    });

    it('makes a segment once', async () => {
      await platform.ensureSegment(shadow(), never);
      const { cursor } = await platform.inventory(never);
      await platform.ensureSegment(shadow(), never);
      assert.equal((await platform.inventory(never)).cursor, cursor);
      assert.ok((await segmentsOf(under.hosts[0])).includes(shadow().name));
      assert.ok(!(await segmentsOf(under.hosts[1])).includes(shadow().name));
    });

    it('refuses a segment under the name of another, of an unknown host, or over nothing', async () => {
      await rejects(
        platform.ensureSegment({ ...shadow(), name: under.production }, never),
        'ERR_HYPERVISOR_REFUSED',
      );
      await rejects(platform.ensureSegment({ ...shadow(), host: 'nowhere' }, never), 'ERR_NOT_FOUND');
      await rejects(
        platform.ensureSegment({ ...shadow(), name: 'other', shadows: 'nothing' }, never),
        'ERR_HYPERVISOR_REFUSED',
      );
    });

    it('attaches a NIC to a segment and back, and does nothing the second time', async () => {
      const before = await vmNamed(under.applicationVm);
      const nic = { vm: before.id, nic: before.nics[0]!.id };
      await platform.attach(nic, shadow().name, never);
      await platform.attach(nic, shadow().name, never);
      const during = await vmNamed(before.id);
      assert.deepEqual(during, { ...before, nics: [{ ...before.nics[0]!, segment: shadow().name }] });
      await rejects(platform.removeSegment(under.hosts[0], shadow().name, never), 'ERR_HYPERVISOR_REFUSED');
      await platform.attach(nic, under.production, never);
      assert.deepEqual(await vmNamed(before.id), before);
    });

    it('finds no unknown VM, NIC or segment', async () => {
      const vm = await vmNamed(under.applicationVm);
      const nic = vm.nics[0]!.id;
      await rejects(platform.attach({ vm: 'nobody', nic }, under.production, never), 'ERR_NOT_FOUND');
      await rejects(platform.attach({ vm: vm.id, nic: 'none' }, under.production, never), 'ERR_NOT_FOUND');
      await rejects(platform.attach({ vm: vm.id, nic }, 'nothing', never), 'ERR_NOT_FOUND');
      await rejects(platform.power('nobody', 'on', never), 'ERR_NOT_FOUND');
      await rejects(platform.migrate(vm.id, 'nowhere', never), 'ERR_NOT_FOUND');
    });

    it('deploys an engine with its mark and three NICs, and adopts it the second time', async () => {
      const steps: number[] = [];
      const vm = await platform.deployEngine(engineSpec('edge-1'), (fraction) => steps.push(fraction), never);
      assert.equal(vm.engine, 'edge-1');
      assert.equal(vm.power, 'on');
      assert.equal(vm.host, under.hosts[0]);
      assert.deepEqual(
        vm.nics.map((nic) => [nic.id, nic.segment]),
        [
          ['mgmt', under.management],
          ['out', under.production],
          ['in', shadow().name],
        ],
      );
      assert.equal(new Set(vm.nics.map((nic) => nic.mac)).size, 3);
      assert.equal(steps.at(-1), 1);
      assert.deepEqual(await platform.deployEngine(engineSpec('edge-1'), quiet, never), vm);
      assert.equal((await vms()).filter((one) => one.engine === 'edge-1').length, 1);
      await rejects(
        platform.deployEngine({ ...engineSpec('edge-1'), host: under.hosts[1] }, quiet, never),
        'ERR_HYPERVISOR_REFUSED',
      );
    });

    it('tells an engine that runs what it is given now, and leaves it running', async () => {
      const vm = (await vms()).find((one) => one.engine === 'edge-1')!;
      const spec = engineSpec('edge-1');
      spec.properties = {
        ...spec.properties,
        controller: 'https://192.0.2.2:7443',
        ca: 'OTHER',
        token: 'two',
      };
      assert.deepEqual(await platform.deployEngine(spec, quiet, never), vm);
      assert.deepEqual(await under.told(vm.id), spec.properties);
      assert.equal((await vmNamed(vm.id)).power, 'on');
    });

    it('refuses an engine on a segment that is not there, and leaves nothing behind', async () => {
      const spec = engineSpec('edge-2');
      spec.segments.in = 'nothing';
      await rejects(platform.deployEngine(spec, quiet, never), 'ERR_NOT_FOUND');
      assert.ok((await vms()).every((vm) => vm.engine !== 'edge-2'));
    });

    it('shows a VM that crashed as off, wakes the watch, and switches it on again', async () => {
      const vm = (await vms()).find((one) => one.engine === 'edge-1')!;
      const { cursor } = await platform.inventory(never);
      const watch = platform.watch(cursor, never);
      await under.crash(vm.id);
      await watch;
      assert.equal((await vmNamed(vm.id)).power, 'off');
      await platform.power(vm.id, 'on', never);
      assert.deepEqual(await vmNamed(vm.id), vm);
    });

    it('switches power off, on and through a reset, each as often as asked', async () => {
      const vm = (await vms()).find((one) => one.engine === 'edge-1')!;
      for (const [action, state] of [
        ['off', 'off'],
        ['off', 'off'],
        ['on', 'on'],
        ['on', 'on'],
        ['reset', 'on'],
      ] as const) {
        await platform.power(vm.id, action, never);
        assert.equal((await vmNamed(vm.id)).power, state, action);
      }
    });

    it('measures VMs that are on, and leaves out those that are off or unknown', async () => {
      const engine = (await vms()).find((one) => one.engine === 'edge-1')!;
      await platform.power(engine.id, 'off', never);
      const stats = await platform.stats([under.applicationVm, engine.id, 'nobody'], never);
      assert.deepEqual(
        stats.map((one) => one.vm),
        [under.applicationVm],
      );
      const { cores, cpu, memoryBytes, receivedBytes, sentBytes } = stats[0]!;
      assert.ok(cores !== null && cores >= 1);
      assert.ok(cpu !== null && cpu >= 0 && memoryBytes !== null && memoryBytes > 0);
      assert.ok(receivedBytes >= 0 && sentBytes >= 0);
      assert.deepEqual(await platform.stats([], never), []);
    });

    it('removes an engine, and succeeds when it is gone already', async () => {
      const engine = (await vms()).find((one) => one.engine === 'edge-1')!;
      await platform.removeVm(engine.id, never);
      await platform.removeVm(engine.id, never);
      assert.ok((await vms()).every((vm) => vm.id !== engine.id));
    });

    it('refuses to remove a VM without a mark of ours', async () => {
      await rejects(platform.removeVm(under.applicationVm, never), 'ERR_HYPERVISOR_REFUSED');
      assert.equal((await vmNamed(under.applicationVm)).power, 'on');
    });

    it('clones a VM with a MAC and addresses of its own, once', async () => {
      const source = await vmNamed(under.applicationVm);
      const clone = { name: 'copy-1', host: under.hosts[1] };
      const made = await platform.cloneVm(source.id, clone, quiet, never);
      assert.equal(made.power, 'on');
      assert.equal(made.host, under.hosts[1]);
      assert.deepEqual([made.tags, made.folder, made.engine], [source.tags, source.folder, null]);
      assert.deepEqual([made.isClone, source.isClone], [true, undefined], 'it bears a mark of its own');
      const taken = new Set(
        (await vms())
          .filter((vm) => vm.id !== made.id)
          .flatMap((vm) => vm.nics.flatMap((nic) => [nic.mac, ...nic.addresses])),
      );
      for (const text of [made.nics[0]!.mac, ...made.nics[0]!.addresses])
        assert.ok(!taken.has(text), `${text} is new`);
      assert.deepEqual(await platform.cloneVm(source.id, clone, quiet, never), made);
      await rejects(
        platform.cloneVm(source.id, { name: source.name, host: under.hosts[0] }, quiet, never),
        'ERR_HYPERVISOR_REFUSED',
      );
    });

    it('removes a clone, and succeeds when it is gone already', async () => {
      const clone = { name: 'copy-5', host: under.hosts[1] };
      const made = await platform.cloneVm(under.applicationVm, clone, quiet, never);
      const others = (await vms()).filter((vm) => vm.id !== made.id);
      await platform.removeVm(made.id, never);
      await platform.removeVm(made.id, never);
      assert.deepEqual(
        (await vms()).map((vm) => vm.id),
        others.map((vm) => vm.id),
      );
    });

    it('refuses to clone from what it does not know, and makes nothing', async () => {
      const { cloneSources, customisation } = platform.capabilities;
      assert.ok(cloneSources.includes('full'));
      const before = await vms();
      const clone = { name: 'copy-4', host: under.hosts[0] };
      const unknown: [string | null, CloneSpec][] = [[null, clone]];
      for (const source of [
        { kind: 'linked' },
        { kind: 'template', template: 'golden' },
        { kind: 'library-item', library: 'apps', item: 'golden' },
      ] as const) {
        if (!cloneSources.includes(source.kind)) unknown.push([under.applicationVm, { ...clone, source }]);
      }
      if (!customisation) unknown.push([under.applicationVm, { ...clone, customisation: 'linux' }]);
      for (const [model, spec] of unknown) {
        await rejects(platform.cloneVm(model, spec, quiet, never), 'ERR_HYPERVISOR_UNSUPPORTED');
      }
      assert.deepEqual(await vms(), before);
    });

    it('migrates a running VM with its id, MAC and addresses, and there is nothing to do the second time', async () => {
      const before = await vmNamed(under.applicationVm);
      await platform.migrate(before.id, under.hosts[1], never);
      await platform.migrate(before.id, under.hosts[1], never);
      assert.deepEqual(await vmNamed(before.id), { ...before, host: under.hosts[1] });
      await platform.migrate(before.id, under.hosts[0], never);
      assert.deepEqual(await vmNamed(before.id), before);
    });

    it('refuses to migrate a VM to a host without its segment', async () => {
      const nic = (await vmNamed(under.applicationVm)).nics[0]!.id;
      await platform.attach({ vm: under.applicationVm, nic }, shadow().name, never);
      await rejects(platform.migrate(under.applicationVm, under.hosts[1], never), 'ERR_HYPERVISOR_REFUSED');
      assert.equal((await vmNamed(under.applicationVm)).host, under.hosts[0]);
      await platform.attach({ vm: under.applicationVm, nic }, under.production, never);
    });

    it('mirrors NICs to an engine, says so, and ends it without a trace', async function () {
      const nic = { vm: under.applicationVm, nic: (await vmNamed(under.applicationVm)).nics[0]!.id };
      if (!platform.capabilities.mirror || !platform.mirror || under.mirrorless) return this.skip();
      await platform.ensureSegment(shadow(), never);
      const { id } = await platform.deployEngine(engineSpec('edge-m'), quiet, never);
      // What stands for an engine here may forward, and would send copies back.
      await platform.power(id, 'off', never);
      const before = await platform.inventory(never);
      assert.deepEqual(before.mirrors, []);
      await under.failNext('mirror', 'reply-lost');
      await rejects(platform.mirror('edge-m', [nic], never), 'ERR_HYPERVISOR_UNREACHABLE');
      for (let time = 0; time < 2; time++) await platform.mirror('edge-m', [nic], never);
      const after = await platform.inventory(never);
      assert.deepEqual(after.mirrors, [{ engine: 'edge-m', nics: [nic] }]);
      assert.deepEqual(after.vms, before.vms, 'nothing is moved');
      await rejects(platform.mirror('nobody', [nic], never), 'ERR_NOT_FOUND');
      await rejects(platform.mirror('edge-m', [{ ...nic, nic: 'eth9' }], never), 'ERR_NOT_FOUND');
      for (let time = 0; time < 2; time++) await platform.mirror('edge-m', [], never);
      assert.deepEqual((await platform.inventory(never)).mirrors, []);
      await platform.removeVm(id, never);
      await platform.mirror('edge-m', [], never);
      await platform.removeSegment(under.hosts[0], shadow().name, never);
    });

    it('reaches the same end when a reply is lost and the call is repeated', async () => {
      const nic = { vm: under.applicationVm, nic: (await vmNamed(under.applicationVm)).nics[0]!.id };
      const [first, second] = under.hosts;
      let engine = '';
      // Otherwise there were nothing to make, and no reply to lose.
      await platform.removeSegment(first, shadow().name, never);
      const calls: [keyof Platform, () => Promise<unknown>][] = [
        ['ensureSegment', () => platform.ensureSegment(shadow(), never)],
        ['deployEngine', () => platform.deployEngine(engineSpec('edge-3'), quiet, never)],
        ['attach', () => platform.attach(nic, shadow().name, never)],
        ['attach', () => platform.attach(nic, under.production, never)],
        ['migrate', () => platform.migrate(nic.vm, second, never)],
        ['migrate', () => platform.migrate(nic.vm, first, never)],
        ['power', () => platform.power(engine, 'off', never)],
        ['cloneVm', () => platform.cloneVm(nic.vm, { name: 'copy-2', host: second }, quiet, never)],
        ['removeVm', () => platform.removeVm(engine, never)],
        ['removeSegment', () => platform.removeSegment(first, shadow().name, never)],
      ];
      const before = await platform.inventory(never);
      for (const [method, call] of calls) {
        await under.failNext(method, 'reply-lost');
        await rejects(call(), 'ERR_HYPERVISOR_UNREACHABLE');
        await call();
        engine = (await vms()).find((vm) => vm.engine === 'edge-3')?.id ?? engine;
      }
      const after = await platform.inventory(never);
      assert.deepEqual(
        after.vms.map((vm) => vm.name),
        [...before.vms.map((vm) => vm.name), 'copy-2'],
      );
      assert.ok(!(await segmentsOf(first)).includes(shadow().name));
    });

    it('lists a segment that is half made, once, makes it whole for any host, and removes it', async function () {
      const { halve } = under;
      if (!halve) return this.skip();
      const listed = async () =>
        (await platform.inventory(never)).hosts.flatMap(({ id, segments }) =>
          segments.filter(({ name }) => name === shadow().name).map((segment) => ({ id, ...segment })),
        );
      const half = async () => {
        await platform.ensureSegment(shadow(), never);
        await halve(shadow());
        const [found, ...others] = await listed();
        assert.deepEqual([found?.role, found?.isUnfinished, others], ['shadow', true, []]);
        return found!.id;
      };
      await half();
      const second = { ...shadow(), host: under.hosts[1] };
      await platform.ensureSegment(second, never);
      const isWhole = (host: string) => (found: { id: string; isUnfinished?: boolean }) =>
        found.id === host && found.isUnfinished === undefined;
      assert.ok((await listed()).some(isWhole(second.host)));
      await platform.ensureSegment(shadow(), never);
      assert.ok((await listed()).every((one) => one.isUnfinished === undefined));
      for (const host of under.hosts) await platform.removeSegment(host, shadow().name, never);
      const before = (await platform.inventory(never)).hosts;
      const host = await half();
      for (let time = 0; time < 2; time++) await platform.removeSegment(host, shadow().name, never);
      assert.deepEqual((await platform.inventory(never)).hosts, before);
    });

    it('throws when a listing fails, and never shows it empty', async () => {
      await under.failNext('inventory', 'refused');
      await rejects(platform.inventory(never), 'ERR_HYPERVISOR_REFUSED');
      await under.failNext('inventory', 'reply-lost');
      await rejects(platform.inventory(never), 'ERR_HYPERVISOR_UNREACHABLE');
      assert.ok((await vms()).length > 0);
    });

    it('has done nothing when a call was refused', async () => {
      const before = await platform.inventory(never);
      await under.failNext('cloneVm', 'refused');
      await rejects(
        platform.cloneVm(under.applicationVm, { name: 'copy-3', host: under.hosts[0] }, quiet, never),
        'ERR_HYPERVISOR_REFUSED',
      );
      assert.deepEqual(await platform.inventory(never), before);
    });

    it('gives up a slow call promptly when the signal says so', async () => {
      await under.slow('power', 5000);
      const started = performance.now();
      const reason = new WeftError('ERR_TIMEOUT', 'too slow');
      const abort = new AbortController();
      setTimeout(() => abort.abort(reason), 50);
      await assert.rejects(
        platform.power(under.applicationVm, 'on', abort.signal),
        (error) => error === reason,
      );
      assert.ok(performance.now() - started < 1000);
      await under.heal();
      await platform.power(under.applicationVm, 'on', never);
    });

    it('says that it is unreachable when nobody answers', async () => {
      const nobody = under.unreachable();
      await rejects(nobody.inventory(never), 'ERR_HYPERVISOR_UNREACHABLE');
      await rejects(nobody.attach({ vm: 'a', nic: 'b' }, 'c', never), 'ERR_HYPERVISOR_UNREACHABLE');
      await nobody.close();
    });

    it('keeps a text, long or short, and shows it to whoever opens the platform anew', async function () {
      const { policyCopy } = under.platform;
      if (!policyCopy) return this.skip();
      for (const text of ['First-1_', 'abc-DEF_0'.repeat(200), 'short']) {
        await policyCopy.write(text, never);
        assert.equal(await policyCopy.read(never), text);
      }
      await assert.rejects(policyCopy.write('x'.repeat(policyCopy.mostCharacters + 1), never), {
        code: 'ERR_HYPERVISOR_REFUSED',
      });
      assert.equal(await policyCopy.read(never), 'short');
    });

    it('keeps who drives it, and lets nobody write over what he has not seen', async function () {
      const { ownership } = platform;
      if (!ownership) return this.skip();
      const before = await ownership.read(never);
      const record = (instance: string) => ({
        instance,
        life: `life of ${instance}`,
        name: 'ctl-1',
        beatAt: new Date(0).toISOString(),
        ousted: null,
      });
      assert.equal(await ownership.write(record('one'), before, never), true);
      assert.deepEqual(await ownership.read(never), record('one'));
      assert.equal(await ownership.write(record('two'), before, never), false);
      const taken = { ...record('two'), ousted: 'one' };
      assert.equal(await ownership.write(taken, record('one'), never), true);
      assert.deepEqual(await ownership.read(never), taken);
    });

    it('ends what waits when it is closed', async () => {
      const other = under.platform;
      const { cursor } = await other.inventory(never);
      const watch = other.watch(cursor, never);
      setTimeout(() => void other.close(), 20);
      await assert.rejects(watch);
    });
  });
}
